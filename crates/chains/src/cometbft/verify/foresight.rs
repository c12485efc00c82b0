//! What a walk over heights will ask for, told ahead.
//!
//! Each stage is known from the one before it: the records of the heights from their numbers, a
//! block's parts from its meta, entries of the transaction index from the block. What isn't known
//! yet is asked for in its turn.

use super::ahead::{Ahead, KEYS_EXPECTED_MAX};
use super::block::PARTS_MAX;
use super::height::Heights;
use crate::cometbft::layout::{
    BlockstoreLayout, TxIndexLayout, blockstore as table, state as state_table,
    tx_index as index_table,
};
use crate::cometbft::wire::block::{Block, BlockMeta, Part};
use std::collections::VecDeque;
use transload_model::merkle::{Hash, sha256};

/// Heights whose records are read at a time, where memory allows it.
pub(super) const HEIGHTS_AHEAD: u64 = 256;

/// Up to where a walk has told what it will ask for: the first height of which it hasn't.
#[derive(Default)]
pub(super) struct Foresight {
    records: u64,
    blocks: u64,
    index: u64,
    /// Blocks of the heights that follow.
    contents: VecDeque<Content>,
    /// Whether the last transaction had no entry in the newer of both forms by height.
    pub(super) asks_for_both_forms: bool,
}

/// A block's bytes, and its transactions' hashes.
struct Content {
    height: u64,
    bytes: Vec<u8>,
    hashes: Vec<Hash>,
}

impl Foresight {
    /// The hashes of a block's transactions, which are computed once for the same bytes.
    pub(super) fn hashes(&mut self, height: u64, bytes: &[u8], block: &Block<'_>) -> Vec<Hash> {
        while self.contents.front().is_some_and(|content| content.height < height) {
            self.contents.pop_front();
        }
        match self.contents.pop_front_if(|content| content.height == height) {
            Some(content) if content.bytes == bytes => content.hashes,
            _ => hashes_of(block),
        }
    }
}

fn hashes_of(block: &Block<'_>) -> Vec<Hash> {
    block.txs.iter().map(|tx| sha256(tx)).collect()
}

impl Heights<'_, '_> {
    /// Tells of the records under the heights from `height` to `high`.
    pub(super) fn expect_records(&mut self, height: u64, high: u64) {
        if height < self.foresight.records {
            return;
        }
        let end = high.min(height.saturating_add(HEIGHTS_AHEAD - 1));
        self.records.forget();
        for at in height..=end {
            for table in [table::META, table::COMMIT, table::SEEN_COMMIT, table::EXTENDED_COMMIT] {
                self.records.expect_at(table, at);
            }
        }
        if let Some(state) = &mut self.state {
            state.forget();
            // The index asks for a block's results with the block, else the next header does.
            let with_block = self.index.is_some();
            for at in height..=end {
                let kept = at >= self.ctx.first;
                if kept && with_block {
                    state.expect_at(state_table::RESULTS, at);
                }
                if kept {
                    state.expect_at(state_table::PARAMS, at);
                }
                if kept && !with_block && at > self.ctx.first {
                    state.expect_at(state_table::RESULTS, at - 1);
                }
                state.expect_at(state_table::VALIDATORS, at);
            }
        }
        self.foresight.records = end.saturating_add(1);
    }

    /// Tells of the parts of this height's block, and of those above whose metas were read.
    pub(super) fn expect_blocks(&mut self, height: u64, meta: &BlockMeta<'_>) {
        if height < self.foresight.blocks {
            return;
        }
        self.blocks.forget();
        expect_block(&mut self.blocks, height, meta);
        let mut next = height.saturating_add(1);
        while self.blocks.expects() < KEYS_EXPECTED_MAX
            && let Some(stored) = self.records.peek(table::META, &next.to_be_bytes())
        {
            if let Some(Ok(meta)) = stored.map(BlockMeta::decode) {
                expect_block(&mut self.blocks, next, &meta);
            }
            next += 1;
        }
        self.foresight.blocks = next;
    }

    /// Tells of the index entries of this height's transactions, and of those above whose blocks
    /// were read.
    pub(super) fn expect_entries(&mut self, height: u64, hashes: &[Hash]) {
        let Some(index) = &mut self.index else { return };
        if height < self.foresight.index {
            return;
        }
        index.forget();
        self.foresight.contents.clear();
        let both = self.foresight.asks_for_both_forms;
        expect_entries_of(index, height, hashes, both);
        let mut next = height.saturating_add(1);
        while index.expects() < KEYS_EXPECTED_MAX
            && let Some(content) = content(&self.records, &self.blocks, next)
        {
            expect_entries_of(index, next, &content.hashes, both);
            self.foresight.contents.push_back(content);
            next += 1;
        }
        self.foresight.index = next;
    }
}

fn expect_block(blocks: &mut Ahead<'_, BlockstoreLayout>, height: u64, meta: &BlockMeta<'_>) {
    blocks.expect(table::HASH_INDEX, meta.block_id.hash);
    if meta.block_id.parts.total <= PARTS_MAX {
        for index in 0..meta.block_id.parts.total {
            blocks.expect(table::PART, &table::part_key(height, index));
        }
    }
}

fn expect_entries_of(
    index: &mut Ahead<'_, TxIndexLayout>,
    height: u64,
    hashes: &[Hash],
    both_forms: bool,
) {
    for (place, hash) in (0_u32..).zip(hashes) {
        index.expect(index_table::RESULT, hash);
        index.expect(index_table::HEIGHT, &index_table::height_key(height, place, Some(0)));
        if both_forms {
            index.expect(index_table::HEIGHT, &index_table::height_key(height, place, None));
        }
    }
    index.expect_at(index_table::BLOCK, height);
}

/// The block of a height whose meta and parts were all read.
fn content(
    records: &Ahead<'_, BlockstoreLayout>,
    blocks: &Ahead<'_, BlockstoreLayout>,
    height: u64,
) -> Option<Content> {
    let meta = BlockMeta::decode(records.peek(table::META, &height.to_be_bytes())??).ok()?;
    let mut bytes = Vec::new();
    for index in 0..meta.block_id.parts.total.min(PARTS_MAX) {
        let stored = blocks.peek(table::PART, &table::part_key(height, index))??;
        bytes.extend_from_slice(Part::decode(stored).ok()?.bytes);
    }
    let hashes = hashes_of(&Block::decode(&bytes).ok()?);
    Some(Content { height, bytes, hashes })
}
