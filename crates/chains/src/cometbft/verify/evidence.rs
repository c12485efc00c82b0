//! Evidence of misbehaviour: the votes in it, and the marks of what blocks carry.

use super::ahead::{Ahead, KEYS_EXPECTED_MAX};
use super::height::Heights;
use super::outcome::{Carried, Outcome};
use super::sets::{Set, Sets};
use super::{Ctx, EvidencePlace, Signed, checks, finding};
use crate::cometbft::database::{self, Reader};
use crate::cometbft::layout::{EvidenceLayout, evidence as table};
use crate::cometbft::wire::commit::{SignBytes, Vote};
use crate::cometbft::wire::evidence::{DuplicateVote, Evidence};
use crate::cometbft::wire::shapes;
use std::collections::BTreeSet;
use std::sync::Arc;
use transload_codec::proto::{Fields, put_varint_field};
use transload_model::layout::{Layout as _, Placement};
use transload_model::report::Verdict;
use transload_store::{KeyRange, Result, Walk};

impl Heights<'_, '_> {
    /// Two votes of one validator for one height, round and type, for different blocks, both
    /// signed by it.
    pub(super) fn check_duplicate_vote(
        &mut self,
        duplicate: &DuplicateVote<'_>,
        place: EvidencePlace,
    ) -> Result<()> {
        let (a, b) = (&duplicate.vote_a, &duplicate.vote_b);
        let Ok(voted_at) = u64::try_from(a.height) else {
            self.evidence_finding(&place, "the votes are of a negative height");
            return Ok(());
        };
        if (a.height, a.round, a.kind, a.validator_address)
            != (b.height, b.round, b.kind, b.validator_address)
            || a.block_id == b.block_id
        {
            self.evidence_finding(&place, "the two votes don't contradict each other");
            return Ok(());
        }
        let Ok(set) = self.sets.at(self.ctx, voted_at)? else {
            let why = format!("the validators of height {voted_at} aren't kept");
            self.outcome.verdict.skip(checks::EVIDENCE_SIGNATURE, 2, why);
            return Ok(());
        };
        self.check_votes(duplicate, &set, &place);
        Ok(())
    }

    fn check_votes(
        &mut self,
        duplicate: &DuplicateVote<'_>,
        set: &Arc<Set>,
        place: &EvidencePlace,
    ) {
        let Some(member) = set.member(duplicate.vote_a.validator_address) else {
            self.evidence_finding(place, "the voter isn't in the validator set of that height");
            return;
        };
        if duplicate.validator_power != member.power
            || u64::try_from(duplicate.total_voting_power).ok() != set.total
        {
            self.evidence_finding(place, "the powers in the evidence aren't those of that height");
        }
        for (name, vote) in [('A', &duplicate.vote_a), ('B', &duplicate.vote_b)] {
            let message = sign_bytes(vote, &self.ctx.chain_id);
            let tag = Signed::Evidence { place: Box::new(place.clone()), vote: name };
            self.queue_signature(member, &message, vote.signature, tag);
        }
    }

    fn evidence_finding(&mut self, place: &EvidencePlace, what: &str) {
        let table = Some(place.table.clone());
        let height = Some(place.height);
        let check = checks::EVIDENCE_SIGNATURE;
        self.find(check, place.database, table, &place.key, height, what.to_owned());
    }
}

fn sign_bytes(vote: &Vote<'_>, chain_id: &[u8]) -> Vec<u8> {
    let signed = SignBytes { kind: vote.kind, height: vote.height, round: vote.round, chain_id };
    signed.vote(Some(&vote.block_id), vote.timestamp)
}

/// The evidence database: a mark for each evidence that a kept block carries, no mark for any
/// other, and pending evidence that proves what it says.
pub(super) fn check_database(
    ctx: &Ctx<'_>,
    outcome: &Outcome,
    verdict: &mut Verdict,
) -> Result<()> {
    let Some(evidence) = &ctx.evidence else {
        verdict.limits.push("the home has no evidence.db".to_owned());
        return Ok(());
    };
    // The node marks evidence when it applies the block that carries it.
    let applied = ctx.state_height.unwrap_or(0);
    let mut known = BTreeSet::new();
    let mut marks = Ahead::new(evidence);
    let marked_at = |carried: &Carried| [&carried.height.to_be_bytes()[..], &carried.hash].concat();
    for some in outcome.evidence.chunks(KEYS_EXPECTED_MAX) {
        for carried in some.iter().filter(|carried| carried.block <= applied) {
            marks.expect(table::COMMITTED, &marked_at(carried));
        }
        for carried in some {
            let canonical = marked_at(carried);
            if carried.block <= applied {
                verdict.count(checks::EVIDENCE_MARKER, 1);
                if marks.get(table::COMMITTED, &canonical)?.is_none() {
                    let what =
                        format!("evidence that block {} carries isn't marked", carried.block);
                    verdict.find(marker_finding(evidence, &canonical, carried.height, what));
                }
            }
            known.insert(canonical);
        }
    }
    // Where every block was seen, a mark of none of them is one too many.
    let saw_all = ctx.first == ctx.initial && outcome.unjudged == 0;
    scan(ctx, evidence, &known, saw_all, verdict)
}

fn scan(
    ctx: &Ctx<'_>,
    evidence: &Reader<EvidenceLayout>,
    known: &BTreeSet<Vec<u8>>,
    saw_all: bool,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut heights = Heights::new(ctx);
    let mut canonical = Vec::new();
    let (mut below, mut unmarked) = (0_u64, Vec::new());
    let mut scan = Walk::new(&*evidence.snapshot, &KeyRange::all())?;
    while let Some((key, value)) = scan.next()? {
        let Placement::Record { table, .. } = evidence.layout.place(key, value, &mut canonical)
        else {
            continue;
        };
        let height = canonical
            .first_chunk()
            .filter(|_| table != table::UNKNOWN)
            .map(|height| u64::from_be_bytes(*height));
        match (table, height) {
            (table::COMMITTED, Some(height)) => {
                verdict.count(checks::EVIDENCE_MARKER, 1);
                if marked_height(value) != Some(height) {
                    let what = "the mark's value isn't its height".to_owned();
                    verdict.find(marker_finding(evidence, &canonical, height, what));
                }
                if !known.contains(&canonical) {
                    below += 1;
                    unmarked.push((canonical.clone(), height));
                }
            }
            (table::PENDING, Some(height)) => {
                check_pending(&mut heights, evidence, &canonical, height, value)?;
            }
            _ => verdict.find(finding(
                checks::EXTRA,
                database::EVIDENCE,
                Some(evidence.layout.tables()[table].name.clone()),
                key,
                None,
                "no known release writes such an entry",
            )),
        }
    }
    scan.end()?;
    if saw_all {
        for (canonical, height) in unmarked {
            let what = "no block carries the evidence marked here".to_owned();
            verdict.find(marker_finding(evidence, &canonical, height, what));
        }
    } else if below > 0 {
        verdict.limits.push(format!(
            "{below} marks of committed evidence: the blocks that carry it are pruned, or missing or \
             wrong themselves"
        ));
    }
    verdict.absorb(heights.finish().verdict);
    Ok(())
}

fn check_pending(
    heights: &mut Heights<'_, '_>,
    evidence: &Reader<EvidenceLayout>,
    canonical: &[u8],
    height: u64,
    value: &[u8],
) -> Result<()> {
    let table = evidence.layout.tables()[table::PENDING].name.clone();
    let key = evidence.physical(table::PENDING, canonical).unwrap_or_default();
    let place = EvidencePlace { database: database::EVIDENCE, table, key, height };
    heights.count(checks::CANONICAL, 1);
    if let Err(deviation) = shapes::EVIDENCE.check(value) {
        heights.evidence_finding(&place, &deviation.to_string());
    }
    match Evidence::decode(value) {
        Ok(Some(pending)) => {
            let at = u64::try_from(pending.height()).unwrap_or(0);
            if canonical != [&at.to_be_bytes()[..], &pending.hash()].concat() {
                heights.evidence_finding(&place, "the evidence isn't the one that its key names");
            }
            match pending {
                Evidence::DuplicateVote(duplicate) => {
                    heights.check_duplicate_vote(&duplicate, place)?;
                }
                Evidence::LightClientAttack(_) => heights.outcome.verdict.skip(
                    checks::EVIDENCE_SIGNATURE,
                    1,
                    "a pending light client attack: its signatures weren't verified",
                ),
            }
        }
        Ok(None) => heights.evidence_finding(&place, "the evidence is of no kind"),
        Err(error) => {
            heights.evidence_finding(&place, &format!("the evidence isn't readable: {error}"));
        }
    }
    Ok(())
}

/// A mark's value is `Int64Value` of the height, and nothing else.
fn marked_height(value: &[u8]) -> Option<u64> {
    let field = Fields::new(value).next().ok().flatten()?;
    let height = field.uint64().ok().filter(|_| field.number == 1)?;
    let mut canonical = Vec::new();
    put_varint_field(&mut canonical, 1, height);
    (canonical == value).then_some(height)
}

fn marker_finding(
    evidence: &Reader<EvidenceLayout>,
    canonical: &[u8],
    height: u64,
    what: String,
) -> transload_model::report::Finding {
    let key = evidence.physical(table::COMMITTED, canonical).unwrap_or_default();
    let name = evidence.layout.tables()[table::COMMITTED].name.clone();
    finding(checks::EVIDENCE_MARKER, database::EVIDENCE, Some(name), &key, Some(height), what)
}

/// Sets looked up outside a walk over heights.
pub(super) fn set_at(ctx: &Ctx<'_>, height: u64) -> Result<Option<Arc<Set>>> {
    Ok(Sets::default().at(ctx, height)?.ok())
}
