//! Every goleveldb database of the fixtures, read by our reader, has the count and SHA-256 that
//! the canonical engine gave.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![cfg(feature = "leveldb")]

use sha2::{Digest, Sha256};
use std::path::Path;
use transload_store::{KeyRange, Scan, SourceOptions};

#[test]
fn every_goleveldb_database_has_the_canonical_engines_digest() {
    let Some(fixtures) = std::env::var_os("TRANSLOAD_FIXTURES") else {
        println!("not run: TRANSLOAD_FIXTURES names no folder");
        return;
    };
    let mut compared = 0;
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(fixture) = name.strip_suffix(".answers.json") else { continue };
        let answers: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let Some(databases) = answers["databases"].as_object() else { continue };
        let dir = tempfile::tempdir().unwrap();
        let archive = path.with_file_name(format!("{fixture}.tar.gz"));
        let status = std::process::Command::new("tar")
            .arg("xzf")
            .arg(&archive)
            .arg("-C")
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success());
        for (database, answer) in databases {
            if answer["engine"] == "goleveldb" {
                let path = dir.path().join("home/data").join(database);
                compare(&path, answer);
                println!("{fixture} {database}");
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no database was compared");
}

fn compare(path: &Path, answer: &serde_json::Value) {
    let scratch = tempfile::tempdir().unwrap();
    let options = SourceOptions {
        scratch_dir: scratch.path().to_owned(),
        space: None,
        memory_bytes_max: 64 << 20,
        live: false,
    };
    let store = transload_drivers::leveldb::open(path, &options).unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
    let (mut digest, mut pairs) = (Sha256::new(), 0u64);
    let mut sample = Vec::new();
    while let Some((key, value)) = scan.next().unwrap() {
        for part in [key, value] {
            digest.update(u32::try_from(part.len()).unwrap().to_be_bytes());
            digest.update(part);
        }
        if pairs % 37 == 0 {
            sample.push((key.to_vec(), value.to_vec()));
        }
        pairs += 1;
    }
    assert_eq!(scan.receipt().unwrap().entries, pairs);
    assert_eq!(answer["pairs"].as_u64(), Some(pairs), "{path:?}");
    assert_eq!(answer["sha256"].as_str(), Some(&*hex::encode(digest.finalize())), "{path:?}");
    for (key, value) in sample {
        assert_eq!(snapshot.get(&key).unwrap(), Some(value));
    }
}
