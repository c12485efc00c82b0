//! What the checks of heights hand on to the checks of whole databases.

use transload_model::merkle::Hash;
use transload_model::report::Verdict;

/// Runs of heights kept at most: an index that comes and goes more often than this is judged by
/// its first runs.
const RUNS_MAX: usize = 100_000;

/// Evidence kept at most; a chain carries a few in its life.
pub(super) const EVIDENCE_MAX: usize = 1_000_000;

/// Heights one after another that are all in an index, or all missing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) things: u64,
    pub(super) present: bool,
}

/// Which heights an index knows, in runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    pub(super) runs: Vec<Run>,
}

impl Coverage {
    /// Notes that `things` of `height` are present or missing; heights ascend.
    pub(super) fn note(&mut self, height: u64, things: u64, present: bool) {
        if things > 0 {
            self.append(Run { first: height, last: height, things, present });
        }
    }

    fn append(&mut self, run: Run) {
        let room = self.runs.len() < RUNS_MAX;
        match self.runs.last_mut() {
            Some(last) if last.present == run.present => {
                last.last = run.last;
                last.things += run.things;
            }
            _ if room => self.runs.push(run),
            _ => {}
        }
    }
}

/// Evidence that a block carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// Height and hash under which it is marked.
    pub(super) height: u64,
    pub(super) hash: Hash,
    /// The block that carries it.
    pub(super) block: u64,
}

/// What was found at a range of heights.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) parts: u64,
    pub(super) hashes_indexed: u64,
    pub(super) results_missing: u64,
    /// Blocks that couldn't be judged: their meta, or a part of them, is missing or wrong.
    pub(super) unjudged: u64,
    pub(super) attacks: u64,
    pub(super) evidence: Vec<Carried>,
    /// Entries of the transaction index that were found at their places.
    pub(super) indexed_results: u64,
    pub(super) indexed_heights: u64,
    pub(super) indexed_blocks: u64,
    pub(super) tx_coverage: Coverage,
    pub(super) block_coverage: Coverage,
}

impl Outcome {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::nothing(),
            parts: 0,
            hashes_indexed: 0,
            results_missing: 0,
            unjudged: 0,
            attacks: 0,
            evidence: Vec::new(),
            indexed_results: 0,
            indexed_heights: 0,
            indexed_blocks: 0,
            tx_coverage: Coverage::default(),
            block_coverage: Coverage::default(),
        }
    }

    /// Takes over the outcome of the range that follows.
    pub(super) fn follow(&mut self, next: Outcome) {
        self.verdict.absorb(next.verdict);
        self.parts += next.parts;
        self.hashes_indexed += next.hashes_indexed;
        self.results_missing += next.results_missing;
        self.unjudged += next.unjudged;
        self.attacks += next.attacks;
        let room = EVIDENCE_MAX.saturating_sub(self.evidence.len());
        self.evidence.extend(next.evidence.into_iter().take(room));
        self.indexed_results += next.indexed_results;
        self.indexed_heights += next.indexed_heights;
        self.indexed_blocks += next.indexed_blocks;
        for (mine, theirs) in [
            (&mut self.tx_coverage, next.tx_coverage),
            (&mut self.block_coverage, next.block_coverage),
        ] {
            theirs.runs.into_iter().for_each(|run| mine.append(run));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_across_ranges() {
        let (mut left, mut right) = (Outcome::new(), Outcome::new());
        left.tx_coverage.note(1, 3, true);
        left.tx_coverage.note(2, 0, false);
        left.tx_coverage.note(3, 1, true);
        right.tx_coverage.note(4, 2, true);
        right.tx_coverage.note(9, 5, false);
        left.follow(right);
        assert_eq!(
            left.tx_coverage.runs,
            [
                Run { first: 1, last: 4, things: 6, present: true },
                Run { first: 9, last: 9, things: 5, present: false },
            ]
        );
    }
}
