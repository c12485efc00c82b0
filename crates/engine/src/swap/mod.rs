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
//! Where things stand is recomputed from the disk, never remembered.
//!
//! Invariant: signer state and consensus log are never read for writing, moved or copied here.

mod config;
mod exchange;
mod files;
mod fingerprint;
mod locks;
mod record;
mod standing;
mod steps;

use crate::error::{Error, Kind, Result};
use crate::moves::{Fingerprint, Held, Standing, SwapPlan, Swapper, Verified};
use crate::watch::StepLog;
use std::path::{Path, PathBuf};
use transload_store::Home;

/// The swap on the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSwap;

impl Swapper for FileSwap {
    fn probe_exchange(&self, staging_dir: &Path, folder: &Path) -> Result<()> {
        exchange::probe(staging_dir, folder)
    }

    fn hold(&self, databases: &[PathBuf]) -> Result<Box<dyn Held>> {
        locks::hold(databases)
    }

    fn fingerprint(&self, path: &Path) -> Result<Fingerprint> {
        fingerprint::of(path)
    }

    fn standing(&self, swap: &SwapPlan) -> Result<Standing> {
        standing::of(swap)
    }

    fn cut_over(&self, swap: &SwapPlan, verified: &Verified, log: &dyn StepLog) -> Result<()> {
        if let Some(stranger) = swap.moves.iter().find(|one| !verified.covers(&one.database)) {
            return Err(Error::new(
                Kind::Refused,
                "cut over",
                "a database that was not verified would be swapped in",
            )
            .with("database", stranger.database.clone()));
        }
        steps::forward(swap, log)
    }

    fn may_roll_back(&self, swap: &SwapPlan, home: &Home) -> Result<()> {
        steps::may_roll_back(swap, home)
    }

    fn roll_back(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
        steps::backward(swap, log)
    }

    fn free(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
        steps::free(swap, log)
    }
}

#[cfg(test)]
mod tests;
