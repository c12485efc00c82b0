//! Engines that are linked in: one contract suite, and what a source must never notice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stdout, reason = "a test names the driver at which it failed")]
#![cfg(any(feature = "lmdb", feature = "redb", feature = "rocksdb", feature = "sqlite"))]

mod contract;
mod damage;
mod foreign;
mod source;
mod subject;
