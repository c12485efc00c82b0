//! Chunks as tables of their own, written aside and then taken in whole.
//!
//! RocksDB syncs the tables and its manifest when it takes them in: a chunk that was committed
//! is there after a power cut, and one that wasn't never is.

use super::store::Family;
use crate::limits::check_entry;
use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};
use self_cell::self_cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_store::{BulkLoad, ChunkLoad, Error, KeyRange, Kind, Result};

/// The operation of errors here.
const BULK: &str = "bulk load";

/// The folder for tables that aren't taken in yet, inside the database's: links and renames
/// don't cross file systems.
const FOLDER: &str = "transload-ingest";

/// A chunk's tables are cut at this size, like those that compaction makes.
const TABLE_BYTES: u64 = 64 << 20;

self_cell!(
    struct Writer {
        owner: Box<Options>,
        #[covariant]
        dependent: SstFileWriter,
    }
);

/// Removes what a process that was killed, or chunks that were given up, left behind.
pub(super) fn forget_unfinished(database: &Path) -> Result<()> {
    let folder = database.join(FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(BULK, &folder, error))
        }
        _ => Ok(()),
    }
}

pub(super) struct RocksdbLoad {
    family: Arc<Family>,
    settings: Options,
    next_table: Arc<AtomicU64>,
}

impl RocksdbLoad {
    pub(super) fn new(family: Arc<Family>, settings: Options) -> Result<Self> {
        let folder = family.path.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|error| Error::io(BULK, &folder, error))?;
        Ok(Self { family, settings, next_table: Arc::default() })
    }
}

impl BulkLoad for RocksdbLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        Ok(Box::new(RocksdbChunk {
            family: Arc::clone(&self.family),
            settings: self.settings.clone(),
            next_table: Arc::clone(&self.next_table),
            range: range.clone(),
            last_key: None,
            writer: None,
            tables: Vec::new(),
            failed: None,
        }))
    }
}

struct RocksdbChunk {
    family: Arc<Family>,
    settings: Options,
    next_table: Arc<AtomicU64>,
    range: KeyRange,
    last_key: Option<Vec<u8>>,
    writer: Option<Writer>,
    tables: Vec<PathBuf>,
    failed: Option<Error>,
}

impl RocksdbChunk {
    fn begin_table(&mut self) -> Result<Writer> {
        // Several loads of one store, one after another, must not meet in a name.
        let name = loop {
            let number = self.next_table.fetch_add(1, Ordering::Relaxed);
            let name = self.family.path.join(FOLDER).join(format!("{number:06}.sst"));
            match fs::File::create_new(&name) {
                Ok(_) => break name,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(BULK, &name, error)),
            }
        };
        self.tables.push(name.clone());
        Writer::try_new(Box::new(self.settings.clone()), |settings| {
            let writer = SstFileWriter::create(settings);
            writer.open(&name).map_err(|error| self.family.fault(BULK, error))?;
            Ok(writer)
        })
    }

    fn finish_table(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer
                .with_dependent_mut(|_, writer| writer.finish())
                .map_err(|error| self.family.fault(BULK, error)),
            None => Ok(()),
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_entry(BULK, key, value, &super::guarantees())?;
        let fault = if self.last_key.as_deref().is_some_and(|last| last >= key) {
            Some("a key doesn't follow the one before it")
        } else if !self.range.contains(key) {
            Some("a key lies outside the chunk's range")
        } else {
            None
        };
        if let Some(fault) = fault {
            return Err(Error::new(Kind::InvalidInput, BULK, fault)
                .with("key", transload_model::report::printable_key(key)));
        }
        let last = self.last_key.get_or_insert_with(Vec::new);
        last.clear();
        last.extend_from_slice(key);
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin_table()?,
        };
        let bytes = writer
            .with_dependent_mut(|_, writer| writer.put(key, value).map(|()| writer.file_size()))
            .map_err(|error| self.family.fault(BULK, error))?;
        self.writer = Some(writer);
        if bytes >= TABLE_BYTES { self.finish_table() } else { Ok(()) }
    }
}

impl ChunkLoad for RocksdbChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.repeat());
        }
        self.take(key, value).inspect_err(|error| self.failed = Some(error.repeat()))
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.finish_table()?;
        if self.tables.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let handle = self.family.handle()?;
        self.family
            .database()
            .ingest_external_file_cf_opts(handle, &options, self.tables.clone())
            .map_err(|error| self.family.fault(BULK, error).effect_unknown())
    }
}

impl Drop for RocksdbChunk {
    fn drop(&mut self) {
        // The file must be closed before it is removed.
        self.writer = None;
        for table in &self.tables {
            // Links that RocksDB took in, or tables that are given up; the folder goes at close.
            let _ = fs::remove_file(table);
        }
    }
}
