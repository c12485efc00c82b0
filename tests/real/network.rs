//! A running network of validators on loopback.

use crate::home::NodeHome;
use crate::node::{Node, Software};
use crate::rpc::Rpc;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A hundred blocks take a few seconds; machines that build something beside are slower.
const SIGNATURES_MAX: Duration = Duration::from_secs(300);

const PAUSE: Duration = Duration::from_millis(50);

/// A validator of the network.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its home.
    pub(crate) home: NodeHome,
    /// Its address, in hex.
    pub(crate) address: String,
    node: Option<Node>,
}

impl Member {
    /// Starts its node.
    pub(crate) fn start(&mut self) {
        self.node = Some(Node::start(&self.home));
    }

    /// Stops its node.
    pub(crate) fn stop(&mut self) {
        self.node.take().expect("it runs").stop();
    }

    /// Waits until its node has reached a height.
    pub(crate) fn wait_for_height(&mut self, height: u64) -> u64 {
        self.node.as_mut().expect("it runs").wait_for_height(height)
    }

    /// Where its node answers.
    pub(crate) fn rpc(&self) -> Rpc {
        self.node.as_ref().expect("it runs").rpc
    }
}

/// A network whose validators have equal power.
#[derive(Debug)]
pub(crate) struct Network {
    /// The validators.
    pub(crate) members: Vec<Member>,
}

impl Network {
    /// Makes a validator for each pair of an app (`proxy_app`) and an engine (`db_backend`) and
    /// starts all.
    pub(crate) fn start(software: Software, validators: &[(&str, &str)]) -> Self {
        let homes = NodeHome::network(software, validators.len());
        let mut members: Vec<Member> = homes
            .into_iter()
            .zip(validators)
            .map(|(home, (app, engine))| {
                home.edit_config(|config| {
                    config["proxy_app"] = toml_edit::value(*app);
                    config["db_backend"] = toml_edit::value(*engine);
                });
                let address = address(&home);
                Member { home, address, node: None }
            })
            .collect();
        members.iter_mut().for_each(Member::start);
        for member in &mut members {
            member.wait_for_height(3);
        }
        Self { members }
    }

    /// Waits until the chain has so many commits above a height that carry a validator's
    /// signature, as another validator answers. Answers the last of them.
    pub(crate) fn wait_for_signatures(&self, whose: usize, above: u64, count: u64) -> u64 {
        let (address, observer) = (&self.members[whose].address, self.observer(whose));
        let began = Instant::now();
        let (mut height, mut found) = (above, 0);
        while found < count {
            // The commit of the tip isn't settled until the next block has it.
            while height + 1 >= observer.height().unwrap() {
                let waited = began.elapsed();
                assert!(waited < SIGNATURES_MAX, "{found} signatures up to height {height}");
                std::thread::sleep(PAUSE);
            }
            height += 1;
            let commit = observer.call("commit", &json!({"height": height.to_string()})).unwrap();
            let signatures = commit["signed_header"]["commit"]["signatures"].as_array().unwrap();
            let signed = |sig: &&Value| {
                sig["block_id_flag"] == 2 && sig["validator_address"] == address.as_str()
            };
            found += u64::from(signatures.iter().any(|sig| signed(&sig)));
            assert!(began.elapsed() < SIGNATURES_MAX, "{found} signatures up to height {height}");
        }
        height
    }

    /// A validator that runs, other than this one.
    pub(crate) fn observer(&self, whose: usize) -> Rpc {
        self.members[(whose + 1) % self.members.len()].rpc()
    }

    /// No block of the chain has evidence of a misbehaviour. Answers the number of blocks.
    pub(crate) fn no_block_has_evidence(&self, rpc: Rpc) -> u64 {
        let tip = rpc.height().unwrap();
        for height in 1..=tip {
            let block = rpc.call("block", &json!({"height": height.to_string()})).unwrap();
            let evidence = &block["block"]["evidence"]["evidence"];
            let none = evidence.is_null() || evidence.as_array().is_some_and(Vec::is_empty);
            assert!(none, "evidence at height {height}: {evidence}");
        }
        tip
    }
}

/// The address of the validator whose key a home has.
fn address(home: &NodeHome) -> String {
    let key = std::fs::read(home.path().join("config/priv_validator_key.json")).unwrap();
    let key: Value = serde_json::from_slice(&key).unwrap();
    key["address"].as_str().unwrap().to_owned()
}
