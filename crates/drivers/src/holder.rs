//! Who has a database open, asked of the kernel without taking any lock.
//!
//! Trying a lock would be quicker, but for that moment a starting node would find it taken.
//! goleveldb takes a `flock`, bbolt one on its only file and BadgerDB one on the folder, Pebble,
//! RocksDB and LMDB take POSIX or open-file locks; the kernel lists them all in `/proc/locks`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use transload_store::{Error, Holder, Result};

/// The files that engines lock, beside the database file or folder itself.
const LOCK_FILES: [&str; 2] = ["LOCK", "lock.mdb"];

/// The process that holds the database at `path`; never this process.
///
/// # Errors
/// When `/proc/locks` can't be read.
pub fn holder(path: &Path) -> Result<Option<Holder>> {
    let locks = Path::new("/proc/locks");
    let table =
        fs::read_to_string(locks).map_err(|error| Error::io("look for locks", locks, error))?;
    let mut candidates: Vec<PathBuf> = LOCK_FILES.iter().map(|name| path.join(name)).collect();
    candidates.push(path.to_owned());
    for file in candidates {
        let Ok(metadata) = fs::metadata(&file) else { continue };
        if !metadata.is_file() && !metadata.is_dir() {
            continue;
        }
        for pid in owners(&table, metadata.ino()) {
            let found = match pid {
                Some(pid) if has_open(pid, &file) != Some(false) => Some(pid),
                Some(_) => None,
                // An open-file lock has no owner in the table; look who has the file open.
                None => processes().into_iter().find(|pid| has_open(*pid, &file) == Some(true)),
            };
            if let Some(pid) = found.filter(|pid| *pid != std::process::id()) {
                return Ok(Some(Holder { pid, command: command(pid) }));
            }
        }
    }
    Ok(None)
}

/// The owners of locks on `inode`; `None` for an open-file lock.
///
/// A line: `1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; waiters have `->` after the
/// number. Some file systems show another device than `stat` does, so inodes are compared and
/// the owner is asked for the file.
fn owners(table: &str, inode: u64) -> Vec<Option<u32>> {
    table
        .lines()
        .filter(|line| !line.contains("->"))
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(4);
            let pid: i64 = fields.next()?.parse().ok()?;
            let own: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
            (own == inode).then(|| u32::try_from(pid).ok())
        })
        .collect()
}

fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the process has the file open; `None` when it may not be asked.
fn has_open(pid: u32, file: &Path) -> Option<bool> {
    let file = fs::canonicalize(file).ok()?;
    let handles = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(handles.filter_map(|handle| fs::read_link(handle.ok()?.path()).ok()).any(|to| to == file))
}

fn command(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| String::new(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "1: FLOCK  ADVISORY  WRITE 77 fe:00:123 0 EOF\n\
            2: OFDLCK ADVISORY  WRITE -1 fe:00:456 0 EOF\n\
            2: -> POSIX  ADVISORY  WRITE 99 fe:00:456 0 EOF\n\
            3: POSIX  ADVISORY  READ  88 00:1d:789 0 EOF\n";
        assert_eq!(owners(table, 123), [Some(77)]);
        assert_eq!(owners(table, 456), [None]);
        assert_eq!(owners(table, 1), []);
    }

    #[test]
    fn a_process_that_holds_the_lock_file_or_the_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("LOCK");
        fs::write(&lock, "").unwrap();
        for lock in [lock.as_path(), dir.path()] {
            is_named_while_it_holds(dir.path(), lock);
        }
    }

    fn is_named_while_it_holds(database: &Path, lock: &Path) {
        assert_eq!(holder(database).unwrap(), None);
        let mut child = std::process::Command::new("flock")
            .arg(lock)
            .args(["sh", "-c", "echo held; read wait"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let found = holder(database).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(found.is_some(), "the holder was not seen");
        assert_eq!(holder(database).unwrap(), None);
    }
}
