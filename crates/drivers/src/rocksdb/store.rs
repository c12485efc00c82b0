//! An open RocksDB database: batches, snapshots, closing.

use super::bulk::{RocksdbLoad, forget_unfinished};
use super::snapshot::RocksdbSnapshot;
use super::{fault, guarantees};
use crate::limits::check_batch;
use crate::linked::LinkedSnapshot;
use rocksdb::{ColumnFamily, DB, Options, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    BulkLoad, Capabilities, Durability, Error, Guarantees, Kind, Result, Snapshot, Store,
    WriteBatch, WriteOp,
};

/// A database and the column family that is the store.
pub(super) struct Family {
    database: DB,
    family: String,
    /// The database's folder, for error texts; a source's own, not that of its links.
    pub(super) path: PathBuf,
    /// A source's linked snapshot, removed after the database is closed.
    _linked: Option<LinkedSnapshot>,
}

impl Family {
    fn new(
        database: DB,
        family: String,
        path: &Path,
        linked: Option<LinkedSnapshot>,
    ) -> Result<Arc<Self>> {
        let family = Self { database, family, path: path.to_owned(), _linked: linked };
        family.handle()?;
        Ok(Arc::new(family))
    }

    pub(super) fn database(&self) -> &DB {
        &self.database
    }

    pub(super) fn handle(&self) -> Result<&ColumnFamily> {
        self.database.cf_handle(&self.family).ok_or_else(|| {
            Error::new(Kind::NotFound, "open", "the column family is not open")
                .with("family", self.family.clone())
        })
    }

    pub(super) fn fault(&self, operation: &'static str, error: rocksdb::Error) -> Error {
        fault(operation, &self.path, error)
    }
}

pub(super) struct RocksdbStore {
    family: Arc<Family>,
    version: String,
    /// A target's settings, which its tables are written with.
    settings: Option<Options>,
}

impl RocksdbStore {
    pub(super) fn source(
        database: DB,
        family: String,
        path: &Path,
        version: String,
        linked: LinkedSnapshot,
    ) -> Result<Self> {
        let family = Family::new(database, family, path, Some(linked))?;
        Ok(Self { family, version, settings: None })
    }

    pub(super) fn target(
        database: DB,
        family: String,
        path: &Path,
        version: String,
        settings: Options,
    ) -> Result<Self> {
        let family = Family::new(database, family, path, None)?;
        Ok(Self { family, version, settings: Some(settings) })
    }
}

impl Store for RocksdbStore {
    fn engine(&self) -> Engine {
        Engine::Rocksdb
    }

    fn engine_version(&self) -> String {
        self.version.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let writable = self.settings.is_some();
        Capabilities { write: writable, bulk_load: writable }
    }

    fn guarantees(&self) -> Guarantees {
        guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(RocksdbSnapshot::of(Arc::clone(&self.family))))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        if self.settings.is_none() {
            return Err(Error::unsupported("write", "the store was opened for reading"));
        }
        check_batch(batch, &guarantees())?;
        let handle = self.family.handle()?;
        let mut changes = rocksdb::WriteBatch::default();
        for op in batch.ops() {
            match op {
                WriteOp::Put { key, value } => changes.put_cf(handle, key, value),
                WriteOp::Delete { key } => changes.delete_cf(handle, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let failed = |error| self.family.fault("write", error).effect_unknown();
        self.family.database().write_opt(changes, &options).map_err(failed)?;
        if batch.is_empty() && durability == Durability::Synced {
            // A batch without changes may not reach the log; what is buffered must all the same.
            self.family.database().flush_wal(true).map_err(failed)?;
        }
        Ok(())
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        match &self.settings {
            Some(settings) => {
                Ok(Arc::new(RocksdbLoad::new(Arc::clone(&self.family), settings.clone())?))
            }
            None => Err(Error::unsupported("bulk load", "the store was opened for reading")),
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { family, settings, .. } = *self;
        if settings.is_some() {
            // In tables, so that the next to open it has no log to replay.
            let failed = |error| family.fault("close", error).effect_unknown();
            family.database().flush_cf(family.handle()?).map_err(failed)?;
            family.database().flush_wal(true).map_err(failed)?;
        }
        let family = Arc::into_inner(family).ok_or_else(|| {
            Error::new(Kind::Busy, "close", "a snapshot of the store is still held")
        })?;
        family.database().cancel_all_background_work(true);
        let Family { database, path, _linked: linked, .. } = family;
        drop(database);
        if settings.is_some() {
            forget_unfinished(&path)?;
        }
        drop(linked);
        Ok(())
    }
}
