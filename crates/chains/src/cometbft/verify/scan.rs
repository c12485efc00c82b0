//! One scan of each database, so that records which no check asked for are found.
//!
//! Point reads by height can't see what stands beside: a block above the tip, a part too many, a
//! hash that no block has. Counting does: what a check verified is a part of the table, and when
//! both counts agree it is all of it. Only when they differ is a table read again, each record
//! beside the block that it belongs to, to name what is too much.

use super::outcome::Outcome;
use super::{Ctx, checks, finding};
use crate::cometbft::database::{self, Reader};
use crate::cometbft::layout::{
    blockstore as block_table, state as state_table, tx_index as index_table,
};
use crate::cometbft::wire::block::{Block, BlockMeta, Part};
use crate::cometbft::wire::results::TxResult;
use crate::course::Course;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use transload_codec::decimal;
use transload_codec::key::Fields;
use transload_model::layout::{Layout, Placement};
use transload_model::merkle::{leaf_hash, root_of, sha256};
use transload_model::report::Verdict;
use transload_store::{Error, KeyRange, Result, Walk};

/// Bytes that one worker scans at a time.
const CHUNK_BYTES: u64 = 64 << 20;

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Told of the bytes, as the engine counts them, that were read since the last time; whether to
/// go on.
pub(super) type Advance<'a> = &'a (dyn Fn(u64) -> bool + Sync);

pub(super) fn check(
    ctx: &Ctx<'_>,
    outcome: &Outcome,
    workers: usize,
    advance: Advance<'_>,
    verdict: &mut Verdict,
) -> Result<()> {
    let workers = Workers { count: workers, advance };
    let mut blocks = scan_all(&ctx.blocks, workers, &|found| block_record(ctx, found, &any_part))?;
    if blocks.count(block_table::PART) != outcome.parts {
        blocks = scan_all(&ctx.blocks, workers, &|found| block_record(ctx, found, &part_of_block))?;
    }
    let hashes = blocks.count(block_table::HASH_INDEX);
    if blocks.outside > 0 {
        verdict.limits.push(format!(
            "{} records of blockstore.db below its first block {}: left by pruning, or the seen \
             commit of a restored snapshot",
            blocks.outside, ctx.first
        ));
    }
    verdict.absorb(blocks.verdict);
    if hashes != outcome.hashes_indexed {
        verdict.absorb(scan_all(&ctx.blocks, workers, &|found| extra_hash(ctx, found))?.verdict);
    }
    if let Some(state) = &ctx.state {
        let scanned = scan_all(state, workers, &|found| state_record(ctx, found))?;
        let below = scanned.outside;
        verdict.absorb(scanned.verdict);
        if below > 0 {
            verdict.limits.push(format!(
                "{below} records of state.db below height {} are kept for lookups: no header kept \
                 covers them",
                ctx.first
            ));
        }
    }
    let Some(index) = &ctx.tx_index else { return Ok(()) };
    let scanned = scan_all(index, workers, &|found| index_record(ctx, found))?;
    let outside = scanned.outside;
    let (results, heights, entries) = (
        scanned.count(index_table::RESULT),
        scanned.count(index_table::HEIGHT),
        scanned.count(index_table::BLOCK),
    );
    verdict.absorb(scanned.verdict);
    if outside > 0 {
        verdict
            .limits
            .push(format!("{outside} entries of tx_index.db are of blocks that aren't kept"));
    }
    let verified = (outcome.indexed_results, outcome.indexed_heights, outcome.indexed_blocks);
    if (results, heights, entries) != verified {
        verdict.absorb(scan_all(index, workers, &|found| extra_entry(ctx, found))?.verdict);
    }
    Ok(())
}

/// A record as a scan finds it.
struct Found<'f> {
    table: usize,
    key: &'f [u8],
    canonical: &'f [u8],
    value: &'f [u8],
}

impl Found<'_> {
    fn height(&self) -> Option<u64> {
        Fields::new(self.canonical).u64().ok()
    }
}

/// What to do with a record.
enum Judged {
    /// It is where a record may be; counted.
    Fits,
    /// It is of heights that aren't kept, where nothing certifies it; counted apart.
    Outside,
    /// It stands where the chain has none.
    Wrong(&'static str, Option<u64>, String),
}

struct Scanned {
    verdict: Verdict,
    tables: Vec<u64>,
    outside: u64,
}

impl Scanned {
    fn count(&self, table: usize) -> u64 {
        self.tables.get(table).copied().unwrap_or(0)
    }
}

fn extra(height: Option<u64>, what: &str) -> Judged {
    Judged::Wrong(checks::EXTRA, height, what.to_owned())
}

/// Judges a part of a block that is kept, by its height and index.
type JudgePart = dyn Fn(&Ctx<'_>, u64, u32) -> Result<Judged> + Sync;

fn block_record(ctx: &Ctx<'_>, found: &Found<'_>, part: &JudgePart) -> Result<Judged> {
    // Below the first block a killed pruning leaves records; a node never reads them.
    let within = |height: Option<u64>, lowest: u64, what: &str| match height {
        Some(height) if height < lowest => Judged::Outside,
        Some(height) if height <= ctx.last => Judged::Fits,
        height => extra(height, what),
    };
    let height = found.height();
    Ok(match found.table {
        block_table::META => within(height, ctx.first_header, "a block meta stands above the tip"),
        block_table::PART => part_record(ctx, found, part)?,
        block_table::COMMIT => {
            within(height, ctx.first_header.saturating_sub(1), "a commit stands above the tip")
        }
        block_table::EXTENDED_COMMIT => {
            within(height, ctx.first_header, "an extended commit stands above the tip")
        }
        block_table::SEEN_COMMIT => within(height, ctx.first, "a seen commit stands above the tip"),
        block_table::HASH_INDEX => match decimal::parse(found.value) {
            Ok(height) if height < ctx.first => Judged::Outside,
            _ => Judged::Fits,
        },
        block_table::STATE => Judged::Fits,
        _ => extra(None, "no known release writes such an entry"),
    })
}

fn part_record(ctx: &Ctx<'_>, found: &Found<'_>, part: &JudgePart) -> Result<Judged> {
    let mut fields = Fields::new(found.canonical);
    let (Ok(height), Ok(index)) = (fields.u64(), fields.u32()) else {
        return Ok(extra(None, "the key of a part isn't one"));
    };
    if height < ctx.first {
        return Ok(Judged::Outside);
    }
    if height > ctx.last {
        return Ok(extra(Some(height), "a part stands above the tip"));
    }
    part(ctx, height, index)
}

/// The count tells whether a block has one too many.
fn any_part(_: &Ctx<'_>, _: u64, _: u32) -> Result<Judged> {
    Ok(Judged::Fits)
}

fn part_of_block(ctx: &Ctx<'_>, height: u64, index: u32) -> Result<Judged> {
    if index == 0 {
        return Ok(Judged::Fits);
    }
    let meta = ctx.blocks.at(block_table::META, height)?;
    let total = meta.as_deref().and_then(|meta| BlockMeta::decode(meta).ok());
    match total {
        Some(meta) if index >= meta.block_id.parts.total => {
            Ok(extra(Some(height), "the block has fewer parts than this one's index"))
        }
        _ => Ok(Judged::Fits),
    }
}

/// Names the entries of the hash index that no block has.
fn extra_hash(ctx: &Ctx<'_>, found: &Found<'_>) -> Result<Judged> {
    if found.table != block_table::HASH_INDEX {
        return Ok(Judged::Fits);
    }
    let height = decimal::parse(found.value).ok();
    if height.is_some_and(|height| height < ctx.first) {
        return Ok(Judged::Outside);
    }
    if let Some(height) = height {
        let kept = height <= ctx.last;
        let meta = ctx.blocks.at(block_table::META, height)?;
        let meta = meta.as_deref().and_then(|meta| BlockMeta::decode(meta).ok());
        let fits = match meta {
            Some(meta) if meta.block_id.hash == found.canonical => true,
            // A meta that isn't there or is wrong was named, and says nothing of this entry.
            Some(meta) if kept => {
                let commit = ctx.blocks.at(block_table::COMMIT, height)?;
                !ctx.may_judge(height, &meta, commit.as_deref())?
            }
            _ => kept,
        };
        if fits {
            return Ok(Judged::Fits);
        }
    }
    let what = "no block kept has this hash".to_owned();
    Ok(Judged::Wrong(checks::HASH_INDEX, height, what))
}

fn state_record(ctx: &Ctx<'_>, found: &Found<'_>) -> Result<Judged> {
    let applied = ctx.state_height.unwrap_or(ctx.last);
    let (above, what) = match found.table {
        state_table::VALIDATORS => (2, "a validator set stands above the height after next"),
        state_table::PARAMS => (1, "parameters stand above the next height"),
        state_table::RESULTS => (0, "results stand above the last block"),
        state_table::UNKNOWN => return Ok(extra(None, "no known release writes such an entry")),
        _ => return Ok(Judged::Fits),
    };
    // A node that was killed while it applied a block, or rolled back by one, has one more.
    let highest = applied + above + 1;
    Ok(match found.height() {
        Some(height) if height > highest => extra(Some(height), what),
        Some(height) if height < ctx.first => Judged::Outside,
        Some(_) => Judged::Fits,
        None => extra(None, "the key isn't a height"),
    })
}

fn index_record(ctx: &Ctx<'_>, found: &Found<'_>) -> Result<Judged> {
    let height = match found.table {
        index_table::RESULT => match TxResult::decode(found.value) {
            Ok(indexed) if sha256(indexed.tx) == found.canonical => {
                u64::try_from(indexed.height).ok()
            }
            _ => {
                let what = "the entry's transaction doesn't have the hash in its key".to_owned();
                return Ok(Judged::Wrong(checks::TX_RESULT, None, what));
            }
        },
        index_table::HEIGHT | index_table::BLOCK => found.height(),
        index_table::UNKNOWN => return Ok(extra(None, "no known release writes such an entry")),
        _ => return Ok(Judged::Fits),
    };
    Ok(match height {
        Some(height) if height < ctx.first => Judged::Outside,
        Some(height) if height <= ctx.last => Judged::Fits,
        // A node that is rolled back with its block leaves the block's entries.
        Some(height) if height == ctx.last + 1 => Judged::Outside,
        _ => extra(height, "the entry is of a height above the last block"),
    })
}

/// Names the entries of the transaction index that no block has.
fn extra_entry(ctx: &Ctx<'_>, found: &Found<'_>) -> Result<Judged> {
    let (check, height, place, hash) = match found.table {
        index_table::RESULT => match TxResult::decode(found.value) {
            Ok(indexed) => {
                let height = u64::try_from(indexed.height).ok();
                (checks::TX_RESULT, height, indexed.index, found.canonical)
            }
            // Named by the scan before this one.
            Err(_) => return Ok(Judged::Fits),
        },
        index_table::HEIGHT => {
            let mut fields = Fields::new(found.canonical);
            let (Ok(height), Ok(place)) = (fields.u64(), fields.u32()) else {
                return Ok(Judged::Fits);
            };
            if fields.u64().is_ok_and(|sequence| sequence > 0) {
                let what = "the key counts several entries of one transaction".to_owned();
                return Ok(Judged::Wrong(checks::TX_HEIGHT, Some(height), what));
            }
            (checks::TX_HEIGHT, Some(height), place, found.value)
        }
        _ => return Ok(Judged::Fits),
    };
    let Some(height) = height.filter(|height| (ctx.first..=ctx.last).contains(height)) else {
        return Ok(Judged::Fits);
    };
    // A block that isn't whole was named, and says nothing of this entry.
    let Some(bytes) = whole_block(ctx, height)? else { return Ok(Judged::Fits) };
    let has = Block::decode(&bytes)
        .ok()
        .and_then(|block| block.txs.get(place as usize).map(|tx| sha256(tx)))
        .is_some_and(|in_block| in_block == hash);
    if has {
        return Ok(Judged::Fits);
    }
    let what = format!("block {height} has no such transaction at index {place}");
    Ok(Judged::Wrong(check, Some(height), what))
}

/// A block's bytes, where its parts have the root in its meta.
fn whole_block(ctx: &Ctx<'_>, height: u64) -> Result<Option<Vec<u8>>> {
    let Some(stored) = ctx.whole_meta(height)? else { return Ok(None) };
    let Ok(meta) = BlockMeta::decode(&stored) else { return Ok(None) };
    let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
    for index in 0..meta.block_id.parts.total.min(super::block::PARTS_MAX) {
        let canonical = block_table::part_key(height, index);
        let Some(value) = ctx.blocks.get(block_table::PART, &canonical)? else { return Ok(None) };
        let Ok(part) = Part::decode(&value) else { return Ok(None) };
        leaves.push(leaf_hash(part.bytes));
        bytes.extend_from_slice(part.bytes);
    }
    Ok((root_of(leaves) == meta.block_id.parts.hash).then_some(bytes))
}

/// Who scans, and who is told of it.
#[derive(Clone, Copy)]
struct Workers<'a> {
    count: usize,
    advance: Advance<'a>,
}

/// Scans a database in ranges that workers take one after another.
fn scan_all<L: Layout>(
    reader: &Reader<L>,
    workers: Workers<'_>,
    judge: &(dyn Fn(&Found<'_>) -> Result<Judged> + Sync),
) -> Result<Scanned> {
    let points = reader.snapshot.split_points(&KeyRange::all(), CHUNK_BYTES)?;
    let ranges = KeyRange::all().split_at(&points);
    let share = reader.snapshot.approximate_bytes(&KeyRange::all())? / ranges.len().max(1) as u64;
    let next = AtomicUsize::new(0);
    let whole = Mutex::new(Scanned {
        verdict: Verdict::nothing(),
        tables: vec![0; reader.layout.tables().len()],
        outside: 0,
    });
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            match scan_range(reader, range, Course::new(Vec::new(), share), workers.advance, judge)
            {
                Ok(scanned) => {
                    let mut whole = super::lock(&whole);
                    whole.verdict.absorb(scanned.verdict);
                    whole.outside += scanned.outside;
                    for (mine, theirs) in whole.tables.iter_mut().zip(scanned.tables) {
                        *mine += theirs;
                    }
                }
                Err(error) => {
                    super::lock(&failure).get_or_insert(error);
                    next.store(ranges.len(), Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.count.max(1).min(ranges.len()) {
            scope.spawn(work);
        }
        work();
    });
    match super::lock(&failure).take() {
        Some(error) => Err(error),
        None => Ok(whole.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)),
    }
}

fn scan_range<L: Layout>(
    reader: &Reader<L>,
    range: &KeyRange,
    mut course: Course,
    advance: Advance<'_>,
    judge: &(dyn Fn(&Found<'_>) -> Result<Judged> + Sync),
) -> Result<Scanned> {
    let tables = reader.layout.tables();
    let mut scanned =
        Scanned { verdict: Verdict::nothing(), tables: vec![0; tables.len()], outside: 0 };
    let mut canonical = Vec::new();
    let mut scan = Walk::new(&*reader.snapshot, range)?;
    let mut untold = 0;
    while let Some((key, value)) = scan.next()? {
        untold += (key.len() + value.len()) as u64;
        if untold >= PROGRESS_BYTES && !advance(course.at(key, std::mem::take(&mut untold))) {
            return Err(super::cancelled());
        }
        let Placement::Record { table, .. } = reader.layout.place(key, value, &mut canonical)
        else {
            continue;
        };
        let found = Found { table, key, canonical: &canonical, value };
        match judge(&found)? {
            Judged::Fits => scanned.tables[table] += 1,
            Judged::Outside => scanned.outside += 1,
            Judged::Wrong(check, height, what) => {
                let name = tables[table].name.clone();
                let database = database_of(name.as_str());
                scanned.verdict.find(finding(check, database, Some(name), found.key, height, what));
            }
        }
        scanned.verdict.count(checks::EXTRA, 1);
    }
    scan.end()?;
    if advance(course.rest()) { Ok(scanned) } else { Err(super::cancelled()) }
}

fn database_of(table: &str) -> &'static str {
    match table.split('/').next() {
        Some("blockstore") => database::BLOCKSTORE,
        Some("state") => database::STATE,
        _ => database::TX_INDEX,
    }
}
