//! One block of a table: prefix-compressed entries and restart points.
//!
//! Source: LevelDB `table/block_builder.cc`. Entry: varint shared, varint unshared, varint value
//! length, unshared key bytes, value. Then u32 LE restart offsets and their u32 LE count. Keys
//! are internal keys and ascend; that is checked as they are walked.

use super::encoding::{length, u32_at};
use super::internal_key::{TAG_BYTES, Tagged, is_before, split};
use std::cmp::Ordering;
use std::ops::Range;

/// Walks a block's entries in order. The block's bytes are handed to every call.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockCursor {
    entries_end: usize,
    restarts: usize,
    at: usize,
    key: Vec<u8>,
    value: Range<usize>,
    repeats: bool,
}

/// Why a block contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBlock(pub(super) &'static str);

const CUT_OFF: BadBlock = BadBlock("an entry of a block is cut off");
const NO_RESTARTS: BadBlock = BadBlock("a block's restart points are damaged");
const UNSORTED: BadBlock = BadBlock("a block's keys don't ascend");
const SHORT_KEY: BadBlock = BadBlock("an entry's key is too short for its tag");

impl BlockCursor {
    /// A cursor before the first entry of `block`.
    pub(super) fn new(block: &[u8]) -> Result<Self, BadBlock> {
        let mut cursor = Self::default();
        cursor.reset(block)?;
        Ok(cursor)
    }

    /// Begins again on another block and keeps the buffers.
    pub(super) fn reset(&mut self, block: &[u8]) -> Result<(), BadBlock> {
        let count_at = block.len().checked_sub(4).ok_or(NO_RESTARTS)?;
        let count = u32_at(block, count_at).ok_or(NO_RESTARTS)? as usize;
        let restart_bytes = count.checked_mul(4).ok_or(NO_RESTARTS)?;
        self.entries_end = count_at.checked_sub(restart_bytes).ok_or(NO_RESTARTS)?;
        self.restarts = count;
        self.at = 0;
        self.key.clear();
        self.value = 0..0;
        self.repeats = false;
        Ok(())
    }

    /// Goes to the next entry; false at the end.
    #[inline]
    pub(super) fn advance(&mut self, block: &[u8]) -> Result<bool, BadBlock> {
        if self.at >= self.entries_end {
            return Ok(false);
        }
        let mut rest = block.get(self.at..self.entries_end).ok_or(CUT_OFF)?;
        let (shared, unshared, value) = match *rest {
            // Lengths below 128 are one byte each: nearly all of them.
            [shared, unshared, value, ..] if (shared | unshared | value) < 128 => {
                rest = &rest[3..];
                (usize::from(shared), usize::from(unshared), usize::from(value))
            }
            _ => entry_lengths(&mut rest)?,
        };
        if shared > self.key.len() || rest.len() < unshared || rest.len() - unshared < value {
            return Err(CUT_OFF);
        }
        let added = &rest[..unshared];
        if shared + unshared < TAG_BYTES {
            return Err(SHORT_KEY);
        }
        self.repeats = false;
        if !self.key.is_empty() {
            match order_after(&self.key, shared, added) {
                Ordering::Less => {}
                Ordering::Equal => self.repeats = true,
                Ordering::Greater => return Err(UNSORTED),
            }
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(added);
        let value_at = self.entries_end - rest.len() + unshared;
        self.value = value_at..value_at + value;
        self.at = self.value.end;
        Ok(true)
    }

    /// Goes to the first entry that isn't before `target`; false when there is none.
    pub(super) fn seek(&mut self, block: &[u8], target: Tagged<'_>) -> Result<bool, BadBlock> {
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.restart_key(block, middle)?, target) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.key.clear();
        self.at = match low.checked_sub(1) {
            Some(restart) => self.restart(block, restart)?,
            None => 0,
        };
        while self.advance(block)? {
            if !is_before(&self.key, target) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The current internal key.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current key and tag; `None` before the first entry.
    #[inline]
    pub(super) fn tagged(&self) -> Option<Tagged<'_>> {
        split(&self.key)
    }

    /// Where the current value is in the block.
    #[inline]
    pub(super) fn value(&self) -> Range<usize> {
        self.value.clone()
    }

    /// Whether the entry before this one, in the same walk, was of the same user key.
    #[inline]
    pub(super) fn repeats(&self) -> bool {
        self.repeats
    }

    fn restart(&self, block: &[u8], index: usize) -> Result<usize, BadBlock> {
        let at = u32_at(block, self.entries_end + 4 * index).ok_or(NO_RESTARTS)? as usize;
        if at < self.entries_end || at == 0 { Ok(at) } else { Err(NO_RESTARTS) }
    }

    /// The whole key that stands at a restart point.
    fn restart_key<'a>(&self, block: &'a [u8], index: usize) -> Result<&'a [u8], BadBlock> {
        let at = self.restart(block, index)?;
        if self.entries_end == 0 {
            // An empty block has one restart point and no entry; nothing comes before its end.
            return Ok(&[]);
        }
        let mut rest = block.get(at..self.entries_end).ok_or(NO_RESTARTS)?;
        let (shared, unshared, _) = entry_lengths(&mut rest)?;
        if shared != 0 {
            return Err(NO_RESTARTS);
        }
        rest.get(..unshared).ok_or(CUT_OFF)
    }
}

fn entry_lengths(rest: &mut &[u8]) -> Result<(usize, usize, usize), BadBlock> {
    let mut next = || length(rest).ok_or(CUT_OFF);
    Ok((next()?, next()?, next()?))
}

/// How the user key in `old` stands to the one in the key made of `old`'s first `shared` bytes
/// and `added`: `Less` for a new key that ascends, `Equal` for another change of the same key
/// (which must not be newer), `Greater` for an order that can't be.
#[inline]
fn order_after(old: &[u8], shared: usize, added: &[u8]) -> Ordering {
    let old_user = old.len() - TAG_BYTES;
    let new_user = shared + added.len() - TAG_BYTES;
    let users = if shared <= old_user && shared <= new_user {
        let (left, right) = (&old[shared..old_user], &added[..new_user - shared]);
        match (left.first(), right.first()) {
            (Some(a), Some(b)) if a != b => a.cmp(b),
            _ => left.cmp(right),
        }
    } else {
        // Both begin with the same bytes, so the shorter one is a prefix of the other.
        old_user.cmp(&new_user)
    };
    users.then_with(|| {
        let mut tag = [0; TAG_BYTES];
        for (at, byte) in tag.iter_mut().enumerate() {
            let from = new_user + at;
            *byte = if from < shared { old[from] } else { added[from - shared] };
        }
        let newer = split(old).map_or(0, |(_, tag)| tag);
        if newer >= u64::from_le_bytes(tag) { Ordering::Equal } else { Ordering::Greater }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::leveldb::internal_key::TAG_MAX;
    use proptest::prelude::*;

    /// Encodes entries as LevelDB's block builder does.
    pub(in crate::leveldb) fn build(entries: &[(Vec<u8>, Vec<u8>)], interval: usize) -> Vec<u8> {
        let (mut block, mut restarts, mut last) = (Vec::new(), vec![0u32], Vec::new());
        let varint = |out: &mut Vec<u8>, mut value: usize| {
            while value >= 128 {
                out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
                value >>= 7;
            }
            out.push(u8::try_from(value).unwrap());
        };
        for (index, (key, value)) in entries.iter().enumerate() {
            let mut shared = 0;
            if index % interval == 0 {
                if index > 0 {
                    restarts.push(u32::try_from(block.len()).unwrap());
                }
            } else {
                shared = key.iter().zip(&last).take_while(|(a, b)| a == b).count();
            }
            varint(&mut block, shared);
            varint(&mut block, key.len() - shared);
            varint(&mut block, value.len());
            block.extend(&key[shared..]);
            block.extend(value);
            last.clone_from(key);
        }
        for restart in &restarts {
            block.extend(restart.to_le_bytes());
        }
        block.extend(u32::try_from(restarts.len()).unwrap().to_le_bytes());
        block
    }

    fn internal(user: &[u8], tag: u64) -> Vec<u8> {
        [user, &tag.to_le_bytes()].concat()
    }

    fn some_entries() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let key = proptest::collection::vec(0..3u8, 0..6);
        let value = proptest::collection::vec(any::<u8>(), 0..200);
        proptest::collection::btree_map((key, 0..4u64), value, 0..60).prop_map(|map| {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|((a, x), _), ((b, y), _)| a.cmp(b).then(y.cmp(x)));
            entries.into_iter().map(|((key, tag), value)| (internal(&key, tag), value)).collect()
        })
    }

    proptest! {
        #[test]
        fn entries_come_back_and_seeks_find_the_first_not_before(
            entries in some_entries(), interval in 1..20usize,
            target in proptest::collection::vec(0..3u8, 0..6)
        ) {
            let block = build(&entries, interval);
            let mut cursor = BlockCursor::new(&block).unwrap();
            let mut last: Option<Vec<u8>> = None;
            for (key, value) in &entries {
                prop_assert!(cursor.advance(&block).unwrap());
                prop_assert_eq!(cursor.key(), &key[..]);
                prop_assert_eq!(&block[cursor.value()], &value[..]);
                let user = key[..key.len() - 8].to_vec();
                prop_assert_eq!(cursor.repeats(), last.as_ref() == Some(&user));
                last = Some(user);
            }
            prop_assert!(!cursor.advance(&block).unwrap());
            let target = (&target[..], TAG_MAX);
            let expected = entries.iter().find(|(key, _)| !is_before(key, target));
            prop_assert_eq!(cursor.seek(&block, target).unwrap(), expected.is_some());
            if let Some((key, _)) = expected {
                prop_assert_eq!(cursor.key(), &key[..]);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_always_end(
            block in proptest::collection::vec(any::<u8>(), 0..300), key in any::<[u8; 3]>()
        ) {
            walk(&block, &key)?;
        }

        #[test]
        fn damaged_blocks_never_panic_and_always_end(
            entries in some_entries(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
            key in any::<[u8; 3]>()
        ) {
            let mut block = build(&entries, 4);
            let at = at.index(block.len());
            block[at] = byte;
            walk(&block, &key)?;
        }
    }

    fn walk(block: &[u8], key: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(mut cursor) = BlockCursor::new(block) {
            let mut steps = 0;
            while let Ok(true) = cursor.advance(block) {
                prop_assert!(cursor.value().end <= block.len());
                steps += 1;
                prop_assert!(steps <= block.len());
            }
            let _ = cursor.seek(block, (key, TAG_MAX));
        }
        Ok(())
    }

    #[test]
    fn keys_that_descend_are_refused() {
        for pair in [
            [internal(b"b", 1), internal(b"a", 1)],
            [internal(b"ab", 1), internal(b"a", 1)],
            [internal(b"a", 1), internal(b"a", 2)],
        ] {
            let block = build(&pair.map(|key| (key, Vec::new())), 16);
            let mut cursor = BlockCursor::new(&block).unwrap();
            assert_eq!(cursor.advance(&block), Ok(true));
            assert_eq!(cursor.advance(&block), Err(UNSORTED));
        }
    }
}
