//! `transload migrate --detach`: the same command in a session of its own.

use crate::args::Migrate;
use crate::context::Context;
use crate::exit::Exit;
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};
use transload_engine::{Error, Kind, Result, state_dir_of};

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
    let child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .spawn()
        .map_err(failed)?;
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

/// Leaves the session of the terminal, so that its end doesn't reach this process.
pub(crate) fn leave_the_terminal() -> Result<()> {
    rustix::process::setsid().map(drop).map_err(|error| {
        Error::new(Kind::Refused, "leave the terminal", error.to_string()).caused_by(error)
    })
}
