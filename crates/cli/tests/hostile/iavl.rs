//! An application's state that goes from IAVL 0.x to 1.x and back, and one that can't.

use crate::forgeries::entries;
use crate::holding::create;
use crate::homes::{Copy, call, changed, helper, imprint};
use std::path::PathBuf;
use transload_model::engine::Engine;

const OLD: &str = "cosmos-simapp-sdk46-pruned";
const NEW: &str = "cosmos-simapp";

/// A program that the home is upgraded to: what counts is its build info (`debug/buildinfo`).
fn node_binary(copy: &Copy, iavl: &str) -> String {
    let modules = format!(
        "path\tx\ndep\tgithub.com/cosmos/iavl\t{iavl}\th1:a\ndep\tgithub.com/cosmos/cosmos-db\t\
         v1.1.3\th1:a\ndep\tgithub.com/cometbft/cometbft-db\tv0.14.1\th1:a\ndep\t\
         github.com/cometbft/cometbft\tv0.38.17\th1:a\ndep\tgithub.com/cockroachdb/pebble\t\
         v1.1.5\th1:a\nbuild\t-tags=netgo,pebbledb\n"
    );
    let length = modules.len() + 32;
    let varint = [u8::try_from(length % 128).unwrap() | 128, u8::try_from(length / 128).unwrap()];
    let program = [
        b"\xff Go buildinf:\x08\x02".as_slice(),
        &[0; 16],
        b"\x01g",
        &varint,
        &[1; 16],
        modules.as_bytes(),
        &[2; 16],
    ];
    let path = copy.beside("noded");
    std::fs::write(&path, program.concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn records(copy: &Copy, table: &str) -> u64 {
    let document = call("inspect", copy, &["--json"]).document();
    let tables = document["tables"].as_array().unwrap();
    let found = tables.iter().find(|one| one["name"] == table).unwrap();
    found["records"].as_str().unwrap().parse().unwrap()
}

/// Nothing below the databases and configs has changed.
fn is_as_before(copy: &Copy, before: &std::collections::BTreeMap<PathBuf, String>) {
    assert_eq!(changed(before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn an_application_goes_to_iavl_1_with_every_hash_and_comes_back_byte_for_byte() {
    if helper().is_none() {
        return;
    }
    for engine in [None, Some("pebble1")] {
        let copy = Copy::of(OLD);
        let before = imprint(&copy.home());
        let node = node_binary(&copy, "v1.2.2");
        let to = engine.map_or(Vec::new(), |engine| vec!["--to", engine]);
        let more = [&["--layout", "iavl-1", "--node-binary", &node], &to[..]].concat();
        let begun = call("migrate", &copy, &more);
        assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
        // Another process swaps what this one has verified.
        let done = call("resume", &copy, &["--yes", "--json"]);
        assert_eq!(done.code, 0, "{}", done.said);
        let report = &done.document()["report"];
        let databases = report["databases"].as_array().unwrap();
        let application = databases.iter().find(|one| one["name"] == "application.db").unwrap();
        assert_eq!(application["to_layout"], "cosmos-application-iavl-1");
        let meaning = &application["meaning"];
        assert_eq!(meaning["table"], "application/leaf");
        assert_ne!(meaning["records"], "0");
        assert!(!meaning["notes"].as_array().unwrap().is_empty(), "orphans are left out");
        let checks = report["verdict"]["checks"].as_array().unwrap();
        let hashes = checks.iter().find(|one| one["name"] == "app_hash_of_state").unwrap();
        assert_eq!((&hashes["failed"], hashes["checked"] == "0"), (&"0".into(), false));
        for table in ["application/iavl_legacy_node", "application/iavl_orphan"] {
            assert_eq!(records(&copy, table), 0, "{table}");
        }
        assert!(records(&copy, "application/iavl_node") > 0);
        let verified = call("verify", &copy, &[]);
        assert_eq!(verified.code, 0, "{}", verified.said);
        let back = call("rollback", &copy, &["--yes"]);
        assert_eq!(back.code, 0, "{}", back.said);
        is_as_before(&copy, &before);
    }
}

#[test]
fn going_back_is_never_claimed_by_an_engine_s_sign_that_both_sides_have() {
    if helper().is_none() {
        return;
    }
    let good = Copy::of(OLD);
    let node = node_binary(&good, "v1.2.2");
    let more = ["--layout", "iavl-1", "--node-binary", &node, "--yes"];
    let done = call("migrate", &good, &more);
    assert_eq!(done.code, 0, "{}", done.said);
    // Somebody frees space by hand: the old database is gone.
    std::fs::remove_dir_all(good.home().join(".transload/attempts")).unwrap();
    let refused = call("rollback", &good, &["--yes"]);
    assert!(matches!(refused.code, 3 | 6), "{}: {}", refused.code, refused.said);
    assert!(!refused.said.contains("stands on the old"), "{}", refused.said);
    // Somebody removes the new one: the old one comes back.
    let lost = Copy::of(OLD);
    let database = lost.home().join("data/application.db");
    let before = imprint(&database);
    let config = lost.home().join("config/app.toml");
    let settings = std::fs::read(&config).unwrap();
    let node = node_binary(&lost, "v1.2.2");
    let more = ["--layout", "iavl-1", "--node-binary", &node, "--yes"];
    let done = call("migrate", &lost, &more);
    assert_eq!(done.code, 0, "{}", done.said);
    std::fs::remove_dir_all(&database).unwrap();
    let back = call("rollback", &lost, &["--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    // Whoever removed it has changed times beside it; every byte is what it was.
    assert_eq!(changed(&before, &imprint(&database)), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read(&config).unwrap(), settings);
}

#[test]
fn a_node_that_reads_the_old_form_only_and_a_home_without_it_are_refused() {
    if helper().is_none() {
        return;
    }
    let old = Copy::of(OLD);
    let before = imprint(&old.home());
    let earlier = node_binary(&old, "v0.19.6");
    for (more, words) in [
        (&["--layout", "iavl-1"][..], "reads the old form only"),
        (&["--layout", "iavl-1", "--node-binary", &earlier], "v0.19.6, not 1.x"),
        (&["--layout", "iavl-2"], "no layout is called"),
    ] {
        let refused = call("migrate", &old, &[more, &["--yes"]].concat());
        assert_eq!(refused.code, if words.contains("called") { 2 } else { 3 }, "{}", refused.said);
        assert!(refused.said.contains(words), "{}", refused.said);
        is_as_before(&old, &before);
    }
    let new = Copy::of(NEW);
    let refused = call("migrate", &new, &["--layout", "iavl-1", "--yes"]);
    assert_eq!(refused.code, 3, "{}", refused.said);
    assert!(refused.said.contains("no database of this home gets another layout"));
    let moved = call("plan", &new, &["--layout", "iavl-1", "--to", "pebble1"]);
    assert_eq!(moved.code, 0, "{}", moved.said);
    let words = "--layout iavl-1 changes nothing: application.db has it already";
    assert!(moved.shown.contains(words), "{}", moved.shown);
}

#[test]
fn a_library_that_loses_leaves_when_it_prunes_is_named_before_anything_is_converted() {
    for (iavl, is_named) in [("v1.1.2", true), ("v1.2.1", true), ("v1.2.2", false)] {
        let copy = Copy::of(OLD);
        let node = node_binary(&copy, iavl);
        let planned =
            call("plan", &copy, &["--layout", "iavl-1", "--node-binary", &node, "--json"]);
        assert_eq!(planned.code, 0, "{}", planned.said);
        let plan = planned.document().to_string();
        let words = format!("IAVL is {iavl}: before 1.2.2 it loses a leaf");
        assert_eq!(plan.contains(&words), is_named, "{iavl}: {plan}");
    }
}

#[test]
fn a_child_that_is_not_there_is_named_and_nothing_is_converted() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(OLD);
    let path = copy.home().join("data/application.db");
    let mut all = entries(&path);
    // The leaf that the last version of a store reaches by its first child.
    let lost = all
        .iter()
        .find(|(key, value)| key.starts_with(b"s/k:bank/n") && value.first() == Some(&0))
        .map(|(key, _)| key.clone())
        .unwrap();
    all.remove(&lost);
    std::fs::remove_dir_all(&path).unwrap();
    create(Engine::Goleveldb, &path, &all);
    let before = imprint(&path);
    let node = node_binary(&copy, "v1.2.2");
    let more = ["--layout", "iavl-1", "--node-binary", &node, "--yes"];
    let refused = call("migrate", &copy, &more);
    assert_eq!(refused.code, 4, "{}", refused.said);
    for word in ["store bank", "application.db"] {
        assert!(refused.said.contains(word), "{}", refused.said);
    }
    assert_eq!(changed(&before, &imprint(&path)), Vec::<PathBuf>::new());
}
