//! What a conversion found and did, store by store.

use crate::iavl::keys::NodeId;

/// Orphans that point nowhere which a report names; it counts all.
pub const ORPHANS_LISTED_MAX: usize = 16;

/// Nodes without a version which a report names; it counts all.
pub const UNREACHABLE_LISTED_MAX: usize = 1_000;

/// All stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversionReport {
    /// In the order of their keys.
    pub stores: Vec<StoreReport>,
}

/// One store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Its name.
    pub store: Vec<u8>,
    /// Nodes of the 0.x form that were read.
    pub nodes: u64,
    /// Of these, nodes that stand in the 1.x form already, where the library moved them.
    pub doubled: u64,
    /// Nodes of the 1.x form that named nodes of the 0.x form and name their new keys now.
    pub renamed: u64,
    /// Roots of the 0.x form.
    pub roots: u64,
    /// Of these, roots that became references, because an older version made their node.
    pub references: u64,
    /// Of these, roots of empty trees.
    pub empty: u64,
    /// Orphans: the 1.x form has none.
    pub orphans: u64,
    /// Of these, orphans whose node isn't there.
    pub orphans_nowhere: u64,
    /// Last version, first version and node of the first of them.
    pub orphans_nowhere_listed: Vec<(u64, u64, NodeId)>,
    /// Nodes left out because no version has them, though an orphan names them: the old library
    /// had given them up.
    pub given_up: u64,
    /// Nodes left out because no version has them, and no orphan names them.
    pub unreachable: u64,
    /// The first of both.
    pub left_out_listed: Vec<NodeId>,
    /// Versions between the first and the last that the store doesn't have: how many such gaps,
    /// and the first of them from its first to its last version.
    pub gaps: u64,
    /// See `gaps`.
    pub first_gap: Option<(u64, u64)>,
}

impl StoreReport {
    pub(super) fn new(store: &[u8]) -> Self {
        Self { store: store.to_vec(), ..Self::default() }
    }

    pub(super) fn leave_out(&mut self, id: NodeId, given_up: bool) {
        if given_up {
            self.given_up += 1;
        } else {
            self.unreachable += 1;
        }
        if self.left_out_listed.len() < UNREACHABLE_LISTED_MAX {
            self.left_out_listed.push(id);
        }
    }
}
