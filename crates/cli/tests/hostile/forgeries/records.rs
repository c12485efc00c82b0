//! Forgeries of state, evidence and the index of transactions.

use super::blocks::UNKNOWN_FIELD;
use super::home::{EVIDENCE, Home, INDEX, STATE, place, position, replaced, replaced_number};
use super::{Forged, Forgery};
use transload_chains::cometbft::layout::{TxIndexLayout, state, tx_index};
use transload_chains::cometbft::wire::block::Block;
use transload_chains::cometbft::wire::evidence::Evidence;
use transload_chains::cometbft::wire::results::{Results, TxResult};
use transload_chains::cometbft::wire::state::State;
use transload_chains::cometbft::wire::validators::ValidatorsInfo;
use transload_codec::proto::put_varint_field;
use transload_model::layout::{Layout as _, Placement};
use transload_model::merkle::sha256;

/// Fields of the state after the last block.
const STATE_FIELDS: [(&str, &[u32]); 8] = [
    ("the state's last block", &[4, 1]),
    ("the time in the state", &[5, 1]),
    ("a power in the state's next validators", &[6, 1, 3]),
    ("a power in the state's validators", &[7, 1, 3]),
    ("a power in the state's last validators", &[8, 1, 3]),
    ("the results in the state", &[12]),
    ("the chain that the state names", &[2]),
    ("the application's hash in the state", &[13]),
];

/// All of them.
pub(super) fn forgeries() -> Vec<Forgery> {
    let mut all: Vec<Forgery> = STATE_FIELDS
        .into_iter()
        .map(|(what, path)| Forgery::new(what, move |home| in_state(home, path)))
        .collect();
    all.extend([
        Forgery::new("a validator's power", |home| in_a_set(home, &[1, 1, 3])),
        Forgery::new("a validator's key", |home| {
            in_a_set(home, &[1, 1, 2, 1]).or_else(|| in_a_set(home, &[1, 1, 5]))
        }),
        Forgery::new("a validator's address", |home| in_a_set(home, &[1, 1, 1])),
        Forgery::new("a record of validators that is dropped", |home| {
            let key = home.state_key(state::VALIDATORS, home.middle());
            Some(Forged::dropped(STATE, "state/validators", key, Some(home.middle())))
        }),
        Forgery::new("the last record of validators that is dropped", |home| {
            let above = home.last + 2;
            let key = home.state_key(state::VALIDATORS, above);
            home.entries(STATE).get(&key)?;
            Some(Forged::dropped(STATE, "state/validators", key, Some(above)))
        }),
        Forgery::new("bytes that are no record in the last record of parameters", |home| {
            let above = home.last + 1;
            let key = home.state_key(state::PARAMS, above);
            home.entries(STATE).get(&key)?;
            Some(Forged::put(STATE, "state/params", key, vec![0xff; 8], Some(above)))
        }),
        Forgery::new("a set of its own in the last record of validators", |home| {
            let above = home.last + 2;
            let key = home.state_key(state::VALIDATORS, above);
            let stored = home.entries(STATE).get(&key)?;
            let changed =
                ValidatorsInfo::decode(stored).ok()?.last_height_changed.try_into().ok()?;
            let other = home.state_key(state::VALIDATORS, changed);
            let value = home.entries(STATE).get(&other).filter(|_| changed != above)?.clone();
            Some(Forged::put(STATE, "state/validators", key, value, Some(above)))
        }),
        Forgery::new("an unknown field around validators", |home| {
            let key = home.state_key(state::VALIDATORS, home.middle());
            let mut value = home.entries(STATE)[&key].clone();
            value.extend_from_slice(&UNKNOWN_FIELD);
            Some(Forged::put(STATE, "state/validators", key, value, Some(home.middle())))
        }),
        Forgery::new("a parameter that headers commit to", |home| {
            let (height, value) =
                stored_where(home, state::PARAMS, |value| place(value, &[1, 1, 1]).is_some())?;
            let mut value = value.clone();
            let at = place(&value, &[1, 1, 1])?;
            value[at] ^= 1;
            let key = home.state_key(state::PARAMS, height);
            Some(Forged::put(STATE, "state/params", key, value, Some(height)))
        }),
        Forgery::new("the application's hash in results", |home| {
            let key = home.state_key(state::RESULTS, home.middle());
            let mut value = home.entries(STATE).get(&key)?.clone();
            let at = place(&value, &[5]).filter(|_| !home.is_legacy())?;
            value[at] ^= 1;
            Some(Forged::put(STATE, "state/results", key, value, Some(home.middle())))
        }),
        Forgery::new("a result that is dropped", dropped_result),
        Forgery::new("results above the last block", |home| {
            let height = home.last + 9;
            let key = home.state_key(state::RESULTS, height);
            Some(Forged::put(STATE, "state/results", key, b"x".to_vec(), Some(height)))
        }),
        Forgery::new("the last results", |home| {
            let mut value = home.entries(STATE).get(state::LAST_RESULTS_KEY)?.clone();
            let middle = value.len() / 2;
            value[middle] ^= 1;
            let key = state::LAST_RESULTS_KEY.to_vec();
            Some(Forged::put(STATE, "state/last_results", key, value, Some(home.last)))
        }),
        Forgery::new("the first height in the state", |home| {
            let value = replaced_number(&home.entries(STATE)[state::STATE_KEY], 14, 9);
            let key = state::STATE_KEY.to_vec();
            Some(Forged::put(STATE, "state/state", key, value, None))
        }),
        Forgery::new("the stored genesis document", |home| {
            let mut value = home.entries(STATE).get(state::GENESIS_KEY)?.clone();
            let at = position(&value, b"\"chain_id\"") + 14;
            value[at] ^= 1;
            Some(Forged::put(STATE, "state/genesis", state::GENESIS_KEY.to_vec(), value, None))
        }),
        Forgery::new("the stored hash of the genesis document", |home| {
            let mut value = home.entries(STATE).get(state::GENESIS_HASH_KEY)?.clone();
            value[3] ^= 1;
            let key = state::GENESIS_HASH_KEY.to_vec();
            Some(Forged::put(STATE, "state/genesis", key, value, None))
        }),
        Forgery::new("an entry of the state that no release writes", |home| {
            let _ = home;
            Some(Forged::put(STATE, "state/unknown", b"surprise".to_vec(), b"x".to_vec(), None))
        }),
        Forgery::new("a mark of evidence that is dropped", |home| {
            let (height, hash, _) = evidence(home)?;
            let key = home.evidence_key(Home::COMMITTED, height, &hash);
            Some(Forged::dropped(EVIDENCE, "evidence/committed", key, Some(height)))
        }),
        Forgery::new("a mark of evidence with another value", |home| {
            let (height, hash, _) = evidence(home)?;
            let key = home.evidence_key(Home::COMMITTED, height, &hash);
            Some(Forged::put(EVIDENCE, "evidence/committed", key, vec![8, 1], Some(height)))
        }),
        Forgery::new("a mark of evidence that no block has", |home| {
            // Where blocks are pruned, so is what would contradict the mark.
            (home.first == 1).then_some(())?;
            let key = home.evidence_key(Home::COMMITTED, home.middle(), &[0xab; 32]);
            let mut value = Vec::new();
            put_varint_field(&mut value, 1, home.middle());
            Some(Forged::put(EVIDENCE, "evidence/committed", key, value, Some(home.middle())))
        }),
        Forgery::new("duplicate votes with a wrong signature", |home| {
            let (height, _, mut message) = evidence(home)?;
            let votes = message.clone();
            let Some(Evidence::DuplicateVote(votes)) = Evidence::decode(&votes).unwrap() else {
                return None;
            };
            let at = position(&message, votes.vote_b.signature);
            message[at] ^= 1;
            let hash = Evidence::decode(&message).unwrap().unwrap().hash();
            let key = home.evidence_key(Home::PENDING, height, &hash);
            Some(Forged::put(EVIDENCE, "evidence/pending", key, message, Some(height)))
        }),
        Forgery::new("a result in the index", |home| {
            let (height, key, mut value) = indexed(home)?;
            let last = value.len() - 1;
            value[last] ^= 1;
            Some(Forged::put(INDEX, "tx_index/result", key, value, Some(height)))
        }),
        Forgery::new("the block that an indexed result names", |home| {
            let (height, key, value) = indexed(home)?;
            let value = replaced_number(&value, 1, height + 1);
            Some(Forged::put(INDEX, "tx_index/result", key, value, None))
        }),
        Forgery::new("a result in the index that no block has", |home| {
            let mut value = Vec::new();
            put_varint_field(&mut value, 1, home.middle());
            put_varint_field(&mut value, 2, 9);
            let value = replaced(&replaced(&value, 3, b"invented"), 4, b"");
            let key = sha256(b"invented").to_vec();
            Some(Forged::put(INDEX, "tx_index/result", key, value, Some(home.middle())))
        }),
        Forgery::new("the hash of an entry by height", |home| {
            let (height, key) = index_entry(home, tx_index::HEIGHT)?;
            Some(Forged::put(INDEX, "tx_index/height", key, vec![7; 32], Some(height)))
        }),
        Forgery::new("the value of an indexed block", |home| {
            let (height, key) = index_entry(home, tx_index::BLOCK)?;
            Some(Forged::put(INDEX, "tx_index/block", key, vec![7], Some(height)))
        }),
        Forgery::new("a transaction that is dropped from the index", |home| {
            let height = home.height_where(home.middle(), |_, block| block.txs.len() > 1)?;
            let key = index_key(home, tx_index::HEIGHT, |at| at == height)?;
            Some(Forged::dropped(INDEX, "tx_index/height", key, Some(height)))
        }),
        Forgery::new("an entry of the index that no release writes", |home| {
            let _ = home;
            Some(Forged::put(INDEX, "tx_index/unknown", b"surprise".to_vec(), b"x".to_vec(), None))
        }),
    ]);
    all
}

fn in_state(home: &Home, path: &[u32]) -> Option<Forged> {
    let mut value = home.entries(STATE)[state::STATE_KEY].clone();
    let height = u64::try_from(State::decode(&value).unwrap().last_block_height).unwrap();
    let at = place(&value, path)?;
    value[at] ^= 1;
    let key = state::STATE_KEY.to_vec();
    let forged = Forged::put(STATE, "state/state", key, value, Some(height));
    // Before 0.38 nothing else in the state has the tip's hash: the application contradicts it.
    let is_app_hash = path == [13] && home.is_legacy();
    Some(if is_app_hash { forged.told_of_the_application(height) } else { forged })
}

/// A record of the state store at a height that is kept, with that height.
fn stored_where(
    home: &Home,
    table: usize,
    holds: impl Fn(&[u8]) -> bool,
) -> Option<(u64, &Vec<u8>)> {
    (home.first..=home.last).find_map(|height| {
        let value = home.entries(STATE).get(&home.state_key(table, height))?;
        holds(value).then_some((height, value))
    })
}

fn in_a_set(home: &Home, path: &[u32]) -> Option<Forged> {
    let has_set = |value: &[u8]| ValidatorsInfo::decode(value).unwrap().set_raw.is_some();
    let (height, value) = stored_where(home, state::VALIDATORS, has_set)?;
    let mut value = value.clone();
    let at = place(&value, path)?;
    value[at] ^= 2;
    let key = home.state_key(state::VALIDATORS, height);
    Some(Forged::put(STATE, "state/validators", key, value, Some(height)))
}

fn dropped_result(home: &Home) -> Option<Forged> {
    let height = home.height_where(home.middle(), |_, block| !block.txs.is_empty())?;
    let key = home.state_key(state::RESULTS, height);
    let mut value = home.entries(STATE).get(&key)?.clone();
    let raw = value.clone();
    let first = *Results::decode(&raw).unwrap().txs.first()?;
    let at = first.as_ptr().addr() - raw.as_ptr().addr();
    let length_bytes = if first.len() < 128 { 1 } else { 2 };
    value.drain(at - length_bytes - 1..at + first.len());
    Some(Forged::put(STATE, "state/results", key, value, Some(height)))
}

/// Evidence that a block carries: the height of its votes, its hash, the message.
fn evidence(home: &Home) -> Option<(u64, Vec<u8>, Vec<u8>)> {
    let at = home.height_where(home.first, |_, block| !block.evidence.is_empty())?;
    let bytes = home.block(at);
    let message = Block::decode(&bytes).unwrap().evidence[0].to_vec();
    let evidence = Evidence::decode(&message).unwrap().unwrap();
    let (height, hash) = (u64::try_from(evidence.height()).unwrap(), evidence.hash().to_vec());
    Some((height, hash, message))
}

/// An indexed result of a block in the middle: height, key, value.
fn indexed(home: &Home) -> Option<(u64, Vec<u8>, Vec<u8>)> {
    let height = home.height_where(home.middle(), |_, block| !block.txs.is_empty())?;
    let bytes = home.block(height);
    let key = sha256(Block::decode(&bytes).unwrap().txs[0]).to_vec();
    let value = home.entries(INDEX).get(&key)?.clone();
    (TxResult::decode(&value).unwrap().height == i64::try_from(height).unwrap())
        .then_some((height, key, value))
}

fn index_entry(home: &Home, table: usize) -> Option<(u64, Vec<u8>)> {
    let height = home.height_where(home.middle(), |_, block| !block.txs.is_empty())?;
    index_key(home, table, |at| at == height).map(|key| (height, key))
}

/// The key of the first entry of a table of the index whose height is as asked.
fn index_key(home: &Home, wanted: usize, is_it: impl Fn(u64) -> bool) -> Option<Vec<u8>> {
    let layout = TxIndexLayout::new();
    let mut canonical = Vec::new();
    let entries = home.entries(INDEX);
    let found = entries.iter().find(|(key, value)| {
        let placed = layout.place(key, value, &mut canonical);
        matches!(placed, Placement::Record { table, .. } if table == wanted)
            && canonical.first_chunk().is_some_and(|height| is_it(u64::from_be_bytes(*height)))
    });
    found.map(|(key, _)| key.clone())
}
