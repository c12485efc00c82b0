//! The database as it will be as a snapshot: the source's entries, with those of the 0.x form taken
//! out and those of the 1.x form put in or taken out, in the order of their keys.
//!
//! Layout of a record of what changes: version u64 BE, nonce u32 BE, then a byte that says what
//! becomes of the entry at this key (see the constants), and what that needs.

use super::emit::put_node;
use super::{ConversionReport, FastIndex, OPERATION, StoreReport};
use crate::iavl::keys::{NodeId, STORAGE_VERSION};
use crate::iavl::node::Node;
use std::sync::Arc;
use transload_store::sort::{Indexed, Sequence, SpoolReader};
use transload_store::{Cursor, Error, KeyRange, Kind, Result, Snapshot};

/// Bytes of a record's key.
pub(in crate::iavl) const KEY_BYTES: usize = 12;
/// The value follows.
pub(in crate::iavl) const INLINE: u8 = 0;
/// The hash of a leaf of the 0.x form follows.
pub(in crate::iavl) const LARGE: u8 = 1;
/// There is none any more.
pub(in crate::iavl) const GONE: u8 = 2;
/// There is none any more: it stands at nonce 0.
pub(in crate::iavl) const AWAY: u8 = 3;
/// The value is what stood at nonce 1 of the version.
pub(in crate::iavl) const MOVED: u8 = 4;

/// What a cursor reads of the new entries at a time.
const READ_BYTES: usize = 128 << 10;

/// One store, converted.
pub(in crate::iavl) struct ConvertedStore {
    prefix: Vec<u8>,
    /// `None` when it had nothing of the 0.x form.
    entries: Option<Arc<Indexed>>,
    report: StoreReport,
}

impl ConvertedStore {
    pub(in crate::iavl) fn new(
        prefix: Vec<u8>,
        entries: Arc<Indexed>,
        report: StoreReport,
    ) -> Self {
        Self { prefix, entries: Some(entries), report }
    }

    pub(super) fn untouched(prefix: Vec<u8>, report: StoreReport) -> Self {
        Self { prefix, entries: None, report }
    }
}

/// What stands in a stretch of the converted database.
#[derive(Clone)]
enum Content {
    /// The source's entries.
    Source,
    /// Nothing: the source's entries are of the 0.x form, or left out.
    Nothing,
    /// Nodes of a store: the source's, and the new ones, which win.
    Nodes { prefix: Vec<u8>, entries: Arc<Indexed> },
}

#[derive(Clone)]
struct Stretch {
    range: KeyRange,
    content: Content,
}

/// A snapshot of the converted database. It lives as long as the source's and the scratch files,
/// which have no names.
pub struct Converted {
    source: Arc<dyn Snapshot>,
    /// All keys, without a gap.
    stretches: Vec<Stretch>,
    report: ConversionReport,
}

impl std::fmt::Debug for Converted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converted").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Converted {
    /// `stores` in the order of their keys.
    pub(in crate::iavl) fn new(
        source: Arc<dyn Snapshot>,
        stores: Vec<ConvertedStore>,
        fast_index: FastIndex,
    ) -> Self {
        let mut stretches = Vec::new();
        let mut start = Vec::new();
        let mut put = |range: KeyRange, content: Content| {
            let before = KeyRange { start: start.clone(), end: Some(range.start.clone()) };
            if !before.is_empty() {
                stretches.push(Stretch { range: before, content: Content::Source });
            }
            start = range.end.clone().unwrap_or_default();
            stretches.push(Stretch { range, content });
        };
        let mut report = ConversionReport::default();
        for store in stores {
            let entry = |entry: &[u8]| [store.prefix.as_slice(), entry].concat();
            if fast_index == FastIndex::LeaveOut {
                put(KeyRange::prefix(&entry(b"f")), Content::Nothing);
                let mut version = entry(b"m");
                version.extend_from_slice(STORAGE_VERSION);
                let after = [version.as_slice(), b"\0"].concat();
                put(KeyRange::new(version, after), Content::Nothing);
            }
            if let Some(entries) = store.entries {
                for kind in [b"n", b"o", b"r"] {
                    put(KeyRange::prefix(&entry(kind)), Content::Nothing);
                }
                let prefix = entry(b"s");
                put(KeyRange::prefix(&prefix), Content::Nodes { prefix, entries });
            }
            report.stores.push(store.report);
        }
        stretches.push(Stretch { range: KeyRange { start, end: None }, content: Content::Source });
        Self { source, stretches, report }
    }

    /// What was found and done.
    #[must_use]
    pub fn report(&self) -> &ConversionReport {
        &self.report
    }

    /// The stretches that a range touches, cut to it.
    fn within(&self, range: &KeyRange) -> impl Iterator<Item = Stretch> {
        let first = self.stretches.partition_point(|stretch| {
            stretch.range.end.as_ref().is_some_and(|end| *end <= range.start)
        });
        let range = range.clone();
        self.stretches[first..].iter().map_while(move |stretch| {
            let start = stretch.range.start.clone().max(range.start.clone());
            let end = match (&stretch.range.end, &range.end) {
                (Some(one), Some(other)) => Some(one.min(other).clone()),
                (one, other) => one.as_ref().or(other.as_ref()).cloned(),
            };
            let cut = KeyRange { start, end };
            (!cut.is_empty()).then(|| Stretch { range: cut, content: stretch.content.clone() })
        })
    }
}

impl Snapshot for Converted {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let at = self.stretches.partition_point(|stretch| *stretch.range.start <= *key);
        let Some(stretch) = at.checked_sub(1).map(|at| &self.stretches[at]) else {
            return self.source.get(key);
        };
        match &stretch.content {
            Content::Nothing => Ok(None),
            Content::Source => self.source.get(key),
            Content::Nodes { prefix, entries } => {
                let reader = entries.seek(&key[prefix.len()..], 0)?;
                match reader.current() {
                    Some(record) if record[..KEY_BYTES] == key[prefix.len()..] => {
                        value(&*self.source, prefix, record)
                    }
                    _ => self.source.get(key),
                }
            }
        }
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let mut stretches: Vec<Stretch> = self
            .within(range)
            .filter(|stretch| !matches!(stretch.content, Content::Nothing))
            .collect();
        stretches.reverse();
        let source = Arc::clone(&self.source);
        Ok(Box::new(ConvertedCursor { source, stretches, open: None, lent: Held::default() }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let mut points = Vec::new();
        for stretch in self.within(range) {
            match &stretch.content {
                Content::Nothing => {}
                Content::Source => {
                    points.extend(self.source.split_points(&stretch.range, chunk_bytes)?);
                }
                Content::Nodes { prefix, entries } => {
                    points.push(stretch.range.start.clone());
                    points.extend(self.source.split_points(&stretch.range, chunk_bytes)?);
                    let (start, end) = within_prefix(&stretch.range, prefix);
                    let mut bytes = 0;
                    for (key, before) in entries.keys(start, end) {
                        bytes += before;
                        if bytes >= chunk_bytes {
                            bytes = 0;
                            points.push([prefix.as_slice(), key].concat());
                        }
                    }
                }
            }
        }
        points.retain(|point| *point > range.start && range.contains(point));
        points.sort_unstable();
        points.dedup();
        Ok(points)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        let mut bytes = 0;
        for stretch in self.within(range) {
            if matches!(stretch.content, Content::Nothing) {
                continue;
            }
            bytes += self.source.approximate_bytes(&stretch.range)?;
            if let Content::Nodes { prefix, entries } = &stretch.content {
                let (start, end) = within_prefix(&stretch.range, prefix);
                bytes += entries.bytes(start, end);
            }
        }
        Ok(bytes)
    }
}

/// A range of keys with this prefix, without it.
fn within_prefix<'a>(range: &'a KeyRange, prefix: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    let start = range.start.strip_prefix(prefix).unwrap_or_default();
    let end = range.end.as_deref().and_then(|end| end.strip_prefix(prefix));
    (start, end)
}

/// The value of a new entry; `None` where there is none any more.
fn value(source: &dyn Snapshot, prefix: &[u8], record: &[u8]) -> Result<Option<Vec<u8>>> {
    let (key, rest) = record.split_at(KEY_BYTES);
    match rest.split_first() {
        Some((&INLINE, value)) => Ok(Some(value.to_vec())),
        Some((&LARGE, hash)) => large(source, prefix, hash).map(Some),
        Some((&MOVED, _)) => moved(source, prefix, key).map(Some),
        Some((&(GONE | AWAY), _)) => Ok(None),
        _ => Err(lost()),
    }
}

/// What stood at nonce 1 of the version in a key.
fn moved(source: &dyn Snapshot, prefix: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    let version = key.first_chunk::<8>().ok_or_else(lost)?;
    let stood = [prefix, version, &1_u32.to_be_bytes()].concat();
    source.get(&stood)?.ok_or_else(lost)
}

fn lost() -> Error {
    Error::new(Kind::Corrupt, OPERATION, "a node has changed since the conversion was prepared")
}

/// A leaf that was too large to be sorted: made again from the source.
fn large(source: &dyn Snapshot, prefix: &[u8], hash: &[u8]) -> Result<Vec<u8>> {
    let id = hash.first_chunk().map(|hash| NodeId::legacy(*hash)).ok_or_else(lost)?;
    let store = &prefix[..prefix.len() - 1];
    let stored = source.get(&[store, id.bytes()].concat())?.ok_or_else(lost)?;
    let node = Node::decode(id, &stored).map_err(|_| lost())?;
    if !super::emit::is_what_its_key_says(id, &node) {
        return Err(lost());
    }
    let mut value = Vec::with_capacity(stored.len());
    put_node(&mut value, &node, [None; 2]);
    Ok(value)
}

/// An entry in memory that is used again and again.
#[derive(Default)]
struct Held {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Held {
    fn take(&mut self, key: &[u8], value: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.value.clear();
        self.value.extend_from_slice(value);
    }
}

/// What a cursor reads at the moment.
struct Open {
    cursor: Box<dyn Cursor>,
    /// New entries beside the source's.
    merge: Option<Merge>,
}

struct Merge {
    prefix: Vec<u8>,
    entries: SpoolReader,
    range: KeyRange,
    /// The key of the next new entry; empty when there is none.
    key: Vec<u8>,
    /// The next entry of the source.
    waiting: Held,
    waits: bool,
    source_ended: bool,
}

impl Merge {
    fn new(range: &KeyRange, prefix: &[u8], entries: &Indexed) -> Result<Self> {
        let (start, _) = within_prefix(range, prefix);
        let mut merge = Self {
            prefix: prefix.to_vec(),
            entries: entries.seek(start, READ_BYTES)?,
            range: range.clone(),
            key: Vec::new(),
            waiting: Held::default(),
            waits: false,
            source_ended: false,
        };
        merge.load();
        Ok(merge)
    }

    fn load(&mut self) {
        self.key.clear();
        if let Some(record) = self.entries.current() {
            self.key.extend_from_slice(&self.prefix);
            self.key.extend_from_slice(&record[..KEY_BYTES]);
            if !self.range.contains(&self.key) {
                self.key.clear();
            }
        }
    }

    fn next(
        &mut self,
        cursor: &mut dyn Cursor,
        source: &dyn Snapshot,
        lent: &mut Held,
    ) -> Result<bool> {
        loop {
            if !self.waits && !self.source_ended {
                match cursor.next()? {
                    Some((key, value)) => {
                        self.waiting.take(key, value);
                        self.waits = true;
                    }
                    None => self.source_ended = true,
                }
            }
            if self.key.is_empty() || (self.waits && self.waiting.key < self.key) {
                std::mem::swap(lent, &mut self.waiting);
                return Ok(std::mem::take(&mut self.waits));
            }
            if self.waits && self.waiting.key == self.key {
                // What becomes of it stands in the record.
                self.waits = false;
            }
            let Some(record) = self.entries.current() else { return Ok(false) };
            let is_there = match record[KEY_BYTES..].split_first() {
                Some((&INLINE, value)) => {
                    lent.take(&self.key, value);
                    true
                }
                _ => match value(source, &self.prefix, record)? {
                    Some(value) => {
                        lent.value = value;
                        lent.key.clone_from(&self.key);
                        true
                    }
                    None => false,
                },
            };
            self.entries.advance()?;
            self.load();
            if is_there {
                return Ok(true);
            }
        }
    }
}

struct ConvertedCursor {
    source: Arc<dyn Snapshot>,
    /// What is left, the next one last.
    stretches: Vec<Stretch>,
    open: Option<Open>,
    lent: Held,
}

impl ConvertedCursor {
    fn open(&self, stretch: &Stretch) -> Result<Open> {
        let cursor = self.source.cursor(&stretch.range)?;
        let merge = match &stretch.content {
            Content::Nodes { prefix, entries } => {
                Some(Merge::new(&stretch.range, prefix, entries)?)
            }
            _ => None,
        };
        Ok(Open { cursor, merge })
    }

    fn load(&mut self) -> Result<bool> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(merge) = &mut open.merge {
                    if merge.next(&mut *open.cursor, &*self.source, &mut self.lent)? {
                        return Ok(true);
                    }
                } else if let Some((key, value)) = open.cursor.next()? {
                    self.lent.take(key, value);
                    return Ok(true);
                }
            }
            let Some(stretch) = self.stretches.pop() else { return Ok(false) };
            self.open = Some(self.open(&stretch)?);
        }
    }
}

impl Cursor for ConvertedCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let more = self.load()?;
        Ok(more.then_some((self.lent.key.as_slice(), self.lent.value.as_slice())))
    }
}
