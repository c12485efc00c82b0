//! Homes that a node's own releases and commands have changed: upgraded, and rolled back.

use crate::home::NodeHome;
use crate::node::{Node, Software};
use crate::program::{migrate, stands_on, transload};
use crate::signer::last_signed;
use std::process::Command;

/// Blocks that each release makes.
const BLOCKS: u64 = 5;

/// How often a node is made until one stops with nothing signed above its last block.
const TRIES_MAX: u32 = 10;

/// Makes a home with some blocks, and stops its node.
fn made_by(software: Software) -> NodeHome {
    let home = NodeHome::create(software);
    set_up(&home);
    goes_on(&home);
    home
}

/// One whose signer isn't ahead of its last block: with a block taken away it would be two ahead,
/// as if blocks were missing.
fn at_rest(software: Software) -> NodeHome {
    for _ in 0..TRIES_MAX {
        let home = made_by(software);
        let last = transload("verify", &home, &[])["height_last"].as_str().unwrap().to_owned();
        if last_signed(&home).height <= last.parse().unwrap() {
            return home;
        }
    }
    panic!("each of {TRIES_MAX} nodes had signed above its last block");
}

fn set_up(home: &NodeHome) {
    home.edit_config(|config| {
        config["proxy_app"] = toml_edit::value("noop");
        config["db_backend"] = toml_edit::value("goleveldb");
        config["consensus"]["timeout_commit"] = toml_edit::value("50ms");
    });
}

/// Starts its node, lets it make some blocks, and stops it.
fn goes_on(home: &NodeHome) {
    let mut node = Node::start(home);
    let begun = node.wait_for_height(1);
    node.wait_for_height(begun + BLOCKS);
    node.stop();
}

/// Data, genesis file and signer of an older release, under the config files of a newer one.
fn upgraded(old: &NodeHome, software: Software) -> NodeHome {
    let home = NodeHome::create(software);
    set_up(&home);
    std::fs::remove_dir_all(home.path().join("data")).unwrap();
    std::fs::rename(old.path().join("data"), home.path().join("data")).unwrap();
    for name in ["genesis.json", "priv_validator_key.json"] {
        let to = home.path().join("config").join(name);
        std::fs::copy(old.path().join("config").join(name), to).unwrap();
    }
    home
}

#[test]
fn a_home_that_went_on_with_cometbft_1_is_verified_and_moves() {
    let home = upgraded(&made_by(Software::CometBft038), Software::CometBft1);
    goes_on(&home);
    let told = transload("verify", &home, &[]).to_string();
    assert!(told.contains("releases from 1.0 on leave those of their predecessor"), "{told}");
    migrate(&home, "pebble1");
    stands_on(&home, "pebble1");
    goes_on(&home);
    transload("verify", &home, &[]);
}

#[test]
fn a_home_whose_node_was_rolled_back_by_a_block_is_verified_and_moves() {
    for hard in [false, true] {
        let home = at_rest(Software::CometBft038);
        let mut back = Command::new(home.software.program());
        back.arg("rollback").arg("--home").arg(home.path());
        if hard {
            back.arg("--hard");
        }
        let done = back.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let told = transload("verify", &home, &[]).to_string();
        assert_eq!(told.contains("rolled back by a block, with the block removed"), hard, "{told}");
        migrate(&home, "pebble1");
        stands_on(&home, "pebble1");
    }
}
