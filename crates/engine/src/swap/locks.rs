//! Holds the locks of databases, of both kinds: goleveldb ignores open-file locks, Pebble and
//! RocksDB ignore `flock`. bbolt has no lock file and locks its only file.
//!
//! A lock that this swapper holds already is shared and not taken twice, which the kernel would
//! refuse. Neither content nor times of a lock file change.

use crate::error::{Error, Kind, Result};
use crate::moves::Held;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use transload_model::engine::Engine;
use transload_store::Engines;

/// The lock files in use, by device and inode: a database that changes place keeps its lock.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    open: Mutex<BTreeMap<(u64, u64), Weak<File>>>,
}

/// Open lock files; the locks go when the last holder of each is dropped.
struct Locks {
    _files: Vec<Arc<File>>,
}

impl Held for Locks {}

impl LockTable {
    /// Locks the `LOCK` file of each database that has one, and the file that bbolt locks.
    ///
    /// # Errors
    /// [`Kind::Refused`], naming the holder, when somebody has one.
    pub(super) fn hold<'p>(
        &self,
        databases: impl IntoIterator<Item = &'p PathBuf>,
        engines: &dyn Engines,
    ) -> Result<Box<dyn Held>> {
        let mut files = Vec::new();
        for database in databases {
            let beside = database.join("LOCK");
            let path = if beside.is_file() {
                &beside
            } else if is_own_lock(database, engines) {
                database
            } else {
                continue;
            };
            files.push(self.lock(path).map_err(|fault| refusal(database, &fault, engines))?);
        }
        Ok(Box::new(Locks { _files: files }))
    }

    fn lock(&self, path: &Path) -> std::result::Result<Arc<File>, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, file| file.strong_count() > 0);
        let file = open_for_locking(path).map_err(Fault::Failed)?;
        let metadata = file.metadata().map_err(Fault::Failed)?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(file) = open.get(&identity).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = Arc::new(take_both(file)?);
        open.insert(identity, Arc::downgrade(&file));
        Ok(file)
    }
}

/// Whether the database is a file that its engine locks. A guard that stands in its place needs
/// no lock, and other single files have theirs of their own kinds.
fn is_own_lock(database: &Path, engines: &dyn Engines) -> bool {
    database.is_file()
        && engines.recognise(database).is_ok_and(|found| found.engine == Engine::Bbolt)
}

/// Why a lock was not had.
enum Fault {
    /// Somebody has it.
    Held,
    /// The system failed to open or lock the file.
    Failed(io::Error),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN | Errno::EACCES => Fault::Held,
            other => Fault::Failed(other.into()),
        }
    }
}

impl From<TryLockError> for Fault {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::WouldBlock => Fault::Held,
            TryLockError::Error(error) => Fault::Failed(error),
        }
    }
}

/// Takes the lock of an attempt, so that no second transload works on it.
///
/// # Errors
/// [`Kind::Refused`] when another process has it.
pub(super) fn hold_attempt(attempt_dir: &Path) -> Result<File> {
    let path = attempt_dir.join("swap.lock");
    let refused = |fault: Fault| {
        let (what, next) = match fault {
            Fault::Held => (
                "another transload has it".to_owned(),
                "another transload is at work on this home: `transload status HOME` shows it",
            ),
            Fault::Failed(error) => {
                (error.to_string(), "the attempt's folder must be there and writable")
            }
        };
        Error::new(Kind::Refused, "lock the attempt", what)
            .with("path", path.display().to_string())
            .next(next)
    };
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Fault::Failed)
        .and_then(take_both)
        .map_err(refused)
}

fn open_for_locking(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn take_both(file: File) -> std::result::Result<File, Fault> {
    file.try_lock()?;
    let whole = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap_or(i16::MAX),
        l_whence: i16::try_from(nix::libc::SEEK_SET).unwrap_or(i16::MAX),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole))?;
    Ok(file)
}

fn refusal(database: &Path, fault: &Fault, engines: &dyn Engines) -> Error {
    if let Fault::Failed(error) = fault {
        return Error::new(Kind::Refused, "lock a database", "its lock can't be taken")
            .with("database", database.display().to_string())
            .with("system", error.to_string())
            .next("run transload as the databases' owner, or as root");
    }
    let error = Error::new(Kind::Refused, "lock a database", "another process has it open")
        .with("database", database.display().to_string());
    let error = match engines.holder(database) {
        Ok(Some(holder)) => {
            error.with("process", holder.pid.to_string()).with("command", holder.command)
        }
        _ => error,
    };
    error.next("stop the node (and whatever starts it again), then try again")
}
