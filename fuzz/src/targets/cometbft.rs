//! The messages that a CometBFT node stores. Each is decoded by the reader that takes anything
//! and by the check that takes only the canonical form.

use super::shape::agrees;
use transload_chains::cometbft::wire::block::{Block, BlockMeta, BlockStoreState, Header, Part};
use transload_chains::cometbft::wire::commit::{Commit, PRECOMMIT, SignBytes};
use transload_chains::cometbft::wire::evidence::{Evidence, evidence_hash};
use transload_chains::cometbft::wire::results::{LastResults, Results, TxResult};
use transload_chains::cometbft::wire::shapes;
use transload_chains::cometbft::wire::state::{EvidenceWindow, HashedParams, ParamsInfo, State};
use transload_chains::cometbft::wire::validators::{ValidatorSet, ValidatorsInfo, decode_update};

/// A slice that a decoder gives lies in what it was given.
fn borrowed(whole: &[u8], part: &[u8]) {
    assert!(part.is_empty() || whole.as_ptr_range().contains(&part.as_ptr()));
    assert!(part.len() <= whole.len());
}

fn header(whole: &[u8], header: &Header<'_>) {
    borrowed(whole, header.raw);
    borrowed(whole, header.chain_id);
    borrowed(whole, header.last_block_id.parts.hash);
    assert_eq!(header.hash(), Header::decode(header.raw).expect("it was decoded").hash());
}

pub(crate) fn block_meta(bytes: &[u8]) {
    agrees(&shapes::BLOCK_META, bytes);
    if let Ok(meta) = BlockMeta::decode(bytes) {
        header(bytes, &meta.header);
        borrowed(bytes, meta.block_id.hash);
    }
}

pub(crate) fn part(bytes: &[u8]) {
    agrees(&shapes::PART, bytes);
    if let Ok(part) = Part::decode(bytes) {
        borrowed(bytes, part.bytes);
        borrowed(bytes, part.leaf_hash);
        assert!(part.aunts.len() <= bytes.len() / 2);
    }
}

pub(crate) fn block(bytes: &[u8]) {
    agrees(&shapes::BLOCK, bytes);
    let Ok(block) = Block::decode(bytes) else { return };
    header(bytes, &block.header);
    assert!(block.txs.len() + block.evidence.len() <= bytes.len() / 2);
    let _ = (block.data_hash(), evidence_hash(&block.evidence));
    if let Ok(commit) = block.last_commit() {
        let _ = commit.hash();
    }
}

pub(crate) fn commit(bytes: &[u8]) {
    agrees(&shapes::COMMIT, bytes);
    agrees(&shapes::EXTENDED_COMMIT, bytes);
    let Ok(commit) = Commit::decode(bytes) else { return };
    assert!(commit.signatures.len() <= bytes.len() / 2);
    let _ = commit.hash();
    let (height, round) = (commit.height, commit.round);
    let signed = SignBytes { kind: PRECOMMIT, height, round, chain_id: b"chain" };
    for sig in &commit.signatures {
        borrowed(bytes, sig.signature);
        let vote = signed.vote(Some(&commit.block_id), sig.timestamp);
        let nil = signed.vote(None, sig.timestamp);
        assert_eq!(vote == nil, commit.block_id.is_nil());
        let _ = signed.extension(sig.extension);
    }
}

pub(crate) fn validators(bytes: &[u8]) {
    agrees(&shapes::VALIDATORS_INFO, bytes);
    let set = match ValidatorsInfo::decode(bytes) {
        Ok(info) => {
            if let Some(at) = info.stored_at(250_000) {
                assert!(at >= 200_000);
            }
            info.set_raw.unwrap_or_default()
        }
        Err(_) => bytes,
    };
    if let Ok(set) = ValidatorSet::decode(set) {
        let _ = set.hash();
        if let Some(total) = set.total_power() {
            assert!(total >= set.validators.len() as u64);
        }
        for validator in &set.validators {
            let _ = validator.key.address();
        }
    }
    let _ = decode_update(bytes);
}

pub(crate) fn state(bytes: &[u8]) {
    agrees(&shapes::STATE, bytes);
    agrees(&shapes::PARAMS_INFO, bytes);
    agrees(&shapes::BLOCK_STORE_STATE, bytes);
    if let Ok(state) = State::decode(bytes) {
        borrowed(bytes, state.app_hash);
        for set in [state.validators, state.next_validators, state.last_validators] {
            let _ = set.map(ValidatorSet::decode);
        }
        let _ = EvidenceWindow::decode(state.params);
        let _ = HashedParams::decode(state.params).map(|params| params.hash());
    }
    if let Ok(info) = ParamsInfo::decode(bytes) {
        borrowed(bytes, info.params);
    }
    if let Ok(state) = BlockStoreState::decode(bytes)
        && let Some((first, last)) = state.range()
    {
        assert!(1 <= first && first <= last && i64::try_from(last) == Ok(state.height));
    }
}

pub(crate) fn results(bytes: &[u8]) {
    for results in
        [Results::decode(bytes), Results::decode_finalize(bytes), Results::decode_legacy(bytes)]
            .into_iter()
            .flatten()
    {
        assert!(results.txs.len() + results.validator_updates.len() <= bytes.len() / 2);
        let _ = results.hash();
        for update in &results.validator_updates {
            let _ = decode_update(update);
        }
    }
    if let Ok(last) = LastResults::decode(bytes) {
        borrowed(bytes, last.results.unwrap_or_default());
    }
    if let Ok(indexed) = TxResult::decode(bytes) {
        borrowed(bytes, indexed.tx);
        borrowed(bytes, indexed.result);
    }
}

pub(crate) fn evidence(bytes: &[u8]) {
    agrees(&shapes::EVIDENCE, bytes);
    if let Ok(Some(evidence)) = Evidence::decode(bytes) {
        borrowed(bytes, evidence.raw());
        let _ = (evidence.hash(), evidence.height());
    }
    let _ = evidence_hash(&[bytes, bytes]);
}
