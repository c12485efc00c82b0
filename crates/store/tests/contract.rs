//! The contract suite, run on the memory store and on every layer around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use transload_model::engine::Engine;
use transload_store::contract::{self, Entries, Subject};
use transload_store::layers::{Call, Changes, Fault, Meter, Overlay, Paces, Throttle, Trouble};
use transload_store::memory::MemoryStore;
use transload_store::{
    Capabilities, Durability, Effect, Guarantees, KeyRange, Kind, Result, Scan, Snapshot, Store,
    WriteBatch,
};

/// Wraps a memory store the way one layer does.
struct Layered {
    wrap: fn(Box<dyn Store>) -> Box<dyn Store>,
    last: Mutex<MemoryStore>,
}

impl Layered {
    fn new(wrap: fn(Box<dyn Store>) -> Box<dyn Store>) -> Self {
        Self { wrap, last: Mutex::default() }
    }
}

impl Subject for Layered {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        (self.wrap)(Box::new(MemoryStore::with(entries.clone())))
    }

    fn target(&self) -> Option<Box<dyn Store>> {
        let store = MemoryStore::new();
        *self.last.lock().unwrap() = store.clone();
        Some((self.wrap)(Box::new(store)))
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        let store = self.last.lock().unwrap().clone();
        store.crash();
        Ok((self.wrap)(Box::new(store)))
    }
}

#[test]
fn the_memory_store_keeps_the_contract() {
    assert_eq!(contract::run(&Layered::new(|store| store)).len(), 22);
}

#[test]
fn the_meter_layer_keeps_the_contract() {
    assert_eq!(contract::run(&Layered::new(|store| Box::new(Meter::new(store)))).len(), 22);
}

#[test]
fn the_throttle_layer_keeps_the_contract() {
    let slow = |store| -> Box<dyn Store> {
        let paces = Paces::default();
        for pace in [&paces.read, &paces.write, &paces.cpu] {
            pace.set(64 << 20);
        }
        Box::new(Throttle::new(store, paces))
    };
    assert_eq!(contract::run(&Layered::new(slow)).len(), 22);
}

#[test]
fn the_fault_layer_without_faults_keeps_the_contract() {
    let quiet =
        |store| -> Box<dyn Store> { Box::new(Fault::new(store, Arc::new(|_: Call, _: u64| None))) };
    assert_eq!(contract::run(&Layered::new(quiet)).len(), 22);
}

/// A memory store that is read through an overlay.
struct Overlaid {
    below: MemoryStore,
    changes: Changes,
}

impl Store for Overlaid {
    fn engine(&self) -> Engine {
        self.below.engine()
    }

    fn engine_version(&self) -> String {
        self.below.engine_version()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn guarantees(&self) -> Guarantees {
        self.below.guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(Overlay::new(self.below.snapshot()?, self.changes.clone())))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Of the entries some are stored, some stored otherwise, some only among the changes, and what is
/// stored besides is changed away.
struct ReadThroughChanges;

impl Subject for ReadThroughChanges {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        let (mut stored, mut changes) = (entries.clone(), Changes::new());
        for (number, (key, value)) in entries.iter().enumerate() {
            match number % 5 {
                0 => drop(stored.remove(key)),
                1 => drop(stored.insert(key.clone(), b"stored otherwise".to_vec())),
                2 => {
                    let besides = [key.as_slice(), b"\0besides"].concat();
                    if !entries.contains_key(&besides) {
                        stored.insert(besides.clone(), b"besides".to_vec());
                        changes.insert(besides, None);
                    }
                    continue;
                }
                _ => continue,
            }
            changes.insert(key.clone(), Some(value.clone()));
        }
        changes.insert(b"zz never stored".to_vec(), None);
        Box::new(Overlaid { below: MemoryStore::with(stored), changes })
    }

    fn target(&self) -> Option<Box<dyn Store>> {
        None
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        unreachable!("there is no target")
    }
}

#[test]
fn the_overlay_layer_keeps_the_contract() {
    assert_eq!(contract::run(&ReadThroughChanges).len(), 22);
}

/// A store of `a`, `b` and `c` on which `call` always suffers `trouble`.
fn troubled(call: Call, trouble: Trouble) -> Fault {
    let entries = [b"a", b"b", b"c"].map(|key| (key.to_vec(), b"value".to_vec()));
    let store = MemoryStore::with(entries);
    Fault::new(Box::new(store), Arc::new(move |at: Call, _: u64| (at == call).then_some(trouble)))
}

#[test]
fn each_trouble_befalls_the_calls_it_names_and_is_counted() {
    let mut batch = WriteBatch::new();
    batch.put(b"d", b"new");
    let has_new = |store: &Fault| store.snapshot().unwrap().get(b"d").unwrap().is_some();

    let store = troubled(Call::Write, Trouble::Fails(Kind::NoSpace));
    let error = store.write(&batch, Durability::Synced).unwrap_err();
    assert_eq!((error.kind(), error.effect()), (Kind::NoSpace, Effect::NotApplied));
    assert!(!error.is_retryable() && !has_new(&store));

    let store = troubled(Call::Write, Trouble::FailsForNow(Kind::Io));
    assert!(store.write(&batch, Durability::Synced).unwrap_err().is_retryable());
    assert!(!has_new(&store));

    let store = troubled(Call::Write, Trouble::FailsAfterwards(Kind::Io));
    let error = store.write(&batch, Durability::Synced).unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
    assert!(has_new(&store));

    let store = troubled(Call::Write, Trouble::Forgets);
    store.write(&batch, Durability::Synced).unwrap();
    assert!(!has_new(&store));
    assert_eq!(store.suffered(), 1);

    let walk = |trouble| {
        let store = troubled(Call::Next, trouble);
        let snapshot = store.snapshot().unwrap();
        let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
        let mut seen = Vec::new();
        while let Some((key, value)) = scan.next().unwrap() {
            seen.push([key, value].concat());
        }
        assert!(store.suffered() > 0, "{trouble:?}");
        seen
    };
    assert!(walk(Trouble::EndsEarly).is_empty());
    assert_eq!(walk(Trouble::Skips), [b"bvalue"]);
    assert_eq!(walk(Trouble::FlipsBit), [b"avamue", b"bvamue", b"cvamue"]);
}

#[test]
fn of_many_keys_at_once_each_is_a_get_that_can_go_wrong() {
    let keys = [b"a", b"x", b"b", b"c"].map(|key| key.to_vec());
    let ask = |troubles: [Option<Trouble>; 4], enough: usize| {
        let entries = [b"a", b"b", b"c"].map(|key| (key.to_vec(), b"value".to_vec()));
        let calls = move |call: Call, number: u64| match call {
            // The first call makes the snapshot.
            Call::Get => troubles[usize::try_from(number).unwrap() - 1],
            _ => None,
        };
        let store = Fault::new(Box::new(MemoryStore::with(entries)), Arc::new(calls));
        let mut answers = Vec::new();
        let asked = store.snapshot().unwrap().get_many(&keys, &mut |_, value| {
            answers.push(value.map(|value| String::from_utf8(value).unwrap()));
            if answers.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (answers, asked.err().map(|error| error.kind()), store.calls() - 1, store.suffered())
    };
    let value = |text: &str| Some(text.to_owned());
    let flips = Some(Trouble::FlipsBit);
    let flipped = vec![value("value"), None, value("vamue"), value("value")];
    assert_eq!(ask([None, flips, flips, None], 9), (flipped, None, 4, 1));
    let fails = Some(Trouble::Fails(Kind::Corrupt));
    let before = vec![value("value"), None];
    assert_eq!(ask([None, None, fails, None], 9), (before.clone(), Some(Kind::Corrupt), 3, 1));
    assert_eq!(ask([None, None, fails, None], 2), (before, None, 2, 0));
}

#[test]
fn many_keys_at_once_are_metered_like_each_alone() {
    let entries = [b"a", b"b"].map(|key| (key.to_vec(), b"value".to_vec()));
    let meter = Meter::new(Box::new(MemoryStore::with(entries)));
    let keys = [b"a", b"x", b"b"].map(|key| key.to_vec());
    let take = &mut |_, _| ControlFlow::Continue(());
    meter.snapshot().unwrap().get_many(&keys, take).unwrap();
    assert_eq!((meter.reading().entries_read, meter.reading().bytes_read), (2, 12));
}
