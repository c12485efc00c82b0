//! Sorted chunks as tables that we write beside the store and that its engine takes in.
//!
//! The entries never pass through the helper. A chunk's tables lie in `transload-bulk` inside the
//! store's folder, complete and synced, when the helper is asked to take them in, which is one
//! atomic change of the engine's manifest: the chunk is visible whole or not at all.

use super::eager::EagerFile;
use super::order::{BULK, Order};
use super::process::Process;
use super::protocol::{self, kind};
use super::store::maybe_applied;
use super::table::{TableFormat, TableWriter};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_store::{BulkLoad, ChunkLoad, Error, Guarantees, KeyRange, Result};

/// Where a chunk's tables lie until they are taken in; the helper clears it at close and reopen.
const STAGING: &str = "transload-bulk";

/// Where a chunk begins a new table. Nodes let tables of the lowest level grow to 128 MiB; smaller
/// ones make finer split points and cheaper compactions.
const TABLE_PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// Blocks are written to the file in pieces of this size.
const WRITE_BYTES: usize = 256 << 10;

/// The tables of one store.
pub(super) struct TableBulk {
    process: Arc<Process>,
    staging: PathBuf,
    format: TableFormat,
    limits: Guarantees,
    chunks: AtomicU64,
}

impl TableBulk {
    /// The tables of the store at `path`, in `format`, for an engine with these limits.
    pub(super) fn new(
        process: Arc<Process>,
        path: &Path,
        format: TableFormat,
        limits: Guarantees,
    ) -> Result<Self> {
        let staging = path.join(STAGING);
        match fs::create_dir(&staging) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(Error::io(BULK, &staging, error))
            }
            _ => Ok(Self { process, staging, format, limits, chunks: AtomicU64::new(0) }),
        }
    }
}

impl BulkLoad for TableBulk {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        Ok(Box::new(TableChunk {
            process: Arc::clone(&self.process),
            order: Order::new(range, &self.limits)?,
            staging: self.staging.clone(),
            format: self.format,
            number: self.chunks.fetch_add(1, Ordering::Relaxed),
            files: Vec::new(),
            current: None,
            failed: None,
        }))
    }
}

/// A table being written.
struct Growing {
    writer: TableWriter<BufWriter<EagerFile>>,
    payload_bytes: u64,
}

/// A chunk; its files go with it unless it is committed.
struct TableChunk {
    process: Arc<Process>,
    order: Order,
    staging: PathBuf,
    format: TableFormat,
    number: u64,
    /// Files made and their sizes; the last may be growing still.
    files: Vec<(String, u64)>,
    current: Option<Growing>,
    failed: Option<Error>,
}

impl TableChunk {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.order.next(key, value)?;
        let bytes = (key.len() + value.len()) as u64;
        let full = |growing: &Growing| growing.payload_bytes + bytes > TABLE_PAYLOAD_BYTES_MAX;
        if self.current.as_ref().is_some_and(full) {
            self.finish_table()?;
        }
        if self.current.is_none() {
            self.current = Some(self.begin_table()?);
        }
        let Some(growing) = &mut self.current else { return Ok(()) };
        growing.payload_bytes += bytes;
        let put = growing.writer.put(key, value);
        put.map_err(|error| self.fault(error))
    }

    fn begin_table(&mut self) -> Result<Growing> {
        let name = format!("table-{}-{}.sst", self.number, self.files.len());
        let path = self.staging.join(&name);
        // Its name is noted first: a file that was made is removed if the chunk is given up.
        self.files.push((name, 0));
        let file = File::create(&path).map_err(|error| Error::io(BULK, &path, error))?;
        let out = BufWriter::with_capacity(WRITE_BYTES, EagerFile::new(file));
        let writer = TableWriter::new(out, self.format);
        Ok(Growing { writer, payload_bytes: 0 })
    }

    fn finish_table(&mut self) -> Result<()> {
        let Some(growing) = self.current.take() else { return Ok(()) };
        let finished = growing.writer.finish().and_then(|(table, out)| {
            out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync()?;
            Ok(table)
        });
        let table = finished.map_err(|error| self.fault(error))?;
        if let Some((_, file_bytes)) = self.files.last_mut() {
            *file_bytes = table.file_bytes;
        }
        Ok(())
    }

    fn fault(&self, error: std::io::Error) -> Error {
        let name = self.files.last().map_or("", |(name, _)| name);
        Error::io(BULK, &self.staging.join(name), error)
    }
}

impl ChunkLoad for TableChunk {
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
        if self.files.is_empty() {
            return Ok(());
        }
        let payload = protocol::take_in(&self.files);
        self.process.request(BULK, kind::TAKE_IN, &payload, kind::DONE).map_err(maybe_applied)?;
        self.files.clear();
        Ok(())
    }
}

impl Drop for TableChunk {
    fn drop(&mut self) {
        self.current = None;
        for (name, _) in &self.files {
            // What stays behind goes when the store is closed or opened again.
            let _ = fs::remove_file(self.staging.join(name));
        }
    }
}
