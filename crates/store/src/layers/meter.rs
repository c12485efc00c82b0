//! Counts what passes: entries and bytes read and written, and failures.

use crate::{
    BulkLoad, Capabilities, ChunkLoad, Cursor, Durability, Guarantees, KeyRange, Result, Snapshot,
    Store, TakeValue, WriteBatch,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_model::engine::Engine;

#[derive(Debug, Default)]
struct Counters {
    entries_read: AtomicU64,
    bytes_read: AtomicU64,
    entries_written: AtomicU64,
    bytes_written: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    fn note_value(&self, key: &[u8], value: Option<&[u8]>) {
        if let Some(value) = value {
            Self::add(&self.entries_read, 1);
            Self::add(&self.bytes_read, key.len() + value.len());
        }
    }

    fn note<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            Self::add(&self.failures, 1);
        }
        result
    }
}

/// What a [`Meter`] has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// Entries that cursors and gets gave.
    pub entries_read: u64,
    /// Their key and value bytes.
    pub bytes_read: u64,
    /// Entries put or deleted, successfully.
    pub entries_written: u64,
    /// Their key and value bytes.
    pub bytes_written: u64,
    /// Operations that failed.
    pub failures: u64,
}

/// A store that counts.
pub struct Meter {
    inner: Box<dyn Store>,
    counters: Arc<Counters>,
}

impl Meter {
    /// Counts what passes through `inner`.
    #[must_use]
    pub fn new(inner: Box<dyn Store>) -> Self {
        Self { inner, counters: Arc::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub fn reading(&self) -> MeterReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MeterReading {
            entries_read: get(&self.counters.entries_read),
            bytes_read: get(&self.counters.bytes_read),
            entries_written: get(&self.counters.entries_written),
            bytes_written: get(&self.counters.bytes_written),
            failures: get(&self.counters.failures),
        }
    }
}

impl Store for Meter {
    fn engine(&self) -> Engine {
        self.inner.engine()
    }

    fn engine_version(&self) -> String {
        self.inner.engine_version()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let inner = self.counters.note(self.inner.snapshot())?;
        Ok(Arc::new(MeteredSnapshot { inner, counters: Arc::clone(&self.counters) }))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.counters.note(self.inner.write(batch, durability))?;
        Counters::add(&self.counters.entries_written, batch.ops().len());
        Counters::add(&self.counters.bytes_written, batch.bytes());
        Ok(())
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        let inner = self.counters.note(self.inner.bulk_load())?;
        Ok(Arc::new(MeteredLoad { inner, counters: Arc::clone(&self.counters) }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.counters.note(self.inner.close())
    }
}

struct MeteredSnapshot {
    inner: Arc<dyn Snapshot>,
    counters: Arc<Counters>,
}

impl Snapshot for MeteredSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.counters.note(self.inner.get(key))?;
        self.counters.note_value(key, value.as_deref());
        Ok(value)
    }

    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        self.counters.note(self.inner.get_many(keys, &mut |place, value| {
            self.counters.note_value(&keys[place], value.as_deref());
            take(place, value)
        }))
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let inner = self.counters.note(self.inner.cursor(range))?;
        Ok(Box::new(MeteredCursor { inner, counters: Arc::clone(&self.counters) }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.counters.note(self.inner.split_points(range, chunk_bytes))
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.counters.note(self.inner.approximate_bytes(range))
    }
}

struct MeteredCursor {
    inner: Box<dyn Cursor>,
    counters: Arc<Counters>,
}

impl Cursor for MeteredCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let entry = self.counters.note(self.inner.next())?;
        if let Some((key, value)) = entry {
            Counters::add(&self.counters.entries_read, 1);
            Counters::add(&self.counters.bytes_read, key.len() + value.len());
        }
        Ok(entry)
    }
}

struct MeteredLoad {
    inner: Arc<dyn BulkLoad>,
    counters: Arc<Counters>,
}

impl BulkLoad for MeteredLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        let inner = self.counters.note(self.inner.chunk(range))?;
        let counters = Arc::clone(&self.counters);
        Ok(Box::new(MeteredChunk { inner, counters, entries: 0, bytes: 0 }))
    }
}

struct MeteredChunk {
    inner: Box<dyn ChunkLoad>,
    counters: Arc<Counters>,
    entries: usize,
    bytes: usize,
}

impl ChunkLoad for MeteredChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.counters.note(self.inner.put(key, value))?;
        self.entries += 1;
        self.bytes += key.len() + value.len();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        self.counters.note(self.inner.commit())?;
        Counters::add(&self.counters.entries_written, self.entries);
        Counters::add(&self.counters.bytes_written, self.bytes);
        Ok(())
    }
}
