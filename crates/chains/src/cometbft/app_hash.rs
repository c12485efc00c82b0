//! The application's hash after each height, and who says so.
//!
//! The hash after height n stands in the header of n + 1. After the last block applied only the
//! node's own state says it, until the next block is made.

use super::database::{self, Reader};
use super::layout::{BlockstoreLayout, blockstore as block_table, state as state_table};
use super::wire::block::BlockMeta;
use super::wire::state::State;
use transload_store::{HomeView, Result};

/// The application's hash after a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certified {
    /// By the header of the next height, which validators signed.
    ByHeader(Vec<u8>),
    /// By the node's own state alone.
    ByState(Vec<u8>),
    /// By nobody: the height's neighbours aren't kept.
    ByNobody,
}

/// Answers for every height of a home.
pub struct AppHashes {
    blocks: Reader<BlockstoreLayout>,
    state: Option<(u64, Vec<u8>)>,
}

impl AppHashes {
    /// Over a home's block store and state; `None` when it has no block store.
    ///
    /// # Errors
    /// Those of reading, and of telling the layouts.
    pub fn open(view: HomeView<'_>) -> Result<Option<Self>> {
        let Some(blocks) = database::blockstore(view)? else { return Ok(None) };
        let stored = match database::state(view)? {
            Some(state) => state.snapshot.get(state_table::STATE_KEY)?,
            None => None,
        };
        let state = stored.as_deref().and_then(|value| State::decode(value).ok());
        let state = state.and_then(|state| {
            let height = u64::try_from(state.last_block_height).ok()?;
            Some((height, state.app_hash.to_vec()))
        });
        Ok(Some(Self { blocks, state }))
    }

    /// The hash after `height`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn after(&self, height: u64) -> Result<Certified> {
        let above = match height.checked_add(1) {
            Some(above) => self.blocks.at(block_table::META, above)?,
            None => None,
        };
        if let Some(meta) = above.as_deref().and_then(|meta| BlockMeta::decode(meta).ok()) {
            return Ok(Certified::ByHeader(meta.header.app_hash.to_vec()));
        }
        Ok(match &self.state {
            Some((at, hash)) if *at == height => Certified::ByState(hash.clone()),
            _ => Certified::ByNobody,
        })
    }
}
