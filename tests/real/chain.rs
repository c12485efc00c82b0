//! New chains with a single validator, made by the node software itself.

use crate::home::NodeHome;
use crate::node::{Node, Software};
use crate::rpc::Rpc;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Makes a chain with at least this many blocks, one transaction in most of them, and stops it.
///
/// Answers the home and the transactions' keys and values.
pub(crate) fn make(software: Software, blocks: u64) -> (NodeHome, Vec<(String, String)>) {
    let home = NodeHome::create(software);
    let written = make_on(&home, blocks);
    (home, written)
}

/// The same on a new home.
pub(crate) fn make_on(home: &NodeHome, blocks: u64) -> Vec<(String, String)> {
    home.edit_config(|config| {
        config["proxy_app"] = toml_edit::value("persistent_kvstore");
        config["consensus"]["timeout_commit"] = toml_edit::value("50ms");
    });
    let mut node = Node::start(home);
    node.wait_for_height(1);
    let mut written = Vec::new();
    while node.rpc.height().unwrap() < blocks {
        let pair = (format!("key{}", written.len()), format!("value{}", written.len() * 7));
        write(node.rpc, &pair);
        written.push(pair);
    }
    node.stop();
    written
}

/// Puts a pair on the chain and waits for its block.
pub(crate) fn write(rpc: Rpc, (key, value): &(String, String)) {
    let transaction = BASE64_STANDARD.encode(format!("{key}={value}"));
    let outcome = rpc.call("broadcast_tx_commit", &json!({"tx": transaction})).unwrap();
    assert_eq!(outcome["check_tx"]["code"], 0, "{outcome}");
    assert_eq!(outcome["tx_result"]["code"], 0, "{outcome}");
}

/// The app has every pair.
pub(crate) fn compare_pairs(rpc: Rpc, pairs: &[(String, String)]) {
    for (key, value) in pairs {
        let query = json!({"path": "/key", "data": hex::encode(key), "prove": false});
        let answer = rpc.call("abci_query", &query).unwrap();
        assert_eq!(answer["response"]["value"], BASE64_STANDARD.encode(value), "value of {key}");
    }
}

/// The block after the old tip follows from it.
pub(crate) fn compare_link(rpc: Rpc, tip: u64, tip_hash: &Value) {
    let next = rpc.call("block", &json!({"height": (tip + 1).to_string()})).unwrap();
    assert_eq!(next["block"]["header"]["last_block_id"]["hash"], *tip_hash);
}
