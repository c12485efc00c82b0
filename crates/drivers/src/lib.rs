//! Transload's storage engines: one module an engine, one contract suite for all.

#[cfg(feature = "leveldb")]
mod goleveldb;
#[cfg(feature = "gostore")]
pub mod gostore;
mod holder;
#[cfg(feature = "leveldb")]
pub mod leveldb;
mod recognise;
mod registry;

pub use holder::holder;
pub use recognise::recognise;
pub use registry::{BuiltIn, BuiltInConfig};
