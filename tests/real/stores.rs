//! What an application's stores hold at past heights: asked whole, and proven key by key.

use crate::node::Software;
use crate::rpc::Rpc;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};

/// What every store holds, by height: the number of its keys, their hash, the first and the last.
pub(crate) type Contents = BTreeMap<u64, Value>;

/// Every store at one height, or why the application doesn't say.
pub(crate) fn at(rpc: Rpc, height: u64) -> Result<Value, String> {
    let query = json!({"path": "/contents", "data": "", "height": height.to_string()});
    let answer = rpc.call("abci_query", &query)?;
    let response = &answer["response"];
    if response["code"] != 0 {
        return Err(response["log"].to_string());
    }
    let text = BASE64_STANDARD.decode(response["value"].as_str().unwrap()).unwrap();
    Ok(serde_json::from_slice(&text).unwrap())
}

/// Every store at all of these heights.
pub(crate) fn over(rpc: Rpc, heights: RangeInclusive<u64>) -> Contents {
    heights.map(|height| (height, at(rpc, height).unwrap())).collect()
}

/// Every store holds what it held before, at each height that is known from here on.
pub(crate) fn compare(rpc: Rpc, known: &Contents, from: u64) {
    let rest: Vec<_> = known.range(from..).collect();
    assert!(!rest.is_empty(), "contents of no height prove nothing");
    for (height, contents) in rest {
        assert_eq!(&at(rpc, *height).unwrap(), contents, "contents at height {height}");
    }
}

/// Holds contents against what the chain's own libraries read from the home as it was written.
pub(crate) fn compare_with_answers(contents: &Contents, answers: &Value) {
    let mut compared = 0;
    for (name, store) in answers["app_state"]["stores"].as_object().unwrap() {
        for (version, known) in store["at_versions"].as_object().unwrap() {
            let ours = &contents[&version.parse().unwrap()][name];
            let what = format!("store {name} at version {version}");
            assert_eq!(ours["keys"], known["keys"], "{what}");
            assert_eq!(ours["sha256"], known["sha256_of_len_key_len_value"], "{what}");
            compared += 1;
        }
    }
    assert!(compared > 0, "no store is known");
}

/// Has keys that are there and one that isn't proven for every store and height, against the
/// header above, by the SDK's own verifier. Answers how many proofs it took.
pub(crate) fn prove(rpc: Rpc, heights: RangeInclusive<u64>) -> u64 {
    let mut proofs = Command::new(Software::Successor.program());
    proofs
        .arg("proofs")
        .arg(format!("tcp://127.0.0.1:{}", rpc.port))
        .args([heights.start().to_string(), heights.end().to_string()])
        .stdin(Stdio::null());
    let done = proofs.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let verified = String::from_utf8(done.stdout).unwrap().trim().parse().unwrap();
    assert!(verified >= heights.count() as u64, "only {verified} proofs");
    verified
}
