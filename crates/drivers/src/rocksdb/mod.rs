//! RocksDB, through its own library.
//!
//! A source is read on a linked snapshot, opened read-only: RocksDB writes its log of messages
//! even then, and the source must not notice. That works beside a writer too. A target is filled
//! with tables that are written aside and then taken in whole, in a format that the RocksDB of
//! today's nodes opens; see `docs/formats/embedded-layouts.md`.

mod bulk;
mod logs;
mod options;
mod snapshot;
mod store;

use crate::linked::LinkedSnapshot;
use crate::standing::make_empty_folder;
use rocksdb::{DB, ErrorKind};
use std::path::Path;
use store::RocksdbStore;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Isolation, KEY_BYTES_MAX, Kind, Processes, Result,
    SourceOptions, Store, TargetOptions, VALUE_BYTES_MAX,
};

/// The column family that every database has.
const DEFAULT_FAMILY: &str = "default";

/// Names listed when a choice is needed.
const NAMES_SHOWN_MAX: usize = 16;

/// The driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocksdbDriver;

impl Driver for RocksdbDriver {
    fn engine(&self) -> Engine {
        Engine::Rocksdb
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        (Capabilities { write: true, bulk_load: true }, guarantees())
    }

    fn link_snapshot(&self, path: &Path, into: &Path) -> Result<()> {
        options::check_log_folder(path)?;
        crate::linked::link_into(path, into)
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        options::check_log_folder(path)?;
        let linked = LinkedSnapshot::make(path, &options.scratch_dir)?;
        logs::check(linked.path(), path)?;
        let failed = |error| fault("open", path, error);
        let settings = options::for_source(options.memory_bytes_max);
        let families = DB::list_cf(&settings, linked.path()).map_err(failed)?;
        let family = choose_family(&families, options.space.as_deref(), path)?;
        // RocksDB wants the default family among those that are opened.
        let names = [DEFAULT_FAMILY, &family];
        let names = if family == DEFAULT_FAMILY { &names[..1] } else { &names[..] };
        let opened = names.iter().map(|name| (*name, settings.clone()));
        let database = DB::open_cf_with_opts_for_read_only(&settings, linked.path(), opened, false)
            .map_err(failed)?;
        let version = options::version(path)?;
        Ok(Box::new(RocksdbStore::source(database, family, path, version, linked)?))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        make_empty_folder(path)?;
        open_target(path, options)
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        // Asked for here, because RocksDB would make a database where none is.
        let current = path.join("CURRENT");
        std::fs::metadata(&current).map_err(|error| Error::io("open", &current, error))?;
        if crate::recognise(path)?.engine != Engine::Rocksdb {
            return Err(Error::new(Kind::UnknownFormat, "open", "this is no RocksDB database")
                .with("path", path.display().to_string()));
        }
        logs::check(path, path)?;
        bulk::forget_unfinished(path)?;
        open_target(path, options)
    }
}

fn open_target(path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
    let settings = options::for_target(options.memory_bytes_max);
    let family = options.space.as_deref().unwrap_or(DEFAULT_FAMILY);
    let failed = |error| fault("open", path, error);
    // Every family that is there must be opened for writing; those that aren't are made.
    let current = path.join("CURRENT");
    let is_there = current.try_exists().map_err(|error| Error::io("open", &current, error))?;
    let mut families = match is_there {
        true => DB::list_cf(&settings, path).map_err(failed)?,
        false => vec![DEFAULT_FAMILY.to_owned()],
    };
    if !families.iter().any(|name| name == family) {
        families.push(family.to_owned());
    }
    let opened = families.iter().map(|name| (name, settings.clone()));
    let database = DB::open_cf_with_opts(&settings, path, opened).map_err(failed)?;
    let version = options::version(path)?;
    let store = RocksdbStore::target(database, family.to_owned(), path, version, settings)?;
    Ok(Box::new(store))
}

/// What RocksDB promises.
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

/// The column family asked for, or the default one when there is no other.
fn choose_family(families: &[String], space: Option<&str>, path: &Path) -> Result<String> {
    let refused = |kind, message: &str| {
        let names: Vec<&str> = families.iter().take(NAMES_SHOWN_MAX).map(|name| &**name).collect();
        Error::new(kind, "open", message)
            .with("families", names.join(" "))
            .with("path", path.display().to_string())
    };
    match space {
        Some(name) if families.iter().any(|family| family == name) => Ok(name.to_owned()),
        Some(_) => Err(refused(Kind::NotFound, "no column family has this name")),
        None if families == [DEFAULT_FAMILY] => Ok(DEFAULT_FAMILY.to_owned()),
        None => Err(refused(
            Kind::InvalidInput,
            "the database has several column families: name one as the space",
        )),
    }
}

/// Translates an error of RocksDB.
fn fault(operation: &'static str, path: &Path, error: rocksdb::Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::Corruption => Kind::Corrupt,
        // Another comparator, merge operands, a newer format.
        ErrorKind::NotSupported | ErrorKind::InvalidArgument => Kind::UnknownFormat,
        ErrorKind::Busy | ErrorKind::TryAgain => Kind::Busy,
        _ => Kind::Io,
    };
    Error::new(kind, operation, error.to_string())
        .with("path", path.display().to_string())
        .caused_by(error)
}
