//! A linked snapshot of a Pebble or RocksDB directory: hard links of its tables, copies of the
//! rest.
//!
//! Tables never change once they are written, so a link costs nothing and stays when the writer
//! deletes its own name. The manifest and the logs are appended to, so they are copied. A writer
//! may flush, compact and roll its log meanwhile: the snapshot is good when the manifest is the
//! same after everything was taken as before, for then every table and log that it needs was
//! there all the time. The last log may end in the middle of a record, as after a crash.
//!
//! Invariant: nothing in the source is written, renamed, locked or truncated.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use transload_store::{Error, Kind, Result};

/// A busy node edits its manifest every few seconds, and an attempt takes milliseconds.
const ATTEMPTS_MAX: u32 = 20;

/// The manifest of the largest node seen has a few MiB; Pebble begins a new one at 128 MiB.
const MANIFEST_BYTES_MAX: u64 = 2 << 30;

const OPERATION: &str = "link a snapshot";

/// A snapshot's files; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct LinkedSnapshot {
    dir: PathBuf,
}

impl LinkedSnapshot {
    /// Makes a snapshot of `source` in the existing folder `scratch`.
    pub(crate) fn make(source: &Path, scratch: &Path) -> Result<Self> {
        check_root(source)?;
        Self::filled(scratch, |into| link(source, into))
    }

    /// A snapshot in the existing folder `scratch`, of what `fill` puts there.
    pub(crate) fn filled(scratch: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let dir = scratch.join("linked");
        // A process that was killed may have left one: links and copies, nothing of the source.
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|error| Error::io(OPERATION, &dir, error))?;
        }
        fs::create_dir(&dir).map_err(|error| Error::io(OPERATION, &dir, error))?;
        let snapshot = Self { dir };
        fill(&snapshot.dir)?;
        Ok(snapshot)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

/// Makes a snapshot of `source` in the existing folder `into`, in the place of an earlier one.
pub(crate) fn link_into(source: &Path, into: &Path) -> Result<()> {
    check_root(source)?;
    // A table's name may stand for other bytes than those that were linked.
    for name in Listing::of(into)?.tables {
        let path = into.join(name);
        fs::remove_file(&path).map_err(|error| Error::io(OPERATION, &path, error))?;
    }
    link(source, into)
}

fn check_root(source: &Path) -> Result<()> {
    if source.is_file() {
        let what = "this is a file, and the engine keeps a folder";
        return Err(Error::new(Kind::UnknownFormat, OPERATION, what)
            .with("path", source.display().to_string()));
    }
    if Listing::of(source)?.others.iter().any(|name| is_root(name)) {
        return Ok(());
    }
    let what = "neither CURRENT nor a manifest marker is there";
    Err(Error::new(Kind::NotFound, OPERATION, what).with("path", source.display().to_string()))
}

fn link(source: &Path, into: &Path) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        if attempt(source, into)? {
            return Ok(());
        }
    }
    Err(Error::new(Kind::Busy, OPERATION, "the directory changes too fast")
        .with("path", source.display().to_string())
        .with("attempts", ATTEMPTS_MAX.to_string())
        .retryable())
}

/// One try; false when the source moved meanwhile.
fn attempt(source: &Path, into: &Path) -> Result<bool> {
    let before = Listing::of(source)?;
    forget_copies(into)?;
    for name in &before.tables {
        if !link_table(source, into, name)? {
            return Ok(false);
        }
    }
    let Some(manifest) = Manifest::of(source, &before)? else { return Ok(false) };
    for name in &before.others {
        let length = if *name == manifest.name { Some(manifest.length) } else { None };
        if !copy(source, into, name, length)? {
            return Ok(false);
        }
    }
    let after = Listing::of(source)?;
    let unmoved = Manifest::of(source, &after)?.is_some_and(|again| again == manifest);
    // A table that came meanwhile belongs to no manifest yet, and one that went is linked.
    Ok(unmoved && after.others == before.others)
}

/// Links a table; false when it is gone. A file system that can't link gets a copy.
fn link_table(source: &Path, into: &Path, name: &str) -> Result<bool> {
    let (from, to) = (source.join(name), into.join(name));
    match fs::hard_link(&from, &to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if is_one_file(&from, &to)? {
                return Ok(true);
            }
            // An earlier try copied it, perhaps while it was being written.
            fs::remove_file(&to).map_err(|error| Error::io(OPERATION, &to, error))?;
            link_table(source, into, name)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::CrossesDevices
                    | ErrorKind::PermissionDenied
                    | ErrorKind::Unsupported
                    | ErrorKind::TooManyLinks
            ) =>
        {
            copy(source, into, name, None)
        }
        Err(error) => Err(Error::io(OPERATION, &from, error)),
    }
}

/// Whether both names are links to one file; a name that is gone is none.
fn is_one_file(one: &Path, other: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(OPERATION, path, error)),
    };
    let (one, other) = (identity(one)?, identity(other)?);
    Ok(one.is_some() && one == other)
}

/// Copies a file as long as it is now, or its first `length` bytes; false when it is gone or
/// shorter.
fn copy(source: &Path, into: &Path, name: &str, length: Option<u64>) -> Result<bool> {
    let (from, to) = (source.join(name), into.join(name));
    let file = match File::open(&from) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(OPERATION, &from, error)),
    };
    let mut copy = File::create(&to).map_err(|error| Error::io(OPERATION, &to, error))?;
    // A log that is written faster than it is read would have no end.
    let length = match length {
        Some(length) => length,
        None => file.metadata().map_err(|error| Error::io(OPERATION, &from, error))?.len(),
    };
    let copied = std::io::copy(&mut file.take(length), &mut copy)
        .and_then(|copied| copy.flush().map(|()| copied))
        .map_err(|error| Error::io(OPERATION, &from, error))?;
    Ok(copied == length)
}

/// Removes what an earlier try copied; its links stay.
fn forget_copies(into: &Path) -> Result<()> {
    for name in Listing::of(into)?.others {
        let path = into.join(name);
        fs::remove_file(&path).map_err(|error| Error::io(OPERATION, &path, error))?;
    }
    Ok(())
}

impl Drop for LinkedSnapshot {
    fn drop(&mut self) {
        // Links and copies only: what can't be removed costs space, not data.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The names that matter in a directory.
struct Listing {
    tables: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Listing {
    fn of(dir: &Path) -> Result<Self> {
        let failed = |error| Error::io(OPERATION, dir, error);
        let (mut tables, mut others) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type().map_err(failed)?;
            let set = match role(&name) {
                Role::Table => &mut tables,
                Role::Copied => &mut others,
                Role::Ignored => continue,
            };
            if !kind.is_file() {
                return Err(Error::new(Kind::Unsupported, OPERATION, "not a regular file")
                    .with("path", entry.path().display().to_string()));
            }
            set.insert(name);
        }
        Ok(Self { tables, others })
    }
}

enum Role {
    Table,
    Copied,
    Ignored,
}

fn role(name: &str) -> Role {
    let numbered = |suffix: &str| {
        name.strip_suffix(suffix)
            .is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // A Pebble 2 log may carry an index after its number: 000012-001.log.
    let log = name.strip_suffix(".log").is_some_and(|stem| {
        stem.starts_with(|first: char| first.is_ascii_digit())
            && stem.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    });
    // LevelDB's tables are linked too: the helper refuses a directory that two engines touched.
    if numbered(".sst") || numbered(".blob") || name.ends_with(".ldb") {
        Role::Table
    } else if log || is_root(name) || is_sign(name) {
        Role::Copied
    } else {
        Role::Ignored
    }
}

/// What such a directory begins with.
fn is_root(name: &str) -> bool {
    name == "CURRENT" || name.starts_with("marker.manifest.")
}

/// What else tells about the directory, another engine's sign among it.
fn is_sign(name: &str) -> bool {
    name.starts_with("MANIFEST-")
        || name.starts_with("OPTIONS-")
        || name.starts_with("marker.")
        || name == "CURRENT.bak"
}

/// The manifest in use, as far as it was written.
#[derive(PartialEq, Eq)]
struct Manifest {
    name: String,
    length: u64,
}

impl Manifest {
    /// Finds the manifest by the marker, else by `CURRENT`; none when it is just being replaced.
    fn of(dir: &Path, listing: &Listing) -> Result<Option<Self>> {
        let marked = listing
            .others
            .iter()
            .filter_map(|name| name.strip_prefix("marker.manifest."))
            .filter_map(|rest| rest.split_once('.'))
            .max_by_key(|(iteration, _)| iteration.parse::<u64>().unwrap_or(0))
            .map(|(_, manifest)| manifest.to_owned());
        let name = match marked {
            Some(name) => name,
            None => match current(&dir.join("CURRENT"))? {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        if !name.starts_with("MANIFEST-") || name.contains('/') {
            return Err(Error::new(Kind::Corrupt, OPERATION, "no manifest is named")
                .with("path", dir.display().to_string())
                .with("name", name));
        }
        let path = dir.join(&name);
        match fs::metadata(&path) {
            Ok(found) if found.len() > MANIFEST_BYTES_MAX => {
                Err(Error::new(Kind::Limit, OPERATION, "a manifest of more than 2 GiB")
                    .with("path", path.display().to_string()))
            }
            Ok(found) => Ok(Some(Self { name, length: found.len() })),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Replaced meanwhile, or missing for good: then no attempt succeeds, unless the
                // listing agrees that it isn't there.
                if listing.others.contains(&name) {
                    return Ok(None);
                }
                Err(Error::new(Kind::Corrupt, OPERATION, "the manifest is missing")
                    .with("path", path.display().to_string()))
            }
            Err(error) => Err(Error::io(OPERATION, &path, error)),
        }
    }
}

fn current(path: &Path) -> Result<Option<String>> {
    /// `CURRENT` holds one file name.
    const CURRENT_BYTES_MAX: u64 = 256;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(OPERATION, path, error)),
    };
    let mut text = String::new();
    match file.take(CURRENT_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(error) => Err(Error::io(OPERATION, path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_an_earlier_try_copied_half_written_is_taken_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (source, into) = (folder.path().join("source"), folder.path().join("into"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&into).unwrap();
        fs::write(source.join("000007.sst"), "a whole table").unwrap();
        fs::write(into.join("000007.sst"), "a whole").unwrap();
        assert!(link_table(&source, &into, "000007.sst").unwrap());
        assert_eq!(fs::read(into.join("000007.sst")).unwrap(), b"a whole table");
        assert!(link_table(&source, &into, "000007.sst").unwrap());
        fs::remove_file(source.join("000007.sst")).unwrap();
        assert!(!link_table(&source, &into, "000007.sst").unwrap());
    }
}
