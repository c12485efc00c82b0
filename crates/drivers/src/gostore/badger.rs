//! BadgerDB directories, before BadgerDB sees them.
//!
//! BadgerDB opened for reading still writes: it maps its value logs for writing, cuts them, and
//! deletes those that are empty. So it gets a folder of its own: copies of everything, or, of a
//! store that was closed cleanly, hard links of the tables, which it then opens for reading only.

use rustix::fs::{SeekFrom, seek};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek as _, Write as _};
use std::path::Path;
use transload_store::{Error, Kind, Result};

const OPERATION: &str = "copy a BadgerDB store";

/// BadgerDB's `maxKeySize`.
pub(super) const KEY_BYTES_MAX: usize = 65_000;

/// What BadgerDB's own keys begin with.
const RESERVED: &[u8] = b"!badger!";

/// Keys of any length that BadgerDB doesn't take.
pub(super) fn refuses_key(key: &[u8]) -> Option<&'static str> {
    if key.is_empty() {
        return Some("BadgerDB takes no empty key");
    }
    key.starts_with(RESERVED).then_some("BadgerDB keeps keys that begin with !badger! to itself")
}

/// Copies the store at `source`, which nobody writes, into the existing folder `into`.
pub(super) fn copy_into(source: &Path, into: &Path) -> Result<()> {
    let failed = |error| Error::io(OPERATION, source, error);
    // What can't be looked at isn't absent.
    let is_there = |path: &Path| path.try_exists().map_err(failed);
    if !is_there(&source.join("MANIFEST"))? {
        let kind = if is_there(source)? { Kind::UnknownFormat } else { Kind::NotFound };
        return Err(Error::new(kind, OPERATION, "no MANIFEST of BadgerDB is there")
            .with("path", source.display().to_string()));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(source).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_part(&name) {
            if !entry.file_type().map_err(failed)?.is_file() {
                return Err(Error::new(Kind::Unsupported, OPERATION, "not a regular file")
                    .with("path", entry.path().display().to_string()));
            }
            names.push(name);
        }
    }
    // Without it BadgerDB may write to tables: it compacts them.
    let was_closed = !names.iter().any(|name| name.ends_with(".mem"));
    for name in names {
        let (from, to) = (source.join(&name), into.join(&name));
        let linked = was_closed && name.ends_with(".sst") && fs::hard_link(&from, &to).is_ok();
        if !linked {
            copy(&from, &to).map_err(|error| Error::io(OPERATION, &from, error))?;
        }
    }
    Ok(())
}

/// All but `LOCK`, which has a process's number and would be made anew.
fn is_part(name: &str) -> bool {
    ["MANIFEST", "KEYREGISTRY", "DISCARD"].contains(&name)
        || [".sst", ".vlog", ".mem"].iter().any(|suffix| name.ends_with(suffix))
}

/// Copies a file without its holes: logs that are in use have gigabytes of them.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = File::create_new(to)?;
    let length = source.metadata()?.len();
    copy.set_len(length)?;
    let mut at = 0;
    while at < length {
        let data = match seek(&source, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break, // nothing but a hole up to the end
            Err(error) => return Err(error.into()),
        };
        let hole = seek(&source, SeekFrom::Hole(data))?;
        source.seek(std::io::SeekFrom::Start(data))?;
        copy.seek(std::io::SeekFrom::Start(data))?;
        let copied = std::io::copy(&mut (&source).take(hole - data), &mut copy)?;
        if copied != hole - data {
            return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        at = hole;
    }
    copy.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_file_with_holes_is_copied_without_filling_them() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let mut file = File::create(&from).unwrap();
        for at in [0, 40 << 20, 90 << 20] {
            file.seek(std::io::SeekFrom::Start(at)).unwrap();
            file.write_all(&[7; 5_000]).unwrap();
        }
        file.set_len(100 << 20).unwrap();
        copy(&from, &to).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
        assert!(blocks(&to) <= blocks(&from) + 64, "{} and {}", blocks(&to), blocks(&from));
        File::create(folder.path().join("empty")).unwrap();
        copy(&folder.path().join("empty"), &folder.path().join("empty too")).unwrap();
    }

    #[test]
    fn tables_are_linked_only_where_the_store_was_closed() {
        for (closed, links) in [(true, 2), (false, 1)] {
            let folder = tempfile::tempdir().unwrap();
            let (source, into) = (folder.path().join("db"), folder.path().join("into"));
            fs::create_dir(&source).unwrap();
            fs::create_dir(&into).unwrap();
            for name in ["MANIFEST", "000001.sst", "000001.vlog", "LOCK", "notes.txt"] {
                fs::write(source.join(name), name).unwrap();
            }
            if !closed {
                fs::write(source.join("00001.mem"), "").unwrap();
            }
            copy_into(&source, &into).unwrap();
            assert_eq!(fs::metadata(source.join("000001.sst")).unwrap().nlink(), links);
            assert_eq!(fs::metadata(source.join("000001.vlog")).unwrap().nlink(), 1);
            assert!(into.join("MANIFEST").is_file() && into.join("000001.vlog").is_file());
            assert!(!into.join("LOCK").exists() && !into.join("notes.txt").exists());
        }
    }
}
