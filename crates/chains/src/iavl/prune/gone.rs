//! What a pruning leaves out, as a snapshot: so that it can be counted and hashed like anything
//! else.

use crate::iavl::convert::view::{GONE, KEY_BYTES};
use std::sync::Arc;
use transload_store::sort::{Indexed, Sequence, SpoolReader};
use transload_store::{Cursor, KeyRange, Result, Snapshot};

/// What a cursor reads of the records at a time.
const READ_BYTES: usize = 64 << 10;

/// The entries of the source that are left out.
pub(super) struct Gone {
    source: Arc<dyn Snapshot>,
    /// Each store's prefix of nodes, and what becomes of them; in the order of the keys.
    stores: Vec<(Vec<u8>, Arc<Indexed>)>,
}

impl Gone {
    /// `stores` by the prefixes of their entries, in order.
    pub(super) fn new(source: Arc<dyn Snapshot>, stores: Vec<(Vec<u8>, Arc<Indexed>)>) -> Self {
        let nodes = |(mut prefix, entries): (Vec<u8>, Arc<Indexed>)| {
            prefix.push(b's');
            (prefix, entries)
        };
        Self { source, stores: stores.into_iter().map(nodes).collect() }
    }

    /// What `range` has of each store, the first one last.
    fn within(&self, range: &KeyRange) -> Vec<Part> {
        let mut parts = Vec::new();
        for (prefix, entries) in self.stores.iter().rev() {
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
        for (prefix, entries) in &self.stores {
            let Some(rest) = key.strip_prefix(prefix.as_slice()) else { continue };
            let reader = entries.seek(rest, 0)?;
            let is_gone = reader.current().is_some_and(|record| {
                record[..KEY_BYTES] == *rest && record[KEY_BYTES..] == [GONE]
            });
            return if is_gone { self.source.get(key) } else { Ok(None) };
        }
        Ok(None)
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
            if record[KEY_BYTES..] != [GONE] {
                self.records.advance()?;
                continue;
            }
            let Some((key, value)) = self.cursor.next()? else { return Ok(false) };
            let rest = &key[self.prefix.len()..];
            if rest < &record[..KEY_BYTES] {
                continue;
            }
            // Whatever stands behind the record's key isn't this record's.
            let is_it = rest == &record[..KEY_BYTES];
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
