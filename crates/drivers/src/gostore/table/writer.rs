//! Writes one table to a file, front to back.

use super::TableFormat;
use super::block::{BlockBuilder, KEPT_BYTES_MAX, TRAILER_BYTES, TRAILER_PUT, TRAILER_SEPARATOR};
use super::properties::{self, Counts};
use super::{put_varint, separator};
use crate::checksum::masked_crc;
use std::io::{self, Write};

/// A data block, and a block of the index, ends at about this size before compression, as with
/// the nodes' options.
const BLOCK_BYTES_TARGET: usize = 4096;
/// Entries between two restart points of a data block.
const RESTART_INTERVAL: usize = 16;
/// The longest a block's handle can be, which is what the size of an index block is judged by.
const HANDLE_BYTES_MAX: usize = 20;
/// Compression is dropped where it saves less than one part in so many.
const SAVING_PARTS: usize = 8;

const COMPRESSION_NONE: u8 = 0;
const COMPRESSION_SNAPPY: u8 = 1;
const CHECKSUM_CRC32C: u8 = 1;

/// A finished table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gostore) struct Table {
    /// Its entries.
    pub(in crate::gostore) entries: u64,
    /// Bytes of the file.
    pub(in crate::gostore) file_bytes: u64,
}

/// Where a block lies in the file.
#[derive(Clone, Copy, Debug, Default)]
struct Handle {
    offset: u64,
    size_bytes: u64,
}

impl Handle {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HANDLE_BYTES_MAX);
        put_varint(&mut bytes, self.offset);
        put_varint(&mut bytes, self.size_bytes);
        bytes
    }
}

/// A block of the index's lower level, kept until the data blocks are written.
struct Partition {
    block: Vec<u8>,
    entries: usize,
    last_key: Vec<u8>,
}

/// Writes a table. Keys must strictly increase; the caller has checked that.
///
/// Memory: two blocks, and the index (about one part in a hundred of the table).
pub(in crate::gostore) struct TableWriter<W: Write> {
    file: BlockFile<W>,
    format: TableFormat,
    data: BlockBuilder,
    index: BlockBuilder,
    partitions: Vec<Partition>,
    counts: Counts,
}

impl<W: Write> TableWriter<W> {
    /// A table that begins at the start of `out`. It is written in pieces of a few KiB, so `out`
    /// had better be buffered.
    pub(in crate::gostore) fn new(out: W, format: TableFormat) -> Self {
        Self::with_compression(out, format, true)
    }

    pub(super) fn with_compression(out: W, format: TableFormat, snappy: bool) -> Self {
        Self {
            file: BlockFile::new(out, snappy),
            format,
            data: BlockBuilder::new(RESTART_INTERVAL),
            index: BlockBuilder::new(1),
            partitions: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// Those of writing; the table is then not to be used.
    pub(in crate::gostore) fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let key_bytes = key.len() + TRAILER_BYTES;
        if self.data.ends_before(key_bytes, value.len(), BLOCK_BYTES_TARGET) {
            self.end_data_block(Some(key))?;
        }
        self.data.add(key, TRAILER_PUT, value);
        self.counts.entries += 1;
        self.counts.raw_key_bytes += key_bytes as u64;
        self.counts.raw_value_bytes += value.len() as u64;
        Ok(())
    }

    /// Writes what stands after the entries, and gives `out` back. Making it durable is the
    /// caller's.
    ///
    /// # Errors
    /// Those of writing.
    pub(in crate::gostore) fn finish(mut self) -> io::Result<(Table, W)> {
        if self.data.entries() > 0 || self.counts.entries == 0 {
            self.end_data_block(None)?;
        }
        self.counts.data_bytes = self.file.offset;
        let index = self.write_index()?;
        let mut properties = properties::block(&self.counts, self.format, self.file.snappy);
        let properties = self.file.write(properties.finish(), false)?;
        let mut metaindex = BlockBuilder::new(1);
        metaindex.add_plain(b"rocksdb.properties", &properties.encode());
        let metaindex = self.file.write(metaindex.finish(), false)?;
        let footer = footer(self.format, metaindex, index);
        self.file.out.write_all(&footer)?;
        let file_bytes = self.file.offset + footer.len() as u64;
        Ok((Table { entries: self.counts.entries, file_bytes }, self.file.out))
    }

    /// Writes the data block and notes in the index where it ends; `next` is the key that follows.
    fn end_data_block(&mut self, next: Option<&[u8]>) -> io::Result<()> {
        let handle = self.file.write(self.data.finish(), true)?.encode();
        let last = self.data.last_key();
        // Only a table without entries has a block without a key.
        let last = &last[..last.len().saturating_sub(TRAILER_BYTES)];
        let short = match next {
            Some(next) => separator::between(last, next),
            None => separator::after(last),
        };
        let (key, trailer) = match &short {
            Some(short) => (short.as_slice(), TRAILER_SEPARATOR),
            None if self.counts.entries == 0 => (last, 0),
            None => (last, TRAILER_PUT),
        };
        let key_bytes = key.len() + TRAILER_BYTES;
        if self.index.ends_before(key_bytes, HANDLE_BYTES_MAX, BLOCK_BYTES_TARGET) {
            self.partitions.push(end_partition(&mut self.index));
        }
        self.index.add(key, trailer, &handle);
        self.data.clear();
        Ok(())
    }

    /// An index of one block, or blocks and one block over them.
    fn write_index(&mut self) -> io::Result<Handle> {
        if self.partitions.is_empty() {
            self.counts.data_blocks = self.index.entries() as u64;
            self.counts.index_bytes = (self.index.size_bytes() + BLOCK_TRAILER_BYTES) as u64;
            return self.file.write(self.index.finish(), true);
        }
        self.partitions.push(end_partition(&mut self.index));
        let mut top = BlockBuilder::new(1);
        for partition in &self.partitions {
            self.counts.data_blocks += partition.entries as u64;
            self.counts.index_bytes += partition.block.len() as u64;
            let handle = self.file.write(&partition.block, true)?;
            let (key, trailer) = partition.last_key.split_at(partition.last_key.len() - 8);
            let mut bytes = [0; TRAILER_BYTES];
            bytes.copy_from_slice(trailer);
            top.add(key, u64::from_le_bytes(bytes), &handle.encode());
        }
        self.counts.index_partitions = self.partitions.len() as u64;
        self.counts.top_level_index_bytes = top.size_bytes() as u64;
        self.counts.index_bytes += self.counts.top_level_index_bytes + BLOCK_TRAILER_BYTES as u64;
        self.file.write(top.finish(), true)
    }
}

fn end_partition(index: &mut BlockBuilder) -> Partition {
    let entries = index.entries();
    let block = index.finish().to_vec();
    let last_key = index.last_key().to_vec();
    index.clear();
    Partition { block, entries, last_key }
}

/// Layout: u8 kind of checksum, the handles of metaindex and index as varints, zeros up to byte
/// 41, u32 LE version, 8 bytes magic.
fn footer(format: TableFormat, metaindex: Handle, index: Handle) -> Vec<u8> {
    let mut footer = vec![CHECKSUM_CRC32C];
    footer.extend(metaindex.encode());
    footer.extend(index.encode());
    footer.resize(1 + 2 * HANDLE_BYTES_MAX, 0);
    footer.extend(format.version().to_le_bytes());
    footer.extend(format.magic());
    footer
}

/// Bytes after a block: compression and checksum.
const BLOCK_TRAILER_BYTES: usize = 5;

/// Blocks on their way to the file.
struct BlockFile<W: Write> {
    out: W,
    offset: u64,
    snappy: bool,
    encoder: snap::raw::Encoder,
    compressed: Vec<u8>,
}

impl<W: Write> BlockFile<W> {
    fn new(out: W, snappy: bool) -> Self {
        Self { out, offset: 0, snappy, encoder: snap::raw::Encoder::new(), compressed: Vec::new() }
    }

    /// Writes a block, compressed where that is wished and saves enough.
    fn write(&mut self, block: &[u8], may_compress: bool) -> io::Result<Handle> {
        let (mut stored, mut compression) = (block, COMPRESSION_NONE);
        if may_compress && self.snappy {
            let bytes_max = snap::raw::max_compress_len(block.len());
            if self.compressed.len() < bytes_max || self.compressed.len() > KEPT_BYTES_MAX {
                self.compressed = vec![0; bytes_max];
            }
            // An encoder fails only for what is longer than 4 GiB or for a short buffer.
            if let Ok(length) = self.encoder.compress(block, &mut self.compressed)
                && length < block.len() - block.len() / SAVING_PARTS
            {
                (stored, compression) = (&self.compressed[..length], COMPRESSION_SNAPPY);
            }
        }
        let checksum = masked_crc(&[stored, &[compression]]);
        let mut trailer = [compression; BLOCK_TRAILER_BYTES];
        trailer[1..].copy_from_slice(&checksum.to_le_bytes());
        self.out.write_all(stored)?;
        self.out.write_all(&trailer)?;
        let handle = Handle { offset: self.offset, size_bytes: stored.len() as u64 };
        self.offset += handle.size_bytes + BLOCK_TRAILER_BYTES as u64;
        Ok(handle)
    }
}
