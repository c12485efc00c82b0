//! Table files: footer, index, data blocks; a bounded set of open ones and a cache of blocks.
//!
//! Source: LevelDB `doc/table_format.md`. A table ends in a footer of 48 bytes: varint handles
//! (offset, size) of the metaindex and index blocks, padding, u64 LE magic. Every block is
//! followed by a byte for its compression (0 none, 1 Snappy) and the u32 LE masked CRC-32C of
//! block and byte. Reads are positioned; nothing is mapped: a truncated map kills the process.

use super::block::{BadBlock, BlockCursor};
use super::crc::{corrupt, masked, sound, u32_at, u64_at, varint};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use transload_store::{Error, Kind, Result, VALUE_BYTES_MAX};

const FOOTER_BYTES: usize = 48;
const TRAILER_BYTES: usize = 5;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// A block larger than this is refused: a block holds at least one entry, so it may be as large
/// as the largest value; a forged length must not allocate more.
const BLOCK_BYTES_MAX: u64 = VALUE_BYTES_MAX as u64 + (1 << 20);

/// Tables kept open at the same time; the usual limit of a process is 1,024 files.
const OPEN_TABLES_MAX: usize = 256;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handle {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Handle {
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { offset: varint(bytes)?, size: varint(bytes)? })
    }
}

/// An open table.
#[derive(Debug)]
pub(super) struct Table {
    /// The file's name, for errors.
    pub(super) name: String,
    number: u64,
    file: File,
    data_bytes: u64,
    pub(super) index: Vec<u8>,
}

impl Table {
    fn open(dir: &Path, number: u64, size: u64) -> Result<Self> {
        let (path, name, file) = open_either(dir, number)?;
        let io = |error| Error::io("read LevelDB", &path, error);
        let actual = file.metadata().map_err(io)?.len();
        if actual < size || size < FOOTER_BYTES as u64 {
            return Err(corrupt(&name, actual, "the table is shorter than the manifest says")
                .with("expected_bytes", size.to_string()));
        }
        let mut footer = [0; FOOTER_BYTES];
        let at = size - FOOTER_BYTES as u64;
        file.read_exact_at(&mut footer, at).map_err(io)?;
        if u64_at(&footer, 40) != Some(MAGIC) {
            return Err(corrupt(&name, at, "the table doesn't end in LevelDB's magic"));
        }
        let mut handles = &footer[..40];
        let footer_is = |handle| sound(handle, &name, at, "the table's footer is damaged");
        let _metaindex = footer_is(Handle::decode(&mut handles))?;
        let index = footer_is(Handle::decode(&mut handles))?;
        let mut table = Self { name, number, file, data_bytes: at, index: Vec::new() };
        let (mut raw, mut block) = (Vec::new(), Vec::new());
        table.read_block(index, &mut raw, &mut block)?;
        table.index = block;
        Ok(table)
    }

    /// Reads a block, checks it and leaves it decompressed in `block`; `raw` is scratch.
    pub(super) fn read_block(
        &self,
        handle: Handle,
        raw: &mut Vec<u8>,
        block: &mut Vec<u8>,
    ) -> Result<()> {
        let length = self.check(handle)?;
        raw.resize(length, 0);
        self.read_at(raw, handle.offset)?;
        self.decode(handle, raw, block)
    }

    /// The stored length of a block with its trailer, once the handle is known to be possible.
    pub(super) fn check(&self, handle: Handle) -> Result<usize> {
        let end = handle.offset.checked_add(handle.size).and_then(|end| end.checked_add(5));
        if handle.size > BLOCK_BYTES_MAX || end.is_none_or(|end| end > self.data_bytes) {
            return Err(corrupt(&self.name, handle.offset, "a block lies outside its table"));
        }
        usize::try_from(handle.size)
            .map(|size| size + TRAILER_BYTES)
            .map_err(|_| corrupt(&self.name, handle.offset, "a block is too large"))
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| Error::io("read LevelDB", Path::new(&self.name), error))
    }

    /// Bytes before the footer.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Checks a stored block with its trailer and leaves it decompressed in `block`.
    pub(super) fn decode(&self, handle: Handle, raw: &[u8], block: &mut Vec<u8>) -> Result<()> {
        let damaged = |what| corrupt(&self.name, handle.offset, what);
        let at =
            raw.len().checked_sub(TRAILER_BYTES).ok_or_else(|| damaged("a block is cut off"))?;
        let (data, trailer) = raw.split_at(at);
        if u32_at(trailer, 1) != Some(masked(&[data, &trailer[..1]])) {
            return Err(damaged("a block doesn't match its checksum"));
        }
        match trailer[0] {
            0 => {
                block.clear();
                block.extend_from_slice(data);
            }
            1 => {
                let length = snap::raw::decompress_len(data)
                    .map_err(|_| damaged("a block can't be decompressed"))?;
                if length as u64 > BLOCK_BYTES_MAX {
                    return Err(damaged("a block is too large"));
                }
                block.resize(length, 0);
                snap::raw::Decoder::new()
                    .decompress(data, block)
                    .map_err(|_| damaged("a block can't be decompressed"))?;
            }
            kind => {
                return Err(Error::new(
                    Kind::UnknownFormat,
                    "read LevelDB",
                    "a block is compressed in a way that LevelDB doesn't know",
                )
                .with("compression", kind.to_string())
                .with("file", self.name.clone()));
            }
        }
        Ok(())
    }

    /// A block that contradicts itself, as an error.
    pub(super) fn bad(&self, handle: Handle) -> impl Fn(BadBlock) -> Error + '_ {
        move |BadBlock| corrupt(&self.name, handle.offset, "a block's entries are damaged")
    }

    /// Every data block with the separator key above it, in order.
    pub(super) fn blocks(&self) -> Result<Vec<(Vec<u8>, Handle)>> {
        let own = Handle { offset: self.data_bytes, size: 0 };
        let mut cursor = BlockCursor::new(&self.index).map_err(self.bad(own))?;
        let mut blocks = Vec::new();
        while cursor.advance(&self.index).map_err(self.bad(own))? {
            blocks.push((cursor.key().to_vec(), self.handle(&cursor)?));
        }
        Ok(blocks)
    }

    /// The handle in the current entry of an index cursor.
    pub(super) fn handle(&self, cursor: &BlockCursor) -> Result<Handle> {
        let handle = Handle::decode(&mut &self.index[cursor.value()]);
        sound(handle, &self.name, self.data_bytes, "the table's index is damaged")
    }
}

/// goleveldb and LevelDB since 1.14 write `.ldb`; older ones wrote `.sst`.
fn open_either(dir: &Path, number: u64) -> Result<(PathBuf, String, File)> {
    let mut missing = None;
    for suffix in ["ldb", "sst"] {
        let name = format!("{number:06}.{suffix}");
        let path = dir.join(&name);
        match File::open(&path) {
            Ok(file) => return Ok((path, name, file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing = Some(name),
            Err(error) => return Err(Error::io("read LevelDB", &path, error)),
        }
    }
    let name = missing.unwrap_or_default();
    Err(Error::new(Kind::Corrupt, "read LevelDB", "a table that the manifest names is missing")
        .with("file", name)
        .with("path", dir.display().to_string()))
}

/// Table number and offset of a block.
type BlockId = (u64, u64);

/// Opens tables when they are needed and keeps the latest used ones open.
#[derive(Debug)]
pub(super) struct Tables {
    dir: PathBuf,
    open: Mutex<Recent<u64, Arc<Table>>>,
    blocks: Mutex<Recent<BlockId, Arc<Vec<u8>>>>,
}

impl Tables {
    /// Tables of `dir`, with a block cache of about `cache_bytes_max`.
    pub(super) fn new(dir: &Path, cache_bytes_max: u64) -> Self {
        let blocks = usize::try_from(cache_bytes_max).unwrap_or(usize::MAX);
        Self {
            dir: dir.to_owned(),
            open: Mutex::new(Recent::new(OPEN_TABLES_MAX)),
            blocks: Mutex::new(Recent::new(blocks)),
        }
    }

    /// The table `number`, opened.
    pub(super) fn get(&self, number: u64, size: u64) -> Result<Arc<Table>> {
        if let Some(table) = lock(&self.open).get(&number) {
            return Ok(table);
        }
        let table = Arc::new(Table::open(&self.dir, number, size)?);
        lock(&self.open).put(number, Arc::clone(&table), 1);
        Ok(table)
    }

    /// A decompressed block, from the cache if it is there.
    pub(super) fn block(&self, table: &Table, handle: Handle) -> Result<Arc<Vec<u8>>> {
        let key = (table.number, handle.offset);
        if let Some(block) = lock(&self.blocks).get(&key) {
            return Ok(block);
        }
        let (mut raw, mut block) = (Vec::new(), Vec::new());
        table.read_block(handle, &mut raw, &mut block)?;
        let block = Arc::new(block);
        lock(&self.blocks).put(key, Arc::clone(&block), block.len());
        Ok(block)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cache that forgets in two generations: what wasn't used since the last turn goes first.
#[derive(Debug)]
struct Recent<K, V> {
    weight_max: usize,
    weight: usize,
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
}

impl<K: std::hash::Hash + Eq + Copy, V: Clone> Recent<K, V> {
    fn new(weight_max: usize) -> Self {
        Self { weight_max, weight: 0, young: HashMap::new(), old: HashMap::new() }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(key)?;
        self.put(*key, value.clone(), weight);
        Some(value)
    }

    fn put(&mut self, key: K, value: V, weight: usize) {
        if self.weight.saturating_add(weight) > self.weight_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight = self.weight.saturating_add(weight);
        self.young.insert(key, (value, weight));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_what_is_used_and_stays_within_its_bound() {
        let mut cache = Recent::new(100);
        for key in 0..1_000u32 {
            cache.put(key, key, 10);
            assert_eq!(cache.get(&0), Some(0), "0 is used all the time");
            let held: usize =
                cache.young.values().chain(cache.old.values()).map(|(_, weight)| weight).sum();
            assert!(held <= 110, "{held}");
        }
        assert_eq!(cache.get(&1), None);
    }
}
