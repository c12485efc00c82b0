//! BadgerDB: sources that never notice that they were read, and what is refused.

use crate::fixtures::digest;
use crate::helper::{config, driver, fingerprint, source_options, target_options};
use std::path::Path;
use transload_drivers::recognise;
use transload_model::engine::Engine;
use transload_store::{Driver, Durability, Kind, Store, WriteBatch};

/// Larger than BadgerDB keeps in its tables, so that it goes to the value log.
const LARGE_BYTES: usize = 2 << 20;

fn batch() -> WriteBatch {
    let mut batch = WriteBatch::new();
    for number in 0..4_000u32 {
        batch.put(&number.to_be_bytes(), &number.to_le_bytes().repeat(40));
    }
    batch.put(b"large", &vec![7; LARGE_BYTES]);
    batch
}

fn filled(path: &Path) -> Option<Box<dyn Store>> {
    let store =
        driver(Engine::Badgerdb, &config()?).create_target(path, &target_options()).unwrap();
    store.write(&batch(), Durability::Synced).unwrap();
    Some(store)
}

#[test]
fn a_source_is_unchanged_and_unlocked_whether_it_was_closed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let Some(store) = filled(&path) else { return };
    let config = config().unwrap();
    let driver = driver(Engine::Badgerdb, &config);
    let expected = digest(&*store.snapshot().unwrap());
    // What a power cut would leave: the files as they are while the store is open.
    let left = folder.path().join("left");
    let copied = std::process::Command::new("cp").arg("-a").arg(&path).arg(&left).status();
    assert!(copied.unwrap().success());
    std::fs::remove_file(left.join("LOCK")).unwrap();
    store.close().unwrap();
    for source in [&path, &left] {
        let is_closed = source == &path;
        let has_log = std::fs::read_dir(source)
            .unwrap()
            .any(|entry| entry.unwrap().path().extension().is_some_and(|it| it == "mem"));
        assert_ne!(has_log, is_closed);
        let found = recognise(source).unwrap();
        assert_eq!((found.engine, found.has_tables), (Engine::Badgerdb, is_closed));
        let scratch = tempfile::tempdir_in(folder.path()).unwrap();
        let before = fingerprint(source);
        let opened = driver.open_source(source, &source_options(scratch.path())).unwrap();
        let snapshot = opened.snapshot().unwrap();
        assert_eq!(digest(&*snapshot), expected);
        assert_eq!(snapshot.get(b"large").unwrap().map(|value| value.len()), Some(LARGE_BYTES));
        // As BadgerDB locks it.
        std::fs::File::open(source).unwrap().try_lock().unwrap();
        assert!(fingerprint(source) == before, "{source:?} changes while it is read");
        drop(snapshot);
        opened.close().unwrap();
        assert!(fingerprint(source) == before, "{source:?} was changed");
        assert!(std::fs::read_dir(scratch.path()).unwrap().next().is_none(), "scratch is left");
    }
}

#[test]
fn a_damaged_table_or_value_is_an_error_and_never_a_shorter_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let Some(store) = filled(&path) else { return };
    store.close().unwrap();
    let driver = driver(Engine::Badgerdb, &config().unwrap());
    for extension in ["sst", "vlog"] {
        let file = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == extension))
            .max_by_key(|path| std::fs::metadata(path).unwrap().len())
            .unwrap();
        let bytes = std::fs::read(&file).unwrap();
        for part in [1, 5, 8] {
            let mut damaged = bytes.clone();
            damaged[bytes.len() * part / 10] ^= 0x55;
            std::fs::write(&file, damaged).unwrap();
            let scratch = tempfile::tempdir().unwrap();
            let read = driver.open_source(&path, &source_options(scratch.path())).and_then(|it| {
                let snapshot = it.snapshot()?;
                let mut scan =
                    transload_store::Scan::new(&*snapshot, &transload_store::KeyRange::all())?;
                while scan.next()?.is_some() {}
                scan.receipt()
            });
            assert!(read.is_err(), "{extension} at {part}/10: {read:?}");
        }
        std::fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_store_that_a_process_writes_and_keys_that_it_does_not_take_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let Some(store) = filled(&path) else { return };
    let driver = driver(Engine::Badgerdb, &config().unwrap());
    let into = tempfile::tempdir().unwrap();
    let refusal = driver.link_snapshot(&path, into.path()).expect_err("it changes in place");
    assert_eq!(refusal.kind(), Kind::Busy);
    assert_eq!(driver.target_profile().1.key_bytes_max, 65_000);
    for key in [&b""[..], b"!badger!x"] {
        assert!(driver.refuses_key(key).is_some());
        let mut batch = WriteBatch::new();
        batch.put(key, b"1");
        let refusal = store.write(&batch, Durability::Synced).expect_err("not its key");
        assert_eq!(refusal.kind(), Kind::InvalidInput);
    }
    store.close().unwrap();
}
