//! What the node software answers on homes as they were written: the measure for all else.

use crate::home::{NodeHome, known_answers};
use crate::node::{Node, Software};
use crate::{answers, bank, chain};

fn serves(name: &str, software: Software) {
    let home = NodeHome::unpack(name, software);
    let known = known_answers(name);
    let mut node = Node::start(&home);
    let tip = known["last_height"].as_u64().unwrap();
    assert_eq!(node.wait_for_height(tip), tip);
    answers::compare(node.rpc, &known);
    answers::compare_app(node.rpc, &known);
    node.stop();
}

#[test]
fn cometbft_0_38_serves_the_home_that_it_wrote() {
    serves("cometbft-0.38-kvstore", Software::CometBft038);
}

#[test]
fn cometbft_1_serves_the_home_that_it_wrote() {
    serves("cometbft-1-pebble-v2", Software::CometBft1);
}

#[test]
fn an_sdk_app_serves_the_home_that_it_wrote_and_makes_new_blocks() {
    let name = "cosmos-simapp";
    let home = NodeHome::unpack(name, Software::Simapp);
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    let mut node = Node::start(&home);
    node.wait_for_height(tip + 2);
    chain::compare_link(node.rpc, tip, &known["heights"][tip.to_string()]["block_hash"]);
    answers::compare(node.rpc, &known);
    assert!(bank::compare_balances(node.rpc, &known) > 0, "no balance is known");
    node.stop();
}

#[test]
fn a_new_chain_keeps_its_pairs_over_a_restart() {
    let (home, pairs) = chain::make(Software::CometBft038, 10);
    let mut node = Node::start(&home);
    node.wait_for_height(11);
    chain::compare_pairs(node.rpc, &pairs);
    node.stop();
}
