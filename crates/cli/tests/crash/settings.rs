//! How long a campaign is, and the dice that it throws.

use std::path::PathBuf;
use std::sync::Mutex;

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
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            seed: number("TRANSLOAD_SEED").unwrap_or(1),
            steps_max: number("TRANSLOAD_CRASH_STEPS"),
            pairs: number("TRANSLOAD_CRASH_PAIRS").unwrap_or(PAIRS),
            moments: number("TRANSLOAD_CRASH_MOMENTS").unwrap_or(MOMENTS),
            workers: number("TRANSLOAD_CRASH_WORKERS")
                .and_then(|workers| usize::try_from(workers).ok())
                .unwrap_or(cores),
        }
    }

    /// The dice of one piece of work: the same whichever worker does it.
    pub(crate) fn dice(&self, purpose: u64) -> Dice {
        Dice(self.seed ^ purpose.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// Which of these steps are killed at: so many as are set or else `otherwise`, spread evenly.
    pub(crate) fn chosen(&self, all: Vec<u64>, otherwise: u64) -> Vec<u64> {
        let (count, kills) = (all.len() as u64, self.steps_max.unwrap_or(otherwise));
        if kills >= count {
            return all;
        }
        let first = self.dice(0).roll(count);
        let number = |kill| (first + kill * count / kills) % count;
        let at =
            |kill| usize::try_from(number(kill)).ok().and_then(|index| all.get(index).copied());
        let mut chosen: Vec<u64> = (0..kills).filter_map(at).collect();
        chosen.sort_unstable();
        chosen
    }

    /// Does all of the work, on so many threads as are set.
    pub(crate) fn each<T: Copy + Send + Sync>(&self, work: &[T], act: impl Fn(T) + Sync) {
        let queue = Mutex::new(work.iter());
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(|poison| poison.into_inner()).next();
                        let Some(one) = next else { return };
                        act(*one);
                    }
                });
            }
        });
    }
}

/// Where victims live: in memory where the machine offers it, since thousands of homes are
/// written and thrown away, and a kill (unlike a power cut) doesn't depend on the disk.
pub(crate) fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let usable = std::env::var_os("TMPDIR").is_none()
        && tempfile::Builder::new().prefix("transload-crash-").tempdir_in(&memory).is_ok();
    if usable { memory } else { std::env::temp_dir() }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Pseudo-random numbers from a seed (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
