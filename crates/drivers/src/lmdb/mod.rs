//! LMDB: written through its own library, read by positioned reads of our own.
//!
//! LMDB maps its file into memory and trusts every page of it: a file that is cut off or forged
//! kills the process that reads it. So reading, of sources and of targets, is done here
//! (modules `page` and `tree`): each page is checked before it is followed, and a source is neither
//! mapped nor locked. Writing is LMDB's; a snapshot of a target keeps a read transaction of
//! LMDB's, which keeps it from using the snapshot's pages again.
//!
//! Layout: entries in a named database (`transload`, or the space), the value of the empty key,
//! which LMDB can't store, in a second one. See `docs/formats/embedded-layouts.md`.

mod page;
mod snapshot;
mod tree;
mod writer;

use crate::standing::make_empty_folder;
use snapshot::LmdbSnapshot;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Isolation, Processes, Result, Snapshot, SourceOptions,
    Store, TargetOptions, VALUE_BYTES_MAX,
};
use tree::Environment;
use writer::LmdbStore;

/// LMDB's own limit, fixed when it is compiled.
const KEY_BYTES_MAX: usize = 511;

/// The database of a target for which no space is named.
const SPACE: &str = "transload";

/// Appended to a database's name: the one that holds the value of the empty key.
const EMPTY_KEY_SUFFIX: &str = "/empty-key";

/// The key in that database.
const EMPTY_KEY: &[u8] = b"\0";

const DATA_FILE: &str = "data.mdb";

/// The driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct LmdbDriver;

impl Driver for LmdbDriver {
    fn engine(&self) -> Engine {
        Engine::Lmdb
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        (Capabilities { write: true, bulk_load: false }, guarantees())
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        let metadata = fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        let file = if metadata.is_dir() { path.join(DATA_FILE) } else { path.to_owned() };
        let environment = Arc::new(Environment::open(&file)?);
        let snapshot = LmdbSnapshot::new(environment, options.space.as_deref(), None)?;
        Ok(Box::new(LmdbSource { snapshot: Arc::new(snapshot) }))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        make_empty_folder(path)?;
        Ok(Box::new(LmdbStore::open(path, options.space.as_deref().unwrap_or(SPACE))?))
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        // Looked at before LMDB maps it, and so that nothing is made where nothing is.
        let environment = Arc::new(Environment::open(&path.join(DATA_FILE))?);
        let space = options.space.as_deref().unwrap_or(SPACE);
        LmdbSnapshot::new(environment, Some(space), None)?;
        Ok(Box::new(LmdbStore::open(path, space)?))
    }
}

/// What LMDB promises: its pages carry no checksums.
#[must_use]
pub fn guarantees() -> Guarantees {
    Guarantees {
        atomic_batch: true,
        durable_sync: true,
        ordered_writes: true,
        checksummed: false,
        isolation: Isolation::Snapshot,
        processes: Processes::ReadersBesideOneWriter,
        key_bytes_max: KEY_BYTES_MAX,
        value_bytes_max: VALUE_BYTES_MAX,
    }
}

/// A stopped environment; all that it holds is its one snapshot.
struct LmdbSource {
    snapshot: Arc<LmdbSnapshot>,
}

impl Store for LmdbSource {
    fn engine(&self) -> Engine {
        Engine::Lmdb
    }

    fn engine_version(&self) -> String {
        VERSION.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn guarantees(&self) -> Guarantees {
        guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::clone(&self.snapshot) as Arc<dyn Snapshot>)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// The only data version there is.
const VERSION: &str = "data version 1";

fn data_file(folder: &Path) -> PathBuf {
    folder.join(DATA_FILE)
}
