//! Key ranges and the sizes that every store can be asked for.

use serde::{Deserialize, Serialize};

/// Longest key that the seam carries. The longest seen in a real node's database is 70,021
/// bytes (`tx_index.db`); a forged length must not allocate gigabytes.
pub const KEY_BYTES_MAX: usize = 16 << 20;

/// Longest value that the seam carries: goleveldb and Pebble cap a batch at 4 GiB, and the
/// largest value seen in a node's database is a snapshot chunk of 16 MiB.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// Keys from `start` (included) to `end` (excluded), in byte order; no `end` is the end of the
/// store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key that belongs to the range; empty for the beginning of the store.
    pub start: Vec<u8>,
    /// First key beyond the range.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Keys from `start` to just before `end`.
    #[must_use]
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: Some(end.into()) }
    }

    /// Keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: after_prefix(prefix) }
    }

    /// Whether `key` belongs to the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    /// Whether no key can belong to the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Divides the range at `points` (ascending; those outside are ignored) into ranges that
    /// follow one another without a gap.
    #[must_use]
    pub fn split_at(&self, points: &[Vec<u8>]) -> Vec<KeyRange> {
        let mut ranges = Vec::with_capacity(points.len() + 1);
        let mut start = self.start.clone();
        for point in points {
            if *point > start && self.contains(point) {
                ranges.push(KeyRange { start, end: Some(point.clone()) });
                start = point.clone();
            }
        }
        ranges.push(KeyRange { start, end: self.end.clone() });
        ranges
    }
}

/// The least key greater than every key that begins with `prefix`; `None` when there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_holds_just_the_keys_with_that_prefix() {
        let range = KeyRange::prefix(b"a\xff");
        assert!(range.contains(b"a\xff") && range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b") && !range.contains(b"a\xfe\xff"));
        assert_eq!(KeyRange::prefix(b"\xff\xff").end, None);
        assert_eq!(KeyRange::prefix(b""), KeyRange::all());
    }

    #[test]
    fn a_divided_range_has_neither_gap_nor_overlap() {
        let range = KeyRange::new(*b"b", *b"y");
        let points = [&b"a"[..], b"b", b"f", b"f", b"p", b"z"].map(<[u8]>::to_vec);
        let parts = range.split_at(&points);
        let bounds: Vec<_> =
            parts.iter().map(|part| (part.start.as_slice(), part.end.as_deref())).collect();
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"b", Some(b"f")), (b"f", Some(b"p")), (b"p", Some(b"y"))];
        assert_eq!(bounds, expected);
    }
}
