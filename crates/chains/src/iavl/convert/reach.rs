//! Which nodes some version has. Only for stores in which a node was found that nobody names.

use super::Tree;
use crate::iavl::reached::{Bits, Trees};
use transload_store::Result;

/// Whether the nodes of the 0.x form are reached from a root or from a node of the 1.x form.
pub(super) fn reached(tree: &Tree<'_>) -> Result<Bits> {
    let trees = Trees {
        source: tree.source,
        scratch: tree.scratch,
        memory_bytes_max: tree.memory_bytes_max,
        name: &tree.name,
        prefix: &tree.prefix,
        new_form_stays: true,
        stays_above: u64::MAX,
        first_version: 0,
    };
    trees.reached(&mut |bytes| tree.work.advance(bytes))
}
