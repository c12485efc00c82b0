//! The state of a Cosmos SDK application: `application.db`, a multistore of IAVL trees.
//!
//! Each store is a versioned tree whose nodes are kept under a prefix of their own. A
//! `CommitInfo` a version lists the stores' root hashes; the root over those is the
//! application's hash, which the header above carries. All of it is recomputed here from the
//! leaves.
//!
//! Sources: cosmos/iavl 0.19 to 1.2 (both node forms, which may stand side by side),
//! cosmossdk.io/store 1.1 and cosmos-sdk 0.45 to 0.46. What the library accepts and never
//! writes (padded varints, bytes after a node) is refused.

pub mod commit;
pub mod convert;
pub mod drop_orphans;
mod fields;
mod gone;
pub mod keys;
pub(crate) mod layout;
pub mod logical;
pub mod node;
pub mod prune;
mod reached;
mod verify;

pub use layout::ApplicationLayout;
pub use verify::{AppHashOf, Progress, STORES_CHECK, tip, verify};
