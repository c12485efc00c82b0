//! What no version of an application's state reaches is left out, is named, and comes back; where
//! there is nothing of it, or it can't be told, that is said.

use crate::holding::open;
use crate::homes::{Copy, call, changed, helper, imprint, refuses};
use crate::litter::{Form, litter};
use crate::versions::{
    HOME, NEXT_RELEASE, NO_MULTISTORE, OLD_FORM, application, records, unchanged,
};
use serde_json::Value;
use std::path::PathBuf;
use transload_model::engine::Engine;
use transload_store::{Durability, WriteBatch};

const TABLES: [&str; 3] =
    ["application/iavl_node", "application/iavl_legacy_node", "application/iavl_orphan"];

/// How many records of each of [`TABLES`] the report of a migration lists as gone.
fn gone(application: &Value) -> [u64; 3] {
    let tables = application["trim"]["left_out"].as_array().unwrap();
    assert!(tables.iter().all(|one| TABLES.iter().any(|name| one["name"] == *name)), "{tables:?}");
    TABLES.map(|name| {
        let found = tables.iter().find(|one| one["name"] == name);
        found.map_or(0, |one| one["records"].as_str().unwrap().parse().unwrap())
    })
}

/// A copy whose node is one that knows both forms and Pebble.
fn upgraded(home: &str) -> Copy {
    let copy = Copy::of(home);
    let config = copy.home().join("config/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    if home == OLD_FORM {
        std::fs::write(&config, [NEXT_RELEASE, &text].concat()).unwrap();
    }
    copy
}

fn notes(application: &Value) -> String {
    application["meaning"]["notes"].to_string()
}

#[test]
fn what_no_version_reaches_goes_is_named_and_comes_back() {
    if helper().is_none() {
        return;
    }
    let engines = [&[][..], &["--to", "pebble1"]];
    for (home, forms, expected) in [
        (OLD_FORM, &[Form::Old][..], [0, 2, 2]),
        (HOME, &[Form::New], [1, 0, 0]),
        (OLD_FORM, &[Form::Old, Form::New], [1, 2, 2]),
    ] {
        let clean = Copy::of(home);
        let before = TABLES.map(|table| records(&clean, table));
        for engine in engines {
            let copy = upgraded(home);
            let names = litter(&copy.home(), forms);
            let littered = imprint(&copy.home());
            if forms.len() == 1 {
                let found = call("verify", &copy, &[]);
                assert_eq!(found.code, 4, "{}", found.said);
            }
            let way = [&["--drop-orphans"], engine].concat();
            let begun = call("migrate", &copy, &way);
            assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
            for words in [
                "what no kept version reaches is left out",
                "transform drop-orphans 1",
                "one way: nothing tells which nodes",
                "store bank: left out are ",
            ] {
                assert!(begun.said.contains(words), "no word of {words}: {}", begun.said);
            }
            unchanged(&copy, &littered);
            let done = call("resume", &copy, &["--yes", "--json"]);
            assert_eq!(done.code, 0, "{}{}", done.said, done.shown);
            let report = application(&done);
            assert_eq!(report["transforms"][0]["id"], "drop-orphans");
            assert_eq!(report["meaning"]["table"], "application/leaf");
            assert_eq!(gone(&report), expected);
            let notes = notes(&report);
            let nowhere = "ee".repeat(32);
            let orphan = forms.contains(&Form::Old).then_some(&nowhere);
            for name in names.iter().chain(orphan) {
                assert!(notes.contains(name.as_str()), "{name} isn't named: {notes}");
            }
            assert_eq!(TABLES.map(|table| records(&copy, table)), before, "the rest stays");
            let verified = call("verify", &copy, &[]);
            assert_eq!(verified.code, 0, "{}", verified.said);
            let back = call("rollback", &copy, &["--yes"]);
            assert_eq!(back.code, 0, "{}", back.said);
            unchanged(&copy, &littered);
        }
    }
}

#[test]
fn a_conversion_that_litter_stops_goes_on_without_it_and_so_does_a_trim_of_heights() {
    if helper().is_none() {
        return;
    }
    let copy = upgraded(OLD_FORM);
    let names = litter(&copy.home(), &[Form::Old, Form::New]);
    let littered = imprint(&copy.home());
    let way = ["--layout", "iavl-1", "--keep-heights", "81", "--yes", "--json"];
    let stopped = call("migrate", &copy, &way);
    assert_eq!(stopped.code, 4, "{}{}", stopped.said, stopped.shown);
    assert!(stopped.shown.contains(&names[0]), "{}", stopped.shown);
    assert!(stopped.shown.contains("--drop-orphans"), "{}", stopped.shown);
    unchanged(&copy, &littered);
    let done = call("migrate", &copy, &[&way[..], &["--drop-orphans"]].concat());
    assert_eq!(done.code, 0, "{}{}", done.said, done.shown);
    let report = application(&done);
    let transforms = report["transforms"].as_array().unwrap();
    let ids: Vec<&Value> = transforms.iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["drop-orphans", "iavl-1"]);
    assert_eq!(gone(&report), [1, 2, 2]);
    assert!(notes(&report).contains(&names[0]), "{}", notes(&report));
    assert_eq!(records(&copy, "application/iavl_legacy_node"), 0);
    let verified = call("verify", &copy, &[]);
    assert_eq!(verified.code, 0, "{}", verified.said);
    assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
    unchanged(&copy, &littered);
}

#[test]
fn where_nothing_is_to_be_left_out_that_is_said() {
    if helper().is_none() {
        return;
    }
    for home in [HOME, OLD_FORM] {
        let copy = upgraded(home);
        let before = imprint(&copy.home());
        let nothing = call("migrate", &copy, &["--drop-orphans", "--yes"]);
        assert_eq!(nothing.code, 3, "{}", nothing.said);
        for words in ["there is nothing to leave out", "nothing was changed"] {
            assert!(nothing.said.contains(words), "no word of {words}: {}", nothing.said);
        }
        unchanged(&copy, &before);
        assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
        let moved =
            call("migrate", &copy, &["--drop-orphans", "--to", "pebble1", "--yes", "--json"]);
        assert_eq!(moved.code, 0, "{}{}", moved.said, moved.shown);
        let report = application(&moved);
        assert_eq!(gone(&report), [0; 3]);
        assert!(notes(&report).contains("nothing is left out"), "{}", notes(&report));
        assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
        assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    }
}

#[test]
fn what_cannot_be_told_is_refused() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let both = ["--drop-orphans", "--keep-versions", "69"];
    refuses(&copy, &both, 3, &["couldn't say which went why", "one after the other"]);
    let other = ["--drop-orphans", "--only", "blockstore.db"];
    refuses(&copy, &other, 3, &["application.db would be left out"]);
    refuses(&Copy::of(NO_MULTISTORE), &["--drop-orphans"], 3, &["keeps no multistore"]);
    // Without its last root every node of a store would be one that no version has.
    let root = [b"s/k:bank/r".as_slice(), &180_u64.to_be_bytes()].concat();
    // An orphan that says two hashes: the library goes by the one that isn't in its key.
    let orphan = [b"s/k:bank/o".as_slice(), &170_u64.to_be_bytes(), &1_u64.to_be_bytes(), &[7; 32]];
    for (key, value, words) in [
        (root, None, "store bank: it has no root of version 180"),
        (orphan.concat(), Some([8; 32]), "the orphan's value isn't the hash in its key"),
    ] {
        let copy = Copy::of(OLD_FORM);
        let store = open(Engine::Goleveldb, &copy.home().join("data/application.db"));
        let mut batch = WriteBatch::new();
        match value {
            Some(value) => batch.put(&key, &value),
            None => batch.delete(&key),
        }
        store.write(&batch, Durability::Synced).unwrap();
        store.close().unwrap();
        let before = imprint(&copy.home());
        let refused = call("migrate", &copy, &["--drop-orphans", "--yes"]);
        assert_eq!(refused.code, 4, "{}", refused.said);
        assert!(refused.said.contains(words), "no word of {words}: {}", refused.said);
        unchanged(&copy, &before);
    }
}

#[test]
fn an_orphan_that_would_delete_a_node_in_use_stays_and_stops_the_migration() {
    if helper().is_none() {
        return;
    }
    let copy = upgraded(OLD_FORM);
    let path = copy.home().join("data/application.db");
    let store = open(Engine::Goleveldb, &path);
    let root = [b"s/k:bank/r".as_slice(), &180_u64.to_be_bytes()].concat();
    let hash = store.snapshot().unwrap().get(&root).unwrap().unwrap();
    let versions = [170_u64, 165].map(u64::to_be_bytes).concat();
    let mut batch = WriteBatch::new();
    batch.put(&[b"s/k:bank/o".as_slice(), &versions, &hash].concat(), &hash);
    store.write(&batch, Durability::Synced).unwrap();
    store.close().unwrap();
    let before = imprint(&copy.home());
    let stopped = call("migrate", &copy, &["--drop-orphans", "--to", "pebble1", "--yes"]);
    assert_eq!(stopped.code, 4, "{}{}", stopped.said, stopped.shown);
    assert!(stopped.said.contains("pruning would delete it"), "{}", stopped.said);
    unchanged(&copy, &before);
}
