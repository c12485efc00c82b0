//! Whether a block meta may judge other records. Most records of a height are held against its
//! meta: where that is wrong itself, it is named, and what it would say of the others is no
//! finding about them.

use super::Ctx;
use crate::cometbft::layout::blockstore as table;
use crate::cometbft::wire::BlockId;
use crate::cometbft::wire::block::BlockMeta;
use transload_codec::proto::Fields;
use transload_store::Result;

/// Why records that a wrong meta would judge weren't looked at.
pub(super) const META_IS_WRONG: &str = "a block meta that is wrong itself says nothing of others";

impl Ctx<'_> {
    /// What is wrong with a meta by itself: it has its header's hash, and is of this height and
    /// chain.
    pub(super) fn faults_of_meta(&self, height: u64, meta: &BlockMeta<'_>) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if meta.block_id.hash != meta.header.hash() {
            faults.push("the header doesn't hash to the block's id");
        }
        if u64::try_from(meta.header.height) != Ok(height) {
            faults.push("the header is of another height");
        }
        if meta.header.chain_id != self.chain_id {
            faults.push("the header is of another chain");
        }
        faults
    }

    fn is_whole(&self, height: u64, meta: &BlockMeta<'_>) -> bool {
        self.faults_of_meta(height, meta).is_empty()
    }

    /// The stored meta of a height, where it is whole.
    pub(super) fn whole_meta(&self, height: u64) -> Result<Option<Vec<u8>>> {
        let stored = self.blocks.at(table::META, height)?;
        let holds = |value: &Vec<u8>| {
            BlockMeta::decode(value).is_ok_and(|meta| self.is_whole(height, &meta))
        };
        Ok(stored.filter(holds))
    }

    /// Whether the height's commit and the next header agree on another block than the meta's:
    /// then the meta is the one that is wrong, whole as it is.
    pub(super) fn is_disowned(
        &self,
        height: u64,
        meta: &BlockMeta<'_>,
        commit: Option<&[u8]>,
    ) -> Result<bool> {
        let Some(committed) = commit.and_then(block_id_of) else { return Ok(false) };
        if committed == meta.block_id || height >= self.last {
            return Ok(false);
        }
        let above = self.whole_meta(height + 1)?;
        let above = above.as_deref().map(BlockMeta::decode);
        Ok(above.is_some_and(|above| above.is_ok_and(|it| it.header.last_block_id == committed)))
    }

    /// Whether a meta may judge other records of its height.
    pub(super) fn may_judge(
        &self,
        height: u64,
        meta: &BlockMeta<'_>,
        commit: Option<&[u8]>,
    ) -> Result<bool> {
        Ok(self.is_whole(height, meta) && !self.is_disowned(height, meta, commit)?)
    }
}

/// The block that a commit is for, without its signatures, which are most of it.
fn block_id_of(commit: &[u8]) -> Option<BlockId<'_>> {
    let mut fields = Fields::new(commit);
    while let Some(field) = fields.next().ok()? {
        if field.number == 3 {
            return BlockId::decode(field.bytes().ok()?).ok();
        }
    }
    None
}
