//! Converts a single database to another engine: the same copy and verification as a
//! migration, without a home and without a swap.
//!
//! Promises: nothing stands at the target path until the target was closed, reopened, read back
//! and found equal; an interrupted conversion leaves only a folder that says what it is.

use crate::chunks::MemoryLog;
use crate::copy::{CopyJob, copy_database, target_fault};
use crate::error::{Error, Kind, Result};
use crate::fit::{accept_weaker, needs_a_look, refuse_what_does_not_fit};
use crate::home::{OpenDatabase, OpenHome, OpenOptions};
use crate::limits::Limits;
use crate::pulse::Pulse;
use crate::tally::aligned_ranges;
use crate::verify::{VerifyJob, verify_database};
use crate::watch::Watch;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use transload_model::commitment::Dataset;
use transload_model::engine::Engine;
use transload_observe::{Event, Stage, WaitTime};
use transload_store::{Engines, TargetOptions, Weakness};

/// The file that marks a folder as ours.
const MARKER: &str = "transload-partial";

/// Beside the marker: the folder in which the target is built, with whatever files its engine
/// puts next to it, and the folder of links to the source.
const FOLDERS: [&str; 2] = ["build", "scratch"];

/// What to convert.
#[derive(Clone, Debug)]
pub struct ConvertRequest {
    /// The database.
    pub source: PathBuf,
    /// Its keyspace, where it has several.
    pub source_space: Option<String>,
    /// The target's engine.
    pub engine: Engine,
    /// Where the target shall stand; nothing may be there.
    pub target: PathBuf,
    /// The target's keyspace; `None` for the engine's default.
    pub target_space: Option<String>,
    /// The limits.
    pub limits: Limits,
    /// Weaker promises that somebody accepted.
    pub accepted: Vec<Weakness>,
    /// An existing folder for the source's linked snapshot, best on its file system; `None` for
    /// one beside the target, which a later conversion clears away if this one is killed.
    pub scratch_dir: Option<PathBuf>,
}

/// A finished conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The source's engine.
    pub from: Engine,
    /// The target's engine.
    pub to: Engine,
    /// Entries, compared one by one.
    pub entries: u64,
    /// Their key and value bytes.
    pub bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// The database as a dataset of one raw table, read back from the target.
    pub dataset: Dataset,
    /// What the target promises less, as accepted.
    pub weaker: Vec<Weakness>,
    /// Time for the copy.
    pub copy_time: Duration,
    /// Time for reading both sides back.
    pub verify_time: Duration,
    /// How long workers have waited for what.
    pub waits: Vec<WaitTime>,
}

/// Converts.
///
/// # Errors
/// [`Kind::Refused`] before anything was made; [`Kind::Difference`] when a side can't be read
/// whole or both differ; [`Kind::Stopped`] otherwise. Nothing stands at the target path then.
pub fn convert(
    request: &ConvertRequest,
    engines: &dyn Engines,
    watch: &Watch,
) -> Result<Conversion> {
    request.limits.check()?;
    let watch = &watch.at_pace(request.limits.pace());
    let _pulse = Pulse::start(watch);
    refuse_what_is_there(&request.target)?;
    refuse_inside_the_source(&request.source, &request.target)?;
    let driver = engines
        .driver(request.engine)
        .map_err(|error| Error::store(Kind::Refused, "find the target's driver", error))?;
    engines
        .recognise(&request.source)
        .map_err(|error| Error::store(Kind::Refused, "recognise the source", error))?;
    let staging = Staging::make(&request.target)?;
    watch.step("convert: staging folder made");
    let options = |name: &str| {
        let scratch_dir = request.scratch_dir.as_ref().unwrap_or(&staging.scratch);
        OpenOptions {
            scratch_dir: scratch_dir.join(name),
            memory_bytes_max: request.limits.driver_bytes(),
            space: request.source_space.clone(),
        }
    };
    let home =
        OpenHome::open_single(&request.source, engines, &options("copy"))?.at_pace(&watch.pacing);
    let source = only(&home)?;
    let (_, guarantees) = driver.target_profile();
    let weaker = accept_weaker(&source.store().guarantees(), &guarantees, &request.accepted)?;
    if needs_a_look(&guarantees) {
        refuse_what_does_not_fit(&*source.snapshot, driver, watch)
            .map_err(|error| error.with("database", request.source.display().to_string()))?;
    }
    let target_options = TargetOptions {
        space: request.target_space.clone(),
        memory_bytes_max: request.limits.driver_bytes(),
    };
    let ranges = aligned_ranges(&*source.snapshot, &*source.layout, request.limits.chunk_bytes)
        .map_err(|error| Error::reading("divide", error))?;
    let log = MemoryLog::default();
    let name = source.database.name.as_str();

    let began = Instant::now();
    watch.tell(Event::StageBegan { stage: Stage::Copying });
    let target = driver
        .create_target(&staging.database, &target_options)
        .map(|store| watch.pacing.store(store))
        .map_err(|error| target_fault("make the target", error))?;
    watch.step("convert: target made");
    let job = CopyJob {
        database: name,
        source: &*source.snapshot,
        layout: &*source.layout,
        rule: None,
        made_by: &[],
        target: &*target,
        ranges: &ranges,
        tally: false,
        limits: request.limits,
    };
    let _totals = copy_database(job, &log, watch)?;
    target.close().map_err(|error| target_fault("close the target", error))?;
    watch.step("convert: target closed");
    watch.tell(Event::StageEnded { stage: Stage::Copying });
    let copy_time = began.elapsed();

    let began = Instant::now();
    watch.tell(Event::StageBegan { stage: Stage::Verifying });
    let again =
        OpenHome::open_single(&request.source, engines, &options("verify"))?.at_pace(&watch.pacing);
    let target = driver
        .reopen_target(&staging.database, &target_options)
        .map(|store| watch.pacing.store(store))
        .map_err(|error| target_fault("reopen the target", error))?;
    let snapshot =
        target.snapshot().map_err(|error| target_fault("take a snapshot of the target", error))?;
    let job = VerifyJob {
        database: name,
        source: &*only(&again)?.snapshot,
        target: &*snapshot,
        layout: &*source.layout,
        made_by: &[],
        ranges: &ranges,
        limits: request.limits,
    };
    let verified = verify_database(job, &log, watch)?;
    drop(snapshot);
    target.close().map_err(|error| target_fault("close the target", error))?;
    watch.tell(Event::StageEnded { stage: Stage::Verifying });
    let verify_time = began.elapsed();

    staging.publish(&request.target, watch)?;
    Ok(Conversion {
        from: source.recognised.engine,
        to: request.engine,
        entries: verified.entries(),
        bytes: verified.bytes(),
        chunks: verified.chunks(),
        dataset: home.dataset(verified.tables().to_vec())?,
        weaker,
        copy_time,
        verify_time,
        waits: watch.pacing.wait_times(),
    })
}

fn only<'a>(home: &'a OpenHome<'_>) -> Result<&'a OpenDatabase> {
    home.databases()
        .next()
        .ok_or_else(|| Error::new(Kind::Refused, "open the database", "there is no database"))
}

fn refuse_what_is_there(target: &Path) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(Error::new(Kind::Refused, "look at the target", "something is there already")
            .with("path", target.display().to_string())
            .next("give a path where nothing is")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(Kind::Refused, "look at the target", target, error)),
    }
}

/// The source stays as it is, so nothing is built inside its folder.
///
/// # Errors
/// [`Kind::Refused`] when `target` would lie there.
pub fn refuse_inside_the_source(source: &Path, target: &Path) -> Result<()> {
    // Whoever can't be resolved isn't there; opening it says so in better words.
    let Ok(source) = source.canonicalize() else { return Ok(()) };
    let mut above = target.parent();
    while let Some(folder) = above {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Ok(real) = folder.canonicalize() {
            if !real.starts_with(&source) {
                return Ok(());
            }
            return Err(Error::new(
                Kind::Refused,
                "look at the target",
                "the target lies inside the source, which must stay as it is",
            )
            .with("path", target.display().to_string())
            .next("give a path outside of the source's folder"));
        }
        above = folder.parent();
    }
    Ok(())
}

fn io(kind: Kind, operation: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::new(kind, operation, error.to_string())
        .with("path", path.display().to_string())
        .caused_by(error)
}

/// A folder beside the target in which it is built. Removed when the conversion ends, however
/// it ends; one that a killed conversion left behind is recognised by its marker, which comes
/// before anything else and goes after it.
struct Staging {
    folder: PathBuf,
    database: PathBuf,
    scratch: PathBuf,
    marker: PathBuf,
    _lock: File,
}

impl Staging {
    fn make(target: &Path) -> Result<Self> {
        let refused =
            |path: &Path, error| io(Kind::Refused, "make the staging folder", path, error);
        let name = target.file_name().ok_or_else(|| {
            Error::new(Kind::Refused, "look at the target", "the path has no name")
                .with("path", target.display().to_string())
        })?;
        let mut folder_name = name.to_os_string();
        folder_name.push(".transload-partial");
        let folder = target.with_file_name(folder_name);
        let marker = folder.join(MARKER);
        let say = |why: &str| {
            Error::new(Kind::Refused, "make the staging folder", why)
                .with("path", folder.display().to_string())
        };
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(&folder).map_err(|error| refused(&folder, error))?;
                // An empty one may be ours, killed before it was marked.
                if !marker.is_file() && entries.next().is_some() {
                    return Err(say(
                        "something that is not ours stands where the target is to be built",
                    ));
                }
            }
            Err(error) => return Err(refused(&folder, error)),
        }
        let lock = File::create(&marker).map_err(|error| refused(&marker, error))?;
        let is_ours = || {
            let (held, named) = (lock.metadata().ok()?, fs::symlink_metadata(&marker).ok()?);
            Some((held.dev(), held.ino()) == (named.dev(), named.ino()))
        };
        if lock.try_lock().is_err() || is_ours() != Some(true) {
            return Err(say("another conversion to this target is running"));
        }
        let [build, scratch] = FOLDERS.map(|name| folder.join(name));
        let this = Self { database: build.join(name), scratch, folder, marker, _lock: lock };
        this.empty().map_err(|error| refused(&this.folder, error))?;
        for made in [&build, &this.scratch] {
            fs::create_dir(made).map_err(|error| refused(made, error))?;
        }
        Ok(this)
    }

    /// Removes all but the marker.
    fn empty(&self) -> std::io::Result<()> {
        for name in FOLDERS {
            match fs::remove_dir_all(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves the database out, to `target`.
    fn publish(self, target: &Path, watch: &Watch) -> Result<()> {
        let failed =
            |path: &Path, error| io(Kind::Stopped, "put the target in its place", path, error);
        refuse_what_is_there(target)?;
        move_to_where_nothing_is(&self.database, target).map_err(|error| failed(target, error))?;
        watch.step("convert: target in its place");
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed(parent, error).effect_unknown())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Best effort: what remains carries the marker and is replaced by the next conversion.
        if self.empty().is_ok() {
            let _ = fs::remove_file(&self.marker);
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Moves, and fails when something has come to stand at `to` in the meantime, where the file
/// system can tell.
pub(crate) fn move_to_where_nothing_is(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::rename(from, to),
        other => Ok(other?),
    }
}
