//! How long a campaign is, and the dice that it throws.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runs = |name| number(name).unwrap_or(RUNS);
        Self {
            seed: number("TRANSLOAD_SEED").unwrap_or(1),
            calls: runs("TRANSLOAD_FAULT_CALLS"),
            frames: runs("TRANSLOAD_FAULT_FRAMES"),
            hangs: number("TRANSLOAD_FAULT_HANGS").unwrap_or(0),
            bytes: runs("TRANSLOAD_FAULT_BYTES"),
            workers: number("TRANSLOAD_FAULT_WORKERS")
                .and_then(|workers| usize::try_from(workers).ok())
                .unwrap_or(cores),
            strace: has_strace(),
        }
    }

    /// The dice of one run: the same whichever worker does it.
    pub(crate) fn dice(&self, purpose: &str, run: u64) -> Dice {
        let mut mixed = Dice(self.seed ^ run.wrapping_mul(0x2545_f491_4f6c_dd1d));
        for byte in purpose.bytes() {
            mixed.0 ^= mixed.roll(u64::MAX).wrapping_add(u64::from(byte));
        }
        mixed
    }

    /// Does a number of runs on so many threads as are set. A run that panics doesn't keep the
    /// others from being done: what they find is wanted too.
    pub(crate) fn each(&self, runs: u64, act: impl Fn(u64) + Sync) {
        let next = AtomicU64::new(0);
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                scope.spawn(|| {
                    loop {
                        let run = next.fetch_add(1, Ordering::SeqCst);
                        if run >= runs {
                            return;
                        }
                        let done =
                            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(run)));
                        if done.is_err() {
                            failures.lock().unwrap().push(run);
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap();
        assert!(failures.is_empty(), "{} of {runs} runs failed: {failures:?}", failures.len());
    }
}

fn has_strace() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "--seccomp-bpf", "-e", "trace=fsync", "--", "true"]);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// Where homes live: in memory where the machine offers it, since thousands of them are written
/// and thrown away.
pub(crate) fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let usable = std::env::var_os("TMPDIR").is_none()
        && tempfile::Builder::new().prefix("transload-faults-").tempdir_in(&memory).is_ok();
    if usable { memory } else { std::env::temp_dir() }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Pseudo-random numbers from a seed (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }
}
