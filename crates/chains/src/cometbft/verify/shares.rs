//! One progress over the checks of heights, the scans, and the checks of the application's state
//! and of its snapshots, which count different things: all in the nanoseconds that a core takes for
//! them, about.

use super::Ctx;
use crate::cometbft::database::{self, APPLICATION, BLOCKSTORE, SNAPSHOTS, STATE, TX_INDEX};
use crate::cometbft::home::snapshots_folder;
use crate::cometbft::layout::blockstore as block_table;
use crate::cometbft::wire::commit::Commit;
use crate::snapshots;
use transload_store::{HomeView, KeyRange, Result};

/// Reading and decoding a height's records, hashing its header and what else is small.
const HEIGHT_NANOS: u64 = 150_000;

/// A signature in a batch.
const SIGNATURE_NANOS: u64 = 12_000;

/// A byte of a block, which is hashed as a part and as a transaction.
const BLOCK_BYTE_NANOS: u64 = 6;

/// A byte in a scan.
const SCAN_BYTE_NANOS: u64 = 3;

/// A byte of an application: its entries are small, and are joined with their children.
const APPLICATION_BYTE_NANOS: u64 = 50;

/// A byte of a snapshot's files: it is decompressed, and hashed twice.
const SNAPSHOT_BYTE_NANOS: u64 = 25;

/// The parts that heights, scans, application and snapshots have in the progress of all.
pub(super) struct Shares {
    heights: u64,
    scan: u64,
    scan_bytes: u64,
    application: u64,
    snapshots: u64,
}

impl Shares {
    pub(super) fn of(view: HomeView<'_>, ctx: &Ctx<'_>) -> Result<Self> {
        let bytes = |name| match view.databases.snapshot(name) {
            Some(snapshot) => snapshot.approximate_bytes(&KeyRange::all()),
            None => Ok(0),
        };
        let application = match view.databases.snapshot(APPLICATION) {
            Some(snapshot) if database::holds_multistore(&*snapshot)? => bytes(APPLICATION)?,
            _ => 0,
        };
        let blocks = bytes(BLOCKSTORE)?;
        let scanned = blocks.saturating_add(bytes(STATE)?).saturating_add(bytes(TX_INDEX)?);
        let heights = ctx.last.saturating_sub(ctx.first_header).saturating_add(1);
        let snapshots = match (view.databases.snapshot(SNAPSHOTS), snapshots_folder(view.home)) {
            (Some(metadata), Some(folder)) => {
                snapshots::listed(&*metadata, folder)?.iter().map(|one| one.bytes).sum()
            }
            _ => 0,
        };
        Ok(Self::new(heights, signatures(ctx)?, blocks, scanned, application, snapshots))
    }

    fn new(
        heights: u64,
        signatures: u64,
        blocks: u64,
        scanned: u64,
        application: u64,
        snapshots: u64,
    ) -> Self {
        let a_height = signatures.saturating_mul(SIGNATURE_NANOS).saturating_add(HEIGHT_NANOS);
        Self {
            heights: heights
                .saturating_mul(a_height)
                .saturating_add(blocks.saturating_mul(BLOCK_BYTE_NANOS)),
            scan: scanned.saturating_mul(SCAN_BYTE_NANOS),
            scan_bytes: scanned,
            application: application.saturating_mul(APPLICATION_BYTE_NANOS),
            snapshots: snapshots.saturating_mul(SNAPSHOT_BYTE_NANOS),
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.state(u64::MAX, 1).saturating_add(self.snapshots)
    }

    /// So many of all heights are checked.
    pub(super) fn heights(&self, done: u64, of: u64) -> u64 {
        part(self.heights, done, of)
    }

    /// All heights are checked, and so many bytes are scanned.
    pub(super) fn scanned(&self, bytes: u64) -> u64 {
        self.heights.saturating_add(part(self.scan, bytes, self.scan_bytes))
    }

    /// All is scanned, and so much of the application's checks is done.
    pub(super) fn state(&self, done: u64, of: u64) -> u64 {
        self.scanned(u64::MAX).saturating_add(part(self.application, done, of))
    }

    /// The application's state is checked, and so much of its snapshots.
    pub(super) fn snapshots(&self, done: u64, of: u64) -> u64 {
        self.state(u64::MAX, 1).saturating_add(part(self.snapshots, done, of))
    }

    /// Tells how far the checks are. All is done when the verdict is there, not before.
    pub(super) fn tell(&self, progress: &(dyn Fn(u64, u64) -> bool + Sync), done: u64) -> bool {
        progress(done.min(self.total().saturating_sub(1)), self.total())
    }
}

/// How many signatures a commit has, by the last one.
fn signatures(ctx: &Ctx<'_>) -> Result<u64> {
    for table in [block_table::SEEN_COMMIT, block_table::COMMIT] {
        for height in [ctx.last, ctx.last.saturating_sub(1)] {
            if let Some(stored) = ctx.blocks.at(table, height)?
                && let Ok(commit) = Commit::decode(&stored)
            {
                return Ok(commit.signatures.len() as u64);
            }
        }
    }
    Ok(0)
}

fn part(amount: u64, done: u64, of: u64) -> u64 {
    let part = u128::from(amount) * u128::from(done.min(of)) / u128::from(of.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn progress_neither_falls_nor_ends_between_heights_scans_application_and_snapshots() {
        let shares = Shares::new(10, 4, 30_000, 50_000, 5_000, 100);
        let told = Mutex::new(Vec::new());
        let tell = |done, total| {
            told.lock().unwrap().push((done, total));
            true
        };
        for height in 0..=10 {
            shares.tell(&tell, shares.heights(height, 10));
        }
        // A second scan, which only a damaged home needs, was not foreseen.
        for bytes in (0..=100_000).step_by(10_000) {
            shares.tell(&tell, shares.scanned(bytes));
        }
        for done in (0..=500).step_by(50) {
            shares.tell(&tell, shares.state(done, 500));
        }
        // A store that grew since its size was taken.
        shares.tell(&tell, shares.state(900, 500));
        for bytes in (0..=100).step_by(20) {
            shares.tell(&tell, shares.snapshots(bytes, 100));
        }
        let told = told.into_inner().unwrap();
        assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{told:?}");
        assert!(told.iter().all(|(done, total)| *done < *total && *total == shares.total()));
        assert_eq!(
            told[10].0,
            10 * (HEIGHT_NANOS + 4 * SIGNATURE_NANOS) + BLOCK_BYTE_NANOS * 30_000
        );
    }

    #[test]
    fn a_home_without_application_is_in_progress_until_its_end() {
        let shares = Shares::new(1_000, 0, 0, 0, 0, 0);
        let last = Mutex::new(0);
        let tell = |done, _| {
            *last.lock().unwrap() = done;
            true
        };
        shares.tell(&tell, shares.heights(10, 10));
        assert_eq!(*last.lock().unwrap(), shares.total() - 1);
    }

    #[test]
    fn sizes_of_foreign_origin_overflow_nothing() {
        let shares = Shares::new(u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert_eq!((shares.total(), shares.state(1, 2)), (u64::MAX, u64::MAX));
    }
}
