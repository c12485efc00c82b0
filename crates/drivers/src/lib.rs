//! Transload's storage engines: one module an engine, one contract suite for all.

#[cfg(feature = "gostore")]
pub mod bbolt;
#[cfg(any(feature = "gostore", feature = "leveldb"))]
mod checksum;
#[cfg(feature = "leveldb")]
mod goleveldb;
#[cfg(feature = "gostore")]
pub mod gostore;
mod holder;
#[cfg(feature = "leveldb")]
pub mod leveldb;
#[cfg(any(
    feature = "gostore",
    feature = "lmdb",
    feature = "redb",
    feature = "rocksdb",
    feature = "sqlite"
))]
mod limits;
#[cfg(any(feature = "gostore", feature = "rocksdb"))]
mod linked;
mod little_endian;
#[cfg(feature = "lmdb")]
pub mod lmdb;
#[cfg(feature = "sqlite")]
mod pieces;
pub mod recognise;
#[cfg(feature = "redb")]
pub mod redb;
mod registry;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
#[cfg(any(feature = "redb", feature = "sqlite"))]
mod sampling;
#[cfg(any(feature = "gostore", feature = "lmdb"))]
mod separators;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "lmdb", feature = "redb", feature = "rocksdb", feature = "sqlite"))]
mod standing;

pub use holder::holder;
pub use recognise::recognise;
pub use registry::{BuiltIn, BuiltInConfig};
