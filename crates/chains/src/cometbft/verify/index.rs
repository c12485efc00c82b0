//! The transaction index against the blocks, one height at a time, and the judgement over what
//! is missing from it.
//!
//! The index is written after the block, without waiting, one block at a time: wherever the node
//! was stopped or killed, the last block or blocks before that may be missing for ever. So a
//! height that is missing whole is said and no more; a height of which a part is missing, or
//! whose two kinds of entries disagree, is a finding.

use super::height::Heights;
use super::outcome::{Coverage, Outcome};
use super::{Ctx, checks};
use crate::cometbft::database;
use crate::cometbft::layout::tx_index as table;
use crate::cometbft::wire::block::Block;
use crate::cometbft::wire::results::{Results, TxResult};
use transload_codec::varint::put_varint;
use transload_model::layout::Layout as _;
use transload_model::merkle::Hash;
use transload_model::report::Verdict;
use transload_store::Result;

impl Heights<'_, '_> {
    /// Entries for the transactions of one block, which is decoded from `bytes`.
    pub(super) fn check_index(
        &mut self,
        height: u64,
        block: &Block<'_>,
        bytes: &[u8],
    ) -> Result<()> {
        if self.index.is_none() {
            return Ok(());
        }
        let hashes = self.foresight.hashes(height, bytes, block);
        self.expect_entries(height, &hashes);
        if !block.txs.is_empty() {
            let stored = self.take_results(height)?;
            self.check_transactions(height, block, &hashes, stored.as_deref())?;
            self.results.retain(|at, _| at.saturating_add(1) >= height);
            self.results.insert(height, stored);
        }
        self.check_block_entry(height)
    }

    fn check_transactions(
        &mut self,
        height: u64,
        block: &Block<'_>,
        hashes: &[Hash],
        stored: Option<&[u8]>,
    ) -> Result<()> {
        let results = stored.and_then(|value| Results::decode(value).ok());
        let results = results.filter(|results| results.txs.len() == block.txs.len());
        let mut missing = Vec::new();
        for ((place, tx), hash) in (0_u32..).zip(&block.txs).zip(hashes) {
            let result = results.as_ref().map(|results| results.txs[place as usize]);
            let Some(index) = &mut self.index else { return Ok(()) };
            let entry = index.get(table::RESULT, hash)?;
            if let Some(entry) = &entry {
                self.check_result(height, place, tx, hash, entry, result);
            }
            match self.check_height_entry(height, place, hash)? {
                false => missing.push(place),
                true if entry.is_none() => {
                    let what = format!("the result of transaction {place} is missing");
                    self.index_finding(checks::TX_RESULT, table::RESULT, hash, height, what);
                }
                true => {}
            }
        }
        let txs = block.txs.len() as u64;
        if missing.len() == block.txs.len() {
            self.outcome.tx_coverage.note(height, txs, false);
        } else {
            self.outcome.tx_coverage.note(height, txs, true);
            for place in missing {
                let canonical = table::height_key(height, place, Some(0));
                let what = format!("transaction {place} isn't indexed and others of its block are");
                self.index_finding(checks::TX_HEIGHT, table::HEIGHT, &canonical, height, what);
            }
        }
        Ok(())
    }

    /// Whether the transaction has an entry by height and index.
    fn check_height_entry(&mut self, height: u64, place: u32, hash: &[u8]) -> Result<bool> {
        for sequence in [Some(0), None] {
            let canonical = table::height_key(height, place, sequence);
            let Some(index) = &mut self.index else { return Ok(false) };
            self.foresight.asks_for_both_forms = sequence.is_none();
            let Some(entry) = index.get(table::HEIGHT, &canonical)? else { continue };
            self.count(checks::TX_HEIGHT, 1);
            self.outcome.indexed_heights += 1;
            if entry != hash {
                let what = format!("the entry isn't the hash of transaction {place}");
                self.index_finding(checks::TX_HEIGHT, table::HEIGHT, &canonical, height, what);
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn check_result(
        &mut self,
        height: u64,
        place: u32,
        tx: &[u8],
        hash: &[u8],
        entry: &[u8],
        result: Option<&[u8]>,
    ) {
        let wrong = |this: &mut Self, what: String| {
            this.index_finding(checks::TX_RESULT, table::RESULT, hash, height, what);
        };
        let indexed = match TxResult::decode(entry) {
            Ok(indexed) => indexed,
            Err(error) => {
                self.count(checks::TX_RESULT, 1);
                wrong(self, format!("the entry isn't readable: {error}"));
                return;
            }
        };
        // A transaction that stands in two blocks has one entry: it is judged at its own place.
        if (u64::try_from(indexed.height), indexed.index) != (Ok(height), place) {
            return;
        }
        self.count(checks::TX_RESULT, 1);
        self.outcome.indexed_results += 1;
        if indexed.tx != tx {
            wrong(self, format!("the entry holds another transaction than block {height}"));
        }
        if result.is_some_and(|result| result != indexed.result) {
            wrong(self, "the result differs from the one kept with the block's results".to_owned());
        }
    }

    fn check_block_entry(&mut self, height: u64) -> Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        let canonical = height.to_be_bytes();
        let present = match index.get(table::BLOCK, &canonical)? {
            Some(entry) => {
                self.count(checks::TX_BLOCK, 1);
                self.outcome.indexed_blocks += 1;
                let mut expected = Vec::new();
                put_varint(&mut expected, i64::try_from(height).unwrap_or(i64::MAX));
                if entry != expected {
                    let what = "the entry's value isn't its height".to_owned();
                    self.index_finding(checks::TX_BLOCK, table::BLOCK, &canonical, height, what);
                }
                true
            }
            None => false,
        };
        self.outcome.block_coverage.note(height, 1, present);
        Ok(())
    }

    fn index_finding(
        &mut self,
        check: &'static str,
        table: usize,
        canonical: &[u8],
        height: u64,
        what: String,
    ) {
        let Some(index) = &self.ctx.tx_index else { return };
        let key = index.physical(table, canonical).unwrap_or_default();
        let name = index.layout.tables()[table].name.clone();
        self.find(check, database::TX_INDEX, Some(name), &key, Some(height), what);
    }
}

/// Runs of missing heights that are named; more are only counted.
const RUNS_NAMED_MAX: usize = 5;

/// Says what is missing.
pub(super) fn judge(ctx: &Ctx<'_>, outcome: &Outcome, verdict: &mut Verdict) {
    if ctx.tx_index.is_none() {
        verdict.limits.push("the home has no tx_index.db".to_owned());
        return;
    }
    for (name, coverage) in
        [("transactions", &outcome.tx_coverage), ("blocks", &outcome.block_coverage)]
    {
        verdict.notices.extend(missing(name, coverage));
    }
}

fn missing(name: &str, coverage: &Coverage) -> Option<String> {
    let runs: Vec<_> = coverage.runs.iter().filter(|run| !run.present).collect();
    let things: u64 = runs.iter().map(|run| run.things).sum();
    if things == 0 {
        return None;
    }
    let mut named: Vec<String> = runs
        .iter()
        .take(RUNS_NAMED_MAX)
        .map(|run| match run.first == run.last {
            true => run.first.to_string(),
            false => format!("{} to {}", run.first, run.last),
        })
        .collect();
    if runs.len() > RUNS_NAMED_MAX {
        named.push(format!("and {} more stretches", runs.len() - RUNS_NAMED_MAX));
    }
    Some(format!(
        "tx_index.db: {things} {name} aren't indexed (height {}); the node writes the index after \
         the block, and where it was stopped in between, or before the index was switched on, \
         entries stay missing",
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_that_are_missing_whole_are_named_in_runs() {
        let mut coverage = Coverage::default();
        for (height, things, present) in
            [(1, 2, false), (3, 1, true), (4, 5, false), (6, 1, false), (7, 1, true), (9, 4, false)]
        {
            coverage.note(height, things, present);
        }
        let said = missing("transactions", &coverage).unwrap();
        assert!(said.contains("12 transactions aren't indexed (height 1, 4 to 6, 9)"), "{said}");
        let mut whole = Coverage::default();
        whole.note(1, 1, true);
        assert_eq!(missing("transactions", &whole), None);
    }
}
