//! Entries that are left out of a database: they alone as a snapshot, so that they can be counted
//! and hashed like anything else, and the database without them as another.
//!
//! Which ones is said in parts: the entries whose keys begin with a prefix, and records of what
//! becomes of those that don't stay as they are. A record is the rest of the key and a byte that
//! says what ([`GONE`]).

use crate::iavl::convert::view::GONE;
use std::sync::Arc;
use transload_store::sort::{Indexed, Sequence, SpoolReader};
use transload_store::{Cursor, KeyRange, Result, Snapshot};

/// What a cursor reads of the records at a time.
const READ_BYTES: usize = 64 << 10;

/// A prefix of keys, and records of what becomes of the entries there.
pub(super) type Changes = (Vec<u8>, Arc<Indexed>);

/// The rest of the key of an entry that is left out; `None` where something else becomes of it.
fn gone_key(record: &[u8]) -> Option<&[u8]> {
    match record.split_last() {
        Some((&GONE, key)) => Some(key),
        _ => None,
    }
}

/// Whether the entry at this key is left out.
fn is_gone(parts: &[Changes], key: &[u8]) -> Result<bool> {
    for (prefix, entries) in parts {
        let Some(rest) = key.strip_prefix(prefix.as_slice()) else { continue };
        let reader = entries.seek(rest, 0)?;
        return Ok(reader.current().and_then(gone_key) == Some(rest));
    }
    Ok(false)
}

/// The entries of the source that are left out.
pub(super) struct Gone {
    source: Arc<dyn Snapshot>,
    /// In the order of the keys.
    parts: Arc<Vec<Changes>>,
}

impl Gone {
    /// `parts` in the order of their prefixes, none of which begins another.
    pub(super) fn new(source: Arc<dyn Snapshot>, parts: Arc<Vec<Changes>>) -> Self {
        Self { source, parts }
    }

    /// What `range` has of each part, the first one last.
    fn within(&self, range: &KeyRange) -> Vec<Part> {
        let mut parts = Vec::new();
        for (prefix, entries) in self.parts.iter().rev() {
            let whole = KeyRange::prefix(prefix);
            let start = whole.start.max(range.start.clone());
            let end = match (whole.end, &range.end) {
                (Some(one), Some(other)) => Some(one.min(other.clone())),
                (one, other) => one.or_else(|| other.clone()),
            };
            let range = KeyRange { start, end };
            if !range.is_empty() {
                parts.push(Part { prefix: prefix.clone(), entries: Arc::clone(entries), range });
            }
        }
        parts
    }
}

struct Part {
    prefix: Vec<u8>,
    entries: Arc<Indexed>,
    range: KeyRange,
}

impl Snapshot for Gone {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if is_gone(&self.parts, key)? { self.source.get(key) } else { Ok(None) }
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let (source, parts) = (Arc::clone(&self.source), self.within(range));
        Ok(Box::new(GoneCursor { source, parts, open: None, key: Vec::new(), value: Vec::new() }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let mut points = Vec::new();
        for part in self.within(range).iter().rev() {
            points.push(part.range.start.clone());
            points.extend(self.source.split_points(&part.range, chunk_bytes)?);
        }
        points.retain(|point| *point > range.start);
        points.dedup();
        Ok(points)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        let parts = self.within(range);
        parts.iter().map(|part| self.source.approximate_bytes(&part.range)).sum()
    }
}

struct GoneCursor {
    source: Arc<dyn Snapshot>,
    /// What is left, the next one last.
    parts: Vec<Part>,
    open: Option<Open>,
    key: Vec<u8>,
    value: Vec<u8>,
}

struct Open {
    cursor: Box<dyn Cursor>,
    records: SpoolReader,
    prefix: Vec<u8>,
}

impl Open {
    /// Goes on to the next entry that is left out; whether there is one.
    fn next(&mut self, found: &mut Vec<u8>, taken: &mut Vec<u8>) -> Result<bool> {
        while let Some(record) = self.records.current() {
            let Some(gone) = gone_key(record) else {
                self.records.advance()?;
                continue;
            };
            let Some((key, value)) = self.cursor.next()? else { return Ok(false) };
            let rest = &key[self.prefix.len()..];
            if rest < gone {
                continue;
            }
            // Whatever stands behind the record's key isn't this record's.
            let is_it = rest == gone;
            if is_it {
                found.clear();
                found.extend_from_slice(key);
                taken.clear();
                taken.extend_from_slice(value);
            }
            self.records.advance()?;
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Cursor for GoneCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            if let Some(open) = &mut self.open
                && open.next(&mut self.key, &mut self.value)?
            {
                return Ok(Some((&self.key, &self.value)));
            }
            let Some(part) = self.parts.pop() else { return Ok(None) };
            let start = part.range.start.strip_prefix(part.prefix.as_slice()).unwrap_or_default();
            self.open = Some(Open {
                cursor: self.source.cursor(&part.range)?,
                records: part.entries.seek(start, READ_BYTES)?,
                prefix: part.prefix,
            });
        }
    }
}

/// The source without what is left out. Nothing else may become of an entry here.
pub(super) struct Left {
    source: Arc<dyn Snapshot>,
    parts: Arc<Vec<Changes>>,
}

impl Left {
    /// `parts` as those of [`Gone`].
    pub(super) fn new(source: Arc<dyn Snapshot>, parts: Arc<Vec<Changes>>) -> Self {
        Self { source, parts }
    }
}

impl Snapshot for Left {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if is_gone(&self.parts, key)? { Ok(None) } else { self.source.get(key) }
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(LeftCursor {
            inner: self.source.cursor(range)?,
            parts: Arc::clone(&self.parts),
            part: 0,
            records: None,
            key: Vec::new(),
            value: Vec::new(),
        }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.source.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.source.approximate_bytes(range)
    }
}

struct LeftCursor {
    inner: Box<dyn Cursor>,
    parts: Arc<Vec<Changes>>,
    /// The part that the next key may be in.
    part: usize,
    /// Its records from the last key on, once a key was in it.
    records: Option<SpoolReader>,
    // What the inner cursor lends can't be lent on from within a loop.
    key: Vec<u8>,
    value: Vec<u8>,
}

impl LeftCursor {
    /// Whether the entry that is held is left out. Keys come in ascending order.
    fn is_gone(&mut self) -> Result<bool> {
        while let Some((prefix, entries)) = self.parts.get(self.part) {
            let Some(rest) = self.key.strip_prefix(prefix.as_slice()) else {
                if self.key < *prefix {
                    return Ok(false);
                }
                self.part += 1;
                self.records = None;
                continue;
            };
            let mut records = match self.records.take() {
                Some(records) => records,
                None => entries.seek(rest, READ_BYTES)?,
            };
            while records.current().and_then(gone_key).is_some_and(|gone| gone < rest) {
                records.advance()?;
            }
            let found = records.current().and_then(gone_key) == Some(rest);
            self.records = Some(records);
            return Ok(found);
        }
        Ok(false)
    }
}

impl Cursor for LeftCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            let Some((key, value)) = self.inner.next()? else { return Ok(None) };
            self.key.clear();
            self.key.extend_from_slice(key);
            self.value.clear();
            self.value.extend_from_slice(value);
            if !self.is_gone()? {
                return Ok(Some((&self.key, &self.value)));
            }
        }
    }
}
