//! What is written for a node with C++ LevelDB, read and gone on with by C++ LevelDB itself.
//!
//! `TRANSLOAD_PLYVEL` names a folder with Python's plyvel, whose wheel has C++ LevelDB in it.

use crate::fixtures::{digest, load};
use crate::helper::{built_in, config, source_options, target_options};
use std::path::{Path, PathBuf};
use std::process::Command;
use transload_model::engine::Engine;
use transload_store::{Engines, KeyRange};

/// `dump.py`, or none, said on the output, where Python or plyvel isn't there.
fn plyvel(more: &[&str], database: &Path) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leveldb/dump.py");
    let python = |arguments: &[&str]| {
        let mut python = Command::new("python3");
        python.args(arguments);
        if let Some(folder) = std::env::var_os("TRANSLOAD_PLYVEL") {
            python.env("PYTHONPATH", folder);
        }
        python
    };
    if !python(&["-c", "import plyvel"]).output().is_ok_and(|run| run.status.success()) {
        println!("not checked: plyvel isn't there: C++ LevelDB was not asked");
        return None;
    }
    let output = python(&[]).arg(script).arg(database).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Every goleveldb database of the homes: its path, pairs and SHA-256.
fn databases() -> Vec<(PathBuf, String, tempfile::TempDir)> {
    let folder = std::env::var_os("TRANSLOAD_HOMES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/homes"),
        PathBuf::from,
    );
    let mut found = Vec::new();
    for name in ["cometbft-0.38-kvstore", "cosmos-simapp-sdk46-pruned"] {
        let answers = std::fs::read(folder.join(format!("{name}.answers.json"))).unwrap();
        let answers: serde_json::Value = serde_json::from_slice(&answers).unwrap();
        for (database, answer) in answers["databases"].as_object().unwrap() {
            let home = tempfile::tempdir().unwrap();
            let mut tar = Command::new("tar");
            tar.arg("xzf").arg(folder.join(format!("{name}.tar.gz"))).arg("-C").arg(home.path());
            assert!(tar.status().unwrap().success());
            let known = format!("{} {}", answer["pairs"], answer["sha256"].as_str().unwrap());
            found.push((home.path().join("home/data").join(database), known, home));
        }
    }
    found
}

#[test]
fn cpp_leveldb_reads_every_record_of_what_was_written_for_it_and_goes_on_with_it() {
    let Some(config) = config() else { return };
    let engines = built_in(&config);
    let driver = engines.driver(Engine::Cleveldb).unwrap();
    for (path, known, home) in databases() {
        let scratch = home.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let source = driver.open_source(&path, &source_options(&scratch)).unwrap();
        let target = home.path().join("target");
        let store = driver.create_target(&target, &target_options()).unwrap();
        let snapshot = source.snapshot().unwrap();
        let points = snapshot.split_points(&KeyRange::all(), 64 << 10).unwrap();
        for range in KeyRange::all().split_at(&points) {
            load(&*snapshot, &*store, &range);
        }
        store.close().unwrap();
        let Some(read) = plyvel(&[], &target) else { return };
        assert_eq!(read, known, "{path:?}");
        assert_eq!(plyvel(&["write"], &target).unwrap(), known, "{path:?}");
        // And back from what C++ LevelDB left: its own log, manifest and tables.
        let again = plyvel(&[], &target).unwrap();
        let found = engines.recognise(&target).unwrap();
        assert_eq!(found.engine, Engine::Cleveldb.told_by_files());
        let store = driver.open_source(&target, &source_options(&scratch)).unwrap();
        let (pairs, sha256) = digest(&*store.snapshot().unwrap());
        assert_eq!(format!("{pairs} {sha256}"), again, "{path:?}");
        assert_ne!(again, known);
    }
}
