//! Integers, lengths and checksums as LevelDB writes them.
//!
//! Source: LevelDB `util/coding.h`.

pub(super) use crate::checksum::masked_crc;
pub(super) use crate::little_endian::{u32_at, u64_at};

/// Takes a varint off the front of `bytes`; `None` when it is cut off or above u64.
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

/// Takes a varint that is a length in memory.
pub(super) fn length(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(varint(bytes)?).ok()
}

/// Takes a varint length and so many bytes.
pub(super) fn prefixed<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = length(bytes)?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
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
    fn a_length_beyond_the_bytes_takes_nothing() {
        assert_eq!(prefixed(&mut &[3, 1, 2][..]), None);
        assert_eq!(prefixed(&mut &[2, 1, 2][..]), Some(&[1, 2][..]));
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 7];
        assert_eq!(prefixed(&mut &huge[..]), None);
    }

    #[test]
    fn the_mask_is_that_of_leveldb() {
        // util/crc32c_test.cc: the standard CRC-32C of 32 zero bytes is 0x8a9136aa.
        let crc = 0x8a91_36aa_u32;
        assert_eq!(masked_crc(&[&[0; 32]]), crc.rotate_right(15).wrapping_add(0xa282_ead8));
        assert_eq!(masked_crc(&[&[0; 16], &[0; 16]]), masked_crc(&[&[0; 32]]));
    }
}
