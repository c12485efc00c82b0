//! The last blocks of a home are cut off with everything that belongs to them, so that the rest
//! is a whole and shorter chain: only the signer knows better.

use super::blocks::stored_range;
use super::home::{BLOCKS, Home, INDEX, STATE, replaced, replaced_number};
use super::{Change, Forged, transload};
use crate::homes::{Copy, helper};
use transload_chains::cometbft::layout::{TxIndexLayout, blockstore, state, tx_index};
use transload_chains::cometbft::wire::BlockId;
use transload_chains::cometbft::wire::results::TxResult;
use transload_codec::proto::{put_bytes, put_message, put_varint_field};
use transload_model::layout::{Layout as _, Placement};

/// Blocks that are cut off.
const CUT: u64 = 3;

#[test]
fn a_tip_that_was_cut_off_with_everything_of_it_is_told_by_the_signers_height_alone() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cometbft-0.38-kvstore");
    let home = Home::read(&copy.home());
    let last = home.last - CUT;
    Forged::new(cut(&home, last), BLOCKS, "", Vec::new(), None).write(&copy.home());
    let outcome = transload(&["verify", copy.home().to_str().unwrap(), "--json"]);
    let document = outcome.document();
    let findings = document["findings"].as_array().unwrap();
    assert_eq!((outcome.code, findings.len()), (4, 1), "{findings:#?}");
    assert_eq!(findings[0]["check"], "signer_height");
    assert_eq!(findings[0]["height"], last);
    let said = findings[0]["what"].as_str().unwrap();
    assert!(said.contains(&format!("the tip is {last}")), "{said}");
    // Without the signer's file nothing can tell, and that is said.
    std::fs::remove_file(copy.home().join("data/priv_validator_state.json")).unwrap();
    let outcome = transload(&["verify", copy.home().to_str().unwrap()]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(outcome.shown.contains("a cut-off tip would not be noticed"), "{}", outcome.shown);
}

/// What a careful forger changes.
fn cut(home: &Home, last: u64) -> Vec<Change> {
    let mut changes = vec![stored_range(home, home.first, last), state_at(home, last)];
    for height in last + 1..=home.last {
        let of_height = height.to_be_bytes();
        let blocks = [
            blockstore::META,
            blockstore::COMMIT,
            blockstore::SEEN_COMMIT,
            blockstore::EXTENDED_COMMIT,
        ];
        let mut keys: Vec<Vec<u8>> =
            blocks.map(|table| home.block_key(table, &of_height)).into_iter().collect();
        keys.push(home.block_key(blockstore::HASH_INDEX, home.meta(height).block_id.hash));
        let total = home.meta(height).block_id.parts.total;
        keys.extend((0..total).map(|index| home.part_key(height, index)));
        changes.extend(keys.into_iter().map(|key| (BLOCKS, key, None)));
        let records = [
            home.state_key(state::VALIDATORS, height + 2),
            home.state_key(state::PARAMS, height + 1),
            home.state_key(state::RESULTS, height),
        ];
        changes.extend(records.map(|key| (STATE, key, None)));
    }
    // The commit of the new tip stands in no block: a node keeps the one that it saw.
    changes.push((BLOCKS, home.block_key(blockstore::COMMIT, &last.to_be_bytes()), None));
    changes.push((STATE, state::LAST_RESULTS_KEY.to_vec(), None));
    let layout = TxIndexLayout::new();
    let mut canonical = Vec::new();
    for (key, value) in home.entries(INDEX) {
        let Placement::Record { table, .. } = layout.place(key, value, &mut canonical) else {
            continue;
        };
        let height = match table {
            tx_index::RESULT => u64::try_from(TxResult::decode(value).unwrap().height).unwrap(),
            tx_index::HEIGHT | tx_index::BLOCK => {
                u64::from_be_bytes(*canonical.first_chunk().unwrap())
            }
            _ => 0,
        };
        if height > last {
            changes.push((INDEX, key.clone(), None));
        }
    }
    changes
}

/// The state as it was after the block `last`, from what the header above says.
fn state_at(home: &Home, last: u64) -> Change {
    let (meta, above) = (home.meta(last), home.meta(last + 1));
    // Sets that don't change near the tip need no other bytes.
    for height in last..=home.last {
        let header = &home.meta(height).header;
        assert_eq!(header.next_validators_hash, meta.header.validators_hash, "height {height}");
    }
    let mut value = home.entries(STATE)[state::STATE_KEY].clone();
    value = replaced_number(&value, 3, last);
    value = replaced(&value, 4, &block_id(&meta.block_id));
    value = replaced(&value, 5, meta.header.time);
    value = replaced(&value, 12, above.header.last_results_hash);
    value = replaced(&value, 13, above.header.app_hash);
    (STATE, state::STATE_KEY.to_vec(), Some(value))
}

fn block_id(id: &BlockId<'_>) -> Vec<u8> {
    let (mut parts, mut message) = (Vec::new(), Vec::new());
    put_varint_field(&mut parts, 1, u64::from(id.parts.total));
    put_bytes(&mut parts, 2, id.parts.hash);
    put_bytes(&mut message, 1, id.hash);
    put_message(&mut message, 2, &parts);
    message
}
