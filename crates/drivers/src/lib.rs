//! Transload's storage engines: one module an engine, one contract suite for all.

mod holder;
#[cfg(feature = "leveldb")]
pub mod leveldb;
mod recognise;
mod registry;

pub use holder::holder;
pub use recognise::recognise;
pub use registry::{BuiltIn, BuiltInConfig};
