//! A source never notices that it was read.

use crate::subject::{
    batch_of, content, fill, fingerprint, for_each_driver, sample, source_options, target_options,
};
use transload_store::contract::Entries;
use transload_store::{Durability, Kind};

#[test]
fn a_source_is_unchanged_after_it_was_read_whole() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        fill(driver, &path, &sample());
        let before = fingerprint(folder.path());
        let store = driver.open_source(&path, &source_options(scratch.path())).unwrap();
        assert_eq!(content(&*store).unwrap(), sample());
        let during = fingerprint(folder.path());
        store.close().unwrap();
        assert!(before == during, "{} changes while it is read", driver.engine());
        assert!(before == fingerprint(folder.path()), "{} was changed", driver.engine());
        let left = std::fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(left, 0, "{} leaves files in the scratch folder", driver.engine());
    });
}

#[test]
fn a_source_that_was_left_without_closing_is_read_whole_and_unchanged() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let store = driver.create_target(&path, &target_options()).unwrap();
        store.write(&batch_of(&sample()), Durability::Synced).unwrap();
        // What a power cut would leave: the files as they are while the store is open.
        let left = elsewhere.path().join("left");
        copy_tree(folder.path(), &left);
        drop(store);
        let path = left.join("db");
        let before = fingerprint(&left);
        let store = driver.open_source(&path, &source_options(scratch.path())).unwrap();
        assert_eq!(content(&*store).unwrap(), sample(), "{}", driver.engine());
        store.close().unwrap();
        assert!(before == fingerprint(&left), "{} was changed", driver.engine());
    });
}

#[test]
fn the_same_source_can_be_open_twice() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let scratch = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let path = folder.path().join("db");
        fill(driver, &path, &sample());
        let open =
            |at: usize| driver.open_source(&path, &source_options(scratch[at].path())).unwrap();
        let (one, two) = (open(0), open(1));
        assert_eq!(content(&*one).unwrap(), content(&*two).unwrap());
        one.close().unwrap();
        assert_eq!(content(&*two).unwrap(), sample());
    });
}

#[test]
fn the_empty_key_comes_first_and_can_be_deleted() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let store = driver.create_target(&path, &target_options()).unwrap();
        let mut batch = batch_of(&sample());
        store.write(&batch, Durability::Synced).unwrap();
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.get(b"").unwrap(), Some(b"the empty key".to_vec()));
        drop(snapshot);
        batch.clear();
        batch.delete(b"");
        store.write(&batch, Durability::Synced).unwrap();
        let mut expected: Entries = sample();
        expected.remove(&b""[..]);
        assert_eq!(content(&*store).unwrap(), expected, "{}", driver.engine());
    });
}

#[test]
fn a_target_is_made_only_where_nothing_is() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        fill(driver, &path, &sample());
        let before = fingerprint(folder.path());
        let refusal = driver.create_target(&path, &target_options()).err().expect("a refusal");
        assert_eq!(refusal.kind(), Kind::InvalidInput, "{}", driver.engine());
        assert!(before == fingerprint(folder.path()));
        let missing = folder.path().join("missing");
        let refusal = driver.reopen_target(&missing, &target_options()).err().expect("a refusal");
        assert_eq!(refusal.kind(), Kind::NotFound, "{}", driver.engine());
        assert!(!missing.exists());
    });
}

#[test]
fn a_live_source_is_refused_where_it_cannot_be_read_safely() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let store = driver.create_target(&path, &target_options()).unwrap();
        store.write(&batch_of(&sample()), Durability::Synced).unwrap();
        let linked = tempfile::tempdir_in(folder.path()).unwrap();
        match driver.link_snapshot(&path, linked.path()) {
            Ok(()) => {
                assert_eq!(driver.engine().name(), "rocksdb");
                let options = source_options(scratch.path());
                let source = driver.open_source(linked.path(), &options).unwrap();
                assert_eq!(content(&*source).unwrap(), sample());
            }
            Err(refusal) => assert_eq!(refusal.kind(), Kind::Busy, "{}", driver.engine()),
        }
    });
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
