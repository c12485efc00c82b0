//! Every Pebble database of the fixtures, read through the helper, has the count and SHA-256
//! that the canonical engine gave, and is left as it was.

use crate::helper::{config, driver, fingerprint, source_options, target_options};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use transload_drivers::gostore::GostoreConfig;
use transload_model::engine::Engine;
use transload_store::{Driver, Durability, Engines, KeyRange, Scan, Snapshot, Store, WriteBatch};

fn each_home(mut visit: impl FnMut(&str, &serde_json::Value, &Path)) {
    let Some(fixtures) = std::env::var_os("TRANSLOAD_FIXTURES") else {
        println!("not run: TRANSLOAD_FIXTURES names no folder");
        return;
    };
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(fixture) = name.strip_suffix(".answers.json") else { continue };
        if !fixture.contains("pebble") && !fixture.contains("mixed") {
            continue;
        }
        let answers: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let archive = path.with_file_name(format!("{fixture}.tar.gz"));
        let status = std::process::Command::new("tar")
            .arg("xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        visit(fixture, &answers, &folder.path().join("home"));
    }
}

/// Pairs and SHA-256, as the answers give them.
pub(crate) fn digest(snapshot: &dyn Snapshot) -> (u64, String) {
    let mut scan = Scan::new(snapshot, &KeyRange::all()).unwrap();
    let (mut digest, mut pairs) = (Sha256::new(), 0u64);
    while let Some((key, value)) = scan.next().unwrap() {
        for part in [key, value] {
            digest.update(u32::try_from(part.len()).unwrap().to_be_bytes());
            digest.update(part);
        }
        pairs += 1;
    }
    assert_eq!(scan.receipt().unwrap().entries, pairs);
    (pairs, hex::encode(digest.finalize()))
}

fn read(config: &GostoreConfig, engine: Engine, path: &Path) -> (u64, String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let before = fingerprint(path);
    let options = source_options(scratch.path());
    let store = driver(engine, config).open_source(path, &options).unwrap();
    let version = store.engine_version();
    let (pairs, sha256) = digest(&*store.snapshot().unwrap());
    store.close().unwrap();
    assert!(before == fingerprint(path), "{path:?} was changed");
    assert!(std::fs::read_dir(scratch.path()).unwrap().next().is_none(), "scratch is left");
    (pairs, sha256, version)
}

#[test]
fn every_pebble_database_has_the_canonical_engines_digest() {
    let Some(config) = config() else { return };
    let mut compared = 0;
    each_home(|fixture, answers, home| {
        let Some(databases) = answers["databases"].as_object() else { return };
        for (database, answer) in databases {
            if answer["engine"] != "pebbledb" {
                continue;
            }
            let path = home.join("data").join(database);
            let (pairs, sha256, version) = read(&config, Engine::Pebble1, &path);
            assert_eq!(version, "format 1");
            assert_eq!(answer["pairs"].as_u64(), Some(pairs), "{fixture} {database}");
            assert_eq!(answer["sha256"].as_str(), Some(&*sha256), "{fixture} {database}");
            copied_everywhere(&config, &path, &sha256);
            compared += 1;
            println!("{fixture} {database}: {pairs} pairs");
        }
    });
    assert!(compared > 0 || std::env::var_os("TRANSLOAD_FIXTURES").is_none());
}

/// Loads the database into each engine and reads it back after a close.
fn copied_everywhere(config: &GostoreConfig, path: &Path, sha256: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let options = source_options(scratch.path());
    let source = driver(Engine::Pebble1, config).open_source(path, &options).unwrap();
    let snapshot = source.snapshot().unwrap();
    let engines = crate::helper::ENGINES.into_iter().chain([Engine::Bbolt, Engine::Badgerdb]);
    let longest = |engine| driver(engine, config).target_profile().1.key_bytes_max;
    for engine in engines.filter(|engine| fits(&*snapshot, longest(*engine))) {
        let config = GostoreConfig { check_on_close: true, ..config.clone() };
        let driver = driver(engine, &config);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("db");
        let store = driver.create_target(&target, &target_options()).unwrap();
        let points = snapshot.split_points(&KeyRange::all(), 64 << 10).unwrap();
        for range in KeyRange::all().split_at(&points) {
            load(&*snapshot, &*store, &range);
        }
        store.close().unwrap();
        let store = driver.reopen_target(&target, &target_options()).unwrap();
        assert_eq!(digest(&*store.snapshot().unwrap()).1, sha256, "{path:?} to {engine}");
        store.close().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let options = source_options(scratch.path());
        let engines = crate::helper::built_in(&config);
        assert_eq!(engines.recognise(&target).unwrap().engine, engine);
        let store = engines.driver(engine).unwrap().open_source(&target, &options).unwrap();
        assert_eq!(digest(&*store.snapshot().unwrap()).1, sha256, "{engine} as a source");
    }
}

/// Whether no key is longer; a real index has keys of 70,021 bytes.
fn fits(snapshot: &dyn Snapshot, key_bytes_max: usize) -> bool {
    let mut scan = Scan::new(snapshot, &KeyRange::all()).unwrap();
    let mut fits = true;
    while let Some((key, _)) = scan.next().unwrap() {
        fits &= key.len() <= key_bytes_max;
    }
    let _receipt = scan.receipt().unwrap();
    fits
}

/// Carries a range over, by the way that the target has.
pub(crate) fn load(snapshot: &dyn Snapshot, store: &dyn Store, range: &KeyRange) {
    let mut scan = Scan::new(snapshot, range).unwrap();
    if store.capabilities().bulk_load {
        let mut chunk = store.bulk_load().unwrap().chunk(range).unwrap();
        while let Some((key, value)) = scan.next().unwrap() {
            chunk.put(key, value).unwrap();
        }
        chunk.commit().unwrap();
    } else {
        let mut batch = WriteBatch::new();
        while let Some((key, value)) = scan.next().unwrap() {
            batch.put(key, value);
        }
        store.write(&batch, Durability::Synced).unwrap();
    }
    let _receipt = scan.receipt().unwrap();
}

#[test]
fn chain_data_of_geth_is_read_in_its_own_format() {
    let Some(config) = config() else { return };
    let mut read_of = Vec::new();
    each_home(|fixture, _, home| {
        let path: PathBuf = home.join("geth/chaindata");
        if !path.exists() {
            return;
        }
        let (engine, format) = if fixture.contains("pebblev1") {
            (Engine::Pebble1, "format 1")
        } else {
            (Engine::Pebble2, "format 13")
        };
        let (pairs, _, version) = read(&config, engine, &path);
        assert_eq!(version, format, "{fixture}");
        assert!(pairs > 1_000, "{fixture} has {pairs} pairs");
        read_of.push(format!("{fixture}: {pairs} pairs"));
    });
    println!("{read_of:?}");
}
