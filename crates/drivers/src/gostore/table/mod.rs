//! Sorted tables, written as Pebble writes them and taken in by Pebble's own ingest.
//!
//! A table is data blocks, an index in two levels, properties, a metaindex and a footer
//! (RocksDB `table/format.h`, Pebble `sstable/table.go`). Every block is followed by a byte for its
//! compression (0 none, 1 Snappy) and the u32 LE masked CRC-32C of block and byte. For the same
//! entries the file is, byte for byte, the one that Pebble's `sstable.Writer` makes with the
//! options of a node (Snappy, blocks of 4 KiB, no filter); the golden tests hold it to that.
//!
//! Every entry is a put with sequence number 0: Pebble gives a table that it takes in a sequence
//! number of its own.

mod block;
mod properties;
mod separator;
mod writer;

use transload_model::engine::Engine;

pub(super) use writer::TableWriter;

/// Pebble 1 refuses tables older than its own from this format version on.
const PEBBLE1_OWN_TABLES_FORMAT: u32 = 9;

/// Which format a table is in. All that differs here is the footer and a few properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableFormat {
    /// RocksDB's block-based tables, version 2: what Pebble 1 writes at format 1, and the newest
    /// that it takes in there.
    RocksDbV2,
    /// Pebble's first own tables: the oldest that Pebble 2 takes in.
    PebbleV1,
}

impl TableFormat {
    /// The tables that a store of this engine and format version takes in, where it takes any.
    pub(super) fn taken_in_by(engine: Engine, store_format: u32) -> Option<Self> {
        match engine {
            Engine::Pebble1 if store_format < PEBBLE1_OWN_TABLES_FORMAT => Some(Self::RocksDbV2),
            Engine::Pebble1 | Engine::Pebble2 => Some(Self::PebbleV1),
            _ => None,
        }
    }

    fn version(self) -> u32 {
        match self {
            TableFormat::RocksDbV2 => 2,
            TableFormat::PebbleV1 => 1,
        }
    }

    fn magic(self) -> [u8; 8] {
        match self {
            TableFormat::RocksDbV2 => 0x88e2_41b7_85f4_cff7_u64.to_le_bytes(),
            TableFormat::PebbleV1 => [0xf0, 0x9f, 0xaa, 0xb3, 0xf0, 0x9f, 0xaa, 0xb3],
        }
    }
}

/// Appends a varint of 7 bits a byte, the lowest first.
fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// How many bytes [`put_varint`] appends.
fn varint_bytes(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    (bits.max(1) as usize).div_ceil(7)
}

#[cfg(test)]
mod golden;
