//! Compares a target in another layout with its source.
//!
//! Promises: the source is read again whole and is what it was when it was copied; the target is
//! read back whole, from the first possible key to the last, in chunks of its own keys; every
//! table has the same root on both sides; besides its records the target holds what its layout
//! prescribes, and nothing else. A [`VerifiedDatabase`] exists only after all of it.

use crate::advance::Advance;
use crate::chunks::{ChunkLog, VerifiedChunk, for_each_chunk, not_copied};
use crate::copy::{Reshaping, estimate, range_of};
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::tally::disorder;
use crate::transforming::made_as_planned;
use crate::verify::{NAMED_KEYS_MAX, VerifiedDatabase, covers_everything};
use crate::watch::Watch;
use transload_model::commitment::TableCommitment;
use transload_model::layout::{Layout, Placement};
use transload_model::record::TableName;
use transload_model::report::{Finding, printable_key};
use transload_model::walk::{Assembly, ChunkWalk};
use transload_observe::{Event, Stage};
use transload_store::{KeyRange, Reshape, Scan, ScanReceipt, Snapshot};

/// One database whose layout changed.
#[derive(Clone, Copy)]
pub struct RelaidJob<'a> {
    /// Its name.
    pub database: &'a str,
    /// The source, opened anew.
    pub source: &'a dyn Snapshot,
    /// The target, reopened from disk.
    pub target: &'a dyn Snapshot,
    /// The rule by which it was copied.
    pub rule: &'a dyn Reshape,
    /// The transforms that its entries have gone through, that rule being the last.
    pub made_by: &'a [String],
    /// The source's chunks, as they were copied: its whole keyspace, without gaps.
    pub ranges: &'a [KeyRange],
    /// The target's chunks: its whole keyspace, without gaps.
    pub target_ranges: &'a [KeyRange],
    /// The limits.
    pub limits: Limits,
}

/// How events call the target's own chunks.
pub(crate) fn target_line(database: &str) -> String {
    format!("{database} (new layout)")
}

/// Reads both sides and compares them, except chunks that the log knows.
///
/// # Errors
/// [`Kind::Difference`] naming tables and keys that differ; [`Kind::Stopped`] for a failure to
/// read, or when asked to stop.
pub fn verify_relaid(
    job: RelaidJob<'_>,
    log: &dyn ChunkLog,
    watch: &Watch,
) -> Result<VerifiedDatabase> {
    covers_everything(job.ranges)?;
    covers_everything(job.target_ranges)?;
    let named = |error: Error| error.with("database", job.database.to_owned());
    let todo = to_read(job.ranges, &|chunk| {
        if log.copied(job.database, chunk)?.is_none() {
            return Err(not_copied(job.database, chunk));
        }
        Ok(log.verified(job.database, chunk)?.is_some())
    })?;
    tell_begin(job.database.to_owned(), job.source, job.ranges, &todo, watch);
    let work = |chunk: u64| read_source(&job, chunk, log, watch);
    for_each_chunk(&todo, job.limits.workers_that_fit(), watch, "verify", &work).map_err(named)?;
    let todo =
        to_read(job.target_ranges, &|chunk| Ok(log.read_back(job.database, chunk)?.is_some()))?;
    tell_begin(target_line(job.database), job.target, job.target_ranges, &todo, watch);
    let work = |chunk: u64| read_target(&job, chunk, log, watch);
    for_each_chunk(&todo, job.limits.workers_that_fit(), watch, "verify", &work).map_err(named)?;
    conclude(&job, log).map_err(named)
}

/// The chunks that the log doesn't know.
fn to_read(ranges: &[KeyRange], is_done: &dyn Fn(u64) -> Result<bool>) -> Result<Vec<u64>> {
    let mut todo = Vec::new();
    for chunk in 0..ranges.len() as u64 {
        if !is_done(chunk)? {
            todo.push(chunk);
        }
    }
    Ok(todo)
}

fn tell_begin(
    database: String,
    snapshot: &dyn Snapshot,
    ranges: &[KeyRange],
    todo: &[u64],
    watch: &Watch,
) {
    let chunks = ranges.len() as u64;
    watch.tell(Event::DatabaseBegan {
        stage: Stage::Verifying,
        database,
        chunks,
        chunks_done: chunks - todo.len() as u64,
        bytes_estimate: estimate(snapshot, ranges, todo),
    });
}

/// A chunk of the source is still what it was.
fn read_source(job: &RelaidJob<'_>, chunk: u64, log: &dyn ChunkLog, watch: &Watch) -> Result<()> {
    let range = range_of(job.ranges, chunk)?;
    let copied = log.copied(job.database, chunk)?.ok_or_else(|| not_copied(job.database, chunk))?;
    let line = job.database.to_owned();
    let reading = Reading { line: &line, chunk, operation: "read the source again", watch };
    made_as_planned(chunk, copied.made_by(), job.made_by)?;
    let mut walk = ChunkWalk::new(job.rule.source());
    let mut reshaping = Reshaping::new(job.rule);
    let receipt = reading.all(job.source, range, |key, value| {
        walk.push(key, value).map_err(disorder)?;
        reshaping
            .entry(key, value, &mut |_, _, _| Ok(()))
            .map_err(|error| Error::store(Kind::Difference, "change the layout again", error))
    })?;
    let made = reshaping.made(job.made_by);
    let verified = VerifiedChunk { receipt, tally: walk.finish().map_err(disorder)? };
    let wrong = if !copied.is_equal_to(&verified) {
        Some("the source is not what it was when it was copied".to_owned())
    } else if copied.made != Some(made) {
        Some(format!(
            "transform {} isn't deterministic: it makes other entries of the same ones than it \
             did when they were copied",
            job.rule.transform()
        ))
    } else {
        None
    };
    if let Some(why) = wrong {
        let why = why.as_str();
        log.record_failed(job.database, chunk, why)?;
        watch.step("verify: failed chunk recorded");
        let (stage, database) = (Stage::Verifying, line);
        watch.tell(Event::ChunkFailed { stage, database, chunk, why: why.into() });
        return Err(Error::new(Kind::Difference, "verify", why)
            .with("chunk", chunk.to_string())
            .next("resume starts a new attempt with a new target; the old one is not trusted"));
    }
    log.record_verified(job.database, chunk, &verified)?;
    reading.done("verify: chunk recorded", &receipt);
    Ok(())
}

/// A chunk of the target, laid out under its own layout.
fn read_target(job: &RelaidJob<'_>, chunk: u64, log: &dyn ChunkLog, watch: &Watch) -> Result<()> {
    let range = range_of(job.target_ranges, chunk)?;
    let layout = job.rule.target();
    let line = target_line(job.database);
    let reading = Reading { line: &line, chunk, operation: "read the target back", watch };
    let mut walk = ChunkWalk::new(layout);
    let mut canonical = Vec::new();
    let receipt = reading.all(job.target, range, |key, value| {
        if layout.place(key, value, &mut canonical) == Placement::Bookkeeping {
            is_prescribed(layout, key, value)?;
        }
        walk.push(key, value).map_err(disorder)
    })?;
    let tally = walk.finish().map_err(disorder)?;
    log.record_read_back(job.database, chunk, &VerifiedChunk { receipt, tally })?;
    reading.done("verify: the target's chunk recorded", &receipt);
    Ok(())
}

fn is_prescribed(layout: &dyn Layout, key: &[u8], value: &[u8]) -> Result<()> {
    if layout.bookkeeping().iter().any(|(known, says)| *known == key && *says == value) {
        return Ok(());
    }
    let what = format!("an entry of the layout itself is not what {} prescribes", layout.id());
    Err(Error::new(Kind::Difference, "verify", what)
        .with("key", printable_key(key))
        .with("value", printable_key(value))
        .next("resume starts a new attempt with a new target; the old one is not trusted"))
}

/// One chunk that is being read.
struct Reading<'a> {
    line: &'a str,
    chunk: u64,
    operation: &'static str,
    watch: &'a Watch,
}

impl Reading<'_> {
    fn all(
        &self,
        snapshot: &dyn Snapshot,
        range: &KeyRange,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<ScanReceipt> {
        let fault = |error| Error::reading(self.operation, error);
        let mut scan = Scan::new(snapshot, range).map_err(fault)?;
        let (mut entries, mut bytes, mut advance) = (0u64, 0u64, Advance::new());
        while let Some((key, value)) = scan.next().map_err(fault)? {
            each(key, value)?;
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            if advance.is_due(bytes) {
                self.watch.go_on("verify")?;
                let (stage, database) = (Stage::Verifying, self.line.to_owned());
                let chunk = self.chunk;
                self.watch.tell(Event::Advanced { stage, database, chunk, entries, bytes });
            }
        }
        scan.receipt().map_err(fault)
    }

    fn done(&self, step: &str, receipt: &ScanReceipt) {
        self.watch.step(step);
        let (stage, database, chunk) = (Stage::Verifying, self.line.to_owned(), self.chunk);
        let (entries, bytes) = (receipt.entries, receipt.bytes);
        self.watch.tell(Event::ChunkDone { stage, database, chunk, entries, bytes });
    }
}

/// Joins the records of both sides, once all of them are there, and compares the tables.
fn conclude(job: &RelaidJob<'_>, log: &dyn ChunkLog) -> Result<VerifiedDatabase> {
    let missing = |side: &str, chunk: u64| {
        Error::new(Kind::Stopped, "verify", format!("a chunk of the {side} is not verified"))
            .with("chunk", chunk.to_string())
    };
    let mut source = Side::new(job.rule.source());
    for chunk in 0..job.ranges.len() as u64 {
        let verified = log.verified(job.database, chunk)?;
        source.push(verified.ok_or_else(|| missing("source", chunk))?)?;
    }
    let mut target = Side::new(job.rule.target());
    for chunk in 0..job.target_ranges.len() as u64 {
        let read = log.read_back(job.database, chunk)?;
        target.push(read.ok_or_else(|| missing("target", chunk))?)?;
    }
    let (entries, bytes) = (target.entries, target.bytes);
    let (source, _) = source.finish()?;
    let (tables, bookkeeping) = target.finish()?;
    let prescribed = job.rule.target().bookkeeping().len() as u64;
    let differ: Vec<&TableName> = source
        .iter()
        .zip(&tables)
        .filter(|(mine, theirs)| mine.root() != theirs.root())
        .map(|(mine, _)| &mine.name)
        .collect();
    let mut error = if differ.is_empty() && bookkeeping == prescribed {
        let chunks = job.target_ranges.len() as u64;
        return Ok(VerifiedDatabase::new(job.database.to_owned(), tables, entries, bytes, chunks));
    } else if differ.is_empty() {
        let what = "the target lacks entries that its layout prescribes";
        Error::new(Kind::Difference, "verify", what)
            .with("found", bookkeeping.to_string())
            .with("prescribed", prescribed.to_string())
    } else {
        Error::new(Kind::Difference, "verify", "the target doesn't hold the source's records")
    };
    for table in differ {
        error = error.with("table", table.to_string());
    }
    for finding in differing_keys(job)? {
        error = error.with("difference", finding.to_string());
    }
    Err(error.next("resume starts a new attempt with a new target; the old one is not trusted"))
}

/// The records of one side.
struct Side<'a> {
    assembly: Assembly<'a>,
    entries: u64,
    bytes: u64,
}

impl<'a> Side<'a> {
    fn new(layout: &'a dyn Layout) -> Self {
        Self { assembly: Assembly::new(layout), entries: 0, bytes: 0 }
    }

    fn push(&mut self, read: VerifiedChunk) -> Result<()> {
        self.entries += read.receipt.entries;
        self.bytes += read.receipt.bytes;
        self.assembly.push(read.tally).map_err(disorder)
    }

    /// The tables, and how many entries are no records.
    fn finish(self) -> Result<(Vec<TableCommitment>, u64)> {
        let tables = self.assembly.finish().map_err(disorder)?;
        let records: u64 = tables.iter().map(|table| table.records).sum();
        Ok((tables, self.entries.saturating_sub(records)))
    }
}

/// Looks up every entry of either side on the other one and names those that differ.
fn differing_keys(job: &RelaidJob<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let back = transload_store::Rekey::new(job.rule.target(), job.rule.source());
    let words = Words { missing: "missing in the target", changed: Some("the values differ") };
    look_up(job, job.rule, (job.source, job.target), words, &mut findings)?;
    // A rule that leads one way only names what it can: what the source has.
    if let Ok(back) = back {
        let words = Words { missing: "only in the target", changed: None };
        look_up(job, &back, (job.target, job.source), words, &mut findings)?;
    }
    Ok(findings)
}

/// How differences are called in one direction; a changed value is named in one only.
#[derive(Clone, Copy)]
struct Words {
    missing: &'static str,
    changed: Option<&'static str>,
}

fn look_up(
    job: &RelaidJob<'_>,
    rule: &dyn Reshape,
    (from, to): (&dyn Snapshot, &dyn Snapshot),
    words: Words,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let fault = |error| Error::reading("name the differences", error);
    let mut scan = Scan::new(from, &KeyRange::all()).map_err(fault)?;
    let mut pass = rule.pass();
    let mut canonical = Vec::new();
    while let Some((key, value)) = scan.next().map_err(fault)? {
        if findings.len() >= NAMED_KEYS_MAX {
            return Ok(());
        }
        let mut what = None;
        let looked = pass.entry(key, value, &mut |_, other, same| {
            what = match to.get(other)? {
                None => Some(words.missing),
                Some(found) if found != same => words.changed,
                Some(_) => what,
            };
            Ok(())
        });
        if let Err(error) = looked {
            // An entry that no rule takes is one of the differences.
            if error.kind() != transload_store::Kind::InvalidInput {
                return Err(fault(error));
            }
            what = Some("it belongs to no record of the other side");
        }
        let Some(what) = what else { continue };
        let layout = rule.source();
        let table = match layout.place(key, value, &mut canonical) {
            Placement::Record { table, .. } => {
                layout.tables().get(table).map(|spec| spec.name.clone())
            }
            Placement::Bookkeeping => None,
        };
        findings.push(Finding {
            check: "target_equals_source".into(),
            database: job.database.to_owned(),
            table,
            key: printable_key(key),
            perhaps: Vec::new(),
            height: None,
            what: what.into(),
        });
    }
    Ok(())
}
