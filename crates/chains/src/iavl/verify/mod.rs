//! Recomputes the state of a Cosmos SDK application: from leaves to node hashes, from roots to
//! CommitInfo, from there to the application's hash that a header carries.
//!
//! For all versions: each store is scanned once, in key order. What its nodes say of each other
//! goes through external joins ([`transload_store::sort`]), level by level: upwards, so that
//! every distinct node is checked against its children once, and downwards from the roots, so
//! that nodes which no version has, orphans and the fast index are judged. Memory stays within
//! the limit; scratch space of about the size of the database is needed.
//!
//! For chosen versions: the trees are walked from their roots by point reads, and what that
//! leaves out is counted as skipped.
//!
//! Invariant: a hash is never taken on trust. A node's claimed hash is checked against its
//! children's claims, and those of leaves are computed from their bytes.

mod checks;
mod commits;
mod fall;
mod index;
mod records;
mod rise;
mod scan;
mod tree;
mod walk;

use crate::iavl::commit::decode_latest;
use crate::iavl::keys::{Key, LATEST_KEY, STORES_PREFIX, store_prefix};
use crate::iavl::layout;
use commits::StoreOutcome;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use transload_model::record::TableName;
use transload_model::report::{Finding, Verdict, printable_key};
use transload_store::sort::Scratch;
use transload_store::{Error, KeyRange, Kind, Result, Snapshot, VerifyOptions, VersionChoice};

const OPERATION: &str = "verify the application's state";

/// The database, in findings.
const DATABASE: &str = "application.db";

/// The check that fails to be made where there is no multistore at all.
pub const STORES_CHECK: &str = checks::STORES;

/// A multistore with more stores than this isn't one: chains have some tens. A forged database
/// must not make us hold a list of millions of names.
const STORES_MAX: usize = 10_000;

/// Told (bytes looked at, bytes in all, estimated); false asks to stop.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) -> bool + Sync);

/// The application's hash after a version, as the chain certifies it (by the next header, or by
/// the node's own state at the tip); `None` where no header is kept.
pub type AppHashOf<'a> = &'a (dyn Fn(u64) -> Result<Option<Vec<u8>>> + Sync);

/// The work that a byte of the database makes.
const BYTE_WORK: u64 = 100;

/// What of it the one scan is; then what each of the joins from the leaves up and from the roots
/// down is. The rest are the joins of fast nodes and orphans.
const SCAN_WORK: u64 = 70;
const JOIN_WORK: u64 = 13;

/// What all checks share.
struct Ctx<'a> {
    snapshot: &'a dyn Snapshot,
    scratch: Scratch,
    /// For one worker.
    memory_bytes_max: usize,
    /// The last version committed.
    latest: Option<u64>,
    app_hash_of: AppHashOf<'a>,
    progress: Progress<'a>,
    work_done: AtomicU64,
    work_total: u64,
    stop: AtomicBool,
}

impl Ctx<'_> {
    /// Counts bytes as looked at, with all that is done with them.
    fn advance(&self, bytes: u64) -> Result<()> {
        self.work(bytes.saturating_mul(BYTE_WORK))
    }

    /// Counts work as done.
    fn work(&self, amount: u64) -> Result<()> {
        let done = self.work_done.fetch_add(amount, Ordering::Relaxed) + amount;
        if self.stop.load(Ordering::Relaxed) || !(self.progress)(done, self.work_total.max(done)) {
            return Err(Error::new(Kind::Cancelled, OPERATION, "stopped as asked"));
        }
        Ok(())
    }
}

/// Verifies the state kept in `snapshot`.
///
/// # Errors
/// Those of reading and of the scratch folder; [`Kind::Cancelled`] when `progress` says so.
/// What is wrong with the content is a finding.
pub fn verify(
    snapshot: &dyn Snapshot,
    options: &VerifyOptions,
    app_hash_of: AppHashOf<'_>,
    progress: Progress<'_>,
) -> Result<Verdict> {
    let mut verdict = Verdict::nothing();
    for check in checks::ALL {
        verdict.count(check, 0);
    }
    let latest = latest(snapshot, &mut verdict)?;
    let stores = store_names(snapshot, &mut verdict)?;
    let workers = options.workers.clamp(1, stores.len().max(1));
    let memory = usize::try_from(options.memory_bytes_max).unwrap_or(usize::MAX) / workers;
    let scratch = Scratch::new(&options.scratch_dir);
    (workers..options.workers).for_each(|_| scratch.lend());
    let ctx = Ctx {
        snapshot,
        scratch,
        memory_bytes_max: memory,
        latest,
        app_hash_of,
        progress,
        work_done: AtomicU64::new(0),
        work_total: snapshot.approximate_bytes(&KeyRange::all())?.saturating_mul(BYTE_WORK),
        stop: AtomicBool::new(false),
    };
    match &options.versions {
        VersionChoice::All => {
            let each = |store: &Vec<u8>| tree::check(&ctx, store);
            let outcomes = in_parallel(&ctx, workers, &stores, each)?;
            commits::check(&ctx, outcomes, &mut verdict)?;
            for (check, table) in checks::COVERS {
                if let Ok(table) = TableName::new(table) {
                    verdict.cover(check, table);
                }
            }
        }
        // Some versions only: no table has been looked at whole.
        VersionChoice::Latest => {
            let versions: Vec<u64> = latest.into_iter().collect();
            walk::check(&ctx, workers, &stores, &versions, &mut verdict)?;
        }
        VersionChoice::Listed(versions) => {
            walk::check(&ctx, workers, &stores, versions, &mut verdict)?;
        }
    }
    Ok(verdict)
}

/// The last version committed and the application's hash after it, by CommitInfo; `None` when
/// there is none that can be read.
///
/// # Errors
/// Those of reading.
pub fn tip(snapshot: &dyn Snapshot) -> Result<Option<(u64, [u8; 32])>> {
    let Some(version) = latest_version(snapshot)? else { return Ok(None) };
    let Some(stored) = snapshot.get(&crate::iavl::keys::commit_info_key(version))? else {
        return Ok(None);
    };
    let info = crate::iavl::commit::CommitInfo::decode(&stored).ok();
    Ok(info.and_then(|info| info.app_hash()).map(|hash| (version, hash)))
}

/// The last version committed; `None` where that isn't there or can't be read.
///
/// # Errors
/// Those of reading.
pub(super) fn latest_version(snapshot: &dyn Snapshot) -> Result<Option<u64>> {
    latest(snapshot, &mut Verdict::nothing())
}

fn latest(snapshot: &dyn Snapshot, verdict: &mut Verdict) -> Result<Option<u64>> {
    let Some(stored) = snapshot.get(LATEST_KEY)? else { return Ok(None) };
    match decode_latest(&stored) {
        Ok(version) => Ok(Some(version)),
        Err(error) => {
            let what = format!("the last version can't be read: {error}");
            verdict.find(finding(checks::ENTRY, layout::LATEST, LATEST_KEY, None, what));
            Ok(None)
        }
    }
}

/// The names of all stores that have entries, by jumping from one to the next.
pub(super) fn store_names(snapshot: &dyn Snapshot, verdict: &mut Verdict) -> Result<Vec<Vec<u8>>> {
    let all = KeyRange::prefix(STORES_PREFIX);
    let mut names = Vec::new();
    let mut unknown = 0_u64;
    let mut start = all.start.clone();
    loop {
        let range = KeyRange { start, end: all.end.clone() };
        let mut cursor = snapshot.cursor(&range)?;
        let Some((key, _)) = cursor.next()? else { break };
        if let Key::Store { store, .. } = Key::parse(key) {
            // Past every key of this store: '0' follows '/'.
            start = [STORES_PREFIX, store, b"0"].concat();
            names.push(store.to_vec());
        } else {
            unknown += 1;
            start = [key, b"\0"].concat();
        }
        if names.len() > STORES_MAX {
            let what = format!("the database has more than {STORES_MAX} stores");
            return Err(Error::new(Kind::Limit, OPERATION, what));
        }
    }
    if unknown > 0 {
        let plural =
            if unknown == 1 { "entry of no store begins" } else { "entries of no store begin" };
        verdict.notices.push(format!("{DATABASE}: {unknown} {plural} with s/k:"));
    }
    Ok(names)
}

/// Does `each` for all stores, the largest first.
fn in_parallel<T: Send>(
    ctx: &Ctx<'_>,
    workers: usize,
    stores: &[Vec<u8>],
    each: impl Fn(&Vec<u8>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let mut order = Vec::with_capacity(stores.len());
    for (index, store) in stores.iter().enumerate() {
        let bytes = ctx.snapshot.approximate_bytes(&KeyRange::prefix(&store_prefix(store)))?;
        order.push((std::cmp::Reverse(bytes), index));
    }
    order.sort_unstable();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(stores.len()));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        while let Some((_, index)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            match each(&stores[*index]) {
                Ok(result) => lock(&results).push((*index, result)),
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    ctx.stop.store(true, Ordering::Relaxed);
                }
            }
            if ctx.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    // Who has nothing left to do here sorts for the others.
    let one = || {
        work();
        ctx.scratch.lend();
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(one);
        }
        one();
    });
    (0..workers).for_each(|_| ctx.scratch.take_back());
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a lock guards here is pushed to whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A finding, put together.
fn finding(
    check: &'static str,
    table: usize,
    key: &[u8],
    height: Option<u64>,
    what: impl Into<String>,
) -> Finding {
    Finding {
        check: check.to_owned(),
        database: DATABASE.to_owned(),
        table: Some(layout::table_name(table)),
        key: printable_key(key),
        perhaps: Vec::new(),
        height,
        what: what.into(),
    }
}

/// A store's name for people.
fn name(store: &[u8]) -> String {
    printable_key(store)
}
