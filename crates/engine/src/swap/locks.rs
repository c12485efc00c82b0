//! Holds the locks of databases, of both kinds: goleveldb ignores open-file locks, Pebble and
//! RocksDB ignore `flock`.

use crate::error::{Error, Kind, Result};
use crate::moves::Held;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// The open lock files; the locks go when they are closed.
struct Locks {
    _files: Vec<File>,
}

impl Held for Locks {}

/// Locks the `LOCK` file of each database that has one. Neither its content nor its time
/// changes.
pub(super) fn hold(databases: &[PathBuf]) -> Result<Box<dyn Held>> {
    let mut files = Vec::new();
    for database in databases {
        let path = database.join("LOCK");
        if path.is_file() {
            files.push(lock(database, &path)?);
        }
    }
    Ok(Box::new(Locks { _files: files }))
}

fn lock(database: &Path, path: &Path) -> Result<File> {
    let held = |what: String| {
        Error::new(Kind::Refused, "lock a database", what)
            .with("database", database.display().to_string())
            .next("stop the node that uses this home, then try again")
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| held(error.to_string()))?;
    file.try_lock().map_err(|_| held("another process holds it".into()))?;
    let whole = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap_or(i16::MAX),
        l_whence: i16::try_from(nix::libc::SEEK_SET).unwrap_or(i16::MAX),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole))
        .map_err(|_| held("another process holds it".into()))?;
    Ok(file)
}
