//! Table files: footer, index and data blocks, each checked when it is read.
//!
//! Source: LevelDB `doc/table_format.md`. A table ends in a footer of 48 bytes: varint handles
//! (offset, size) of the metaindex and index blocks, padding, u64 LE magic. Every block is
//! followed by a byte for its compression (0 none, 1 Snappy) and the u32 LE masked CRC-32C of
//! block and byte. Reads are positioned; nothing is mapped: a truncated map kills the process.
//! Filter blocks aren't read.

use super::block::{BadBlock, BlockCursor};
use super::encoding::{masked_crc, u32_at, u64_at, varint};
use super::fault::{READ, corrupt, sound, unknown};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use transload_store::{Error, Kind, Result, VALUE_BYTES_MAX};

const FOOTER_BYTES: usize = 48;
/// Bytes after a block: compression and checksum.
pub(super) const TRAILER_BYTES: usize = 5;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// What RocksDB's and Pebble's own table formats end in.
const FOREIGN_MAGICS: [u64; 2] = [0x88e2_41b7_85f4_cff7, 0xf09f_aab3_f09f_aab3_u64.swap_bytes()];

/// A block larger than this is refused: a block holds at least one entry, so it may be as large
/// as the largest value; a forged length must not allocate more.
const BLOCK_BYTES_MAX: u64 = VALUE_BYTES_MAX as u64 + (1 << 20);

/// Snappy's densest form is a copy of 64 bytes in three. A block that claims more can't be one,
/// and must not have memory for it.
const SNAPPY_RATIO_MAX: usize = 22;

/// Where tables' bytes come from: a file, or memory in tests.
pub(super) trait ReadAt: Send + Sync {
    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) offset: u64,
    /// Without the trailer.
    pub(super) size_bytes: u64,
}

impl Handle {
    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { offset: varint(bytes)?, size_bytes: varint(bytes)? })
    }
}

/// Where the content of a decoded block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// It was stored as it is: the first so many of the stored bytes.
    Stored(usize),
    /// The first so many bytes of the output buffer.
    Decompressed(usize),
}

/// An open table. Clones share file and index.
#[derive(Clone)]
pub(super) struct Table {
    name: Arc<str>,
    number: u64,
    file: Arc<dyn ReadAt>,
    data_bytes: u64,
    index: Arc<[u8]>,
}

/// What was read of a table when it was opened first.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    name: Arc<str>,
    data_bytes: u64,
    index: Arc<[u8]>,
}

impl Opened {
    /// Bytes of memory that this takes, about.
    pub(super) fn weight_bytes(&self) -> usize {
        self.index.len() + self.name.len() + size_of::<Self>()
    }
}

impl Table {
    /// A table that was opened before, with its file opened again.
    pub(super) fn reopen(number: u64, file: Arc<dyn ReadAt>, opened: Opened) -> Self {
        let Opened { name, data_bytes, index } = opened;
        Self { name, number, file, data_bytes, index }
    }

    /// What need not be read when this table is opened again.
    pub(super) fn opened(&self) -> Opened {
        Opened {
            name: Arc::clone(&self.name),
            data_bytes: self.data_bytes,
            index: Arc::clone(&self.index),
        }
    }

    /// Reads footer and index of a table of `size_bytes`.
    pub(super) fn open(
        name: &str,
        number: u64,
        file: Arc<dyn ReadAt>,
        size_bytes: u64,
    ) -> Result<Self> {
        let Some(at) = size_bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(corrupt(name, size_bytes, "a table is too short for its footer"));
        };
        let mut table =
            Self { name: name.into(), number, file, data_bytes: at, index: Arc::from([]) };
        let mut footer = [0; FOOTER_BYTES];
        table.read_at(&mut footer, at)?;
        match u64_at(&footer, FOOTER_BYTES - 8) {
            Some(MAGIC) => {}
            Some(magic) if FOREIGN_MAGICS.contains(&magic) => {
                return Err(unknown(&table.name, at, "RocksDB or Pebble wrote this table"));
            }
            _ => return Err(corrupt(&table.name, at, "a table doesn't end in LevelDB's magic")),
        }
        let mut handles = &footer[..FOOTER_BYTES - 8];
        let _metaindex = table.sound_footer(Handle::decode(&mut handles))?;
        let index = table.sound_footer(Handle::decode(&mut handles))?;
        table.index = table.block(index)?.into();
        Ok(table)
    }

    fn sound_footer(&self, handle: Option<Handle>) -> Result<Handle> {
        sound(handle, &self.name, self.data_bytes, "a table's footer is damaged")
    }

    /// The file's name, for errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes before the footer.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The index block: for each data block a key that is not below its keys, and its handle.
    pub(super) fn index(&self) -> &[u8] {
        &self.index
    }

    /// A cursor before the first entry of the index.
    pub(super) fn index_cursor(&self) -> Result<BlockCursor> {
        BlockCursor::new(&self.index).map_err(|bad| self.bad_index(bad))
    }

    /// The handle in the current entry of an index cursor, once it is known to be possible.
    pub(super) fn handle(&self, cursor: &BlockCursor) -> Result<Handle> {
        let handle = Handle::decode(&mut &self.index[cursor.value()]);
        let handle =
            sound(handle, &self.name, self.data_bytes, "an entry of a table's index is damaged")?;
        self.stored_bytes(handle).map(|_| handle)
    }

    /// The stored length of a block with its trailer.
    pub(super) fn stored_bytes(&self, handle: Handle) -> Result<usize> {
        let end = handle
            .size_bytes
            .checked_add(TRAILER_BYTES as u64)
            .and_then(|bytes| handle.offset.checked_add(bytes));
        if end.is_none_or(|end| end > self.data_bytes) {
            return Err(corrupt(&self.name, handle.offset, "a block lies outside its table"));
        }
        match usize::try_from(handle.size_bytes) {
            Ok(bytes) if handle.size_bytes <= BLOCK_BYTES_MAX => Ok(bytes + TRAILER_BYTES),
            _ => Err(self.too_large(handle)),
        }
    }

    /// Reads a whole block, checks and decompresses it.
    pub(super) fn block(&self, handle: Handle) -> Result<Vec<u8>> {
        let mut stored = vec![0; self.stored_bytes(handle)?];
        self.read_at(&mut stored, handle.offset)?;
        let mut block = Vec::new();
        match self.decode(handle, &stored, &mut block)? {
            Decoded::Stored(bytes) => {
                stored.truncate(bytes);
                Ok(stored)
            }
            Decoded::Decompressed(bytes) => {
                block.truncate(bytes);
                Ok(block)
            }
        }
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return corrupt(&self.name, offset, "a table ends before its blocks do");
            }
            Error::io(READ, Path::new(&*self.name), error).with("offset", offset.to_string())
        })
    }

    /// Checks a stored block with its trailer; decompresses into `out`, which only grows.
    pub(super) fn decode(
        &self,
        handle: Handle,
        stored: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Decoded> {
        let damaged = |what| corrupt(&self.name, handle.offset, what);
        let at = stored.len().checked_sub(TRAILER_BYTES);
        let at = at.ok_or_else(|| damaged("a block is too short for its checksum"))?;
        // The checksum covers the compression byte, which follows the data.
        if u32_at(stored, at + 1) != Some(masked_crc(&[&stored[..=at]])) {
            return Err(damaged("a block doesn't match its checksum"));
        }
        match stored[at] {
            0 => Ok(Decoded::Stored(at)),
            1 => {
                let packed = &stored[..at];
                let bytes = snap::raw::decompress_len(packed)
                    .ok()
                    .filter(|bytes| *bytes <= packed.len().saturating_mul(SNAPPY_RATIO_MAX))
                    .ok_or_else(|| damaged("a block can't be decompressed"))?;
                if bytes as u64 > BLOCK_BYTES_MAX {
                    return Err(self.too_large(handle));
                }
                if out.len() < bytes {
                    out.resize(bytes, 0);
                }
                snap::raw::Decoder::new()
                    .decompress(packed, &mut out[..bytes])
                    .map_err(|_| damaged("a block can't be decompressed"))?;
                Ok(Decoded::Decompressed(bytes))
            }
            kind => {
                let what = "a block is compressed in a way that this version doesn't know";
                Err(unknown(&self.name, handle.offset, what).with("compression", kind.to_string()))
            }
        }
    }

    /// A block that contradicts itself.
    pub(super) fn bad_block(&self, handle: Handle, BadBlock(what): BadBlock) -> Error {
        corrupt(&self.name, handle.offset, what)
    }

    /// An index that contradicts itself.
    pub(super) fn bad_index(&self, BadBlock(what): BadBlock) -> Error {
        corrupt(&self.name, self.data_bytes, what).with("block", "index")
    }

    fn too_large(&self, handle: Handle) -> Error {
        Error::new(Kind::Limit, READ, "a block is too large")
            .with("file", &*self.name)
            .with("offset", handle.offset.to_string())
            .with("limit_bytes", BLOCK_BYTES_MAX.to_string())
    }
}
