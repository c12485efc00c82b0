//! Holds reading and writing to a pace, so that a node on the same disk keeps up.
//!
//! A token bucket for each direction: bytes may pass while the bucket isn't overdrawn, and
//! whoever overdraws it waits until it is filled again. Workers share the buckets, so the pace
//! holds for all of them together. It holds for key and value bytes, not for what the engine
//! reads and writes on disk for them.

use crate::{
    BulkLoad, Capabilities, ChunkLoad, Cursor, Durability, Guarantees, KeyRange, Result, Snapshot,
    Store, WriteBatch,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use transload_model::engine::Engine;

/// A bucket saves up no more than it gets in this time, so that a pause isn't followed by a rush.
const SAVED_UP: Duration = Duration::from_millis(100);

/// Nobody sleeps longer at once: a changed pace or a wish to stop is heard after it.
const NAP_MAX: Duration = Duration::from_millis(50);

/// Cursors and chunk loads settle with the bucket after this many bytes, not for each entry.
const SETTLED_BYTES: u64 = 64 << 10;

/// The pace of one direction. Clones of the [`Arc`] around it share it.
#[derive(Debug, Default)]
pub struct Pace {
    bytes_per_second_max: AtomicU64,
    waited_micros: AtomicU64,
    open: AtomicBool,
    bucket: Mutex<Option<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes that may still pass; negative when overdrawn.
    level: i128,
    filled_at: Instant,
}

impl Pace {
    /// At most this many bytes a second; 0 for no limit.
    #[must_use]
    pub fn new(bytes_per_second_max: u64) -> Self {
        Self { bytes_per_second_max: AtomicU64::new(bytes_per_second_max), ..Self::default() }
    }

    /// Changes the limit, also for those who wait now; 0 for none.
    pub fn set(&self, bytes_per_second_max: u64) {
        self.bytes_per_second_max.store(bytes_per_second_max, Ordering::SeqCst);
    }

    /// The limit; 0 for none.
    #[must_use]
    pub fn bytes_per_second_max(&self) -> u64 {
        self.bytes_per_second_max.load(Ordering::SeqCst)
    }

    /// How long workers have waited so far, those of all threads added up.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_micros.load(Ordering::SeqCst))
    }

    /// Lets everybody pass from now on, whatever the limit: who was asked to stop must not wait.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Takes `bytes` from the bucket, and waits while it is overdrawn.
    pub fn pass(&self, bytes: u64) {
        let Some(mut debt) = self.draw(bytes) else { return };
        while !debt.is_zero() {
            let nap = debt.min(NAP_MAX);
            std::thread::sleep(nap);
            let micros = u64::try_from(nap.as_micros()).unwrap_or(u64::MAX);
            self.waited_micros.fetch_add(micros, Ordering::SeqCst);
            match self.draw(0) {
                Some(left) => debt = left,
                None => return,
            }
        }
    }

    /// Takes bytes and tells how long it takes until the bucket is no longer overdrawn; `None`
    /// without a limit.
    fn draw(&self, bytes: u64) -> Option<Duration> {
        let rate = self.bytes_per_second_max();
        if rate == 0 || self.open.load(Ordering::SeqCst) {
            return None;
        }
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let bucket = bucket.get_or_insert(Bucket { level: 0, filled_at: now });
        let since = now.duration_since(bucket.filled_at);
        bucket.filled_at = now;
        bucket.level = (bucket.level + flow(rate, since)).min(flow(rate, SAVED_UP));
        bucket.level -= i128::from(bytes);
        if bucket.level >= 0 {
            return Some(Duration::ZERO);
        }
        let micros = bucket.level.unsigned_abs() * 1_000_000 / u128::from(rate);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).max(1)))
    }
}

/// Bytes that flow in `time`.
fn flow(rate: u64, time: Duration) -> i128 {
    let bytes = u128::from(rate).saturating_mul(time.as_nanos()) / 1_000_000_000;
    i128::try_from(bytes).unwrap_or(i128::MAX / 4)
}

/// The paces of both directions.
#[derive(Clone, Debug, Default)]
pub struct Paces {
    /// Of what is read.
    pub read: Arc<Pace>,
    /// Of what is written.
    pub write: Arc<Pace>,
}

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
        let inner = self.inner.snapshot()?;
        Ok(Arc::new(SlowSnapshot { inner, pace: Arc::clone(&self.paces.read) }))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.paces.write.pass(batch.bytes() as u64);
        self.inner.write(batch, durability)
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        let inner = self.inner.bulk_load()?;
        Ok(Arc::new(SlowLoad { inner, pace: Arc::clone(&self.paces.write) }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.inner.close()
    }
}

struct SlowSnapshot {
    inner: Arc<dyn Snapshot>,
    pace: Arc<Pace>,
}

impl Snapshot for SlowSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.inner.get(key)?;
        self.pace.pass((key.len() + value.as_ref().map_or(0, Vec::len)) as u64);
        Ok(value)
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let inner = self.inner.cursor(range)?;
        Ok(Box::new(SlowCursor { inner, toll: Toll::on(&self.pace) }))
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
    owed: u64,
}

impl Toll {
    fn on(pace: &Arc<Pace>) -> Self {
        Self { pace: Arc::clone(pace), owed: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.owed += bytes as u64;
        if self.owed >= SETTLED_BYTES {
            self.pace.pass(std::mem::take(&mut self.owed));
        }
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
    pace: Arc<Pace>,
}

impl BulkLoad for SlowLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        let inner = self.inner.chunk(range)?;
        Ok(Box::new(SlowChunk { inner, toll: Toll::on(&self.pace) }))
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
    use super::*;

    #[test]
    fn a_pace_is_kept_by_all_workers_together_and_the_waiting_is_counted() {
        // 40 threads want 1,000 bytes each; beyond what was saved up, that is 3.9 tenths of the
        // second that 100,000 bytes take.
        let pace = Pace::new(100_000);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| pace.pass(1_000));
            }
        });
        assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
        assert!(pace.waited() >= Duration::from_millis(290));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pace = Pace::default();
        pace.pass(u64::MAX);
        assert_eq!(pace.waited(), Duration::ZERO);
    }

    #[test]
    fn a_waiting_worker_hears_of_a_new_pace_and_of_the_end() {
        for change in [|pace: &Pace| pace.set(0), |pace: &Pace| pace.open()] {
            // Ten million seconds, were nobody to change it.
            let pace = Pace::new(1);
            std::thread::scope(|scope| {
                let worker = scope.spawn(|| pace.pass(10_000_000));
                std::thread::sleep(Duration::from_millis(5));
                change(&pace);
                worker.join().unwrap();
            });
        }
    }
}
