//! Compares what a node says over RPC with what the node that wrote the home said.

use crate::rpc::{Rpc, number};
use serde_json::{Value, json};

/// Fields of a height's answer that are the header's own.
const HEADER_FIELDS: [(&str, &str); 9] = [
    ("time", "time"),
    ("app_hash", "app_hash"),
    ("data_hash", "data_hash"),
    ("validators_hash", "validators_hash"),
    ("next_validators_hash", "next_validators_hash"),
    ("last_commit_hash", "last_commit_hash"),
    ("last_results_hash", "last_results_hash"),
    ("evidence_hash", "evidence_hash"),
    ("proposer", "proposer_address"),
];

/// Asks for everything that is known about a home and fails at the first difference.
///
/// Answers the number of heights that were compared.
pub(crate) fn compare(rpc: Rpc, answers: &Value) -> usize {
    let status = rpc.call("status", &json!({})).unwrap();
    assert_eq!(status["node_info"]["network"], answers["chain_id"]);
    let heights = answers["heights"].as_object().unwrap();
    assert!(!heights.is_empty(), "answers about no height prove nothing");
    for (height, known) in heights {
        compare_height(rpc, height, known);
    }
    for set in answers["validator_sets"].as_array().unwrap() {
        compare_validators(rpc, set);
    }
    compare_transactions(rpc, answers["sample_txs"].as_array().unwrap());
    heights.len()
}

/// The app's own height and hash, as long as no new block was made.
pub(crate) fn compare_app(rpc: Rpc, answers: &Value) {
    let info = rpc.call("abci_info", &json!({})).unwrap();
    assert_eq!(info["response"], answers["abci_info"], "what the app says of itself");
}

fn compare_height(rpc: Rpc, height: &str, known: &Value) {
    let block = rpc.call("block", &json!({"height": height})).unwrap();
    let header = &block["block"]["header"];
    assert_eq!(header["height"], height);
    for (ours, theirs) in HEADER_FIELDS {
        assert_eq!(header[theirs], known[ours], "{ours} of height {height}");
    }
    let id = &block["block_id"];
    assert_eq!(id["hash"], known["block_hash"], "hash of height {height}");
    assert_eq!(id["parts"]["total"], known["part_total"], "parts of height {height}");
    assert_eq!(id["parts"]["hash"], known["part_hash"], "part hash of height {height}");
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    assert_eq!(count(&block["block"]["data"]["txs"]), known["num_txs"], "txs of height {height}");
    let evidence = count(&block["block"]["evidence"]["evidence"]);
    assert_eq!(evidence, known["num_evidence"], "evidence of height {height}");

    let commit = rpc.call("commit", &json!({"height": height})).unwrap();
    if commit["canonical"] != known["commit_canonical"] {
        // A chain that went on has replaced the node's own commit of its tip.
        assert_eq!(commit["canonical"], true, "commit of height {height}");
        return;
    }
    let commit = &commit["signed_header"]["commit"];
    assert_eq!(commit["round"], known["commit_round"], "commit round of height {height}");
    let flags: Vec<u64> = commit["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|signature| signature["block_id_flag"].as_u64().unwrap())
        .collect();
    let with = |flag| flags.iter().filter(|&&seen| seen == flag).count();
    assert_eq!(flags.len(), known["sigs_total"], "signatures of height {height}");
    assert_eq!(with(1), known["sigs_absent"], "absent signatures of height {height}");
    assert_eq!(with(2), known["sigs_for_block"], "signatures for the block of height {height}");
    assert_eq!(with(3), known["sigs_nil"], "signatures for nil of height {height}");
}

fn compare_validators(rpc: Rpc, set: &Value) {
    let height = set["from_height"].as_u64().unwrap().to_string();
    let answer =
        rpc.call("validators", &json!({"height": height, "page": "1", "per_page": "100"})).unwrap();
    let validators: Vec<Value> = answer["validators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| json!({"address": v["address"], "pub_key": v["pub_key"], "power": v["voting_power"]}))
        .collect();
    assert_eq!(Value::from(validators), set["validators"], "validators of height {height}");
}

fn compare_transactions(rpc: Rpc, transactions: &[Value]) {
    for known in transactions {
        let hash = known["hash"].as_str().unwrap();
        let query = json!({"query": format!("tx.hash='{hash}'")});
        let found = rpc.call("tx_search", &query).unwrap();
        let found = &found["txs"][0];
        assert_eq!(found["hash"], hash);
        assert_eq!(number(&found["height"]).unwrap(), known["height"], "height of tx {hash}");
        assert_eq!(found["index"], known["index"], "index of tx {hash}");
    }
}
