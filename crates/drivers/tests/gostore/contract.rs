//! The contract suite, for each engine.

use crate::helper::{ENGINES, config, driver, source_options, target_options};
use std::cell::RefCell;
use tempfile::TempDir;
use transload_drivers::gostore::GostoreConfig;
use transload_model::engine::Engine;
use transload_store::contract::{Entries, Subject};
use transload_store::{Driver, Kind, Result, Store, WriteBatch};

struct Gostore {
    driver: Box<dyn Driver>,
    /// Kept until the suite is over; the last one is the last target.
    folders: RefCell<Vec<TempDir>>,
}

impl Gostore {
    fn folder(&self) -> std::path::PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        self.folders.borrow_mut().push(folder);
        path
    }
}

impl Subject for Gostore {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        let driver = &self.driver;
        let folder = self.folder();
        let path = folder.join("db");
        let store = driver.create_target(&path, &target_options()).unwrap();
        let mut batch = WriteBatch::new();
        for (key, value) in entries {
            batch.put(key, value);
        }
        store.write(&batch, transload_store::Durability::Buffered).unwrap();
        store.close().unwrap();
        if driver.engine() == Engine::Goleveldb {
            return driver.reopen_target(&path, &target_options()).unwrap();
        }
        let scratch = folder.join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        driver.open_source(&path, &source_options(&scratch)).unwrap()
    }

    fn target(&self) -> Option<Box<dyn Store>> {
        let path = self.folder().join("db");
        Some(self.driver.create_target(&path, &target_options()).unwrap())
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        let path = self.folders.borrow().last().unwrap().path().join("db");
        self.driver.reopen_target(&path, &target_options())
    }
}

fn holds<D: Driver + 'static>(make: impl Fn(&GostoreConfig) -> D) {
    let Some(config) = config() else { return };
    let driver = Box::new(make(&GostoreConfig { check_on_close: true, ..config }));
    let subject = Gostore { driver, folders: RefCell::default() };
    let ran = transload_store::contract::run(&subject);
    assert!(ran.len() > 15, "{ran:?}");
}

#[test]
fn goleveldb_keeps_the_contract() {
    holds(|config| driver(Engine::Goleveldb, config));
}

#[test]
fn pebble_1_keeps_the_contract() {
    holds(|config| driver(Engine::Pebble1, config));
}

#[test]
fn pebble_2_keeps_the_contract() {
    holds(|config| driver(Engine::Pebble2, config));
}

#[test]
fn badgerdb_keeps_the_contract() {
    holds(|config| driver(Engine::Badgerdb, config));
}

#[test]
fn bbolt_keeps_the_contract() {
    holds(crate::helper::bbolt);
}

#[test]
fn a_directory_of_another_engine_is_refused_unchanged() {
    let Some(config) = config() else { return };
    for is in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        driver(is, &config).create_target(&path, &target_options()).unwrap().close().unwrap();
        let before = crate::helper::fingerprint(&path);
        for named in ENGINES.into_iter().filter(|named| *named != is) {
            let scratch = tempfile::tempdir().unwrap();
            let options = source_options(scratch.path());
            let driver = driver(named, &config);
            let refusals = [
                driver.open_source(&path, &options).err(),
                driver.reopen_target(&path, &target_options()).err(),
                driver.create_target(&path, &target_options()).err(),
            ];
            let kinds = refusals.map(|refusal| refusal.expect("a refusal").kind());
            let as_source = match named {
                Engine::Goleveldb => Kind::Unsupported,
                _ => Kind::UnknownFormat,
            };
            let expected = [as_source, Kind::UnknownFormat, Kind::InvalidInput];
            assert_eq!(kinds, expected, "{is} as {named}");
            assert!(std::fs::read_dir(scratch.path()).unwrap().next().is_none());
        }
        assert!(before == crate::helper::fingerprint(&path), "{is} was changed");
    }
}
