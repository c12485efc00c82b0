//! LevelDB's masked CRC-32C.
//!
//! Source: LevelDB `util/crc32c.h`: a checksum that is stored beside data which itself holds
//! checksums is rotated and offset.

use transload_store::{Error, Kind, Result};

/// The masked checksum of `parts`, one after another.
pub(super) fn masked(parts: &[&[u8]]) -> u32 {
    let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A little-endian u32 at `at`; `None` beyond the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let slice = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([slice[0], slice[1], slice[2], slice[3]]))
}

/// A little-endian u64 at `at`; `None` beyond the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let (low, high) = (u32_at(bytes, at)?, u32_at(bytes, at.checked_add(4)?)?);
    Some(u64::from(high) << 32 | u64::from(low))
}

/// Takes a LEB128 varint off the front of `bytes`; `None` when it is cut off or above u64.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a varint length and so many bytes.
pub(super) fn prefixed<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Stored bytes that contradict themselves, with the place.
pub(super) fn corrupt(file: &str, offset: u64, what: &str) -> Error {
    Error::new(Kind::Corrupt, "read LevelDB", what)
        .with("file", file)
        .with("offset", offset.to_string())
}

/// `None` as corruption at a place.
pub(super) fn sound<T>(value: Option<T>, file: &str, offset: u64, what: &str) -> Result<T> {
    value.ok_or_else(|| corrupt(file, offset, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_end_where_they_end() {
        let mut bytes = &[0xac, 0x02, 0x01][..];
        assert_eq!((varint(&mut bytes), bytes), (Some(300), &[1][..]));
        assert_eq!(varint(&mut &[0x80][..]), None);
        assert_eq!(varint(&mut &[0xff; 10][..]), None);
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(varint(&mut &largest[..]), Some(u64::MAX));
    }

    #[test]
    fn the_mask_is_that_of_leveldb() {
        // util/crc32c_test.cc: the standard CRC-32C of 32 zero bytes is 0x8a9136aa.
        let crc = 0x8a91_36aa_u32;
        assert_eq!(masked(&[&[0; 32]]), crc.rotate_right(15).wrapping_add(0xa282_ead8));
        assert_eq!(masked(&[&[0; 16], &[0; 16]]), masked(&[&[0; 32]]));
    }
}
