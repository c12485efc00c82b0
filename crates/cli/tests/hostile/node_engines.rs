//! Homes of nodes that are configured with the engines which few are: what moves, what a key is
//! too long for, and the way back.

use crate::homes::{Copy, changed, helper, imprint, text, transload};
use std::path::{Path, PathBuf};

/// What `db_backend` governs.
const NODE_DATABASES: [&str; 4] = ["blockstore.db", "state.db", "evidence.db", "tx_index.db"];

/// Longest keys of the engines that have a limit which a real index exceeds.
const LIMITS: [(&str, &str); 2] = [("bbolt", "32768"), ("lmdb", "511")];

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
    for (engine, limit) in LIMITS {
        let words = ["70021", limit];
        // A node has no name for LMDB, so only its single databases go there.
        if engine != "lmdb" {
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
        let before = imprint(copy.beside("").as_path());
        let target = copy.beside("target");
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
        let after = imprint(copy.beside("").as_path());
        assert_eq!(changed(&before, &after), Vec::<PathBuf>::new(), "{engine}");
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
