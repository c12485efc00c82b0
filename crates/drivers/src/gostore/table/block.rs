//! A block of entries whose keys are in internal form, the shared start of each left out.
//!
//! Entry: varint bytes shared with the key before, varint other key bytes, varint value bytes, the
//! other key bytes, the value. At every restart point nothing is shared. After the entries: u32 LE
//! offsets of the restart points, u32 LE their number.
//!
//! An internal key is the user's key and u64 LE `sequence number << 8 | kind`.

use super::{put_varint, varint_bytes};

/// Kind 1, a put, with sequence number 0.
pub(super) const TRAILER_PUT: u64 = 1;

/// Kind 17, a separator, with the highest sequence number: what an index entry carries whose key
/// was shortened.
pub(super) const TRAILER_SEPARATOR: u64 = (0x00ff_ffff_ffff_ffff << 8) | 17;

/// Bytes of a trailer.
pub(super) const TRAILER_BYTES: usize = 8;

/// A block never holds more: offsets stand in 32 bits, and a value has at most 256 MiB.
const OFFSET_BYTES_MAX: usize = u32::MAX as usize;

/// Builds one block after another in the same memory.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    restart_interval: usize,
    buffer: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    next_restart: usize,
    key: Vec<u8>,
    previous_key: Vec<u8>,
}

impl BlockBuilder {
    /// A builder with a restart point every so many entries.
    pub(super) fn new(restart_interval: usize) -> Self {
        Self { restart_interval, ..Self::default() }
    }

    /// Entries since the last [`BlockBuilder::finish`].
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The block's bytes if it ended here.
    pub(super) fn size_bytes(&self) -> usize {
        self.buffer.len() + 4 * self.restarts.len() + 4
    }

    /// The last key that was added, in internal form.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.key
    }

    /// Whether a block that aims at `target_bytes` ends before an entry of these sizes: it is full,
    /// or it is nearly full and the entry would make it too large.
    pub(super) fn ends_before(
        &self,
        key_bytes: usize,
        value_bytes: usize,
        target_bytes: usize,
    ) -> bool {
        // Nine tenths, rounded up.
        let nearly_full_bytes = (target_bytes * 90).div_ceil(100);
        let size = self.size_bytes();
        if self.entries == 0 || size <= nearly_full_bytes {
            return self.entries != 0 && size >= target_bytes;
        }
        let restart = if self.entries.is_multiple_of(self.restart_interval) { 4 } else { 0 };
        let lengths = 4 + varint_bytes(key_bytes) + varint_bytes(value_bytes);
        size >= target_bytes || size + key_bytes + value_bytes + restart + lengths > target_bytes
    }

    /// Appends an entry under `user_key` and a trailer.
    pub(super) fn add(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        std::mem::swap(&mut self.key, &mut self.previous_key);
        self.key.clear();
        self.key.extend_from_slice(user_key);
        self.key.extend_from_slice(&trailer.to_le_bytes());
        self.append(value);
    }

    /// Appends an entry whose key has no trailer, as in properties and metaindex.
    pub(super) fn add_plain(&mut self, key: &[u8], value: &[u8]) {
        std::mem::swap(&mut self.key, &mut self.previous_key);
        self.key.clear();
        self.key.extend_from_slice(key);
        self.append(value);
    }

    fn append(&mut self, value: &[u8]) {
        let shared = if self.entries == self.next_restart {
            self.next_restart = self.entries.saturating_add(self.restart_interval);
            debug_assert!(self.buffer.len() <= OFFSET_BYTES_MAX);
            // A block ends long before: its target is kilobytes, one entry is below 304 MiB.
            self.restarts.push(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
            0
        } else {
            shared_bytes(&self.previous_key, &self.key)
        };
        let rest = &self.key[shared..];
        put_varint(&mut self.buffer, shared as u64);
        put_varint(&mut self.buffer, rest.len() as u64);
        put_varint(&mut self.buffer, value.len() as u64);
        self.buffer.extend_from_slice(rest);
        self.buffer.extend_from_slice(value);
        self.entries += 1;
    }

    /// Completes the block and gives its bytes; the builder is empty from then on but for
    /// [`BlockBuilder::last_key`]. Call [`BlockBuilder::clear`] before the next block.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.restarts.is_empty() {
            self.restarts.push(0);
        }
        for restart in &self.restarts {
            self.buffer.extend_from_slice(&restart.to_le_bytes());
        }
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        self.buffer.extend_from_slice(&count.to_le_bytes());
        &self.buffer
    }

    /// Forgets the block and keeps its memory, unless that was for one large entry.
    pub(super) fn clear(&mut self) {
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.restarts.clear();
        self.key.clear();
        self.previous_key.clear();
        (self.entries, self.next_restart) = (0, 0);
    }
}

/// Memory that a builder keeps between blocks; more was for one large entry.
pub(super) const KEPT_BYTES_MAX: usize = 1 << 20;

/// How many bytes two keys begin with in common.
pub(super) fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count() * 8;
    let rest = a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count();
    words + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leaves_out_what_it_shares_with_the_one_before() {
        let mut block = BlockBuilder::new(16);
        block.add_plain(b"tweedledee", b"1");
        block.add_plain(b"tweedledum", b"socks");
        let expected = b"\x00\x0a\x01tweedledee1\x08\x02\x05umsocks\0\0\0\0\x01\0\0\0";
        assert_eq!(block.finish(), expected);
    }

    #[test]
    fn nothing_is_shared_at_a_restart_point() {
        let mut block = BlockBuilder::new(1);
        block.add_plain(b"aa", b"");
        block.add_plain(b"ab", b"");
        let expected = b"\x00\x02\x00aa\x00\x02\x00ab\0\0\0\0\x05\0\0\0\x02\0\0\0";
        assert_eq!(block.finish(), expected);
    }

    #[test]
    fn a_block_without_entries_has_one_restart_point() {
        assert_eq!(BlockBuilder::new(16).finish(), b"\0\0\0\0\x01\0\0\0");
    }

    #[test]
    fn the_size_that_is_told_is_the_size_that_comes() {
        let mut block = BlockBuilder::new(3);
        for n in 0..10u8 {
            block.add(&[b'k', n], TRAILER_PUT, &[n; 7]);
        }
        let told = block.size_bytes();
        assert_eq!(block.finish().len(), told);
    }

    #[test]
    fn shared_bytes_are_counted_in_words_and_beyond() {
        for length in 0..40 {
            let a = vec![7; 40];
            let mut b = a.clone();
            b[length] = 8;
            assert_eq!(shared_bytes(&a, &b), length);
            assert_eq!(shared_bytes(&a[..length], &a), length);
        }
    }
}
