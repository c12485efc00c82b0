//! What all checks share: the home's databases, its heights, the rules of its release.

use super::ahead::Ahead;
use super::foresight::HEIGHTS_AHEAD;
use super::genesis::Genesis;
use super::{checks, finding};
use crate::cometbft::database::{self, Reader};
use crate::cometbft::home::Release;
use crate::cometbft::layout::{
    BlockstoreLayout, EvidenceLayout, StateLayout, TxIndexLayout, VERSION_KEY,
    blockstore as block_table, state as state_table,
};
use crate::cometbft::signature::Ed25519Rules;
use crate::cometbft::wire::block::{BlockMeta, BlockStoreState};
use crate::cometbft::wire::results::{LastResults, Results};
use crate::cometbft::wire::shapes;
use crate::cometbft::wire::state::State;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_model::layout::{Layout as _, Placement};
use transload_model::record::TableName;
use transload_model::report::{Finding, Verdict};
use transload_store::{HomeView, KeyRange, Result, Walk};

/// Missing heights after which the rest isn't looked at: a forged height of the store must not
/// keep a verifier busy for ever.
pub(super) const HEIGHTS_MISSING_MAX: u64 = 1_000_000;

/// What all checks share.
pub(super) struct Ctx<'a> {
    pub(super) view: HomeView<'a>,
    pub(super) blocks: Reader<BlockstoreLayout>,
    pub(super) state: Option<Reader<StateLayout>>,
    pub(super) evidence: Option<Reader<EvidenceLayout>>,
    pub(super) tx_index: Option<Reader<TxIndexLayout>>,
    pub(super) first: u64,
    pub(super) last: u64,
    /// First height whose header is kept: pruning leaves headers and commits as long as evidence
    /// may be brought against them (0.38 and later).
    pub(super) first_header: u64,
    /// The chain's first height.
    pub(super) initial: u64,
    pub(super) chain_id: Vec<u8>,
    pub(super) genesis: Genesis,
    /// Height of the state after the last block applied.
    pub(super) state_height: Option<u64>,
    pub(super) rules: Ed25519Rules,
    /// Heights whose meta is missing, so far.
    pub(super) missing: AtomicU64,
}

impl Ctx<'_> {
    pub(super) fn is_hopeless(&self) -> bool {
        self.missing.load(Ordering::Relaxed) > HEIGHTS_MISSING_MAX
    }

    pub(super) fn block_table(&self, table: usize) -> TableName {
        self.blocks.layout.tables()[table].name.clone()
    }

    pub(super) fn block_key(&self, table: usize, height: u64) -> Vec<u8> {
        self.blocks.physical(table, &height.to_be_bytes()).unwrap_or_default()
    }
}

/// Opens what the home has; `None` when there is nothing that a certificate could cover.
pub(super) fn open<'a>(view: HomeView<'a>, verdict: &mut Verdict) -> Result<Option<Ctx<'a>>> {
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
    if let Some(Err(deviation)) =
        stored_blocks.as_deref().map(|it| shapes::BLOCK_STORE_STATE.check(it))
    {
        verdict.find(store_finding(&blocks, checks::CANONICAL, deviation.to_string()));
    }
    let range = match stored_blocks.as_deref().map(BlockStoreState::decode).transpose() {
        Ok(Some(stored)) => {
            if stored.range().is_none() && stored != BlockStoreState::default() {
                let what = format!("heights {} to {} are no range", stored.base, stored.height);
                verdict.find(store_finding(&blocks, checks::STORE_STATE, what));
            }
            stored.range()
        }
        Ok(None) => None,
        Err(error) => {
            let what = format!("the block store's state isn't readable: {error}");
            verdict.find(store_finding(&blocks, checks::STORE_STATE, what));
            None
        }
    };
    let Some((first, last)) = range else {
        if holds_a_block(&blocks)? {
            let what = "the store says that it holds no block, and there is one".to_owned();
            verdict.find(store_finding(&blocks, checks::STORE_STATE, what));
        }
        verdict.notices.push("the block store holds no block: nothing can be authenticated".into());
        return Ok(None);
    };
    // A whole tip's header decides, so that a forged state is named, and not every block.
    let mut chain_id = decoded.chain_id.to_vec();
    if let Some(value) = blocks.at(block_table::META, last)?
        && let Ok(meta) = BlockMeta::decode(&value)
        && (chain_id.is_empty() || meta.block_id.hash == meta.header.hash())
    {
        chain_id = meta.header.chain_id.to_vec();
    }
    let first_header = first_header(&blocks, first)?;
    let height = u64::try_from(decoded.last_block_height).unwrap_or(0);
    let stored_release = state.as_ref().map(|s| release_that_wrote(s, height)).transpose()?;
    let rules = ed25519_rules(view, stored_release.flatten(), decoded.software, verdict);
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
        genesis: Genesis::check(view, state.as_ref(), verdict)?,
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

/// The lowest height from which headers are kept without a gap up to the first block.
fn first_header(blocks: &Reader<BlockstoreLayout>, first: u64) -> Result<u64> {
    let mut headers = Ahead::new(blocks);
    let (mut lowest, mut heights) = (first, 1);
    while lowest > 1 {
        let below = lowest.saturating_sub(heights).max(1)..lowest;
        below.clone().rev().for_each(|height| headers.expect_at(block_table::META, height));
        for height in below.rev() {
            if headers.at(block_table::META, height)?.is_none() {
                return Ok(lowest);
            }
            lowest = height;
        }
        // Most homes keep none, so the first look is at one.
        heights = HEIGHTS_AHEAD;
    }
    Ok(lowest)
}

/// A finding about the block store's own state.
fn store_finding(blocks: &Reader<BlockstoreLayout>, check: &'static str, what: String) -> Finding {
    let name = blocks.layout.tables()[block_table::STATE].name.clone();
    finding(check, database::BLOCKSTORE, Some(name), block_table::STATE_KEY, None, what)
}

/// Whether there is a header, whatever the store says of itself.
fn holds_a_block(blocks: &Reader<BlockstoreLayout>) -> Result<bool> {
    let mut scan = Walk::new(&*blocks.snapshot, &KeyRange::all())?;
    let mut canonical = Vec::new();
    while let Some((key, value)) = scan.next()? {
        let placed = blocks.layout.place(key, value, &mut canonical);
        if matches!(placed, Placement::Record { table: block_table::META, .. }) {
            return Ok(true);
        }
    }
    scan.end()?;
    Ok(false)
}

/// The oldest release that can have written the state: config files outlive upgrades, stored
/// forms don't. `None` when nothing tells.
fn release_that_wrote(state: &Reader<StateLayout>, height: u64) -> Result<Option<Release>> {
    if state.snapshot.get(VERSION_KEY)?.is_some() {
        return Ok(Some(Release::V1));
    }
    let last = state.snapshot.get(state_table::LAST_RESULTS_KEY)?;
    let last = last.as_deref().and_then(|value| LastResults::decode(value).ok());
    let results = state.at(state_table::RESULTS, height)?;
    let results = results.as_deref().and_then(|value| Results::decode_finalize(value).ok());
    let in_new_form = last.is_some_and(|last| last.finalize)
        || results.is_some_and(|results| results.app_hash.is_some());
    Ok(in_new_form.then_some(Release::V038))
}

fn ed25519_rules(
    view: HomeView<'_>,
    stored: Option<Release>,
    software: &[u8],
    verdict: &mut Verdict,
) -> Ed25519Rules {
    let configured = Release::of_software(&view.home.software);
    let named = || Release::of_version(&String::from_utf8_lossy(software));
    match stored.max(configured).or_else(named) {
        Some(release) if release.uses_zip215() => {
            if configured.is_some_and(|configured| !configured.uses_zip215()) {
                verdict.notices.push(format!(
                    "the config reads like {}, but a newer release wrote the state: Ed25519 \
                     signatures are judged by its rules",
                    view.home.software
                ));
            }
            Ed25519Rules::Zip215
        }
        Some(_) => Ed25519Rules::Strict,
        None => {
            verdict.notices.push(
                "the node's release isn't known: Ed25519 signatures are judged by ZIP-215".into(),
            );
            Ed25519Rules::Zip215
        }
    }
}
