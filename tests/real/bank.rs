//! Balances at past heights: only an application database with all its versions can answer.

use crate::rpc::Rpc;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Asks the SDK app for every balance that is known and answers how many were compared.
pub(crate) fn compare_balances(rpc: Rpc, answers: &Value) -> usize {
    let mut compared = 0;
    for (height, accounts) in answers["balances"].as_object().unwrap() {
        for (address, coins) in accounts.as_object().unwrap() {
            let got = balance(rpc, address, height);
            let expected: Vec<u8> = coins.as_array().unwrap().iter().flat_map(coin).collect();
            // What follows the coins is the page's own count.
            assert!(got.starts_with(&expected), "balance of {address} at height {height}");
            assert_eq!(got.get(expected.len()), Some(&0x12), "more coins of {address} at {height}");
            compared += 1;
        }
    }
    compared
}

/// What the app answers about an account's balance at a height, as it encodes it.
pub(crate) fn balance(rpc: Rpc, address: &str, height: &str) -> Vec<u8> {
    let query = json!({
        "path": "/cosmos.bank.v1beta1.Query/AllBalances",
        "data": hex::encode(field(1, address.as_bytes())),
        "height": height,
        "prove": false,
    });
    let answer = rpc.call("abci_query", &query).unwrap();
    let response = &answer["response"];
    assert_eq!(response["code"], 0, "balance of {address} at height {height}: {response}");
    BASE64_STANDARD.decode(response["value"].as_str().unwrap()).unwrap()
}

fn coin(coin: &Value) -> Vec<u8> {
    let part = |number, name: &str| field(number, coin[name].as_str().unwrap().as_bytes());
    field(1, &[part(1, "denom"), part(2, "amount")].concat())
}

/// One length-delimited protobuf field below 128 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).unwrap();
    [&[number << 3 | 2, length], bytes].concat()
}
