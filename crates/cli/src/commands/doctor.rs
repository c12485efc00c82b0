//! `transload doctor`: an archive that lets somebody else see what is wrong.
//!
//! Names and sizes, plan, status and journal; never a key's value, a config file or signer state.

use crate::args::Doctor;
use crate::context::Context;
use crate::exit::Exit;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use transload_engine::{Error, Journal, Kind, Result, state_dir_of};
use transload_store::{EngineStatus, Engines};

/// Files that are listed at most; a home has a few thousand.
const FILES_LISTED_MAX: usize = 200_000;

/// Files of the state folder that go in as they are: they hold no values.
const STATE_FILES: [&str; 2] = ["plan.toml", "status.json"];

#[derive(Serialize)]
struct Overview {
    schema: &'static str,
    transload: &'static str,
    engines: Vec<EngineStatus>,
    files: Vec<ListedFile>,
    /// Why the journal couldn't be read, when it couldn't.
    journal_error: Option<String>,
}

#[derive(Serialize)]
struct ListedFile {
    path: String,
    bytes: String,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Doctor) -> Result<Exit> {
    let failed = |error: std::io::Error| {
        let what = match error.kind() {
            ErrorKind::AlreadyExists => "something is there already".into(),
            _ => error.to_string(),
        };
        Error::new(Kind::Refused, "write the archive", what)
            .with("path", args.archive.display().to_string())
            .next("give a path where nothing is, in a folder that you may write to")
            .caused_by(error)
    };
    let mut files = Vec::new();
    list(&args.home, &args.home, &mut files).map_err(failed)?;
    let archive =
        OpenOptions::new().write(true).create_new(true).open(&args.archive).map_err(failed)?;
    let mut tar = tar::Builder::new(archive);
    let state_dir = state_dir_of(&args.home);
    for name in STATE_FILES {
        if let Ok(content) = fs::read(state_dir.join(name)) {
            add(&mut tar, name, &content).map_err(failed)?;
        }
    }
    let (watch, screen) = context.watch()?;
    let profiles = context.profiles();
    // Opening a migration that hasn't begun would make its journal.
    let events = Journal::path_in(&state_dir).exists().then(|| {
        context.migration(&args.home, &profiles, &watch).and_then(|migration| {
            let events = migration.journal().events()?;
            Ok((events, migration.journal().steps()?))
        })
    });
    screen.finish();
    let journal_error =
        events.as_ref().and_then(|events| events.as_ref().err()).map(ToString::to_string);
    if let Some(Ok((events, steps))) = &events {
        add(&mut tar, "events.json", &json(events)?).map_err(failed)?;
        add(&mut tar, "steps.json", &json(steps)?).map_err(failed)?;
    }
    let overview = Overview {
        schema: "transload.doctor.v1",
        transload: env!("CARGO_PKG_VERSION"),
        engines: context.engines().status(),
        files,
        journal_error,
    };
    add(&mut tar, "overview.json", &json(&overview)?).map_err(failed)?;
    tar.into_inner().and_then(|file: File| file.sync_all()).map_err(failed)?;
    context.print(&overview, || {
        format!(
            "{} written: plan, status, journal events, names and sizes of {} files; no values, no \
             keys, no config files\n",
            args.archive.display(),
            overview.files.len()
        )
    });
    Ok(Exit::Done)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(Kind::Refused, "write the archive", error.to_string()))
}

fn add(tar: &mut tar::Builder<File>, name: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, content)
}

fn list(root: &Path, dir: &Path, files: &mut Vec<ListedFile>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = fs::symlink_metadata(entry.path())?;
        if metadata.is_dir() {
            list(root, &entry.path(), files)?;
        } else if files.len() < FILES_LISTED_MAX {
            let path = entry.path();
            let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.push(ListedFile { path, bytes: metadata.len().to_string() });
        }
    }
    Ok(())
}
