//! Real node software on what transload wrote.
//!
//! CometBFT 0.38, CometBFT 1, a Cosmos SDK app, and one that goes on where an older SDK stopped,
//! built from their own Go modules (`tests/real/nodes`), are started on homes and asked over RPC. `cargo xtask test --lane real`
//! builds them and runs this; the tests need `TRANSLOAD_NODES` (folder of the programs),
//! `TRANSLOAD_HOMES` (folder of NAME.tar.gz with NAME.answers.json) and, for Pebble and
//! goleveldb, `TRANSLOAD_GOSTORE`.
//!
//! Nodes listen on loopback only, run for a bounded time and are ended by their own process id.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "figures of a run are for whoever repeats it")]

mod answers;
mod bank;
mod between;
mod chain;
mod home;
mod iavl;
#[path = "../../crates/cli/tests/shared/litter.rs"]
mod litter;
mod migrating;
mod network;
mod node;
mod program;
mod rpc;
mod sdk;
mod serving;
mod signatures;
mod signer;
mod stores;
mod trimming;
mod upgraded;
mod validators;
