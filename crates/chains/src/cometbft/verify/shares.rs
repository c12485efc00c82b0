//! One progress over the checks of heights, those of the application's state and those of its
//! snapshots, which count different things.

use crate::cometbft::database::{self, APPLICATION, BLOCKSTORE, SNAPSHOTS};
use crate::cometbft::home::snapshots_folder;
use crate::snapshots;
use transload_store::{HomeView, KeyRange, Result};

/// How much longer the checks of an application take for its bytes on disk than those of blocks
/// for theirs: its entries are small, and are joined with their children.
const APPLICATION_WEIGHT: u64 = 6;

/// The same for snapshots: they are decompressed, and hashed twice.
const SNAPSHOTS_WEIGHT: u64 = 3;

/// What part of the application's checks the reading of its entries is, in percent; the rest
/// joins them.
const READING_PERCENT: u64 = 85;

/// The parts that heights, application and snapshots have in the progress of all.
pub(super) struct Shares {
    pub(super) blocks: u64,
    application: u64,
    snapshots: u64,
}

impl Shares {
    pub(super) fn of(view: HomeView<'_>) -> Result<Self> {
        let blocks = match view.databases.snapshot(BLOCKSTORE) {
            Some(snapshot) => snapshot.approximate_bytes(&KeyRange::all())?,
            None => 0,
        };
        let application = match view.databases.snapshot(APPLICATION) {
            Some(snapshot) if database::holds_multistore(&*snapshot)? => {
                snapshot.approximate_bytes(&KeyRange::all())?
            }
            _ => 0,
        };
        let snapshots = match (view.databases.snapshot(SNAPSHOTS), snapshots_folder(view.home)) {
            (Some(metadata), Some(folder)) => {
                snapshots::listed(&*metadata, folder)?.iter().map(|one| one.bytes).sum()
            }
            _ => 0,
        };
        Ok(Self::new(blocks, application, snapshots))
    }

    fn new(blocks: u64, application: u64, snapshots: u64) -> Self {
        let application = application.saturating_mul(APPLICATION_WEIGHT);
        let snapshots = snapshots.saturating_mul(SNAPSHOTS_WEIGHT);
        Self { blocks: blocks.max(1), application, snapshots }
    }

    pub(super) fn total(&self) -> u64 {
        self.blocks.saturating_add(self.application).saturating_add(self.snapshots)
    }

    /// So many of all heights are checked.
    pub(super) fn heights(&self, done: u64, of: u64) -> u64 {
        part(self.blocks, done, of)
    }

    /// All heights are checked, and so many of the application's bytes are read.
    pub(super) fn state(&self, done: u64, of: u64) -> u64 {
        let reading = part(self.application, READING_PERCENT, 100);
        self.blocks.saturating_add(part(reading, done, of))
    }

    /// The application's state is checked, and so much of its snapshots.
    pub(super) fn snapshots(&self, done: u64, of: u64) -> u64 {
        let before = self.blocks.saturating_add(self.application);
        before.saturating_add(part(self.snapshots, done, of))
    }

    /// Tells how far the checks are. All is done when the verdict is there, not before.
    pub(super) fn tell(&self, progress: &(dyn Fn(u64, u64) -> bool + Sync), done: u64) -> bool {
        progress(done.min(self.total().saturating_sub(1)), self.total())
    }
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
    fn progress_neither_falls_nor_ends_between_heights_and_application() {
        let shares = Shares::new(1_000, 500, 100);
        let told = Mutex::new(Vec::new());
        let tell = |done, total| {
            told.lock().unwrap().push((done, total));
            true
        };
        for height in 0..=10 {
            shares.tell(&tell, shares.heights(height, 10));
        }
        for bytes in (0..=500).step_by(50) {
            shares.tell(&tell, shares.state(bytes, 500));
        }
        // A store that grew since its size was taken.
        shares.tell(&tell, shares.state(900, 500));
        for bytes in (0..=100).step_by(20) {
            shares.tell(&tell, shares.snapshots(bytes, 100));
        }
        let told = told.into_inner().unwrap();
        assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{told:?}");
        assert!(told.iter().all(|(done, total)| *done < *total && *total == shares.total()));
        assert_eq!(told[10].0, 1_000);
    }

    #[test]
    fn a_home_without_application_is_in_progress_until_its_end() {
        let shares = Shares::new(1_000, 0, 0);
        let last = Mutex::new(0);
        let tell = |done, _| {
            *last.lock().unwrap() = done;
            true
        };
        shares.tell(&tell, shares.heights(10, 10));
        assert_eq!(*last.lock().unwrap(), 999);
    }
}
