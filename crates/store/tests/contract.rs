//! The contract suite, run on the memory store and on every layer around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::{Arc, Mutex};
use transload_store::contract::{self, Entries, Subject};
use transload_store::layers::{Call, Fault, Meter, Paces, Throttle, Trouble};
use transload_store::memory::MemoryStore;
use transload_store::{Durability, Effect, KeyRange, Kind, Result, Scan, Store, WriteBatch};

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
    assert_eq!(contract::run(&Layered::new(|store| store)).len(), 20);
}

#[test]
fn the_meter_layer_keeps_the_contract() {
    assert_eq!(contract::run(&Layered::new(|store| Box::new(Meter::new(store)))).len(), 20);
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
    assert_eq!(contract::run(&Layered::new(slow)).len(), 20);
}

#[test]
fn the_fault_layer_without_faults_keeps_the_contract() {
    let quiet =
        |store| -> Box<dyn Store> { Box::new(Fault::new(store, Arc::new(|_: Call, _: u64| None))) };
    assert_eq!(contract::run(&Layered::new(quiet)).len(), 20);
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
