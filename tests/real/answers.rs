//! Compares what a node says over RPC with what the node that wrote the home said.

use crate::rpc::{Rpc, number};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

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

/// Every block that is known is found by its hash.
pub(crate) fn compare_by_hash(rpc: Rpc, answers: &Value) {
    for (height, known) in answers["heights"].as_object().unwrap() {
        let hash = hex::decode(known["block_hash"].as_str().unwrap()).unwrap();
        let query = json!({"hash": BASE64_STANDARD.encode(hash)});
        let found = rpc.call("block_by_hash", &query).unwrap();
        assert_eq!(found["block"]["header"]["height"], *height, "block of {height} by its hash");
        assert_eq!(found["block_id"]["hash"], known["block_hash"]);
    }
}

/// The app's own height and hash, as long as no new block was made.
pub(crate) fn compare_app(rpc: Rpc, answers: &Value) {
    let info = rpc.call("abci_info", &json!({})).unwrap();
    assert_eq!(info["response"], answers["abci_info"], "what the app says of itself");
}

/// What the node says of each height from 1 to the tip, in the form of the archived answers.
pub(crate) fn collect(rpc: Rpc, tip: u64) -> Value {
    let status = rpc.call("status", &json!({})).unwrap();
    let heights: Map<String, Value> = (1..=tip)
        .map(|height| height.to_string())
        .map(|height| (height.clone(), of_height(rpc, &height)))
        .collect();
    json!({
        "chain_id": status["node_info"]["network"],
        "heights": heights,
        "validator_sets": [],
        "sample_txs": [],
    })
}

fn compare_height(rpc: Rpc, height: &str, known: &Value) {
    let ours = of_height(rpc, height);
    let was_own = ours["commit_canonical"] != known["commit_canonical"];
    // A chain that went on has replaced the node's own commit of its tip.
    assert!(!was_own || ours["commit_canonical"] == true, "commit of height {height}");
    for (field, known) in known.as_object().unwrap() {
        let about_the_commit = field.starts_with("commit_") || field.starts_with("sigs_");
        if !(was_own && about_the_commit) {
            assert_eq!(&ours[field], known, "{field} of height {height}");
        }
    }
}

fn of_height(rpc: Rpc, height: &str) -> Value {
    let block = rpc.call("block", &json!({"height": height})).unwrap();
    let (id, block) = (&block["block_id"], &block["block"]);
    assert_eq!(block["header"]["height"], height);
    let answer = rpc.call("commit", &json!({"height": height})).unwrap();
    let commit = &answer["signed_header"]["commit"];
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let votes = commit["signatures"].as_array().unwrap();
    let with = |flag| votes.iter().filter(|vote| vote["block_id_flag"] == flag).count();
    let mut ours = json!({
        "block_hash": id["hash"],
        "part_total": id["parts"]["total"],
        "part_hash": id["parts"]["hash"],
        "num_txs": count(&block["data"]["txs"]),
        "num_evidence": count(&block["evidence"]["evidence"]),
        "commit_round": commit["round"],
        "commit_canonical": answer["canonical"],
        "sigs_total": votes.len(),
        "sigs_absent": with(1),
        "sigs_for_block": with(2),
        "sigs_nil": with(3),
    });
    for (field, name) in HEADER_FIELDS {
        ours[field] = block["header"][name].clone();
    }
    ours
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
