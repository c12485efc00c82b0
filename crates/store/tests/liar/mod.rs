//! A store that remembers every write apart, and what it makes of them when it crashes: honest,
//! or with one lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use transload_model::engine::Engine;
use transload_store::contract::{Attacked, Entries, Subject};
use transload_store::layers::{Call, Fault, Trouble};
use transload_store::memory::MemoryStore;
use transload_store::{
    Capabilities, Cursor, Durability, Error, Guarantees, KeyRange, Kind, Processes, Result,
    Snapshot, Store, WriteBatch, WriteOp,
};

/// What a store does though it promises otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    TearsBatches,
    ForgetsWhatWasSynced,
    LosesAWriteInTheMiddle,
    ServesDamagedBytes,
    MovesItsSnapshots,
    ShowsHalfABatchBeside,
}

#[derive(Default)]
struct State {
    writes: Vec<(WriteBatch, Durability)>,
    crashed: bool,
}

#[derive(Clone)]
struct Liar {
    lie: Lie,
    promised: Guarantees,
    state: Arc<Mutex<State>>,
}

fn applied<'w>(writes: impl IntoIterator<Item = &'w WriteBatch>) -> Entries {
    let mut entries = BTreeMap::new();
    for op in writes.into_iter().flat_map(WriteBatch::ops) {
        match op {
            WriteOp::Put { key, value } => {
                entries.insert(key.clone(), value.clone());
            }
            WriteOp::Delete { key } => {
                entries.remove(key);
            }
        }
    }
    entries
}

/// The first half of a batch.
fn half(batch: &WriteBatch) -> WriteBatch {
    let mut half = WriteBatch::new();
    for op in &batch.ops()[..batch.ops().len() / 2] {
        match op {
            WriteOp::Put { key, value } => half.put(key, value),
            WriteOp::Delete { key } => half.delete(key),
        }
    }
    half
}

impl Liar {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn entries(&self) -> Entries {
        applied(self.lock().writes.iter().map(|(batch, _)| batch))
    }

    /// What a crash leaves: everything up to the last synced write, and by chance more.
    fn crash(&self, chance: u64) -> Entries {
        let mut state = self.lock();
        state.crashed = true;
        let mut left: Vec<WriteBatch> =
            state.writes.iter().map(|(batch, _)| batch.clone()).collect();
        let synced = state.writes.iter().rposition(|(_, how)| *how == Durability::Synced);
        let durable = synced.map_or(0, |last| last + 1);
        let by_chance = |count: usize| usize::try_from(chance % (count as u64 + 1)).unwrap();
        match self.lie {
            Lie::ForgetsWhatWasSynced => left.truncate(by_chance(durable)),
            Lie::LosesAWriteInTheMiddle if left.len() > durable + 1 => {
                drop(left.remove(durable));
            }
            _ => left.truncate(durable + by_chance(left.len() - durable)),
        }
        if self.lie == Lie::TearsBatches
            && left.len() > durable
            && let Some(last) = left.last_mut()
        {
            *last = half(last);
        }
        applied(&left)
    }
}

impl Store for Liar {
    fn engine(&self) -> Engine {
        Engine::Redb
    }

    fn engine_version(&self) -> String {
        format!("{:?}", self.lie)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, bulk_load: false }
    }

    fn guarantees(&self) -> Guarantees {
        self.promised
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        if self.lie == Lie::MovesItsSnapshots {
            return Ok(Arc::new(Moving(self.clone())));
        }
        MemoryStore::with(self.entries()).snapshot()
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        // The memory store knows what is too long.
        MemoryStore::new().write(batch, durability)?;
        let mut state = self.lock();
        if state.crashed {
            return Err(Error::new(Kind::Io, "write", "the store has crashed"));
        }
        state.writes.push((batch.clone(), durability));
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        if let Some((_, last)) = self.lock().writes.last_mut() {
            *last = Durability::Synced;
        }
        Ok(())
    }
}

/// A snapshot that sees what is written later.
struct Moving(Liar);

impl Moving {
    fn now(&self) -> Result<Arc<dyn Snapshot>> {
        MemoryStore::with(self.0.entries()).snapshot()
    }
}

impl Snapshot for Moving {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.now()?.get(key)
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let cursor = MovingCursor { of: self.0.clone(), rest: range.clone(), entry: None };
        Ok(Box::new(cursor))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.now()?.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.now()?.approximate_bytes(range)
    }
}

struct MovingCursor {
    of: Liar,
    rest: KeyRange,
    entry: Option<(Vec<u8>, Vec<u8>)>,
}

impl Cursor for MovingCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let now = self.of.entries();
        self.entry = now.into_iter().find(|(key, _)| self.rest.contains(key));
        let Some((key, value)) = &self.entry else { return Ok(None) };
        self.rest.start = [key.as_slice(), b"\0"].concat();
        Ok(Some((key, value)))
    }
}

/// Stores with one lie.
pub(crate) struct Liars {
    lie: Lie,
    promised: Guarantees,
    last: Mutex<Option<Liar>>,
}

impl Liars {
    /// Stores that promise everything.
    pub(crate) fn new(lie: Lie) -> Self {
        let most = MemoryStore::new().guarantees();
        let promised = Guarantees { processes: Processes::ReadersBesideOneWriter, ..most };
        Self { lie, promised, last: Mutex::default() }
    }

    /// Sets what the stores promise.
    pub(crate) fn promise(&mut self, promised: Guarantees) {
        self.promised = promised;
    }

    fn make(&self) -> Liar {
        let liar = Liar { lie: self.lie, promised: self.promised, state: Arc::default() };
        *self.last.lock().unwrap() = Some(liar.clone());
        liar
    }

    fn last(&self) -> Liar {
        self.last.lock().unwrap().clone().unwrap()
    }
}

impl Subject for Liars {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        Box::new(MemoryStore::with(entries.clone()))
    }

    fn target(&self) -> Option<Box<dyn Store>> {
        Some(Box::new(self.make()))
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(MemoryStore::with(self.last().crash(0))))
    }
}

impl Attacked for Liars {
    fn doomed(&self) -> Box<dyn Store> {
        Box::new(self.make())
    }

    fn crash(&self, chance: u64) -> Result<Box<dyn Store>> {
        Ok(Box::new(MemoryStore::with(self.last().crash(chance))))
    }

    fn damaged(&self, entries: &Entries, chance: u64) -> Result<Box<dyn Store>> {
        let store = Box::new(MemoryStore::with(entries.clone()));
        let hit = chance % entries.len() as u64;
        let trouble = match self.lie {
            Lie::ServesDamagedBytes => Trouble::FlipsBit,
            // What a checksum makes of it.
            _ => Trouble::Fails(Kind::Corrupt),
        };
        let once =
            move |call: Call, number: u64| (call == Call::Next && number > hit).then_some(trouble);
        Ok(Box::new(Fault::new(store, Arc::new(once))))
    }

    fn beside(&self) -> Result<Box<dyn Store>> {
        let liar = self.last();
        let mut writes: Vec<WriteBatch> =
            liar.lock().writes.iter().map(|(batch, _)| batch.clone()).collect();
        if self.lie == Lie::ShowsHalfABatchBeside
            && let Some(last) = writes.last_mut()
        {
            *last = half(last);
        }
        Ok(Box::new(MemoryStore::with(applied(&writes))))
    }
}
