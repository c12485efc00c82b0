//! The chunk files of one snapshot, read as one stream and hashed on the way.

use super::record::HASH_BYTES;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read};
use std::path::{Path, PathBuf};
use transload_store::{Error, Result};

/// What is read of a file at a time.
const READ_BYTES: usize = 64 << 10;

const OPERATION: &str = "read a chunk of a snapshot";

/// A chunk that isn't what its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// There is no such file.
    Missing,
    /// There is something else in its place.
    NoFile,
    /// Its bytes, of which there are so many, have another hash.
    OtherHash { bytes: u64 },
}

/// Told how many more bytes were read; fails to stop the reading.
pub(super) type Advance<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// Reads the chunks of a snapshot in order.
pub(super) struct Chunks<'a> {
    folder: &'a Path,
    hashes: &'a [&'a [u8; HASH_BYTES]],
    /// Of the chunk that is being read, or of the next one.
    index: usize,
    file: Option<(File, u64)>,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    chunk: Sha256,
    whole: Sha256,
    flaws: Vec<(usize, Flaw)>,
    /// Why reading failed; an `io::Error` couldn't carry it.
    failure: Option<Error>,
    advance: Advance<'a>,
}

/// What the files came to.
pub(super) struct Hashed {
    /// SHA-256 over all of them.
    pub(super) whole: [u8; HASH_BYTES],
    /// What is wrong with which.
    pub(super) flaws: Vec<(usize, Flaw)>,
    /// Bytes that came after the point up to which they were read as a stream.
    pub(super) bytes_left: u64,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(
        folder: &'a Path,
        hashes: &'a [&'a [u8; HASH_BYTES]],
        advance: Advance<'a>,
    ) -> Self {
        Self {
            folder,
            hashes,
            index: 0,
            file: None,
            buffer: vec![0; READ_BYTES],
            at: 0,
            filled: 0,
            chunk: Sha256::new(),
            whole: Sha256::new(),
            flaws: Vec::new(),
            failure: None,
            advance,
        }
    }

    /// Why reading failed, when it did.
    pub(super) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Reads what is left.
    pub(super) fn finish(mut self) -> Result<Hashed> {
        let mut bytes_left = 0;
        loop {
            let piece = self.fill()?;
            if piece == 0 {
                break;
            }
            bytes_left += piece as u64;
            self.at = self.filled;
        }
        Ok(Hashed { whole: self.whole.finalize().into(), flaws: self.flaws, bytes_left })
    }

    /// Makes sure that there are bytes; how many are there, 0 after the last chunk.
    fn fill(&mut self) -> Result<usize> {
        while self.at == self.filled {
            let Some(hash) = self.hashes.get(self.index) else { return Ok(0) };
            let path = chunk_path(self.folder, self.index);
            let Some((file, bytes)) = &mut self.file else {
                match open(&path)? {
                    Ok(file) => self.file = Some((file, 0)),
                    Err(flaw) => {
                        self.flaws.push((self.index, flaw));
                        self.index += 1;
                    }
                }
                continue;
            };
            let read = match file.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(|error| Error::io(OPERATION, &path, error))?,
            };
            if read == 0 {
                let bytes = *bytes;
                if std::mem::take(&mut self.chunk).finalize().as_slice() != hash.as_slice() {
                    self.flaws.push((self.index, Flaw::OtherHash { bytes }));
                }
                self.file = None;
                self.index += 1;
                continue;
            }
            *bytes += read as u64;
            self.chunk.update(&self.buffer[..read]);
            self.whole.update(&self.buffer[..read]);
            (self.at, self.filled) = (0, read);
            (self.advance)(read as u64)?;
        }
        Ok(self.filled - self.at)
    }
}

/// The file of a chunk.
pub(super) fn chunk_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(index.to_string())
}

/// Opens a file, and nothing that would make a reader wait.
fn open(path: &Path) -> Result<std::result::Result<File, Flaw>> {
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() => {}
        Ok(_) => return Ok(Err(Flaw::NoFile)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(Flaw::Missing)),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(Err(Flaw::Missing)),
        Err(error) => return Err(Error::io(OPERATION, path, error)),
    }
    match File::open(path) {
        Ok(file) => Ok(Ok(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(Flaw::Missing)),
        Err(error) => Err(Error::io(OPERATION, path, error)),
    }
}

impl BufRead for Chunks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.fill() {
            Ok(_) => Ok(&self.buffer[self.at..self.filled]),
            Err(error) => {
                let said = error.to_string();
                self.failure = Some(error);
                Err(io::Error::other(said))
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.filled);
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let taken = piece.len().min(out.len());
        out[..taken].copy_from_slice(&piece[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}
