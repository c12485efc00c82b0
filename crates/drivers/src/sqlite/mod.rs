//! SQLite: one table of byte keys and byte values in one file.
//!
//! Sources are opened `immutable`: SQLite then takes no lock and writes nothing. A file that was
//! left with a hot journal or log is copied into the scratch folder with it, and recovered there.
//!
//! Layout: `CREATE TABLE "transload" (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT
//! ROWID`; blobs compare like `memcmp`. Sources of another shape are refused by name, except
//! plain tables of two BLOB columns whose first is the primary key. See
//! `docs/formats/embedded-layouts.md`.

mod place;
mod snapshot;
mod table;
mod writer;

use crate::standing::{check_magic, check_nothing_there, sync_folder_of};
use place::Place;
use rusqlite::ffi::ErrorCode;
use std::path::Path;
use table::Table;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Isolation, KEY_BYTES_MAX, Kind, Processes, Result,
    SourceOptions, Store, TargetOptions,
};
use writer::SqliteStore;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// SQLite takes rows of up to 1,000,000,000 bytes: key, value and a header.
const VALUE_BYTES_MAX: usize = 1_000_000_000 - KEY_BYTES_MAX - 64;

/// The driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteDriver;

impl Driver for SqliteDriver {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        (Capabilities { write: true, bulk_load: false }, guarantees())
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        check_magic(path, MAGIC, "SQLite")?;
        let place = Place::source(path, &options.scratch_dir, options.memory_bytes_max)?;
        let table = Table::find(&place, options.space.as_deref())?;
        Ok(Box::new(SqliteStore::source(place, table)))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        check_nothing_there(path)?;
        let place = Place::target(path, options.memory_bytes_max)?;
        let (connection, table) = Table::create(&place, options.space.as_deref())?;
        sync_folder_of(path)?;
        Ok(Box::new(SqliteStore::target(place, table, connection)))
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        check_magic(path, MAGIC, "SQLite")?;
        let place = Place::target(path, options.memory_bytes_max)?;
        let (connection, table) = Table::reopen(&place, options.space.as_deref())?;
        Ok(Box::new(SqliteStore::target(place, table, connection)))
    }
}

/// What SQLite promises: its pages carry no checksums.
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

/// Translates an error of SQLite.
fn fault(operation: &'static str, path: &Path, error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => Kind::Corrupt,
        Some(ErrorCode::NotADatabase) => Kind::UnknownFormat,
        Some(ErrorCode::DiskFull) => Kind::NoSpace,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        Some(ErrorCode::TooBig) => Kind::InvalidInput,
        Some(ErrorCode::OutOfMemory) => Kind::Limit,
        _ => Kind::Io,
    };
    Error::new(kind, operation, error.to_string())
        .with("path", path.display().to_string())
        .caused_by(error)
}
