//! One height's header, parts and block.

use super::height::{Heights, Previous};
use super::judges::META_IS_WRONG;
use super::outcome::{Carried, EVIDENCE_MAX};
use super::{EvidencePlace, checks};
use crate::cometbft::database;
use crate::cometbft::layout::blockstore as table;
use crate::cometbft::wire::BlockId;
use crate::cometbft::wire::block::{Block, BlockMeta, Part};
use crate::cometbft::wire::commit::Commit;
use crate::cometbft::wire::evidence::{Evidence, evidence_hash};
use crate::cometbft::wire::shapes;
use transload_codec::decimal;
use transload_model::merkle::{Hash, leaf_hash, root_from_path, root_of};
use transload_store::Result;

/// Parts of a block that are put together in memory: 256 MiB. CometBFT's own limit is 100 MiB.
pub(super) const PARTS_MAX: u32 = 4_096;

impl Heights<'_, '_> {
    /// The header: its hash and its place in the chain. Answers whether it may judge the other
    /// records of its height.
    pub(super) fn check_meta(
        &mut self,
        height: u64,
        meta: &BlockMeta<'_>,
        previous: Option<&Previous>,
        commit: Option<&[u8]>,
    ) -> Result<bool> {
        self.count(checks::HEADER_HASH, 1);
        let wrong = |this: &mut Self, check, what: &str| {
            this.blockstore_finding(check, table::META, height, what.to_owned());
        };
        let faults = self.ctx.faults_of_meta(height, meta);
        let whole = faults.is_empty();
        for what in faults {
            wrong(self, checks::HEADER_HASH, what);
        }
        if let Some(before) = previous.and_then(|p| p.meta.as_deref()) {
            self.count(checks::LAST_BLOCK_ID, 1);
            let same = BlockMeta::decode(before)
                .is_ok_and(|before| before.block_id == meta.header.last_block_id);
            if !same {
                wrong(
                    self,
                    checks::LAST_BLOCK_ID,
                    "the header doesn't name the block kept below it as the last block",
                );
            }
        } else if height == self.ctx.initial {
            self.count(checks::LAST_BLOCK_ID, 1);
            if meta.header.last_block_id != BlockId::default() {
                wrong(self, checks::LAST_BLOCK_ID, "the chain's first header names a last block");
            }
        }
        if !whole {
            return Ok(false);
        }
        let disowned = self.ctx.is_disowned(height, meta, commit)?;
        if disowned {
            let what = "the next header and the height's commit name another block";
            self.blockstore_finding(checks::LAST_BLOCK_ID, table::META, height, what.to_owned());
        }
        Ok(!disowned)
    }

    /// Counts what isn't looked at because the height's meta is wrong.
    pub(super) fn skip_what_the_meta_judges(&mut self, height: u64) {
        let kept_whole = height >= self.ctx.first;
        self.outcome.unjudged += u64::from(kept_whole);
        let of_blocks = [checks::HASH_INDEX, checks::PART_SET, checks::CONSENSUS_HASH];
        let of_headers = [checks::COMMIT_POWER, checks::VALIDATORS_HASH, checks::PROPOSER];
        let of_blocks = of_blocks.into_iter().filter(|_| kept_whole);
        for check in of_headers.into_iter().chain(of_blocks) {
            self.outcome.verdict.skip(check, 1, META_IS_WRONG);
        }
    }

    /// Where the block is pruned, its header still commits to the commit kept below it.
    pub(super) fn check_commit_hash(&mut self, meta: &BlockMeta<'_>, previous: Option<&Previous>) {
        let Some((height, Some(stored))) = previous.map(|p| (p.height, p.commit.as_deref())) else {
            return;
        };
        self.count(checks::COMMIT_RECORD, 1);
        let hash = Commit::decode(stored).map(|commit| commit.hash());
        if hash.ok().as_ref().map(Hash::as_slice) != Some(meta.header.last_commit_hash) {
            let what = "the commit doesn't have the hash in the next header".to_owned();
            self.blockstore_finding(checks::COMMIT_RECORD, table::COMMIT, height, what);
        }
    }

    pub(super) fn check_hash_index(&mut self, height: u64, hash: &[u8]) -> Result<()> {
        self.count(checks::HASH_INDEX, 1);
        let key = self.ctx.blocks.physical(table::HASH_INDEX, hash).unwrap_or_default();
        let stored = self.blocks.get(table::HASH_INDEX, hash)?;
        if stored.is_some() {
            self.outcome.hashes_indexed += 1;
        }
        if stored.as_deref().map(decimal::parse) != Some(Ok(height)) {
            let name = self.ctx.block_table(table::HASH_INDEX);
            let what = match stored {
                Some(_) => "the block's hash leads to another height",
                None => "the block's hash has no entry",
            };
            let what = what.to_owned();
            self.find(
                checks::HASH_INDEX,
                database::BLOCKSTORE,
                Some(name),
                &key,
                Some(height),
                what,
            );
        }
        Ok(())
    }

    /// The parts, and the block that they make.
    pub(super) fn check_block(
        &mut self,
        height: u64,
        meta: &BlockMeta<'_>,
        previous: Option<&Previous>,
    ) -> Result<()> {
        let total = meta.block_id.parts.total;
        if total > PARTS_MAX {
            let why = format!("a block of {total} parts is above the limit of {PARTS_MAX}");
            self.outcome.verdict.skip(checks::PART_SET, 1, why);
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut leaves: Vec<Hash> = Vec::new();
        let mut named = false;
        for index in 0..total {
            let Some(value) = self.blocks.get(table::PART, &table::part_key(height, index))? else {
                let what = format!("part {index} of {total} is missing");
                self.part_finding(checks::PART_SET, height, index, what);
                named = true;
                continue;
            };
            self.outcome.parts += 1;
            named |= !self.check_part(height, index, meta, &value, &mut bytes, &mut leaves);
        }
        self.count(checks::PART_SET, 1);
        let whole = leaves.len() == total as usize && root_of(leaves) == meta.block_id.parts.hash;
        if whole {
            return self.check_content(height, meta, &bytes, previous);
        }
        if !named {
            let what = "the parts don't have the root that the block's id names".to_owned();
            self.blockstore_finding(checks::PART_SET, table::META, height, what);
        }
        // The part that is wrong was named; what it makes of the others isn't their fault.
        self.outcome.unjudged += 1;
        let why = "a part of the block is missing or wrong";
        self.outcome.verdict.skip(checks::BLOCK_CONTENT, 1, why);
        Ok(())
    }

    /// Whether the part leads to the root in the block's id.
    fn check_part(
        &mut self,
        height: u64,
        index: u32,
        meta: &BlockMeta<'_>,
        value: &[u8],
        bytes: &mut Vec<u8>,
        leaves: &mut Vec<Hash>,
    ) -> bool {
        self.count(checks::CANONICAL, 1);
        if let Err(deviation) = shapes::PART.check(value) {
            self.part_finding(checks::CANONICAL, height, index, deviation.to_string());
        }
        self.count(checks::PART_PROOF, 1);
        let part = match Part::decode(value) {
            Ok(part) => part,
            Err(error) => {
                let what = format!("the part isn't readable: {error}");
                self.part_finding(checks::PART_PROOF, height, index, what);
                return false;
            }
        };
        let leaf = leaf_hash(part.bytes);
        bytes.extend_from_slice(part.bytes);
        leaves.push(leaf);
        let total = meta.block_id.parts.total;
        match check_proof(&part, index, total, &leaf, meta.block_id.parts.hash) {
            Ok(()) => true,
            Err(what) => {
                self.part_finding(checks::PART_PROOF, height, index, what.to_owned());
                false
            }
        }
    }

    fn check_content(
        &mut self,
        height: u64,
        meta: &BlockMeta<'_>,
        bytes: &[u8],
        previous: Option<&Previous>,
    ) -> Result<()> {
        self.count(checks::BLOCK_CONTENT, 1);
        let wrong = |this: &mut Self, what: &str| {
            this.part_finding(checks::BLOCK_CONTENT, height, 0, what.to_owned());
        };
        self.count(checks::CANONICAL, 1);
        if let Err(deviation) = shapes::BLOCK.check(bytes) {
            self.part_finding(checks::CANONICAL, height, 0, deviation.to_string());
        }
        let block = match Block::decode(bytes) {
            Ok(block) => block,
            Err(error) => {
                wrong(self, &format!("the block isn't readable: {error}"));
                return Ok(());
            }
        };
        if block.header.raw != meta.header.raw {
            wrong(self, "the block's header differs from the block meta's");
        }
        // No hash covers what the meta says here: it is the meta that is wrong.
        let in_meta = |this: &mut Self, what: String| {
            this.blockstore_finding(checks::BLOCK_CONTENT, table::META, height, what);
        };
        if usize::try_from(meta.block_size) != Ok(bytes.len()) {
            let (has, says) = (bytes.len(), meta.block_size);
            in_meta(self, format!("the block has {has} bytes, its meta says {says}"));
        }
        if usize::try_from(meta.num_txs) != Ok(block.txs.len()) {
            let (has, says) = (block.txs.len(), meta.num_txs);
            in_meta(self, format!("the block has {has} transactions, its meta says {says}"));
        }
        if block.data_hash() != meta.header.data_hash {
            wrong(self, "the transactions don't have the root in the header");
        }
        match evidence_hash(&block.evidence) {
            Ok(hash) if hash == meta.header.evidence_hash => {}
            Ok(_) => wrong(self, "the evidence doesn't have the root in the header"),
            Err(error) => wrong(self, &format!("the evidence isn't readable: {error}")),
        }
        match block.last_commit() {
            Ok(commit) if commit.hash() == meta.header.last_commit_hash => {}
            Ok(_) => wrong(self, "the last commit doesn't have the root in the header"),
            Err(error) => wrong(self, &format!("the last commit isn't readable: {error}")),
        }
        self.check_commit_record(&block, previous);
        self.check_block_evidence(height, &block)?;
        self.check_index(height, &block, bytes)
    }

    /// The commit kept for the height below is the one that this block carries.
    fn check_commit_record(&mut self, block: &Block<'_>, previous: Option<&Previous>) {
        let Some((height, Some(stored))) = previous.map(|p| (p.height, p.commit.as_deref())) else {
            return;
        };
        self.count(checks::COMMIT_RECORD, 1);
        if block.last_commit_raw.unwrap_or_default() != stored {
            let what = "the commit differs from the one in the next block".to_owned();
            self.blockstore_finding(checks::COMMIT_RECORD, table::COMMIT, height, what);
        }
    }

    fn check_block_evidence(&mut self, height: u64, block: &Block<'_>) -> Result<()> {
        for message in &block.evidence {
            let Ok(Some(evidence)) = Evidence::decode(message) else { continue };
            let Ok(at) = u64::try_from(evidence.height()) else { continue };
            if self.outcome.evidence.len() < EVIDENCE_MAX {
                let carried = Carried { height: at, hash: evidence.hash(), block: height };
                self.outcome.evidence.push(carried);
            }
            match &evidence {
                Evidence::DuplicateVote(duplicate) => {
                    let place = EvidencePlace {
                        database: database::BLOCKSTORE,
                        table: self.ctx.block_table(table::PART),
                        key: self.part_key(height, 0),
                        height,
                    };
                    self.check_duplicate_vote(duplicate, place)?;
                }
                Evidence::LightClientAttack(_) => self.outcome.attacks += 1,
            }
        }
        Ok(())
    }

    fn part_key(&self, height: u64, index: u32) -> Vec<u8> {
        let canonical = table::part_key(height, index);
        self.ctx.blocks.physical(table::PART, &canonical).unwrap_or_default()
    }

    fn part_finding(&mut self, check: &'static str, height: u64, index: u32, what: String) {
        let key = self.part_key(height, index);
        let name = self.ctx.block_table(table::PART);
        self.find(check, database::BLOCKSTORE, Some(name), &key, Some(height), what);
    }
}

fn check_proof(
    part: &Part<'_>,
    index: u32,
    total: u32,
    leaf: &Hash,
    root: &[u8],
) -> std::result::Result<(), &'static str> {
    if part.index != index || part.proof_index != i64::from(index) {
        return Err("the part is of another index than its key says");
    }
    if part.proof_total != i64::from(total) {
        return Err("the part's proof speaks of another number of parts");
    }
    if part.leaf_hash != leaf {
        return Err("the part's bytes don't have the hash in its proof");
    }
    let path: Option<Vec<Hash>> = part.aunts.iter().map(|aunt| (*aunt).try_into().ok()).collect();
    let reached =
        path.and_then(|path| root_from_path(*leaf, u64::from(index), u64::from(total), &path));
    match reached {
        Some(reached) if reached == root => Ok(()),
        _ => Err("the part's proof doesn't lead to the root that the block's header commits to"),
    }
}
