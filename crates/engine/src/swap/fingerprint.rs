//! What the files of a database were at one moment.
//!
//! Tables never change once written, so names, sizes, inodes and times tell; the small files that
//! engines rewrite in place (CURRENT, manifest, logs, markers, OPTIONS) are hashed as well.

use super::disk::stopped;
use crate::error::{Error, Kind, Result};
use crate::moves::Fingerprint;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Logs may be large; they are hashed in pieces of this size.
const READ_BYTES: usize = 1 << 20;

/// The file that engines lock; nothing is in it.
const LOCK: &str = "LOCK";

/// Folders of an engine aren't deeper; a loop must not run for ever.
const DEPTH_MAX: usize = 32;

/// The fingerprint of the file or folder at `path`. It doesn't depend on where that stands.
pub(super) fn of(path: &Path) -> Result<Fingerprint> {
    let mut print = Fingerprint::default();
    walk(path, "", Looks::AtContent, 0, &mut print)?;
    Ok(print)
}

/// The fingerprint of something that nobody but us has reason to touch, however slightly: the
/// time of a file's last change of any kind counts, which nobody can set back. A link made for a
/// snapshot counts too, so this isn't for databases that others read.
pub(super) fn seal(path: &Path) -> Result<Fingerprint> {
    let mut print = Fingerprint::default();
    walk(path, "", Looks::AtAnyChange, 0, &mut print)?;
    Ok(print)
}

/// The first file that isn't what it was.
pub(super) fn first_change(before: &Fingerprint, now: &Fingerprint) -> Option<String> {
    let names = before.files.keys().chain(now.files.keys());
    names.filter(|name| before.files.get(*name) != now.files.get(*name)).min().map(|name| {
        match (before.files.get(name), now.files.get(name)) {
            (None, _) => format!("{name} is new"),
            (_, None) => format!("{name} is gone"),
            _ => format!("{name} has changed"),
        }
    })
}

/// What a fingerprint takes for a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// A write, or a file in another's place.
    AtContent,
    /// The same, and a link or a time that was put back.
    AtAnyChange,
}

fn walk(
    path: &Path,
    relative: &str,
    looks: Looks,
    depth: usize,
    print: &mut Fingerprint,
) -> Result<()> {
    let failed = |error| stopped("take a fingerprint", path, error);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        if depth > DEPTH_MAX {
            let why = format!("folders are deeper than {DEPTH_MAX}");
            return Err(Error::new(Kind::Stopped, "take a fingerprint", why)
                .with("path", path.display().to_string()));
        }
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().as_encoded_bytes().escape_ascii().to_string();
            let inner = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            walk(&entry.path(), &inner, looks, depth + 1, print)?;
        }
        return Ok(());
    }
    let name = relative.rsplit('/').next().unwrap_or_default();
    let mut line = format!("size {} inode {}", metadata.len(), metadata.ino());
    // Pebble gives a lock that it doesn't get another time: a node that was refused has changed
    // nothing, and whoever writes changes other files.
    if name != LOCK || looks == Looks::AtAnyChange {
        line.push_str(&format!(" modified {}.{:09}", metadata.mtime(), metadata.mtime_nsec()));
    }
    if looks == Looks::AtAnyChange {
        line.push_str(&format!(" changed {}.{:09}", metadata.ctime(), metadata.ctime_nsec()));
    }
    if metadata.is_file() && is_rewritten(name) {
        line.push_str(&format!(" sha256 {}", digest(path).map_err(failed)?));
    }
    print.files.insert(relative.to_owned(), line);
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

fn is_rewritten(name: &str) -> bool {
    ["CURRENT", "MANIFEST", "OPTIONS", "marker."].iter().any(|start| name.starts_with(start))
        || name.ends_with(".log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_write_in_place_is_noticed_though_size_and_time_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["CURRENT", "000007.ldb"] {
            fs::write(dir.path().join(name), "content").unwrap();
        }
        let before = of(dir.path()).unwrap();
        assert_eq!(of(dir.path()).unwrap(), before);
        let current = dir.path().join("CURRENT");
        let time = fs::metadata(&current).unwrap().modified().unwrap();
        fs::write(&current, "CONTENT").unwrap();
        File::open(&current).unwrap().set_modified(time).unwrap();
        let now = of(dir.path()).unwrap();
        assert_eq!(first_change(&before, &now).as_deref(), Some("CURRENT has changed"));
    }

    #[test]
    fn a_lock_that_somebody_tried_to_take_is_no_change_and_one_that_was_written_is() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join(LOCK);
        fs::write(&lock, "").unwrap();
        let before = of(dir.path()).unwrap();
        let later = fs::metadata(&lock).unwrap().modified().unwrap() + Duration::from_secs(9);
        File::options().write(true).open(&lock).unwrap().set_modified(later).unwrap();
        assert_eq!(first_change(&before, &of(dir.path()).unwrap()), None);
        fs::write(&lock, "x").unwrap();
        let changed = first_change(&before, &of(dir.path()).unwrap());
        assert_eq!(changed.as_deref(), Some("LOCK has changed"));
    }

    #[test]
    fn a_seal_notices_a_table_whose_time_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("000007.sst");
        fs::write(&table, "content").unwrap();
        let time = fs::metadata(&table).unwrap().modified().unwrap();
        let (print, before) = (of(dir.path()).unwrap(), seal(dir.path()).unwrap());
        assert_eq!(seal(dir.path()).unwrap(), before);
        // The clock of file times is coarse: until its next tick nothing has changed.
        let mut now = before.clone();
        while now == before {
            fs::write(&table, "CONTENT").unwrap();
            File::open(&table).unwrap().set_modified(time).unwrap();
            now = seal(dir.path()).unwrap();
        }
        assert_eq!(of(dir.path()).unwrap(), print, "that is what the plain one can't see");
        assert_eq!(first_change(&before, &now).as_deref(), Some("000007.sst has changed"));
    }

    #[test]
    fn new_and_lost_files_are_named_and_a_move_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        fs::create_dir(&here).unwrap();
        fs::write(here.join("b"), "1").unwrap();
        let before = of(&here).unwrap();
        fs::rename(&here, &there).unwrap();
        assert_eq!(first_change(&before, &of(&there).unwrap()), None);
        fs::write(there.join("a"), "2").unwrap();
        let more = of(&there).unwrap();
        assert_eq!(first_change(&before, &more).as_deref(), Some("a is new"));
        assert_eq!(first_change(&more, &before).as_deref(), Some("a is gone"));
    }
}
