//! What the journal of a killed migration says.

use crate::stand::GOVERNED;
use std::path::Path;
use std::sync::Arc;
use transload_engine::phase::Phase;
use transload_engine::{HomeIdentity, Journal};

/// The journal's account of the attempt at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Chunks that the attempt has, in databases whose chunks are cut.
    pub(crate) chunks: u64,
    /// Chunks that are durable in the target.
    pub(crate) copied: u64,
    /// Chunks that were read back and are equal.
    pub(crate) verified: u64,
    /// Where the migration stands.
    pub(crate) phase: Phase,
    /// Whether a step of the swap was begun.
    pub(crate) swap_begun: bool,
}

impl Ledger {
    /// Reads a copy of the journal, so that the next process still meets it as the kill has
    /// left it. `None` before there is one.
    pub(crate) fn of(home: &Path) -> Option<Self> {
        let folder = tempfile::tempdir_in(crate::victims::scratch()).unwrap();
        let journal = Journal::path_in(&home.join(".transload"));
        if !journal.exists() {
            return None;
        }
        std::fs::copy(journal, Journal::path_in(folder.path())).unwrap();
        let identity = HomeIdentity::of(home).unwrap();
        let journal = Journal::open(folder.path(), &identity, Arc::new(|_| ())).unwrap();
        let attempt = journal.attempt().unwrap();
        let mut ledger = Self {
            chunks: 0,
            copied: 0,
            verified: 0,
            phase: journal.state().unwrap().phase(),
            swap_begun: !journal.steps().unwrap().is_empty(),
        };
        for database in GOVERNED {
            let map = journal.chunk_map(attempt, database).unwrap();
            let ranges = journal.ranges(attempt, database).unwrap().unwrap_or_default();
            ledger.chunks += ranges.len() as u64;
            ledger.copied += map.iter().filter(|chunk| !chunk.failed).count() as u64;
            ledger.verified += map.iter().filter(|chunk| chunk.verified).count() as u64;
        }
        Some(ledger)
    }
}
