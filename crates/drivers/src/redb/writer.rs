//! An open redb file: batches, snapshots, closing.

use super::snapshot::RedbSnapshot;
use super::{Definition, OpenFile, Shared, asked, guarantees};
use redb::Database;
use std::path::Path;
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Durability, Error, Guarantees, Kind, Result, Snapshot, Store, WriteBatch, WriteOp,
};

pub(super) struct RedbStore {
    shared: Shared,
    writable: bool,
}

impl RedbStore {
    pub(super) fn new(database: Database, table: String, path: &Path, writable: bool) -> Self {
        let file = Arc::new(OpenFile(Some(database)));
        let shared = Shared { file, path: Arc::from(path), table: table.into() };
        Self { shared, writable }
    }

    fn commit(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        let durability = match durability {
            Durability::Synced => redb::Durability::Immediate,
            Durability::Buffered => redb::Durability::None,
        };
        let path = &self.shared.path;
        let database = self.shared.database("write")?;
        let transaction = asked("write", path, || {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            let mut table = transaction.open_table(Definition::new(&self.shared.table))?;
            for op in batch.ops() {
                match op {
                    WriteOp::Put { key, value } => {
                        table.insert(key.as_slice(), value.as_slice()).map(drop)?;
                    }
                    WriteOp::Delete { key } => table.remove(key.as_slice()).map(drop)?,
                }
            }
            drop(table);
            Ok::<_, redb::Error>(transaction)
        })?;
        asked("write", path, || transaction.commit()).map_err(Error::effect_unknown)
    }
}

impl Store for RedbStore {
    fn engine(&self) -> Engine {
        Engine::Redb
    }

    fn engine_version(&self) -> String {
        "file format 3".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: self.writable, bulk_load: false }
    }

    fn guarantees(&self) -> Guarantees {
        guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(RedbSnapshot::new(self.shared.clone())?))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        if !self.writable {
            return Err(Error::unsupported("write", "the store was opened for reading"));
        }
        crate::limits::check_batch(batch, &guarantees())?;
        self.commit(batch, durability)
    }

    fn close(self: Box<Self>) -> Result<()> {
        if self.writable {
            // An empty durable commit makes the buffered ones before it durable.
            self.commit(&WriteBatch::new(), Durability::Synced)?;
        }
        let Shared { file, path, .. } = self.shared;
        let held = || {
            Error::new(Kind::Busy, "close", "a snapshot of the store is still held")
                .with("path", path.display().to_string())
        };
        let mut file = Arc::into_inner(file).ok_or_else(held)?;
        let database = file.0.take().ok_or_else(held)?;
        asked("close", &path, || database.close()).map_err(Error::effect_unknown)
    }
}
