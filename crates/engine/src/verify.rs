//! Compares a target with its source by reading both back from disk.
//!
//! Promises: both sides are read whole, from the first possible key to the last, so that a key
//! too many is found as surely as one too few; what was compared is counted, and a comparison of
//! nothing is never a success; a [`VerifiedDatabase`] exists only after all of it.

use crate::advance::Advance;
use crate::chunks::{ChunkLog, VerifiedChunk, for_each_chunk, not_copied};
use crate::copy::{estimate, range_of};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::tally::disorder;
use crate::transforming::made_as_planned;
use crate::watch::Watch;
use transload_model::commitment::TableCommitment;
use transload_model::layout::{Layout, Placement};
use transload_model::report::{Finding, printable_key};
use transload_model::walk::{Assembly, ChunkTally, ChunkWalk};
use transload_observe::{Event, Stage};
use transload_store::{KeyRange, Scan, ScanReceipt, Snapshot};

/// Differing keys that a failed chunk names; the others are only counted.
pub(crate) const NAMED_KEYS_MAX: usize = 20;

/// One database to verify. Both snapshots come from stores that were opened after the target
/// was closed.
#[derive(Clone, Copy)]
pub struct VerifyJob<'a> {
    /// Its name.
    pub database: &'a str,
    /// The source, opened anew.
    pub source: &'a dyn Snapshot,
    /// The target, reopened from disk.
    pub target: &'a dyn Snapshot,
    /// How entries map to records.
    pub layout: &'a dyn Layout,
    /// The transforms through which the source is seen.
    pub made_by: &'a [String],
    /// The chunks that were copied: the whole keyspace, without gaps.
    pub ranges: &'a [KeyRange],
    /// The limits.
    pub limits: Limits,
}

/// A database whose target was read back and is equal to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "only a verified database may be swapped in"]
pub struct VerifiedDatabase {
    name: String,
    tables: Vec<TableCommitment>,
    entries: u64,
    bytes: u64,
    chunks: u64,
}

impl VerifiedDatabase {
    pub(crate) fn new(
        name: String,
        tables: Vec<TableCommitment>,
        entries: u64,
        bytes: u64,
        chunks: u64,
    ) -> Self {
        Self { name, tables, entries, bytes, chunks }
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tables as read back from the target.
    #[must_use]
    pub fn tables(&self) -> &[TableCommitment] {
        &self.tables
    }

    /// Entries compared, bookkeeping included.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Key and value bytes compared, of one side.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Chunks compared.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }
}

/// Reads both sides and compares them, except chunks that the log knows as verified.
///
/// # Errors
/// [`Kind::Difference`] naming the keys that differ; [`Kind::Stopped`] for a failure to read, or
/// when asked to stop.
pub fn verify_database(
    job: VerifyJob<'_>,
    log: &dyn ChunkLog,
    watch: &Watch,
) -> Result<VerifiedDatabase> {
    covers_everything(job.ranges)?;
    let chunks = job.ranges.len() as u64;
    let mut todo = Vec::new();
    for chunk in 0..chunks {
        if log.copied(job.database, chunk)?.is_none() {
            return Err(not_copied(job.database, chunk));
        }
        if log.verified(job.database, chunk)?.is_none() {
            todo.push(chunk);
        }
    }
    watch.tell(Event::DatabaseBegan {
        stage: Stage::Verifying,
        database: job.database.to_owned(),
        chunks,
        chunks_done: chunks - todo.len() as u64,
        bytes_estimate: estimate(job.source, job.ranges, &todo),
    });
    let work = |chunk: u64| verify_chunk(&job, chunk, log, watch);
    for_each_chunk(&todo, job.limits.workers_that_fit(), watch, "verify", &work)
        .map_err(|error| error.with("database", job.database.to_owned()))?;
    conclude(job.database, job.layout, chunks, log)
}

/// Joins the chunk records of a database that is verified whole. Where the copy has laid out
/// every chunk as well, its tables must have the same roots.
///
/// # Errors
/// [`Kind::Stopped`] when a chunk lacks its verification; [`Kind::Difference`] when the tables
/// of both sides differ.
pub(crate) fn conclude(
    database: &str,
    layout: &dyn Layout,
    chunks: u64,
    log: &dyn ChunkLog,
) -> Result<VerifiedDatabase> {
    let (mut source, mut target) = (Assembly::new(layout), Assembly::new(layout));
    let (mut entries, mut bytes, mut filled, mut tallied) = (0, 0, 0u64, 0u64);
    for chunk in 0..chunks {
        let missing = || {
            Error::new(Kind::Stopped, "verify", "a chunk is not verified")
                .with("database", database.to_owned())
                .with("chunk", chunk.to_string())
        };
        let copied = log.copied(database, chunk)?.ok_or_else(missing)?;
        let verified = log.verified(database, chunk)?.ok_or_else(missing)?;
        entries += verified.receipt.entries;
        bytes += verified.receipt.bytes;
        if let Some(tally) = copied.tally {
            source.push(tally).map_err(disorder)?;
            tallied += u64::from(copied.receipt.entries > 0);
        }
        filled += u64::from(copied.receipt.entries > 0);
        target.push(verified.tally).map_err(disorder)?;
    }
    let tables = target.finish().map_err(disorder)?;
    let source = if tallied == filled { source.finish().map_err(disorder)? } else { Vec::new() };
    for (mine, theirs) in source.iter().zip(&tables) {
        if mine.root() != theirs.root() {
            return Err(Error::new(
                Kind::Difference,
                "compare the roots",
                "a table's roots differ",
            )
            .with("database", database.to_owned())
            .with("table", mine.name.to_string())
            .with("source", hex::encode(mine.root()))
            .with("target", hex::encode(theirs.root())));
        }
    }
    Ok(VerifiedDatabase { name: database.to_owned(), tables, entries, bytes, chunks })
}

/// The ranges must follow one another from the first possible key to the last.
pub(crate) fn covers_everything(ranges: &[KeyRange]) -> Result<()> {
    let begins = ranges.first().is_some_and(|range| range.start.is_empty());
    let ends = ranges.last().is_some_and(|range| range.end.is_none());
    let joined = ranges.windows(2).all(|pair| pair[0].end.as_ref() == Some(&pair[1].start));
    if begins && ends && joined {
        return Ok(());
    }
    Err(Error::new(Kind::Stopped, "verify", "the chunks don't cover the whole keyspace"))
}

fn verify_chunk(job: &VerifyJob<'_>, chunk: u64, log: &dyn ChunkLog, watch: &Watch) -> Result<()> {
    let range = range_of(job.ranges, chunk)?;
    let copied = log.copied(job.database, chunk)?.ok_or_else(|| not_copied(job.database, chunk))?;
    made_as_planned(chunk, copied.made_by(), job.made_by)?;
    let (target, tally) = read_back(job, chunk, range, watch)?;
    let source = digest_only(job, chunk, range, target, watch)?;
    let (stage, database) = (Stage::Verifying, job.database.to_owned());
    let why = if source != copied.receipt && !job.made_by.is_empty() {
        &format!(
            "what {} makes of the source isn't what it made when the chunk was copied, and the \
             source's files are what they were: it isn't deterministic",
            job.made_by.join(", ")
        )
    } else if source != copied.receipt {
        "the source is not what it was when it was copied"
    } else if target != source {
        "the target read back from disk is not equal to the source"
    } else if copied.tally.is_some_and(|copied| copied != tally) {
        "the records of both sides differ although their bytes don't"
    } else {
        log.record_verified(&database, chunk, &VerifiedChunk { receipt: target, tally })?;
        watch.step("verify: chunk recorded");
        let (entries, bytes) = (target.entries, target.bytes);
        watch.tell(Event::ChunkDone { stage, database, chunk, entries, bytes });
        return Ok(());
    };
    let findings = differing_keys(job, range)?;
    log.record_failed(&database, chunk, why)?;
    watch.step("verify: failed chunk recorded");
    watch.tell(Event::ChunkFailed { stage, database, chunk, why: why.into() });
    let mut error = Error::new(Kind::Difference, "verify", why).with("chunk", chunk.to_string());
    for finding in findings {
        error = error.with("difference", finding.to_string());
    }
    Err(error.next("resume starts a new attempt with a new target; the old one is not trusted"))
}

fn read_back(
    job: &VerifyJob<'_>,
    chunk: u64,
    range: &KeyRange,
    watch: &Watch,
) -> Result<(ScanReceipt, ChunkTally)> {
    let fault = |error| Error::reading("read the target back", error);
    let mut scan = Scan::new(job.target, range).map_err(fault)?;
    let mut walk = ChunkWalk::new(job.layout);
    let (mut entries, mut bytes, mut advance) = (0u64, 0u64, Advance::new());
    while let Some((key, value)) = scan.next().map_err(fault)? {
        walk.push(key, value).map_err(disorder)?;
        entries += 1;
        bytes += (key.len() + value.len()) as u64;
        if advance.is_due(bytes) {
            tell_half(job, chunk, entries, bytes, watch)?;
        }
    }
    let receipt = scan.receipt().map_err(fault)?;
    Ok((receipt, walk.finish().map_err(disorder)?))
}

fn digest_only(
    job: &VerifyJob<'_>,
    chunk: u64,
    range: &KeyRange,
    target: ScanReceipt,
    watch: &Watch,
) -> Result<ScanReceipt> {
    let fault = |error| Error::reading("read the source again", error);
    let mut scan = Scan::new(job.source, range).map_err(fault)?;
    let (mut entries, mut bytes, mut advance) = (0u64, 0u64, Advance::new());
    while let Some((key, value)) = scan.next().map_err(fault)? {
        entries += 1;
        bytes += (key.len() + value.len()) as u64;
        if advance.is_due(bytes) {
            tell_half(job, chunk, target.entries + entries, target.bytes + bytes, watch)?;
        }
    }
    scan.receipt().map_err(fault)
}

/// What is read is read once on either side, so half of it is done with one.
fn tell_half(
    job: &VerifyJob<'_>,
    chunk: u64,
    entries: u64,
    bytes: u64,
    watch: &Watch,
) -> Result<()> {
    watch.go_on("verify")?;
    let (stage, database) = (Stage::Verifying, job.database.to_owned());
    let (entries, bytes) = (entries / 2, bytes / 2);
    watch.tell(Event::Advanced { stage, database, chunk, entries, bytes });
    Ok(())
}

/// Walks both sides of a chunk together and names the keys that differ.
fn differing_keys(job: &VerifyJob<'_>, range: &KeyRange) -> Result<Vec<Finding>> {
    let fault = |error| Error::reading("name the differences", error);
    let mut source = Side::new(job.source, range).map_err(fault)?;
    let mut target = Side::new(job.target, range).map_err(fault)?;
    let mut findings = Vec::new();
    let mut canonical = Vec::new();
    while findings.len() < NAMED_KEYS_MAX {
        let (key, value, what) = match (&source.at, &target.at) {
            (None, None) => break,
            (Some((a, x)), Some((b, y))) if a == b => {
                let changed = (x != y).then(|| (a.clone(), x.clone(), "the values differ"));
                source.step().map_err(fault)?;
                target.step().map_err(fault)?;
                match changed {
                    Some(changed) => changed,
                    None => continue,
                }
            }
            (Some((a, x)), other) if other.as_ref().is_none_or(|(b, _)| a < b) => {
                let missing = (a.clone(), x.clone(), "missing in the target");
                source.step().map_err(fault)?;
                missing
            }
            (_, Some((b, y))) => {
                let extra = (b.clone(), y.clone(), "only in the target");
                target.step().map_err(fault)?;
                extra
            }
            (Some(_), None) => break,
        };
        let table = match job.layout.place(&key, &value, &mut canonical) {
            Placement::Record { table, .. } => {
                job.layout.tables().get(table).map(|spec| spec.name.clone())
            }
            Placement::Bookkeeping => None,
        };
        findings.push(Finding {
            check: "target_equals_source".into(),
            database: job.database.to_owned(),
            table,
            key: printable_key(&key),
            perhaps: Vec::new(),
            height: None,
            what: what.into(),
        });
    }
    Ok(findings)
}

struct Side {
    scan: Scan,
    at: Option<(Vec<u8>, Vec<u8>)>,
}

impl Side {
    fn new(snapshot: &dyn Snapshot, range: &KeyRange) -> transload_store::Result<Self> {
        let mut side = Self { scan: Scan::new(snapshot, range)?, at: None };
        side.step()?;
        Ok(side)
    }

    fn step(&mut self) -> transload_store::Result<()> {
        self.at = self.scan.next()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
        Ok(())
    }
}
