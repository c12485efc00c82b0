//! Compares two datasets: by roots, then by segments, then by keys.
//!
//! Equal roots end the comparison after 32 bytes. Where they differ, the segment lists tell
//! which stretches to read again.

use crate::error::{Error, Result};
use crate::home::OpenHome;
use std::collections::BTreeMap;
use transload_model::commitment::{Dataset, Segment, TableCommitment};
use transload_model::layout::Placement;
use transload_model::merkle::{Hash, sha256};
use transload_model::record::TableName;
use transload_store::{KeyRange, Scan};

/// How one table differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDifference {
    /// The table.
    pub table: TableName,
    /// Records on the left; `None` when the left lacks the table.
    pub left_records: Option<u64>,
    /// Records on the right; `None` when the right lacks the table.
    pub right_records: Option<u64>,
    /// Canonical key ranges that differ: from a first key to just before the next equal
    /// segment's first key (`None`: to the end).
    pub stretches: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDifference {
    /// Only on the left.
    OnlyLeft(Vec<u8>),
    /// Only on the right.
    OnlyRight(Vec<u8>),
    /// On both sides, with different values.
    Changed(Vec<u8>),
}

impl KeyDifference {
    /// The canonical key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::OnlyLeft(key) | Self::OnlyRight(key) | Self::Changed(key) => key,
        }
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Tables with equal roots.
    pub equal: Vec<TableName>,
    /// Tables that differ.
    pub different: Vec<TableDifference>,
}

impl Comparison {
    /// Whether every table is equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.different.is_empty()
    }
}

/// Compares two datasets table by table.
#[must_use]
pub fn compare(left: &Dataset, right: &Dataset) -> Comparison {
    let mut comparison = Comparison::default();
    let find = |dataset: &'_ Dataset, name: &TableName| -> Option<TableCommitment> {
        dataset.tables().iter().find(|table| table.name == *name).cloned()
    };
    let mut names: Vec<&TableName> =
        left.tables().iter().chain(right.tables()).map(|table| &table.name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (mine, theirs) = (find(left, name), find(right, name));
        if let (Some(mine), Some(theirs)) = (&mine, &theirs)
            && mine.root() == theirs.root()
        {
            comparison.equal.push(name.clone());
            continue;
        }
        let none = Vec::new();
        let segments = |table: &Option<TableCommitment>| {
            table.as_ref().map_or_else(|| none.clone(), |table| table.segments.clone())
        };
        comparison.different.push(TableDifference {
            table: name.clone(),
            left_records: mine.as_ref().map(|table| table.records),
            right_records: theirs.as_ref().map(|table| table.records),
            stretches: stretches(&segments(&mine), &segments(&theirs)),
        });
    }
    comparison
}

/// Reads the stretches of `difference` on both sides again and names the keys that differ, at
/// most `keys_max` of them, in canonical order.
///
/// Memory: 32 bytes and the key of every record in the stretches.
///
/// # Errors
/// [`crate::Kind::Difference`] when a side's bytes contradict themselves; [`crate::Kind::Stopped`] when
/// one can't be read otherwise.
pub fn compare_keys(
    left: &OpenHome<'_>,
    right: &OpenHome<'_>,
    difference: &TableDifference,
    keys_max: usize,
) -> Result<Vec<KeyDifference>> {
    let mine = records_in(left, difference)?;
    let mut theirs = records_in(right, difference)?;
    let mut differences = Vec::new();
    for (key, value) in mine {
        match theirs.remove(&key) {
            None => differences.push(KeyDifference::OnlyLeft(key)),
            Some(other) if other != value => differences.push(KeyDifference::Changed(key)),
            Some(_) => {}
        }
    }
    differences.extend(theirs.into_keys().map(KeyDifference::OnlyRight));
    differences.sort_by(|a, b| a.key().cmp(b.key()));
    differences.truncate(keys_max);
    Ok(differences)
}

/// Canonical keys of a table's stretches with the hash of each value.
fn records_in(
    home: &OpenHome<'_>,
    difference: &TableDifference,
) -> Result<BTreeMap<Vec<u8>, Hash>> {
    let read = |error| Error::reading("scan", error);
    let mut records = BTreeMap::new();
    for open in home.databases() {
        let tables = open.layout.tables();
        let Some(wanted) = tables.iter().position(|table| table.name == difference.table) else {
            continue;
        };
        let mut scan = Scan::new(&*open.snapshot, &KeyRange::all()).map_err(read)?;
        let mut canonical = Vec::new();
        while let Some((key, value)) = scan.next().map_err(read)? {
            let Placement::Record { table, .. } = open.layout.place(key, value, &mut canonical)
            else {
                continue;
            };
            let inside = difference.stretches.iter().any(|(start, end)| {
                canonical >= *start && end.as_ref().is_none_or(|end| canonical < *end)
            });
            if table == wanted && inside {
                records.insert(canonical.clone(), sha256(value));
            }
        }
        let _complete = scan.receipt().map_err(read)?;
    }
    Ok(records)
}

/// The key ranges that no pair of equal segments covers.
fn stretches(left: &[Segment], right: &[Segment]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut ranges: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let (mut l, mut r) = (0, 0);
    let mut open: Option<Vec<u8>> = None;
    while l < left.len() || r < right.len() {
        match (left.get(l), right.get(r)) {
            (Some(mine), Some(theirs)) if mine == theirs => {
                if let Some(start) = open.take() {
                    ranges.push((start, Some(mine.first_key.clone())));
                }
                l += 1;
                r += 1;
            }
            (mine, theirs) => {
                let take_left = match (mine, theirs) {
                    (Some(mine), Some(theirs)) => mine.first_key <= theirs.first_key,
                    (mine, _) => mine.is_some(),
                };
                let taken = if take_left { mine } else { theirs };
                if let Some(segment) = taken {
                    open.get_or_insert_with(|| segment.first_key.clone());
                }
                if take_left { l += 1 } else { r += 1 }
            }
        }
    }
    if let Some(start) = open {
        ranges.push((start, None));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(first_key: &str, root: u8) -> Segment {
        Segment { records: 1, bytes: 1, root: [root; 32], first_key: first_key.into() }
    }

    #[test]
    fn only_the_segments_that_differ_are_named() {
        let left = [segment("a", 1), segment("f", 2), segment("k", 3), segment("q", 4)];
        let right = [segment("a", 1), segment("f", 9), segment("h", 8), segment("k", 3)];
        let expected = [(b"f".to_vec(), Some(b"k".to_vec())), (b"q".to_vec(), None)];
        assert_eq!(stretches(&left, &right), expected);
        assert_eq!(stretches(&left, &left), []);
        assert_eq!(stretches(&left, &[]), [(b"a".to_vec(), None)]);
    }
}
