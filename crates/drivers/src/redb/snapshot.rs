//! Reading: a read transaction's table.

use super::{Definition, Shared, asked};
use crate::sampling::Samples;
use redb::{AccessGuard, Range, ReadOnlyTable, ReadableDatabase};
use std::ops::Bound;
use std::sync::OnceLock;
use transload_store::{Cursor, Error, KeyRange, Kind, Result, Snapshot};

type Bytes = &'static [u8];

/// The pages of redb's trees have at least this size.
const PAGE_BYTES: u32 = 4096;

/// The state of the table when the snapshot was taken.
pub(super) struct RedbSnapshot {
    shared: Shared,
    table: ReadOnlyTable<Bytes, Bytes>,
    samples: OnceLock<Samples>,
}

impl RedbSnapshot {
    pub(super) fn new(shared: Shared) -> Result<Self> {
        let database = shared.database("snapshot")?;
        let table = asked("snapshot", &shared.path, || {
            let transaction = database.begin_read()?;
            transaction.open_table(Definition::new(&shared.table)).map_err(redb::Error::from)
        })?;
        Ok(Self { shared, table, samples: OnceLock::new() })
    }

    fn range(&self, range: &KeyRange) -> Result<Range<'static, Bytes, Bytes>> {
        let end = match &range.end {
            _ if range.is_empty() => Bound::Excluded(range.start.as_slice()),
            Some(end) => Bound::Excluded(end.as_slice()),
            None => Bound::Unbounded,
        };
        let bounds = (Bound::Included(range.start.as_slice()), end);
        asked("scan", &self.shared.path, || self.table.range::<&[u8]>(bounds))
    }

    fn samples(&self) -> Result<&Samples> {
        if let Some(samples) = self.samples.get() {
            return Ok(samples);
        }
        let taken = Samples::take(&self.shared.path, PAGE_BYTES, first_key_of_leaf)?;
        Ok(self.samples.get_or_init(|| taken))
    }
}

/// The first key in a leaf with variable lengths: type 1, an unused byte, `u16 LE` count, the
/// keys' ends and the values' ends as `u32 LE` each, then the keys.
fn first_key_of_leaf(page: &[u8]) -> Option<&[u8]> {
    let (1, pairs) = (*page.first()?, u16::from_le_bytes([*page.get(2)?, *page.get(3)?])) else {
        return None;
    };
    let end = usize::try_from(u32::from_le_bytes(page.get(4..8)?.try_into().ok()?)).ok()?;
    let begin = 4 + 8 * usize::from(pairs);
    // A key may go on beyond this piece of a larger page: its beginning serves as well.
    page.get(begin..end.min(page.len())).filter(|key| pairs > 0 && !key.is_empty())
}

impl Snapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // A damaged page may also say that a value lies beyond it.
        asked("get", &self.shared.path, || {
            Ok::<_, redb::StorageError>(self.table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(RedbCursor {
            entries: self.range(range)?,
            lent: None,
            failed: false,
            shared: self.shared.clone(),
        }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let mut entries = self.range(range)?;
        let ends = asked("split points", &self.shared.path, || {
            let first = entries.next().transpose()?;
            let ends = first.zip(entries.next_back().transpose()?);
            let range = ends.map(|(first, last)| KeyRange::new(first.0.value(), last.0.value()));
            Ok::<_, redb::StorageError>(range)
        })?;
        let Some(between) = ends else { return Ok(Vec::new()) };
        Ok(self.samples()?.split_points(&between, chunk_bytes))
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        Ok(self.samples()?.approximate_bytes(range))
    }
}

/// Lends the entries of the page that it stands in.
struct RedbCursor {
    entries: Range<'static, Bytes, Bytes>,
    lent: Option<(AccessGuard<'static, Bytes>, AccessGuard<'static, Bytes>)>,
    /// What redb was doing when it gave up can't be gone on with.
    failed: bool,
    shared: Shared,
}

impl Cursor for RedbCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.failed {
            return Err(Error::new(Kind::Corrupt, "scan", "this scan has failed before")
                .with("path", self.shared.path.display().to_string()));
        }
        let (entries, lent) = (&mut self.entries, &mut self.lent);
        let next = asked("scan", &self.shared.path, || {
            let next = entries.next().transpose()?;
            Ok::<_, redb::StorageError>(next.map(|entry| {
                let (key, value) = lent.insert(entry);
                (key.value(), value.value())
            }))
        });
        self.failed = next.is_err();
        next
    }
}
