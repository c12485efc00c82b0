//! A new chain of the SDK app with one validator and some transfers.

use crate::home::NodeHome;
use crate::node::{Node, Software};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const CHAIN: &str = "real-1";

/// A chain that was made new, and the keys of its accounts.
#[derive(Debug)]
pub(crate) struct SdkChain {
    /// Its node's home.
    pub(crate) home: NodeHome,
    /// The account that receives every transfer.
    pub(crate) receiver: String,
    sender: String,
    keys: PathBuf,
}

impl SdkChain {
    /// Makes the home, the accounts and the genesis.
    pub(crate) fn create() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (home, keys) = (folder.path().join("home"), folder.path().join("keys"));
        let in_home = ["--home", home.to_str().unwrap()];
        let keyring = ["--keyring-backend", "test", "--keyring-dir", keys.to_str().unwrap()];
        let run = |words: &[&str], more: &[&[&str]]| app(&[words, &more.concat()].concat());
        run(&["init", "node", "--chain-id", CHAIN], &[&in_home]);
        let [sender, receiver] = ["sender", "receiver"].map(|name| {
            run(&["keys", "add", name], &[&keyring, &in_home]);
            run(&["keys", "show", name, "-a"], &[&keyring, &in_home]).trim().to_owned()
        });
        let account = ["genesis", "add-genesis-account", &sender, "1000000000000stake"];
        run(&account, &[&in_home]);
        let stake = ["genesis", "gentx", "sender", "500000000000stake", "--chain-id", CHAIN];
        run(&stake, &[&keyring, &in_home]);
        run(&["genesis", "collect-gentxs"], &[&in_home]);
        let home = NodeHome::alone(folder, Software::Simapp);
        home.edit_config(|config| {
            config["consensus"]["timeout_commit"] = toml_edit::value("100ms");
        });
        home.edit_app_config(|config| {
            config["minimum-gas-prices"] = toml_edit::value("0stake");
            config["pruning"] = toml_edit::value("nothing");
        });
        Self { home, receiver, sender, keys }
    }

    /// Sends one coin and waits for the block that has it.
    pub(crate) fn transfer(&self, node: &mut Node) {
        let said = app(&[
            "tx",
            "bank",
            "send",
            &self.sender,
            &self.receiver,
            "1stake",
            "--node",
            &format!("tcp://127.0.0.1:{}", node.rpc.port),
            "--chain-id",
            CHAIN,
            "--keyring-backend",
            "test",
            "--keyring-dir",
            self.keys.to_str().unwrap(),
            "--home",
            self.home.path().to_str().unwrap(),
            "--broadcast-mode",
            "sync",
            "--output",
            "json",
            "--yes",
        ]);
        let outcome: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(outcome["code"], 0, "{said}");
        let height = node.rpc.height().unwrap();
        node.wait_for_height(height + 2);
    }
}

/// Runs the app's command line and answers what it prints.
fn app(words: &[&str]) -> String {
    // It leaves a folder among temporary files each time.
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new(Software::Simapp.program());
    let output = command.args(words).env("TMPDIR", scratch.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
