//! Verifies the snapshots of a home: files against records, the stream, its trees, their hashes.

use super::chunks::{Advance, Chunks, Flaw, chunk_path};
use super::contents::Contents;
use super::judge::judge;
use super::layout::table_name;
use super::record::{Record, SnapshotId};
use super::stream::{ITEM_BYTES_MAX, Items};
use crate::iavl::{AppHashOf, Progress};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use transload_model::report::{Finding, Verdict, printable_key};
use transload_store::{
    Error, KeyRange, Kind, Result, Snapshot, StateSnapshot, VersionChoice, Walk,
};

/// Each record is canonical, of its own key, and there is no file beyond its chunks.
const RECORD: &str = "snapshot_records";
/// Each chunk, and all of them together, have the hash in their record.
pub(crate) const CHUNK: &str = "snapshot_chunks";
/// The stream is one that the SDK writes, its nodes are trees, and inner keys are right.
const NODE: &str = "snapshot_nodes";
/// The trees' roots are those in the CommitInfo of the height, both directions.
pub(super) const STORES: &str = "snapshot_stores";
/// The root over the stores is the application's hash in the next header.
pub(super) const APP_HASH: &str = "snapshot_app_hash";

/// All of them, in the order of a report.
const ALL: [&str; 5] = [RECORD, CHUNK, NODE, STORES, APP_HASH];

/// The database, in findings.
const DATABASE: &str = "snapshots/metadata.db";

const OPERATION: &str = "verify the state-sync snapshots";

/// Formats whose stream is known: 1 to SDK 0.45, 2 in 0.46, 3 since.
const FORMATS_KNOWN: std::ops::RangeInclusive<u32> = 1..=3;

/// The first format whose stream ends with its checksum.
const FORMAT_CLOSED_ONCE: u32 = 3;

/// Nodes keep a few. A forged database must not make us hold a list of millions.
const SNAPSHOTS_MAX: usize = 10_000;

/// What to verify, and against what.
pub(crate) struct Job<'a> {
    /// `snapshots/metadata.db`.
    pub(crate) metadata: &'a dyn Snapshot,
    /// The folder `snapshots`.
    pub(crate) folder: &'a Path,
    /// `application.db`, where it is a multistore.
    pub(crate) application: Option<&'a dyn Snapshot>,
    pub(crate) app_hash_of: AppHashOf<'a>,
    /// Only the snapshots of these versions.
    pub(crate) versions: &'a VersionChoice,
    /// Whether a node may remove snapshots meanwhile.
    pub(crate) is_written: bool,
    pub(crate) workers: usize,
    pub(crate) memory_bytes_max: u64,
    /// Told of bytes of chunks.
    pub(crate) progress: Progress<'a>,
}

/// A finding about a snapshot.
pub(super) fn finding(check: &'static str, id: SnapshotId, what: impl Into<String>) -> Finding {
    Finding {
        check: check.to_owned(),
        database: DATABASE.to_owned(),
        table: Some(table_name()),
        key: printable_key(&id.key()),
        perhaps: Vec::new(),
        height: Some(id.height),
        what: what.into(),
    }
}

/// Verifies all snapshots that the versions asked for have.
///
/// # Errors
/// Those of reading; [`Kind::Cancelled`] when the progress says so. What is wrong with the content
/// is a finding.
pub(crate) fn verify(job: &Job<'_>) -> Result<Verdict> {
    let mut verdict = Verdict::nothing();
    for check in ALL {
        verdict.count(check, 0);
    }
    let recorded = recorded(job.metadata)?;
    if recorded.unknown > 0 {
        let unknown = recorded.unknown;
        verdict.notices.push(format!("{DATABASE}: {unknown} entries that no known version writes"));
    }
    if recorded.beyond > 0 {
        let why = format!("more than {SNAPSHOTS_MAX} snapshots are recorded");
        verdict.skip(RECORD, recorded.beyond, why);
    }
    let asked = asked(job)?;
    let is_asked = |id: &SnapshotId| asked.as_ref().is_none_or(|asked| asked.contains(&id.height));
    let (chosen, others): (Vec<_>, Vec<_>) = recorded.ids.iter().copied().partition(is_asked);
    if !others.is_empty() {
        let why = "only snapshots of the versions that were asked for are checked";
        verdict.skip(APP_HASH, others.len() as u64, why);
    }
    name_leftovers(job.folder, &recorded.ids, &mut verdict)?;
    let total: u64 = chosen.iter().map(|id| recorded_bytes(job, *id)).sum();
    let done = AtomicU64::new(0);
    let advance = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if (job.progress)(done, total.max(done)) {
            return Ok(());
        }
        Err(Error::new(Kind::Cancelled, OPERATION, "stopped as asked"))
    };
    for outcome in in_parallel(job, &chosen, |id| check(job, id, &advance))? {
        verdict.absorb(outcome);
    }
    if verdict.failed() > 0 {
        verdict.notices.push(
            "a snapshot that is wrong would be served to peers: stop the node and remove it with \
             the application's own `snapshots delete HEIGHT FORMAT`"
                .into(),
        );
    }
    if others.is_empty() && recorded.beyond == 0 {
        verdict.cover(CHUNK, table_name());
    }
    Ok(verdict)
}

/// The snapshots on record, newest first, with what their files take. What can't be read is left
/// out here and named by [`verify`].
///
/// # Errors
/// Those of reading the database.
pub(crate) fn listed(metadata: &dyn Snapshot, folder: &Path) -> Result<Vec<StateSnapshot>> {
    let mut list = Vec::new();
    for id in recorded(metadata)?.ids.into_iter().rev() {
        let Some(stored) = metadata.get(&id.key())? else { continue };
        let Ok(record) = Record::decode(&stored) else { continue };
        list.push(StateSnapshot {
            height: id.height,
            format: id.format,
            chunks: record.chunk_hashes.len() as u64,
            bytes: bytes_of(&id.folder_in(folder), record.chunk_hashes.len()),
            hash: hex::encode(record.hash),
        });
    }
    Ok(list)
}

#[derive(Default)]
struct Recorded {
    /// Ascending.
    ids: Vec<SnapshotId>,
    unknown: u64,
    beyond: u64,
}

fn recorded(metadata: &dyn Snapshot) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    let mut scan = Walk::new(metadata, &KeyRange::all())?;
    while let Some((key, _)) = scan.next()? {
        match SnapshotId::of_key(key) {
            Some(_) if recorded.ids.len() >= SNAPSHOTS_MAX => recorded.beyond += 1,
            Some(id) => recorded.ids.push(id),
            None => recorded.unknown += 1,
        }
    }
    scan.end()?;
    Ok(recorded)
}

/// The heights whose snapshots are asked for; `None` for all.
fn asked(job: &Job<'_>) -> Result<Option<Vec<u64>>> {
    Ok(match job.versions {
        VersionChoice::All => None,
        VersionChoice::Listed(versions) => Some(versions.clone()),
        VersionChoice::Latest => {
            let tip = job.application.map(crate::iavl::tip).transpose()?.flatten();
            Some(tip.into_iter().map(|(version, _)| version).collect())
        }
    })
}

fn recorded_bytes(job: &Job<'_>, id: SnapshotId) -> u64 {
    let stored = job.metadata.get(&id.key()).ok().flatten();
    let chunks = stored.as_deref().and_then(|stored| Record::decode(stored).ok());
    bytes_of(&id.folder_in(job.folder), chunks.map_or(0, |record| record.chunk_hashes.len()))
}

/// What the files of the chunks take; what isn't there takes nothing.
fn bytes_of(folder: &Path, chunks: usize) -> u64 {
    let size = |index| std::fs::metadata(chunk_path(folder, index)).map_or(0, |about| about.len());
    (0..chunks).map(size).sum()
}

/// Folders that no record names: a node that is killed while it takes a snapshot leaves one.
fn name_leftovers(folder: &Path, ids: &[SnapshotId], verdict: &mut Verdict) -> Result<()> {
    let mut left = 0_u64;
    let mut first = None;
    for height in numbers_in(folder)? {
        for format in numbers_in(&folder.join(height.to_string()))? {
            let is_recorded = u32::try_from(format)
                .is_ok_and(|format| ids.binary_search(&SnapshotId { height, format }).is_ok());
            if !is_recorded {
                left += 1;
                first = first.or(Some(format!("{height}/{format}")));
            }
        }
    }
    if let Some(first) = first {
        verdict.notices.push(format!(
            "snapshots: {left} folders that no record names, {first} among them: no node is offered \
             them; one that was killed, or is still at it, leaves them"
        ));
    }
    Ok(())
}

/// Names in a folder that are numbers, in their canonical form, ascending.
fn numbers_in(folder: &Path) -> Result<BTreeSet<u64>> {
    let io = |error| Error::io(OPERATION, folder, error);
    let listing = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(BTreeSet::new());
        }
        other => other.map_err(io)?,
    };
    let mut numbers = BTreeSet::new();
    for entry in listing.take(SNAPSHOTS_MAX) {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        numbers.extend(name.parse::<u64>().ok().filter(|number| number.to_string() == name));
    }
    Ok(numbers)
}

/// Does `each` for all snapshots, as many at a time as memory allows.
fn in_parallel(
    job: &Job<'_>,
    ids: &[SnapshotId],
    each: impl Fn(SnapshotId) -> Result<Verdict> + Sync,
) -> Result<Vec<Verdict>> {
    let fit = usize::try_from(job.memory_bytes_max).unwrap_or(usize::MAX) / ITEM_BYTES_MAX;
    let workers = job.workers.min(fit).clamp(1, ids.len().max(1));
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<(usize, Result<Verdict>)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(id) = ids.get(index) else { return };
            let outcome = each(*id);
            if outcome.is_err() {
                next.store(ids.len(), Ordering::Relaxed);
            }
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Checks one snapshot.
fn check(job: &Job<'_>, id: SnapshotId, advance: Advance<'_>) -> Result<Verdict> {
    let mut verdict = Verdict::nothing();
    let Some(stored) = job.metadata.get(&id.key())? else { return Ok(verdict) };
    verdict.count(RECORD, 1);
    if let Err(deviation) = Record::check_canonical(&stored) {
        let what = format!("{id}: its record isn't canonical: {deviation}");
        verdict.find(finding(RECORD, id, what));
    }
    let record = match Record::decode(&stored) {
        Ok(record) => record,
        Err(error) => {
            let what = format!("{id}: its record can't be decoded: {error}");
            verdict.find(finding(RECORD, id, what));
            return Ok(verdict);
        }
    };
    if record.id != id {
        let what = format!("{id}: its record is about {}", record.id);
        verdict.find(finding(RECORD, id, what));
    }
    let folder = id.folder_in(job.folder);
    check_extra(&folder, id, record.chunk_hashes.len(), &mut verdict)?;
    let is_known = FORMATS_KNOWN.contains(&id.format);
    let mut items = Items::new(Chunks::new(&folder, &record.chunk_hashes, advance));
    let mut contents = Contents::default();
    let mut read = if is_known { contents.read(&mut items, id) } else { Ok(()) };
    let mut after_end = 0;
    if is_known && id.format < FORMAT_CLOSED_ONCE && read.is_ok() {
        match items.skip_second_checksum() {
            Ok(bytes) => after_end = bytes,
            Err(fault) => read = Err(fault.to_string()),
        }
    }
    let mut chunks = items.into_source();
    if let Some(failure) = chunks.failure() {
        return Err(failure);
    }
    let hashed = chunks.finish()?;
    if job.is_written && hashed.flaws.iter().any(|(_, flaw)| *flaw == Flaw::Missing) {
        let why = "chunks went away meanwhile, as the running node removes old snapshots";
        verdict.skip(CHUNK, record.chunk_hashes.len() as u64, why);
        return Ok(verdict);
    }
    verdict.count(CHUNK, record.chunk_hashes.len() as u64);
    for (index, flaw) in &hashed.flaws {
        verdict.find(finding(CHUNK, id, format!("{id}: {}", described(*index, flaw))));
    }
    if hashed.flaws.is_empty() && hashed.whole != record.hash {
        let what = format!(
            "{id}: its chunks have the hash {} together, and its record has {}",
            hex::encode(hashed.whole),
            hex::encode(record.hash)
        );
        verdict.find(finding(CHUNK, id, what));
    }
    if !hashed.flaws.is_empty() {
        verdict.skip(APP_HASH, 1, "the chunks aren't those on record");
        return Ok(verdict);
    }
    if !is_known {
        verdict.skip(APP_HASH, 1, format!("format {} isn't known", id.format));
        return Ok(verdict);
    }
    verdict.count(NODE, contents.nodes);
    let read = read.and_then(|()| match after_end + hashed.bytes_left {
        0 => Ok(()),
        left => Err(format!("{left} bytes stand after the end of the stream")),
    });
    if let Err(what) = read {
        verdict.find(finding(NODE, id, format!("{id}: {what}")));
        verdict.skip(APP_HASH, 1, "the stream can't be restored");
        return Ok(verdict);
    }
    for extension in &contents.extensions {
        verdict.limits.push(format!(
            "{id}: the {} bytes of the extension {} (no header covers them; their chunks' hashes \
             are those on record)",
            extension.bytes, extension.name
        ));
    }
    judge(job, id, &contents.stores, &mut verdict)?;
    Ok(verdict)
}

fn described(index: usize, flaw: &Flaw) -> String {
    match flaw {
        Flaw::Missing => format!("chunk {index} isn't there"),
        Flaw::NoFile => format!("chunk {index} is no file"),
        Flaw::OtherHash { bytes } => {
            format!("chunk {index}, of {bytes} bytes, hasn't the hash that its record has")
        }
    }
}

/// Names files beyond the chunks on record.
fn check_extra(folder: &Path, id: SnapshotId, chunks: usize, verdict: &mut Verdict) -> Result<()> {
    let io = |error| Error::io(OPERATION, folder, error);
    let listing = match std::fs::read_dir(folder) {
        // Its chunks are named as missing.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        other => other.map_err(io)?,
    };
    for entry in listing {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        let number = name.parse::<usize>().ok().filter(|number| number.to_string() == name);
        if number.is_none_or(|number| number >= chunks) {
            let what = format!("{id}: file {name} is none of its {chunks} chunks");
            verdict.find(finding(RECORD, id, what));
        }
    }
    Ok(())
}
