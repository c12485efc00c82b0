//! One worker's walk over a range of heights.

use super::ahead::Ahead;
use super::commits::{CANONICAL, EXTENDED, Place, SEEN};
use super::foresight::Foresight;
use super::outcome::Outcome;
use super::sets::{self, Member, NoSet, Rotation, Set, Sets};
use super::{Ctx, Signed, checks, finding};
use crate::cometbft::database;
use crate::cometbft::layout::{
    BlockstoreLayout, StateLayout, TxIndexLayout, blockstore as table, state as state_table,
};
use crate::cometbft::signature::Signatures;
use crate::cometbft::wire::block::BlockMeta;
use crate::cometbft::wire::commit::Commit;
use crate::cometbft::wire::shapes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use transload_codec::proto::Shape;
use transload_model::layout::Layout as _;
use transload_model::record::TableName;
use transload_store::Result;

/// Rounds that are replayed to find a proposer. Real chains have seen tens; a forged commit may
/// claim two billion.
const ROUNDS_MAX: u32 = 10_000;

/// The checks of heights, one after another.
pub(super) struct Heights<'c, 'a> {
    pub(super) ctx: &'c Ctx<'a>,
    pub(super) outcome: Outcome,
    /// Metas and commits.
    pub(super) records: Ahead<'c, BlockstoreLayout>,
    /// Parts and the index of hashes.
    pub(super) blocks: Ahead<'c, BlockstoreLayout>,
    pub(super) state: Option<Ahead<'c, StateLayout>>,
    pub(super) index: Option<Ahead<'c, TxIndexLayout>>,
    pub(super) foresight: Foresight,
    /// Results of this height or the one before, which are asked for at their height and at the
    /// next.
    pub(super) results: BTreeMap<u64, Option<Vec<u8>>>,
    signatures: Signatures<Signed>,
    pub(super) sets: Sets,
    /// The records of sets that are wrong and were named, by their heights: of one range.
    wrong_sets: BTreeSet<u64>,
    rotation: Option<Rotation>,
    /// Meta and commit of the height before, as stored.
    previous: Option<Previous>,
    pub(super) params: Option<(u64, transload_model::merkle::Hash)>,
}

pub(super) struct Previous {
    pub(super) height: u64,
    pub(super) meta: Option<Vec<u8>>,
    pub(super) commit: Option<Vec<u8>>,
}

impl<'c, 'a> Heights<'c, 'a> {
    pub(super) fn new(ctx: &'c Ctx<'a>) -> Self {
        Self {
            ctx,
            outcome: Outcome::new(),
            records: Ahead::new(&ctx.blocks),
            blocks: Ahead::new(&ctx.blocks),
            state: ctx.state.as_ref().map(Ahead::new),
            index: ctx.tx_index.as_ref().map(Ahead::new),
            foresight: Foresight::default(),
            results: BTreeMap::new(),
            signatures: Signatures::new(ctx.rules),
            sets: Sets::default(),
            wrong_sets: BTreeSet::new(),
            rotation: None,
            previous: None,
            params: None,
        }
    }

    /// Checks the heights from `low` to `high`; `None` when `each` says to stop.
    pub(super) fn run(
        mut self,
        low: u64,
        high: u64,
        each: &dyn Fn() -> bool,
    ) -> Result<Option<Outcome>> {
        if let Some(before) = low.checked_sub(1) {
            let kept = before >= self.ctx.first_header;
            let mut meta = if kept { self.ctx.blocks.at(table::META, before)? } else { None };
            let commit = self.ctx.blocks.at(table::COMMIT, before)?;
            if let Some(Ok(decoded)) = meta.as_deref().map(BlockMeta::decode)
                && !self.ctx.may_judge(before, &decoded, commit.as_deref())?
            {
                meta = None;
            }
            self.previous = Some(Previous { height: before, meta, commit });
        }
        for height in low..=high {
            self.expect_records(height, high);
            self.check_height(height)?;
            if !each() {
                return Ok(None);
            }
            if self.ctx.is_hopeless() {
                break;
            }
        }
        Ok(Some(self.finish()))
    }

    /// Verifies the signatures that still wait, and ends.
    pub(super) fn finish(mut self) -> Outcome {
        let (_, wrong) = self.signatures.finish();
        for signed in wrong {
            let finding = describe(self.ctx, &signed);
            self.outcome.verdict.find(finding);
        }
        self.outcome
    }

    fn check_height(&mut self, height: u64) -> Result<()> {
        let stored = self.records.at(table::META, height)?;
        let commit = self.records.at(table::COMMIT, height)?;
        let mut judges = true;
        self.count(checks::STORE_STATE, 1);
        match &stored {
            Some(value) => {
                self.check_canonical(&shapes::BLOCK_META, table::META, height, value);
                match BlockMeta::decode(value) {
                    Ok(meta) => {
                        let previous = self.previous.take();
                        let commit = commit.as_deref();
                        judges = self.check_meta(height, &meta, previous.as_ref(), commit)?;
                        if judges {
                            self.check_what_the_meta_judges(
                                height,
                                &meta,
                                previous.as_ref(),
                                commit,
                            )?;
                        } else {
                            self.skip_what_the_meta_judges(height);
                        }
                    }
                    Err(error) => {
                        judges = false;
                        self.outcome.unjudged += 1;
                        let what = format!("the block meta isn't readable: {error}");
                        self.blockstore_finding(checks::HEADER_HASH, table::META, height, what);
                    }
                }
            }
            None => {
                self.ctx.missing.fetch_add(1, Ordering::Relaxed);
                self.outcome.unjudged += 1;
                let what = "the block meta is missing".to_owned();
                self.blockstore_finding(checks::STORE_STATE, table::META, height, what);
            }
        }
        let meta = stored.filter(|_| judges);
        self.previous = Some(Previous { height, meta, commit });
        Ok(())
    }

    fn check_what_the_meta_judges(
        &mut self,
        height: u64,
        meta: &BlockMeta<'_>,
        previous: Option<&Previous>,
        commit: Option<&[u8]>,
    ) -> Result<()> {
        if height >= self.ctx.first {
            self.expect_blocks(height, meta);
            self.check_hash_index(height, meta.block_id.hash)?;
            self.check_block(height, meta, previous)?;
            self.check_results(height, meta)?;
        } else {
            self.check_commit_hash(meta, previous);
        }
        self.check_certificates(height, meta, commit)
    }

    /// The commits kept for this height, against its validators.
    fn check_certificates(
        &mut self,
        height: u64,
        meta: &BlockMeta<'_>,
        canonical: Option<&[u8]>,
    ) -> Result<()> {
        let set = self.check_set(height, Some(meta.header.validators_hash))?;
        self.check_set_hash_of_next(height, meta)?;
        let seen = self.records.at(table::SEEN_COMMIT, height)?;
        let extended = self.records.at(table::EXTENDED_COMMIT, height)?;
        self.count(checks::COMMIT_RECORD, 1);
        let kept_whole = (self.ctx.first..self.ctx.last).contains(&height);
        if kept_whole && canonical.is_none() {
            let what = "the height's commit is missing".to_owned();
            self.blockstore_finding(checks::COMMIT_RECORD, table::COMMIT, height, what);
        }
        if height == self.ctx.last && seen.is_none() && extended.is_none() {
            let what = "the tip has no seen commit: nothing certifies it".to_owned();
            self.blockstore_finding(checks::COMMIT_RECORD, table::SEEN_COMMIT, height, what);
        }
        let places =
            [(CANONICAL, canonical), (SEEN, seen.as_deref()), (EXTENDED, extended.as_deref())];
        let Some(set) = set else {
            let why = "the validators of some heights aren't known";
            for (place, _) in places.iter().filter(|(_, value)| value.is_some()) {
                self.outcome.verdict.skip(place.signature_check, 1, why);
            }
            self.outcome.verdict.skip(checks::PROPOSER, 1, why);
            return Ok(());
        };
        let mut twin: Option<Commit<'_>> = None;
        let mut round = None;
        for (place, value) in places {
            let Some(value) = value else { continue };
            let Some(commit) = self.decode_commit(place, height, value) else { continue };
            self.check_commit(place, height, &commit, &meta.block_id, &set, twin.as_ref());
            round = round.or(u32::try_from(commit.round).ok());
            if twin.is_none() {
                twin = Some(commit);
            }
        }
        self.check_proposer(height, meta, &set, round);
        Ok(())
    }

    fn decode_commit<'v>(
        &mut self,
        place: Place,
        height: u64,
        value: &'v [u8],
    ) -> Option<Commit<'v>> {
        self.check_canonical(place.shape, place.table, height, value);
        match Commit::decode(value) {
            Ok(commit) => Some(commit),
            Err(error) => {
                let what = format!("the commit isn't readable: {error}");
                self.blockstore_finding(checks::COMMIT_POWER, place.table, height, what);
                None
            }
        }
    }

    /// The set of `height`, checked against the hash that a header commits to.
    pub(super) fn check_set(
        &mut self,
        height: u64,
        expected: Option<&[u8]>,
    ) -> Result<Option<Arc<Set>>> {
        let Some(state) = &mut self.state else {
            self.outcome.verdict.skip(checks::VALIDATORS_HASH, 1, "the home has no state.db");
            return Ok(None);
        };
        let stored = state.at(state_table::VALIDATORS, height)?;
        if let Some(value) = &stored {
            self.count(checks::CANONICAL, 1);
            for (check, what) in sets::record_faults(height, value) {
                self.state_finding(check, state_table::VALIDATORS, height, what);
            }
        }
        self.count(checks::VALIDATORS_HASH, 1);
        let wrong = |this: &mut Self, what: String| {
            this.state_finding(checks::VALIDATORS_HASH, state_table::VALIDATORS, height, what);
        };
        match self.sets.of(self.ctx, height, stored.as_deref())? {
            Ok(set) => {
                if let Some((at, what)) = self.fault_of_set(height, expected, &set)? {
                    // Named once: every height up to the next change points to it.
                    if self.wrong_sets.insert(at) {
                        let check = checks::VALIDATORS_HASH;
                        self.state_finding(check, state_table::VALIDATORS, at, what);
                    }
                    return Ok(None);
                }
                Ok(Some(set))
            }
            Err(NoSet::NoRecord) if height < self.ctx.first => {
                let why = "validators of heights whose blocks are pruned aren't kept";
                self.outcome.verdict.skip(checks::VALIDATORS_HASH, 1, why);
                Ok(None)
            }
            Err(NoSet::NoRecord) => {
                wrong(self, "the record of the height's validators is missing".to_owned());
                Ok(None)
            }
            Err(NoSet::Broken(what)) => {
                wrong(self, what);
                Ok(None)
            }
        }
    }

    /// What is wrong with the set of a height, and the height of the record that is to blame.
    fn fault_of_set(
        &self,
        height: u64,
        expected: Option<&[u8]>,
        set: &Set,
    ) -> Result<Option<(u64, String)>> {
        let at = set.stored_at;
        if expected.is_some_and(|expected| expected != set.hash) {
            // A set that its own header commits to is right, and so whoever points to it isn't.
            let own = if at == height { None } else { self.ctx.whole_meta(at)? };
            let is_its_own = own
                .as_deref()
                .map(BlockMeta::decode)
                .is_some_and(|own| own.is_ok_and(|own| own.header.validators_hash == set.hash));
            let what = format!(
                "the validator set (stored at height {at}) doesn't have the hash that the headers \
                 commit to"
            );
            return Ok(Some((if is_its_own { height } else { at }, what)));
        }
        if !set.addresses_hold {
            let what = "an address isn't the hash of its validator's key".to_owned();
            return Ok(Some((at, what)));
        }
        if !set.holds_together {
            let what = "the set's proposer is none of its validators as they are, or its sum \
                        isn't theirs";
            return Ok(Some((at, what.to_owned())));
        }
        Ok(None)
    }

    /// The tip's header is the last to say anything about a set: that of the height above.
    fn check_set_hash_of_next(&mut self, height: u64, meta: &BlockMeta<'_>) -> Result<()> {
        // The state after height n holds the sets up to n + 2.
        let next_expected = self.ctx.state_height.is_some_and(|state| state + 1 >= height);
        if height == self.ctx.last && next_expected {
            self.check_set(height + 1, Some(meta.header.next_validators_hash))?;
        }
        Ok(())
    }

    fn check_proposer(
        &mut self,
        height: u64,
        meta: &BlockMeta<'_>,
        set: &Arc<Set>,
        round: Option<u32>,
    ) {
        let rotation = match self.rotation.take() {
            Some(rotation) => rotation.follow(set, height),
            None => Rotation::at(set, height),
        };
        match round {
            Some(round) if round <= ROUNDS_MAX => {
                self.count(checks::PROPOSER, 1);
                if !rotation.had_a_turn(meta.header.proposer_address, round) {
                    let what = format!(
                        "validator {} had no turn to propose in rounds 0 to {round}",
                        hex::encode_upper(meta.header.proposer_address)
                    );
                    self.blockstore_finding(checks::PROPOSER, table::META, height, what);
                }
            }
            Some(round) => {
                let why = format!("a commit claims round {round}, more than {ROUNDS_MAX}");
                self.outcome.verdict.skip(checks::PROPOSER, 1, why);
            }
            None => {
                let why = "no commit of the height tells the round";
                self.outcome.verdict.skip(checks::PROPOSER, 1, why);
            }
        }
        self.rotation = Some(rotation);
    }

    /// Checks that a wrapper's bytes hide nothing.
    pub(super) fn check_canonical(
        &mut self,
        shape: &Shape,
        table: usize,
        height: u64,
        value: &[u8],
    ) {
        self.count(checks::CANONICAL, 1);
        if let Err(deviation) = shape.check(value) {
            self.blockstore_finding(checks::CANONICAL, table, height, deviation.to_string());
        }
    }

    pub(super) fn queue_signature(
        &mut self,
        member: &Member,
        message: &[u8],
        signature: &[u8],
        tag: Signed,
    ) {
        let check = match &tag {
            Signed::Commit { check, .. } => check,
            Signed::Evidence { .. } => checks::EVIDENCE_SIGNATURE,
        };
        if self.signatures.push(member.kind, &member.key, message, signature, tag).is_ok() {
            self.count(check, 1);
        } else {
            let why = format!("keys of kind {:?} aren't supported", member.kind);
            self.outcome.verdict.skip(check, 1, why);
        }
    }

    pub(super) fn count(&mut self, check: &str, things: u64) {
        self.outcome.verdict.count(check, things);
    }

    pub(super) fn find(
        &mut self,
        check: &'static str,
        database: &str,
        table: Option<TableName>,
        key: &[u8],
        height: Option<u64>,
        what: String,
    ) {
        self.outcome.verdict.find(finding(check, database, table, key, height, what));
    }

    /// A finding about a record of the state store under one height.
    pub(super) fn state_finding(
        &mut self,
        check: &'static str,
        table: usize,
        height: u64,
        what: String,
    ) {
        let Some(state) = &self.ctx.state else { return };
        let key = state.physical(table, &height.to_be_bytes()).unwrap_or_default();
        let name = state.layout.tables()[table].name.clone();
        self.find(check, database::STATE, Some(name), &key, Some(height), what);
    }
}

fn describe(ctx: &Ctx<'_>, signed: &Signed) -> transload_model::report::Finding {
    match signed {
        Signed::Commit { table, check, height, index, extension } => finding(
            check,
            database::BLOCKSTORE,
            Some(ctx.block_table(*table)),
            &ctx.block_key(*table, *height),
            Some(*height),
            if *extension {
                format!("the signature of validator {index} over its vote extension is wrong")
            } else {
                format!("the signature of validator {index} is wrong")
            },
        ),
        Signed::Evidence { place, vote } => finding(
            checks::EVIDENCE_SIGNATURE,
            place.database,
            Some(place.table.clone()),
            &place.key,
            Some(place.height),
            format!("the signature of vote {vote} of a duplicate vote is wrong"),
        ),
    }
}
