//! Doors for fuzzing: each takes bytes that anybody could have written, and must neither panic
//! nor allocate without bound, whatever they are.

use super::block::BlockCursor;
use super::internal_key::TAG_MAX;
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

/// The log format: how many records `bytes` holds, if it is a sound log.
#[must_use]
pub fn log_records(bytes: &[u8]) -> Option<usize> {
    log::records(bytes.to_vec(), "fuzz").ok().map(|found| found.places.len())
}

/// A write-ahead log: how many bytes of keys and values it leaves, if it is
/// sound.
#[must_use]
pub fn write_ahead_log(bytes: &[u8]) -> Option<usize> {
    let mut table = MemTable::default();
    table.add_log(bytes.to_vec(), "fuzz").ok()?;
    table.settle();
    let bytes = |at| table.tagged(at).0.len() + table.value(at).len();
    Some((0..table.len()).map(bytes).sum())
}

/// A manifest: how many tables it names, if it is sound.
#[must_use]
pub fn manifest(bytes: &[u8]) -> Option<usize> {
    Manifest::parse("fuzz", bytes.to_vec()).ok().map(|manifest| manifest.tables.len())
}

/// A block without its trailer: how many entries it holds, if it is sound.
#[must_use]
pub fn block(bytes: &[u8], seek: &[u8]) -> Option<usize> {
    let mut cursor = BlockCursor::new(bytes).ok()?;
    let mut entries = 0;
    while cursor.advance(bytes).ok()? {
        entries += usize::from(bytes.get(cursor.value()).is_some());
    }
    cursor.seek(bytes, (seek, TAG_MAX)).ok()?;
    Some(entries)
}

/// A whole table: how many entries it holds, if it is sound.
#[must_use]
pub fn table(bytes: &[u8]) -> Option<usize> {
    let size_bytes = bytes.len() as u64;
    let table = Table::open("fuzz", 1, Arc::new(Bytes(bytes.to_vec())), size_bytes).ok()?;
    let mut index = table.index_cursor().ok()?;
    let mut entries = 0;
    while index.advance(table.index()).ok()? {
        let content = table.block(table.handle(&index).ok()?).ok()?;
        entries += block(&content, b"seek")?;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
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
        assert!(table(whole).is_some_and(|entries| entries > 0));
        for cut in (0..whole.len()).step_by(7) {
            assert_eq!(table(&whole[..cut]), None);
        }
        for at in (0..whole.len()).step_by(3) {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x40;
            let _ = table(&damaged);
        }
    }
}
