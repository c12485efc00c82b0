//! A driver under test, and its stores in folders of their own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use transload_model::engine::Engine;
use transload_store::contract::{Entries, Subject};
use transload_store::{
    Driver, Durability, KeyRange, Result, Scan, SourceOptions, Store, TargetOptions, WriteBatch,
};

/// Every driver of this build.
pub(crate) fn drivers() -> Vec<Box<dyn Driver>> {
    vec![
        #[cfg(feature = "lmdb")]
        Box::new(transload_drivers::lmdb::LmdbDriver),
        #[cfg(feature = "redb")]
        Box::new(transload_drivers::redb::RedbDriver),
        #[cfg(feature = "rocksdb")]
        Box::new(transload_drivers::rocksdb::RocksdbDriver),
        #[cfg(feature = "sqlite")]
        Box::new(transload_drivers::sqlite::SqliteDriver),
    ]
}

/// Runs a test once for each driver of this build.
pub(crate) fn for_each_driver(test: impl Fn(&dyn Driver)) {
    let drivers = drivers();
    assert!(!drivers.is_empty());
    for driver in drivers {
        println!("driver {}", driver.engine());
        test(&*driver);
    }
}

pub(crate) fn target_options() -> TargetOptions {
    TargetOptions { space: None, memory_bytes_max: 64 << 20 }
}

pub(crate) fn source_options(scratch: &Path) -> SourceOptions {
    SourceOptions { scratch_dir: scratch.to_owned(), space: None, memory_bytes_max: 64 << 20 }
}

/// Makes a database at `path` with these entries, closed.
pub(crate) fn fill(driver: &dyn Driver, path: &Path, entries: &Entries) {
    let store = driver.create_target(path, &target_options()).unwrap();
    store.write(&batch_of(entries), Durability::Buffered).unwrap();
    store.close().unwrap();
}

pub(crate) fn batch_of(entries: &Entries) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in entries {
        batch.put(key, value);
    }
    batch
}

/// All entries, after a scan that gave its receipt.
pub(crate) fn content(store: &dyn Store) -> Result<Entries> {
    let snapshot = store.snapshot()?;
    let mut scan = Scan::new(&*snapshot, &KeyRange::all())?;
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next()? {
        entries.insert(key.to_vec(), value.to_vec());
    }
    assert_eq!(scan.receipt()?.entries, entries.len() as u64);
    Ok(entries)
}

/// Entries with long and short values, and the empty key.
pub(crate) fn sample() -> Entries {
    let mut entries: Entries = (0..3_000u32)
        .map(|number| (number.to_be_bytes().to_vec(), number.to_le_bytes().repeat(50)))
        .collect();
    entries.insert(Vec::new(), b"the empty key".to_vec());
    entries.insert(b"large".to_vec(), vec![7; 300_000]);
    entries
}

/// Every name, size, modification time and byte below `path`.
pub(crate) fn fingerprint(path: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let modified = metadata.modified().unwrap();
    if !metadata.is_dir() {
        return vec![(path.to_owned(), modified, std::fs::read(path).unwrap())];
    }
    let mut out = vec![(path.to_owned(), modified, Vec::new())];
    for entry in std::fs::read_dir(path).unwrap() {
        out.extend(fingerprint(&entry.unwrap().path()));
    }
    out.sort();
    out
}

/// The stores that the contract suite asks for.
pub(crate) struct Embedded<'a> {
    driver: &'a dyn Driver,
    /// Kept until the suite is over; the last one is the last target's.
    folders: RefCell<Vec<TempDir>>,
}

impl<'a> Embedded<'a> {
    pub(crate) fn new(driver: &'a dyn Driver) -> Self {
        Self { driver, folders: RefCell::default() }
    }

    fn folder(&self) -> PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        self.folders.borrow_mut().push(folder);
        path
    }

    pub(crate) fn engine(&self) -> Engine {
        self.driver.engine()
    }
}

impl Subject for Embedded<'_> {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        let folder = self.folder();
        let (path, scratch) = (folder.join("db"), folder.join("scratch"));
        fill(self.driver, &path, entries);
        std::fs::create_dir(&scratch).unwrap();
        self.driver.open_source(&path, &source_options(&scratch)).unwrap()
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
