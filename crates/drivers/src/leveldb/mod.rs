//! LevelDB, read without being opened.
//!
//! Opening a LevelDB directory with its own library rotates the manifest, replays the log and
//! writes both. This reader takes no lock and writes no byte: it reads `CURRENT`, the manifest,
//! the tables and the logs with positioned reads, and merges them. It reads what goleveldb and
//! C++ LevelDB wrote, closed cleanly or killed; a directory in use is read through a linked
//! snapshot. Writing goes through the canonical engine (see [`crate::gostore`]).
//!
//! Promises: every block and log record is checked against its checksum; a table that is
//! missing, short or damaged is an error that names file and offset, never an end of data.
//! Memory: the logs (half of what the caller gives, 64 MiB at least), caches of as much, and for
//! each table that a cursor stands in one block and one span of 16 to 256 KiB, read ahead.

#[cfg(test)]
mod ailing;
mod block;
mod cache;
pub mod decoders;
mod encoding;
mod fault;
mod files;
mod internal_key;
mod link;
mod log;
mod manifest;
mod memtable;
mod merge;
mod sampling;
mod snapshot;
mod table;
mod tables;
mod version;
mod walk;

pub use link::link_snapshot;

use files::OnDisk;
use snapshot::LevelDbSnapshot;
use std::path::Path;
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Guarantees, Isolation, KEY_BYTES_MAX, Processes, Result, Snapshot, SourceOptions,
    Store, VALUE_BYTES_MAX,
};

/// Opens a LevelDB directory for reading.
///
/// # Errors
/// [`transload_store::Kind::Corrupt`] when manifest, logs or the tables' order contradict
/// themselves; [`transload_store::Kind::UnknownFormat`] for a foreign key order or a newer
/// manifest.
pub fn open(path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
    let snapshot = LevelDbSnapshot::open(Arc::new(OnDisk), path, options.memory_bytes_max)?;
    Ok(Box::new(LevelDb { snapshot: Arc::new(snapshot) }))
}

/// Reads the manifest alone: whether this is a LevelDB directory whose keys we can order.
///
/// # Errors
/// As [`open`].
pub fn check_manifest(path: &Path) -> Result<()> {
    manifest::Manifest::load(&OnDisk, path).map(drop)
}

/// What LevelDB promises, whoever writes it.
#[must_use]
pub fn guarantees() -> Guarantees {
    Guarantees {
        atomic_batch: true,
        durable_sync: true,
        ordered_writes: true,
        checksummed: true,
        isolation: Isolation::Snapshot,
        processes: Processes::One,
        key_bytes_max: KEY_BYTES_MAX,
        value_bytes_max: VALUE_BYTES_MAX,
    }
}

struct LevelDb {
    snapshot: Arc<LevelDbSnapshot>,
}

impl Store for LevelDb {
    fn engine(&self) -> Engine {
        Engine::Goleveldb
    }

    fn engine_version(&self) -> String {
        "leveldb format".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: false, bulk_load: false }
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
