//! What makes stores out of directories: drivers, and the table of those built in.

use crate::{Capabilities, Error, Guarantees, Kind, Result, Store, Weakness};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;

/// How to open a source.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// An existing empty folder for this store alone. Drivers whose engine can't read without
    /// touching the directory put a linked snapshot there (hard links of immutable tables,
    /// copies of the rest). Best on the source's file system.
    pub scratch_dir: PathBuf,
    /// The keyspace inside the directory (column family, named database, table); `None` for the
    /// only or default one.
    pub space: Option<String>,
    /// Upper bound for the driver's caches and buffers.
    pub memory_bytes_max: u64,
}

/// How to make or reopen a target.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// The keyspace inside the directory; `None` for the engine's default.
    pub space: Option<String>,
    /// Upper bound for the driver's caches and buffers.
    pub memory_bytes_max: u64,
}

/// Opens directories of one engine.
pub trait Driver: Send + Sync {
    /// The engine.
    fn engine(&self) -> Engine;

    /// What targets of this driver can do and promise, known without opening one.
    fn target_profile(&self) -> (Capabilities, Guarantees);

    /// Why a target can't hold `key`, whatever its length; none where it can.
    fn refuses_key(&self, _key: &[u8]) -> Option<&'static str> {
        None
    }

    /// Makes a crash-consistent snapshot of `path`, which another process may be writing, in the
    /// existing folder `into`: hard links of what never changes, copies of the rest. Takes
    /// milliseconds; what stands in `into` already is replaced. [`Driver::open_source`] opens it.
    ///
    /// # Errors
    /// [`crate::Kind::Busy`] when the engine can't be read beside a writer, or the writer gives
    /// no moment for it; those of reading the directory.
    fn link_snapshot(&self, path: &Path, _into: &Path) -> Result<()> {
        Err(changes_in_place(self.engine(), path))
    }

    /// Opens `path`, which nobody writes meanwhile, for reading. Not a byte, name, size or
    /// modification time below `path` changes, and no lock is taken in it.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`], [`crate::Kind::UnknownFormat`], [`crate::Kind::NotFound`].
    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>>;

    /// Makes a new store at `path`, which doesn't exist or is an empty folder.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidInput`] when something is there already.
    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>>;

    /// Opens a store that [`Driver::create_target`] made, to go on writing or to read it back.
    ///
    /// # Errors
    /// Those of the engine.
    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>>;
}

/// The refusal to read an engine's files beside a process that writes them.
#[must_use]
pub fn changes_in_place(engine: Engine, path: &Path) -> Error {
    let why = format!(
        "{engine} changes its files in place, so they can't be read beside a process that writes \
         them without taking part in its locks; stop that process"
    );
    Error::new(Kind::Busy, "link a snapshot", why).with("path", path.display().to_string())
}

/// A process that holds a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command name, where it can be read.
    pub command: String,
}

/// What a directory's own files say about it, before anything opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognised {
    /// The engine.
    pub engine: Engine,
    /// The engine's version or format version as written in the files; empty when they don't
    /// say.
    pub version: String,
    /// Which files decided, for people.
    pub evidence: String,
    /// Whether there are table files, or only a log (a log-only directory can be emptied or
    /// converted by the wrong engine).
    pub has_tables: bool,
    /// Bytes of all files.
    pub bytes_on_disk: u64,
}

/// Whether an engine can be used in this build and on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// The engine.
    pub engine: Engine,
    /// Whether it can be a source.
    pub reads: bool,
    /// Whether it can be a target.
    pub writes: bool,
    /// What it promises, by the names that `--accept-weaker` takes; empty without a driver.
    pub promises: Vec<Weakness>,
    /// How it is reached, or what is missing and how to get it.
    pub note: String,
}

/// The engines of this build: what `cli` hands to the migration engine.
pub trait Engines: Send + Sync {
    /// Tells the engine of the directory (or file) at `path` from its own files.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`] when nothing is there; [`crate::Kind::UnknownFormat`] for
    /// files of no known engine, an unknown comparator, a newer format, or a directory that two
    /// engines have touched; [`crate::Kind::Corrupt`] for a damaged manifest.
    fn recognise(&self, path: &Path) -> Result<Recognised>;

    /// The driver of `engine`.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`], saying how to get it.
    fn driver(&self, engine: Engine) -> Result<&dyn Driver>;

    /// Every engine, usable or not.
    fn status(&self) -> Vec<EngineStatus>;

    /// Who holds the directory at `path` now, asked without taking any lock.
    ///
    /// # Errors
    /// When the system's table of locks can't be read.
    fn holder(&self, path: &Path) -> Result<Option<Holder>>;
}
