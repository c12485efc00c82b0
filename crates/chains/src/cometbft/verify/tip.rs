//! The state after the last block applied: against the blocks, the sets, and the header above
//! it where there is one.

use super::evidence::set_at;
use super::results::results_with_hash;
use super::sets::{self, Set, hash_after};
use super::{Ctx, checks, finding};
use crate::cometbft::database::{self, Reader};
use crate::cometbft::layout::{StateLayout, state as table};
use crate::cometbft::wire::block::BlockMeta;
use crate::cometbft::wire::results::{LastResults, Results};
use crate::cometbft::wire::shapes;
use crate::cometbft::wire::state::{HashedParams, ParamsInfo, State};
use crate::cometbft::wire::validators::{ValidatorSet, ValidatorsInfo, decode_update};
use std::collections::BTreeMap;
use transload_codec::Malformed;
use transload_codec::proto::{Fields, put_varint_field};
use transload_model::layout::Layout as _;
use transload_model::merkle::Hash;
use transload_model::report::Verdict;
use transload_store::Result;

pub(super) fn check(ctx: &Ctx<'_>, verdict: &mut Verdict) -> Result<()> {
    let Some(store) = &ctx.state else {
        verdict.skip(checks::STATE, 1, "the home has no state.db");
        return Ok(());
    };
    let Some(value) = store.snapshot.get(table::STATE_KEY)? else {
        verdict.find(state_finding(store, None, "the state after the last block is missing"));
        return Ok(());
    };
    verdict.count(checks::CANONICAL, 1);
    if let Err(deviation) = shapes::STATE.check(&value) {
        let mut found = state_finding(store, None, &deviation.to_string());
        found.check = checks::CANONICAL.to_owned();
        verdict.find(found);
    }
    // Bytes that are no state at all were named when the home was opened.
    let Ok(state) = State::decode(&value) else { return Ok(()) };
    let Ok(height) = u64::try_from(state.last_block_height) else {
        verdict.find(state_finding(store, None, "the state's height is negative"));
        return Ok(());
    };
    if ctx.initial > ctx.first {
        let what = format!(
            "the state says that the chain began at height {}, and block {} is kept",
            ctx.initial, ctx.first
        );
        verdict.find(state_finding(store, Some(height), &what));
    }
    if let Some(begins) = ctx.genesis.initial_height
        && u64::try_from(state.initial_height) != Ok(begins)
    {
        let what = format!(
            "the state says that the chain began at height {}, and the genesis file says {begins}",
            state.initial_height
        );
        verdict.find(state_finding(store, Some(height), &what));
    }
    if height > ctx.last {
        let what = format!("the state is at height {height}, above the last block {}", ctx.last);
        verdict.find(state_finding(store, Some(height), &what));
        return Ok(());
    }
    // Before the chain's first block the state is at height 0, whatever the first height.
    let begins = height == 0 && ctx.last == ctx.initial;
    if height + 1 < ctx.last && !begins {
        let what = format!(
            "the state is at height {height} and the last block is {}: a node stops at most one \
             behind",
            ctx.last
        );
        verdict.find(state_finding(store, Some(height), &what));
    }
    if height < ctx.first {
        return Ok(());
    }
    let mut tip = Tip { ctx, store, verdict, height };
    tip.check_block(&state)?;
    tip.check_sets(&state)?;
    tip.check_records(&state)?;
    tip.check_above(&state)?;
    tip.check_results(&state)?;
    tip.check_last_results(&state)
}

struct Tip<'c, 'a> {
    ctx: &'c Ctx<'a>,
    store: &'c Reader<StateLayout>,
    verdict: &'c mut Verdict,
    height: u64,
}

impl Tip<'_, '_> {
    fn expect(&mut self, holds: bool, what: &str) {
        self.verdict.count(checks::STATE, 1);
        if !holds {
            self.verdict.find(state_finding(self.store, Some(self.height), what));
        }
    }

    fn check_block(&mut self, state: &State<'_>) -> Result<()> {
        let Some(meta) = self.ctx.whole_meta(self.height)? else { return Ok(()) };
        let Ok(meta) = BlockMeta::decode(&meta) else { return Ok(()) };
        self.expect(state.chain_id == meta.header.chain_id, "the state is of another chain");
        self.expect(
            state.last_block_id == meta.block_id,
            "the state names another last block than the one kept",
        );
        self.expect(
            state.last_block_time == meta.header.time,
            "the state has another time than its last block",
        );
        self.set_has(state.validators, meta.header.next_validators_hash, "next validators")
    }

    fn set_has(&mut self, raw: Option<&[u8]>, hash: &[u8], name: &str) -> Result<()> {
        let found = raw.map(ValidatorSet::decode).transpose();
        let holds = matches!(&found, Ok(Some(set)) if set.hash() == hash);
        self.expect(holds, &format!("the state's set doesn't have the hash of the {name}"));
        Ok(())
    }

    /// The three sets in the state are those kept by height.
    fn check_sets(&mut self, state: &State<'_>) -> Result<()> {
        for (above, raw) in
            [(0, state.last_validators), (1, state.validators), (2, state.next_validators)]
        {
            let at = self.height + above;
            let Some(set) = set_at(self.ctx, at)? else {
                self.verdict.count(checks::STATE, 1);
                let what = format!("the validators of height {at} can't be found");
                self.find_record(checks::STATE, table::VALIDATORS, at, &what);
                continue;
            };
            let decoded = raw.map(ValidatorSet::decode).transpose();
            let holds = matches!(&decoded, Ok(Some(in_state)) if set.is_same(in_state));
            let what = format!("the state's validators of height {at} aren't those kept by height");
            self.expect(holds, &what);
        }
        Ok(())
    }

    /// Parameters, and the heights at which parameters and validators changed, are those of the
    /// records that the node wrote with the state.
    fn check_records(&mut self, state: &State<'_>) -> Result<()> {
        // The heights below are walked.
        let after_next = self.height + 2;
        if let Some(value) = self.store.at(table::VALIDATORS, after_next)? {
            self.verdict.count(checks::CANONICAL, 1);
            for (check, what) in sets::record_faults(after_next, &value) {
                self.find_record(check, table::VALIDATORS, after_next, &what);
            }
            if let Ok(info) = ValidatorsInfo::decode(&value) {
                self.expect(
                    info.last_height_changed == state.last_height_validators_changed,
                    "the state has another height of the last change of validators than their \
                     record",
                );
            }
        }
        let next = self.height + 1;
        let Some(value) = self.store.at(table::PARAMS, next)? else { return Ok(()) };
        if next > self.ctx.last {
            self.verdict.count(checks::CANONICAL, 1);
            if let Err(deviation) = shapes::PARAMS_INFO.check(&value) {
                self.find_record(checks::CANONICAL, table::PARAMS, next, &deviation.to_string());
            }
        }
        let Ok(info) = ParamsInfo::decode(&value) else { return Ok(()) };
        self.expect(
            info.last_height_changed == state.last_height_params_changed,
            "the state has another height of the last change of parameters than their record",
        );
        let changed = u64::try_from(info.last_height_changed).unwrap_or(0);
        let Some(value) = self.store.at(table::PARAMS, changed)? else { return Ok(()) };
        if let Ok(info) = ParamsInfo::decode(&value) {
            self.expect(
                are_same_params(info.params, state.params),
                "the state's parameters aren't those kept by height",
            );
        }
        Ok(())
    }

    /// The header above certifies app hash, results and parameters.
    fn check_above(&mut self, state: &State<'_>) -> Result<()> {
        let params = HashedParams::decode(state.params).map(|params| params.hash());
        let above = self.ctx.whole_meta(self.height + 1)?;
        let above = above.as_deref().map(BlockMeta::decode);
        if let Some(Ok(above)) = above {
            self.verdict.count(checks::APP_HASH, 1);
            self.expect(
                state.app_hash == above.header.app_hash,
                "the state's app hash isn't the one in the next header",
            );
            self.expect(
                state.last_results_hash == above.header.last_results_hash,
                "the state's results hash isn't the one in the next header",
            );
            self.expect(
                params.is_ok_and(|hash| hash == above.header.consensus_hash),
                "the state's parameters don't have the hash in the next header",
            );
            self.set_has(state.validators, above.header.validators_hash, "validators above")?;
            return self.set_has(
                state.next_validators,
                above.header.next_validators_hash,
                "next validators above",
            );
        }
        Ok(())
    }

    /// Results of the last block applied: the state's own hashes, and the set that follows from
    /// the updates in them.
    fn check_results(&mut self, state: &State<'_>) -> Result<()> {
        let Some(value) = self.store.at(table::RESULTS, self.height)? else { return Ok(()) };
        match results_with_hash(&value, state.last_results_hash) {
            Some(results) => {
                let holds = results.app_hash.is_none_or(|hash| hash == state.app_hash);
                self.expect(holds, "the state's app hash isn't the one in its last results");
                self.check_updates(&results)
            }
            None => {
                self.expect(false, "the last results don't have the hash in the state");
                Ok(())
            }
        }
    }

    /// No header says anything yet about the set of the height after next.
    fn check_updates(&mut self, results: &Results<'_>) -> Result<()> {
        let (Some(before), Some(after)) =
            (set_at(self.ctx, self.height + 1)?, set_at(self.ctx, self.height + 2)?)
        else {
            return Ok(());
        };
        self.verdict.count(checks::VALIDATOR_UPDATES, 1);
        if expected_hash(&before, results) != Some(after.hash) {
            let what = "the validator set doesn't follow from the last results' updates";
            let at = self.height + 2;
            self.find_record(checks::VALIDATOR_UPDATES, table::VALIDATORS, at, what);
        }
        Ok(())
    }

    /// Names a record that is kept by height.
    fn find_record(&mut self, check: &'static str, table: usize, height: u64, what: &str) {
        let name = self.store.layout.tables()[table].name.clone();
        let key = self.store.physical(table, &height.to_be_bytes());
        let key = key.unwrap_or_default();
        self.verdict.find(finding(check, database::STATE, Some(name), &key, Some(height), what));
    }

    fn check_last_results(&mut self, state: &State<'_>) -> Result<()> {
        let Some(value) = self.store.snapshot.get(table::LAST_RESULTS_KEY)? else { return Ok(()) };
        let wrong = |verdict: &mut Verdict, what: &str| {
            verdict.find(finding(
                checks::LAST_RESULTS,
                database::STATE,
                Some(self.store.layout.tables()[table::LAST_RESULTS].name.clone()),
                table::LAST_RESULTS_KEY,
                Some(self.height),
                what,
            ));
        };
        self.verdict.count(checks::LAST_RESULTS, 1);
        let Ok(last) = LastResults::decode(&value) else {
            wrong(self.verdict, "the last results aren't readable");
            return Ok(());
        };
        let Ok(at) = u64::try_from(last.height) else {
            wrong(self.verdict, "the last results are of a negative height");
            return Ok(());
        };
        if at > self.ctx.last + 1 {
            wrong(self.verdict, "the last results are of a height above the last block");
        } else if at > self.ctx.last {
            self.verdict.notices.push(format!(
                "state.db: the last results are of height {at}, one above the last block: the \
                 node was rolled back by a block, with the block removed"
            ));
        }
        let certified = match self.ctx.whole_meta(at + 1)? {
            Some(above) => {
                BlockMeta::decode(&above).ok().map(|above| above.header.last_results_hash.to_vec())
            }
            None if at == self.height => Some(state.last_results_hash.to_vec()),
            None => None,
        };
        match (self.store.at(table::RESULTS, at)?, certified) {
            (Some(kept), _) if last.results != Some(&*kept) => {
                wrong(self.verdict, "the last results differ from those kept by height");
            }
            (_, Some(certified)) => {
                let results = last.results.unwrap_or_default();
                let results = if last.finalize {
                    Results::decode_finalize(results)
                } else {
                    Results::decode(results)
                };
                let hash = results.ok().and_then(|results| results.hash().ok());
                if hash.is_none_or(|hash| hash != *certified) {
                    wrong(self.verdict, "the last results don't have the hash of their height");
                }
            }
            _ => {}
        }
        if at < self.height {
            self.verdict.notices.push(format!(
                "state.db: the last results are of height {at}: releases from 1.0 on leave those \
                 of their predecessor"
            ));
        }
        Ok(())
    }
}

/// Whether the parameters in a state are those of a record that perhaps an older release wrote:
/// 0.38 added those of ABCI, 1.0 those of synchrony and features, in which those of ABCI went, and
/// 0.35 dropped `time_iota_ms`
/// (`proto/tendermint/types/params.proto`, `proto/cometbft/types/v1/params.proto`).
fn are_same_params(record: &[u8], state: &[u8]) -> bool {
    const BLOCK: u32 = 1;
    const ABCI: u32 = 5;
    const SYNCHRONY: u32 = 6;
    const FEATURES: u32 = 7;
    const TIME_IOTA_MS: u32 = 3;
    let fields = |message: &[u8]| {
        let (mut all, mut fields) = (BTreeMap::new(), Fields::new(message));
        while let Some(field) = fields.next()? {
            let mut content = field.bytes()?.to_vec();
            if field.number == BLOCK {
                content.clear();
                let mut block = Fields::new(field.bytes()?);
                while let Some(field) = block.next()? {
                    if field.number != TIME_IOTA_MS {
                        put_varint_field(
                            &mut content,
                            field.number,
                            field.int64()?.cast_unsigned(),
                        );
                    }
                }
            }
            all.insert(field.number, content);
        }
        Ok::<_, Malformed>(all)
    };
    let (Ok(mut record), Ok(mut state)) = (fields(record), fields(state)) else {
        return record == state;
    };
    if !record.contains_key(&SYNCHRONY) && state.contains_key(&SYNCHRONY) {
        record.remove(&ABCI);
        state.retain(|number, _| ![ABCI, SYNCHRONY, FEATURES].contains(number));
    } else if !record.contains_key(&ABCI) {
        state.remove(&ABCI);
    }
    record == state
}

fn expected_hash(before: &Set, results: &Results<'_>) -> Option<Hash> {
    let mut updates = Vec::new();
    for message in &results.validator_updates {
        updates.push(decode_update(message).ok()??);
    }
    // An unchanged set keeps the order in which it is stored.
    if updates.is_empty() { Some(before.hash) } else { hash_after(before, &updates) }
}

fn state_finding(
    store: &Reader<StateLayout>,
    height: Option<u64>,
    what: &str,
) -> transload_model::report::Finding {
    let name = store.layout.tables()[table::STATE].name.clone();
    finding(checks::STATE, database::STATE, Some(name), table::STATE_KEY, height, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_codec::proto::put_message;

    fn params(block: &[(u32, u64)], others: &[(u32, &[u8])]) -> Vec<u8> {
        let (mut inner, mut message) = (Vec::new(), Vec::new());
        block.iter().for_each(|(number, value)| put_varint_field(&mut inner, *number, *value));
        put_message(&mut message, 1, &inner);
        others.iter().for_each(|(number, value)| put_message(&mut message, *number, value));
        message
    }

    #[test]
    fn parameters_are_the_same_whichever_release_wrote_them() {
        let v34 = params(&[(1, 9), (2, 8), (3, 1_000)], &[(2, &[8, 1]), (3, &[10, 1])]);
        let v38 = params(&[(1, 9), (2, 8)], &[(2, &[8, 1]), (3, &[10, 1]), (5, &[])]);
        let later = [(2, [8, 1].as_slice()), (3, &[10, 1]), (6, &[10, 1]), (7, &[8, 1])];
        let v1 = params(&[(1, 9), (2, 8)], &later);
        for (record, state) in [(&v34, &v38), (&v38, &v1), (&v34, &v1), (&v1, &v1)] {
            assert!(are_same_params(record, state));
        }
        let other_block = params(&[(1, 9), (2, 7)], &later);
        let other_evidence = params(&[(1, 9), (2, 8)], &[(2, &[8, 2]), (3, &[10, 1])]);
        let none = params(&[(1, 9), (2, 8)], &[(3, &[10, 1])]);
        for state in [&other_block, &other_evidence, &none, &v38] {
            assert!(!are_same_params(&v1, state));
        }
    }
}
