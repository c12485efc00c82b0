//! `transload migrate --detach`: the same command in a session of its own.

use crate::args::Migrate;
use crate::context::Context;
use crate::exit::Exit;
use rustix::process::{Pid, getsid};
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use transload_engine::{Answer, Error, Kind, Request, Result, ask, state_dir_of};

/// Starting a process and reading its arguments takes milliseconds.
const DETACH_MAX: Duration = Duration::from_secs(30);
const DETACH_PAUSE: Duration = Duration::from_millis(2);

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    pid: u32,
    log: String,
}

/// Starts the same command line again, without a terminal.
pub(crate) fn start(context: &Context, args: &Migrate) -> Result<Exit> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Refused, "start in the background", error.to_string()).caused_by(error)
    };
    let state_dir = state_dir_of(&args.home);
    if !args.home.is_dir() {
        return Err(Error::new(Kind::Refused, "look", "there is no home at this path")
            .with("path", args.home.display().to_string()));
    }
    fs::create_dir_all(&state_dir).map_err(failed)?;
    let log_path = state_dir.join("run.log");
    let log = OpenOptions::new().create(true).append(true).open(&log_path).map_err(failed)?;
    let words = std::env::args_os()
        .skip(1)
        .map(|word| if word == "--detach" { "--detached".into() } else { word });
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let ended = wait_until_at_work(&mut child, &state_dir).map_err(failed)?;
    if let Some(code) = ended.filter(|code| *code != 0) {
        return Err(Error::new(
            Kind::Refused,
            "start in the background",
            format!("the process ended at once with exit code {code}"),
        )
        .with("log", log_path.display().to_string())
        .next("the log says why; the same command without --detach shows it here"));
    }
    let document = Document {
        schema: "transload.detach.v1",
        pid: child.id(),
        log: log_path.display().to_string(),
    };
    let home = args.home.display();
    context.print(&document, || {
        format!(
            "running in the background as process {}, log in {}\n\
             next: transload status {home} --follow\n",
            document.pid, document.log
        )
    });
    Ok(Exit::Done)
}

/// Waits until the child has a session of its own, since a terminal that is closed before would
/// take it along, and answers whoever asks. The exit code of one that has ended already.
fn wait_until_at_work(child: &mut Child, state_dir: &Path) -> std::io::Result<Option<i32>> {
    let pid = Pid::from_child(child);
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        let is_detached = getsid(Some(pid)).ok() == Some(pid);
        let answers = || matches!(ask(state_dir, Request::Status), Ok(Answer::Status { .. }));
        if is_detached && answers() {
            return Ok(None);
        }
        if began.elapsed() > DETACH_MAX {
            return Err(std::io::Error::other("the process in the background doesn't begin"));
        }
        std::thread::sleep(DETACH_PAUSE);
    }
}

/// Leaves the session of the terminal, so that its end doesn't reach this process.
pub(crate) fn leave_the_terminal() -> Result<()> {
    rustix::process::setsid().map(drop).map_err(|error| {
        Error::new(Kind::Refused, "leave the terminal", error.to_string()).caused_by(error)
    })
}
