//! Transload's storage engines: one module an engine, one contract suite for all.

#[cfg(feature = "leveldb")]
pub mod leveldb;
