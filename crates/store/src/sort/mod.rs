//! External sorting in bounded memory: spools of records and sorted runs in a scratch folder.
//!
//! Joins over whole databases (tree nodes with their parents, index entries with what they
//! point to) are sort-merge joins over these, so that memory stays within a limit that the plan
//! gives and the disk is read in order.
//!
//! Files are unlinked as soon as they are open: a killed process leaves nothing behind.

mod indexed;
mod sorter;
mod spool;

pub use indexed::{Indexed, IndexedBuilder};
pub use sorter::{Sorted, Sorter};
pub use spool::{Spool, SpoolReader, Spooled};

use crate::{Error, Kind, Result};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};

/// Longest record: a key and a hash or two of the largest key that the seam carries.
pub const RECORD_BYTES_MAX: usize = crate::KEY_BYTES_MAX + (1 << 20);

/// Records one after another, the first of them already read.
///
/// A join looks at `current` of several sequences and advances those that are behind.
pub trait Sequence {
    /// The record that the sequence stands at; `None` after the last one.
    fn current(&self) -> Option<&[u8]>;

    /// Goes to the next record.
    ///
    /// # Errors
    /// Those of reading scratch files. The sequence must not be used any further after one.
    fn advance(&mut self) -> Result<()>;
}

/// A folder for scratch files, and the threads that may help with them. Shared between threads.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    next: AtomicU64,
    spare_threads: Arc<AtomicIsize>,
}

/// The right to let one more thread run; it is given back when this is dropped.
#[derive(Debug)]
struct SpareThread(Arc<AtomicIsize>);

impl Drop for SpareThread {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Scratch {
    /// Scratch files go into `folder`, which exists and is ours.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), next: AtomicU64::new(0), spare_threads: Arc::default() }
    }

    /// One more thread of the caller's limit has nothing to do: a sorter may let another one run
    /// in its place, until [`Self::take_back`].
    pub fn lend(&self) {
        self.spare_threads.fetch_add(1, Ordering::AcqRel);
    }

    /// A thread that was lent has something to do again.
    pub fn take_back(&self) {
        // Below zero while a sorter's thread runs on; the next sorter gets none.
        self.spare_threads.fetch_sub(1, Ordering::AcqRel);
    }

    fn spare_thread(&self) -> Option<SpareThread> {
        let less = |spare: isize| (spare > 0).then_some(spare - 1);
        let taken = self.spare_threads.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        taken.is_ok().then(|| SpareThread(Arc::clone(&self.spare_threads)))
    }

    /// A new file without a name.
    fn file(&self) -> Result<(File, PathBuf)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("join-{}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| Error::io("open a scratch file", &path, error))?;
        std::fs::remove_file(&path)
            .map_err(|error| Error::io("unlink a scratch file", &path, error))?;
        Ok((file, path))
    }
}

fn check_record(record: &[u8]) -> Result<u32> {
    match u32::try_from(record.len()) {
        Ok(bytes) if record.len() <= RECORD_BYTES_MAX => Ok(bytes),
        _ => Err(Error::new(
            Kind::Limit,
            "sort records",
            format!("a record of {} bytes; at most {RECORD_BYTES_MAX} fit", record.len()),
        )),
    }
}
