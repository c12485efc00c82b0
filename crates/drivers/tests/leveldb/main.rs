//! The LevelDB reader, held to the contract suite, to what canonical engines wrote and said, and
//! to a model; damaged in every way we know of.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::cast_possible_truncation, reason = "tests choose their sizes")]
#![allow(clippy::print_stdout, reason = "a test that was not run says so")]
#![cfg(feature = "leveldb")]

mod contract;
mod damage;
mod fixtures;
mod golden;
mod writer;

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use transload_store::{KeyRange, Result, Scan, Snapshot, SourceOptions, Store};

/// Opens a directory that nobody writes.
fn open(path: &Path) -> Result<Box<dyn Store>> {
    let options = SourceOptions {
        scratch_dir: PathBuf::from("/nonexistent/a quiet directory needs no scratch folder"),
        space: None,
        memory_bytes_max: 64 << 20,
    };
    transload_drivers::leveldb::open(path, &options)
}

/// Pairs and SHA-256 over `u32 BE key length, key, u32 BE value length, value` of each.
fn digest(snapshot: &dyn Snapshot) -> Result<(u64, String)> {
    let mut scan = Scan::new(snapshot, &KeyRange::all())?;
    let (mut digest, mut pairs) = (Sha256::new(), 0);
    while let Some((key, value)) = scan.next()? {
        for part in [key, value] {
            digest.update(u32::try_from(part.len()).unwrap().to_be_bytes());
            digest.update(part);
        }
        pairs += 1;
    }
    assert_eq!(scan.receipt()?.entries, pairs);
    Ok((pairs, hex::encode(digest.finalize())))
}

/// Every 37th pair is found by its key.
fn check_gets(snapshot: &dyn Snapshot) {
    let mut scan = Scan::new(snapshot, &KeyRange::all()).unwrap();
    let mut at = 0;
    while let Some((key, value)) = scan.next().unwrap() {
        if at % 37 == 0 {
            assert_eq!(snapshot.get(key).unwrap().as_deref(), Some(value));
        }
        at += 1;
    }
}

/// Writes a file anew. Truncating an old one would make ext4 wait for the disk each time.
fn replace(path: &Path, content: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, content).unwrap();
}
