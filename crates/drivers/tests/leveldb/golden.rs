//! Databases that goleveldb and C++ LevelDB wrote (`testdata/leveldb`, with the recipes).

use super::{check_gets, digest, open, replace};
use std::fs;
use std::path::{Path, PathBuf};
use transload_store::{KeyRange, Scan};

/// Names, sizes, contents and modification times.
type Fingerprint = Vec<(PathBuf, Vec<u8>, std::time::SystemTime)>;

fn databases() -> Vec<(PathBuf, (u64, String))> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leveldb");
    let mut databases = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "digest") {
            let text = fs::read_to_string(&path).unwrap();
            let (pairs, hash) = text.trim().split_once(' ').unwrap();
            databases.push((path.with_extension(""), (pairs.parse().unwrap(), hash.to_owned())));
        }
    }
    assert!(databases.len() >= 7, "golden databases are missing");
    databases
}

fn fingerprint(dir: &Path) -> Fingerprint {
    let mut files: Fingerprint = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            (path.clone(), fs::read(&path).unwrap(), modified)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_golden_database_reads_as_its_own_engine_read_it() {
    for (path, expected) in databases() {
        let before = fingerprint(&path);
        let store = open(&path).unwrap();
        let snapshot = store.snapshot().unwrap();
        assert_eq!(digest(&*snapshot).unwrap(), expected, "{path:?}");
        check_gets(&*snapshot);
        store.close().unwrap();
        assert_eq!(fingerprint(&path), before, "{path:?} was touched");
    }
}

#[test]
fn a_linked_snapshot_reads_the_same_and_outlives_the_directory() {
    for (path, expected) in databases() {
        let dir = tempfile::tempdir().unwrap();
        let (source, linked) = (dir.path().join("source"), dir.path().join("linked"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&linked).unwrap();
        for (file, content, _) in fingerprint(&path) {
            fs::write(source.join(file.file_name().unwrap()), content).unwrap();
        }
        let before = fingerprint(&source);
        transload_drivers::leveldb::link_snapshot(&source, &linked).unwrap();
        let store = open(&linked).unwrap();
        assert_eq!(fingerprint(&source), before, "{path:?} was touched");
        fs::remove_dir_all(&source).unwrap();
        assert_eq!(digest(&*store.snapshot().unwrap()).unwrap(), expected, "{path:?}");
    }
}

#[test]
fn chunks_together_hold_what_the_whole_holds() {
    for (path, (pairs, _)) in databases() {
        let snapshot = open(&path).unwrap().snapshot().unwrap();
        for chunk_bytes in [1, 2_000, 20_000, 1 << 30] {
            let points = snapshot.split_points(&KeyRange::all(), chunk_bytes).unwrap();
            let mut seen = 0;
            for part in KeyRange::all().split_at(&points) {
                let mut scan = Scan::new(&*snapshot, &part).unwrap();
                while scan.next().unwrap().is_some() {}
                seen += scan.receipt().unwrap().entries;
            }
            assert_eq!(seen, pairs, "{path:?} in chunks of {chunk_bytes}");
        }
    }
}

#[test]
fn a_log_that_was_cut_anywhere_gives_a_prefix_of_its_batches() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leveldb/only-log");
    let dir = tempfile::tempdir().unwrap();
    for (file, content, _) in fingerprint(&golden) {
        fs::write(dir.path().join(file.file_name().unwrap()), content).unwrap();
    }
    let log = fs::read(golden.join("000001.log")).unwrap();
    let mut counts = Vec::new();
    for cut in 0..=log.len() {
        replace(&dir.path().join("000001.log"), &log[..cut]);
        counts.push(digest(&*open(dir.path()).unwrap().snapshot().unwrap()).unwrap().0);
    }
    // 40 puts one by one, 10 deletions one by one, then one batch of 4 keys at once.
    assert_eq!((counts[0], counts.iter().max()), (0, Some(&40)));
    let last = counts.iter().rposition(|count| *count == 30).unwrap();
    assert_eq!((counts[last + 1], last + 1), (34, log.len()));
}
