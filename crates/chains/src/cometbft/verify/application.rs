//! The application's state and its snapshots, where it is a Cosmos SDK multistore, against the headers.
//!
//! The application's hash after a version stands in the next header. After the last block it
//! stands only in the node's own state, which is compared too; who certifies that one is said
//! among the limits.

use super::Ctx;
use crate::cometbft::database::{self, APPLICATION, SNAPSHOTS};
use crate::cometbft::home::snapshots_folder;
use crate::cometbft::layout::state as state_table;
use crate::cometbft::wire::block::BlockMeta;
use crate::cometbft::wire::state::State;
use crate::iavl;
use crate::snapshots;
use transload_model::report::Verdict;
use transload_store::{HomeView, Result, VerifyOptions};

/// Verifies the application's state; a verdict without checks when there is none that we know.
pub(super) fn check_state(
    view: HomeView<'_>,
    ctx: Option<&Ctx<'_>>,
    options: &VerifyOptions,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Verdict> {
    let Some(snapshot) = view.databases.snapshot(APPLICATION) else {
        return Ok(Verdict::nothing());
    };
    if !database::holds_multistore(&*snapshot)? {
        return Ok(Verdict::nothing());
    }
    let app_hash_of = |version| match ctx {
        Some(ctx) => app_hash_after(ctx, version),
        None => Ok(None),
    };
    iavl::verify(&*snapshot, options, &app_hash_of, progress)
}

/// Verifies the state-sync snapshots; a verdict without checks when the home keeps none.
pub(super) fn check_snapshots(
    view: HomeView<'_>,
    ctx: Option<&Ctx<'_>>,
    options: &VerifyOptions,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Verdict> {
    let Some(metadata) = view.databases.snapshot(SNAPSHOTS) else { return Ok(Verdict::nothing()) };
    let Some(folder) = snapshots_folder(view.home) else { return Ok(Verdict::nothing()) };
    let application = match view.databases.snapshot(APPLICATION) {
        Some(application) if database::holds_multistore(&*application)? => Some(application),
        _ => None,
    };
    let app_hash_of = |version| match ctx {
        Some(ctx) => app_hash_after(ctx, version),
        None => Ok(None),
    };
    snapshots::verify(&snapshots::Job {
        metadata: &*metadata,
        folder,
        application: application.as_deref(),
        app_hash_of: &app_hash_of,
        versions: &options.versions,
        is_written: view.is_written,
        workers: options.workers,
        memory_bytes_max: options.memory_bytes_max,
        progress,
    })
}

fn app_hash_after(ctx: &Ctx<'_>, version: u64) -> Result<Option<Vec<u8>>> {
    let Some(height) = version.checked_add(1) else { return Ok(None) };
    if let Some(stored) = ctx.whole_meta(height)?
        && let Ok(meta) = BlockMeta::decode(&stored)
    {
        return Ok(Some(meta.header.app_hash.to_vec()));
    }
    if ctx.state_height != Some(version) {
        return Ok(None);
    }
    let Some(state) = &ctx.state else { return Ok(None) };
    let stored = state.snapshot.get(state_table::STATE_KEY)?;
    let decoded = stored.as_deref().map(State::decode);
    Ok(decoded.and_then(std::result::Result::ok).map(|state| state.app_hash.to_vec()))
}
