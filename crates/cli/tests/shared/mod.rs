//! What the campaigns' programs share: dice, numbers from the environment, and work that is
//! spread over threads.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// A number from the environment.
///
/// # Panics
/// It is set to something else.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// How many threads can run at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does all of the work on so many threads. A piece that panics doesn't keep the others from being
/// done: what they find is wanted too.
///
/// # Panics
/// A piece did, after the last one.
pub(crate) fn each<T: Copy + Debug + Send + Sync>(
    workers: usize,
    work: &[T],
    act: impl Fn(T) + Sync,
) {
    let queue = Mutex::new(work.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(one) = next else { return };
                    if catch_unwind(AssertUnwindSafe(|| act(*one))).is_err() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(*one);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), work.len());
}

/// Pseudo-random numbers from a seed (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Dice of one piece of work: the same whichever worker does it.
    pub(crate) fn of(seed: u64, piece: u64) -> Self {
        Self(seed ^ piece.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// As [`Dice::roll`], for places.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll(bound as u64)).unwrap()
    }
}
