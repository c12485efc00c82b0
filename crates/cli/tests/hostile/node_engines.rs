//! Homes of nodes that are configured with the engines which few are: what moves, what a key is
//! too long for, and the way back.

use crate::homes::{Copy, changed, helper, imprint, transload};
use std::path::{Path, PathBuf};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What `db_backend` governs.
const NODE_DATABASES: [&str; 4] = ["blockstore.db", "state.db", "evidence.db", "tx_index.db"];

/// Engines with a limit that keys of a real index exceed: the length of the first such key, and the
/// limit.
const LIMITS: [(&str, [&str; 2]); 3] =
    [("bbolt", ["70021", "32768"]), ("badgerdb", ["70021", "65000"]), ("lmdb", ["1109", "511"])];

/// `transload COMMAND HOME ...`, with the promises that these engines don't make accepted.
fn call(command: &str, home: &Path, more: &[&str]) -> crate::homes::Outcome {
    transload(&[&[command, text(home)], more].concat())
}

fn root(path: &Path) -> String {
    let outcome = transload(&["root", text(path), "--json"]);
    assert_eq!(outcome.code, 0, "{}: {}", path.display(), outcome.said);
    outcome.document()["dataset_root"].as_str().unwrap().to_owned()
}

fn db_backend(home: &Path) -> String {
    let config = std::fs::read_to_string(home.join("config/config.toml")).unwrap();
    let line = config.lines().find(|line| line.starts_with("db_backend")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn a_key_that_is_longer_than_the_engine_takes_is_refused_in_the_plan_with_database_length_and_limit()
 {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cometbft-0.38-kvstore");
    let index = copy.home().join("data/tx_index.db");
    for (engine, words) in LIMITS {
        // Whole homes don't go to the others; single databases do.
        if engine == "bbolt" {
            let more = ["--to", engine, "--accept-weaker", "checksummed"];
            let planned = call("plan", &copy.home(), &more);
            let said = planned.shown.clone() + &planned.said;
            assert_eq!(planned.code, 3, "{engine}: {said}");
            for word in words.into_iter().chain(["tx_index.db", "longer than the target takes"]) {
                assert!(said.contains(word), "{engine} doesn't say {word}: {said}");
            }
            let migrated = call("migrate", &copy.home(), &[&more[..], &["--yes"]].concat());
            assert_eq!(migrated.code, 3, "{engine}: {}", migrated.said);
            assert!(!copy.home().join(".transload/attempts").exists(), "{engine}: an attempt");
        }
        let before = imprint(&index);
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("target");
        let converted = transload(&[
            "convert",
            text(&index),
            text(&target),
            "--to",
            engine,
            "--accept-weaker",
            "checksummed",
        ]);
        assert_eq!(converted.code, 3, "{engine}: {}", converted.said);
        for word in words.into_iter().chain(["tx_index.db"]) {
            assert!(converted.said.contains(word), "{engine}: {word}: {}", converted.said);
        }
        assert_eq!(changed(&before, &imprint(&index)), Vec::<PathBuf>::new(), "{engine}");
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{engine}");
    }
}

#[test]
fn a_home_goes_to_bbolt_and_back_and_on_to_goleveldb_with_the_same_roots() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let path = |name: &str| home.join("data").join(name);
    let before: Vec<String> = NODE_DATABASES.iter().map(|name| root(&path(name))).collect();
    let roots = || NODE_DATABASES.iter().map(|name| root(&path(name))).collect::<Vec<_>>();
    let mut only: Vec<&str> = NODE_DATABASES.iter().flat_map(|name| ["--only", name]).collect();
    only.push("--yes");
    let to_bbolt = [&["--to", "bbolt", "--accept-weaker", "checksummed"], &only[..]].concat();

    let weaker = call("migrate", &home, &[&["--to", "bbolt"], &only[..]].concat());
    assert_eq!(weaker.code, 3, "{}", weaker.said);
    assert!(weaker.said.contains("checksummed"), "{}", weaker.said);

    let there = call("migrate", &home, &to_bbolt);
    assert_eq!(there.code, 0, "{}", there.said);
    assert_eq!(db_backend(&home), "boltdb");
    assert!(NODE_DATABASES.iter().all(|name| path(name).is_file()));
    assert_eq!(roots(), before);
    let verified = call("verify", &home, &[]);
    assert_eq!(verified.code, 0, "{}", verified.said);
    // A node that runs on it holds its file.
    let held = std::fs::File::open(path("state.db")).unwrap();
    held.lock().unwrap();
    let refused = call("rollback", &home, &["--yes"]);
    assert_eq!(refused.code, 3, "{}", refused.said);
    assert!(refused.said.contains("another process has it open"), "{}", refused.said);
    drop(held);
    let back = call("rollback", &home, &["--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    assert_eq!((db_backend(&home).as_str(), roots()), ("goleveldb", before.clone()));

    let again = call("migrate", &home, &to_bbolt);
    assert_eq!(again.code, 0, "{}", again.said);
    let kept = call("finalize", &home, &["--yes"]);
    assert_eq!(kept.code, 0, "{}", kept.said);
    let on = call("migrate", &home, &[&["--to", "goleveldb"], &only[..]].concat());
    assert_eq!(on.code, 0, "{}", on.said);
    assert_eq!((db_backend(&home).as_str(), roots()), ("goleveldb", before));
    assert!(NODE_DATABASES.iter().all(|name| path(name).is_dir()));
}

#[test]
fn a_home_on_badgerdb_is_read_and_verified_and_stays_there() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let refused = call("plan", &home, &["--to", "badgerdb"]);
    assert_eq!(refused.code, 3, "{}", refused.said);
    assert!(refused.said.contains("data/blockstore for blockstore.db"), "{}", refused.said);
    // As an operator does it who follows the advice.
    let mut before = Vec::new();
    for name in NODE_DATABASES {
        let source = home.join("data").join(name);
        let target = source.with_extension("");
        before.push(root(&source));
        let converted = transload(&["convert", text(&source), text(&target), "--to", "badgerdb"]);
        assert_eq!(converted.code, 0, "{name}: {}", converted.said);
        std::fs::remove_dir_all(&source).unwrap();
    }
    let config = home.join("config/config.toml");
    let text_of = std::fs::read_to_string(&config).unwrap();
    let changed_to = text_of.replace("db_backend = \"goleveldb\"", "db_backend = \"badgerdb\"");
    std::fs::write(&config, changed_to).unwrap();
    let app = home.join("config/app.toml");
    let text_of = std::fs::read_to_string(&app).unwrap();
    std::fs::write(
        &app,
        text_of.replace("app-db-backend = \"\"", "app-db-backend = \"goleveldb\""),
    )
    .unwrap();
    let folder = |name: &str| home.join("data").join(name).with_extension("");
    let untouched = imprint(&home.join("data"));
    let after: Vec<String> = NODE_DATABASES.iter().map(|name| root(&folder(name))).collect();
    assert_eq!(after, before);
    let verified = call("verify", &home, &[]);
    assert_eq!(verified.code, 0, "{}", verified.said);
    // Its node holds the folder.
    let held = std::fs::File::open(folder("state.db")).unwrap();
    held.lock().unwrap();
    let refused = call("verify", &home, &[]);
    assert_eq!(refused.code, 3, "{}", refused.said);
    assert!(refused.said.contains("in place"), "{}", refused.said);
    drop(held);
    let refused = call("plan", &home, &["--to", "goleveldb"]);
    assert_eq!(refused.code, 3, "{}", refused.said);
    assert_eq!(changed(&untouched, &imprint(&home.join("data"))), Vec::<PathBuf>::new());
    let back = copy.beside("blockstore.db");
    let source = folder("blockstore.db");
    let returned = transload(&["convert", text(&source), text(&back), "--to", "goleveldb"]);
    assert_eq!(returned.code, 0, "{}", returned.said);
    assert_eq!(root(&back), before[0]);
}

#[test]
fn a_home_goes_to_cleveldb_and_its_config_tells_it_from_goleveldb() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cometbft-0.38-kvstore");
    let home = copy.home();
    let before = root(&home.join("data/blockstore.db"));
    for (engine, other) in [("cleveldb", "goleveldb"), ("goleveldb", "cleveldb")] {
        let there = call("migrate", &home, &["--to", engine, "--yes"]);
        assert_eq!(there.code, 0, "{engine}: {}", there.said);
        assert_eq!(db_backend(&home), engine);
        assert_eq!(root(&home.join("data/blockstore.db")), before);
        let kept = call("finalize", &home, &["--yes"]);
        assert_eq!(kept.code, 0, "{}", kept.said);
        let again = call("plan", &home, &["--to", engine]);
        assert_eq!(again.code, 3, "{engine} to {engine}: {}", again.said);
        let on = call("plan", &home, &["--to", other]);
        assert_eq!(on.code, 0, "{engine} to {other}: {} {}", on.shown, on.said);
    }
}
