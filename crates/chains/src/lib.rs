//! Chain knowledge: which tables a node home has, how its keys map to canonical records, and
//! what the chain's own certificates say about them.
//!
//! A profile reads through snapshots that somebody else opened. It knows no engine, opens no
//! database, writes nothing.

pub mod cometbft;
mod course;
pub mod iavl;
pub mod snapshots;
