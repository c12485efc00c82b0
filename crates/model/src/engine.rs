//! Names of storage engines.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A storage engine, told apart as far as one can't open the other's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// LevelDB's format, as goleveldb and C++ LevelDB write it.
    Goleveldb,
    /// Pebble 1: format major version 1 to 16, `CURRENT` or markers.
    Pebble1,
    /// Pebble 2: format major version 13 and above.
    Pebble2,
    /// RocksDB.
    Rocksdb,
    /// redb.
    Redb,
    /// LMDB.
    Lmdb,
    /// SQLite.
    Sqlite,
    /// bbolt, etcd's fork of Bolt.
    Bbolt,
    /// BadgerDB 3 and 4: manifest version 8.
    Badgerdb,
    /// LevelDB's format, for a node that has C++ LevelDB.
    Cleveldb,
}

/// A name that is no engine's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no engine; known: goleveldb, pebble1, pebble2, rocksdb, redb, lmdb, sqlite, bbolt, \
     badgerdb, cleveldb"
)]
pub struct UnknownEngine(String);

impl Engine {
    /// All engines, in the order in which help lists them.
    pub const ALL: [Engine; 10] = [
        Engine::Goleveldb,
        Engine::Pebble1,
        Engine::Pebble2,
        Engine::Rocksdb,
        Engine::Redb,
        Engine::Lmdb,
        Engine::Sqlite,
        Engine::Bbolt,
        Engine::Badgerdb,
        Engine::Cleveldb,
    ];

    /// The name used in commands, plans and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Goleveldb => "goleveldb",
            Engine::Pebble1 => "pebble1",
            Engine::Pebble2 => "pebble2",
            Engine::Rocksdb => "rocksdb",
            Engine::Redb => "redb",
            Engine::Lmdb => "lmdb",
            Engine::Sqlite => "sqlite",
            Engine::Bbolt => "bbolt",
            Engine::Badgerdb => "badgerdb",
            Engine::Cleveldb => "cleveldb",
        }
    }

    /// The engine by whose name files like those of `self` are recognised: goleveldb and C++
    /// LevelDB write one format, and which of them a node has is told by its config alone.
    #[must_use]
    pub fn told_by_files(self) -> Self {
        match self {
            Engine::Cleveldb => Engine::Goleveldb,
            other => other,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;
    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Engine::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}
