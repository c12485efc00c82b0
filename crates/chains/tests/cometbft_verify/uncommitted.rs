//! What no header commits to and yet follows from what is there: found all the same.

use crate::sample::{Sample, names, position};
use crate::{BLOCKS, STATE, flip, found};
use transload_chains::cometbft::wire::state::State;
use transload_chains::cometbft::wire::validators::{ValidatorSet, ValidatorsInfo};

#[test]
fn a_store_that_denies_its_blocks_is_found() {
    let table = "blockstore/state";
    for name in ["v0.38-genesis", "v1-layout2"] {
        found(name, "block_store_state", table, b"blockStore", |sample| {
            sample.database(BLOCKS).remove(&b"blockStore"[..]);
        });
        found(name, "block_store_state", table, b"blockStore", |sample| {
            sample.value(BLOCKS, b"blockStore").clear();
        });
        found(name, "canonical_encoding", table, b"blockStore", |sample| {
            // The base under a number that no release knows: read as none.
            sample.value(BLOCKS, b"blockStore")[0] = 0x18;
        });
    }
}

#[test]
fn a_meta_that_lies_about_its_block_is_named_itself() {
    // No hash covers the size of the block and the number of its transactions.
    for field in [1, 3] {
        found("v0.38", "block_content", "blockstore/meta", b"H:192", |sample| {
            let value = sample.value(BLOCKS, b"H:192");
            let at = match field {
                // The block's id comes first, with its length before it.
                1 => 2 + usize::from(value[1]) + 1,
                _ => value.len() - 1,
            };
            flip(value, at);
        });
    }
}

#[test]
fn what_no_hash_covers_of_a_validator_set_follows_from_its_members() {
    let key = b"validatorsKey:1";
    let table = "state/validators";
    let proposer_at = |value: &[u8]| {
        let set = ValidatorsInfo::decode(value).unwrap().set_raw.unwrap();
        let proposer = ValidatorSet::decode(set).unwrap().proposer_stored.unwrap();
        value.windows(32).rposition(|window| window == proposer.key.bytes).unwrap()
    };
    // The proposer's key, its power, and the height of the change.
    found("v0.38-genesis", "validators_hash", table, key, |sample| {
        let at = proposer_at(sample.value(STATE, key));
        flip(sample.value(STATE, key), at);
    });
    found("v0.38-genesis", "validators_hash", table, key, |sample| {
        let at = proposer_at(sample.value(STATE, key)) + 33;
        sample.value(STATE, key)[at] ^= 2;
    });
    found("v0.38-genesis", "validators_hash", table, key, |sample| {
        let value = sample.value(STATE, key);
        let last = value.len() - 1;
        value[last] = 2;
    });
}

#[test]
fn the_state_agrees_with_the_records_that_were_written_with_it() {
    let forge = |change: fn(&State<'_>, &mut Vec<u8>)| {
        found("v0.38", "state", "state/state", b"stateKey", move |sample| {
            let value = sample.value(STATE, b"stateKey");
            let raw = value.clone();
            change(&State::decode(&raw).unwrap(), value);
        });
    };
    // A parameter that headers don't commit to: the largest age of evidence.
    forge(|state, value| {
        let at = position(value, state.params);
        let block_bytes = usize::from(value[at + 1]);
        flip(value, at + 2 + block_bytes + 3);
    });
    // The address of a validator.
    forge(|state, value| {
        let set = ValidatorSet::decode(state.next_validators.unwrap()).unwrap();
        let at = position(value, set.validators[0].address);
        flip(value, at);
    });
    // Heights of the last changes: fields 9 and 11, around the parameters.
    forge(|state, value| {
        let at = position(value, state.params);
        let before = value[..at].iter().rposition(|byte| *byte == 0x48).unwrap();
        flip(value, before + 1);
    });
    forge(|state, value| {
        let at = position(value, state.params) + state.params.len();
        assert_eq!(value[at], 0x58);
        value[at + 1] ^= 2;
    });
    found("v0.38-genesis", "state", "state/state", b"stateKey", |sample| {
        let value = sample.value(STATE, b"stateKey");
        // The chain's first height is the last field.
        let last = value.len() - 1;
        assert_eq!(value[last - 1..], [0x70, 1]);
        value[last] = 3;
    });
}

#[test]
fn another_chain_in_the_state_is_named_there_and_not_at_every_block() {
    let mut sample = Sample::load("v0.38");
    let value = sample.value(STATE, b"stateKey");
    let at = position(value, b"chain-7FEsNS");
    value[at] = b'C';
    let verdict = sample.verify();
    assert!(names(&verdict, "state", "state/state", b"stateKey"), "{:#?}", verdict.findings);
    assert_eq!(verdict.findings.len(), 1);
}
