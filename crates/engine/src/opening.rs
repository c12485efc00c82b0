//! Opens databases for reading: each engine recognised from its files first, and those that a
//! node writes as they all stood at one moment.
//!
//! A node writes a block into one database after the other. Snapshots that are taken one after
//! the other would hold different heights, and their checks against each other would fail though
//! nothing is wrong. So all of them are linked between two looks at the files, again and again
//! until nothing has changed in between.

use crate::error::{Error, Kind, Result};
use crate::home::OpenOptions;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use transload_store::{Database, Driver, Engines, Holder, Recognised, SourceOptions, Store};

/// A node rests between two blocks for longer than links take. One that is still catching up
/// doesn't rest; it isn't waited for.
const LOOKS_MAX: u32 = 40;

/// Between two looks. Not a divisor of usual block times, so that looks don't keep step with them.
const PAUSE: Duration = Duration::from_millis(37);

/// A database that is open.
pub(crate) struct OpenedStore {
    pub(crate) database: Database,
    pub(crate) recognised: Recognised,
    /// Who was writing it.
    pub(crate) holder: Option<Holder>,
    pub(crate) store: Box<dyn Store>,
}

/// Opens databases, and tells whether they are as they all stood at one moment.
///
/// # Errors
/// [`Kind::Refused`] when an engine isn't recognised, not built in, or can't be read beside a
/// writer; [`Kind::Difference`] when stored bytes contradict themselves.
pub(crate) fn open_all(
    databases: &[Database],
    engines: &dyn Engines,
    options: &OpenOptions,
) -> Result<(Vec<OpenedStore>, bool)> {
    let named = |database: &Database, error: Error| error.with("database", database.name.clone());
    let mut found = Vec::new();
    for database in databases {
        let one = Found::of(database, engines, options).map_err(|error| named(database, error))?;
        found.push(one);
    }
    let of_one_moment = link_at_one_moment(&found)?;
    let share = options.memory_bytes_max / u64::try_from(databases.len().max(1)).unwrap_or(1);
    let mut opened = Vec::new();
    for one in found {
        let store =
            one.open(options, share).map_err(|error| named(one.database, one.blame(error)))?;
        opened.push(OpenedStore {
            database: one.database.clone(),
            recognised: one.recognised,
            holder: one.holder,
            store,
        });
    }
    Ok((opened, of_one_moment))
}

/// A database that is not open yet.
struct Found<'a> {
    database: &'a Database,
    recognised: Recognised,
    driver: &'a dyn Driver,
    holder: Option<Holder>,
    /// For the driver.
    scratch: PathBuf,
    /// Where the snapshot of one that is being written goes.
    linked: PathBuf,
}

impl<'a> Found<'a> {
    fn of(database: &'a Database, engines: &'a dyn Engines, options: &OpenOptions) -> Result<Self> {
        let recognised = engines
            .recognise(&database.path)
            .map_err(|error| refused_or_damaged("recognise the engine", error))?;
        let refused = |error| Error::store(Kind::Refused, "open the database", error);
        let driver = engines.driver(recognised.engine).map_err(refused)?;
        // Locks that this process holds itself keep writers out, so nobody writes it.
        let holder = engines
            .holder(&database.path)
            .map_err(refused)?
            .filter(|holder| holder.pid != std::process::id());
        let own = options.scratch_dir.join(database.name.replace('/', "_"));
        let this = Self {
            database,
            recognised,
            driver,
            holder,
            scratch: own.join("store"),
            linked: own.join("linked"),
        };
        for folder in [&this.scratch, &this.linked] {
            fs::create_dir_all(folder).map_err(|error| {
                Error::new(Kind::Refused, "make a scratch folder", error.to_string())
                    .with("path", folder.display().to_string())
            })?;
        }
        Ok(this)
    }

    fn open(&self, options: &OpenOptions, memory_bytes_max: u64) -> Result<Box<dyn Store>> {
        let source = SourceOptions {
            scratch_dir: self.scratch.clone(),
            space: options.space.clone(),
            memory_bytes_max,
        };
        let path = if self.holder.is_some() { &self.linked } else { &self.database.path };
        self.driver
            .open_source(path, &source)
            .map_err(|error| refused_or_damaged("open the database", error))
    }

    /// An error that tells who has the database open, where somebody has.
    fn blame(&self, error: Error) -> Error {
        match &self.holder {
            Some(holder) => error
                .with("process", holder.pid.to_string())
                .with("command", holder.command.clone()),
            None => error,
        }
    }
}

/// Links snapshots of the databases that somebody writes. False when they never stood still
/// together; then each is as it stood at a moment of its own.
fn link_at_one_moment(found: &[Found<'_>]) -> Result<bool> {
    let live: Vec<&Found<'_>> = found.iter().filter(|one| one.holder.is_some()).collect();
    for look in 0..LOOKS_MAX {
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        let before = imprints(&live)?;
        for one in &live {
            one.driver
                .link_snapshot(&one.database.path, &one.linked)
                .map_err(|error| refused_or_damaged("open the database", error))
                .map_err(|error| one.blame(error).with("database", one.database.name.clone()))?;
        }
        // A single one is of one moment by itself.
        if live.len() < 2 || imprints(&live)? == before {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Each file's size and time of its last change, of those engines that have a folder: others
/// can't be read beside a writer.
type Imprint = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

fn imprints(live: &[&Found<'_>]) -> Result<Imprint> {
    let mut files = Imprint::new();
    for one in live {
        let failed = |error: std::io::Error| {
            Error::new(Kind::Refused, "look at the database", error.to_string())
                .with("path", one.database.path.display().to_string())
        };
        if !one.database.path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&one.database.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // What goes away in the middle of the look is missing in the next one, or was here.
            if let Some(found) = imprint(&path) {
                files.insert(path, found);
            }
        }
    }
    Ok(files)
}

fn imprint(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.len(), about.modified().ok()))
}

/// Stored bytes that contradict themselves are a difference; anything else is refused.
pub(crate) fn refused_or_damaged(operation: &'static str, error: transload_store::Error) -> Error {
    let kind = match error.kind() {
        transload_store::Kind::Corrupt => Kind::Difference,
        _ => Kind::Refused,
    };
    Error::store(kind, operation, error)
}

pub(crate) fn unreadable(error: transload_store::Error) -> Error {
    refused_or_damaged("take a snapshot", error)
}
