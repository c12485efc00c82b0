//! The contract suite, run on the memory store and on every layer around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::ops::ControlFlow;
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
