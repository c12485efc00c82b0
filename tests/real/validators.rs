//! Validators of a running network of four: migrated, rolled back after new blocks, and never
//! found to have signed twice.

use crate::chain;
use crate::network::{Member, Network};
use crate::node::{Node, Software};
use crate::program::{engines, migrate, refuses, stands_on, transload};
use crate::signatures::{Signatures, evidence, signed_by};
use crate::signer::{Watcher, last_signed, state_file};
use std::fs::{self, File};

/// So many blocks a validator signs on its new engine.
const SIGNED: u64 = 100;

/// So many it signs to show that it is back.
const SIGNED_AGAIN: u64 = 10;

/// Stops a validator, migrates it, lets it sign for a hundred blocks, rolls it back, lets it
/// catch up and sign again.
fn there_and_back(network: &mut Network, which: usize, to: &str) {
    let member = &mut network.members[which];
    let from = engines(&member.home);
    member.stop();
    let watcher = Watcher::start(&member.home);
    migrate(&member.home, to);
    stands_on(&member.home, to);
    let at_swap = last_signed(&member.home);
    let before_swap = fs::read(state_file(&member.home)).unwrap();
    member.start();
    network.wait_for_signatures(which, at_swap.height, SIGNED);
    let member = &mut network.members[which];
    member.stop();
    assert!(watcher.end() > SIGNED, "the signer's state was hardly ever written");

    let fence = last_signed(&member.home);
    assert!(fence.height >= at_swap.height + SIGNED);
    refuses_for_a_reason(member, at_swap.height, &before_swap);
    assert_eq!(last_signed(&member.home), fence);
    let watcher = Watcher::start(&member.home);
    transload("rollback", &member.home, &["--yes"]);
    assert_eq!(engines(&member.home), from);
    assert_eq!(last_signed(&member.home), fence, "the signer's state never goes back");
    member.start();
    network.wait_for_signatures(which, fence.height, SIGNED_AGAIN);
    assert!(watcher.end() > 0);
}

/// What forbids the way back, one thing after the other, each put right again.
fn refuses_for_a_reason(member: &Member, height_at_swap: u64, signer_at_swap: &[u8]) {
    let home = &member.home;
    let refuses = |words: &str| refuses("rollback", home, &["--yes"], words);
    let config = home.path().join("config/config.toml");
    let text = fs::read(&config).unwrap();
    home.edit_config(|config| {
        config["priv_validator_laddr"] = toml_edit::value("tcp://127.0.0.1:1");
    });
    refuses("its signer is remote");
    fs::write(&config, text).unwrap();

    let upgrade = home.path().join("data/upgrade-info.json");
    let height = height_at_swap + SIGNED / 2;
    fs::write(&upgrade, format!("{{\"name\":\"v2\",\"height\":{height}}}")).unwrap();
    refuses("software was upgraded since the swap");
    fs::remove_file(upgrade).unwrap();

    let signer = state_file(home);
    let state = fs::read(&signer).unwrap();
    let older = format!("{{\"height\":\"{}\",\"round\":0,\"step\":3}}", height_at_swap + 5);
    fs::write(&signer, older).unwrap();
    refuses("a signature of this node's key from above the signer's state");
    let oldest = format!("{{\"height\":\"{}\",\"round\":0,\"step\":3}}", height_at_swap - 1);
    fs::write(&signer, oldest).unwrap();
    refuses("the signer's state is older than at the swap");
    fs::write(&signer, signer_at_swap).unwrap();
    refuses("from above the signer's state");
    fs::write(&signer, state).unwrap();

    let kept = home.path().join(".transload/attempts/0001/kept/state.db/LOCK");
    let time = fs::metadata(&kept).unwrap().modified().unwrap();
    fs::write(&kept, "somebody").unwrap();
    refuses("not what was kept at the swap");
    fs::write(&kept, "").unwrap();
    File::options().write(true).open(&kept).unwrap().set_modified(time).unwrap();
}

/// A validator whose application keeps a database of its own, which no key governs: it has gone
/// on with the new blocks and can't come back. The way that the refusal names is open.
fn there_and_forward(network: &mut Network, which: usize, to: &str) {
    let member = &mut network.members[which];
    let from = engines(&member.home).swap_remove(0);
    member.stop();
    let watcher = Watcher::start(&member.home);
    let at_swap = last_signed(&member.home);
    migrate(&member.home, to);
    member.start();
    network.wait_for_signatures(which, at_swap.height, SIGNED_AGAIN);
    let member = &mut network.members[which];
    member.stop();
    refuses("rollback", &member.home, &["--yes"], "kvstore.db, which stays where it is");
    transload("finalize", &member.home, &["--yes"]);
    migrate(&member.home, &from);
    stands_on(&member.home, &from);
    let fence = last_signed(&member.home);
    member.start();
    network.wait_for_signatures(which, fence.height, SIGNED_AGAIN);
    assert!(watcher.end() > 0);
}

/// Of everything that this validator ever signed, nothing contradicts itself and nothing went
/// back; nobody has evidence of the contrary.
fn never_signed_twice(network: &mut Network, moved: &[usize]) {
    let mut judged: Vec<(usize, Signatures)> = moved
        .iter()
        .map(|which| (*which, Signatures::of(&network.members[*which].address)))
        .collect();
    let mut blocks = 0;
    for member in &network.members {
        blocks = network.no_block_has_evidence(member.rpc());
        judged.iter_mut().for_each(|(_, signatures)| signatures.answered(member.rpc()));
    }
    network.members.iter_mut().for_each(Member::stop);
    for member in &network.members {
        assert_eq!(evidence(&member.home), 0, "evidence of a misbehaviour");
        transload("verify", &member.home, &[]);
        for (_, signatures) in &mut judged {
            signatures.kept(&member.home);
            signatures.logged(&member.home);
        }
    }
    for (which, signatures) in judged {
        let own = signed_by(&network.members[which].home);
        let back = own.windows(2).find(|pair| pair[1] < pair[0]);
        assert_eq!(back, None, "validator {which} signed for a point below one that it had signed");
        println!(
            "validator {which}: {} signatures for {} points in {blocks} blocks, {} of them in order \
             in its own log",
            signatures.looked_at,
            signatures.points(),
            own.len()
        );
        assert!(signatures.points() > usize::try_from(2 * SIGNED_AGAIN).unwrap());
        assert!(own.len() >= signatures.points() / 2, "its own log has hardly anything");
    }
}

#[test]
fn validators_go_to_another_engine_and_back_after_a_hundred_blocks_and_never_sign_twice() {
    let mut network = Network::start(
        Software::CometBft038,
        &[
            ("kvstore", "goleveldb"),
            ("kvstore", "pebbledb"),
            ("persistent_kvstore", "goleveldb"),
            ("kvstore", "goleveldb"),
        ],
    );
    there_and_back(&mut network, 0, "pebble1");
    there_and_back(&mut network, 1, "goleveldb");
    there_and_forward(&mut network, 2, "pebble1");
    never_signed_twice(&mut network, &[0, 1, 2]);
}

#[test]
fn a_validator_of_cometbft_1_goes_to_another_engine_and_back_and_never_signs_twice() {
    let validators = [("kvstore", "pebbledb"); 4];
    let mut network = Network::start(Software::CometBft1, &validators);
    there_and_back(&mut network, 3, "goleveldb");
    never_signed_twice(&mut network, &[3]);
}

#[test]
fn a_single_validator_that_has_made_blocks_goes_back_by_a_new_migration_only() {
    let (home, mut pairs) = chain::make(Software::CometBft038, 5);
    migrate(&home, "pebble1");
    let mut node = Node::start(&home);
    node.wait_for_height(5);
    let pair = ("made".to_owned(), "since".to_owned());
    chain::write(node.rpc, &pair);
    pairs.push(pair);
    let tip = node.wait_for_height(node.rpc.height().unwrap());
    node.stop();
    let fence = last_signed(&home);
    refuses("rollback", &home, &["--yes"], "the other validators can't go on without it");
    transload("finalize", &home, &["--yes"]);
    migrate(&home, "goleveldb");
    stands_on(&home, "goleveldb");
    assert_eq!(last_signed(&home), fence);
    let mut node = Node::start(&home);
    node.wait_for_height(tip + 2);
    chain::compare_pairs(node.rpc, &pairs);
    node.stop();
    transload("verify", &home, &[]);
}
