//! The names in a directory.

use super::RECOGNISE;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use transload_store::{Error, Result};

/// How many names an error shows.
const SAMPLE_NAMES_MAX: usize = 12;

/// The names of a directory's files and folders.
pub(super) struct Listing {
    names: BTreeSet<String>,
    /// Bytes of the files right in the directory.
    pub(super) bytes_on_disk: u64,
}

impl Listing {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let failed = |error| Error::io(RECOGNISE, path, error);
        let mut listing = Self { names: BTreeSet::new(), bytes_on_disk: 0 };
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => listing.bytes_on_disk += metadata.len(),
                // Opening a pipe would wait for its other end for ever.
                Ok(metadata) if !metadata.is_dir() && !metadata.is_symlink() => {
                    let what = "a pipe, socket or device stands among the database's files";
                    return Err(super::foreign(&entry.path(), what));
                }
                Ok(_) => {}
                // A running node may have just deleted it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            }
            listing.names.insert(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(listing)
    }

    /// A directory with just these names.
    pub(super) fn of(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, bytes_on_disk: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The first name for which `wanted` is true.
    pub(super) fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<&str> {
        self.names().find(|name| wanted(name))
    }

    /// A numbered file with this suffix: a table or a log.
    pub(super) fn numbered(&self, suffix: &str) -> Option<&str> {
        self.find(|name| name.strip_suffix(suffix).is_some_and(is_number))
    }

    /// The name with this prefix and the highest number after it.
    pub(super) fn latest(&self, prefix: &str) -> Option<&str> {
        let numbered = |name: &'_ str| -> Option<u64> { name.strip_prefix(prefix)?.parse().ok() };
        self.names().filter(|name| numbered(name).is_some()).max_by_key(|name| numbered(name))
    }

    /// Some of the names, for errors.
    pub(super) fn sample(&self) -> String {
        let mut sample: Vec<_> = self.names().take(SAMPLE_NAMES_MAX).collect();
        if self.names.len() > sample.len() {
            sample.push("...");
        }
        sample.join(" ")
    }
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first bytes of a file.
pub(super) fn read_start(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let failed = |error| Error::io(RECOGNISE, path, error);
    let mut start = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max).read_to_end(&mut start).map_err(failed)?;
    Ok(start)
}
