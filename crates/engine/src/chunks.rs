//! Chunks: what is remembered of each, and the pool that works on them.
//!
//! Invariant: a chunk is recorded after its data is durable, never before; recording a chunk as
//! copied forgets that it was verified.

use crate::error::{Error, Kind, Result};
use crate::watch::Watch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use transload_model::walk::ChunkTally;
use transload_store::ScanReceipt;

/// A chunk whose data is durable in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedChunk {
    /// What was read of the source.
    pub receipt: ScanReceipt,
    /// The records in it, where the copy has laid them out; the verification always does.
    #[serde(with = "absent_as_empty")]
    pub tally: Option<ChunkTally>,
    /// How long it took.
    pub millis: u64,
    /// How often it was tried.
    pub tries: u32,
    /// What transforms made of it; the journal has a table of its own for it.
    #[serde(skip)]
    pub made: Option<Made>,
}

/// What transforms made of a chunk on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Which ones, first to last, each with its version.
    pub by: Vec<String>,
    /// Entries that they gave.
    pub entries: u64,
    /// [`transload_store::ScanDigest`] of these, in the order in which they were given.
    pub digest: [u8; 32],
}

impl CopiedChunk {
    /// The transforms that made it.
    pub(crate) fn made_by(&self) -> &[String] {
        self.made.as_ref().map_or(&[], |made| &made.by)
    }

    /// Whether what was read back of the target is what was copied.
    #[must_use]
    pub fn is_equal_to(&self, verified: &VerifiedChunk) -> bool {
        let same_records = self.tally.as_ref().is_none_or(|tally| *tally == verified.tally);
        self.receipt == verified.receipt && same_records
    }
}

/// An absent tally is kept as one without entries, so that journals have one form.
mod absent_as_empty {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use transload_model::walk::ChunkTally;

    pub(super) fn serialize<S: Serializer>(
        tally: &Option<ChunkTally>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match tally {
            Some(tally) => tally.serialize(serializer),
            None => ChunkTally::default().serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ChunkTally>, D::Error> {
        let tally = ChunkTally::deserialize(deserializer)?;
        Ok((tally.entries > 0).then_some(tally))
    }
}

/// A chunk whose both sides were read back from disk and are equal. Where the layout changes,
/// each side has chunks of its own: one of the source that is what it was, or one of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedChunk {
    /// What was read back of the target.
    pub receipt: ScanReceipt,
    /// The records in it.
    pub tally: ChunkTally,
}

/// Remembers chunks.
pub trait ChunkLog: Send + Sync {
    /// A chunk that was copied.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the log can't be read.
    fn copied(&self, database: &str, chunk: u64) -> Result<Option<CopiedChunk>>;

    /// A chunk that was verified since it was last copied.
    ///
    /// # Errors
    /// As [`ChunkLog::copied`].
    fn verified(&self, database: &str, chunk: u64) -> Result<Option<VerifiedChunk>>;

    /// Records durably that a chunk is durable in the target, and forgets that it was verified.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the log can't be written.
    fn record_copied(&self, database: &str, chunk: u64, copied: &CopiedChunk) -> Result<()>;

    /// Records durably that a chunk is equal on both sides.
    ///
    /// # Errors
    /// As [`ChunkLog::record_copied`].
    fn record_verified(&self, database: &str, chunk: u64, verified: &VerifiedChunk) -> Result<()>;

    /// A chunk of a target in another layout that was read back.
    ///
    /// # Errors
    /// As [`ChunkLog::copied`].
    fn read_back(&self, database: &str, chunk: u64) -> Result<Option<VerifiedChunk>>;

    /// Records durably what was read back of a target in another layout.
    ///
    /// # Errors
    /// As [`ChunkLog::record_copied`].
    fn record_read_back(&self, database: &str, chunk: u64, read: &VerifiedChunk) -> Result<()>;

    /// Records durably that a chunk differs; it then counts as neither copied nor verified.
    ///
    /// # Errors
    /// As [`ChunkLog::record_copied`].
    fn record_failed(&self, database: &str, chunk: u64, why: &str) -> Result<()>;
}

/// A log that lives as long as the process, for conversions that start over after a crash.
#[derive(Debug, Default)]
pub struct MemoryLog {
    chunks: Mutex<BTreeMap<(String, u64), Remembered>>,
    read_back: Mutex<BTreeMap<(String, u64), VerifiedChunk>>,
}

type Remembered = (CopiedChunk, Option<VerifiedChunk>);

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, u64), Remembered>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkLog for MemoryLog {
    fn copied(&self, database: &str, chunk: u64) -> Result<Option<CopiedChunk>> {
        Ok(self.lock().get(&(database.to_owned(), chunk)).map(|(copied, _)| copied.clone()))
    }

    fn verified(&self, database: &str, chunk: u64) -> Result<Option<VerifiedChunk>> {
        let chunks = self.lock();
        Ok(chunks.get(&(database.to_owned(), chunk)).and_then(|(_, verified)| verified.clone()))
    }

    fn record_copied(&self, database: &str, chunk: u64, copied: &CopiedChunk) -> Result<()> {
        self.lock().insert((database.to_owned(), chunk), (copied.clone(), None));
        Ok(())
    }

    fn record_verified(&self, database: &str, chunk: u64, verified: &VerifiedChunk) -> Result<()> {
        match self.lock().get_mut(&(database.to_owned(), chunk)) {
            Some((_, slot)) => {
                *slot = Some(verified.clone());
                Ok(())
            }
            None => Err(not_copied(database, chunk)),
        }
    }

    fn read_back(&self, database: &str, chunk: u64) -> Result<Option<VerifiedChunk>> {
        let read = self.read_back.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read.get(&(database.to_owned(), chunk)).cloned())
    }

    fn record_read_back(&self, database: &str, chunk: u64, read: &VerifiedChunk) -> Result<()> {
        let mut all = self.read_back.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((database.to_owned(), chunk), read.clone());
        Ok(())
    }

    fn record_failed(&self, database: &str, chunk: u64, _why: &str) -> Result<()> {
        self.lock().remove(&(database.to_owned(), chunk));
        Ok(())
    }
}

/// The error of verifying what was never copied.
pub(crate) fn not_copied(database: &str, chunk: u64) -> Error {
    Error::new(Kind::Stopped, "verify", "a chunk that was not copied can't be verified")
        .with("database", database.to_owned())
        .with("chunk", chunk.to_string())
}

/// Works on `chunks` with up to `workers` threads. The first error stops all of them (a chunk
/// that is being worked on ends first) and is the answer; so does the stop flag.
///
/// # Errors
/// The first error of `work`; [`Kind::Stopped`] when asked to stop.
pub(crate) fn for_each_chunk(
    chunks: &[u64],
    workers: usize,
    watch: &Watch,
    operation: &'static str,
    work: &(dyn Fn(u64) -> Result<()> + Sync),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let run = || {
        while !stopped.load(Ordering::SeqCst) {
            let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let result = watch.go_on(operation).and_then(|()| work(*chunk));
            if let Err(error) = result {
                stopped.store(true, Ordering::SeqCst);
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                // A difference says more than that another worker was stopped.
                let worse = failure.as_ref().is_none_or(|first| first.kind() == Kind::Stopped);
                if worse {
                    *failure = Some(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.clamp(1, chunks.len().max(1)) {
            scope.spawn(run);
        }
        run();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_model::layout::RawLayout;
    use transload_model::record::TableName;
    use transload_model::walk::ChunkWalk;

    fn copied() -> CopiedChunk {
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let tally = ChunkWalk::new(&layout).finish().unwrap();
        let receipt = ScanReceipt { entries: 0, bytes: 0, digest: [0; 32] };
        CopiedChunk { receipt, tally: Some(tally), millis: 0, tries: 1, made: None }
    }

    #[test]
    fn a_chunk_that_is_written_again_loses_its_verification() {
        let log = MemoryLog::default();
        let verified = VerifiedChunk { receipt: copied().receipt, tally: copied().tally.unwrap() };
        assert!(log.record_verified("a", 0, &verified).is_err());
        log.record_copied("a", 0, &copied()).unwrap();
        log.record_verified("a", 0, &verified).unwrap();
        assert_eq!(log.verified("a", 0).unwrap(), Some(verified));
        log.record_copied("a", 0, &copied()).unwrap();
        assert_eq!(log.verified("a", 0).unwrap(), None);
    }

    #[test]
    fn the_first_failure_stops_the_pool() {
        let done = AtomicUsize::new(0);
        let chunks: Vec<u64> = (0..1000).collect();
        let work = |chunk| {
            if chunk == 3 {
                return Err(Error::new(Kind::Difference, "test", "wrong"));
            }
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let error = for_each_chunk(&chunks, 1, &Watch::default(), "test", &work).unwrap_err();
        assert_eq!((error.kind(), done.load(Ordering::SeqCst)), (Kind::Difference, 3));
    }

    #[test]
    fn a_stop_that_was_asked_for_is_heard_before_each_chunk() {
        let watch = Watch::default();
        let done = AtomicUsize::new(0);
        let work = |chunk| {
            done.fetch_add(1, Ordering::SeqCst);
            if chunk == 1 {
                watch.cancel.ask();
            }
            Ok(())
        };
        let error = for_each_chunk(&[0, 1, 2, 3], 1, &watch, "test", &work).unwrap_err();
        assert_eq!((error.kind(), done.load(Ordering::SeqCst)), (Kind::Stopped, 2));
    }
}
