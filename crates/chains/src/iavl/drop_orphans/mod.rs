//! What no kept version of an application's state reaches is left out (docs/formats/iavl-orphans.md).
//!
//! [`DropOrphans::prepare`] reads each store twice: which nodes its roots reach, and what follows
//! for each entry. The form of the entries doesn't matter, nor whether a store has both. Memory
//! stays within the limit, but for a bit a node.
//!
//! Invariants: what a root reaches stays, and so does every root; what a version above the last one
//! committed has made stays, with all that it names; a store that isn't part of the application
//! any more, and whatever is no node and no orphan, is carried as it is.

mod store;

pub use store::{LISTED_MAX, StoreDropped};

use crate::iavl::ApplicationLayout;
use crate::iavl::gone::{Gone, Left};
use crate::iavl::keys::store_prefix;
use crate::iavl::layout::{LEGACY_NODE, NODE, ORPHAN};
use crate::iavl::logical::logical_root;
use crate::iavl::prune::listed;
use crate::iavl::verify::{Progress, latest_version, store_names};
use std::collections::BTreeMap;
use std::sync::Arc;
use transload_model::commitment::TableCommitment;
use transload_model::layout::Layout as _;
use transload_model::report::Verdict;
use transload_store::sort::Scratch;
use transload_store::{
    Error, GoneEntries, Heights, KeyRange, Kind, Reform, ReformOptions, Reformed, Result, Side,
    Snapshot, Transform, WayBack,
};

const OPERATION: &str = "leave out what no version of the application's state reaches";

/// What a plan calls it.
const DROP_ORPHANS: &str = "drop-orphans";

/// What is left of the same entries has changed so often, this one included.
const DROP_ORPHANS_VERSION: u32 = 1;

/// Nodes that no kept root reaches are left out, and orphans whose node isn't there then.
#[derive(Clone, Copy, Debug)]
pub struct DropOrphans;

/// A database without them.
pub struct Dropped {
    /// Its entries.
    pub snapshot: Arc<dyn Snapshot>,
    /// What was left out.
    pub left_out: GoneEntries,
    /// The same, store by store.
    pub stores: Vec<StoreDropped>,
}

impl DropOrphans {
    /// Reads `source` and makes ready what is left of it.
    ///
    /// # Errors
    /// Those of reading and of the scratch folder; [`Kind::Cancelled`]; [`Kind::Corrupt`] where no
    /// version was committed, a store has no root for the last one, a node, root or orphan can't
    /// be read, or something that is named isn't there.
    pub fn prepare(
        &self,
        source: Arc<dyn Snapshot>,
        options: &ReformOptions,
        progress: Progress<'_>,
    ) -> Result<Dropped> {
        let nothing = || {
            let what = "application.db: no version that was committed can be read";
            Error::new(Kind::Corrupt, OPERATION, what)
        };
        let last = latest_version(&*source)?.ok_or_else(nothing)?;
        let mounted = listed(&*source, last)?.ok_or_else(nothing)?;
        let mut names = store_names(&*source, &mut Verdict::nothing())?;
        names.retain(|name| mounted.contains(name));
        let mut total = 0;
        for name in &names {
            let range = KeyRange::prefix(&store_prefix(name));
            total += store::READS * source.approximate_bytes(&range)?;
        }
        let scratch = Scratch::new(&options.scratch_dir);
        let memory = usize::try_from(options.memory_bytes_max).unwrap_or(usize::MAX);
        let mut work = store::Work { progress, done: 0, total };
        let (mut parts, mut stores) = (Vec::new(), Vec::new());
        for name in &names {
            let tree = store::Tree::new(&*source, &scratch, memory, name, last);
            let (changes, report) = tree.judge(&mut work)?;
            parts.extend(changes);
            stores.push(report);
        }
        let parts = Arc::new(parts);
        let left_out = GoneEntries {
            snapshot: Arc::new(Gone::new(Arc::clone(&source), Arc::clone(&parts))),
            heights: heights(&stores),
        };
        Ok(Dropped { snapshot: Arc::new(Left::new(source, parts)), left_out, stores })
    }
}

/// The versions that made the nodes that are gone, and the last ones that the orphans say.
fn heights(stores: &[StoreDropped]) -> BTreeMap<usize, Heights> {
    let all = |of: fn(&StoreDropped) -> Option<Heights>| {
        let each = stores.iter().filter_map(of);
        each.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    };
    let found = [
        (NODE, all(|store| store.new_node_versions)),
        (LEGACY_NODE, all(|store| store.old_node_versions)),
        (ORPHAN, all(|store| store.orphan_versions)),
    ];
    found.into_iter().filter_map(|(table, versions)| versions.map(|one| (table, one))).collect()
}

impl Reform for DropOrphans {
    fn transform(&self) -> Transform {
        let id = ApplicationLayout::new().id();
        Transform {
            id: DROP_ORPHANS,
            version: DROP_ORPHANS_VERSION,
            from: id.to_owned(),
            to: format!("{id}, what its versions reach"),
            way_back: WayBack::OneWay(
                "nothing tells which nodes a database had that no version has".to_owned(),
            ),
        }
    }

    fn reform(
        &self,
        source: Arc<dyn Snapshot>,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Reformed> {
        let dropped = self.prepare(source, options, progress)?;
        let something = dropped.stores.iter().filter(|store| store.entries() > 0);
        let mut notes: Vec<String> = something.map(ToString::to_string).collect();
        if notes.is_empty() {
            notes.push(
                "nothing is left out: a version has every node, and every orphan's node is there"
                    .to_owned(),
            );
        }
        Ok(Reformed { snapshot: dropped.snapshot, notes, left_out: Some(dropped.left_out) })
    }

    fn meaning(
        &self,
        snapshot: &dyn Snapshot,
        _side: Side,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<TableCommitment> {
        logical_root(snapshot, &options.scratch_dir, options.memory_bytes_max, progress)
    }
}
