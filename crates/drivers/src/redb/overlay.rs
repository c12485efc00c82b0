//! A file that is only read, for an engine that insists on writing: what it writes stays in
//! memory and is forgotten.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use transload_store::{Error, Result};

/// Written bytes are kept in pages of this size.
const PAGE_BYTES: usize = 4096;

/// redb writes its header and allocator state, a few bits a page of the file: this is enough for
/// several TiB.
const WRITTEN_PAGES_MAX: usize = (512 << 20) / PAGE_BYTES;

/// The file below and the pages written above it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    file_bytes: u64,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

impl Overlay {
    /// Opens the file for reading only; no lock is taken.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("open", path, error);
        let file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let written = Mutex::new(Written { length: file_bytes, pages: BTreeMap::new() });
        Ok(Self { file, file_bytes, written })
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file as far as it goes; beyond it are zeros.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
        let there = self.file_bytes.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (below, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        self.file.read_exact_at(below, offset)
    }
}

/// The parts of `length` bytes at `offset` by page: page number, place in the page, place in the
/// whole, length.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= length {
            return None;
        }
        let at = offset + done as u64;
        let in_page = usize::try_from(at % PAGE_BYTES as u64).unwrap_or(0);
        let part = (PAGE_BYTES - in_page).min(length - done);
        let from = done;
        done += part;
        Some((at / PAGE_BYTES as u64, in_page, from, part))
    })
}

impl redb::StorageBackend for Overlay {
    fn len(&self) -> IoResult<u64> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
        let end = offset.checked_add(out.len() as u64);
        {
            let written = self.lock();
            if end.is_none_or(|end| end > written.length) {
                return Err(IoError::new(ErrorKind::UnexpectedEof, "the file ends before this"));
            }
            let first = offset / PAGE_BYTES as u64;
            let last = end.unwrap_or(offset).div_ceil(PAGE_BYTES as u64);
            if written.pages.range(first..last.max(first)).next().is_some() {
                for (page, in_page, from, length) in parts(offset, out.len()) {
                    let out = &mut out[from..from + length];
                    match written.pages.get(&page) {
                        Some(page) => out.copy_from_slice(&page[in_page..in_page + length]),
                        None => self.read_below(offset + from as u64, out)?,
                    }
                }
                return Ok(());
            }
        }
        self.read_below(offset, out)
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        let mut written = self.lock();
        if len < written.length {
            // What comes back after growing again must be zeros, which the file can't give.
            let first = len / PAGE_BYTES as u64;
            written.pages.retain(|page, _| *page < first);
        }
        written.length = len;
        Ok(())
    }

    fn sync_data(&self) -> IoResult<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let mut written = self.lock();
        for (page, in_page, from, length) in parts(offset, data.len()) {
            if !written.pages.contains_key(&page) {
                if written.pages.len() >= WRITTEN_PAGES_MAX {
                    return Err(IoError::new(
                        ErrorKind::OutOfMemory,
                        "repairing this file takes more than 512 MiB of memory",
                    ));
                }
                let mut fresh = Box::new([0; PAGE_BYTES]);
                self.read_below(page * PAGE_BYTES as u64, &mut fresh[..])?;
                written.pages.insert(page, fresh);
            }
            if let Some(page) = written.pages.get_mut(&page) {
                page[in_page..in_page + length].copy_from_slice(&data[from..from + length]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..10_000).map(|at: u32| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let overlay = Overlay::open(&path).unwrap();
        overlay.write(4090, &[9; 20]).unwrap();
        overlay.set_len(12_000).unwrap();
        let mut expected = bytes.clone();
        expected[4090..4110].fill(9);
        expected.resize(12_000, 0);
        let mut out = vec![1; 12_000];
        overlay.read(0, &mut out).unwrap();
        assert!(out == expected);
        assert!(overlay.read(11_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
}
