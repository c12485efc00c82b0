//! Puts verified targets in the place of a home's databases, and back.
//!
//! Several directories and two config files change; no file system does that in one step. At
//! every instant, a power cut included, the node starts on the old databases whole, on the new
//! ones whole, or refuses by a text that names transload. See docs/adr/0003-swap-guard.md.
//!
//! Each database has three places and three things in them: at its live path, at the target's
//! staging path and at the path where the old one is kept stand, in some order, the old
//! database, the new one, and a *guard*, a regular file that no engine opens as a directory.
//! Every step exchanges two of them, so that no path is ever absent:
//!
//! | | live | target | kept |
//! |---|---|---|---|
//! | old | old database | new database | guard |
//! | guarded | guard | new database | old database |
//! | new | new database | guard | old database |
//!
//! A config file has three places and three contents in the same way, so that nothing has to be
//! written once the first step is made, and the old file comes back as it was.
//!
//! Where things stand is recomputed from the disk, never remembered.
//!
//! Invariant: signer state and consensus log are never read for writing, moved or copied here.

mod attributes;
mod config;
mod disk;
mod exchange;
mod finalize;
mod fingerprint;
mod guard;
mod locks;
mod plan;
mod record;
mod rollback;
mod standing;
mod steps;
mod told;

use crate::error::{Error, Kind, Result};
use crate::moves::{Fence, Fingerprint, Held, Standing, SwapPlan, Swapper, Verified};
use crate::watch::{StepLog, Watch};
pub use disk::{Disk, RealDisk};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use told::Told;
use transload_store::Engines;

/// The swap on the file system.
pub struct FileSwap {
    engines: Arc<dyn Engines>,
    disk: Box<dyn Disk + Send + Sync>,
    locks: locks::LockTable,
}

impl std::fmt::Debug for FileSwap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSwap").field("locks", &self.locks).finish_non_exhaustive()
    }
}

impl FileSwap {
    /// A swapper that tells engines by their files through `engines`.
    #[must_use]
    pub fn new(engines: Arc<dyn Engines>) -> Self {
        Self::on(Box::new(RealDisk), engines)
    }

    /// As [`FileSwap::new`], on a disk whose calls a test lets fail.
    #[must_use]
    pub fn on(disk: Box<dyn Disk + Send + Sync>, engines: Arc<dyn Engines>) -> Self {
        Self { engines, disk, locks: locks::LockTable::default() }
    }

    fn tools<'t>(&'t self, disk: &'t Told<'_>, log: &'t dyn StepLog) -> steps::Tools<'t> {
        steps::Tools { disk, engines: &*self.engines, log }
    }

    /// The disk, with each of its calls told to `hook`.
    fn told<'t>(&'t self, hook: &'t dyn Fn(&str)) -> Told<'t> {
        Told { disk: &*self.disk, hook }
    }

    /// The locks of every database of the swap, wherever it stands.
    fn hold_all(&self, swap: &SwapPlan) -> Result<Box<dyn Held>> {
        let places = swap.moves.iter().flat_map(|one| [&one.live, &one.target, &one.kept]);
        self.locks.hold(places, &*self.engines)
    }
}

impl Swapper for FileSwap {
    fn probe_exchange(&self, staging_dir: &Path, folder: &Path, watch: &Watch) -> Result<()> {
        exchange::probe(&self.told(&|call| watch.step(call)), staging_dir, folder)
    }

    fn sweep(&self, folder: &Path) -> Result<()> {
        exchange::sweep_probes(folder)
            .map_err(|error| disk::stopped("remove what a probe left", folder, error))
    }

    fn hold(&self, databases: &[PathBuf]) -> Result<Box<dyn Held>> {
        self.locks.hold(databases, &*self.engines)
    }

    fn fingerprint(&self, path: &Path) -> Result<Fingerprint> {
        fingerprint::of(path)
    }

    fn seal(&self, path: &Path) -> Result<Fingerprint> {
        fingerprint::seal(path)
    }

    fn standing(&self, swap: &SwapPlan) -> Result<Standing> {
        standing::of(swap, &*self.engines)
    }

    fn cut_over(&self, swap: &SwapPlan, verified: &Verified, log: &dyn StepLog) -> Result<()> {
        let refuse = |what: &str, database: &str| {
            Err(Error::new(Kind::Refused, "cut over", what)
                .with("database", database.to_owned())
                .next("`transload rollback HOME`, then migrate again"))
        };
        for one in &swap.moves {
            let Some(entries) = verified.entries_of(&one.database) else {
                return refuse(
                    "a database that was not verified would be swapped in",
                    &one.database,
                );
            };
            // Whoever opens a directory that has only a log with another engine empties it.
            if entries > 0 && one.target.is_dir() {
                let target = self
                    .engines
                    .recognise(&one.target)
                    .map_err(|error| Error::store(Kind::Refused, "recognise the target", error))?;
                if !target.has_tables {
                    return refuse(
                        "the target has only a log and no table file, so another engine could \
                         empty it",
                        &one.database,
                    );
                }
            }
        }
        let _attempt = locks::hold_attempt(&swap.attempt_dir)?;
        if self.standing(swap)? == Standing::New {
            return Ok(());
        }
        let _databases = self.hold_all(swap)?;
        steps::forward(swap, self.tools(&self.told(&|call| log.call(call)), log))
    }

    fn may_roll_back(&self, swap: &SwapPlan, now: &Fence) -> Result<()> {
        match self.standing(swap)? {
            Standing::Old => return Ok(()),
            Standing::Unknown(why) => return Err(steps::unknown(why)),
            Standing::New | Standing::Between => {}
        }
        let _databases = self.hold_all(swap)?;
        rollback::may_roll_back(swap, now)
    }

    fn roll_back(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
        let _attempt = locks::hold_attempt(&swap.attempt_dir)?;
        let _databases = self.hold_all(swap)?;
        for path in swap.moves.iter().map(|one| &one.live).chain(swap.edits.iter().map(|e| &e.path))
        {
            self.sweep(disk::parent(path))?;
        }
        steps::backward(swap, self.tools(&self.told(&|call| log.call(call)), log))
    }

    fn free(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
        if !swap.attempt_dir.is_dir() {
            return Ok(());
        }
        let _attempt = locks::hold_attempt(&swap.attempt_dir)?;
        finalize::free(swap, self.tools(&self.told(&|call| log.call(call)), log))
    }
}

#[cfg(test)]
mod tests;
