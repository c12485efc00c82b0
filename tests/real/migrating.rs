//! What the node software answers on homes that transload has carried to another engine.

use crate::home::{NodeHome, known_answers};
use crate::node::{Node, Software};
use crate::program::{call, migrate, stands_on, transload};
use crate::sdk::SdkChain;
use crate::{answers, bank, chain};
use serde_json::json;
use std::process::Command;

/// A node that makes a block every 60 milliseconds is caught between two of its writes soon.
const VERIFIED_WHILE_RUNNING: usize = 10;

/// Carries a home of a node with peers (which makes no blocks alone) from engine to engine and
/// asks its node about everything each time.
fn serves_after_every_move(name: &str, software: Software, engines: &[&str]) {
    let ways: Vec<[&str; 2]> = engines.iter().map(|engine| ["--to", *engine]).collect();
    let ways: Vec<&[&str]> = ways.iter().map(|way| &way[..]).collect();
    let home = serves_after_every_way(name, software, &ways);
    stands_on(&home, engines.last().unwrap());
}

/// As above, by the options of each migration. The root is the same as long as no node writes.
fn serves_after_every_way(name: &str, software: Software, ways: &[&[&str]]) -> NodeHome {
    let home = NodeHome::unpack(name, software);
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    for way in ways {
        let root = transload("root", &home, &[])["dataset_root"].clone();
        transload("migrate", &home, &[way, &["--yes"][..]].concat());
        assert_eq!(transload("root", &home, &[])["dataset_root"], root, "{way:?}");
        let mut node = Node::start(&home);
        assert_eq!(node.wait_for_height(tip), tip);
        answers::compare(node.rpc, &known);
        answers::compare_app(node.rpc, &known);
        answers::compare_by_hash(node.rpc, &known);
        node.stop();
        // The node has written since; what the chain signed still holds.
        transload("verify", &home, &[]);
        transload("finalize", &home, &["--yes"]);
    }
    home
}

#[test]
fn cometbft_0_38_serves_its_home_on_pebble_and_back_on_goleveldb() {
    serves_after_every_move(
        "cometbft-0.38-kvstore",
        Software::CometBft038,
        &["pebble1", "goleveldb"],
    );
}

#[test]
fn cometbft_1_serves_its_home_on_goleveldb_and_back_on_pebble() {
    serves_after_every_move("cometbft-1-pebble-v2", Software::CometBft1, &["goleveldb", "pebble1"]);
}

#[test]
fn cometbft_1_serves_its_home_in_both_key_layouts_on_both_engines() {
    let ways: [&[&str]; 4] = [
        &["--layout", "v1"],
        &["--layout", "v2", "--to", "goleveldb"],
        &["--layout", "v1", "--to", "pebble1"],
        &["--layout", "v2"],
    ];
    let home = serves_after_every_way("cometbft-1-pebble-v2", Software::CometBft1, &ways);
    lies_in(&home, "v2");
}

#[test]
fn a_new_chain_makes_blocks_in_the_other_key_layout_and_in_the_old_one_again() {
    let (home, mut pairs) = chain::make(Software::CometBft1, 12);
    lies_in(&home, "v1");
    for (way, layout) in [
        (&["--layout", "v2"][..], "v2"),
        (&["--layout", "v1", "--to", "goleveldb"], "v1"),
        (&["--layout", "v2", "--to", "pebble1"], "v2"),
        (&["--layout", "v1"], "v1"),
    ] {
        transload("migrate", &home, &[way, &["--yes"][..]].concat());
        lies_in(&home, layout);
        let mut node = Node::start(&home);
        let tip = node.wait_for_height(1);
        let pair = (format!("in {layout} {}", pairs.len()), "moved".to_owned());
        chain::write(node.rpc, &pair);
        pairs.push(pair);
        let now = node.wait_for_height(tip + 3);
        chain::compare_pairs(node.rpc, &pairs);
        answers::compare_by_hash(node.rpc, &answers::collect(node.rpc, now));
        node.stop();
        transload("verify", &home, &[]);
        transload("finalize", &home, &["--yes"]);
        lies_in(&home, layout);
    }
}

#[test]
fn a_home_rolled_back_from_another_key_layout_is_served_from_the_old_databases() {
    let name = "cometbft-1-pebble-v2";
    let home = NodeHome::unpack(name, Software::CometBft1);
    let known = known_answers(name);
    let (before, tip) = (home.contents(), known["last_height"].as_u64().unwrap());
    transload("migrate", &home, &["--layout", "v1", "--yes"]);
    transload("rollback", &home, &["--yes"]);
    assert!(home.contents() == before, "not every byte came back");
    let mut node = Node::start(&home);
    assert_eq!(node.wait_for_height(tip), tip);
    answers::compare(node.rpc, &known);
    node.stop();
}

/// Every store that has both layouts is in this one, and the setting says the same.
fn lies_in(home: &NodeHome, layout: &str) {
    let document = transload("inspect", home, &["--quick"]);
    for name in ["blockstore.db", "state.db", "evidence.db"] {
        let mut databases = document["databases"].as_array().unwrap().iter();
        let found = databases.find(|one| one["name"] == name).unwrap()["layout"].as_str().unwrap();
        assert!(found.ends_with(layout), "{name} is in {found}");
    }
    let notices = document["notices"].to_string();
    assert!(!notices.contains("experimental_db_key_layout"), "{notices}");
}

#[test]
fn an_sdk_app_goes_on_with_its_state_on_pebble_and_its_blocks_on_goleveldb() {
    let name = "cosmos-simapp";
    let home = NodeHome::unpack(name, Software::Simapp);
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    let app = ["--only", "application.db", "--only", "snapshots/metadata.db"];
    transload("migrate", &home, &[&["--to", "pebble1", "--yes"], &app[..]].concat());
    let mut node = Node::start(&home);
    node.wait_for_height(tip + 3);
    chain::compare_link(node.rpc, tip, &known["heights"][tip.to_string()]["block_hash"]);
    answers::compare(node.rpc, &known);
    assert!(bank::compare_balances(node.rpc, &known) > 0, "no balance is known");
    node.stop();
    let verified = transload("verify", &home, &[]);
    assert!(verified["height_last"].as_str().unwrap().parse::<u64>().unwrap() > tip);
}

#[test]
fn a_new_sdk_chain_goes_on_on_pebble_with_every_balance_that_it_ever_had() {
    let chain = SdkChain::create();
    let mut node = Node::start(&chain.home);
    node.wait_for_height(2);
    for _ in 0..5 {
        chain.transfer(&mut node);
    }
    let tip = node.rpc.height().unwrap();
    let known = answers::collect(node.rpc, tip);
    let balance =
        |node: &Node, height: u64| bank::balance(node.rpc, &chain.receiver, &height.to_string());
    let balances: Vec<Vec<u8>> = (2..=tip).map(|height| balance(&node, height)).collect();
    assert!(balances.first() != balances.last(), "no transfer arrived");
    node.stop();
    for engine in ["pebble1", "goleveldb"] {
        migrate(&chain.home, engine);
        stands_on(&chain.home, engine);
        let mut node = Node::start(&chain.home);
        node.wait_for_height(tip + 1);
        answers::compare(node.rpc, &known);
        for (height, known) in (2..).zip(&balances) {
            assert_eq!(&balance(&node, height), known, "balance at height {height}");
        }
        chain.transfer(&mut node);
        let now = node.rpc.height().unwrap();
        assert!(Some(&balance(&node, now)) != balances.last(), "the transfer did not arrive");
        node.stop();
        transload("verify", &chain.home, &[]);
        transload("finalize", &chain.home, &["--yes"]);
    }
}

#[test]
fn a_new_chain_makes_blocks_with_transactions_on_its_new_engine() {
    let (home, mut pairs) = chain::make(Software::CometBft038, 25);
    migrate(&home, "pebble1");
    stands_on(&home, "pebble1");
    let mut node = Node::start(&home);
    let tip = node.wait_for_height(25);
    let status = node.rpc.call("status", &json!({})).unwrap();
    assert_eq!(status["sync_info"]["catching_up"], false);
    let pair = ("after".to_owned(), "the move".to_owned());
    chain::write(node.rpc, &pair);
    pairs.push(pair);
    node.wait_for_height(tip + 2);
    chain::compare_pairs(node.rpc, &pairs);
    // All of these look at the databases while the node goes on writing one after the other.
    for _ in 0..VERIFIED_WHILE_RUNNING {
        transload("verify", &home, &[]);
    }
    let rpc = format!("http://127.0.0.1:{}", home.rpc_port);
    let waited = transload("status", &home, &["--wait", "--rpc", &rpc, "--timeout", "60"]);
    let checks = waited["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["checked"] != "0"), "{waited}");
    assert!(checks.iter().all(|check| check["failed"] == "0"), "{waited}");
    transload("finalize", &home, &["--yes"]);
    let seen = node.rpc.height().unwrap();
    node.wait_for_height(seen + 2);
    node.stop();
    transload("verify", &home, &[]);
}

/// The node's databases of a chain that a kvstore node has made.
const NODE_DATABASES: [&str; 4] = ["blockstore", "state", "evidence", "tx_index"];

#[test]
fn a_new_chain_goes_on_on_bbolt_and_comes_back_to_goleveldb() {
    let (home, mut pairs) = chain::make(Software::CometBft038, 12);
    let mut tip = 12;
    for engine in ["bbolt", "goleveldb"] {
        transload("migrate", &home, &["--to", engine, "--accept-weaker", "checksummed", "--yes"]);
        stands_on(&home, engine);
        let mut node = Node::start(&home);
        tip = node.wait_for_height(tip + 2);
        let pair = (format!("after {engine}"), "the move".to_owned());
        chain::write(node.rpc, &pair);
        pairs.push(pair);
        tip = node.wait_for_height(tip + 2);
        chain::compare_pairs(node.rpc, &pairs);
        node.stop();
        transload("verify", &home, &[]);
        transload("finalize", &home, &["--yes"]);
    }
}

#[test]
fn a_new_chain_goes_on_on_badgerdb_that_its_databases_were_converted_to() {
    let (home, mut pairs) = chain::make(Software::CometBft038, 12);
    let data = home.path().join("data");
    for name in NODE_DATABASES {
        let (from, to) = (data.join(format!("{name}.db")), data.join(name));
        let mut convert = Command::new(env!("CARGO_BIN_EXE_transload"));
        let done = convert.arg("convert").arg(&from).arg(&to).args(["--to", "badgerdb"]).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        std::fs::remove_dir_all(from).unwrap();
    }
    home.edit_config(|config| config["db_backend"] = toml_edit::value("badgerdb"));
    let mut node = Node::start(&home);
    let tip = node.wait_for_height(14);
    let pair = ("after the move".to_owned(), "on badgerdb".to_owned());
    chain::write(node.rpc, &pair);
    pairs.push(pair);
    node.wait_for_height(tip + 2);
    chain::compare_pairs(node.rpc, &pairs);
    node.stop();
    stands_on(&home, "badgerdb");
    transload("verify", &home, &[]);
}

#[test]
fn a_rolled_back_home_is_served_from_the_old_databases() {
    let name = "cometbft-0.38-kvstore";
    let home = NodeHome::unpack(name, Software::CometBft038);
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    migrate(&home, "pebble1");
    transload("rollback", &home, &["--yes"]);
    stands_on(&home, "goleveldb");
    let mut node = Node::start(&home);
    assert_eq!(node.wait_for_height(tip), tip);
    answers::compare(node.rpc, &known);
    node.stop();
}

#[test]
fn a_running_node_keeps_its_home_and_goes_on() {
    let name = "cosmos-simapp";
    let home = NodeHome::unpack(name, Software::Simapp);
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    let mut node = Node::start(&home);
    node.wait_for_height(tip + 1);
    // Reading works while the node writes.
    let read = transload("inspect", &home, &[]);
    assert!(read["height_last"].as_str().unwrap().parse::<u64>().unwrap() >= tip);
    // This node's library for its own databases knows no Pebble.
    let only = ["--only", "application.db", "--only", "snapshots/metadata.db"];
    let refused = call("migrate", &home, &[&["--to", "pebble1", "--yes"], &only[..]].concat());
    let said = refused.said;
    assert_eq!(refused.code, Some(3), "{said}");
    assert!(said.contains(&node.process_id().to_string()), "the holder isn't named: {said}");
    let seen = node.rpc.height().unwrap();
    node.wait_for_height(seen + 2);
    node.stop();
    stands_on(&home, "goleveldb");
}
