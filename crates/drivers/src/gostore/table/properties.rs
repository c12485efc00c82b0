//! The properties block: what a table says about itself, by name.
//!
//! Names and encodings are RocksDB's (`table/table_properties.cc`): counts are varints, some older
//! fields u32 or u64 LE, flags the digits 0 and 1. Pebble reads its comparator, its merger and its
//! counts there.

use super::TableFormat;
use super::block::BlockBuilder;
use super::put_varint;

/// The index has two levels.
const INDEX_TWO_LEVELS: u32 = 2;
/// The index is one block.
const INDEX_ONE_BLOCK: u32 = 0;
/// The version of tables made outside of a store that RocksDB has used since 5.13.
const EXTERNAL_FORMAT_VERSION: u32 = 2;

/// What is counted while a table is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) entries: u64,
    /// Bytes of keys, trailers included.
    pub(super) raw_key_bytes: u64,
    pub(super) raw_value_bytes: u64,
    /// Bytes of all data blocks on disk, what follows each included.
    pub(super) data_bytes: u64,
    pub(super) data_blocks: u64,
    /// Bytes of the index before compression, as Pebble counts them.
    pub(super) index_bytes: u64,
    /// Blocks of the lower level; 0 for an index of one block.
    pub(super) index_partitions: u64,
    pub(super) top_level_index_bytes: u64,
}

/// The properties block of a table.
pub(super) fn block(counts: &Counts, format: TableFormat, snappy: bool) -> BlockBuilder {
    let varint = |value: u64| {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        bytes
    };
    let text = |value: &str| value.as_bytes().to_vec();
    let flag = |value: bool| vec![if value { b'1' } else { b'0' }];
    let word = |value: u32| value.to_le_bytes().to_vec();
    let two_levels = counts.index_partitions != 0;
    let mut all = vec![
        ("rocksdb.block.based.table.index.type", {
            word(if two_levels { INDEX_TWO_LEVELS } else { INDEX_ONE_BLOCK })
        }),
        ("rocksdb.block.based.table.prefix.filtering", flag(false)),
        ("rocksdb.block.based.table.whole.key.filtering", flag(false)),
        ("rocksdb.comparator", text("leveldb.BytewiseComparator")),
        ("rocksdb.compression", text(if snappy { "Snappy" } else { "NoCompression" })),
        (
            "rocksdb.compression_options",
            text(
                "window_bits=-14; level=32767; strategy=0; max_dict_bytes=0; \
                 zstd_max_train_bytes=0; enabled=0; ",
            ),
        ),
        ("rocksdb.data.size", varint(counts.data_bytes)),
        ("rocksdb.deleted.keys", varint(0)),
        ("rocksdb.external_sst_file.global_seqno", 0u64.to_le_bytes().to_vec()),
        ("rocksdb.external_sst_file.version", word(EXTERNAL_FORMAT_VERSION)),
        ("rocksdb.filter.size", varint(0)),
        ("rocksdb.index.size", varint(counts.index_bytes)),
        ("rocksdb.merge.operands", varint(0)),
        ("rocksdb.merge.operator", text("pebble.concatenate")),
        ("rocksdb.num.data.blocks", varint(counts.data_blocks)),
        ("rocksdb.num.entries", varint(counts.entries)),
        ("rocksdb.num.range-deletions", varint(0)),
        ("rocksdb.prefix.extractor.name", text("nullptr")),
        ("rocksdb.property.collectors", text("[]")),
        ("rocksdb.raw.key.size", varint(counts.raw_key_bytes)),
        ("rocksdb.raw.value.size", varint(counts.raw_value_bytes)),
    ];
    if two_levels {
        all.push(("rocksdb.index.partitions", varint(counts.index_partitions)));
        all.push(("rocksdb.top-level.index.size", varint(counts.top_level_index_bytes)));
    }
    if format == TableFormat::RocksDbV2 {
        // RocksDB reads these; Pebble writes them in this format and reads none of them.
        let zero = || varint(0);
        all.extend([
            ("rocksdb.column.family.id", varint(i32::MAX.unsigned_abs().into())),
            ("rocksdb.creation.time", zero()),
            ("rocksdb.fixed.key.length", zero()),
            ("rocksdb.format.version", zero()),
            ("rocksdb.index.key.is.user.key", zero()),
            ("rocksdb.index.value.is.delta.encoded", zero()),
            ("rocksdb.oldest.key.time", zero()),
        ]);
    }
    all.sort_unstable_by_key(|(name, _)| *name);
    // Read from front to back only, so the first restart point is the only one.
    let mut block = BlockBuilder::new(usize::MAX);
    for (name, value) in all {
        block.add_plain(name.as_bytes(), &value);
    }
    block
}
