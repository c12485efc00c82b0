//! Doors for fuzzing: each takes bytes that anybody could have written, and must neither panic
//! nor allocate without bound, whatever they are.

use super::block::BlockCursor;
use super::internal_key::{TAG_MAX, has_value};
use super::log;
use super::manifest::Manifest;
use super::memtable::MemTable;
use super::table::{ReadAt, Table};
use std::io;
use std::sync::Arc;

/// Bytes in memory in the place of a table's file.
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|from| self.0.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A key and what it holds.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A key and its new value, none where it is deleted.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// The log format: the records of `bytes`, if it is a sound log.
#[must_use]
pub fn log_records(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let log = log::records(bytes.to_vec(), "fuzz").ok()?;
    Some(log.places.into_iter().map(|(place, _)| log.bytes[place].to_vec()).collect())
}

/// A write-ahead log: the keys that it changes with their values, none where they are deleted, if
/// it is sound.
#[must_use]
pub fn write_ahead_log(bytes: &[u8]) -> Option<Vec<Change>> {
    let mut table = MemTable::default();
    table.add_log(bytes.to_vec(), "fuzz").ok()?;
    table.settle();
    let change = |at| {
        let (key, tag) = table.tagged(at);
        let value = has_value(tag)?.then(|| table.value(at).to_vec());
        Some((key.to_vec(), value))
    };
    (0..table.len()).map(change).collect()
}

/// A manifest: how many tables it names, if it is sound.
#[must_use]
pub fn manifest(bytes: &[u8]) -> Option<usize> {
    Manifest::parse("fuzz", bytes.to_vec()).ok().map(|manifest| manifest.tables.len())
}

/// A block without its trailer: its entries under their internal keys, if it is sound.
#[must_use]
pub fn block(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut cursor = BlockCursor::new(bytes).ok()?;
    let mut entries = Vec::new();
    while cursor.advance(bytes).ok()? {
        entries.push((cursor.key().to_vec(), bytes.get(cursor.value())?.to_vec()));
    }
    Some(entries)
}

/// Looks for a user key in a block: the first internal key that isn't before it, if the block is
/// sound and there is one.
#[must_use]
pub fn block_seek(bytes: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = BlockCursor::new(bytes).ok()?;
    cursor.seek(bytes, (key, TAG_MAX)).ok()?.then(|| cursor.key().to_vec())
}

/// A whole table: its entries under their internal keys, if it is sound.
#[must_use]
pub fn table(bytes: &[u8]) -> Option<Vec<Entry>> {
    let size_bytes = bytes.len() as u64;
    let table = Table::open("fuzz", 1, Arc::new(Bytes(bytes.to_vec())), size_bytes).ok()?;
    let mut index = table.index_cursor().ok()?;
    let mut entries = Vec::new();
    while index.advance(table.index()).ok()? {
        let content = table.block(table.handle(&index).ok()?).ok()?;
        entries.extend(block(&content)?);
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::super::encoding::masked_crc;
    use super::super::table::{Decoded, Handle};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_tables_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(table(&bytes), None);
        }
    }

    #[test]
    fn a_table_must_be_written_whole_to_be_sound() {
        let whole = include_bytes!("../../testdata/leveldb/deletions/000008.ldb");
        assert!(table(whole).is_some_and(|entries| !entries.is_empty()));
        for cut in (0..whole.len()).step_by(7) {
            assert_eq!(table(&whole[..cut]), None);
        }
        for at in (0..whole.len()).step_by(3) {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x40;
            let _ = table(&damaged);
        }
    }

    #[test]
    fn a_block_that_claims_more_than_it_can_hold_gets_no_memory() {
        let file =
            Arc::new(Bytes(include_bytes!("../../testdata/leveldb/deletions/000008.ldb").to_vec()));
        let size_bytes = file.0.len() as u64;
        let sound = Table::open("fuzz", 1, file, size_bytes).unwrap();
        // 200 MiB in ten bytes, under a right checksum.
        let mut stored = vec![0x80, 0x80, 0x80, 0x64, 0, 1, 2, 3, 4, 5, 1];
        let crc = masked_crc(&[&stored]);
        stored.extend(crc.to_le_bytes());
        let mut out = Vec::new();
        let handle = Handle { offset: 0, size_bytes: 10 };
        assert!(sound.decode(handle, &stored, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
        // The densest block that there is still fits.
        let zeros = vec![0; 1 << 20];
        let mut stored = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        stored.push(1);
        let crc = masked_crc(&[&stored]);
        stored.extend(crc.to_le_bytes());
        assert_eq!(
            sound.decode(handle, &stored, &mut out).unwrap(),
            Decoded::Decompressed(1 << 20)
        );
    }
}
