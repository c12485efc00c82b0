//! The Go engines behind the helper process: contract, real nodes' databases, live directories,
//! helpers that die or lie.
//!
//! The helper is the binary that `TRANSLOAD_GOSTORE` names, if it is there, else it is built with
//! Go. Without both, each test prints that it was not run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stdout, reason = "a test that was not run must say so")]
#![cfg(feature = "gostore")]

mod badger;
mod bbolt;
mod cleveldb;
mod contract;
mod fixtures;
mod helper;
mod live;
mod lost;
