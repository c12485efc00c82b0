//! What a database consists of at one moment: its tables in runs, and the logs.
//!
//! A *run* is a list of tables that don't overlap, in key order: read one after another they are
//! one sorted source. LevelDB's levels above 0 are runs; tables of level 0 may overlap, but
//! where they don't, they are put together too. Few runs mean few comparisons.

use super::fault::READ;
use super::files::{Files, current};
use super::internal_key::{TAG_MAX, Tagged, order, split, user};
use super::manifest::{Manifest, TableFile};
use super::memtable::MemTable;
use std::cmp::Ordering;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use transload_store::{Error, KeyRange, Kind, Result};

/// Tables that don't overlap, in key order.
#[derive(Debug, Default)]
pub(super) struct Run {
    files: Vec<TableFile>,
}

impl Run {
    /// The indexes of the tables that may hold keys of `range`.
    pub(super) fn touched(&self, range: &KeyRange) -> Range<usize> {
        let start = self.files.partition_point(|file| user(&file.largest) < &range.start[..]);
        let end = match &range.end {
            Some(end) => self.files.partition_point(|file| user(&file.smallest) < &end[..]),
            None => self.files.len(),
        };
        start..end.max(start)
    }

    /// The one table that may hold the newest change of `key` in this run.
    pub(super) fn table_of(&self, key: &[u8]) -> Option<&TableFile> {
        let is_before = |file: &TableFile| is_below(&file.largest, (key, TAG_MAX));
        self.files.get(self.files.partition_point(is_before))
    }

    pub(super) fn files(&self) -> &[TableFile] {
        &self.files
    }
}

fn is_below(internal: &[u8], key: Tagged<'_>) -> bool {
    split(internal).is_some_and(|tagged| order(tagged, key) == Ordering::Less)
}

/// Tables and logs.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) runs: Vec<Arc<Run>>,
    pub(super) logs: Arc<MemTable>,
}

impl Version {
    /// Reads manifest and logs of `dir`. Should a process be writing there after all, that is
    /// noticed: what was flushed meanwhile must not be missing from both.
    pub(super) fn load(files: &dyn Files, dir: &Path, memory_bytes_max: u64) -> Result<Self> {
        let manifest = Manifest::load(files, dir)?;
        let logs = MemTable::replay(files, dir, &manifest, memory_bytes_max);
        if !is_current(files, dir, &manifest)? {
            let what = "the directory changed while it was read: a process is writing it";
            return Err(Error::new(Kind::Busy, READ, what)
                .with("path", dir.display().to_string())
                .retryable());
        }
        let logs = Arc::new(logs?);
        Ok(Self { runs: runs(manifest.tables.into_values()), logs })
    }
}

/// Whether nothing was appended to a manifest since it was read, and it is still the one.
fn is_current(files: &dyn Files, dir: &Path, manifest: &Manifest) -> Result<bool> {
    let path = dir.join(&manifest.name);
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(READ, &path, error)),
    };
    Ok(bytes == manifest.file_bytes && current(files, dir)? == manifest.name)
}

/// Puts tables into as few runs as possible.
///
/// Taken in order of their smallest keys, each table goes to a run that has ended before it. Of
/// equal keys the newer change must come first in a run too, so whole internal keys decide.
fn runs(files: impl Iterator<Item = TableFile>) -> Vec<Arc<Run>> {
    let mut files: Vec<TableFile> = files.collect();
    let by_key = |a: &[u8], b: &[u8]| match (split(a), split(b)) {
        (Some(a), Some(b)) => order(a, b),
        _ => a.cmp(b),
    };
    files.sort_by(|a, b| by_key(&a.smallest, &b.smallest).then(a.number.cmp(&b.number)));
    // A table that goleveldb lists on two levels is one table.
    files.dedup_by_key(|file| file.number);
    let mut runs: Vec<Run> = Vec::new();
    for file in files {
        let free = runs.iter_mut().find(|run| {
            run.files
                .last()
                .is_none_or(|last| by_key(&last.largest, &file.smallest) == Ordering::Less)
        });
        match free {
            Some(run) => run.files.push(file),
            None => runs.push(Run { files: vec![file] }),
        }
    }
    runs.into_iter().map(Arc::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u64, smallest: (&[u8], u64), largest: (&[u8], u64)) -> TableFile {
        let key = |(user, tag): (&[u8], u64)| [user, &tag.to_le_bytes()].concat().into();
        TableFile { number, size_bytes: 0, smallest: key(smallest), largest: key(largest) }
    }

    fn numbers(runs: &[Arc<Run>]) -> Vec<Vec<u64>> {
        runs.iter().map(|run| run.files.iter().map(|file| file.number).collect()).collect()
    }

    #[test]
    fn tables_that_follow_one_another_are_one_run() {
        let a = file(1, (b"a", 9), (b"c", 9));
        let b = file(2, (b"d", 9), (b"f", 9));
        let over_both = file(3, (b"b", 9), (b"e", 9));
        let all = [b, over_both, a];
        assert_eq!(numbers(&runs(all.into_iter())), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn versions_of_a_key_may_cross_tables_only_from_new_to_old() {
        let newer = file(1, (b"a", 9), (b"c", 8));
        let older = file(2, (b"c", 5), (b"f", 9));
        let both = runs([older.clone(), newer.clone()].into_iter());
        assert_eq!(numbers(&both), [vec![1, 2]]);
        assert_eq!(both[0].table_of(b"c").map(|file| file.number), Some(1));
        let wrong = file(3, (b"c", 9), (b"f", 9));
        assert_eq!(numbers(&runs([wrong, newer].into_iter())), [vec![1], vec![3]]);
    }

    #[test]
    fn a_range_touches_just_the_tables_that_may_hold_it() {
        let [run] = &runs(
            [
                file(1, (b"a", 9), (b"c", 9)),
                file(2, (b"d", 9), (b"f", 9)),
                file(3, (b"g", 9), (b"h", 9)),
            ]
            .into_iter(),
        )[..] else {
            panic!("one run")
        };
        assert_eq!(run.touched(&KeyRange::all()), 0..3);
        assert_eq!(run.touched(&KeyRange::new(*b"c", *b"d")), 0..1);
        assert_eq!(run.touched(&KeyRange::new(*b"ca", *b"d")), 1..1);
        assert_eq!(run.touched(&KeyRange::new(*b"ca", *b"d\0")), 1..2);
        assert_eq!(run.touched(&KeyRange { start: b"i".to_vec(), end: None }), 3..3);
    }
}
