//! LMDB's file format: meta pages, branch and leaf pages, as `mdb.c` lays them out on 64-bit
//! little-endian machines.
//!
//! A page begins with `u64` its own number, `u16` unused, `u16` flags; then a branch or leaf has
//! `u16` lower and `u16` upper end of its free space, and from 16 on the nodes' offsets, `u16`
//! each; an overflow run has `u32` its number of pages, and from 16 on the value. A node is `u16`
//! low, `u16` high, `u16` flags, `u16` key length, the key, and in a leaf the value: its length
//! is low and high, in a branch low, high and flags are the child's number.
//!
//! Every function takes any bytes; what contradicts itself is none, which callers name.

use crate::little_endian::{u16_at, u32_at, u64_at};

/// Before the node offsets, or an overflow run's value.
pub(super) const HEADER_BYTES: usize = 16;

/// Node headers, before the key.
const NODE_BYTES: usize = 8;

const MAGIC: u32 = 0xbeef_c0de;
const DATA_VERSION: u32 = 1;

/// LMDB's smallest and largest page.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 256..=65_536;

/// The empty tree's root.
const NO_PAGE: u64 = u64::MAX;

/// LMDB's cursors have a stack of 32.
const DEPTH_MAX: u16 = 32;

const FLAG_BRANCH: u16 = 0x01;
const FLAG_LEAF: u16 = 0x02;
const FLAG_OVERFLOW: u16 = 0x04;
const FLAG_META: u16 = 0x08;

/// A meta page: where a state of the environment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_bytes: u32,
    pub(super) transaction: u64,
    pub(super) main: Tree,
}

/// Why a meta page can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaFault {
    /// It isn't LMDB's, or damaged.
    Damaged,
    /// It has this version.
    Version(u32),
}

impl Meta {
    /// Bytes of a meta page that are needed.
    pub(super) const BYTES: usize = HEADER_BYTES + 24 + 2 * Tree::BYTES + 16;

    pub(super) fn decode(page: &[u8]) -> Result<Self, MetaFault> {
        Self::fields(page).ok_or(MetaFault::Damaged)?
    }

    fn fields(page: &[u8]) -> Option<Result<Self, MetaFault>> {
        let meta = page.get(HEADER_BYTES..)?;
        if u16_at(page, 10)? & FLAG_META == 0 || u32_at(meta, 0)? != MAGIC {
            return None;
        }
        let version = u32_at(meta, 4)?;
        if version != DATA_VERSION {
            return Some(Err(MetaFault::Version(version)));
        }
        // The free list's record carries the page size where others have padding.
        let page_bytes = u32_at(meta, 24)?;
        if !PAGE_BYTES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return None;
        }
        let main = Tree::decode(meta.get(24 + Tree::BYTES..)?)?;
        let transaction = u64_at(meta, 24 + 2 * Tree::BYTES + 8)?;
        Some(Ok(Self { page_bytes, transaction, main }))
    }
}

/// The record of one database: `u32` padding, `u16` flags, `u16` depth, then `u64` branch pages,
/// leaf pages, overflow pages, entries, root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// Sorting that isn't plain byte order, duplicates: anything but 0 is refused.
    pub(super) flags: u16,
    pub(super) depth: u16,
    /// Branch, leaf and overflow pages.
    pub(super) pages: u64,
    pub(super) entries: u64,
    /// None for the empty tree.
    pub(super) root: Option<u64>,
}

impl Tree {
    pub(super) const BYTES: usize = 48;

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, depth) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
        let pages =
            u64_at(bytes, 8)?.checked_add(u64_at(bytes, 16)?)?.checked_add(u64_at(bytes, 24)?)?;
        let entries = u64_at(bytes, 32)?;
        let root = Some(u64_at(bytes, 40)?).filter(|root| *root != NO_PAGE);
        let is_sound = depth <= DEPTH_MAX && root.is_some() == (depth > 0);
        is_sound.then_some(Self { flags, depth, pages, entries, root })
    }
}

/// What a page of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    Branch,
    Leaf,
}

/// The kind and number of nodes of the tree page `number`.
pub(super) fn tree_page(page: &[u8], number: u64) -> Option<(PageKind, usize)> {
    let kind = match u16_at(page, 10)? & 0x2f {
        FLAG_BRANCH => PageKind::Branch,
        FLAG_LEAF => PageKind::Leaf,
        _ => return None,
    };
    let (lower, upper) = (usize::from(u16_at(page, 12)?), usize::from(u16_at(page, 14)?));
    let nodes = lower.checked_sub(HEADER_BYTES)? / 2;
    let is_sound = u64_at(page, 0)? == number && nodes > 0 && lower <= upper;
    (is_sound && upper <= page.len()).then_some((kind, nodes))
}

/// The pages of the overflow run that begins at page `number`.
pub(super) fn overflow_pages(header: &[u8], number: u64) -> Option<u32> {
    let is_overflow = u16_at(header, 10)? & 0x2f == FLAG_OVERFLOW;
    (is_overflow && u64_at(header, 0)? == number).then(|| u32_at(header, 12))?
}

/// The key of a node, and the page below it.
pub(super) fn branch_node(page: &[u8], index: usize) -> Option<(&[u8], u64)> {
    let (node, key, _) = node(page, index)?;
    let number = u64::from(u32_at(node, 0)?) | u64::from(u16_at(node, 4)?) << 32;
    Some((key, number))
}

/// What a leaf's node holds for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Inline(&'a [u8]),
    /// In an overflow run.
    Overflow {
        page: u64,
        length: u32,
    },
    /// The record of a named database.
    Database(&'a [u8]),
    /// Several values of one key.
    Duplicates,
}

/// A node of a leaf.
pub(super) fn leaf_node(page: &[u8], index: usize) -> Option<(&[u8], Value<'_>)> {
    let (node, key, rest) = node(page, index)?;
    let length = u32_at(node, 0)?;
    let value = match u16_at(node, 4)? {
        0 => Value::Inline(rest.get(..usize::try_from(length).ok()?)?),
        1 => Value::Overflow { page: u64_at(rest, 0)?, length },
        2 => Value::Database(rest.get(..usize::try_from(length).ok()?)?),
        flags if flags & 4 != 0 => Value::Duplicates,
        _ => return None,
    };
    Some((key, value))
}

/// A node, its key, and what follows it.
fn node(page: &[u8], index: usize) -> Option<(&[u8], &[u8], &[u8])> {
    let offset = u16_at(page, HEADER_BYTES.checked_add(index.checked_mul(2)?)?)?;
    let node = page.get(usize::from(offset)..)?;
    let key_end = NODE_BYTES + usize::from(u16_at(node, 6)?);
    Some((node, node.get(NODE_BYTES..key_end)?, node.get(key_end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 256];
        page[0] = 9;
        page[10] = 2;
        page[12..14].copy_from_slice(&18u16.to_le_bytes());
        page[14..16].copy_from_slice(&200u16.to_le_bytes());
        page[16..18].copy_from_slice(&200u16.to_le_bytes());
        page[200..204].copy_from_slice(&2u32.to_le_bytes());
        page[206] = 3;
        page[208..213].copy_from_slice(b"keyvv");
        page
    }

    #[test]
    fn a_leaf_is_read_and_a_page_that_is_not_its_own_is_refused() {
        let page = leaf();
        assert_eq!(tree_page(&page, 9), Some((PageKind::Leaf, 1)));
        assert_eq!(tree_page(&page, 8), None);
        assert_eq!(leaf_node(&page, 0), Some((&b"key"[..], Value::Inline(b"vv"))));
    }

    #[test]
    fn a_node_that_leaves_its_page_is_refused() {
        let mut page = leaf();
        page[200..204].copy_from_slice(&200u32.to_le_bytes());
        assert_eq!(leaf_node(&page, 0), None);
        page[206] = 255;
        assert_eq!(leaf_node(&page, 0), None);
        page[16..18].copy_from_slice(&255u16.to_le_bytes());
        assert_eq!(leaf_node(&page, 0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(
            mut page in proptest::collection::vec(any::<u8>(), 0..400),
            flags in 0u8..32,
            index in any::<usize>(),
        ) {
            if let Some(byte) = page.get_mut(10) {
                *byte = flags;
            }
            let _ = (Meta::decode(&page), Tree::decode(&page), overflow_pages(&page, 0));
            let number = u64_at(&page, 0).unwrap_or(0);
            let nodes = tree_page(&page, number).map_or(0, |(_, nodes)| nodes);
            for index in (0..nodes).chain([index]) {
                let _ = (branch_node(&page, index), leaf_node(&page, index));
            }
        }
    }
}
