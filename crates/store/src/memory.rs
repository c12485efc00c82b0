//! A store in memory that is stricter than any real one.
//!
//! It is the model that drivers are compared with and the store of unit tests. It poisons the
//! bytes it lent once the cursor moves on, keeps unsynced batches apart so that a test can drop
//! them ([`MemoryStore::crash`]), and refuses whatever the seam's rules forbid.

use crate::{
    BulkLoad, Capabilities, ChunkLoad, Cursor, Durability, Error, Guarantees, Isolation,
    KEY_BYTES_MAX, KeyRange, Kind, Processes, Result, Snapshot, Store, VALUE_BYTES_MAX, WriteBatch,
    WriteOp,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use transload_model::engine::Engine;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
struct State {
    durable: Arc<Entries>,
    visible: Arc<Entries>,
}

/// The store. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with these entries, all of them durable.
    pub fn with(entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let entries = Arc::new(entries.into_iter().collect::<Entries>());
        let state = State { durable: Arc::clone(&entries), visible: entries };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Forgets everything that no synced write made durable, as a power cut may.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.visible = Arc::clone(&state.durable);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held can't leave half a batch: contents are swapped whole.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn publish(&self, change: impl FnOnce(&mut Entries), durability: Durability) {
        let mut state = self.lock();
        change(Arc::make_mut(&mut state.visible));
        if durability == Durability::Synced {
            state.durable = Arc::clone(&state.visible);
        }
    }
}

impl Store for MemoryStore {
    fn engine(&self) -> Engine {
        // The memory store stands in for the strictest on-disk format of unit tests.
        Engine::Redb
    }

    fn engine_version(&self) -> String {
        "memory".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, bulk_load: true }
    }

    fn guarantees(&self) -> Guarantees {
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

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(MemorySnapshot { entries: Arc::clone(&self.lock().visible) }))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        for op in batch.ops() {
            if let WriteOp::Put { key, value } = op {
                check_sizes("write", key, value)?;
            }
        }
        self.publish(
            |entries| {
                for op in batch.ops() {
                    match op {
                        WriteOp::Put { key, value } => {
                            entries.insert(key.clone(), value.clone());
                        }
                        WriteOp::Delete { key } => {
                            entries.remove(key);
                        }
                    }
                }
            },
            durability,
        );
        Ok(())
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        Ok(Arc::new(MemoryLoad { store: self.clone() }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.publish(|_| (), Durability::Synced);
        Ok(())
    }
}

fn check_sizes(operation: &'static str, key: &[u8], value: &[u8]) -> Result<()> {
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(Error::new(Kind::InvalidInput, operation, "a key or value is too long"));
    }
    Ok(())
}

struct MemorySnapshot {
    entries: Arc<Entries>,
}

impl MemorySnapshot {
    fn range(&self, range: &KeyRange) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        let end = if range.is_empty() {
            Bound::Excluded(&range.start)
        } else {
            range.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded)
        };
        self.entries.range::<Vec<u8>, _>((Bound::Included(&range.start), end))
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.entries.get(key).cloned())
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(MemoryCursor {
            entries: Arc::clone(&self.entries),
            range: range.clone(),
            last: None,
            lent: (Vec::new(), Vec::new()),
        }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let mut points = Vec::new();
        let mut since = 0;
        for (key, value) in self.range(range) {
            if since >= chunk_bytes.max(1) {
                points.push(key.clone());
                since = 0;
            }
            since += (key.len() + value.len()) as u64;
        }
        Ok(points)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.range(range).map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}

struct MemoryCursor {
    entries: Arc<Entries>,
    range: KeyRange,
    last: Option<Vec<u8>>,
    lent: (Vec<u8>, Vec<u8>),
}

impl Cursor for MemoryCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        // What was lent is overwritten, so that a caller who kept it sees nonsense, not luck.
        self.lent.0.fill(0xdb);
        self.lent.1.fill(0xdb);
        if self.range.is_empty() {
            return Ok(None);
        }
        let start = match &self.last {
            Some(last) => Bound::Excluded(last),
            None => Bound::Included(&self.range.start),
        };
        let end = self.range.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let Some((key, value)) = self.entries.range::<Vec<u8>, _>((start, end)).next() else {
            return Ok(None);
        };
        self.lent.0.clone_from(key);
        self.lent.1.clone_from(value);
        self.last = Some(key.clone());
        Ok(Some((&self.lent.0, &self.lent.1)))
    }
}

struct MemoryLoad {
    store: MemoryStore,
}

impl BulkLoad for MemoryLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        Ok(Box::new(MemoryChunk {
            store: self.store.clone(),
            range: range.clone(),
            entries: Vec::new(),
        }))
    }
}

struct MemoryChunk {
    store: MemoryStore,
    range: KeyRange,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl ChunkLoad for MemoryChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_sizes("bulk load", key, value)?;
        if !self.range.contains(key)
            || self.entries.last().is_some_and(|(last, _)| last.as_slice() >= key)
        {
            return Err(Error::new(
                Kind::InvalidInput,
                "bulk load",
                "a chunk takes strictly ascending keys of its range",
            ));
        }
        self.entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        let loaded = std::mem::take(&mut self.entries);
        self.store.publish(|entries| entries.extend(loaded), Durability::Synced);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Effect;

    #[test]
    fn a_crash_forgets_what_was_not_synced() {
        let store = MemoryStore::new();
        let mut batch = WriteBatch::new();
        batch.put(b"a", b"1");
        store.write(&batch, Durability::Synced).unwrap();
        batch.clear();
        batch.put(b"b", b"2");
        store.write(&batch, Durability::Buffered).unwrap();
        assert!(store.snapshot().unwrap().get(b"b").unwrap().is_some());
        store.crash();
        let after = store.snapshot().unwrap();
        assert_eq!(after.get(b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(after.get(b"b").unwrap(), None);
    }

    #[test]
    fn a_refused_batch_says_that_nothing_was_applied() {
        let store = MemoryStore::new();
        let mut batch = WriteBatch::new();
        batch.put(b"a", b"1");
        batch.put(&vec![0; KEY_BYTES_MAX + 1], b"");
        let error = store.write(&batch, Durability::Synced).unwrap_err();
        assert_eq!((error.kind(), error.effect()), (Kind::InvalidInput, Effect::NotApplied));
        assert_eq!(store.snapshot().unwrap().get(b"a").unwrap(), None);
    }
}
