//! Recomputes what consensus signed, from the stored bytes, table by table.
//!
//! Heights are checked in parallel ranges, each worker holding one block, one batch of signatures
//! and a few MiB of the records that come next at a time; then each database is scanned once, so
//! that records which no check asked for are found too. What is wrong with the content is a
//! finding, never an error: an error means that the content could not be read.
//!
//! Invariant: a check that could not be made is counted as skipped, with the reason.

mod ahead;
mod application;
mod block;
mod checks;
mod commits;
mod context;
mod evidence;
mod foresight;
pub(super) mod genesis;
mod height;
mod index;
mod judges;
mod outcome;
mod results;
mod scan;
mod sets;
mod shares;
mod tip;
mod trust;

use super::database;
use crate::iavl;
use context::{Ctx, HEIGHTS_MISSING_MAX};
use height::Heights;
use outcome::Outcome;
use shares::Shares;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use transload_model::record::TableName;
use transload_model::report::{Finding, Verdict, printable_key};
use transload_store::{Error, HomeView, Kind, Result, VerifyOptions};

/// Heights that a worker takes at a time: enough that a batch of signatures spans many heights
/// and that finding the rotation of proposers at the first one (up to 100,000 steps) doesn't
/// weigh, few enough that all workers end together.
const HEIGHTS_PER_RANGE_MIN: u64 = 512;
const HEIGHTS_PER_RANGE_MAX: u64 = 65_536;
const RANGES_PER_WORKER: u64 = 16;

const OPERATION: &str = "verify a CometBFT home";

/// A signature that waits in a batch, named.
pub(super) enum Signed {
    /// Of a commit in the block store.
    Commit { table: usize, check: &'static str, height: u64, index: usize, extension: bool },
    /// Of a vote in evidence.
    Evidence { place: Box<EvidencePlace>, vote: char },
}

/// Where evidence stands.
#[derive(Clone)]
pub(super) struct EvidencePlace {
    database: &'static str,
    table: TableName,
    key: Vec<u8>,
    height: u64,
}

/// A finding, put together.
pub(super) fn finding(
    check: &'static str,
    database: &str,
    table: Option<TableName>,
    key: &[u8],
    height: Option<u64>,
    what: impl Into<String>,
) -> Finding {
    Finding {
        check: check.to_owned(),
        database: database.to_owned(),
        table,
        key: printable_key(key),
        perhaps: Vec::new(),
        height,
        what: what.into(),
    }
}

/// Verifies a home.
///
/// # Errors
/// Those of reading; [`Kind::Cancelled`] when `progress` says so.
pub(super) fn verify(
    view: HomeView<'_>,
    options: &VerifyOptions,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Verdict> {
    let mut verdict = Verdict::nothing();
    for check in checks::ALL {
        verdict.count(check, 0);
    }
    skip_what_is_absent(view, &mut verdict);
    let Some(ctx) = context::open(view, &mut verdict)? else {
        verdict.absorb(application::check_state(view, None, options, progress)?);
        let silent = |_, _| progress(1, 1);
        verdict.absorb(application::check_snapshots(view, None, options, &silent)?);
        return Ok(verdict);
    };
    let shares = Shares::of(view, &ctx)?;
    let heights = |done, of| shares.tell(progress, shares.heights(done, of));
    let mut outcome = check_heights(&ctx, options.workers, &heights)?;
    verdict.absorb(std::mem::replace(&mut outcome.verdict, Verdict::nothing()));
    tip::check(&ctx, &mut verdict)?;
    evidence::check_database(&ctx, &outcome, &mut verdict)?;
    let scanned = AtomicU64::new(0);
    let advance = |bytes| {
        let done = scanned.fetch_add(bytes, Ordering::Relaxed) + bytes;
        shares.tell(progress, shares.scanned(done))
    };
    scan::check(&ctx, &outcome, options.workers, &advance, &mut verdict)?;
    index::judge(&ctx, &outcome, &mut verdict);
    let state = |done, of| shares.tell(progress, shares.state(done, of));
    verdict.absorb(application::check_state(view, Some(&ctx), options, &state)?);
    let snapshots = |done, of| shares.tell(progress, shares.snapshots(done, of));
    verdict.absorb(application::check_snapshots(view, Some(&ctx), options, &snapshots)?);
    trust::check_signer(&ctx, &mut verdict);
    verdict.trust = trust::trust(&ctx, options, &mut verdict)?;
    trust::limits(&ctx, &outcome, &mut verdict);
    for (check, table) in checks::COVERS {
        if let Ok(table) = TableName::new(table) {
            verdict.cover(check, table);
        }
    }
    if !progress(shares.total(), shares.total()) {
        return Err(cancelled());
    }
    Ok(verdict)
}

/// A database that should be there and isn't is a check that was not made.
fn skip_what_is_absent(view: HomeView<'_>, verdict: &mut Verdict) {
    for name in &view.home.absent {
        let check = match name.as_str() {
            database::BLOCKSTORE => checks::HEADER_HASH,
            database::EVIDENCE => checks::EVIDENCE_MARKER,
            database::TX_INDEX => checks::TX_RESULT,
            database::APPLICATION => iavl::STORES_CHECK,
            _ => checks::STATE,
        };
        verdict.skip(check, 1, format!("the home has no {name}"));
    }
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, OPERATION, "stopped as asked")
}

/// Checks all heights, in ranges that workers take one after another.
fn check_heights(
    ctx: &Ctx<'_>,
    workers: usize,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Outcome> {
    let total = ctx.last - ctx.first_header + 1;
    let workers = u64::try_from(workers.max(1)).unwrap_or(1);
    let heights_per_range = (total / (workers.saturating_mul(RANGES_PER_WORKER)))
        .clamp(HEIGHTS_PER_RANGE_MIN, HEIGHTS_PER_RANGE_MAX);
    let ranges = total.div_ceil(heights_per_range);
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let outcomes: Mutex<Vec<(u64, Outcome)>> = Mutex::new(Vec::new());
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let fail = |error| {
        stop.store(true, Ordering::Relaxed);
        lock(&failure).get_or_insert(error);
    };
    let work = || {
        while !stop.load(Ordering::Relaxed) && !ctx.is_hopeless() {
            let range = next.fetch_add(1, Ordering::Relaxed);
            if range >= ranges {
                break;
            }
            let low = ctx.first_header + range * heights_per_range;
            let high = ctx.last.min(low + (heights_per_range - 1));
            let each = || {
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                !stop.load(Ordering::Relaxed) && progress(done, total)
            };
            match Heights::new(ctx).run(low, high, &each) {
                Ok(Some(outcome)) => lock(&outcomes).push((low, outcome)),
                Ok(None) => fail(cancelled()),
                Err(error) => fail(error),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.min(ranges) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut outcomes = std::mem::take(&mut *lock(&outcomes));
    outcomes.sort_by_key(|(low, _)| *low);
    let mut whole = Outcome::new();
    for (_, outcome) in outcomes {
        whole.follow(outcome);
    }
    if ctx.is_hopeless() {
        let left = total.saturating_sub(done.load(Ordering::Relaxed));
        let why = format!("more than {HEIGHTS_MISSING_MAX} heights are missing");
        whole.verdict.skip(checks::STORE_STATE, left, why);
    }
    Ok(whole)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a lock guards here is pushed to whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
