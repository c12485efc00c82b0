//! Leaving things out on the way: what is gone is listed to the record, the rest is as it was, and
//! what is needed or isn't there is refused.

use crate::holding::create;
use crate::homes::{Copy, Entries, call, changed, helper, imprint, refuses, set_key, transload};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use transload_model::engine::Engine;

/// A node of CometBFT 0.38 with an index of transactions, whose evidence is accepted for two days.
const HOME: &str = "cometbft-0.38-kvstore";

/// A node of CometBFT 1.x whose application is at height 281 of 300.
const BEHIND: &str = "cometbft-1-pebble-v2";

/// A node under a Cosmos SDK application: heights 80 to 180, evidence accepted for 40 blocks and 5
/// seconds, state-sync snapshots of heights 100 and 150.
const SHORT_MEMORY: &str = "cosmos-simapp-sdk46-pruned";

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

/// How a target differs from its source: of each table the keys that only the source has, and the
/// others.
fn differences(source: &Copy, target: &Copy) -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let (left, right) = (source.home(), target.home());
    let words = ["diff", left.to_str().unwrap(), right.to_str().unwrap()];
    let document = transload(&[&words, &["--keys", "100000", "--json"][..]].concat()).document();
    let mut differences = BTreeMap::new();
    for table in document["different"].as_array().unwrap() {
        let key = |one: &Value| one["key"].as_str().unwrap().to_owned();
        let keys = table["keys"].as_array().unwrap();
        let (gone, other): (Vec<_>, Vec<_>) =
            keys.iter().partition(|one| one["how"] == "only_left");
        let keys = (gone.into_iter().map(key).collect(), other.into_iter().map(key).collect());
        differences.insert(table["name"].as_str().unwrap().to_owned(), keys);
    }
    differences
}

#[test]
fn the_heights_kept_are_the_source_s_own_and_what_is_gone_is_listed_to_the_record() {
    if helper().is_none() {
        return;
    }
    let (source, copy) = (Copy::of(SHORT_MEMORY), Copy::of(SHORT_MEMORY));
    let before = imprint(&copy.home());
    let begun = call("migrate", &copy, &["--keep-heights", "81", "--chunk", "64KiB"]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    // Another process swaps what this one has verified.
    let done = call("resume", &copy, &["--yes", "--json"]);
    assert_eq!(done.code, 0, "{}", done.said);
    let document = done.document();
    let mut listed = BTreeMap::new();
    for database in ["blockstore.db", "state.db", "tx_index.db"] {
        listed.append(&mut left_out(&document["report"], database));
    }
    let mut differences = differences(&source, &copy);
    // The block store's own record of its first height, and no other, has another value.
    let (gone, other) = differences.remove("blockstore/state").unwrap();
    assert_eq!((gone, other), (Vec::new(), vec![hex::encode("blockStore")]));
    assert_eq!(differences.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
    for (table, (gone, other)) in &differences {
        assert_eq!(gone.len().to_string(), listed[table][0], "{table}");
        assert_eq!(other, &Vec::<String>::new(), "{table}");
        let by_height = !["/hash_index", "/result", "/event", "/block_event"]
            .iter()
            .any(|name| table.ends_with(name) && table != "state/results");
        let below = |key: &String| u64::from_str_radix(&key[..16], 16).unwrap() < 100;
        assert!(!by_height || gone.iter().all(below), "{table}: {gone:?}");
    }
    let inspected = call("inspect", &copy, &["--json", "--quick"]).document();
    assert_eq!(
        (&inspected["height_first"], &inspected["height_last"]),
        (&"100".into(), &"180".into())
    );
    let verified = call("verify", &copy, &[]);
    assert_eq!(verified.code, 0, "{}", verified.said);
    let back = call("rollback", &copy, &["--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn heights_and_the_index_are_left_out_together_and_the_plan_says_both() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(SHORT_MEMORY);
    let way = ["--keep-heights", "90", "--drop", "tx_index"];
    let shown = call("plan", &copy, &way);
    for words in ["heights from 91, no tx_index", "heights 91 to 180 are carried", "reindex-event"]
    {
        assert!(shown.shown.contains(words), "no {words}: {}", shown.shown);
    }
    let done = call("migrate", &copy, &[&way[..], &["--yes"]].concat());
    assert_eq!(done.code, 0, "{}", done.said);
    let now = tables(&copy);
    assert_eq!((&now["blockstore/meta"][0][..], &now["tx_index/result"][0][..]), ("90", "0"));
    // A second time there is nothing to leave out, and that is said.
    assert_eq!(call("finalize", &copy, &["--yes"]).code, 0);
    let words = ["nothing is left out", "91 to 180, no more than the 90", "tx_index.db is empty"];
    refuses_after(&copy, &way, &words);
}

/// As [`refuses`], where an earlier migration has ended.
fn refuses_after(copy: &Copy, more: &[&str], words: &[&str]) {
    let before = imprint(&copy.home());
    let outcome = call("migrate", copy, more);
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    for word in words {
        assert!(outcome.said.contains(word), "no {word}: {}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn heights_that_somebody_needs_are_not_left_out() {
    let copy = Copy::of(SHORT_MEMORY);
    let keep = |heights: &'static str| ["--keep-heights", heights];
    refuses(&copy, &keep("0"), 3, &["would leave nothing"]);
    refuses(&copy, &keep("101"), 3, &["nothing is left out", "80 to 180, no more than the 101"]);
    refuses(&copy, &keep("18446744073709551615"), 3, &["there is nothing to leave out"]);
    let snapshot = ["height 100: who joins from the state-sync snapshot", "--keep-heights 81"];
    refuses(&copy, &keep("80"), 3, &snapshot);
    refuses(&copy, &keep("30"), 3, &["height 140: evidence", "height 150: who joins"]);
    let hash = "00".repeat(32);
    let trusting = ["--keep-heights", "81", "--trust-height", "99", "--trust-hash", &hash];
    refuses(&copy, &trusting, 3, &["height 99: its header is the one that you trust"]);
    let one = ["--keep-heights", "81", "--only", "blockstore.db"];
    refuses(&copy, &one, 3, &["state.db would be left out", "--only"]);
    let config = copy.home().join("config/config.toml");
    let without = std::fs::read_to_string(&config).unwrap();
    let companion = "\n[storage.pruning.data_companion]\nenabled = true\n";
    std::fs::write(&config, without.clone() + companion).unwrap();
    refuses(&copy, &keep("81"), 3, &["height 80: a data companion", "leave --keep-heights away"]);
    std::fs::write(&config, without).unwrap();
    // Evidence of height 90 that waits for a block.
    let evidence = copy.home().join("data/evidence.db");
    std::fs::remove_dir_all(&evidence).unwrap();
    if helper().is_some() {
        let key = format!("\u{1}{:016X}/{}", 90, "AB".repeat(32)).into_bytes();
        create(Engine::Goleveldb, &evidence, &Entries::from([(key, b"?".to_vec())]));
        refuses(&copy, &keep("81"), 3, &["height 90: there is evidence", "--keep-heights 91"]);
    }
}

#[test]
fn a_need_that_comes_up_after_the_copy_stops_the_swap() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(SHORT_MEMORY);
    let begun = call("migrate", &copy, &["--keep-heights", "81"]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    let evidence = copy.home().join("data/evidence.db");
    std::fs::rename(&evidence, copy.beside("evidence.db")).unwrap();
    let key = format!("\u{1}{:016X}/{}", 90, "AB".repeat(32)).into_bytes();
    create(Engine::Goleveldb, &evidence, &Entries::from([(key, b"?".to_vec())]));
    let before = imprint(&copy.home());
    let stopped = call("resume", &copy, &["--yes"]);
    assert_eq!(stopped.code, 5, "{}", stopped.said);
    assert!(stopped.said.contains("height 90: there is evidence"), "{}", stopped.said);
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    std::fs::remove_dir_all(&evidence).unwrap();
    std::fs::rename(copy.beside("evidence.db"), &evidence).unwrap();
    let done = call("resume", &copy, &["--yes"]);
    assert_eq!(done.code, 0, "{}", done.said);
}

#[test]
fn what_the_application_needs_is_not_left_out_and_where_nothing_tells_nothing_is() {
    let keep = ["--keep-heights", "5"];
    if helper().is_some() {
        let behind = ["the application is at height 281", "height 1: evidence about it"];
        refuses(&Copy::of(BEHIND), &keep, 3, &behind);
    }
    let copy = Copy::of(HOME);
    refuses(&copy, &keep, 3, &["height 1: evidence about it", "leave --keep-heights away"]);
    let config = copy.home().join("config/config.toml");
    set_key(&config, "proxy_app", "tcp://127.0.0.1:26658");
    refuses(&copy, &keep, 3, &["in a process of its own at tcp://127.0.0.1:26658"]);
    set_key(&config, "proxy_app", "kvstore");
    let database = copy.home().join("data/kvstore.db");
    std::fs::rename(&database, copy.beside("kvstore.db")).unwrap();
    refuses(&copy, &keep, 3, &["height 1: the application keeps nothing and is made anew"]);
    if helper().is_some() {
        create(Engine::Goleveldb, &database, &Entries::from([(b"k".to_vec(), b"v".to_vec())]));
        refuses(&copy, &keep, 3, &["nothing in kvstore.db tells which height"]);
    }
}
