//! What an operator or an attacker may do to transload: bad inputs, forged records, a home that
//! a node holds, a target touched between verification and swap, a disk that fills, limits that
//! are changed while it runs.
//!
//! Every test works on a fresh copy of a home of `testdata/homes` and looks at exit codes, at
//! words, and at what became of the home.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

mod forgeries;
mod holding;
mod homes;
mod iavl;
mod layouts;
#[path = "../shared/litter.rs"]
mod litter;
mod node_engines;
mod orphans;
mod pace;
mod peer;
mod refusals;
mod rows;
#[path = "../shared/mod.rs"]
mod shared;
mod snapshots;
mod tampering;
mod trimming;
mod untouched;
mod versions;
