//! Damaged files are errors: never a shorter database, never a crash of this process.

use crate::subject::{content, fill, for_each_driver, sample, source_options};
use std::fs;
use std::path::{Path, PathBuf};
use transload_store::contract::Entries;
use transload_store::{Driver, Result};

fn read(driver: &dyn Driver, path: &Path) -> Result<Entries> {
    let scratch = tempfile::tempdir().unwrap();
    let store = driver.open_source(path, &source_options(scratch.path()))?;
    content(&*store)
}

/// The file that holds the entries.
fn data_file(path: &Path) -> PathBuf {
    if path.is_file() {
        return path.to_owned();
    }
    fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap()
        .path()
}

#[test]
fn a_file_that_was_cut_off_is_an_error_wherever_it_was_cut() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        fill(driver, &path, &sample());
        let file = data_file(&path);
        let bytes = fs::read(&file).unwrap();
        for part in [0, 1, 2, 5, 9] {
            fs::write(&file, &bytes[..bytes.len() * part / 10]).unwrap();
            // An engine's file may end in pages that hold nothing.
            let found = read(driver, &path);
            let whole = found.as_ref().is_ok_and(|entries| *entries == sample());
            assert!(whole || found.is_err(), "{} at {part}/10", driver.engine());
        }
    });
}

#[test]
fn flipped_bits_never_crash_and_are_seen_where_checksums_are_promised() {
    for_each_driver(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        fill(driver, &path, &sample());
        let file = data_file(&path);
        let bytes = fs::read(&file).unwrap();
        let (_, guarantees) = driver.target_profile();
        for step in 0..60 {
            let mut damaged = bytes.clone();
            let at = step * bytes.len() / 60 + step * 7 % 64;
            damaged[at] ^= 1 << (step % 8);
            fs::write(&file, damaged).unwrap();
            let found = read(driver, &path);
            let whole = found.as_ref().is_ok_and(|entries| *entries == sample());
            if guarantees.checksummed {
                assert!(whole || found.is_err(), "{}: byte {at} was served", driver.engine());
            }
        }
    });
}
