//! How long a campaign is.

use crate::shared::{self, Dice, number};
use crate::victims;
use std::fmt::Debug;

/// Double kills of a run whose length nobody has set.
const PAIRS: u64 = 16;

/// Kills at random moments of a run whose length nobody has set.
const MOMENTS: u64 = 30;

/// The campaign's length and seed.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `TRANSLOAD_SEED`: decides which steps are taken where not all are, and orders.
    pub(crate) seed: u64,
    /// `TRANSLOAD_CRASH_STEPS`: at most so many steps of each command are killed at, spread
    /// evenly over all of them.
    steps_max: Option<u64>,
    /// `TRANSLOAD_CRASH_PAIRS`: so many double kills.
    pub(crate) pairs: u64,
    /// `TRANSLOAD_CRASH_MOMENTS`: so many kills at random moments.
    pub(crate) moments: u64,
    /// `TRANSLOAD_CRASH_WORKERS`: victims at the same time; else one a core.
    pub(crate) workers: usize,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        Self {
            seed: number("TRANSLOAD_SEED").unwrap_or(1),
            steps_max: number("TRANSLOAD_CRASH_STEPS"),
            pairs: number("TRANSLOAD_CRASH_PAIRS").unwrap_or(PAIRS),
            moments: number("TRANSLOAD_CRASH_MOMENTS").unwrap_or(MOMENTS),
            workers: victims::workers("TRANSLOAD_CRASH_WORKERS"),
        }
    }

    /// The dice of one piece of work: the same whichever worker does it.
    pub(crate) fn dice(&self, purpose: u64) -> Dice {
        Dice::of(self.seed, purpose)
    }

    /// Which of these steps are killed at: so many as are set or else `otherwise`, spread evenly.
    pub(crate) fn chosen(&self, all: Vec<u64>, otherwise: u64) -> Vec<u64> {
        let (count, kills) = (all.len() as u64, self.steps_max.unwrap_or(otherwise));
        if kills >= count {
            return all;
        }
        let first = self.dice(0).below(all.len()) as u64;
        let number = |kill| (first + kill * count / kills) % count;
        let at =
            |kill| usize::try_from(number(kill)).ok().and_then(|index| all.get(index).copied());
        let mut chosen: Vec<u64> = (0..kills).filter_map(at).collect();
        chosen.sort_unstable();
        chosen
    }

    /// Does all of the work, on so many threads as are set.
    pub(crate) fn each<T: Copy + Debug + Send + Sync>(&self, work: &[T], act: impl Fn(T) + Sync) {
        shared::each(self.workers, work, act);
    }
}
