//! Where a database is opened, and how: in place and immutable, on a copy, or as a target.

use super::fault;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use transload_store::{Error, Result};

/// Connections share the memory that the store may use; a scan needs little of it.
const CACHE_PARTS: u64 = 16;

/// SQLite refuses smaller caches in practice: a page and the way to it.
const CACHE_KIB_MIN: u64 = 512;

/// Within a process, a writer holds a reader up for a moment only.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// A database file that connections can be opened to.
pub(super) struct Place {
    /// The file that is opened.
    pub(super) path: PathBuf,
    uri: OsString,
    flags: OpenFlags,
    cache_kib: u64,
    _copy: Option<ScratchCopy>,
}

impl Place {
    /// A source: in place, or on a copy where SQLite has something to recover.
    pub(super) fn source(path: &Path, scratch: &Path, memory_bytes_max: u64) -> Result<Self> {
        // SQLite looks for journal and log beside the file itself, not beside a link to it.
        let path = fs::canonicalize(path).map_err(|error| Error::io("open", path, error))?;
        let cache_kib = cache_kib(memory_bytes_max);
        if let Some(copy) = ScratchCopy::of_unfinished(&path, scratch)? {
            let path = copy.path.clone();
            let uri = uri(&path, "mode=rw");
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
            return Ok(Self { path, uri, flags, cache_kib, _copy: Some(copy) });
        }
        let uri = uri(&path, "immutable=1&mode=ro");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Ok(Self { path, uri, flags, cache_kib, _copy: None })
    }

    /// A target, made where nothing is.
    pub(super) fn target(path: &Path, memory_bytes_max: u64) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| Error::io("open", path, error))?;
        let uri = uri(&path, "mode=rwc");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        Ok(Self { path, uri, flags, cache_kib: cache_kib(memory_bytes_max), _copy: None })
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let flags = self.flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&self.uri, flags)?;
            connection.busy_timeout(BUSY_WAIT)?;
            // No memory map: a file that shrinks must be an error, not a signal. No trust in
            // what a foreign schema would have executed. Cells are checked against their page.
            connection.execute_batch(&format!(
                "PRAGMA mmap_size=0; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; \
                 PRAGMA cache_size=-{};",
                self.cache_kib
            ))?;
            Ok(connection)
        };
        open().map_err(|error| self.fault("open", error))
    }

    pub(super) fn fault(&self, operation: &'static str, error: rusqlite::Error) -> Error {
        fault(operation, &self.path, error)
    }
}

fn cache_kib(memory_bytes_max: u64) -> u64 {
    (memory_bytes_max / CACHE_PARTS / 1024).clamp(CACHE_KIB_MIN, 1 << 20)
}

/// `file:` and the path, with every byte escaped that could mean something else.
fn uri(path: &Path, query: &str) -> OsString {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(query);
    uri.into()
}

/// A copy of a database that a process left in the middle of something, with its journals.
struct ScratchCopy {
    path: PathBuf,
}

impl ScratchCopy {
    /// Copies when a journal or log with content stands beside the file.
    fn of_unfinished(path: &Path, scratch: &Path) -> Result<Option<Self>> {
        let mut unfinished = Vec::new();
        for suffix in ["-wal", "-journal"] {
            let beside = with_suffix(path, suffix);
            match fs::metadata(&beside) {
                Ok(found) if found.len() > 0 => unfinished.push((beside, suffix)),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", &beside, error)),
            }
        }
        if unfinished.is_empty() {
            return Ok(None);
        }
        let copy = Self { path: scratch.join("copy.sqlite") };
        copy.remove();
        for (from, suffix) in unfinished {
            copy_file(&from, &with_suffix(&copy.path, suffix))?;
        }
        copy_file(path, &copy.path)?;
        Ok(Some(copy))
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // A copy: what can't be removed costs space, not data.
            let _ = fs::remove_file(with_suffix(&self.path, suffix));
        }
    }
}

impl Drop for ScratchCopy {
    fn drop(&mut self) {
        self.remove();
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|error| Error::io("copy to the scratch folder", to, error))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_smuggle_options_into_the_uri() {
        let uri = uri(Path::new("/a b/c?mode=rwc#d%41"), "immutable=1");
        assert_eq!(uri, "file:/a%20b/c%3Fmode%3Drwc%23d%2541?immutable=1");
    }
}
