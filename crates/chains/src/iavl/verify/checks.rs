//! The checks of an application's state, by their stable names and in their fixed order.

/// Every entry can be decoded, in the one form in which it is written.
pub(super) const ENTRY: &str = "iavl_entries";
/// Each node's hash follows from its children's, down to the leaves.
pub(super) const NODE_HASH: &str = "iavl_node_hash";
/// Each inner node's key is the smallest key of its right side: no hash covers it, and lookups
/// follow it.
pub(super) const INNER_KEY: &str = "iavl_inner_keys";
/// No node, root or orphan names a node that isn't there.
pub(super) const PRESENT: &str = "iavl_nodes_present";
/// Each root's hash is the one in its version's CommitInfo, and no root is missing.
pub(super) const ROOT: &str = "iavl_roots";
/// Every node belongs to a version that is kept.
pub(super) const REACHABLE: &str = "iavl_reachable";
/// The fast index and the latest version's leaves say the same, both directions.
pub(super) const FAST: &str = "iavl_fast_index";
/// No orphan names a node that a later version still has.
pub(super) const ORPHAN: &str = "iavl_orphans";
/// Each CommitInfo is canonical, in an unbroken row, and speaks of its own version.
pub(super) const COMMIT_INFO: &str = "commit_info";
/// The stores that are there are those that CommitInfo lists; no version stands above the last.
pub(super) const STORES: &str = "multistore";
/// The root over each CommitInfo's stores is the application's hash in the next header.
pub(super) const APP_HASH: &str = "app_hash_of_state";

/// Which check looks at the records of which table.
pub(super) const COVERS: [(&str, &str); 7] = [
    (COMMIT_INFO, "application/commit_info"),
    (STORES, "application/latest"),
    (NODE_HASH, "application/iavl_node"),
    (NODE_HASH, "application/iavl_legacy_node"),
    (ROOT, "application/iavl_root"),
    (ORPHAN, "application/iavl_orphan"),
    (FAST, "application/iavl_fast"),
];

/// All of them, in the order of a report.
pub(super) const ALL: [&str; 11] = [
    ENTRY,
    NODE_HASH,
    INNER_KEY,
    PRESENT,
    ROOT,
    REACHABLE,
    FAST,
    ORPHAN,
    COMMIT_INFO,
    STORES,
    APP_HASH,
];
