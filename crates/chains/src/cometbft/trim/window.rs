//! Who still needs which heights: evidence, the application, the node's own state, those that
//! join from a state-sync snapshot, a data companion, and whoever gave a header to trust.

use super::{OPERATION, height_in, malformed};
use crate::cometbft::database::{self, APPLICATION, EVIDENCE, Reader};
use crate::cometbft::home::{has_data_companion, snapshots_folder};
use crate::cometbft::layout::{
    BlockstoreLayout, EvidenceLayout, blockstore as blockstore_table, evidence as evidence_table,
    state as state_table,
};
use crate::cometbft::wire::block::BlockMeta;
use crate::cometbft::wire::seconds_and_nanos;
use crate::cometbft::wire::state::{EvidenceWindow, State};
use crate::{iavl, snapshots};
use transload_codec::Malformed;
use transload_model::layout::{Layout as _, Placement};
use transload_store::{AppState, Error, HomeView, KeyRange, Kind, Result, TrimWish, Walk};

/// The key under which the node's own example application keeps its height.
const KVSTORE_STATE_KEY: &[u8] = b"stateKey";

/// A height that must stay, and why.
pub(super) struct Need {
    pub(super) height: u64,
    pub(super) why: String,
}

/// Everything that somebody needs of a home that keeps these heights.
///
/// # Errors
/// [`Kind::Unsupported`] when nothing tells what the application needs; those of reading.
pub(super) fn needs(
    view: HomeView<'_>,
    blockstore: &Reader<BlockstoreLayout>,
    kept: (u64, u64),
    wish: &TrimWish,
) -> Result<Vec<Need>> {
    let mut needs = vec![of_application(view, kept)?];
    if let Some(state) = database::state(view)?
        && let Some(value) = state.snapshot.get(state_table::STATE_KEY)?
    {
        let wrong = |error| malformed(state_table::STATE_KEY, error);
        let state = State::decode(&value).map_err(wrong)?;
        if let Ok(height) = u64::try_from(state.last_block_height) {
            needs.push(Need { height, why: "the node's state is of that height".to_owned() });
        }
        needs.extend(of_evidence(blockstore, kept, &state, &wrong)?);
    }
    needs.extend(of_pending_evidence(view)?);
    if has_data_companion(view.home)? {
        let why = "a data companion may not have fetched it yet ([storage.pruning.data_companion] \
                   in config.toml)";
        needs.push(Need { height: kept.0, why: why.to_owned() });
    }
    if let Some(metadata) = view.databases.snapshot(database::SNAPSHOTS)
        && let Some(folder) = snapshots_folder(view.home)
    {
        needs.extend(snapshots::listed(&*metadata, folder)?.into_iter().map(|snapshot| Need {
            height: snapshot.height,
            why: format!(
                "who joins from the state-sync snapshot of height {} asks for its header and the \
                 two after it",
                snapshot.height
            ),
        }));
    }
    needs.extend(wish.trust_height.map(|height| Need {
        height,
        why: "its header is the one that you trust (--trust-height)".to_owned(),
    }));
    Ok(needs)
}

/// The lowest height about which the node still accepts evidence
/// (`IsEvidenceExpired`: older than both limits).
fn of_evidence(
    blockstore: &Reader<BlockstoreLayout>,
    (first, last): (u64, u64),
    state: &State<'_>,
    wrong: &dyn Fn(Malformed) -> Error,
) -> Result<Option<Need>> {
    let window = EvidenceWindow::decode(state.params).map_err(wrong)?;
    let now = nanos(state.last_block_time).map_err(wrong)?;
    let height_now = i128::from(state.last_block_height);
    let is_expired = |height: u64| -> Result<bool> {
        if height_now - i128::from(height) <= i128::from(window.blocks_max) {
            return Ok(false);
        }
        let key = blockstore.physical(blockstore_table::META, &height.to_be_bytes());
        let key = key.unwrap_or_default();
        let value = blockstore.at(blockstore_table::META, height)?.ok_or_else(|| {
            Error::new(Kind::Corrupt, OPERATION, format!("the meta of block {height} is missing"))
        })?;
        let meta = BlockMeta::decode(&value).map_err(|error| malformed(&key, error))?;
        let time = nanos(meta.header.time).map_err(|error| malformed(&key, error))?;
        Ok(now - time > window.nanos_max)
    };
    // Times and heights ascend, so the first one that counts is found by halving.
    let (mut low, mut high) = (first, last.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if is_expired(middle)? { low = middle + 1 } else { high = middle }
    }
    let why = format!(
        "evidence about it is still accepted (max_age_num_blocks {}, max_age_duration {} s)",
        window.blocks_max,
        window.nanos_max / 1_000_000_000
    );
    Ok((low <= last).then_some(Need { height: low, why }))
}

fn nanos(time: &[u8]) -> std::result::Result<i128, Malformed> {
    let (seconds, nanos) = seconds_and_nanos(time)?;
    Ok(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Evidence that no block carries yet is proposed in a later one and checked again then.
fn of_pending_evidence(view: HomeView<'_>) -> Result<Option<Need>> {
    let Some(snapshot) = view.databases.snapshot(EVIDENCE) else { return Ok(None) };
    let layout = EvidenceLayout::new(database::evidence_form(&*snapshot)?);
    let mut scan = Walk::new(&*snapshot, &KeyRange::all())?;
    let (mut canonical, mut lowest) = (Vec::new(), None::<u64>);
    while let Some((key, value)) = scan.next()? {
        let Placement::Record { table, .. } = layout.place(key, value, &mut canonical) else {
            continue;
        };
        if table == evidence_table::PENDING
            && let Some(height) = height_in(&canonical)
        {
            lowest = Some(lowest.map_or(height, |lowest| lowest.min(height)));
        }
    }
    scan.end()?;
    let why = "there is evidence about it that no block carries yet".to_owned();
    Ok(lowest.map(|height| Need { height, why }))
}

/// The node replays the blocks above the application's height, each with the validators of the
/// block before it.
fn of_application(view: HomeView<'_>, (first, _): (u64, u64)) -> Result<Need> {
    let unknown = |why: String| Err(Error::unsupported(OPERATION, why).help(APPLICATION_HELP));
    let names = match &view.home.app_state {
        AppState::Databases(names) => names,
        AppState::Elsewhere(address) => {
            return unknown(format!(
                "the application keeps its state in a process of its own at {address}, so nothing \
                 here tells which blocks it still needs"
            ));
        }
    };
    if names.is_empty() {
        let why = "the application keeps nothing and is made anew from all blocks at each start";
        return Ok(Need { height: first, why: why.to_owned() });
    }
    for name in names {
        let Some(snapshot) = view.databases.snapshot(name) else { continue };
        let height = if name == APPLICATION && database::holds_multistore(&*snapshot)? {
            iavl::tip(&*snapshot)?.map(|(version, _)| version)
        } else {
            snapshot.get(KVSTORE_STATE_KEY)?.as_deref().and_then(kvstore_height)
        };
        if let Some(height) = height {
            let why = format!("the application is at height {height} and replays what is above it");
            return Ok(Need { height, why });
        }
    }
    unknown(format!(
        "nothing in {} tells which height the application is at, and which blocks it still needs",
        names.join(", ")
    ))
}

const APPLICATION_HELP: &str = "let the node's own pruning do it (the application's retain \
                                height), and leave --keep-heights away";

fn kvstore_height(state: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(state).ok()?.get("height")?.as_u64()
}
