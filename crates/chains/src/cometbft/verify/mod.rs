//! Recomputes what consensus signed, from the stored bytes, table by table.
//!
//! Heights are checked in parallel ranges by point reads, each worker holding one block and one
//! batch of signatures at a time; then each database is scanned once, so that records which no
//! check asked for are found too. What is wrong with the content is a finding, never an error:
//! an error means that the content could not be read.
//!
//! Invariant: a check that could not be made is counted as skipped, with the reason.

mod application;
mod block;
mod checks;
mod commits;
mod evidence;
mod genesis;
mod height;
mod index;
mod outcome;
mod results;
mod scan;
mod sets;
mod tip;

use super::database::{self, Reader};
use super::home::Release;
use super::layout::{BlockstoreLayout, EvidenceLayout, StateLayout, TxIndexLayout};
use super::layout::{blockstore as block_table, state as state_table};
use super::signature::Ed25519Rules;
use super::wire::block::{BlockMeta, BlockStoreState};
use super::wire::state::State;
use height::Heights;
use outcome::Outcome;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use transload_model::layout::Layout as _;
use transload_model::record::TableName;
use transload_model::report::{Finding, Trust, Verdict, printable_key};
use transload_store::{Error, HomeView, Kind, Result, VerifyOptions};

/// Heights that a worker takes at a time: enough that a batch of signatures spans many heights
/// and that finding the rotation of proposers at the first one (up to 100,000 steps) doesn't
/// weigh, few enough that all workers end together.
const HEIGHTS_PER_RANGE_MIN: u64 = 512;
const HEIGHTS_PER_RANGE_MAX: u64 = 65_536;
const RANGES_PER_WORKER: u64 = 16;

/// Missing heights after which the rest isn't looked at: a forged height of the store must not
/// keep a verifier busy for ever.
const HEIGHTS_MISSING_MAX: u64 = 1_000_000;

const OPERATION: &str = "verify a CometBFT home";

/// What all checks share.
pub(super) struct Ctx<'a> {
    view: HomeView<'a>,
    blocks: Reader<BlockstoreLayout>,
    state: Option<Reader<StateLayout>>,
    evidence: Option<Reader<EvidenceLayout>>,
    tx_index: Option<Reader<TxIndexLayout>>,
    first: u64,
    last: u64,
    /// First height whose header is kept: pruning leaves headers and commits as long as evidence
    /// may be brought against them (0.38 and later).
    first_header: u64,
    /// The chain's first height.
    initial: u64,
    chain_id: Vec<u8>,
    /// Height of the state after the last block applied.
    state_height: Option<u64>,
    rules: Ed25519Rules,
    /// Heights whose meta is missing, so far.
    missing: AtomicU64,
}

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

impl Ctx<'_> {
    fn is_hopeless(&self) -> bool {
        self.missing.load(Ordering::Relaxed) > HEIGHTS_MISSING_MAX
    }

    fn block_table(&self, table: usize) -> TableName {
        self.blocks.layout.tables()[table].name.clone()
    }

    fn block_key(&self, table: usize, height: u64) -> Vec<u8> {
        self.blocks.physical(table, &height.to_be_bytes()).unwrap_or_default()
    }
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
    let Some(ctx) = open(view, &mut verdict)? else {
        verdict.absorb(application::check(view, None, options, progress)?);
        return Ok(verdict);
    };
    let mut outcome = check_heights(&ctx, options.workers, progress)?;
    verdict.absorb(std::mem::replace(&mut outcome.verdict, Verdict::nothing()));
    tip::check(&ctx, &mut verdict)?;
    genesis::check(&ctx, &mut verdict)?;
    evidence::check_database(&ctx, &outcome, &mut verdict)?;
    scan::check(&ctx, &outcome, options.workers, &mut verdict)?;
    index::judge(&ctx, &outcome, &mut verdict);
    let total = ctx.last - ctx.first_header + 1;
    if !progress(total, total) {
        return Err(cancelled());
    }
    verdict.absorb(application::check(view, Some(&ctx), options, progress)?);
    check_signer(&ctx, &mut verdict);
    verdict.trust = trust(&ctx, options, &mut verdict)?;
    limits(&ctx, &outcome, &mut verdict);
    for (check, table) in checks::COVERS {
        if let Ok(table) = TableName::new(table) {
            verdict.cover(check, table);
        }
    }
    Ok(verdict)
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, OPERATION, "stopped as asked")
}

/// Opens what the home has; `None` when there is nothing that a certificate could cover.
fn open<'a>(view: HomeView<'a>, verdict: &mut Verdict) -> Result<Option<Ctx<'a>>> {
    let Some(blocks) = database::blockstore(view)? else {
        verdict.notices.push("the home has no block store: nothing can be authenticated".into());
        return Ok(None);
    };
    let state = database::state(view)?;
    let stored = state.as_ref().map(|s| s.snapshot.get(state_table::STATE_KEY)).transpose()?;
    let stored = stored.flatten();
    let decoded = match stored.as_deref().map(State::decode).transpose() {
        Ok(decoded) => decoded.unwrap_or_default(),
        Err(error) => {
            verdict.find(finding(
                checks::STATE,
                database::STATE,
                None,
                state_table::STATE_KEY,
                None,
                format!("the state isn't readable: {error}"),
            ));
            State::default()
        }
    };
    let stored_blocks = blocks.snapshot.get(block_table::STATE_KEY)?;
    let range = match stored_blocks.as_deref().map(BlockStoreState::decode).transpose() {
        Ok(Some(stored)) => {
            if stored.range().is_none() && stored != BlockStoreState::default() {
                verdict.find(finding(
                    checks::STORE_STATE,
                    database::BLOCKSTORE,
                    None,
                    block_table::STATE_KEY,
                    None,
                    format!("heights {} to {} are no range", stored.base, stored.height),
                ));
            }
            stored.range()
        }
        Ok(None) => None,
        Err(error) => {
            verdict.find(finding(
                checks::STORE_STATE,
                database::BLOCKSTORE,
                None,
                block_table::STATE_KEY,
                None,
                format!("the block store's state isn't readable: {error}"),
            ));
            None
        }
    };
    let Some((first, last)) = range else {
        verdict.notices.push("the block store holds no block: nothing can be authenticated".into());
        return Ok(None);
    };
    let mut chain_id = decoded.chain_id.to_vec();
    if chain_id.is_empty()
        && let Some(value) = blocks.at(block_table::META, last)?
        && let Ok(meta) = BlockMeta::decode(&value)
    {
        chain_id = meta.header.chain_id.to_vec();
    }
    let mut first_header = first;
    while first_header > 1 && blocks.at(block_table::META, first_header - 1)?.is_some() {
        first_header -= 1;
    }
    let release = Release::of_software(&view.home.software);
    let software = String::from_utf8_lossy(decoded.software).into_owned();
    let rules = match release.or_else(|| Release::of_version(&software)) {
        Some(release) if release.uses_zip215() => Ed25519Rules::Zip215,
        Some(_) => Ed25519Rules::Strict,
        None => {
            verdict.notices.push(
                "the node's release isn't known: Ed25519 signatures are judged by ZIP-215".into(),
            );
            Ed25519Rules::Zip215
        }
    };
    let reader = |name| view.databases.snapshot(name);
    let evidence = match reader(database::EVIDENCE) {
        Some(snapshot) => {
            let layout =
                EvidenceLayout::new(database::stored_form(&*snapshot, database::EVIDENCE)?);
            Some(Reader { snapshot, layout })
        }
        None => None,
    };
    let tx_index = reader(database::TX_INDEX)
        .map(|snapshot| Reader { snapshot, layout: TxIndexLayout::new() });
    Ok(Some(Ctx {
        view,
        blocks,
        state_height: u64::try_from(decoded.last_block_height).ok().filter(|_| stored.is_some()),
        initial: u64::try_from(decoded.initial_height).unwrap_or(1).max(1),
        chain_id,
        state,
        evidence,
        tx_index,
        first,
        last,
        first_header,
        rules,
        missing: AtomicU64::new(0),
    }))
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

/// A tip that was cut off passes every other check.
fn check_signer(ctx: &Ctx<'_>, verdict: &mut Verdict) {
    let Some(signer) = ctx.view.home.signer else {
        let why = match ctx.view.home.remote_signer {
            Some(_) => "the signer is remote: its height can't be compared with the tip",
            None => "the home has no signer's state: a cut-off tip would not be noticed",
        };
        verdict.count(checks::SIGNER, 0);
        verdict.limits.push(why.to_owned());
        return;
    };
    verdict.count(checks::SIGNER, 1);
    if signer.height > ctx.last + 1 {
        verdict.find(finding(
            checks::SIGNER,
            database::BLOCKSTORE,
            None,
            block_table::STATE_KEY,
            Some(ctx.last),
            format!(
                "the signer has signed at height {} and the tip is {}: blocks above the tip are \
                 missing",
                signer.height, ctx.last
            ),
        ));
    }
}

/// How far trust reaches; every word of it is earned by a check.
fn trust(ctx: &Ctx<'_>, options: &VerifyOptions, verdict: &mut Verdict) -> Result<Trust> {
    verdict.count(checks::ANCHOR, 0);
    if let Some((height, hash)) = options.trust.anchor {
        if height < ctx.first_header || height > ctx.last {
            let kept = (ctx.first_header, ctx.last);
            let why = format!("height {height} isn't kept: {} to {} are", kept.0, kept.1);
            verdict.skip(checks::ANCHOR, 1, why);
        } else {
            verdict.count(checks::ANCHOR, 1);
            let stored = ctx.blocks.at(block_table::META, height)?;
            let meta = stored.as_deref().map(BlockMeta::decode);
            if let Some(Ok(meta)) = meta
                && meta.header.hash() == hash
            {
                let hash = hex::encode(hash);
                return Ok(Trust::AnchoredByHash { height, hash });
            }
            verdict.find(finding(
                checks::ANCHOR,
                database::BLOCKSTORE,
                Some(ctx.block_table(block_table::META)),
                &ctx.block_key(block_table::META, height),
                Some(height),
                format!("the header here doesn't have the trusted hash {}", hex::encode(hash)),
            ));
        }
    }
    if ctx.first == ctx.initial && genesis::names_first_validators(ctx)? {
        return Ok(Trust::BySignaturesSince { height: ctx.initial });
    }
    Ok(Trust::SelfConsistent)
}

fn limits(ctx: &Ctx<'_>, outcome: &Outcome, verdict: &mut Verdict) {
    verdict.limits.extend(
        [
            "events, logs and other fields of results that no header commits to are compared, \
             not authenticated",
            "proposer priorities are covered by no hash; each proposer's turn is recomputed",
            "consensus parameters other than the largest block and its gas are compared, not \
             authenticated",
            "seen and extended commits verify, but which of the votes they hold is this node's own",
        ]
        .map(str::to_owned),
    );
    let covered = match ctx.state_height {
        Some(height) if height < ctx.last => "by the header above it",
        _ => "only by the next header, which isn't made yet",
    };
    verdict.limits.push(format!(
        "the application's hash and the results after the last block applied are certified \
         {covered}"
    ));
    if ctx.first > ctx.initial {
        verdict.limits.push(format!(
            "blocks below {} are pruned; headers and commits are kept from {}: nothing below was \
             looked at",
            ctx.first, ctx.first_header
        ));
    }
    if outcome.results_missing > 0 {
        verdict.limits.push(format!(
            "the results of {} heights aren't kept (discard_abci_responses, or pruned)",
            outcome.results_missing
        ));
    }
    if outcome.attacks > 0 {
        verdict.limits.push(format!(
            "{} light client attacks in blocks: their bytes are authenticated, their signatures \
             weren't verified",
            outcome.attacks
        ));
    }
}
