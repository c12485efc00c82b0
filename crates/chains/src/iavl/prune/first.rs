//! Which versions of the state are kept.

use crate::iavl::commit::CommitInfo;
use crate::iavl::keys::{NodeId, commit_info_key, store_prefix};
use crate::iavl::verify::latest_version;
use transload_model::report::printable_key;
use transload_store::{Error, Kind, Result, Snapshot};

/// The first and the last version of the state that all of the application's stores keep, whatever
/// the form of their nodes; `None` where nothing was committed. Versions are taken for a row.
///
/// # Errors
/// Those of reading; [`Kind::Corrupt`] for a CommitInfo that can't be read.
pub fn kept_versions(snapshot: &dyn Snapshot) -> Result<Option<(u64, u64)>> {
    let Some(last) = latest_version(snapshot)? else { return Ok(None) };
    let Some(stores) = listed(snapshot, last)? else { return Ok(None) };
    if !is_kept(snapshot, last, &stores)? {
        return Ok(None);
    }
    let (mut low, mut high) = (1, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_kept(snapshot, middle, &stores)? { high = middle } else { low = middle + 1 }
    }
    Ok(Some((high, last)))
}

/// The stores that a version lists and that have a tree; `None` without its CommitInfo.
pub(in crate::iavl) fn listed(
    snapshot: &dyn Snapshot,
    version: u64,
) -> Result<Option<Vec<Vec<u8>>>> {
    let key = commit_info_key(version);
    let Some(stored) = snapshot.get(&key)? else { return Ok(None) };
    let info = CommitInfo::decode(&stored).map_err(|error| {
        let what = format!("application.db: CommitInfo of version {version}: {error}");
        Error::new(Kind::Corrupt, "read which stores a version has", what)
            .with("key", printable_key(&key))
    })?;
    let trees = info.stores.iter().filter(|store| store.has_tree());
    Ok(Some(trees.map(|store| store.name.to_vec()).collect()))
}

/// Whether each store that the version lists, and that is still one, has a root for it.
fn is_kept(snapshot: &dyn Snapshot, version: u64, stores: &[Vec<u8>]) -> Result<bool> {
    let Some(listed) = listed(snapshot, version)? else { return Ok(false) };
    for store in listed.iter().filter(|store| stores.contains(store)) {
        let prefix = store_prefix(store);
        let new = [prefix.as_slice(), NodeId::new(version, 1).bytes()].concat();
        let old = [prefix.as_slice(), b"r", &version.to_be_bytes()].concat();
        if snapshot.get(&new)?.is_none() && snapshot.get(&old)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
