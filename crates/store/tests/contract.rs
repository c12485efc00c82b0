//! The contract suite, run on the memory store and on every layer around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::Mutex;
use transload_store::contract::{self, Entries, Subject};
use transload_store::layers::Meter;
use transload_store::memory::MemoryStore;
use transload_store::{Result, Store};

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
    assert_eq!(contract::run(&Layered::new(|store| store)).len(), 19);
}

#[test]
fn the_meter_layer_keeps_the_contract() {
    assert_eq!(contract::run(&Layered::new(|store| Box::new(Meter::new(store)))).len(), 19);
}
