//! Injects faults where a schedule asks for them: failures, wrong bytes, early ends, lies.
//!
//! What the seam promises about faults is tested with this layer: a driver's error must reach a
//! person, a driver that lies must be found out by reading back. Without a schedule that asks for
//! anything, the store is as it was.

use crate::{
    BulkLoad, Capabilities, ChunkLoad, Cursor, Durability, Error, Guarantees, KeyRange, Kind,
    Result, Snapshot, Store, TakeValue, WriteBatch,
};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use transload_model::engine::Engine;

/// A call that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Store::snapshot`].
    Snapshot,
    /// [`Snapshot::get`], and [`Snapshot::get_many`] once for each key.
    Get,
    /// [`Snapshot::cursor`].
    Cursor,
    /// [`Cursor::next`].
    Next,
    /// [`Snapshot::split_points`].
    SplitPoints,
    /// [`Store::write`].
    Write,
    /// [`Store::bulk_load`].
    BulkLoad,
    /// [`BulkLoad::chunk`].
    Chunk,
    /// [`ChunkLoad::put`].
    Put,
    /// [`ChunkLoad::commit`].
    Commit,
    /// [`Store::close`].
    Close,
}

/// What goes wrong. A call suffers only what can befall it: see each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Any call fails with this kind; nothing was applied, and a retry doesn't help.
    Fails(Kind),
    /// As [`Trouble::Fails`], and the error says that a retry can help.
    FailsForNow(Kind),
    /// A write or commit is applied, and then fails with [`crate::Effect::Unknown`].
    FailsAfterwards(Kind),
    /// A write or commit answers that it succeeded and applies nothing: a sync that lied.
    Forgets,
    /// A get or next gives a value with one bit flipped (the lowest of its middle byte); of an
    /// empty value, the key's last byte in a next, and nothing in a get.
    FlipsBit,
    /// A next says that the range has ended.
    EndsEarly,
    /// A next leaves this entry out.
    Skips,
    /// Any call takes this much longer.
    Delays(Duration),
}

/// Decides what goes wrong. Asked once for each call, with the number of calls made before it
/// through the same layer (all kinds together, from 0).
pub trait Schedule: Send + Sync {
    /// What happens to this call; `None` for nothing.
    fn trouble(&self, call: Call, number: u64) -> Option<Trouble>;
}

impl<F: Fn(Call, u64) -> Option<Trouble> + Send + Sync> Schedule for F {
    fn trouble(&self, call: Call, number: u64) -> Option<Trouble> {
        self(call, number)
    }
}

struct Script {
    schedule: Arc<dyn Schedule>,
    calls: AtomicU64,
    suffered: AtomicU64,
}

impl Script {
    /// What befalls this call, delays and plain failures done with.
    fn enter(&self, call: Call) -> Result<Option<Trouble>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let trouble = self.schedule.trouble(call, number);
        match trouble {
            Some(Trouble::Fails(kind)) => Err(self.error(kind)),
            Some(Trouble::FailsForNow(kind)) => Err(self.error(kind).retryable()),
            Some(Trouble::Delays(time)) => {
                self.suffer();
                std::thread::sleep(time);
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Does to a value what befell its get.
    fn spoil(&self, trouble: Option<Trouble>, found: &mut Option<Vec<u8>>) {
        if let (Some(Trouble::FlipsBit), Some(value)) = (trouble, found)
            && flip(value)
        {
            self.suffer();
        }
    }

    fn suffer(&self) {
        self.suffered.fetch_add(1, Ordering::SeqCst);
    }

    fn error(&self, kind: Kind) -> Error {
        self.suffer();
        Error::new(kind, "fault layer", "a fault was injected")
    }

    /// Does something that changes the store, with what can befall it.
    fn change(&self, call: Call, apply: impl FnOnce() -> Result<()>) -> Result<()> {
        match self.enter(call)? {
            Some(Trouble::FailsAfterwards(kind)) => {
                apply()?;
                Err(self.error(kind).effect_unknown())
            }
            Some(Trouble::Forgets) => {
                self.suffer();
                Ok(())
            }
            _ => apply(),
        }
    }
}

/// A store whose calls go wrong as a schedule says.
pub struct Fault {
    inner: Box<dyn Store>,
    script: Arc<Script>,
}

impl Fault {
    /// Lets the calls of `inner` go wrong.
    #[must_use]
    pub fn new(inner: Box<dyn Store>, schedule: Arc<dyn Schedule>) -> Self {
        let script = Script { schedule, calls: AtomicU64::new(0), suffered: AtomicU64::new(0) };
        Self { inner, script: Arc::new(script) }
    }

    /// How many calls there were so far. Lets a test run once without faults, and then once with
    /// each call going wrong.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.script.calls.load(Ordering::SeqCst)
    }

    /// How many calls went wrong so far. A test whose schedule never struck has shown nothing.
    #[must_use]
    pub fn suffered(&self) -> u64 {
        self.script.suffered.load(Ordering::SeqCst)
    }
}

impl Store for Fault {
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
        self.script.enter(Call::Snapshot)?;
        let inner = self.inner.snapshot()?;
        Ok(Arc::new(FaultySnapshot { inner, script: Arc::clone(&self.script) }))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        self.script.change(Call::Write, || self.inner.write(batch, durability))
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        self.script.enter(Call::BulkLoad)?;
        let inner = self.inner.bulk_load()?;
        Ok(Arc::new(FaultyLoad { inner, script: Arc::clone(&self.script) }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.script.enter(Call::Close)?;
        self.inner.close()
    }
}

struct FaultySnapshot {
    inner: Arc<dyn Snapshot>,
    script: Arc<Script>,
}

impl Snapshot for FaultySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let trouble = self.script.enter(Call::Get)?;
        let mut found = self.inner.get(key)?;
        self.script.spoil(trouble, &mut found);
        Ok(found)
    }

    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        let mut failure = None;
        // A key that nobody waits for any more is no call.
        self.inner.get_many(keys, &mut |place, mut found| match self.script.enter(Call::Get) {
            Ok(trouble) => {
                self.script.spoil(trouble, &mut found);
                take(place, found)
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        self.script.enter(Call::Cursor)?;
        let inner = self.inner.cursor(range)?;
        let script = Arc::clone(&self.script);
        Ok(Box::new(FaultyCursor { inner, script, key: Vec::new(), value: Vec::new() }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.script.enter(Call::SplitPoints)?;
        self.inner.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.inner.approximate_bytes(range)
    }
}

struct FaultyCursor {
    inner: Box<dyn Cursor>,
    script: Arc<Script>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Cursor for FaultyCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match self.script.enter(Call::Next)? {
            Some(Trouble::EndsEarly) => {
                self.script.suffer();
                Ok(None)
            }
            Some(Trouble::Skips) => {
                if self.inner.next()?.is_some() {
                    self.script.suffer();
                }
                self.inner.next()
            }
            Some(Trouble::FlipsBit) => {
                let Some((key, value)) = self.inner.next()? else { return Ok(None) };
                self.key.clear();
                self.key.extend_from_slice(key);
                self.value.clear();
                self.value.extend_from_slice(value);
                if flip(&mut self.value) || flip_last(&mut self.key) {
                    self.script.suffer();
                }
                Ok(Some((&self.key, &self.value)))
            }
            _ => self.inner.next(),
        }
    }
}

/// Whether there was a bit to flip.
fn flip(bytes: &mut [u8]) -> bool {
    let middle = bytes.len() / 2;
    bytes.get_mut(middle).map(|byte| *byte ^= 1).is_some()
}

fn flip_last(bytes: &mut [u8]) -> bool {
    bytes.last_mut().map(|byte| *byte ^= 1).is_some()
}

struct FaultyLoad {
    inner: Arc<dyn BulkLoad>,
    script: Arc<Script>,
}

impl BulkLoad for FaultyLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        self.script.enter(Call::Chunk)?;
        let inner = self.inner.chunk(range)?;
        Ok(Box::new(FaultyChunk { inner, script: Arc::clone(&self.script) }))
    }
}

struct FaultyChunk {
    inner: Box<dyn ChunkLoad>,
    script: Arc<Script>,
}

impl ChunkLoad for FaultyChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.script.enter(Call::Put)?;
        self.inner.put(key, value)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { inner, script } = *self;
        script.change(Call::Commit, || inner.commit())
    }
}
