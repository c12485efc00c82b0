//! What RocksDB's own log reader never gets past.
//!
//! Manifests and write-ahead logs are blocks of 32,768 bytes that hold records: a masked CRC-32C
//! (4 bytes, little-endian), a length (2 bytes, little-endian), a type (1 byte) and the payload.
//! Recyclable types have the log's number (4 bytes) before the payload. A recyclable record after
//! an ordinary one can only be damage, and the reader of RocksDB looks at the same one for ever
//! (`ReadPhysicalRecord` in `db/log_reader.cc`, seen in 11.8.1): one turned bit in a type is
//! enough. So the same walk is made here before the engine sees the files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use transload_store::{Error, Kind, Result};

use crate::checksum::masked_crc;

const BLOCK_BYTES: usize = 32_768;
const HEADER_BYTES: usize = 7;
const RECYCLABLE_HEADER_BYTES: usize = 11;

/// `db/log_format.h`.
mod kind {
    pub(super) const ZERO: u8 = 0;
    pub(super) const FULL: u8 = 1;
    pub(super) const FIRST: u8 = 2;
    pub(super) const MIDDLE: u8 = 3;
    pub(super) const LAST: u8 = 4;
    pub(super) const RECYCLABLE: std::ops::RangeInclusive<u8> = 5..=8;
    pub(super) const RECYCLABLE_TIMESTAMP_SIZE: u8 = 11;
    pub(super) const RECYCLABLE_PREDECESSOR: u8 = 131;
}

/// Looks at every log and manifest of `source`, in the folder `dir` where nobody writes them.
///
/// # Errors
/// [`Kind::Corrupt`] with the file and the place of the record that RocksDB would never leave.
pub(super) fn check(dir: &Path, source: &Path) -> Result<()> {
    let failed = |error| Error::io("open", dir, error);
    // Manifests that CURRENT doesn't name are left-overs.
    let manifest = fs::read_to_string(dir.join("CURRENT")).unwrap_or_default();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name != manifest.trim_end() && !name.ends_with(".log") {
            continue;
        }
        let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let stuck = trap(file).map_err(|error| Error::io("open", &path, error))?;
        if let Some(position) = stuck {
            let what = "a record that only recycled logs have follows one that they never have";
            return Err(Error::new(Kind::Corrupt, "open", what)
                .with("path", source.join(&*name).display().to_string())
                .with("position", position.to_string()));
        }
    }
    Ok(())
}

/// Where the reader would stay for ever.
fn trap(mut log: impl Read) -> std::io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let (mut is_recycled, mut was_read, mut is_inside) = (false, false, false);
    let mut is_damaged = false;
    let mut begins = 0;
    loop {
        block.clear();
        (&mut log).take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        let mut rest = block.as_slice();
        while let Some(&[c0, c1, c2, c3, low, high, kind]) = rest.first_chunk::<HEADER_BYTES>() {
            let is_recyclable = kind::RECYCLABLE.contains(&kind)
                || matches!(kind, kind::RECYCLABLE_TIMESTAMP_SIZE | kind::RECYCLABLE_PREDECESSOR);
            if is_recyclable && was_read && !is_recycled {
                return Ok(Some(begins + (block.len() - rest.len()) as u64));
            }
            is_recycled |= is_recyclable;
            let header = if is_recyclable { RECYCLABLE_HEADER_BYTES } else { HEADER_BYTES };
            let end = header + usize::from(u16::from_le_bytes([low, high]));
            // The reader goes on with the next block after anything that it can't take.
            let Some(record) = rest.get(..end) else {
                is_damaged = true;
                break;
            };
            let is_padding = kind == kind::ZERO && end == HEADER_BYTES;
            if is_padding || masked_crc(&[&record[6..]]) != u32::from_le_bytes([c0, c1, c2, c3]) {
                is_damaged |= !is_padding;
                break;
            }
            let is_whole = kind == kind::FULL || (kind == kind::LAST && is_inside);
            // Nothing after the first whole record behind damage is read.
            if is_whole && is_damaged {
                return Ok(None);
            }
            was_read |= is_whole;
            is_inside = kind == kind::FIRST || (is_inside && kind == kind::MIDDLE);
            rest = &rest[end..];
        }
        if block.len() < BLOCK_BYTES {
            return Ok(None);
        }
        begins += BLOCK_BYTES as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rocksdb::RocksdbDriver;
    use transload_store::{Driver as _, SourceOptions};

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let body = [&[kind], payload].concat();
        let mut record = masked_crc(&[&body]).to_le_bytes().to_vec();
        let numbered = if kind::RECYCLABLE.contains(&kind) { 4 } else { 0 };
        record.extend(u16::try_from(payload.len() - numbered).unwrap().to_le_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn whole_logs_and_torn_ones_are_passed() {
        let plain = [record(1, b"one"), record(2, b"two"), record(4, b"three")].concat();
        let recycled = [record(5, b"\x07\0\0\0one"), record(5, b"\x07\0\0\0two")].concat();
        for log in [&plain, &recycled] {
            for length in 0..=log.len() {
                assert_eq!(trap(&log[..length]).unwrap(), None, "{length} bytes");
            }
        }
        let zeros = [record(1, b"one"), vec![0; BLOCK_BYTES]].concat();
        assert_eq!(trap(zeros.as_slice()).unwrap(), None);
    }

    #[test]
    fn a_recyclable_record_after_an_ordinary_one_is_found_in_any_block() {
        let first = record(1, b"one");
        let log = [first.clone(), record(6, b"\x07\0\0\0two")].concat();
        assert_eq!(trap(log.as_slice()).unwrap(), Some(first.len() as u64));
        let mut second_block = first;
        second_block.resize(BLOCK_BYTES, 0);
        second_block.extend(record(8, b"\x07\0\0\0two"));
        assert_eq!(trap(second_block.as_slice()).unwrap(), Some(BLOCK_BYTES as u64));
    }

    /// Without the look the engine never comes back from the opening.
    #[test]
    fn a_bit_that_makes_a_manifest_endless_for_the_engine_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        drop(rocksdb::DB::open_default(&path).unwrap());
        let manifest = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let manifest = manifest
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST-"))
            .max()
            .unwrap();
        let mut bytes = fs::read(&manifest).unwrap();
        let second = HEADER_BYTES + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        bytes[second + 6] ^= 4;
        fs::write(&manifest, bytes).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let options = SourceOptions {
            scratch_dir: scratch.path().to_owned(),
            space: None,
            memory_bytes_max: 1 << 26,
        };
        let error = RocksdbDriver.open_source(&path, &options).err().unwrap();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().contains("MANIFEST"), "{error}");
    }
}
