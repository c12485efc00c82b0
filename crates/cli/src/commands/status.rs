//! `transload status` and `transload halt`: a look at, and a word to, a running migration.

use crate::args::{OfHome, Status as Arguments};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{pace, settlement};
use bytesize::ByteSize;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use transload_engine::{Answer, Request, Result, Status, ask, read_status, state_dir_of};

/// How often `--follow` looks.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Chunks a line of the map.
const MAP_WIDTH: usize = 64;

/// Runs `status`.
pub(crate) fn run(context: &Context, args: &Arguments) -> Result<Exit> {
    let state_dir = state_dir_of(&args.home);
    if args.wait {
        return super::wait::run(context, args);
    }
    loop {
        let shown = Shown::now(&state_dir)?;
        context.print(&shown, || text(&shown));
        if !args.follow || shown.status.halted || !shown.running {
            return Ok(Exit::Done);
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// The status, and whether a process stands behind it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    /// Whether a process owns the migration now.
    running: bool,
}

impl Shown {
    /// What the owner says; without one, what the last owner has written.
    fn now(state_dir: &Path) -> Result<Self> {
        if let Ok(Answer::Status { status }) = ask(state_dir, Request::Status) {
            return Ok(Self { status: *status, running: true });
        }
        Ok(Self { status: read_status(state_dir)?, running: false })
    }

    /// Whether the phase is one in which a process works.
    fn is_at_work(&self) -> bool {
        ["copying", "verifying"].contains(&self.status.phase.as_str()) || self.is_between()
    }

    /// Whether the home may stand on neither side.
    fn is_between(&self) -> bool {
        ["cutting_over", "rolling_back", "finalizing"].contains(&self.status.phase.as_str())
    }

    /// What to say when the process is gone that should be at work.
    fn abandoned(&self) -> String {
        if self.running || self.status.halted || !self.is_at_work() {
            return String::new();
        }
        let warning = if self.is_between() { "; don't start the node before" } else { "" };
        format!(
            "nobody works on it: process {} is gone\n\
             next: `transload resume HOME` goes on{warning}\n",
            self.status.pid
        )
    }
}

/// Runs `halt`.
pub(crate) fn halt(context: &Context, args: &OfHome) -> Result<Exit> {
    let answer = ask(&state_dir_of(&args.home), Request::Halt)?;
    context.print(&answer, || match &answer {
        Answer::Halting => {
            "it stops at the next good place; `transload resume HOME` goes on\n".into()
        }
        Answer::Status { status } => text(&Shown { status: Status::clone(status), running: true }),
        Answer::NotUnderstood { why } => format!("it didn't understand: {why}\n"),
        // Answers to other requests.
        Answer::Throttle(_) | Answer::Refused { .. } => String::new(),
    });
    Ok(Exit::Done)
}

fn text(shown: &Shown) -> String {
    let status = &shown.status;
    let halted = if status.halted { ", waits for a person" } else { "" };
    let process = if shown.running {
        format!("process {} works on it", status.pid)
    } else {
        "no process works on it now".to_owned()
    };
    let mut text = format!(
        "{}{halted}, attempt {}, {process}\n",
        status.phase.replace('_', " "),
        status.attempt,
    );
    if let Some(progress) = &status.progress {
        let eta = progress.eta_seconds.map_or_else(String::new, |left| format!(", {left} s left"));
        // A stage that doesn't count bytes has no rate.
        let bytes = match progress.bytes_per_second {
            0 => String::new(),
            rate => format!(
                ", {} of {}, {}/s",
                ByteSize(progress.bytes_done),
                ByteSize(progress.bytes_total),
                ByteSize(rate)
            ),
        };
        let _ = writeln!(
            text,
            "{}: {:.1} %{bytes}{eta}, {} retried, {} failed",
            progress.stage,
            progress.fraction * 100.0,
            progress.retried,
            progress.failed
        );
    }
    let limits = &status.pace.limits;
    if limits.any() {
        let _ = writeln!(text, "limits: {}", pace::limits(limits));
    }
    if shown.running && !status.pace.waits.is_empty() {
        let _ = writeln!(text, "waiting: {}", pace::waits(limits, &status.pace.waits));
    }
    for database in &status.databases {
        let _ = writeln!(
            text,
            "\n{}: {} done, {} verified, {} failed, {} hot",
            database.name, database.done, database.verified, database.failed, database.hot
        );
        let map: Vec<char> = database.map.chars().collect();
        for line in map.chunks(MAP_WIDTH) {
            let _ = writeln!(text, "  {}", line.iter().collect::<String>());
        }
    }
    if status.databases.iter().any(|database| !database.map.is_empty()) {
        text.push_str(
            "\n  . to do   c being copied   d copied   h copied, slowly or again   v verified   x \
             failed\n",
        );
    }
    if let Some(settled) = &status.settlement {
        let _ = writeln!(text, "{}", settlement::status(settled));
    }
    for notice in &status.notices {
        let _ = writeln!(text, "note: {notice}");
    }
    if let Some(error) = &status.error {
        let _ = writeln!(text, "error: {error}");
    }
    text.push_str(&shown.abandoned());
    if !shown.running && !shown.is_at_work() {
        let _ = writeln!(text, "next: {}", status.next);
    }
    text
}
