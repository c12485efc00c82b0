//! The stores of a snapshot against CommitInfo and against the header above it.
//!
//! A snapshot has the stores with a tree alone. The SDK before 0.47 also hashes the names of
//! stores that it keeps in memory only; their names are in CommitInfo.

use super::record::SnapshotId;
use super::verify::{APP_HASH, Job, STORES, finding};
use crate::iavl::commit::{CommitInfo, StoreInfo, decode_latest};
use crate::iavl::keys::{LATEST_KEY, commit_info_key};
use crate::iavl::node::{HASH_BYTES, empty_tree_hash};
use transload_model::report::{Verdict, printable_key};
use transload_store::Result;

/// A store of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RebuiltStore {
    pub(super) name: Vec<u8>,
    pub(super) root: [u8; HASH_BYTES],
}

/// Judges the stores of a snapshot.
pub(super) fn judge(
    job: &Job<'_>,
    id: SnapshotId,
    stores: &[RebuiltStore],
    verdict: &mut Verdict,
) -> Result<()> {
    let certified = (job.app_hash_of)(id.height)?;
    let own = commit_info(job, id.height)?;
    let own = own.as_deref().map(CommitInfo::decode).and_then(std::result::Result::ok);
    if let Some(info) = &own {
        compare(id, stores, info, verdict);
    }
    // Which stores are kept in memory changes with the software only.
    let latest = if own.is_none() { latest_commit_info(job)? } else { None };
    let latest = latest.as_deref().map(CommitInfo::decode).and_then(std::result::Result::ok);
    let listed = own.as_ref().or(latest.as_ref());
    let Some(certified) = certified else {
        if own.is_some() {
            verdict.limits.push(format!(
                "{id}: its stores are those of CommitInfo, and no header is kept that would \
                 certify them"
            ));
        } else {
            let why = format!("neither CommitInfo nor the next header is kept for {}", id.height);
            verdict.skip(APP_HASH, 1, why);
        }
        return Ok(());
    };
    let hash = app_hash(id, stores, listed);
    if hash.is_some_and(|hash| hash.as_slice() == certified) {
        verdict.count(APP_HASH, 1);
    } else if own.is_none() {
        // Not proven wrong: stores that the snapshot can't have may be missing from the sum.
        let why =
            format!("no CommitInfo is kept for {}, and the stores alone don't tell", id.height);
        verdict.skip(APP_HASH, 1, why);
    } else {
        verdict.count(APP_HASH, 1);
        let what = format!(
            "{id}: its stores' hashes give {}, and the chain has {} as the application's hash",
            hash.map_or_else(|| "nothing".to_owned(), hex::encode),
            hex::encode(certified)
        );
        verdict.find(finding(APP_HASH, id, what));
    }
    Ok(())
}

/// Each store against the one that CommitInfo lists, both directions.
fn compare(id: SnapshotId, stores: &[RebuiltStore], info: &CommitInfo<'_>, verdict: &mut Verdict) {
    verdict.count(STORES, stores.len() as u64);
    for store in stores {
        let name = printable_key(&store.name);
        let what = match info.store(&store.name) {
            None => format!("{id}: store {name} isn't one that CommitInfo lists"),
            Some(listed) if !has_root(listed, &store.root) => format!(
                "{id}: the root of store {name} is {}, and CommitInfo has {}",
                hex::encode(store.root),
                hex::encode(listed.hash)
            ),
            Some(_) => continue,
        };
        verdict.find(finding(STORES, id, what));
    }
    for listed in info.stores.iter().filter(|store| store.has_tree()) {
        if !stores.iter().any(|store| store.name == listed.name) {
            let name = printable_key(listed.name);
            let what = format!("{id}: store {name}, which CommitInfo lists, isn't in it");
            verdict.find(finding(STORES, id, what));
        }
    }
}

/// Releases differ in what they list for an empty tree.
fn has_root(listed: &StoreInfo<'_>, root: &[u8; HASH_BYTES]) -> bool {
    listed.hash == root || (listed.hash.is_empty() && *root == empty_tree_hash())
}

/// The application's hash over the snapshot's stores, and over those without a tree that are
/// listed.
fn app_hash(
    id: SnapshotId,
    stores: &[RebuiltStore],
    listed: Option<&CommitInfo<'_>>,
) -> Option<[u8; HASH_BYTES]> {
    let of = |store: &RebuiltStore| listed.and_then(|info| info.store(&store.name)).copied();
    let with_tree = stores.iter().map(|store| {
        let as_listed = of(store).filter(|listed| has_root(listed, &store.root));
        let hash = as_listed.map_or(store.root.as_slice(), |listed| listed.hash);
        StoreInfo { name: &store.name, version: id.height, hash }
    });
    let without = listed.iter().flat_map(|info| &info.stores).filter(|store| {
        !store.has_tree() && !stores.iter().any(|rebuilt| rebuilt.name == store.name)
    });
    let stores = with_tree.chain(without.copied()).collect();
    CommitInfo { version: id.height, stores }.app_hash()
}

fn commit_info(job: &Job<'_>, version: u64) -> Result<Option<Vec<u8>>> {
    match job.application {
        Some(application) => application.get(&commit_info_key(version)),
        None => Ok(None),
    }
}

fn latest_commit_info(job: &Job<'_>) -> Result<Option<Vec<u8>>> {
    let Some(application) = job.application else { return Ok(None) };
    let latest = application.get(LATEST_KEY)?;
    match latest.as_deref().map(decode_latest) {
        Some(Ok(version)) => commit_info(job, version),
        _ => Ok(None),
    }
}
