//! A validator's signer state, read while the node writes it.

use crate::home::NodeHome;
use crate::rpc::number;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at the file.
const PAUSE: Duration = Duration::from_millis(2);

/// What a signature is for: height, round, and step (1 proposal, 2 prevote, 3 precommit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    /// Height.
    pub(crate) height: u64,
    /// Round.
    pub(crate) round: u64,
    /// Step.
    pub(crate) step: u64,
}

/// Where the signer keeps its state.
pub(crate) fn state_file(home: &NodeHome) -> PathBuf {
    home.path().join("data/priv_validator_state.json")
}

/// The last point that the signer has signed.
pub(crate) fn last_signed(home: &NodeHome) -> Point {
    read(&state_file(home))
}

fn read(file: &Path) -> Point {
    let state: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    Point {
        height: number(&state["height"]).unwrap(),
        round: state["round"].as_u64().unwrap(),
        step: state["step"].as_u64().unwrap(),
    }
}

/// Looks at the signer's state all the time and fails when it ever goes back.
#[derive(Debug)]
pub(crate) struct Watcher {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watcher {
    /// Begins to look.
    pub(crate) fn start(home: &NodeHome) -> Self {
        let (file, ended) = (state_file(home), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let (mut last, mut changes) = (read(&file), 0);
            while !asked.load(Ordering::Relaxed) {
                let now = read(&file);
                assert!(now >= last, "the signer's state went back from {last:?} to {now:?}");
                changes += u64::from(now > last);
                last = now;
                std::thread::sleep(PAUSE);
            }
            changes
        });
        Self { ended, thread }
    }

    /// How often it has gone forward.
    pub(crate) fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("the signer's state went back")
    }
}
