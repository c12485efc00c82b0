//! Runs a program to its end or to a deadline.

use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Whoever takes longer tries for ever. A helper that hangs is given up after a minute, perhaps
/// one for each database.
const DEADLINE: Duration = Duration::from_secs(400);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    signal: Option<i32>,
    /// What it said on standard error.
    pub(crate) said: String,
    /// What it said on standard output.
    pub(crate) shown: String,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Run {
    /// In words, for messages.
    pub(crate) fn in_words(&self) -> String {
        let ended = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {signal:?}"),
        };
        format!("{ended} after {:.1} s: {}", self.took.as_secs_f64(), self.said.trim())
    }
}

/// Runs a command; its words go to files in `folder`, since a helper that lives on would hold a
/// pipe open.
///
/// # Panics
/// It doesn't end by the deadline.
pub(crate) fn run(command: &mut Command, folder: &Path, what: &str) -> Run {
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    let group = Pid::from_child(&child);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > DEADLINE {
            kill_process_group(group, Signal::KILL).unwrap();
            child.wait().unwrap();
            let said = String::from_utf8_lossy(&std::fs::read(&err).unwrap()).into_owned();
            panic!("{what}: it works for ever; so far it said: {said}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    // Whoever is left of the group has lost its transload.
    let _ = kill_process_group(group, Signal::KILL);
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    Run {
        code: status.code(),
        signal: status.signal(),
        said: text(&err),
        shown: text(&out),
        took: began.elapsed(),
    }
}
