//! Copies a database chunk by chunk into a target.
//!
//! Promises: a chunk is recorded only after the target said that it is durable; a chunk that is
//! recorded is not copied again; a write that fails stops the chunk, and nothing of it is taken
//! for done; memory is bounded by the limits, whatever the database's size.

use crate::advance::Advance;
use crate::chunks::{ChunkLog, CopiedChunk, Made, for_each_chunk};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::runs::Runs;
use crate::tally::disorder;
use crate::transforming::made_as_planned;
use crate::watch::Watch;
use std::time::{Duration, Instant};
use transload_model::layout::Layout;
use transload_model::report::printable_key;
use transload_model::walk::{ChunkTally, ChunkWalk};
use transload_observe::{Event, Stage};
use transload_store::{
    BulkLoad, ChunkLoad, Durability, Effect, KeyRange, PutEntry, Reshape, ReshapePass, Scan,
    ScanDigest, ScanReceipt, Snapshot, Store, WriteBatch, refuse_another_value,
};

/// A chunk is tried this often when the store says that a retry can help, or that it doesn't
/// know whether a commit has happened (the chunk is loaded again whole then).
const CHUNK_TRIES_MAX: u32 = 3;

/// A pause before a chunk is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// One database to copy.
#[derive(Clone, Copy)]
pub struct CopyJob<'a> {
    /// Its name.
    pub database: &'a str,
    /// What is read.
    pub source: &'a dyn Snapshot,
    /// How its entries map to records.
    pub layout: &'a dyn Layout,
    /// How entries change on the way; `None` where they are carried as they are.
    pub rule: Option<&'a dyn Reshape>,
    /// The transforms that the entries go through until they are written, `rule` being the last.
    pub made_by: &'a [String],
    /// What is written.
    pub target: &'a dyn Store,
    /// The chunks, in physical order, without gaps.
    pub ranges: &'a [KeyRange],
    /// Whether the records are laid out and hashed while they pass. The verification does it in
    /// any case; only who must know the tables before needs it here.
    pub tally: bool,
    /// The limits.
    pub limits: Limits,
}

/// What was copied, earlier runs included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyTotals {
    /// Entries in the target.
    pub entries: u64,
    /// Their key and value bytes.
    pub bytes: u64,
    /// Chunks that an earlier run had done.
    pub chunks_kept: u64,
    /// Chunks done now.
    pub chunks_copied: u64,
}

/// Copies what the log doesn't know as copied.
///
/// # Errors
/// [`Kind::Difference`] when the source's bytes contradict themselves; [`Kind::Stopped`] for a
/// failure to read or write, or when asked to stop: what is recorded stays valid.
pub fn copy_database(job: CopyJob<'_>, log: &dyn ChunkLog, watch: &Watch) -> Result<CopyTotals> {
    let mut totals = CopyTotals::default();
    let mut todo = Vec::new();
    for chunk in 0..job.ranges.len() as u64 {
        match log.copied(job.database, chunk)? {
            Some(copied) => {
                made_as_planned(chunk, copied.made_by(), job.made_by)?;
                totals.chunks_kept += 1;
                totals.entries += copied.receipt.entries;
                totals.bytes += copied.receipt.bytes;
            }
            None => todo.push(chunk),
        }
    }
    watch.tell(Event::DatabaseBegan {
        stage: Stage::Copying,
        database: job.database.to_owned(),
        chunks: job.ranges.len() as u64,
        chunks_done: totals.chunks_kept,
        bytes_estimate: estimate(job.source, job.ranges, &todo),
    });
    let bulk = if job.target.capabilities().bulk_load {
        Some(job.target.bulk_load().map_err(|error| target_fault("open the bulk path", error))?)
    } else {
        None
    };
    let bulk = bulk.as_deref();
    let work = |chunk: u64| copy_chunk(&job, bulk, chunk, log, watch);
    for_each_chunk(&todo, job.limits.workers_that_fit(), watch, "copy", &work)
        .map_err(|error| error.with("database", job.database.to_owned()))?;
    for chunk in &todo {
        let copied = log.copied(job.database, *chunk)?.ok_or_else(|| {
            Error::new(Kind::Stopped, "copy", "a chunk was copied but its record is missing")
        })?;
        totals.chunks_copied += 1;
        totals.entries += copied.receipt.entries;
        totals.bytes += copied.receipt.bytes;
    }
    if let Some(rule) = job.rule {
        finish(rule, job.target).map_err(|error| target_fault("end the new layout", error))?;
        watch.step("copy: new layout ended");
    }
    Ok(totals)
}

/// Writes what follows from no single entry. A killed copy writes it again.
fn finish(rule: &dyn Reshape, target: &dyn Store) -> transload_store::Result<()> {
    let mut batch = WriteBatch::new();
    rule.finish(&mut |_, key, value| {
        batch.put(key, value);
        Ok(())
    })?;
    target.write(&batch, Durability::Synced)
}

/// About how many bytes the chunks in `todo` have.
pub(crate) fn estimate(source: &dyn Snapshot, ranges: &[KeyRange], todo: &[u64]) -> u64 {
    // An estimate only feeds a bar; a source that can't be read fails where it is read.
    if todo.len() == ranges.len() {
        return source.approximate_bytes(&KeyRange::all()).unwrap_or(0);
    }
    let range = |chunk: &u64| usize::try_from(*chunk).ok().and_then(|index| ranges.get(index));
    todo.iter()
        .filter_map(range)
        .map(|range| source.approximate_bytes(range).unwrap_or(0))
        .fold(0, u64::saturating_add)
}

fn copy_chunk(
    job: &CopyJob<'_>,
    bulk: Option<&dyn BulkLoad>,
    chunk: u64,
    log: &dyn ChunkLog,
    watch: &Watch,
) -> Result<()> {
    let range = range_of(job.ranges, chunk)?;
    let began = Instant::now();
    let (stage, database) = (Stage::Copying, job.database.to_owned());
    for tries in 1..=CHUNK_TRIES_MAX {
        match try_chunk(job, bulk, chunk, range, watch) {
            Ok((receipt, tally, made)) => {
                watch.step("copy: chunk durable in the target");
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                log.record_copied(
                    &database,
                    chunk,
                    &CopiedChunk { receipt, tally, millis, tries, made },
                )?;
                watch.step("copy: chunk recorded");
                let (entries, bytes) = (receipt.entries, receipt.bytes);
                watch.tell(Event::ChunkDone { stage, database, chunk, entries, bytes });
                return Ok(());
            }
            Err(Fault { error, retry: true }) if tries < CHUNK_TRIES_MAX => {
                let (database, why) = (database.clone(), error.to_string());
                watch.tell(Event::ChunkRetried { stage, database, chunk, why });
                std::thread::sleep(RETRY_PAUSE);
            }
            Err(Fault { error, .. }) => {
                let why = error.to_string();
                if error.kind() != Kind::Stopped || !watch.cancel.is_asked() {
                    watch.tell(Event::ChunkFailed { stage, database, chunk, why });
                }
                return Err(error.with("chunk", chunk.to_string()));
            }
        }
    }
    // The last round of the loop always returns.
    Err(Error::new(Kind::Stopped, "copy", "a chunk was tried too often"))
}

pub(crate) fn range_of(ranges: &[KeyRange], chunk: u64) -> Result<&KeyRange> {
    usize::try_from(chunk).ok().and_then(|index| ranges.get(index)).ok_or_else(|| {
        Error::new(Kind::Stopped, "find the chunk", "there is no chunk of this number")
            .with("chunk", chunk.to_string())
    })
}

/// A failed try, and whether another one may succeed.
struct Fault {
    error: Error,
    retry: bool,
}

impl Fault {
    fn source(error: transload_store::Error) -> Self {
        Self { retry: error.is_retryable(), error: Error::reading("read the source", error) }
    }

    fn target(error: transload_store::Error) -> Self {
        let retry = error.is_retryable() || error.effect() == Effect::Unknown;
        Self { retry, error: target_fault("write the target", error) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { error, retry: false }
    }
}

pub(crate) fn target_fault(operation: &'static str, error: transload_store::Error) -> Error {
    Error::store(Kind::Stopped, operation, error)
}

/// Where a chunk's entries go.
enum Sink<'a> {
    Reshaped(Box<Reshaping<'a>>, Runs<'a>),
    Bulk(Box<dyn ChunkLoad>),
    Batches { store: &'a dyn Store, batch: WriteBatch, batch_bytes_max: u64 },
}

impl Sink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> std::result::Result<(), Fault> {
        let named = |error| {
            let mut fault = Fault::target(error);
            fault.error = fault.error.with("key", printable_key(key));
            fault
        };
        match self {
            Sink::Reshaped(reshaping, runs) => reshaped(reshaping, key, value, runs, named),
            Sink::Bulk(load) => load.put(key, value).map_err(named),
            Sink::Batches { store, batch, batch_bytes_max } => {
                batch.put(key, value);
                if batch.bytes() as u64 >= *batch_bytes_max {
                    store.write(batch, Durability::Buffered).map_err(named)?;
                    batch.clear();
                }
                Ok(())
            }
        }
    }

    /// Makes everything durable; answers what became of entries that got another layout.
    fn commit(self, by: &[String]) -> transload_store::Result<Option<Made>> {
        match self {
            Sink::Reshaped(reshaping, runs) => {
                runs.commit()?;
                return Ok(Some(reshaping.made(by)));
            }
            Sink::Bulk(load) => load.commit()?,
            // The last batch is written even when it is empty: its sync makes those before it
            // durable.
            Sink::Batches { store, batch, .. } => store.write(&batch, Durability::Synced)?,
        }
        Ok(None)
    }
}

/// A stretch whose entries get another layout, and what they become.
pub(crate) struct Reshaping<'a> {
    pass: Box<dyn ReshapePass + 'a>,
    source: &'a dyn Layout,
    entries: u64,
    digest: ScanDigest,
}

impl<'a> Reshaping<'a> {
    /// Of entries that `rule` changes.
    pub(crate) fn new(rule: &'a dyn Reshape) -> Self {
        let digest = ScanDigest::default();
        Self { pass: rule.pass(), source: rule.source(), entries: 0, digest }
    }

    /// Gives what becomes of an entry.
    ///
    /// # Errors
    /// Those of the rule and of `put`; [`transload_store::Kind::InvalidInput`] for another value
    /// where the entry's own is under a certificate.
    pub(crate) fn entry(
        &mut self,
        key: &[u8],
        value: &[u8],
        put: &mut PutEntry<'_>,
    ) -> transload_store::Result<()> {
        let Self { pass, source, entries, digest } = self;
        pass.entry(key, value, &mut |run, new_key, new_value| {
            refuse_another_value(*source, (key, value), new_value)?;
            *entries += 1;
            digest.push(new_key, new_value);
            put(run, new_key, new_value)
        })
    }

    /// What all of them have become.
    pub(crate) fn made(self, by: &[String]) -> Made {
        Made { by: by.to_vec(), entries: self.entries, digest: self.digest.finish() }
    }
}

/// Puts what becomes of an entry.
fn reshaped(
    reshaping: &mut Reshaping<'_>,
    key: &[u8],
    value: &[u8],
    runs: &mut Runs<'_>,
    named: impl FnOnce(transload_store::Error) -> Fault,
) -> std::result::Result<(), Fault> {
    let mut written = true;
    let put = reshaping.entry(key, value, &mut |run, key, value| {
        runs.put(run, key, value).inspect_err(|_| written = false)
    });
    put.map_err(|error| {
        if written {
            Error::store(Kind::Difference, "change the layout", error).into()
        } else {
            named(error)
        }
    })
}

/// What was read of a chunk, its records where they are wanted, and what transforms made of it.
type Tried = (ScanReceipt, Option<ChunkTally>, Option<Made>);

fn try_chunk(
    job: &CopyJob<'_>,
    bulk: Option<&dyn BulkLoad>,
    chunk: u64,
    range: &KeyRange,
    watch: &Watch,
) -> std::result::Result<Tried, Fault> {
    let mut scan = Scan::new(job.source, range).map_err(Fault::source)?;
    let mut walk = job.tally.then(|| ChunkWalk::new(job.layout));
    let (piece, batch_bytes_max) = (job.limits.chunk_bytes, job.limits.batch_bytes_max);
    let mut sink = match (job.rule, bulk) {
        (Some(rule), bulk) => Sink::Reshaped(
            Box::new(Reshaping::new(rule)),
            Runs::new(job.target, bulk, piece, batch_bytes_max),
        ),
        (None, Some(bulk)) => Sink::Bulk(bulk.chunk(range).map_err(Fault::target)?),
        (None, None) => {
            Sink::Batches { store: job.target, batch: WriteBatch::new(), batch_bytes_max }
        }
    };
    let (mut entries, mut bytes, mut advance) = (0u64, 0u64, Advance::new());
    while let Some((key, value)) = scan.next().map_err(Fault::source)? {
        if let Some(walk) = &mut walk {
            walk.push(key, value).map_err(disorder)?;
        }
        sink.put(key, value)?;
        entries += 1;
        bytes += (key.len() + value.len()) as u64;
        if advance.is_due(bytes) {
            watch.go_on("copy")?;
            let (stage, database) = (Stage::Copying, job.database.to_owned());
            watch.tell(Event::Advanced { stage, database, chunk, entries, bytes });
        }
    }
    let receipt = scan.receipt().map_err(Fault::source)?;
    let tally = walk.map(ChunkWalk::finish).transpose().map_err(disorder)?;
    let reshaped = sink.commit(job.made_by).map_err(Fault::target)?;
    // Elsewhere the source itself is read through the transforms.
    let seen =
        || Made { by: job.made_by.to_vec(), entries: receipt.entries, digest: receipt.digest };
    let made = reshaped.or_else(|| (!job.made_by.is_empty()).then(seen));
    Ok((receipt, tally, made))
}
