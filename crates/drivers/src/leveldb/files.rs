//! The files of a directory: what they are called, and which manifest is the current one.
//!
//! Source: LevelDB `db/filename.cc`, goleveldb `leveldb/storage/file_storage.go`.

use super::fault::READ;
use super::table::ReadAt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use transload_store::{Error, Kind, Result};

/// A manifest of a database of a terabyte has some 100 MB; a forged one must not fill memory.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// Where the files' bytes come from: the disk, or in tests one whose calls fail.
pub(super) trait Files: Send + Sync {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// A file for positioned reads.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;
}

/// The disk itself.
pub(super) struct OnDisk;

impl Files for OnDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(File::open(path)?))
    }
}

/// The whole content of a manifest.
pub(super) fn read_manifest(files: &dyn Files, dir: &Path, name: &str) -> Result<Vec<u8>> {
    let path = dir.join(name);
    let failed = |error| Error::io(READ, &path, error);
    let size_bytes = fs::metadata(&path).map_err(failed)?.len();
    if size_bytes > MANIFEST_BYTES_MAX {
        return Err(Error::new(Kind::Limit, READ, "the manifest is too large")
            .with("file", name)
            .with("limit_bytes", MANIFEST_BYTES_MAX.to_string()));
    }
    read_whole(files, &path, size_bytes)
}

/// The whole content of a file that has this size, or more by now.
///
/// A log or manifest that is cut off at a record looks like one that was never longer, so bytes
/// that didn't come must be noticed here.
pub(super) fn read_whole(files: &dyn Files, path: &Path, size_bytes: u64) -> Result<Vec<u8>> {
    let bytes = files.read(path).map_err(|error| Error::io(READ, path, error))?;
    if (bytes.len() as u64) < size_bytes {
        return Err(Error::new(Kind::Io, READ, "a file was read short")
            .with("path", path.display().to_string())
            .with("bytes", bytes.len().to_string())
            .with("expected_bytes", size_bytes.to_string()));
    }
    Ok(bytes)
}

/// The name of the current manifest.
///
/// goleveldb renames `CURRENT` through `CURRENT.<number>` and keeps `CURRENT.bak`; after a crash
/// any of them may be the valid one. As goleveldb does: a pending file that names a newer
/// existing manifest wins over `CURRENT`, and `CURRENT.bak` stands in for a missing one.
pub(super) fn current(files: &dyn Files, dir: &Path) -> Result<String> {
    let failed = |error| Error::io(READ, dir, error);
    let mut pending = None;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let is_pending = name
            .strip_prefix("CURRENT.")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if is_pending {
            pending = pending.max(named_manifest(files, dir, &name)?);
        }
    }
    let settled = match named_manifest(files, dir, "CURRENT")? {
        Some(named) => Some(named),
        None => named_manifest(files, dir, "CURRENT.bak")?,
    };
    pending.max(settled).map(|(_, name)| name).ok_or_else(|| {
        Error::new(Kind::Corrupt, READ, "no CURRENT file names a manifest that exists")
            .with("path", dir.display().to_string())
    })
}

/// The manifest that a `CURRENT` file names, when both are there and whole.
fn named_manifest(files: &dyn Files, dir: &Path, file: &str) -> Result<Option<(u64, String)>> {
    let path = dir.join(file);
    let content = match files.read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(READ, &path, error)),
    };
    let named = || {
        let name = str::from_utf8(&content).ok()?.strip_suffix('\n')?;
        let digits = name.strip_prefix("MANIFEST-")?;
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        Some((number, name.to_owned()))
    };
    let Some((number, name)) = named() else { return Ok(None) };
    let manifest = dir.join(&name);
    match fs::metadata(&manifest) {
        Ok(metadata) => Ok(metadata.is_file().then_some((number, name))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // What can't be looked at isn't absent.
        Err(error) => Err(Error::io(READ, &manifest, error)),
    }
}

/// The numbers of the logs in `dir`, ascending.
pub(super) fn log_numbers(dir: &Path) -> Result<Vec<u64>> {
    let failed = |error| Error::io(READ, dir, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        let number: Option<u64> = name.strip_suffix(".log").and_then(|number| number.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A log's file name.
pub(super) fn log_name(number: u64) -> String {
    format!("{number:06}.log")
}

/// What a table's file may be called: goleveldb and LevelDB since 1.14 write `.ldb`, older ones
/// wrote `.sst`.
pub(super) fn table_names(number: u64) -> [String; 2] {
    [format!("{number:06}.ldb"), format!("{number:06}.sst")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_cant_be_looked_at_is_no_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
        assert_eq!(current(&OnDisk, dir.path()).unwrap_err().kind(), Kind::Corrupt);
        // A link in a circle: the system refuses to look.
        let manifest = dir.path().join("MANIFEST-000001");
        std::os::unix::fs::symlink(&manifest, &manifest).unwrap();
        assert_eq!(current(&OnDisk, dir.path()).unwrap_err().kind(), Kind::Io);
    }

    #[test]
    fn the_newest_current_file_with_an_existing_manifest_wins() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
        assert_eq!(current(&OnDisk, dir.path()).unwrap_err().kind(), Kind::Corrupt);
        put("MANIFEST-000003", "");
        put("MANIFEST-000004", "");
        put("CURRENT.bak", "MANIFEST-000003\n");
        assert_eq!(current(&OnDisk, dir.path()).unwrap(), "MANIFEST-000003");
        put("CURRENT", "MANIFEST-000003\n");
        put("CURRENT.5", "MANIFEST-000005\n");
        assert_eq!(current(&OnDisk, dir.path()).unwrap(), "MANIFEST-000003", "5 doesn't exist");
        put("CURRENT.4", "MANIFEST-000004\n");
        assert_eq!(current(&OnDisk, dir.path()).unwrap(), "MANIFEST-000004");
        put("CURRENT", "MANIFEST-0000");
        put("CURRENT.4", "../MANIFEST-000004\n");
        assert_eq!(current(&OnDisk, dir.path()).unwrap(), "MANIFEST-000003", "neither is whole");
    }
}
