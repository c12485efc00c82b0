//! Nodes on homes of which something was left out: they start, serve what is kept and make blocks.

use crate::home::{NodeHome, known_answers};
use crate::node::{Node, Software};
use crate::program::{call, transload};
use crate::sdk::SdkChain;
use crate::{answers, bank, chain};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// The root of a table.
fn root_of(home: &NodeHome, table: &str) -> Value {
    let document = transload("root", home, &[]);
    let mut tables = document["tables"].as_array().unwrap().iter();
    tables.find(|one| one["name"] == table).unwrap()["root"].clone()
}

#[test]
fn a_node_starts_without_its_index_and_its_own_command_rebuilds_what_the_chain_has() {
    let name = "cometbft-0.38-kvstore";
    let home = NodeHome::unpack(name, Software::CometBft038);
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    let tables = ["tx_index/result", "tx_index/height", "tx_index/block"];
    let before = tables.map(|table| root_of(&home, table));
    transload("migrate", &home, &["--drop", "tx_index", "--yes"]);
    let mut node = Node::start(&home);
    assert_eq!(node.wait_for_height(tip), tip);
    let mut without_index = known.clone();
    without_index["sample_txs"] = json!([]);
    answers::compare(node.rpc, &without_index);
    let query = json!({"query": format!("tx.height={}", known["sample_txs"][0]["height"])});
    assert_eq!(node.rpc.call("tx_search", &query).unwrap()["total_count"], "0");
    node.stop();
    let mut rebuild = Command::new(home.software.program());
    let rebuilt = rebuild.args(["reindex-event", "--home"]).arg(home.path()).output().unwrap();
    let said = String::from_utf8_lossy(&rebuilt.stdout);
    assert!(said.contains("event re-index finished"), "{said}");
    // Whatever isn't numbered by the process that wrote it is what it was.
    assert_eq!(tables.map(|table| root_of(&home, table)), before);
    let mut node = Node::start(&home);
    node.wait_for_height(tip);
    answers::compare(node.rpc, &known);
    node.stop();
    transload("verify", &home, &[]);
}

/// A new chain whose evidence is accepted for 3 blocks and 100 ms, with 20 blocks.
fn of_short_memory(software: Software) -> (NodeHome, Vec<(String, String)>) {
    let home = NodeHome::create(software);
    let genesis = home.path().join("config/genesis.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&genesis).unwrap()).unwrap();
    let window = &mut document["consensus_params"]["evidence"];
    window["max_age_num_blocks"] = json!("3");
    window["max_age_duration"] = json!("100000000");
    std::fs::write(&genesis, document.to_string()).unwrap();
    let pairs = chain::make_on(&home, 20);
    (home, pairs)
}

/// Keeps 12 heights; the node serves these and no others, goes on, and prunes nothing that is there.
fn goes_on_with_its_last_heights(software: Software, more: &[&str]) {
    let (home, mut pairs) = of_short_memory(software);
    let mut node = Node::start(&home);
    let tip = node.wait_for_height(20);
    let tip = node.wait_for_height(tip + 10);
    let known = answers::collect(node.rpc, tip);
    // The application's engine keeps what it writes in memory until there is much of it.
    for letter in ["a", "b", "c", "d"] {
        let pair = (format!("many {letter}"), letter.repeat(40 << 10));
        chain::write(node.rpc, &pair);
        pairs.push(pair);
    }
    node.stop();
    let inspected = transload("inspect", &home, &["--quick"]);
    let last: u64 = inspected["height_last"].as_str().unwrap().parse().unwrap();
    let kept = last - tip + 12;
    let kept = kept.to_string();
    let way = [&["--keep-heights", &kept, "--yes"], more].concat();
    transload("migrate", &home, &way);
    let first = tip - 11;
    let mut node = Node::start(&home);
    let now = node.wait_for_height(last + 3);
    let status = node.rpc.call("status", &json!({})).unwrap();
    assert_eq!(status["sync_info"]["earliest_block_height"], first.to_string());
    let below = json!({"height": (first - 1).to_string()});
    assert!(node.rpc.call("block", &below).is_err(), "it serves height {}", first - 1);
    let mut kept = known.clone();
    let heights = kept["heights"].as_object_mut().unwrap();
    heights.retain(|height, _| height.parse::<u64>().unwrap() >= first);
    assert_eq!(answers::compare(node.rpc, &kept), 12);
    answers::compare_by_hash(node.rpc, &kept);
    for height in first..=now {
        let query = json!({"height": height.to_string()});
        assert!(node.rpc.call("validators", &query).is_ok(), "validators of {height}");
        assert!(node.rpc.call("consensus_params", &query).is_ok(), "parameters of {height}");
        let results = node.rpc.call("block_results", &query);
        assert!(height >= now || results.is_ok(), "results of {height}: {results:?}");
    }
    let pair = ("after".to_owned(), "the trim".to_owned());
    chain::write(node.rpc, &pair);
    pairs.push(pair);
    chain::compare_pairs(node.rpc, &pairs);
    node.stop();
    transload("verify", &home, &[]);
}

#[test]
fn cometbft_0_38_starts_with_its_last_heights_serves_them_and_makes_blocks() {
    goes_on_with_its_last_heights(Software::CometBft038, &[]);
    goes_on_with_its_last_heights(Software::CometBft038, &["--to", "pebble1"]);
}

#[test]
fn cometbft_1_starts_with_its_last_heights_in_either_layout_and_makes_blocks() {
    goes_on_with_its_last_heights(Software::CometBft1, &["--layout", "v2"]);
    goes_on_with_its_last_heights(Software::CometBft1, &["--drop", "tx_index"]);
}

/// Whether the application answers for a height.
fn answers_for(node: &Node, address: &str, height: u64) -> bool {
    let query = json!({
        "path": "/cosmos.bank.v1beta1.Query/AllBalances",
        "data": hex::encode([&[0x0a, u8::try_from(address.len()).unwrap()], address.as_bytes()].concat()),
        "height": height.to_string(),
    });
    node.rpc.call("abci_query", &query).is_ok_and(|answer| answer["response"]["code"] == 0)
}

#[test]
fn an_sdk_app_lives_on_the_last_versions_of_its_state_and_prunes_on() {
    let chain = SdkChain::create();
    let mut node = Node::start(&chain.home);
    node.wait_for_height(2);
    for _ in 0..5 {
        chain.transfer(&mut node);
    }
    let tip = node.wait_for_height(12);
    // A block is stored before the application has committed it.
    node.wait_for_height(tip + 1);
    let balance =
        |node: &Node, height: u64| bank::balance(node.rpc, &chain.receiver, &height.to_string());
    let balances: BTreeMap<u64, Vec<u8>> =
        (2..=tip).map(|height| (height, balance(&node, height))).collect();
    node.stop();
    let kept = ["--keep-versions", "8"];
    let plan = transload("plan", &chain.home, &kept);
    let first = plan["plan"]["trim"]["first_version"].as_u64().unwrap();
    assert!(first > 2 && first < tip, "{first} to {tip}");
    let begun = call("migrate", &chain.home, &kept);
    assert_eq!(begun.code, Some(5), "nobody says yes: {}", begun.said);
    // A node that runs in between has more versions, and the first that is kept is the same.
    let mut node = Node::start(&chain.home);
    let tip = node.wait_for_height(tip + 4);
    node.stop();
    transload("resume", &chain.home, &["--yes"]);

    let mut node = Node::start(&chain.home);
    node.wait_for_height(tip + 1);
    for (height, known) in balances.range(first..) {
        assert_eq!(&balance(&node, *height), known, "balance at height {height}");
    }
    assert!(!answers_for(&node, &chain.receiver, first - 1), "it answers for {}", first - 1);
    assert!(answers_for(&node, &chain.receiver, first), "nobody answers for {first}");
    chain.transfer(&mut node);
    let now = node.rpc.height().unwrap();
    node.wait_for_height(now + 1);
    assert!(Some(&balance(&node, now)) != balances.values().last(), "no transfer arrived");
    node.stop();
    transload("verify", &chain.home, &[]);

    chain.home.edit_app_config(|config| {
        config["pruning"] = toml_edit::value("custom");
        config["pruning-keep-recent"] = toml_edit::value("2");
        config["pruning-interval"] = toml_edit::value("10");
    });
    let mut node = Node::start(&chain.home);
    node.wait_for_height(now + 12);
    assert!(!answers_for(&node, &chain.receiver, first), "nothing was pruned");
    chain.transfer(&mut node);
    node.stop();
    transload("verify", &chain.home, &[]);
}
