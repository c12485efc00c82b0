//! The last versions of an application's state, as the library's own pruning leaves them
//! (docs/formats/iavl-pruning.md).
//!
//! [`KeepVersions::prepare`] reads each store three times: which nodes the kept roots reach, which
//! any root reaches, and what follows for each entry. The pruned database then is a snapshot in
//! the source's place, as a converted one is. Memory stays within the limit, but for two bits a
//! node.
//!
//! Invariants: an entry above the last version committed, outside the trees, or of a store that
//! isn't part of the application any more is carried as it is; CommitInfo of all versions stays,
//! as the SDK leaves it.

mod first;
mod store;

pub use first::kept_versions;
pub(super) use first::listed;
pub use store::StoreGone;

use crate::iavl::ApplicationLayout;
use crate::iavl::commit::CommitInfo;
use crate::iavl::convert::view::{Converted, ConvertedStore};
use crate::iavl::convert::{FastIndex, StoreReport};
use crate::iavl::gone::Gone;
use crate::iavl::keys::{commit_info_key, store_prefix};
use crate::iavl::layout::{NODE, ROOT};
use crate::iavl::logical::logical_root_from;
use crate::iavl::verify::{Progress, latest_version, store_names};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use transload_model::commitment::TableCommitment;
use transload_model::layout::Layout as _;
use transload_model::report::{Verdict, printable_key};
use transload_store::sort::{Indexed, Scratch};
use transload_store::{
    Error, GoneEntries, Heights, KeyRange, Kind, Reform, ReformOptions, Reformed, Result, Side,
    Snapshot, Transform, WayBack,
};

const OPERATION: &str = "leave versions of the application's state out";

/// What a plan calls it.
const KEEP_VERSIONS: &str = "keep-versions";

/// What is left of the same entries has changed so often, this one included.
const KEEP_VERSIONS_VERSION: u32 = 1;

/// Versions below the first are left out.
#[derive(Clone, Debug)]
pub struct KeepVersions {
    /// The first version that is kept.
    pub first: u64,
    /// The last version committed.
    pub last: u64,
}

/// A pruned database.
pub struct Pruned {
    /// Its entries.
    pub snapshot: Arc<dyn Snapshot>,
    /// What was left out.
    pub left_out: GoneEntries,
    /// The same, store by store.
    pub stores: Vec<StoreGone>,
}

impl KeepVersions {
    /// Reads `source` and makes ready what its pruned form needs.
    ///
    /// # Errors
    /// Those of reading and of the scratch folder; [`Kind::Cancelled`]; [`Kind::Corrupt`] for a
    /// node or root that can't be read or isn't there, and where the last version committed is
    /// another one than planned; [`Kind::Unsupported`] for entries of the 0.x form.
    pub fn prepare(
        &self,
        source: Arc<dyn Snapshot>,
        options: &ReformOptions,
        progress: Progress<'_>,
    ) -> Result<Pruned> {
        let mounted = self.mounted(&*source)?;
        let names = store_names(&*source, &mut Verdict::nothing())?;
        let pruned: Vec<&Vec<u8>> = names.iter().filter(|name| mounted.contains(*name)).collect();
        let mut total = 0;
        for name in &pruned {
            total +=
                store::READS * source.approximate_bytes(&KeyRange::prefix(&store_prefix(name)))?;
        }
        let scratch = Scratch::new(&options.scratch_dir);
        let memory = usize::try_from(options.memory_bytes_max).unwrap_or(usize::MAX);
        let mut work = store::Work { progress, done: 0, total };
        let (mut rewritten, mut gone, mut stores) = (Vec::new(), Vec::new(), Vec::new());
        for name in pruned {
            let versions = (self.first, self.last);
            let mut tree = store::Tree::new(&*source, &scratch, memory, name, versions);
            let (entries, report) = tree.prune(&mut work)?;
            let entries: Arc<Indexed> = Arc::new(entries);
            gone.push(([&store_prefix(name)[..], b"s"].concat(), Arc::clone(&entries)));
            let none = StoreReport::default();
            rewritten.push(ConvertedStore::new(store_prefix(name), entries, none));
            stores.push(report);
        }
        let view = Converted::new(Arc::clone(&source), rewritten, FastIndex::Carry);
        let left_out = GoneEntries {
            snapshot: Arc::new(Gone::new(source, Arc::new(gone))),
            heights: heights(&stores),
        };
        Ok(Pruned { snapshot: Arc::new(view), left_out, stores })
    }

    /// The stores that are part of the application: the others aren't pruned by the SDK either.
    fn mounted(&self, source: &dyn Snapshot) -> Result<BTreeSet<Vec<u8>>> {
        let wrong = |what: String| Error::new(Kind::Corrupt, OPERATION, what);
        let latest = latest_version(source)?;
        if latest != Some(self.last) {
            return Err(wrong(format!(
                "application.db: the last version committed is {latest:?}, and was {}",
                self.last
            )));
        }
        let key = commit_info_key(self.last);
        let stored = source.get(&key)?.unwrap_or_default();
        let info = CommitInfo::decode(&stored).map_err(|error| {
            wrong(format!("application.db: the last CommitInfo can't be read: {error}"))
                .with("key", printable_key(&key))
        })?;
        let trees = info.stores.iter().filter(|store| store.has_tree());
        Ok(trees.map(|store| store.name.to_vec()).collect())
    }
}

/// The versions of what is gone: those that made the nodes, and those that the roots were of.
fn heights(stores: &[StoreGone]) -> BTreeMap<usize, Heights> {
    let mut heights = BTreeMap::new();
    let all = |of: fn(&StoreGone) -> Option<Heights>| {
        let found: Vec<Heights> = stores.iter().filter_map(of).collect();
        let (first, last) =
            (found.iter().map(|one| one.0).min()?, found.iter().map(|one| one.1).max()?);
        Some((first, last))
    };
    heights.extend(all(|store| store.node_versions).map(|found| (NODE, found)));
    heights.extend(all(|store| store.root_versions).map(|found| (ROOT, found)));
    heights
}

impl Reform for KeepVersions {
    fn transform(&self) -> Transform {
        let id = ApplicationLayout::new().id();
        Transform {
            id: KEEP_VERSIONS,
            version: KEEP_VERSIONS_VERSION,
            from: id.to_owned(),
            // Where it ends isn't part of it: a node that has run since has more.
            to: format!("{id}, versions from {}", self.first),
            way_back: WayBack::OneWay(format!(
                "nothing makes the state of versions below {} anew",
                self.first
            )),
        }
    }

    fn reform(
        &self,
        source: Arc<dyn Snapshot>,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Reformed> {
        let pruned = self.prepare(source, options, progress)?;
        let notes = pruned.stores.iter().map(ToString::to_string).collect();
        Ok(Reformed { snapshot: pruned.snapshot, notes, left_out: Some(pruned.left_out) })
    }

    fn meaning(
        &self,
        snapshot: &dyn Snapshot,
        side: Side,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<TableCommitment> {
        let mounted = self.mounted(snapshot)?;
        // On the new side every root counts: there must be no more than those that are kept.
        let first = |store: &[u8]| match side {
            Side::Before if mounted.contains(store) => self.first,
            _ => 0,
        };
        let scratch = (options.scratch_dir.as_path(), options.memory_bytes_max);
        logical_root_from(snapshot, &first, scratch, progress)
    }
}
