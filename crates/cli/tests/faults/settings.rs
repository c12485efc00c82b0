//! How long a campaign is.

use crate::shared::{self, Dice, number};
use crate::victims;
use std::process::{Command, Stdio};

/// Runs of each case where nobody has set a number: together they take less than a minute.
const RUNS: u64 = 12;

/// The campaign's length and seed.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `TRANSLOAD_SEED`: decides what goes wrong, and when.
    pub(crate) seed: u64,
    /// `TRANSLOAD_FAULT_CALLS`: so many runs with system calls that go wrong, for each case.
    pub(crate) calls: u64,
    /// `TRANSLOAD_FAULT_FRAMES`: so many with spoiled frames.
    pub(crate) frames: u64,
    /// `TRANSLOAD_FAULT_HANGS`: so many helpers that hang for a minute each; else none.
    pub(crate) hangs: u64,
    /// `TRANSLOAD_FAULT_BYTES`: so many with spoiled files.
    pub(crate) bytes: u64,
    /// `TRANSLOAD_FAULT_WORKERS`: runs at the same time; else one a core.
    workers: usize,
    /// Whether `strace` is there and may trace.
    pub(crate) strace: bool,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let runs = |name| number(name).unwrap_or(RUNS);
        Self {
            seed: number("TRANSLOAD_SEED").unwrap_or(1),
            calls: runs("TRANSLOAD_FAULT_CALLS"),
            frames: runs("TRANSLOAD_FAULT_FRAMES"),
            hangs: number("TRANSLOAD_FAULT_HANGS").unwrap_or(0),
            bytes: runs("TRANSLOAD_FAULT_BYTES"),
            workers: victims::workers("TRANSLOAD_FAULT_WORKERS"),
            strace: has_strace(),
        }
    }

    /// The dice of one run: the same whichever worker does it.
    pub(crate) fn dice(&self, purpose: &str, run: u64) -> Dice {
        let mut mixed = Dice::of(self.seed, run);
        for byte in purpose.bytes() {
            mixed.0 ^= mixed.roll(u64::MAX).wrapping_add(u64::from(byte));
        }
        mixed
    }

    /// Does a number of runs on so many threads as are set.
    pub(crate) fn each(&self, runs: u64, act: impl Fn(u64) + Sync) {
        let runs: Vec<u64> = (0..runs).collect();
        shared::each(self.workers, &runs, act);
    }
}

fn has_strace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "--seccomp-bpf", "-e", "trace=fsync", "--", "true"]);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// One of these.
pub(crate) fn pick<'a, T>(dice: &mut Dice, from: &'a [T]) -> &'a T {
    &from[dice.below(from.len())]
}
