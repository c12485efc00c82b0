//! An application's state that goes from IAVL 0.x to 1.x, and the real application that goes on
//! with it.
//!
//! The homes are of SDK 0.46 with IAVL 0.19. Their chain's next release is stood in for by
//! `tests/real/nodes/successor`: SDK 0.50, IAVL 1.x and CometBFT 0.38, on the same stores.
//! It writes something else than the modules of simapp would, so the new blocks are its own.

use crate::home::{NodeHome, archives, known_answers};
use crate::litter::{Form, litter};
use crate::node::{Node, Software};
use crate::program::{call, transload};
use crate::stores::{self, Contents};
use crate::{answers, bank, chain};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::engine::Engine;
use transload_store::{Durability, Engines as _, KeyRange, Scan, TargetOptions, WriteBatch};

/// Homes of SDK 0.46.
const HOMES: &str = "cosmos-simapp-sdk46";

/// Versions that the application keeps, and after how many it prunes, where it prunes.
const KEPT: u64 = 20;
const PRUNED_EVERY: u64 = 10;

/// Versions that are carried where the others are left out; the node then prunes some of these.
const LAST_VERSIONS: u64 = 15;

/// Blocks of IAVL 1.x on nodes of 0.x: some stores have their roots unchanged over a few of them.
const MIXED_BLOCKS: u64 = 8;

/// A home of SDK 0.46, with the node that follows.
fn unpack(name: &str) -> NodeHome {
    let home = NodeHome::unpack(name, Software::Successor);
    home.edit_app_config(|config| {
        config["min-retain-blocks"] = toml_edit::value(0);
        // The SDK prunes nothing above its oldest snapshot but one.
        config["state-sync"]["snapshot-interval"] = toml_edit::value(0);
    });
    keeps_every_version(&home);
    home
}

fn keeps_every_version(home: &NodeHome) {
    home.edit_app_config(|config| config["pruning"] = toml_edit::value("nothing"));
}

fn prunes(home: &NodeHome) {
    home.edit_app_config(|config| {
        config["pruning"] = toml_edit::value("custom");
        config["pruning-keep-recent"] = toml_edit::value(KEPT.to_string());
        config["pruning-interval"] = toml_edit::value(PRUNED_EVERY.to_string());
    });
}

/// Starts a node that serves and makes no block: the first would come in an hour.
fn stands_still(home: &NodeHome) -> Node {
    makes_a_block_every(home, "1h");
    Node::start(home)
}

fn makes_a_block_every(home: &NodeHome, time: &str) {
    home.edit_config(|config| config["consensus"]["timeout_commit"] = toml_edit::value(time));
}

/// What the application says of itself: its height and its hash.
fn app_info(node: &Node) -> Value {
    node.rpc.call("abci_info", &json!({})).unwrap()["response"].clone()
}

/// The options of the migration: the node's program says that it reads the new form.
fn way() -> [String; 5] {
    let program = Software::Successor.program().to_str().unwrap().to_owned();
    ["--layout", "iavl-1", "--node-binary", &program, "--yes"].map(str::to_owned)
}

/// Converts a home, after having gone back byte by byte once.
fn converts(home: &NodeHome) {
    let (way, before) = (way(), home.contents());
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    transload("migrate", home, &way);
    transload("rollback", home, &["--yes"]);
    assert!(home.contents() == before, "not every byte came back");
    transload("migrate", home, &way);
    for table in ["iavl_legacy_node", "iavl_orphan"] {
        assert_eq!(records(home, table), 0, "{table}");
    }
}

fn records(home: &NodeHome, table: &str) -> u64 {
    let document = transload("inspect", home, &[]);
    let name = format!("application/{table}");
    let mut tables = document["tables"].as_array().unwrap().iter();
    let found = tables.find(|one| one["name"] == name.as_str()).unwrap();
    found["records"].as_str().unwrap().parse().unwrap()
}

/// The first version that is kept.
fn first_version(answers: &Value) -> u64 {
    let ranges = answers["app_state"]["stores"]["bank"]["version_ranges"].as_array().unwrap();
    ranges[0][0].as_u64().unwrap()
}

/// The converted home says of every height what it said before, with proofs. Then its node makes
/// blocks and prunes twice: first some of the versions that were converted, then all of them.
fn lives_on(home: &NodeHome, known: &Value, said: &Contents, info: &Value) {
    let (first, tip) = (*said.keys().next().unwrap(), *said.keys().last().unwrap());
    let mut node = stands_still(home);
    node.wait_for_height(tip);
    assert_eq!(app_info(&node), *info, "what the app says of itself");
    stores::compare(node.rpc, said, first);
    // The SDK proves nothing at the first height.
    let mut proofs = stores::prove(node.rpc, first.max(2)..=tip - 1);
    assert!(bank::compare_balances(node.rpc, known) > 0, "no balance is known");
    node.stop();

    prunes(home);
    // The first time it stops before the versions that were converted are all gone.
    for (pause, more, converted_are_left) in
        [("150ms", PRUNED_EVERY, true), ("30ms", KEPT + 2 * PRUNED_EVERY, false)]
    {
        makes_a_block_every(home, pause);
        let mut node = Node::start(home);
        node.wait_for_height(tip + more);
        node.stop();
        transload("verify", home, &[]);

        let mut node = stands_still(home);
        let now = node.wait_for_height(tip + more);
        let archived = known["last_height"].as_u64().unwrap();
        let hash = &known["heights"][archived.to_string()]["block_hash"];
        chain::compare_link(node.rpc, archived, hash);
        answers::compare(node.rpc, known);
        let kept = first_answered(&node, now);
        assert!((KEPT..=KEPT + PRUNED_EVERY).contains(&(now - kept)), "{kept} to {now} are kept");
        assert!(kept > first, "nothing was pruned");
        assert_eq!(kept <= tip, converted_are_left, "{kept} to {now} are kept");
        if converted_are_left {
            stores::compare(node.rpc, said, kept);
        }
        proofs += stores::prove(node.rpc, kept..=now - 1);
        node.stop();
    }
    println!("{} heights of both sides are the same, {proofs} proofs hold", said.len());
}

/// The first version that the application still answers for; every later one it does too.
fn first_answered(node: &Node, tip: u64) -> u64 {
    let mut versions = (1..=tip).rev();
    let gone = versions.find_map(|height| {
        let answer = stores::at(node.rpc, height);
        answer.err().map(|why| (height, why))
    });
    let (height, why) = gone.expect("nothing was pruned");
    assert!(why.contains("pruned"), "{why}");
    height + 1
}

#[test]
fn an_application_lives_on_its_converted_state() {
    for name in archives(HOMES) {
        let known = known_answers(&name);
        let tip = known["last_height"].as_u64().unwrap();
        let unconverted = unpack(&name);
        let mut node = stands_still(&unconverted);
        node.wait_for_height(tip);
        let said = stores::over(node.rpc, first_version(&known)..=tip);
        node.stop();
        stores::compare_with_answers(&said, &known);

        let home = unpack(&name);
        converts(&home);
        lives_on(&home, &known, &said, &known["abci_info"]);
    }
}

#[test]
fn an_application_lives_on_its_converted_state_of_both_forms() {
    for name in archives(HOMES) {
        let known = known_answers(&name);
        let tip = known["last_height"].as_u64().unwrap();
        let home = unpack(&name);
        makes_a_block_every(&home, "30ms");
        let mut node = Node::start(&home);
        node.wait_for_height(tip + MIXED_BLOCKS);
        node.stop();
        assert!(records(&home, "iavl_legacy_node") > 0 && records(&home, "iavl_node") > 0);
        let mut node = stands_still(&home);
        let tip = node.wait_for_height(tip + MIXED_BLOCKS);
        let said = stores::over(node.rpc, first_version(&known)..=tip);
        let info = app_info(&node);
        node.stop();

        converts(&home);
        lives_on(&home, &known, &said, &info);
    }
}

/// What is known of heights from `first` on.
fn known_from(known: &Value, first: u64) -> Value {
    let mut known = known.clone();
    let balances = known["balances"].as_object_mut().unwrap();
    balances.retain(|height, _| height.parse::<u64>().unwrap() >= first);
    known
}

#[test]
fn an_application_lives_on_the_last_versions_of_its_state() {
    for name in archives(HOMES) {
        let known = known_answers(&name);
        let tip = known["last_height"].as_u64().unwrap();
        let unconverted = unpack(&name);
        let mut node = stands_still(&unconverted);
        node.wait_for_height(tip);
        let first = tip - LAST_VERSIONS + 1;
        assert!(first_version(&known) < first, "there is nothing to leave out");
        let mut said = stores::over(node.rpc, first_version(&known)..=tip);
        node.stop();
        said.retain(|version, _| *version >= first);

        let home = unpack(&name);
        let (way, kept) = (way(), LAST_VERSIONS.to_string());
        let way: Vec<&str> = way.iter().map(String::as_str).collect();
        let way = [&way[..], &["--keep-versions", &kept]].concat();
        let before = home.contents();
        transload("migrate", &home, &way);
        transload("rollback", &home, &["--yes"]);
        assert!(home.contents() == before, "not every byte came back");
        transload("migrate", &home, &way);
        let mut node = stands_still(&home);
        let now = node.wait_for_height(tip);
        assert_eq!(first_answered(&node, now), first, "it answers for what was left out");
        node.stop();
        lives_on(&home, &known_from(&known, first), &said, &known["abci_info"]);
    }
}

#[test]
fn an_application_lives_and_prunes_on_a_state_without_what_no_version_reached() {
    for name in archives(HOMES) {
        let known = known_answers(&name);
        let tip = known["last_height"].as_u64().unwrap();
        let home = unpack(&name);
        makes_a_block_every(&home, "30ms");
        let mut node = Node::start(&home);
        node.wait_for_height(tip + MIXED_BLOCKS);
        node.stop();
        let mut node = stands_still(&home);
        let tip = node.wait_for_height(tip + MIXED_BLOCKS);
        let said = stores::over(node.rpc, first_version(&known)..=tip);
        let info = app_info(&node);
        node.stop();
        let tables = ["iavl_legacy_node", "iavl_orphan", "iavl_node"];
        let clean = tables.map(|table| records(&home, table));
        assert!(clean.iter().all(|records| *records > 0), "both forms are there: {clean:?}");
        litter(&home.path(), &[Form::Old, Form::New]);
        assert_ne!(tables.map(|table| records(&home, table)), clean);

        let before = home.contents();
        transload("migrate", &home, &["--drop-orphans", "--yes"]);
        transload("rollback", &home, &["--yes"]);
        assert!(home.contents() == before, "not every byte came back");
        transload("migrate", &home, &["--drop-orphans", "--yes"]);
        assert_eq!(tables.map(|table| records(&home, table)), clean);
        let mut node = stands_still(&home);
        node.wait_for_height(tip);
        assert_eq!(app_info(&node), info, "what the app says of itself");
        stores::compare(node.rpc, &said, first_version(&known));
        node.stop();

        prunes(&home);
        makes_a_block_every(&home, "30ms");
        let mut node = Node::start(&home);
        let now = node.wait_for_height(tip + KEPT + 2 * PRUNED_EVERY);
        node.stop();
        let mut node = stands_still(&home);
        let now = node.wait_for_height(now);
        let kept = first_answered(&node, now);
        assert!(kept > tip, "versions of the old form are still there: {kept} to {now}");
        stores::prove(node.rpc, kept..=now - 1);
        node.stop();
        transload("verify", &home, &[]);
    }
}

#[test]
fn a_node_of_the_old_form_that_a_new_one_needs_is_missed_by_its_name() {
    let name = archives(HOMES).swap_remove(0);
    let tip = known_answers(&name)["last_height"].as_u64().unwrap();
    let home = unpack(&name);
    makes_a_block_every(&home, "30ms");
    let mut node = Node::start(&home);
    node.wait_for_height(tip + MIXED_BLOCKS);
    node.stop();
    let lost = loses_a_leaf(&home.path().join("data/application.db"));
    let before = home.contents();
    let way = way();
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    let refused = call("migrate", &home, &way);
    assert_eq!(refused.code, Some(4), "{}", refused.said);
    for words in ["store bank", &lost, "isn't there"] {
        assert!(refused.said.contains(words), "no word of {words}: {}", refused.said);
    }
    assert!(home.contents() == before, "the home was changed");
}

/// Removes a leaf of the old form from the store of balances and answers its name.
fn loses_a_leaf(database: &Path) -> String {
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    let engines = BuiltIn::new(BuiltInConfig { gostore_helper: helper });
    let driver = engines.driver(Engine::Goleveldb).unwrap();
    let options = TargetOptions { space: None, memory_bytes_max: 64 << 20 };
    let store = driver.reopen_target(database, &options).unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::prefix(b"s/k:bank/n")).unwrap();
    let key = loop {
        let (key, value) = scan.next().unwrap().expect("the store has a leaf of the old form");
        if value.first() == Some(&0) {
            break key.to_vec();
        }
    };
    drop(scan);
    drop(snapshot);
    let mut batch = WriteBatch::new();
    batch.delete(&key);
    store.write(&batch, Durability::Synced).unwrap();
    store.close().unwrap();
    hex::encode(&key[b"s/k:bank/n".len()..])
}
