//! Pebble 1, Pebble 2, goleveldb, bbolt and BadgerDB, opened by their canonical Go engines in a
//! helper process.
//!
//! The helper (`helpers/gostore`) is started once a store and spoken to over the protocol of
//! `docs/formats/driver-protocol.md`. Pebble and BadgerDB sources are read on a linked snapshot, so
//! that not a byte of theirs changes and no lock is taken in them. goleveldb writes to what it opens and bbolt
//! locks it: they are for targets, and sources are read by transload's own readers.
//!
//! Invariants: a helper that dies, hangs or lies is an ordinary error; no helper outlives its
//! store; a scan ends only with the helper's own count and digest of what arrived.

mod badger;
mod bulk;
mod connection;
mod cursor;
pub mod decoders;
mod eager;
mod order;
mod process;
mod protocol;
mod snapshot;
mod store;
mod table;
mod taken_in;

#[cfg(test)]
mod golden;

use crate::linked::LinkedSnapshot;
use process::Process;
use protocol::{Mode, OpenRequest};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::GostoreStore;
use table::TableFormat;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Isolation, KEY_BYTES_MAX, Kind, Processes, Result,
    SourceOptions, Store, TargetOptions, changes_in_place,
};

/// How the helper is run.
#[derive(Clone, Debug)]
pub struct GostoreConfig {
    /// The helper's binary.
    pub helper: PathBuf,
    /// Whether closing a target also has the engine check all of it (levels, blocks) after the
    /// reopen. The reopen itself always happens.
    pub check_on_close: bool,
    /// How long the helper may take to answer the first frame.
    pub hello_timeout: Duration,
    /// How long a helper at work may give no sign of life; it gives one every 5 seconds.
    pub silence_timeout: Duration,
}

impl GostoreConfig {
    /// The usual limits, for a helper's binary at `helper`.
    #[must_use]
    pub fn new(helper: impl Into<PathBuf>) -> Self {
        Self {
            helper: helper.into(),
            check_on_close: false,
            hello_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(60),
        }
    }
}

/// The driver of one of the helper's engines.
#[derive(Clone, Debug)]
pub struct GostoreDriver {
    engine: Engine,
    config: GostoreConfig,
}

impl GostoreDriver {
    /// A driver of `engine`.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for an engine that the helper doesn't have.
    pub fn new(engine: Engine, config: GostoreConfig) -> Result<Self> {
        protocol::engine_number(engine)
            .map(|_| Self { engine, config })
            .ok_or_else(|| Error::unsupported("open", format!("gostore has no {engine}")))
    }

    /// What the helper says about itself, for lists of engines: it is started, greeted and ended.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without a helper, [`Kind::Unsupported`] when it speaks another version.
    pub fn probe(config: &GostoreConfig) -> Result<HelperInfo> {
        let process = Process::start(config)?;
        let info = process.info().clone();
        process.end();
        Ok(info)
    }

    fn open(
        &self,
        mode: Mode,
        path: &Path,
        space: Option<&str>,
        memory_bytes_max: u64,
    ) -> Result<(Arc<Process>, protocol::Opened)> {
        if let Some(space) = space {
            return Err(Error::new(
                Kind::InvalidInput,
                "open",
                format!("{} has no keyspaces inside a directory", self.engine),
            )
            .with("space", space));
        }
        let path = std::path::absolute(path).map_err(|error| Error::io("open", path, error))?;
        let request = OpenRequest { engine: self.engine, mode, memory_bytes_max, path };
        let payload = request.encode()?;
        let process = Arc::new(Process::start(&self.config)?);
        let opened = process
            .request("open", protocol::kind::OPEN, &payload, protocol::kind::OPENED)
            .and_then(|payload| protocol::Opened::decode(&payload));
        match opened {
            Ok(opened) => Ok((process, opened)),
            Err(error) => {
                process.end();
                Err(error.with("store", request.path.display().to_string()))
            }
        }
    }

    fn open_target(
        &self,
        mode: Mode,
        path: &Path,
        options: &TargetOptions,
    ) -> Result<Box<dyn Store>> {
        let (process, opened) =
            self.open(mode, path, options.space.as_deref(), options.memory_bytes_max)?;
        let tables = TableFormat::taken_in_by(self.engine, opened.format)
            .map(|format| (path.to_owned(), format));
        Ok(Box::new(GostoreStore::target(
            self.engine,
            opened.version,
            process,
            tables,
            self.config.check_on_close,
        )))
    }
}

/// What a helper says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperInfo {
    /// How it was built.
    pub build: String,
    /// Its engines.
    pub engines: Vec<HelperEngine>,
}

/// One engine of a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperEngine {
    /// The engine; `None` for one that this version doesn't know.
    pub engine: Option<Engine>,
    /// Added up: 1 read-only open, 2 batches, 4 sorted chunks.
    pub capabilities: u32,
    /// Go module and version.
    pub module: String,
    /// Oldest format version that it opens; 0 where the engine has none.
    pub format_min: u32,
    /// Newest format version that it opens.
    pub format_max: u32,
    /// Format version of new stores.
    pub format_new: u32,
}

/// What targets of an engine of the helper can do.
fn capabilities(engine: Engine) -> Capabilities {
    // bbolt has one writer and no tables: sorted chunks would be batches all the same.
    Capabilities { write: true, bulk_load: engine != Engine::Bbolt }
}

/// Keys of any length that an engine of the helper doesn't take.
fn refuses_key(engine: Engine, key: &[u8]) -> Option<&'static str> {
    match engine {
        Engine::Bbolt => crate::bbolt::refuses_key(key),
        Engine::Badgerdb => badger::refuses_key(key),
        _ => None,
    }
}

/// What targets of an engine of the helper promise.
#[must_use]
pub fn guarantees(engine: Engine) -> Guarantees {
    let usual = Guarantees {
        atomic_batch: true,
        durable_sync: true,
        ordered_writes: true,
        checksummed: true,
        isolation: Isolation::Snapshot,
        processes: Processes::One,
        key_bytes_max: KEY_BYTES_MAX,
        value_bytes_max: protocol::VALUE_BYTES_MAX,
    };
    match engine {
        Engine::Bbolt => crate::bbolt::guarantees(),
        Engine::Badgerdb => Guarantees { key_bytes_max: badger::KEY_BYTES_MAX, ..usual },
        _ => usual,
    }
}

impl Driver for GostoreDriver {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        (capabilities(self.engine), guarantees(self.engine))
    }

    fn refuses_key(&self, key: &[u8]) -> Option<&'static str> {
        refuses_key(self.engine, key)
    }

    fn link_snapshot(&self, path: &Path, into: &Path) -> Result<()> {
        if self.engine == Engine::Badgerdb {
            return Err(changes_in_place(self.engine, path));
        }
        crate::linked::link_into(path, into)
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        let has_our_reader = match self.engine {
            Engine::Goleveldb => Some("goleveldb writes to what it opens"),
            Engine::Bbolt => Some("bbolt locks what it opens"),
            _ => None,
        };
        if let Some(why) = has_our_reader {
            let message = format!("{why}, so sources are read by transload's own reader");
            return Err(Error::unsupported("open", message));
        }
        let linked = if self.engine == Engine::Badgerdb {
            LinkedSnapshot::filled(&options.scratch_dir, |into| badger::copy_into(path, into))?
        } else {
            LinkedSnapshot::make(path, &options.scratch_dir)?
        };
        let (process, opened) = self
            .open(Mode::ReadOnly, linked.path(), options.space.as_deref(), options.memory_bytes_max)
            .map_err(|error| error.with("source", path.display().to_string()))?;
        Ok(Box::new(GostoreStore::source(self.engine, opened.version, process, linked)))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        self.open_target(Mode::Create, path, options)
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        self.open_target(Mode::Reopen, path, options)
    }
}
