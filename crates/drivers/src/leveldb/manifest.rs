//! Which files belong to a database: `CURRENT` and the manifest that it names.
//!
//! Source: LevelDB `db/version_edit.cc`, goleveldb `leveldb/session_record.go` and
//! `leveldb/storage/file_storage.go`. The manifest is a log of version edits: varint tags
//! 1 comparator, 2 log number, 3 next file number, 4 last sequence, 5 compaction pointer,
//! 6 deleted file (level, number), 7 new file (level, number, size, smallest, largest),
//! 9 previous log number.

use super::crc::{corrupt, prefixed, sound, varint};
use super::log::records;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use transload_store::{Error, Kind, Result};

/// The only key order that we read: `memcmp`.
const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// LevelDB has 7 levels; goleveldb adds more when the last one is full.
const LEVELS_MAX: u64 = 64;

/// A manifest of a terabyte database has a few megabytes; a forged one must not fill memory.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// One table file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableFile {
    pub(super) number: u64,
    pub(super) size: u64,
    /// Internal keys: user key and 8 bytes of sequence and type.
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
}

/// What the manifest says after all its edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The manifest's file name.
    pub(super) name: String,
    pub(super) log_number: u64,
    pub(super) previous_log_number: u64,
    pub(super) last_sequence: u64,
    /// Tables by (level, number).
    pub(super) tables: BTreeMap<(u64, u64), TableFile>,
}

impl Manifest {
    /// Reads the current manifest of the database at `dir`.
    pub(super) fn load(dir: &Path) -> Result<Self> {
        let name = current(dir)?;
        let path = dir.join(&name);
        let size = fs::metadata(&path).map_err(|error| Error::io("read LevelDB", &path, error))?;
        if size.len() > MANIFEST_BYTES_MAX {
            return Err(Error::new(Kind::Limit, "read LevelDB", "the manifest is too large")
                .with("file", name)
                .with("limit_bytes", MANIFEST_BYTES_MAX.to_string()));
        }
        let bytes = fs::read(&path).map_err(|error| Error::io("read LevelDB", &path, error))?;
        Self::parse(&name, &bytes)
    }

    /// Applies every whole edit of a manifest. A torn last edit was never committed.
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let mut manifest = Self { name: name.to_owned(), ..Self::default() };
        let mut compared = false;
        records(bytes, name, |edit, offset| manifest.apply(edit, offset, &mut compared))?;
        if !compared {
            return Err(corrupt(name, 0, "the manifest names no comparator"));
        }
        Ok(manifest)
    }

    /// Whether the log `number` holds entries that no table has.
    pub(super) fn needs_log(&self, number: u64) -> bool {
        number >= self.log_number || (number != 0 && number == self.previous_log_number)
    }

    fn apply(&mut self, edit: &[u8], offset: u64, compared: &mut bool) -> Result<()> {
        let name = self.name.clone();
        let mut edit = Edit { rest: edit, name: &name, offset };
        while !edit.rest.is_empty() {
            match edit.number()? {
                1 => {
                    let comparator = edit.bytes()?;
                    if comparator != COMPARATOR {
                        let found = transload_model::report::printable_key(comparator);
                        return Err(Error::new(
                            Kind::UnknownFormat,
                            "read LevelDB",
                            "the keys have an order that only the program that wrote them knows",
                        )
                        .with("comparator", found)
                        .with("file", name));
                    }
                    *compared = true;
                }
                2 => self.log_number = edit.number()?,
                3 => _ = edit.number()?,
                4 => self.last_sequence = edit.number()?,
                5 => {
                    edit.number()?;
                    edit.bytes()?;
                }
                6 => {
                    let (level, number) = (edit.number()?, edit.number()?);
                    self.tables.remove(&(level, number));
                }
                7 => {
                    let (level, number, size) = (edit.number()?, edit.number()?, edit.number()?);
                    let (smallest, largest) = (edit.bytes()?.to_vec(), edit.bytes()?.to_vec());
                    if level >= LEVELS_MAX || smallest.len() < 8 || largest.len() < 8 {
                        return Err(corrupt(&name, offset, "an edit adds an impossible table"));
                    }
                    // goleveldb's first edit after an open lists fresh tables twice; the same
                    // (level, number) replaces itself.
                    self.tables
                        .insert((level, number), TableFile { number, size, smallest, largest });
                }
                9 => self.previous_log_number = edit.number()?,
                tag => {
                    return Err(Error::new(
                        Kind::UnknownFormat,
                        "read LevelDB",
                        "the manifest has an entry that LevelDB doesn't write",
                    )
                    .with("tag", tag.to_string())
                    .with("file", name));
                }
            }
        }
        Ok(())
    }
}

/// The rest of one edit.
struct Edit<'a> {
    rest: &'a [u8],
    name: &'a str,
    offset: u64,
}

impl<'a> Edit<'a> {
    fn number(&mut self) -> Result<u64> {
        let number = varint(&mut self.rest);
        sound(number, self.name, self.offset, "an edit of the manifest is cut off")
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let bytes = prefixed(&mut self.rest);
        sound(bytes, self.name, self.offset, "an edit of the manifest is cut off")
    }
}

/// The name of the current manifest.
///
/// goleveldb renames `CURRENT` through `CURRENT.<number>` and keeps `CURRENT.bak`; after a crash
/// any of them may be the valid one. As goleveldb does: a pending file that names a newer
/// existing manifest wins over `CURRENT`, and `CURRENT.bak` stands in for a missing one.
fn current(dir: &Path) -> Result<String> {
    let listing = fs::read_dir(dir).map_err(|error| Error::io("read LevelDB", dir, error))?;
    let mut pending = None;
    for entry in listing {
        let entry = entry.map_err(|error| Error::io("read LevelDB", dir, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_pending = name
            .strip_prefix("CURRENT.")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if is_pending {
            pending = pending.max(named_manifest(dir, &name));
        }
    }
    let settled = named_manifest(dir, "CURRENT").or_else(|| named_manifest(dir, "CURRENT.bak"));
    pending.max(settled).map(|(_, name)| name).ok_or_else(|| {
        Error::new(Kind::Corrupt, "read LevelDB", "no CURRENT file names a manifest that exists")
            .with("path", dir.display().to_string())
    })
}

/// The manifest that a `CURRENT` file names, when both are whole.
fn named_manifest(dir: &Path, file: &str) -> Option<(u64, String)> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    let name = text.strip_suffix('\n')?;
    let number = name.strip_prefix("MANIFEST-")?.parse().ok()?;
    dir.join(name).is_file().then(|| (number, name.to_owned()))
}

/// The numbers of the logs in `dir`, ascending.
pub(super) fn log_numbers(dir: &Path) -> Result<Vec<u64>> {
    let failed = |error| Error::io("read LevelDB", dir, error);
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
