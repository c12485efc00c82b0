//! One block of a table: prefix-compressed entries and restart points.
//!
//! Source: LevelDB `table/block_builder.cc`. Entry: varint shared, varint unshared, varint value
//! length, unshared key bytes, value. Then u32 LE restart offsets and their u32 LE count.

use super::crc::{u32_at, varint};
use std::ops::Range;

/// A block's entries, walked in order.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockCursor {
    entries_end: usize,
    restarts: usize,
    at: usize,
    key: Vec<u8>,
    value: Range<usize>,
}

/// A block that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBlock;

impl BlockCursor {
    /// A cursor before the first entry of `block`.
    pub(super) fn new(block: &[u8]) -> Result<Self, BadBlock> {
        let mut cursor = Self::default();
        cursor.reset(block)?;
        Ok(cursor)
    }

    /// Begins again on another block and keeps the buffers.
    pub(super) fn reset(&mut self, block: &[u8]) -> Result<(), BadBlock> {
        let count_at = block.len().checked_sub(4).ok_or(BadBlock)?;
        let count = u32_at(block, count_at).ok_or(BadBlock)? as usize;
        let restart_bytes = count.checked_mul(4).ok_or(BadBlock)?;
        self.entries_end = count_at.checked_sub(restart_bytes).ok_or(BadBlock)?;
        self.restarts = count;
        self.at = 0;
        self.key.clear();
        self.value = 0..0;
        Ok(())
    }

    /// Goes to the next entry; false at the end.
    #[inline]
    pub(super) fn advance(&mut self, block: &[u8]) -> Result<bool, BadBlock> {
        if self.at >= self.entries_end {
            return Ok(false);
        }
        let mut rest = block.get(self.at..self.entries_end).ok_or(BadBlock)?;
        let (shared, unshared, value) = match *rest {
            // Lengths below 128 are one byte each: nearly all of them.
            [shared, unshared, value, ..] if (shared | unshared | value) < 128 => {
                rest = &rest[3..];
                (usize::from(shared), usize::from(unshared), usize::from(value))
            }
            _ => (length(&mut rest)?, length(&mut rest)?, length(&mut rest)?),
        };
        if shared > self.key.len() || rest.len() < unshared || rest.len() - unshared < value {
            return Err(BadBlock);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(&rest[..unshared]);
        let value_at = self.entries_end - rest.len() + unshared;
        self.value = value_at..value_at + value;
        self.at = self.value.end;
        Ok(true)
    }

    /// Goes to the first entry for which `before` is false; false when there is none.
    pub(super) fn seek(
        &mut self,
        block: &[u8],
        before: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, BadBlock> {
        let (mut low, mut high) = (0, self.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.restart_key(block, middle)?) {
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
            if !before(&self.key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The current key.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Where the current value is in the block.
    #[inline]
    pub(super) fn value(&self) -> Range<usize> {
        self.value.clone()
    }

    fn restart(&self, block: &[u8], index: usize) -> Result<usize, BadBlock> {
        let at = u32_at(block, self.entries_end + 4 * index).ok_or(BadBlock)? as usize;
        if at < self.entries_end { Ok(at) } else { Err(BadBlock) }
    }

    /// The whole key that stands at a restart point.
    fn restart_key<'a>(&self, block: &'a [u8], index: usize) -> Result<&'a [u8], BadBlock> {
        let at = self.restart(block, index)?;
        let mut rest = block.get(at..self.entries_end).ok_or(BadBlock)?;
        let (shared, unshared) = (length(&mut rest)?, length(&mut rest)?);
        let _value = length(&mut rest)?;
        if shared != 0 {
            return Err(BadBlock);
        }
        rest.get(..unshared).ok_or(BadBlock)
    }
}

fn length(bytes: &mut &[u8]) -> Result<usize, BadBlock> {
    varint(bytes).and_then(|length| usize::try_from(length).ok()).ok_or(BadBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_always_end(
            block in proptest::collection::vec(any::<u8>(), 0..300), key in any::<[u8; 3]>()
        ) {
            if let Ok(mut cursor) = BlockCursor::new(&block) {
                let mut steps = 0;
                while let Ok(true) = cursor.advance(&block) {
                    prop_assert!(cursor.value().end <= block.len());
                    steps += 1;
                    prop_assert!(steps <= block.len());
                }
                let _ = cursor.seek(&block, |other| other < &key[..]);
            }
        }
    }
}
