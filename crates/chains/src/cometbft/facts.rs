//! Heights, hashes and layout of a home, from the few records that say them.

use super::database;
use super::layout::{blockstore as blockstore_table, state as state_table};
use super::wire::block::{BlockMeta, BlockStoreState};
use super::wire::state::State;
use crate::iavl;
use std::collections::BTreeMap;
use transload_codec::Malformed;
use transload_model::report::printable_key;
use transload_store::{ChainFacts, Error, HomeView, Kind, Result};

/// The schema id of a dataset of this profile: table names and canonical keys as in
/// `docs/formats/cometbft-tables.md`.
pub(crate) const SCHEMA: &str = "cometbft.v1";

const OPERATION: &str = "read the chain's facts";

pub(crate) fn facts(view: HomeView<'_>) -> Result<ChainFacts> {
    let mut facts = ChainFacts { schema: SCHEMA.to_owned(), ..ChainFacts::default() };
    let mut heights = BTreeMap::new();
    if let Some(blockstore) = database::blockstore(view)? {
        facts.layout = blockstore.layout.form().name().to_owned();
        let state = blockstore.snapshot.get(blockstore_table::STATE_KEY)?;
        let state = state.as_deref().map(BlockStoreState::decode).transpose();
        let state = state.map_err(|error| malformed(blockstore_table::STATE_KEY, error))?;
        if let Some((first, last)) = state.and_then(|state| state.range()) {
            facts.height_first = Some(first);
            facts.height_last = Some(last);
            heights.insert("blockstore".to_owned(), last);
            if let Some(value) = blockstore.at(blockstore_table::META, last)? {
                let key = blockstore.physical(blockstore_table::META, &last.to_be_bytes());
                let meta = BlockMeta::decode(&value)
                    .map_err(|error| malformed(&key.unwrap_or_default(), error))?;
                facts.header_app_hash = Some(hex::encode(meta.header.app_hash));
                facts.chain_id = text(meta.header.chain_id);
            }
        }
    }
    if let Some(state) = database::state(view)? {
        if facts.layout.is_empty() {
            facts.layout = state.layout.form().name().to_owned();
        }
        if let Some(value) = state.snapshot.get(state_table::STATE_KEY)? {
            let decoded =
                State::decode(&value).map_err(|error| malformed(state_table::STATE_KEY, error))?;
            facts.app_hash = Some(hex::encode(decoded.app_hash));
            facts.chain_id = text(decoded.chain_id).or(facts.chain_id);
            if let Ok(height) = u64::try_from(decoded.last_block_height) {
                heights.insert("state".to_owned(), height);
            }
        }
    }
    if let Some(application) = view.databases.snapshot(database::APPLICATION)
        && database::holds_multistore(&*application)?
        && let Some((version, _)) = iavl::tip(&*application)?
    {
        heights.insert("app".to_owned(), version);
    }
    if let Some(signer) = view.home.signer {
        heights.insert("signer".to_owned(), signer.height);
    }
    facts.heights = heights;
    Ok(facts)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn malformed(key: &[u8], error: Malformed) -> Error {
    Error::new(Kind::Corrupt, OPERATION, error.to_string())
        .with("key", printable_key(key))
        .caused_by(error)
}
