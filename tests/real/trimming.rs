//! Nodes on homes of which something was left out: they start, serve what is kept and make blocks.

use crate::answers;
use crate::home::{NodeHome, known_answers};
use crate::node::{Node, Software};
use crate::program::transload;
use serde_json::{Value, json};
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
