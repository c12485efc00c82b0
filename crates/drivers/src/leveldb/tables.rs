//! The tables of a directory: opened when they are needed, a bounded number kept open, and a
//! bounded cache of blocks for point reads. Scans read past the cache.

use super::block::BlockCursor;
use super::cache::Cache;
use super::fault::{READ, corrupt};
use super::files::{Files, table_names};
use super::internal_key::{TAG_MAX, Tagged, user};
use super::manifest::TableFile;
use super::table::{Handle, Opened, ReadAt, Table};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transload_store::{Error, Result};

/// Files kept open between reads, a database: the usual limit of a process is 1,024 files, and a
/// home has half a dozen databases.
const OPEN_FILES_MAX: usize = 96;

/// Table number and offset of a block.
type BlockId = (u64, u64);

/// Opens tables and reads blocks.
pub(super) struct Tables {
    dir: PathBuf,
    files: Arc<dyn Files>,
    open: Cache<u64, Arc<dyn ReadAt>>,
    opened: Cache<u64, Opened>,
    blocks: Cache<BlockId, Arc<Vec<u8>>>,
}

/// A table's file.
struct Found {
    path: PathBuf,
    name: String,
    bytes: u64,
}

impl Tables {
    /// Tables of `dir`; indexes and blocks are cached up to `cache_bytes_max`.
    pub(super) fn new(files: Arc<dyn Files>, dir: &Path, cache_bytes_max: u64) -> Self {
        let bytes = usize::try_from(cache_bytes_max).unwrap_or(usize::MAX) / 2;
        Self {
            dir: dir.to_owned(),
            files,
            open: Cache::new(OPEN_FILES_MAX),
            opened: Cache::new(bytes),
            blocks: Cache::new(bytes),
        }
    }

    /// Checks that every table is there and as long as the manifest says, before anything is
    /// read of it.
    pub(super) fn check_present<'a>(
        &self,
        files: impl Iterator<Item = &'a TableFile>,
    ) -> Result<()> {
        for file in files {
            let Found { name, bytes: found, .. } = self.find(file.number)?;
            if found != file.size_bytes {
                let what = "a table isn't as long as the manifest says";
                return Err(corrupt(&name, found.min(file.size_bytes), what)
                    .with("bytes", found.to_string())
                    .with("expected_bytes", file.size_bytes.to_string()));
            }
        }
        Ok(())
    }

    /// The table `file`, opened.
    pub(super) fn get(&self, file: &TableFile) -> Result<Table> {
        let number = file.number;
        let open = match self.open.get(&number) {
            Some(open) => open,
            None => {
                let path = self.find(number)?.path;
                let open = self.files.open(&path);
                let open = open.map_err(|error| Error::io(READ, &path, error))?;
                self.open.put(number, Arc::clone(&open), 1);
                open
            }
        };
        if let Some(opened) = self.opened.get(&number) {
            return Ok(Table::reopen(number, open, opened));
        }
        let name = self.find(number)?.name;
        let table = Table::open(&name, number, open, file.size_bytes)?;
        let opened = table.opened();
        let weight = opened.weight_bytes();
        self.opened.put(number, opened, weight);
        Ok(table)
    }

    /// The newest change of `key` in a table: its tag and value.
    pub(super) fn newest(&self, file: &TableFile, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
        if key < user(&file.smallest) || key > user(&file.largest) {
            return Ok(None);
        }
        let target: Tagged<'_> = (key, TAG_MAX);
        let table = self.get(file)?;
        let mut index = table.index_cursor()?;
        let mut more = index.seek(table.index(), target).map_err(|bad| table.bad_index(bad))?;
        // A separator may be above all keys of its block: then the next block decides.
        while more {
            let handle = table.handle(&index)?;
            let block = self.block(&table, handle)?;
            let bad = |bad| table.bad_block(handle, bad);
            let mut cursor = BlockCursor::new(&block).map_err(bad)?;
            if cursor.seek(&block, target).map_err(bad)? {
                return Ok(cursor
                    .tagged()
                    .filter(|(user, _)| *user == key)
                    .map(|(_, tag)| (tag, block[cursor.value()].to_vec())));
            }
            more = index.advance(table.index()).map_err(|bad| table.bad_index(bad))?;
        }
        Ok(None)
    }

    /// A decompressed block, from the cache if it is there.
    fn block(&self, table: &Table, handle: Handle) -> Result<Arc<Vec<u8>>> {
        let id = (table.number(), handle.offset);
        if let Some(block) = self.blocks.get(&id) {
            return Ok(block);
        }
        let block = Arc::new(table.block(handle)?);
        self.blocks.put(id, Arc::clone(&block), block.len());
        Ok(block)
    }

    /// A table's file, under either name.
    fn find(&self, number: u64) -> Result<Found> {
        let names = table_names(number);
        for name in &names {
            let path = self.dir.join(name);
            match fs::metadata(&path) {
                Ok(found) => return Ok(Found { path, name: name.clone(), bytes: found.len() }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(READ, &path, error)),
            }
        }
        let [name, _] = names;
        Err(corrupt(&name, 0, "a table that the manifest names is missing")
            .with("path", self.dir.display().to_string()))
    }
}
