//! The checksum beside blocks and records of LevelDB, RocksDB and Pebble.
//!
//! Source: LevelDB `util/crc32c.h`. A checksum that is stored beside data which itself holds
//! checksums is rotated and offset ("masked").

/// The masked CRC-32C of `parts`, one after another.
pub(crate) fn masked_crc(parts: &[&[u8]]) -> u32 {
    let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
