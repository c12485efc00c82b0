//! State-sync snapshots of a Cosmos SDK application: what it offers to nodes that join.
//!
//! A record a snapshot is kept in `snapshots/metadata.db`; the snapshot itself is a compressed
//! stream of the nodes of every tree, cut into the files `snapshots/HEIGHT/FORMAT/CHUNK`. The
//! files are hashed against the record, the trees' root hashes are rebuilt from the stream, and
//! the application's hash over them is compared with the one that the next header has.
//! `docs/formats/state-sync-snapshots.md` has the bytes.
//!
//! Sources: cosmossdk.io/store 1.1 (`snapshots`, `rootmulti.Store.Snapshot` and `Restore`),
//! cosmos-sdk 0.46 (the same in `snapshots` and `store/rootmulti`), cosmos/iavl `export.go` and
//! `import.go`.
//!
//! Invariant: nothing is kept but the subtrees that wait for a parent, so memory doesn't grow
//! with the snapshot.

mod chunks;
mod contents;
pub mod item;
mod judge;
mod layout;
pub mod record;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tree;
mod verify;

pub(crate) use layout::SnapshotsLayout;
pub(crate) use verify::{Job, listed, verify};
