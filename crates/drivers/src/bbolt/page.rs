//! bbolt's file format: meta, branch and leaf pages, as `page.go`, `db.go` and `bucket.go` of
//! go.etcd.io/bbolt lay them out on little-endian machines (version 2 of the format).
//!
//! A page begins with `u64` its own number, `u16` flags, `u16` its number of elements and `u32`
//! how many further pages it runs over. Elements of 16 bytes follow: in a branch `u32` position,
//! `u32` key length and `u64` page below; in a leaf `u32` flags, `u32` position, `u32` key length
//! and `u32` value length. A position counts from its own element; the value follows the key.
//! A bucket is a leaf's value: `u64` root page, `u64` sequence, and where the root is 0 a leaf page
//! of its own.
//!
//! Every function takes any bytes; what contradicts itself is none, which callers name.

use crate::little_endian::{u16_at, u32_at, u64_at};

/// Before the elements.
pub(super) const HEADER_BYTES: usize = 16;

const ELEMENT_BYTES: usize = 16;

/// A bucket's root and sequence, before a leaf page that stands in the bucket itself.
const BUCKET_BYTES: usize = 16;

const MAGIC: u32 = 0xed0c_daed;
const FORMAT: u32 = 2;

/// From bbolt's smallest test pages to the largest page of a machine that it runs on.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// Before any tree: the two meta pages.
const META_PAGES: u64 = 2;

const FLAG_BRANCH: u16 = 0x01;
const FLAG_LEAF: u16 = 0x02;
const FLAG_META: u16 = 0x04;

/// The value of a leaf's element is a bucket.
const ELEMENT_BUCKET: u32 = 0x01;

/// A meta page: where a state of the file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_bytes: u32,
    /// The root page of the bucket of buckets.
    pub(super) root: u64,
    /// Pages of this state have lower numbers.
    pub(super) pages_end: u64,
    pub(super) transaction: u64,
}

/// Why a meta page can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaFault {
    /// It isn't bbolt's, or damaged.
    Damaged,
    /// It has this version.
    Version(u32),
}

impl Meta {
    /// Bytes of a meta page that are needed.
    pub(super) const BYTES: usize = HEADER_BYTES + SUMMED_BYTES + 8;

    pub(super) fn decode(page: &[u8]) -> Result<Self, MetaFault> {
        Self::fields(page).ok_or(MetaFault::Damaged)?
    }

    fn fields(page: &[u8]) -> Option<Result<Self, MetaFault>> {
        let meta = page.get(HEADER_BYTES..)?;
        if u16_at(page, 8)? & FLAG_META == 0 || u32_at(meta, 0)? != MAGIC {
            return None;
        }
        if fnv1a(meta.get(..SUMMED_BYTES)?) != u64_at(meta, SUMMED_BYTES)? {
            return None;
        }
        let version = u32_at(meta, 4)?;
        if version != FORMAT {
            return Some(Err(MetaFault::Version(version)));
        }
        let page_bytes = u32_at(meta, 8)?;
        let (root, pages_end) = (u64_at(meta, 16)?, u64_at(meta, 40)?);
        if !PAGE_BYTES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return None;
        }
        if root < META_PAGES || root >= pages_end {
            return None;
        }
        Some(Ok(Self { page_bytes, root, pages_end, transaction: u64_at(meta, 48)? }))
    }
}

/// What a meta page's checksum covers.
const SUMMED_BYTES: usize = 56;

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What a page of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    Branch,
    Leaf,
}

/// A page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) kind: PageKind,
    pub(super) elements: usize,
    /// Pages that it runs over beyond its own.
    pub(super) overflow: u32,
}

impl Header {
    pub(super) fn decode(page: &[u8]) -> Option<Self> {
        let kind = match u16_at(page, 8)? {
            FLAG_BRANCH => PageKind::Branch,
            FLAG_LEAF => PageKind::Leaf,
            _ => return None,
        };
        let elements = usize::from(u16_at(page, 10)?);
        if kind == PageKind::Branch && elements == 0 {
            return None;
        }
        Some(Self { number: u64_at(page, 0)?, kind, elements, overflow: u32_at(page, 12)? })
    }
}

/// The lowest key below an element of a branch, and the page below it.
pub(super) fn branch_element(page: &[u8], index: usize) -> Option<(&[u8], u64)> {
    let element = element(page, index)?;
    let key = parts(element, u32_at(element, 0)?, u32_at(element, 4)?, 0)?.0;
    Some((key, u64_at(element, 8)?))
}

/// An element of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) is_bucket: bool,
}

/// An element of a leaf; other flags than that of a bucket are none of bbolt's.
pub(super) fn leaf_element(page: &[u8], index: usize) -> Option<Element<'_>> {
    let element = element(page, index)?;
    let flags = u32_at(element, 0)?;
    if flags & !ELEMENT_BUCKET != 0 {
        return None;
    }
    let position = u32_at(element, 4)?;
    let (key, value) = parts(element, position, u32_at(element, 8)?, u32_at(element, 12)?)?;
    Some(Element { key, value, is_bucket: flags == ELEMENT_BUCKET })
}

/// What follows from an element's beginning on.
fn element(page: &[u8], index: usize) -> Option<&[u8]> {
    page.get(HEADER_BYTES.checked_add(index.checked_mul(ELEMENT_BYTES)?)?..)
}

fn parts(element: &[u8], position: u32, key: u32, value: u32) -> Option<(&[u8], &[u8])> {
    let [position, key, value] = [position, key, value].map(usize::try_from);
    let rest = element.get(position.ok()?..)?;
    let (key, rest) = rest.split_at_checked(key.ok()?)?;
    Some((key, rest.get(..value.ok()?)?))
}

/// Where a bucket's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bucket<'a> {
    /// Below this page.
    Page(u64),
    /// In the bucket itself: a leaf page.
    Inline(&'a [u8]),
}

pub(super) fn bucket(value: &[u8]) -> Option<Bucket<'_>> {
    Some(match u64_at(value, 0)? {
        0 => Bucket::Inline(value.get(BUCKET_BYTES..)?),
        root => Bucket::Page(root),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A whole meta page, by itself.
    pub(in crate::bbolt) fn meta_page(
        number: u8,
        page_bytes: usize,
        root: u8,
        pages_end: u8,
    ) -> Vec<u8> {
        let mut page = vec![0; page_bytes];
        (page[0], page[8]) = (number, 4);
        page[16..20].copy_from_slice(&MAGIC.to_le_bytes());
        page[20] = 2;
        page[24..28].copy_from_slice(&u32::try_from(page_bytes).unwrap().to_le_bytes());
        (page[32], page[56], page[64]) = (root, pages_end, 7);
        let sum = fnv1a(&page[16..72]);
        page[72..80].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 64];
        page[0] = 9;
        page[8] = 2;
        page[10] = 1;
        page[20] = 16;
        page[24] = 3;
        page[28] = 2;
        page[32..37].copy_from_slice(b"keyvv");
        page
    }

    #[test]
    fn a_leaf_is_read_and_an_element_that_leaves_it_is_refused() {
        let mut page = leaf();
        let header = Header::decode(&page).unwrap();
        let expected = Header { number: 9, kind: PageKind::Leaf, elements: 1, overflow: 0 };
        assert_eq!(header, expected);
        let found = leaf_element(&page, 0).unwrap();
        assert_eq!((found.key, found.value, found.is_bucket), (&b"key"[..], &b"vv"[..], false));
        page[28] = 30;
        assert_eq!(leaf_element(&page, 0), None);
        page[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(leaf_element(&page, 0), None);
        assert_eq!(leaf_element(&page, usize::MAX), None);
    }

    #[test]
    fn a_meta_page_that_does_not_have_its_checksum_is_damaged() {
        let mut page = meta_page(0, 4096, 3, 5);
        page[72] ^= 1;
        assert_eq!(Meta::decode(&page), Err(MetaFault::Damaged));
        page[72] ^= 1;
        let meta = Meta { page_bytes: 4096, root: 3, pages_end: 5, transaction: 7 };
        assert_eq!(Meta::decode(&page), Ok(meta));
        page[20] = 3;
        let sum = fnv1a(&page[16..72]);
        page[72..80].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Meta::decode(&page), Err(MetaFault::Version(3)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(
            mut page in proptest::collection::vec(any::<u8>(), 0..400),
            flags in 0u8..6,
            index in any::<usize>(),
        ) {
            if let Some(byte) = page.get_mut(8) {
                *byte = flags;
            }
            let _ = (Meta::decode(&page), bucket(&page));
            let elements = Header::decode(&page).map_or(0, |header| header.elements);
            for index in (0..elements).chain([index]) {
                let _ = (branch_element(&page, index), leaf_element(&page, index));
            }
        }
    }
}
