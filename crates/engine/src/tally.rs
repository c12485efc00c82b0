//! Scans a database once, in parallel chunks, and hashes it into its canonical tables.
//!
//! Memory: each worker holds one chunk's tally (at most 32 bytes a record of the chunk) besides
//! the driver's buffers; finished tallies hold about one segment a MiB of data.

use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use transload_model::commitment::TableCommitment;
use transload_model::layout::Layout;
use transload_model::walk::{Assembly, ChunkTally, ChunkWalk, WalkError};
use transload_store::{KeyRange, Scan, ScanReceipt, Snapshot};

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct TallyOptions {
    /// Threads that scan at the same time.
    pub workers: usize,
    /// About how many bytes one chunk has.
    pub chunk_bytes: u64,
}

/// A database in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTally {
    /// One commitment for each table of the layout.
    pub tables: Vec<TableCommitment>,
    /// Physical entries, bookkeeping included.
    pub entries: u64,
    /// Physical key and value bytes.
    pub bytes: u64,
    /// The chunks in physical order, with their receipts.
    pub chunks: Vec<(KeyRange, ScanReceipt)>,
}

/// Divides the whole keyspace into ranges of about `chunk_bytes`, at points where the layout
/// allows it: the first begins at the beginning, the last has no end, and none is missing.
///
/// # Errors
/// Those of reading the engine's metadata.
pub fn aligned_ranges(
    snapshot: &dyn Snapshot,
    layout: &dyn Layout,
    chunk_bytes: u64,
) -> transload_store::Result<Vec<KeyRange>> {
    let all = KeyRange::all();
    let mut points: Vec<Vec<u8>> = snapshot
        .split_points(&all, chunk_bytes)?
        .iter()
        .map(|point| layout.align_split(point).to_vec())
        .collect();
    points.sort_unstable();
    points.dedup();
    Ok(all.split_at(&points))
}

/// Scans one range under a layout.
///
/// # Errors
/// [`Kind::Difference`] when the entries can't be laid out canonically or the store can't be
/// read: a database that can't be read whole is never taken for a smaller one.
pub fn tally_range(
    snapshot: &dyn Snapshot,
    layout: &dyn Layout,
    range: &KeyRange,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<(ChunkTally, ScanReceipt)> {
    let read = |error| Error::reading("scan", error);
    let mut scan = Scan::new(snapshot, range).map_err(read)?;
    let mut walk = ChunkWalk::new(layout);
    while let Some((key, value)) = scan.next().map_err(read)? {
        walk.push(key, value).map_err(disorder)?;
        each(key, value)?;
    }
    let receipt = scan.receipt().map_err(read)?;
    let tally = walk.finish().map_err(disorder)?;
    Ok((tally, receipt))
}

pub(crate) fn disorder(error: WalkError) -> Error {
    Error::new(Kind::Difference, "lay out", error.to_string())
        .next("two stored entries stand for one record of the ledger; no node writes that")
        .caused_by(error)
}

/// Scans and hashes a whole database.
///
/// `progress` is told the entries and bytes of each finished chunk; when it answers false the
/// scan stops with [`Kind::Stopped`].
///
/// # Errors
/// As [`tally_range`]; the first error stops all workers.
pub fn tally(
    snapshot: &dyn Snapshot,
    layout: &dyn Layout,
    options: TallyOptions,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<DatabaseTally> {
    let ranges = aligned_ranges(snapshot, layout, options.chunk_bytes)
        .map_err(|error| Error::reading("divide", error))?;
    let next = AtomicUsize::new(0);
    let joined = Mutex::new(Joined::new(layout, ranges.len()));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let workers = options.workers.clamp(1, ranges.len());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(range) = ranges.get(index) else { return };
            let scanned =
                tally_range(snapshot, layout, range, |_, _| Ok(())).and_then(|(tally, receipt)| {
                    let go_on = progress(receipt.entries, receipt.bytes);
                    lock(&joined).take(index, tally, receipt)?;
                    if go_on {
                        Ok(())
                    } else {
                        Err(Error::new(Kind::Stopped, "scan", "stopped as asked"))
                    }
                });
            if let Err(error) = scanned {
                lock(&failure).get_or_insert(error);
                next.store(ranges.len(), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let joined = joined.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    joined.finish(ranges)
}

/// Chunks as they come in from several workers, joined as soon as those before them are there.
struct Joined<'a> {
    assembly: Assembly<'a>,
    waiting: BTreeMap<usize, ChunkTally>,
    joined: usize,
    receipts: Vec<Option<ScanReceipt>>,
}

impl<'a> Joined<'a> {
    fn new(layout: &'a dyn Layout, chunks: usize) -> Self {
        Self {
            assembly: Assembly::new(layout),
            waiting: BTreeMap::new(),
            joined: 0,
            receipts: vec![None; chunks],
        }
    }

    fn take(&mut self, index: usize, tally: ChunkTally, receipt: ScanReceipt) -> Result<()> {
        self.receipts[index] = Some(receipt);
        self.waiting.insert(index, tally);
        while let Some(tally) = self.waiting.remove(&self.joined) {
            self.assembly.push(tally).map_err(disorder)?;
            self.joined += 1;
        }
        Ok(())
    }

    fn finish(self, ranges: Vec<KeyRange>) -> Result<DatabaseTally> {
        let (mut entries, mut bytes, mut chunks) = (0, 0, Vec::with_capacity(ranges.len()));
        for (range, receipt) in ranges.into_iter().zip(self.receipts) {
            let receipt = receipt
                .ok_or_else(|| Error::new(Kind::Difference, "scan", "a chunk was never scanned"))?;
            entries += receipt.entries;
            bytes += receipt.bytes;
            chunks.push((range, receipt));
        }
        let tables = self.assembly.finish().map_err(disorder)?;
        Ok(DatabaseTally { tables, entries, bytes, chunks })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
