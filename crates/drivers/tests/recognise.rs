//! The engine of every database that real nodes left, told from its files alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stdout, reason = "a test that was not run says so")]

use std::path::{Path, PathBuf};
use transload_drivers::recognise;
use transload_model::engine::Engine;

#[test]
fn every_database_of_the_fixtures_is_of_the_engine_that_wrote_it() {
    let Some(fixtures) = std::env::var_os("TRANSLOAD_FIXTURES").map(PathBuf::from) else {
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
        let dir = unpack(&path.with_file_name(format!("{fixture}.tar.gz")));
        for (database, answer) in databases {
            let expected = match answer["engine"].as_str().unwrap() {
                "goleveldb" => Engine::Goleveldb,
                "pebbledb" => Engine::Pebble1,
                other => panic!("{other}"),
            };
            let found = recognise(&dir.path().join("home/data").join(database)).unwrap();
            assert_eq!(found.engine, expected, "{fixture} {database}");
            assert!(found.bytes_on_disk > 0);
            compared += 1;
        }
    }
    assert!(compared > 0, "no database was compared");
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
