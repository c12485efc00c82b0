//! Holds reading and writing to a pace, so that a node on the same disk keeps up.
//!
//! Workers share the paces, so they hold for all of them together. They hold for key and value
//! bytes, not for what the engine reads and writes on disk for them. Whoever reads or writes
//! also waits for the pace of processor time.

use super::pace::{Pace, Paces};
use crate::{
    BulkLoad, Capabilities, ChunkLoad, Cursor, Durability, Guarantees, KeyRange, Result, Snapshot,
    Store, TakeValue, WriteBatch,
};
use std::sync::Arc;
use transload_model::engine::Engine;

/// Cursors and chunk loads settle with the bucket after this many bytes, not for each entry.
const SETTLED_BYTES: u64 = 64 << 10;

/// A store that keeps a pace.
pub struct Throttle {
    inner: Box<dyn Store>,
    paces: Paces,
}

impl Throttle {
    /// Holds `inner` to the paces. Several stores may share them.
    #[must_use]
    pub fn new(inner: Box<dyn Store>, paces: Paces) -> Self {
        Self { inner, paces }
    }
}

impl Store for Throttle {
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
        Ok(self.paces.snapshot(self.inner.snapshot()?))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.paces.write.pass(batch.bytes() as u64);
        self.paces.cpu.pass(0);
        self.inner.write(batch, durability)
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        let inner = self.inner.bulk_load()?;
        Ok(Arc::new(SlowLoad { inner, paces: self.paces.clone() }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.inner.close()
    }
}

impl Paces {
    /// Holds a view to the paces.
    #[must_use]
    pub fn snapshot(&self, inner: Arc<dyn Snapshot>) -> Arc<dyn Snapshot> {
        Arc::new(SlowSnapshot { inner, paces: self.clone() })
    }

    /// Waits as long as a single read takes.
    fn pass_value(&self, key: &[u8], value: Option<&[u8]>) {
        self.read.pass((key.len() + value.map_or(0, <[u8]>::len)) as u64);
        self.cpu.pass(0);
    }
}

struct SlowSnapshot {
    inner: Arc<dyn Snapshot>,
    paces: Paces,
}

impl Snapshot for SlowSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.inner.get(key)?;
        self.paces.pass_value(key, value.as_deref());
        Ok(value)
    }

    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        self.inner.get_many(keys, &mut |place, value| {
            self.paces.pass_value(&keys[place], value.as_deref());
            take(place, value)
        })
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let inner = self.inner.cursor(range)?;
        Ok(Box::new(SlowCursor { inner, toll: Toll::on(&self.paces.read, &self.paces) }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.inner.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.inner.approximate_bytes(range)
    }
}

/// What one walk owes to the bucket.
struct Toll {
    pace: Arc<Pace>,
    cpu: Arc<Pace>,
    owed: u64,
}

impl Toll {
    /// Waits for what others owe still, so that many short walks keep the pace as well.
    fn on(pace: &Arc<Pace>, paces: &Paces) -> Self {
        pace.pass(0);
        paces.cpu.pass(0);
        Self { pace: Arc::clone(pace), cpu: Arc::clone(&paces.cpu), owed: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.owed += bytes as u64;
        if self.owed >= SETTLED_BYTES {
            self.pace.pass(std::mem::take(&mut self.owed));
            self.cpu.pass(0);
        }
    }
}

impl Drop for Toll {
    /// The rest of a walk counts too.
    fn drop(&mut self) {
        self.pace.charge(self.owed);
    }
}

struct SlowCursor {
    inner: Box<dyn Cursor>,
    toll: Toll,
}

impl Cursor for SlowCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let entry = self.inner.next()?;
        if let Some((key, value)) = entry {
            self.toll.add(key.len() + value.len());
        }
        Ok(entry)
    }
}

struct SlowLoad {
    inner: Arc<dyn BulkLoad>,
    paces: Paces,
}

impl BulkLoad for SlowLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        let inner = self.inner.chunk(range)?;
        Ok(Box::new(SlowChunk { inner, toll: Toll::on(&self.paces.write, &self.paces) }))
    }
}

struct SlowChunk {
    inner: Box<dyn ChunkLoad>,
    toll: Toll,
}

impl ChunkLoad for SlowChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.toll.add(key.len() + value.len());
        self.inner.put(key, value)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        self.inner.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pace::tests::Slept;
    use super::*;
    use crate::layers::Clock as _;
    use crate::memory::MemoryStore;
    use std::ops::ControlFlow;
    use std::time::Duration;

    const ENTRIES: u32 = 1_000;
    const BYTES: u64 = 1_000 * 1_000;

    fn entry(number: u32) -> (Vec<u8>, Vec<u8>) {
        (number.to_be_bytes().to_vec(), vec![7; 996])
    }

    fn world() -> (Paces, Arc<Slept>) {
        let clock = Arc::new(Slept::default());
        (Paces::with_clock(Arc::default(), clock.clone()), clock)
    }

    /// What `bytes` take at `rate`, the little that is saved up aside.
    fn takes(clock: &Slept, bytes: u64, rate: u64) -> bool {
        let expected = Duration::from_millis(bytes * 1_000 / rate);
        clock.now() <= expected && clock.now() + Duration::from_millis(110) >= expected
    }

    #[test]
    fn walks_single_reads_and_many_at_once_keep_the_read_limit_and_writes_are_free_of_it() {
        let (paces, clock) = world();
        paces.read.set(BYTES);
        let store = Throttle::new(Box::new(MemoryStore::new()), paces);
        let mut batch = WriteBatch::new();
        (0..ENTRIES).for_each(|number| batch.put(&entry(number).0, &entry(number).1));
        store.write(&batch, Durability::Synced).unwrap();
        assert_eq!(clock.now(), Duration::ZERO);
        let snapshot = store.snapshot().unwrap();
        let mut cursor = snapshot.cursor(&KeyRange::all()).unwrap();
        while cursor.next().unwrap().is_some() {}
        drop(cursor);
        for number in 0..ENTRIES {
            snapshot.get(&entry(number).0).unwrap();
        }
        let keys: Vec<_> = (0..ENTRIES).map(|number| entry(number).0).collect();
        snapshot.get_many(&keys, &mut |_, _| ControlFlow::Continue(())).unwrap();
        assert!(takes(&clock, 3 * BYTES, BYTES), "{:?}", clock.now());
    }

    #[test]
    fn many_short_walks_keep_the_read_limit_too() {
        let (paces, clock) = world();
        paces.read.set(BYTES);
        let store = MemoryStore::with((0..ENTRIES).map(entry));
        let snapshot = paces.snapshot(store.snapshot().unwrap());
        for number in 0..ENTRIES {
            let range = KeyRange::new(entry(number).0, (number + 1).to_be_bytes());
            assert!(snapshot.cursor(&range).unwrap().next().unwrap().is_some());
        }
        assert!(takes(&clock, BYTES, BYTES), "{:?}", clock.now());
    }

    #[test]
    fn batches_and_chunks_keep_the_write_limit() {
        let (paces, clock) = world();
        paces.write.set(BYTES);
        let store = Throttle::new(Box::new(MemoryStore::new()), paces);
        let mut batch = WriteBatch::new();
        (0..ENTRIES).for_each(|number| batch.put(&entry(number).0, &entry(number).1));
        store.write(&batch, Durability::Synced).unwrap();
        let loads = store.bulk_load().unwrap();
        let range = KeyRange::new(ENTRIES.to_be_bytes(), (2 * ENTRIES).to_be_bytes());
        let mut load = loads.chunk(&range).unwrap();
        (ENTRIES..2 * ENTRIES)
            .for_each(|number| load.put(&entry(number).0, &entry(number).1).unwrap());
        load.commit().unwrap();
        assert!(takes(&clock, 2 * BYTES, BYTES), "{:?}", clock.now());
    }

    #[test]
    fn whoever_reads_or_writes_waits_for_the_processor_time_that_was_used() {
        let (paces, clock) = world();
        paces.cpu.set(1_000_000);
        let store = Throttle::new(Box::new(MemoryStore::new()), paces.clone());
        paces.cpu.charge(2_000_000);
        store.snapshot().unwrap().get(b"key").unwrap();
        paces.cpu.charge(1_000_000);
        store.write(&WriteBatch::new(), Durability::Buffered).unwrap();
        assert_eq!(paces.cpu.waited(), Duration::from_secs(3));
        assert_eq!(clock.now(), Duration::from_secs(3));
    }
}
