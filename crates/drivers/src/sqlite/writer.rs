//! An open SQLite file: batches, snapshots, closing.

use super::guarantees;
use super::place::Place;
use super::snapshot::SqliteSnapshot;
use super::table::Table;
use crate::limits::check_batch;
use crate::standing::sync_folder_of;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Durability, Error, Guarantees, Kind, Result, Snapshot, Store, WriteBatch, WriteOp,
};

/// What a store, its snapshots and its cursors share.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) table: Table,
    writing: Mutex<Writing>,
}

struct Writing {
    /// None for a source.
    connection: Option<Connection>,
    /// How many batches were written.
    generation: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` unless a batch was written since `generation`; none is meanwhile.
    pub(super) fn while_unchanged<T>(
        &self,
        generation: u64,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        let writing = self.lock();
        if writing.generation == generation { read().map(Some) } else { Ok(None) }
    }
}

pub(super) struct SqliteStore {
    shared: Arc<Shared>,
    writable: bool,
}

impl SqliteStore {
    pub(super) fn source(place: Place, table: Table) -> Self {
        let writing = Mutex::new(Writing { connection: None, generation: 0 });
        Self { shared: Arc::new(Shared { place, table, writing }), writable: false }
    }

    pub(super) fn target(place: Place, table: Table, connection: Connection) -> Self {
        let writing = Mutex::new(Writing { connection: Some(connection), generation: 0 });
        Self { shared: Arc::new(Shared { place, table, writing }), writable: true }
    }
}

impl Store for SqliteStore {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn engine_version(&self) -> String {
        "3".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: self.writable, bulk_load: false }
    }

    fn guarantees(&self) -> Guarantees {
        guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let writing = self.shared.lock();
        Ok(Arc::new(SqliteSnapshot::new(Arc::clone(&self.shared), writing.generation)?))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        check_batch(batch, &guarantees())?;
        let mut writing = self.shared.lock();
        let Some(connection) = &mut writing.connection else {
            return Err(Error::unsupported("write", "the store was opened for reading"));
        };
        apply(connection, &self.shared, batch, durability)?;
        writing.generation += 1;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Some(connection) = self.shared.lock().connection.take() else { return Ok(()) };
        let place = &self.shared.place;
        let failed = |error| place.fault("close", error).effect_unknown();
        // Folding the log in needs the file for itself: whoever still reads keeps it open.
        connection.busy_timeout(Duration::ZERO).map_err(failed)?;
        let busy: i64 = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))
            .map_err(failed)?;
        if busy != 0 {
            return Err(Error::new(Kind::Busy, "close", "a snapshot of the store is still held")
                .with("path", place.path.display().to_string()));
        }
        connection.query_row("PRAGMA journal_mode=DELETE", (), |_| Ok(())).map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))?;
        sync_folder_of(&place.path)
    }
}

fn apply(
    connection: &mut Connection,
    shared: &Shared,
    batch: &WriteBatch,
    durability: Durability,
) -> Result<()> {
    let failed = |error| shared.place.fault("write", error);
    // With the log, FULL syncs it at each commit and all frames before; NORMAL leaves it to the
    // next one that does.
    let (level, is_synced) = match durability {
        Durability::Synced => ("FULL", true),
        Durability::Buffered => ("NORMAL", false),
    };
    connection.execute_batch(&format!("PRAGMA synchronous={level}")).map_err(failed)?;
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed)?;
    let Table { name, key, value, .. } = &shared.table;
    let change = || {
        let mut put = transaction
            .prepare(&format!("INSERT OR REPLACE INTO {name} ({key}, {value}) VALUES (?1, ?2)"))?;
        let mut delete = transaction.prepare(&format!("DELETE FROM {name} WHERE {key} = ?1"))?;
        for op in batch.ops() {
            match op {
                WriteOp::Put { key, value } => put.execute((key, value))?,
                WriteOp::Delete { key } => delete.execute((key,))?,
            };
        }
        if batch.is_empty() && is_synced {
            // Only a commit with a change syncs the log, and those before it wait for that.
            transaction.execute_batch("PRAGMA user_version=1")?;
        }
        Ok(())
    };
    change().map_err(failed)?;
    transaction.commit().map_err(|error| failed(error).effect_unknown())
}
