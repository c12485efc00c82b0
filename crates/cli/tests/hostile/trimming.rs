//! Leaving things out on the way: what is gone is listed to the record, the rest is as it was, and
//! what is needed or isn't there is refused.

use crate::homes::{Copy, Outcome, changed, helper, imprint, transload};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A node of CometBFT 0.38 with an index of transactions.
const HOME: &str = "cometbft-0.38-kvstore";

fn call(command: &str, copy: &Copy, more: &[&str]) -> Outcome {
    transload(&[&[command, copy.home().to_str().unwrap()], more].concat())
}

/// Of every table its records, bytes and root.
fn tables(copy: &Copy) -> BTreeMap<String, [String; 3]> {
    let document = call("inspect", copy, &["--json"]).document();
    let about = |table: &Value| {
        let field = |name: &str| table[name].as_str().unwrap().to_owned();
        (field("name"), [field("records"), field("bytes"), field("root")])
    };
    document["tables"].as_array().unwrap().iter().map(about).collect()
}

/// What a report says was left out of a database.
fn left_out(report: &Value, database: &str) -> BTreeMap<String, [String; 3]> {
    let mut databases = report["databases"].as_array().unwrap().iter();
    let found = databases.find(|one| one["name"] == database).unwrap();
    let about = |table: &Value| {
        let field = |name: &str| table[name].as_str().unwrap().to_owned();
        (field("name"), [field("records"), field("bytes"), field("root")])
    };
    found["trim"]["left_out"].as_array().unwrap().iter().map(about).collect()
}

/// A call that must be refused with these words and leave every byte alone.
fn refuses(copy: &Copy, more: &[&str], code: i32, words: &[&str]) {
    let before = imprint(&copy.home());
    for command in ["plan", "migrate"] {
        let outcome = call(command, copy, more);
        assert_eq!(outcome.code, code, "{command} {more:?}: {}", outcome.said);
        for word in words {
            assert!(outcome.said.contains(word), "{command} doesn't say {word}: {}", outcome.said);
        }
    }
    assert!(!copy.home().join(".transload/attempts").exists(), "{more:?}: an attempt was begun");
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new(), "{more:?}");
}

#[test]
fn a_dropped_index_is_listed_to_the_record_and_comes_back_byte_for_byte() {
    if helper().is_none() {
        return;
    }
    for engine in [&[][..], &["--to", "pebble1"]] {
        let copy = Copy::of(HOME);
        let (before, source) = (imprint(&copy.home()), tables(&copy));
        let way = [&["--drop", "tx_index"], engine].concat();
        let begun = call("migrate", &copy, &way);
        assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
        // Another process swaps what this one has verified.
        let done = call("resume", &copy, &["--yes", "--json"]);
        assert_eq!(done.code, 0, "{}", done.said);
        let document = done.document();
        let report = &document["report"];
        let gone = left_out(report, "tx_index.db");
        let whole = |table: &&String| table.starts_with("tx_index/") && source[*table][0] != "0";
        assert_eq!(
            gone.keys().collect::<Vec<_>>(),
            source.keys().filter(whole).collect::<Vec<_>>()
        );
        for (table, about) in &gone {
            assert_eq!(about, &source[table], "{table}");
        }
        for (table, about) in tables(&copy) {
            let dropped = table.starts_with("tx_index/");
            assert!(if dropped { about[0] == "0" } else { about == source[&table] }, "{table}");
        }
        let said = call("verify", &copy, &[]);
        assert_eq!(said.code, 0, "{}", said.said);
        let back = call("rollback", &copy, &["--yes"]);
        assert_eq!(back.code, 0, "{}", back.said);
        assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_plan_says_what_is_dropped_and_how_it_comes_back() {
    let copy = Copy::of(HOME);
    assert_eq!(call("plan", &copy, &["--to", "pebble1"]).code, 0);
    let shown = call("plan", &copy, &["--to", "pebble1", "--drop", "tx_index"]);
    assert_eq!(shown.code, 0, "{}", shown.said);
    for words in ["cometbft reindex-event", "pebble1, no tx_index", "is gone for good"] {
        assert!(shown.shown.contains(words), "no {words}: {}", shown.shown);
    }
    let diff = transload(&["plan", "diff", copy.home().to_str().unwrap(), "1", "2"]);
    assert!(diff.shown.contains("trim.drop"), "{}", diff.shown);
    assert!(
        diff.shown.contains("databases.[tx_index.db].trimmed: (none) -> true"),
        "{}",
        diff.shown
    );
    // The index takes no space in the new place.
    let document = call("plan", &copy, &["--drop", "tx_index", "--json"]).document();
    let plan = &document["plan"];
    let mut databases = plan["databases"].as_array().unwrap().iter();
    let index = databases.find(|one| one["name"] == "tx_index.db").unwrap();
    assert_eq!((&index["fate"], &index["bytes_estimate"]), (&"moves".into(), &0.into()));
    let moving = plan["databases"].as_array().unwrap().iter().filter(|one| one["fate"] == "moves");
    assert_eq!(moving.count(), 1, "nothing else moves");
}

#[test]
fn what_nobody_knows_what_is_not_there_and_what_stays_is_not_dropped() {
    let copy = Copy::of(HOME);
    refuses(&copy, &["--drop", "application"], 2, &["\"application\"", "there is tx_index"]);
    refuses(&copy, &["--drop", ""], 2, &["there is tx_index"]);
    let only = ["--drop", "tx_index", "--only", "state.db"];
    refuses(&copy, &only, 3, &["tx_index.db would be left out", "--only"]);
    let index = copy.home().join("data/tx_index.db");
    std::fs::rename(&index, copy.beside("tx_index.db")).unwrap();
    refuses(&copy, &["--drop", "tx_index"], 3, &["the home has no tx_index.db"]);
}

#[test]
fn an_index_that_is_empty_already_is_said_and_another_trim_is_not_the_one_under_way() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let begun = call("migrate", &copy, &["--drop", "tx_index"]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    let other = call("migrate", &copy, &["--to", "pebble1"]);
    assert_eq!(other.code, 3, "{}", other.said);
    assert!(other.said.contains("a migration to no tx_index is under way"), "{}", other.said);
    assert_eq!(call("migrate", &copy, &["--drop", "tx_index", "--yes"]).code, 0);
    assert_eq!(call("finalize", &copy, &["--yes"]).code, 0);
    let nothing = call("migrate", &copy, &["--drop", "tx_index"]);
    assert_eq!(nothing.code, 3, "{}", nothing.said);
    for words in ["nothing is left out of this home", "tx_index.db is empty"] {
        assert!(nothing.said.contains(words), "no {words}: {}", nothing.said);
    }
}
