//! Reading: snapshots and iterators of RocksDB's, which borrow the database that they keep.

use super::store::Family;
use rocksdb::{DB, DBRawIteratorWithThreadMode, Range, ReadOptions, SnapshotWithThreadMode};
use self_cell::self_cell;
use std::sync::Arc;
use transload_store::{Cursor, KeyRange, Result, Snapshot};

/// A scan reads ahead this far: tables are read in order, from disks that like long reads.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// A range is halved at most this often on the way to one piece.
const HALVINGS_MAX: u32 = 96;

/// Split points of one range at most.
const POINTS_MAX: usize = 65_536;

type Held<'a> = SnapshotWithThreadMode<'a, DB>;
type RawIterator<'a> = DBRawIteratorWithThreadMode<'a, DB>;

self_cell!(
    struct View {
        owner: Arc<Family>,
        #[covariant]
        dependent: Held,
    }
);

self_cell!(
    struct Walk {
        owner: Arc<View>,
        #[covariant]
        dependent: RawIterator,
    }
);

/// The state of the column family when the snapshot was taken.
pub(super) struct RocksdbSnapshot {
    view: Arc<View>,
}

impl RocksdbSnapshot {
    pub(super) fn of(family: Arc<Family>) -> Self {
        let view = Arc::new(View::new(family, |family| family.database().snapshot()));
        Self { view }
    }

    fn walk(&self, range: &KeyRange, read_ahead_bytes: usize) -> Result<Walk> {
        Walk::try_new(Arc::clone(&self.view), |view| {
            let mut options = ReadOptions::default();
            options.set_verify_checksums(true);
            options.fill_cache(false);
            options.set_total_order_seek(true);
            options.set_readahead_size(read_ahead_bytes);
            if let Some(end) = &range.end {
                options.set_iterate_upper_bound(end.as_slice());
            }
            let handle = view.borrow_owner().handle()?;
            Ok(view.borrow_dependent().raw_iterator_cf_opt(handle, options))
        })
    }

    /// The first or the last key of a range.
    fn edge(&self, range: &KeyRange, last: bool) -> Result<Option<Vec<u8>>> {
        if range.is_empty() {
            return Ok(None);
        }
        let mut walk = self.walk(range, 0)?;
        let family = self.view.borrow_owner();
        walk.with_dependent_mut(|_, iterator| {
            if last {
                iterator.seek_to_last()
            } else {
                iterator.seek(&range.start)
            }
            iterator.status().map_err(|error| family.fault("split points", error))?;
            Ok(iterator.key().filter(|key| range.contains(key)).map(<[u8]>::to_vec))
        })
    }

    fn bytes_between(&self, start: &[u8], end: &[u8]) -> Result<u64> {
        if start >= end {
            return Ok(0);
        }
        let family = self.view.borrow_owner();
        let ranges = [Range::new(start, end)];
        let sizes = family.database().get_approximate_sizes_cf(family.handle()?, &ranges);
        Ok(sizes.first().copied().unwrap_or(0))
    }

    /// Finds points between two keys by halving what lies between, as sizes say.
    fn divide(&self, start: &[u8], end: &[u8], chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let mut points = Vec::new();
        let all = self.bytes_between(start, end)?;
        let mut open = vec![(start.to_vec(), end.to_vec(), all, 0)];
        while let Some((start, end, bytes, halvings)) = open.pop() {
            if bytes <= chunk_bytes || halvings >= HALVINGS_MAX || points.len() >= POINTS_MAX {
                continue;
            }
            let Some(middle) = midpoint(&start, &end) else { continue };
            let below = self.bytes_between(&start, &middle)?;
            let above = bytes.saturating_sub(below);
            if below > 0 && above > 0 {
                points.push(middle.clone());
            }
            open.push((start, middle.clone(), below, halvings + 1));
            open.push((middle, end, above, halvings + 1));
        }
        points.sort_unstable();
        points.dedup();
        Ok(points)
    }
}

/// A key about half way between two, by the first eight bytes in which they differ; none when
/// there is none in between.
fn midpoint(start: &[u8], end: &[u8]) -> Option<Vec<u8>> {
    let shared = start.iter().zip(end).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        (0..8).fold(0u64, |number, at| {
            number << 8 | u64::from(key.get(shared + at).copied().unwrap_or(0))
        })
    };
    let middle = number(start).midpoint(number(end));
    let mut key = start.get(..shared)?.to_vec();
    key.extend_from_slice(&middle.to_be_bytes());
    (key.as_slice() > start && key.as_slice() < end).then_some(key)
}

impl Snapshot for RocksdbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let family = self.view.borrow_owner();
        self.view
            .borrow_dependent()
            .get_cf(family.handle()?, key)
            .map_err(|error| family.fault("get", error))
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let walk = if range.is_empty() { None } else { Some(self.walk(range, READ_AHEAD_BYTES)?) };
        Ok(Box::new(RocksdbCursor { walk, start: Some(range.start.clone()) }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        match (self.edge(range, false)?, self.edge(range, true)?) {
            (Some(first), Some(last)) => self.divide(&first, &last, chunk_bytes.max(1)),
            _ => Ok(Vec::new()),
        }
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        let Some(mut beyond) = self.edge(range, true)? else { return Ok(0) };
        beyond.push(0);
        self.bytes_between(&range.start, &beyond)
    }
}

/// Lends what the iterator stands at.
struct RocksdbCursor {
    walk: Option<Walk>,
    /// Where to begin, until that was done.
    start: Option<Vec<u8>>,
}

impl Cursor for RocksdbCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        let start = self.start.take();
        walk.with_dependent_mut(|_, iterator| match start {
            Some(start) => iterator.seek(&start),
            None if iterator.valid() => iterator.next(),
            None => {}
        });
        let iterator = walk.borrow_dependent();
        // An iterator that stopped at a fault looks like one at the end, but for its status.
        iterator
            .status()
            .map_err(|error| walk.borrow_owner().borrow_owner().fault("scan", error))?;
        Ok(iterator.item())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_midpoint_lies_strictly_between() {
        let pairs: [(&[u8], &[u8]); 6] = [
            (b"", b"\x01"),
            (b"a", b"b"),
            (b"abc\x00", b"abc\x01"),
            (b"n/00000000", b"n/00019999"),
            (b"\xff\xff", b"\xff\xff\xff\xff"),
            (b"a", b"a\x00\x00\x01"),
        ];
        for (start, end) in pairs {
            let middle = midpoint(start, end).expect("a midpoint");
            assert!(middle.as_slice() > start && middle.as_slice() < end);
        }
        assert_eq!(midpoint(b"a", b"a\x00"), None);
    }
}
