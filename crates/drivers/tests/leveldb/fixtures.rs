//! What real nodes left on disk, read with the count and SHA-256 that the canonical engine gave.

use super::{check_gets, digest, open};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use transload_store::{KeyRange, Scan};

/// The folder of fixtures, when the lane that has one runs.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("TRANSLOAD_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        println!("not run: TRANSLOAD_FIXTURES names no folder");
    }
    folder
}

fn unpack(archive: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("tar")
        .arg("xzf")
        .arg(archive)
        .arg("-C")
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    dir
}

#[test]
fn every_goleveldb_database_has_the_canonical_engines_digest() {
    let Some(fixtures) = fixtures() else { return };
    let mut compared = 0;
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(fixture) = name.strip_suffix(".answers.json") else { continue };
        let answers: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let Some(databases) = answers["databases"].as_object() else { continue };
        let dir = unpack(&path.with_file_name(format!("{fixture}.tar.gz")));
        for (database, answer) in databases {
            if answer["engine"] == "goleveldb" {
                let path = dir.path().join("home/data").join(database);
                let snapshot = open(&path).unwrap().snapshot().unwrap();
                let (pairs, hash) = digest(&*snapshot).unwrap();
                assert_eq!(answer["pairs"].as_u64(), Some(pairs), "{path:?}");
                assert_eq!(answer["sha256"].as_str(), Some(&*hash), "{path:?}");
                check_gets(&*snapshot);
                println!("{fixture} {database}");
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no database was compared");
}

/// C++ LevelDB, from Bitcoin Core: `NAME.leveldb-stats.txt` beside the archive has a line
/// `FOLDER: N keys, ..., sha256 over (len,len,k,v) HASH` a database, where the lengths are
/// decimal numbers, each with a space after it.
#[test]
fn every_database_of_bitcoin_core_has_the_canonical_engines_digest() {
    let Some(fixtures) = fixtures() else { return };
    let entries = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let ending = ".leveldb-stats.txt";
    let statistics: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    if statistics.is_empty() {
        println!("not run: the folder holds no home of Bitcoin Core");
        return;
    }
    let mut compared = 0;
    for path in statistics {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let fixture = name.trim_end_matches(ending);
        let dir = unpack(&path.with_file_name(format!("{fixture}.tar.gz")));
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let Some((folder, figures)) = line.split_once(": ") else { continue };
            let (Some((keys, _)), Some((_, hash))) =
                (figures.split_once(" keys"), figures.split_once("(len,len,k,v) "))
            else {
                continue;
            };
            let path = dir.path().join("home/regtest").join(folder);
            let snapshot = open(&path).unwrap().snapshot().unwrap();
            let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
            let (mut digest, mut pairs) = (Sha256::new(), 0u64);
            while let Some((key, value)) = scan.next().unwrap() {
                digest.update(format!("{} {} ", key.len(), value.len()));
                digest.update(key);
                digest.update(value);
                pairs += 1;
            }
            let found = (pairs.to_string(), hex::encode(digest.finalize()));
            assert_eq!(found, (keys.to_owned(), hash.trim().to_owned()), "{folder}");
            check_gets(&*snapshot);
            println!("{fixture} {folder}");
            compared += 1;
        }
    }
    assert!(compared > 0, "no database was compared");
}
