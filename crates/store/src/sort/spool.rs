//! Records in the order in which they were added: in memory up to a limit, then in a file.
//!
//! Layout of a record: u32 LE length, bytes. The file lives no longer than the process and is
//! never read by another one, so it has no version and no checksum.

use super::{Scratch, Sequence, check_record};
use crate::{Error, Kind, Result};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

const HEADER_BYTES: usize = 4;

/// What a reader fetches at a time, at least; below it every record would cost a system call.
pub(super) const READ_BYTES_MIN: usize = 4 << 10;

/// What a reader fetches at a time, at most; more doesn't make a disk faster.
pub(super) const READ_BYTES_MAX: usize = 256 << 10;

/// Takes records in order.
#[derive(Debug)]
pub struct Spool<'a> {
    scratch: &'a Scratch,
    memory_bytes_max: usize,
    buffer: Vec<u8>,
    file: Option<(File, PathBuf)>,
    file_bytes: u64,
    records: u64,
}

impl<'a> Spool<'a> {
    /// An empty spool that holds up to `memory_bytes_max` in memory.
    #[must_use]
    pub fn new(scratch: &'a Scratch, memory_bytes_max: usize) -> Self {
        Self {
            scratch,
            memory_bytes_max,
            buffer: Vec::new(),
            file: None,
            file_bytes: 0,
            records: 0,
        }
    }

    /// How many records it holds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Where the next record will begin, for [`Spooled::reader_at`].
    #[must_use]
    pub fn position(&self) -> u64 {
        self.file_bytes + self.buffer.len() as u64
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of writing the scratch file; [`Kind::Limit`] for a record beyond
    /// [`super::RECORD_BYTES_MAX`].
    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        let length = check_record(record)?;
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(record);
        self.records += 1;
        if self.buffer.len() > self.memory_bytes_max { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.file.is_none() {
            self.file = Some(self.scratch.file()?);
        }
        if let Some((file, path)) = &mut self.file {
            file.write_all(&self.buffer)
                .map_err(|error| Error::io("write a scratch file", path, error))?;
            self.file_bytes += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// No more records.
    ///
    /// # Errors
    /// Those of writing the scratch file.
    pub fn finish(mut self) -> Result<Spooled> {
        if self.file.is_some() {
            self.flush()?;
            self.buffer = Vec::new();
        }
        let inner = Inner {
            memory: self.buffer,
            file: self.file,
            file_bytes: self.file_bytes,
            records: self.records,
        };
        Ok(Spooled { inner: Arc::new(inner) })
    }
}

/// Writes `records` to `file`, in this order.
///
/// # Errors
/// Those of writing the file.
pub(super) fn write_run<'r>(
    file: (File, PathBuf),
    records: impl Iterator<Item = &'r [u8]>,
) -> Result<Spooled> {
    let failed = |path: &PathBuf, error| Error::io("write a scratch file", path, error);
    let mut inner = Inner { file: Some(file), ..Inner::default() };
    let Some((file, path)) = &mut inner.file else { return Ok(Spooled::default()) };
    let mut out = BufWriter::with_capacity(READ_BYTES_MAX, &mut *file);
    for record in records {
        let length = check_record(record)?;
        out.write_all(&length.to_le_bytes()).map_err(|error| failed(path, error))?;
        out.write_all(record).map_err(|error| failed(path, error))?;
        inner.file_bytes += HEADER_BYTES as u64 + u64::from(length);
        inner.records += 1;
    }
    out.flush().map_err(|error| failed(path, error))?;
    drop(out);
    Ok(Spooled { inner: Arc::new(inner) })
}

/// A complete spool, to be read as often as needed.
#[derive(Clone, Debug, Default)]
pub struct Spooled {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    memory: Vec<u8>,
    file: Option<(File, PathBuf)>,
    file_bytes: u64,
    records: u64,
}

impl Spooled {
    /// How many records it holds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.inner.records
    }

    /// Bytes of all records, with what tells them apart.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.file_bytes + self.inner.memory.len() as u64
    }

    /// Reads it from the beginning, with a buffer of about `buffer_bytes`.
    ///
    /// # Errors
    /// Those of reading the scratch file.
    pub fn reader(&self, buffer_bytes: usize) -> Result<SpoolReader> {
        self.reader_at(0, buffer_bytes)
    }

    /// Reads it from the record that begins at `position`, as [`Spool::position`] said.
    ///
    /// # Errors
    /// Those of reading the scratch file.
    pub fn reader_at(&self, position: u64, buffer_bytes: usize) -> Result<SpoolReader> {
        let position = position.min(self.bytes());
        let in_file = self.inner.file.is_some();
        let mut reader = SpoolReader {
            spooled: Arc::clone(&self.inner),
            buffer: Vec::new(),
            buffer_bytes: buffer_bytes.clamp(READ_BYTES_MIN, READ_BYTES_MAX),
            at: if in_file { 0 } else { usize::try_from(position).unwrap_or(usize::MAX) },
            next_fetch: position,
            record: None,
        };
        reader.advance()?;
        Ok(reader)
    }
}

/// Reads a spool.
#[derive(Debug)]
pub struct SpoolReader {
    spooled: Arc<Inner>,
    /// A part of the file; unused when the spool is in memory.
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// Where the next record begins, in the buffer or in memory.
    at: usize,
    next_fetch: u64,
    record: Option<std::ops::Range<usize>>,
}

impl SpoolReader {
    fn bytes(&self) -> &[u8] {
        if self.spooled.file.is_some() { &self.buffer } else { &self.spooled.memory }
    }

    /// Makes `count` bytes from `self.at` available, as far as there are any.
    fn fetch(&mut self, count: usize) -> Result<()> {
        let Some((file, path)) = &self.spooled.file else { return Ok(()) };
        if self.buffer.len() - self.at >= count {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let left = self.spooled.file_bytes - self.next_fetch;
        let wanted = count.max(self.buffer_bytes) - self.buffer.len();
        let fetched = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        let held = self.buffer.len();
        self.buffer.resize(held + fetched, 0);
        file.read_exact_at(&mut self.buffer[held..], self.next_fetch)
            .map_err(|error| Error::io("read a scratch file", path, error))?;
        self.next_fetch += fetched as u64;
        Ok(())
    }
}

impl Sequence for SpoolReader {
    fn current(&self) -> Option<&[u8]> {
        self.record.clone().map(|range| &self.bytes()[range])
    }

    fn advance(&mut self) -> Result<()> {
        self.record = None;
        self.fetch(HEADER_BYTES)?;
        let rest = &self.bytes()[self.at..];
        if rest.is_empty() {
            return Ok(());
        }
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else { return Err(torn()) };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        let whole = length.saturating_add(HEADER_BYTES);
        self.fetch(whole)?;
        if self.bytes().len() - self.at < whole {
            return Err(torn());
        }
        self.record = Some(self.at + HEADER_BYTES..self.at + whole);
        self.at += whole;
        Ok(())
    }
}

fn torn() -> Error {
    Error::new(Kind::Corrupt, "read a scratch file", "a record ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(memory_bytes_max: usize, buffer_bytes: usize) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        let mut spool = Spool::new(&scratch, memory_bytes_max);
        let records: Vec<Vec<u8>> =
            (0..=255_u8).map(|n| vec![n; usize::from(n) * 97 % 9_000]).collect();
        for record in &records {
            spool.push(record).unwrap();
        }
        let spooled = spool.finish().unwrap();
        assert_eq!(spooled.records(), 256);
        for _ in 0..2 {
            let mut reader = spooled.reader(buffer_bytes).unwrap();
            for record in &records {
                assert_eq!(reader.current(), Some(record.as_slice()));
                reader.advance().unwrap();
            }
            assert_eq!(reader.current(), None);
            reader.advance().unwrap();
            assert_eq!(reader.current(), None);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files have no name");
    }

    #[test]
    fn records_come_back_from_memory_and_from_a_file() {
        round_trip(usize::MAX, 0);
        round_trip(0, 0);
        round_trip(10_000, 1 << 20);
    }

    #[test]
    fn a_scratch_folder_that_is_gone_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&folder.path().join("gone"));
        let mut spool = Spool::new(&scratch, 0);
        assert_eq!(spool.push(b"record").unwrap_err().kind(), Kind::NotFound);
    }
}
