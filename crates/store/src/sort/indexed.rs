//! Sorted records that can be read from any key on: a spool and where every so many bytes of it
//! begin.

use super::{Scratch, Sequence, Spool, SpoolReader, Spooled};
use crate::{Error, Kind, Result};

/// Bytes of records between two entries of the index: what a search reads in vain, at most.
const STRIDE_BYTES: u64 = 64 << 10;

/// Takes sorted records.
#[derive(Debug)]
pub struct IndexedBuilder<'a> {
    spool: Spool<'a>,
    key_bytes: usize,
    index: Vec<(Box<[u8]>, u64)>,
    last: Vec<u8>,
}

impl<'a> IndexedBuilder<'a> {
    /// An empty one. A record's first `key_bytes` are its key; keys strictly increase. It holds
    /// up to `memory_bytes_max` in memory, and the index beside it.
    #[must_use]
    pub fn new(scratch: &'a Scratch, memory_bytes_max: usize, key_bytes: usize) -> Self {
        let spool = Spool::new(scratch, memory_bytes_max);
        Self { spool, key_bytes, index: Vec::new(), last: Vec::new() }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] for a record that is shorter than a key, or whose key isn't
    /// greater than the last one's; those of writing the scratch file.
    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        let wrong = |what| Error::new(Kind::InvalidInput, "keep sorted records", what);
        let key = record.get(..self.key_bytes).ok_or_else(|| wrong("a record without a key"))?;
        if self.spool.records() > 0 && self.last.as_slice() >= key {
            return Err(wrong("two records with one key, or out of order"));
        }
        let position = self.spool.position();
        if self.index.last().is_none_or(|(_, last)| position - last >= STRIDE_BYTES) {
            self.index.push((key.into(), position));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.spool.push(record)
    }

    /// No more records.
    ///
    /// # Errors
    /// Those of writing the scratch file.
    pub fn finish(self) -> Result<Indexed> {
        Ok(Indexed { spooled: self.spool.finish()?, key_bytes: self.key_bytes, index: self.index })
    }
}

/// Sorted records.
#[derive(Debug, Default)]
pub struct Indexed {
    spooled: Spooled,
    key_bytes: usize,
    index: Vec<(Box<[u8]>, u64)>,
}

impl Indexed {
    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.spooled.records()
    }

    /// Reads from the first record on whose key isn't below `from`.
    ///
    /// # Errors
    /// Those of reading the scratch file.
    pub fn seek(&self, from: &[u8], buffer_bytes: usize) -> Result<SpoolReader> {
        let after = self.index.partition_point(|(key, _)| **key <= *from);
        let position = after.checked_sub(1).map_or(0, |at| self.index[at].1);
        let mut reader = self.spooled.reader_at(position, buffer_bytes)?;
        while reader.current().is_some_and(|record| &record[..self.key_bytes] < from) {
            reader.advance()?;
        }
        Ok(reader)
    }

    /// The keys that the index has between `start` (excluded) and `end` (excluded; none is the
    /// end), each with the bytes of records up to the one before it.
    pub fn keys(&self, start: &[u8], end: Option<&[u8]>) -> impl Iterator<Item = (&[u8], u64)> {
        let first = self.index.partition_point(|(key, _)| **key <= *start);
        let before = first.checked_sub(1).map_or(0, |at| self.index[at].1);
        self.index[first..]
            .iter()
            .take_while(move |(key, _)| end.is_none_or(|end| **key < *end))
            .scan(before, |before, (key, position)| {
                let bytes = position - std::mem::replace(before, *position);
                Some((&**key, bytes))
            })
    }

    /// About how many bytes the records between two keys take.
    #[must_use]
    pub fn bytes(&self, start: &[u8], end: Option<&[u8]>) -> u64 {
        let at = |key: &[u8]| {
            let after = self.index.partition_point(|(known, _)| **known < *key);
            self.index.get(after).map_or(self.spooled.bytes(), |(_, position)| *position)
        };
        end.map_or(self.spooled.bytes(), at).saturating_sub(at(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(memory_bytes_max: usize) -> Indexed {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        let mut builder = IndexedBuilder::new(&scratch, memory_bytes_max, 4);
        for number in 0..20_000_u32 {
            let mut record = (number * 2).to_be_bytes().to_vec();
            record.extend([0xff; 20]);
            builder.push(&record).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn a_search_ends_at_the_first_key_that_isnt_below() {
        for memory_bytes_max in [usize::MAX, 0] {
            let indexed = indexed(memory_bytes_max);
            for wanted in [0_u32, 1, 2, 4_681, 4_682, 39_997, 39_998] {
                let reader = indexed.seek(&wanted.to_be_bytes(), 0).unwrap();
                let found = u32::from_be_bytes(*reader.current().unwrap().first_chunk().unwrap());
                assert_eq!(found, wanted.next_multiple_of(2));
            }
            assert!(indexed.seek(&39_999_u32.to_be_bytes(), 0).unwrap().current().is_none());
            // A longer key is beyond its beginning, whatever follows in the record.
            let longer = [8_u32.to_be_bytes().as_slice(), &[0]].concat();
            let reader = indexed.seek(&longer, 0).unwrap();
            assert_eq!(reader.current().unwrap()[..4], 10_u32.to_be_bytes());
        }
    }

    #[test]
    fn the_index_divides_records_evenly() {
        let indexed = indexed(usize::MAX);
        let all: Vec<(&[u8], u64)> = indexed.keys(&[], None).collect();
        assert!(all.len() > 5 && all[1..].iter().all(|(_, bytes)| *bytes < STRIDE_BYTES + 100));
        assert_eq!(indexed.bytes(&[], None), 20_000 * 28);
        let half = indexed.bytes(&20_000_u32.to_be_bytes(), None);
        assert!(half.abs_diff(10_000 * 28) <= STRIDE_BYTES, "{half}");
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        let mut builder = IndexedBuilder::new(&scratch, 0, 2);
        builder.push(b"bb").unwrap();
        for record in [b"bb".as_slice(), b"ba", b"b"] {
            assert_eq!(builder.push(record).unwrap_err().kind(), Kind::InvalidInput);
        }
    }
}
