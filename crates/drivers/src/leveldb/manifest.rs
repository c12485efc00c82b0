//! The manifest: which tables and logs belong to a database, and on which levels.
//!
//! Source: LevelDB `db/version_edit.cc`, goleveldb `leveldb/session_record.go`. It is a log of
//! version edits: varint tags
//! 1 comparator, 2 log number, 3 next file number, 4 last sequence, 5 compaction pointer,
//! 6 deleted file (level, number), 7 new file (level, number, size, smallest, largest),
//! 9 previous log number. An unknown tag is refused: its length isn't known, so nothing after
//! it can be read.

use super::encoding::{prefixed, varint};
use super::fault::{corrupt, sound, unknown};
use super::files::{Files, current, read_manifest};
use super::internal_key::{TAG_BYTES, user};
use super::log::{End, records};
use std::collections::BTreeMap;
use std::path::Path;
use transload_model::report::printable_key;
use transload_store::{Error, KEY_BYTES_MAX, Result};

/// The only key order that we read: `memcmp`.
const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// LevelDB has 7 levels; goleveldb adds more when the last one is full.
const LEVELS_MAX: u64 = 64;

/// Tags from here on are those of RocksDB and Pebble (column families, tables with attributes).
const FOREIGN_TAGS_FROM: u64 = 100;

/// One table file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableFile {
    pub(super) number: u64,
    pub(super) size_bytes: u64,
    /// Internal keys: at least [`TAG_BYTES`] long.
    pub(super) smallest: Box<[u8]>,
    pub(super) largest: Box<[u8]>,
}

/// What the manifest says after all its edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The manifest's file name.
    pub(super) name: String,
    /// Logs from this number on hold entries that no table has; 0 when no log was needed yet.
    pub(super) log_number: u64,
    pub(super) previous_log_number: u64,
    pub(super) last_sequence: u64,
    /// Tables by (level, number).
    pub(super) tables: BTreeMap<(u64, u64), TableFile>,
    /// Bytes of the manifest when it was read.
    pub(super) file_bytes: u64,
    /// Bytes up to the end of its last whole edit.
    pub(super) whole_bytes: u64,
}

/// What must have been said once.
#[derive(Default)]
struct Said {
    comparator: bool,
    log_number: bool,
    next_file: bool,
    last_sequence: bool,
}

impl Manifest {
    /// Reads the current manifest of the database at `dir`.
    pub(super) fn load(files: &dyn Files, dir: &Path) -> Result<Self> {
        let name = current(files, dir)?;
        let bytes = read_manifest(files, dir, &name)?;
        Self::parse(&name, bytes)
    }

    /// Applies every whole edit of a manifest. A torn last edit was never committed.
    pub(super) fn parse(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let file_bytes = bytes.len() as u64;
        let mut manifest = Self { name: name.to_owned(), file_bytes, ..Self::default() };
        let mut said = Said::default();
        let log = records(bytes, name)?;
        for (place, offset) in log.places {
            let rest = &log.bytes[place];
            manifest.apply(&mut Edit { rest, name, offset }, &mut said)?;
        }
        manifest.whole_bytes = match log.end {
            End::Clean => file_bytes,
            End::Torn { offset } => offset,
        };
        let missing = [
            (said.comparator, "the manifest names no comparator"),
            (said.log_number, "the manifest names no log"),
            (said.next_file, "the manifest has no next file number"),
            (said.last_sequence, "the manifest has no last sequence number"),
        ];
        match missing.into_iter().find(|(said, _)| !said) {
            Some((_, what)) => Err(corrupt(name, manifest.whole_bytes, what)),
            None => manifest.check_levels().map(|()| manifest),
        }
    }

    /// Whether the log `number` holds entries that no table has.
    pub(super) fn needs_log(&self, number: u64) -> bool {
        number >= self.log_number || (number != 0 && number == self.previous_log_number)
    }

    fn apply(&mut self, edit: &mut Edit<'_>, said: &mut Said) -> Result<()> {
        let mut added = Vec::new();
        while !edit.rest.is_empty() {
            match edit.number()? {
                1 => {
                    check_comparator(edit)?;
                    said.comparator = true;
                }
                2 => {
                    self.log_number = edit.number()?;
                    said.log_number = true;
                }
                3 => {
                    edit.number()?;
                    said.next_file = true;
                }
                4 => {
                    self.last_sequence = edit.number()?;
                    said.last_sequence = true;
                }
                5 => {
                    edit.number()?;
                    edit.bytes()?;
                }
                6 => {
                    let (level, number) = (edit.number()?, edit.number()?);
                    self.tables.remove(&(level, number));
                }
                7 => added.push(edit.table()?),
                9 => self.previous_log_number = edit.number()?,
                tag => return Err(edit.foreign(tag)),
            }
        }
        // Deletions of an edit come before its additions, however they are written.
        for (level, file) in added {
            let number = file.number;
            // goleveldb's first edit after an open lists freshly flushed tables twice.
            match self.tables.insert((level, number), file.clone()) {
                Some(before) if before != file => {
                    return Err(edit
                        .corrupt("a table is listed twice, with different keys or size")
                        .with("table", number.to_string()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Tables of a level above 0 don't overlap.
    fn check_levels(&self) -> Result<()> {
        let mut levels: BTreeMap<u64, Vec<&TableFile>> = BTreeMap::new();
        for ((level, _), file) in self.tables.range((1, 0)..) {
            levels.entry(*level).or_default().push(file);
        }
        for files in levels.values_mut() {
            files.sort_by(|a, b| user(&a.smallest).cmp(user(&b.smallest)));
            // A user key may end one table and begin the next, as versions.
            let overlap =
                files.windows(2).find(|pair| user(&pair[0].largest) > user(&pair[1].smallest));
            if let Some(pair) = overlap {
                return Err(corrupt(&self.name, self.whole_bytes, "two tables of a level overlap")
                    .with("tables", format!("{} and {}", pair[0].number, pair[1].number)));
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
    fn corrupt(&self, what: &str) -> Error {
        corrupt(self.name, self.offset, what)
    }

    fn number(&mut self) -> Result<u64> {
        let number = varint(&mut self.rest);
        sound(number, self.name, self.offset, "an edit of the manifest is cut off")
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let bytes = prefixed(&mut self.rest);
        sound(bytes, self.name, self.offset, "an edit of the manifest is cut off")
    }

    fn table(&mut self) -> Result<(u64, TableFile)> {
        let (level, number, size_bytes) = (self.number()?, self.number()?, self.number()?);
        let (smallest, largest) = (self.bytes()?, self.bytes()?);
        let is_key = |key: &[u8]| (TAG_BYTES..=KEY_BYTES_MAX + TAG_BYTES).contains(&key.len());
        let possible = level < LEVELS_MAX
            && is_key(smallest)
            && is_key(largest)
            && user(smallest) <= user(largest);
        if !possible {
            return Err(self.corrupt("an edit of the manifest adds an impossible table"));
        }
        let file =
            TableFile { number, size_bytes, smallest: smallest.into(), largest: largest.into() };
        Ok((level, file))
    }

    fn foreign(&self, tag: u64) -> Error {
        let what = if tag >= FOREIGN_TAGS_FROM {
            "the manifest has an entry that RocksDB or Pebble writes, not LevelDB"
        } else {
            "the manifest has an entry that this version doesn't know; a newer LevelDB wrote it"
        };
        unknown(self.name, self.offset, what).with("tag", tag.to_string())
    }
}

fn check_comparator(edit: &mut Edit<'_>) -> Result<()> {
    let comparator = edit.bytes()?;
    if comparator == COMPARATOR {
        return Ok(());
    }
    let what = "the keys have an order that only the program that wrote them knows";
    Err(unknown(edit.name, edit.offset, what).with("comparator", printable_key(comparator)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leveldb::log::tests::write;
    use proptest::prelude::*;
    use transload_store::Kind;

    fn bytes(tag: u8, bytes: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
    }

    fn begin() -> Vec<u8> {
        [bytes(1, COMPARATOR), vec![2, 3, 3, 9, 4, 50]].concat()
    }

    fn add(level: u8, number: u8, size: u8, smallest: &[u8], largest: &[u8]) -> Vec<u8> {
        let key = |user: &[u8]| bytes(0, &[user, &[0; 8]].concat())[1..].to_vec();
        [vec![7, level, number, size], key(smallest), key(largest)].concat()
    }

    fn parse(edits: &[Vec<u8>]) -> Result<Manifest> {
        Manifest::parse("MANIFEST-000001", write(edits))
    }

    fn kind(edits: &[Vec<u8>]) -> Kind {
        parse(edits).unwrap_err().kind()
    }

    #[test]
    fn edits_add_and_remove_tables() {
        let moved = [add(1, 5, 10, b"a", b"c"), vec![6, 0, 5]].concat();
        let manifest = parse(&[begin(), add(0, 5, 10, b"a", b"c"), moved, vec![2, 7]]).unwrap();
        assert_eq!(manifest.tables.keys().collect::<Vec<_>>(), [&(1, 5)]);
        assert_eq!((manifest.log_number, manifest.last_sequence), (7, 50));
        assert!(manifest.needs_log(7) && !manifest.needs_log(6));
    }

    #[test]
    fn a_table_that_goleveldb_lists_twice_is_one_table() {
        let table = add(0, 5, 10, b"a", b"c");
        let manifest = parse(&[[begin(), table.clone(), table.clone()].concat()]).unwrap();
        assert_eq!(manifest.tables.len(), 1);
        assert_eq!(kind(&[begin(), table, add(0, 5, 11, b"a", b"c")]), Kind::Corrupt);
    }

    #[test]
    fn a_torn_last_edit_was_never_committed() {
        let log = write(&[begin(), add(0, 5, 10, b"a", b"c")]);
        let whole = write(&[begin()]).len();
        for cut in whole..log.len() {
            let manifest = Manifest::parse("M", log[..cut].to_vec()).unwrap();
            assert_eq!((manifest.tables.len(), manifest.whole_bytes), (0, whole as u64));
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_by_kind() {
        let reversed = [bytes(1, b"leveldb.ReverseComparator"), begin()].concat();
        assert_eq!(kind(&[reversed]), Kind::UnknownFormat);
        assert_eq!(kind(&[begin(), vec![8, 1]]), Kind::UnknownFormat);
        assert_eq!(kind(&[begin(), vec![103, 1]]), Kind::UnknownFormat);
        assert_eq!(kind(&[vec![2, 3, 3, 9, 4, 50]]), Kind::Corrupt);
        assert_eq!(kind(&[bytes(1, COMPARATOR)]), Kind::Corrupt);
        assert_eq!(kind(&[begin(), vec![2]]), Kind::Corrupt);
    }

    #[test]
    fn overlapping_tables_of_a_level_are_refused_except_on_level_zero() {
        let tables = |level| [add(level, 5, 1, b"a", b"c"), add(level, 6, 1, b"b", b"d")].concat();
        assert_eq!(kind(&[begin(), tables(1)]), Kind::Corrupt);
        assert_eq!(parse(&[begin(), tables(0)]).unwrap().tables.len(), 2);
        assert_eq!(kind(&[begin(), add(0, 5, 1, b"c", b"a")]), Kind::Corrupt);
        assert_eq!(kind(&[begin(), add(64, 5, 1, b"a", b"c")]), Kind::Corrupt);
    }

    proptest! {
        #[test]
        fn arbitrary_edits_never_panic(edit in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(std::slice::from_ref(&edit));
            let _ = parse(&[begin(), edit]);
        }
    }
}
