//! redb: a copy-on-write B-tree in one file.
//!
//! redb checks its checksums only when it opens a file for writing, and may panic on a damaged
//! one otherwise. So every file, source or target, is checked whole when it is opened: each page
//! of each table against its checksum. A source is opened over an overlay that keeps what redb
//! writes in memory (module `overlay`); not a byte of the file changes and no lock is taken.
//!
//! Layout: one table of byte keys and byte values, named by `space` (`transload` by default);
//! see `docs/formats/embedded-layouts.md`.

mod overlay;
mod snapshot;
mod writer;

use crate::standing::{check_magic, check_nothing_there, sync_folder_of};
use overlay::Overlay;
use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};
use std::path::Path;
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Isolation, KEY_BYTES_MAX, Kind, Processes, Result,
    SourceOptions, Store, TargetOptions, VALUE_BYTES_MAX,
};
use writer::RedbStore;

const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// The table of a target for which no space is named.
const TABLE: &str = "transload";

/// Names listed when a choice is needed.
const NAMES_SHOWN_MAX: usize = 16;

type Definition<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// The driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedbDriver;

impl Driver for RedbDriver {
    fn engine(&self) -> Engine {
        Engine::Redb
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        (Capabilities { write: true, bulk_load: false }, guarantees())
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        check_magic(path, MAGIC, "redb")?;
        let backend = Overlay::open(path)?;
        let builder = builder(options.memory_bytes_max);
        let database = asked("open", path, || builder.create_with_backend(backend))?;
        let table = find_table(&database, options.space.as_deref(), path)?;
        Ok(Box::new(RedbStore::new(database, table, path, false)))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        check_nothing_there(path)?;
        let failed = |error: redb::Error| fault("create", path, error);
        let database =
            builder(options.memory_bytes_max).create(path).map_err(|error| failed(error.into()))?;
        let table = options.space.as_deref().unwrap_or(TABLE);
        let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        transaction.open_table(Definition::new(table)).map_err(|error| failed(error.into()))?;
        transaction.commit().map_err(|error| failed(error.into()))?;
        sync_folder_of(path)?;
        Ok(Box::new(RedbStore::new(database, table.to_owned(), path, true)))
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        check_magic(path, MAGIC, "redb")?;
        let builder = builder(options.memory_bytes_max);
        let database = asked("open", path, || builder.open(path))?;
        let table = options.space.as_deref().unwrap_or(TABLE);
        let table = find_table(&database, Some(table), path)?;
        Ok(Box::new(RedbStore::new(database, table, path, true)))
    }
}

/// What redb promises. Checksums are verified for the whole file whenever it is opened.
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

fn builder(memory_bytes_max: u64) -> redb::Builder {
    let mut builder = redb::Builder::new();
    // Sources and targets alike: a file that was damaged since is refused, not trusted.
    builder.set_check_integrity_on_open(true);
    builder.set_cache_size(usize::try_from(memory_bytes_max / 2).unwrap_or(usize::MAX));
    builder
}

/// Asks redb for something that depends on a file's bytes, which may be anything.
///
/// redb trusts a page that was good when the file was opened, and the check at the opening looks
/// at a page's own lengths before its checksum: a page that is bad, or is read as another, can
/// make it panic. What it was building is dropped, and the caller gives up on the database.
fn asked<T, E: Into<redb::Error>>(
    operation: &'static str,
    path: &Path,
    ask: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    match unless_it_panics(ask) {
        Some(answer) => answer.map_err(|error| fault(operation, path, error.into())),
        None => Err(Error::new(Kind::Corrupt, operation, "redb gave up on a damaged page")
            .with("path", path.display().to_string())),
    }
}

fn unless_it_panics<T>(act: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).ok()
}

/// The table asked for, or the only one; it must hold plain bytes.
fn find_table(database: &Database, space: Option<&str>, path: &Path) -> Result<String> {
    let refused = |kind, message: &str| {
        Error::new(kind, "open a table", message).with("path", path.display().to_string())
    };
    let transaction = asked("open a table", path, || database.begin_read())?;
    let name = match space {
        Some(name) => name.to_owned(),
        None => {
            let names: Vec<String> = asked("open a table", path, || {
                let tables = transaction.list_tables()?;
                let names = tables.map(|table| table.name().to_owned());
                Ok::<_, redb::StorageError>(names.take(NAMES_SHOWN_MAX).collect())
            })?;
            match names.as_slice() {
                [] => return Err(refused(Kind::NotFound, "the file has no tables")),
                [only] => only.clone(),
                several => {
                    let several = several.join(" ");
                    return Err(refused(
                        Kind::InvalidInput,
                        "the file has several tables: name one as the space",
                    )
                    .with("tables", several));
                }
            }
        }
    };
    let opened = asked("open a table", path, || {
        Ok::<_, redb::Error>(transaction.open_table(Definition::new(&name)).map(drop))
    })?;
    match opened {
        Ok(()) => Ok(name),
        Err(
            redb::TableError::TableTypeMismatch { .. }
            | redb::TableError::TypeDefinitionChanged { .. }
            | redb::TableError::TableIsMultimap(_),
        ) => Err(refused(
            Kind::UnknownFormat,
            "the table has types whose order and bytes only its own program knows; transload \
             reads tables of plain bytes",
        )
        .with("table", name)),
        Err(error) => Err(fault("open a table", path, error.into())),
    }
}

/// Translates an error of redb.
fn fault(operation: &'static str, path: &Path, error: redb::Error) -> Error {
    let kind = match error {
        redb::Error::Io(error) => return Error::io(operation, path, error),
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Kind::Busy,
        redb::Error::Corrupted(_) | redb::Error::RepairAborted => Kind::Corrupt,
        redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_) => Kind::UnknownFormat,
        redb::Error::ValueTooLarge(_) => Kind::InvalidInput,
        redb::Error::TableDoesNotExist(_) => Kind::NotFound,
        _ => Kind::Io,
    };
    Error::new(kind, operation, error.to_string())
        .with("path", path.display().to_string())
        .caused_by(error)
}

/// A shared database, and the path for error texts.
#[derive(Clone)]
struct Shared {
    file: Arc<OpenFile>,
    path: Arc<Path>,
    table: Arc<str>,
}

impl Shared {
    fn database(&self, operation: &'static str) -> Result<&Database> {
        self.file.0.as_ref().ok_or_else(|| Error::new(Kind::Busy, operation, "it was closed"))
    }
}

/// redb writes when a database is dropped, and what it then reads may be damaged as well.
struct OpenFile(Option<Database>);

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(database) = self.0.take() {
            // Whoever needs to know closes it and is told.
            let _ = unless_it_panics(|| drop(database));
        }
    }
}
