//! LevelDB: read by our own reader, written by goleveldb where its helper is there.

use crate::registry::how_to_get;
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Kind, Result, SourceOptions, Store, TargetOptions,
};

/// The driver of LevelDB's format, for a node that has one engine or the other.
pub(crate) struct Leveldb {
    engine: Engine,
    writer: Option<Box<dyn Driver>>,
}

impl Leveldb {
    /// A driver that writes through `writer`, or not at all.
    pub(crate) fn new(engine: Engine, writer: Option<Box<dyn Driver>>) -> Self {
        Self { engine, writer }
    }

    fn writer(&self) -> Result<&dyn Driver> {
        self.writer.as_deref().ok_or_else(|| {
            Error::new(Kind::Unsupported, "find a driver", "LevelDB can only be read here")
                .help(how_to_get(self.engine))
        })
    }
}

impl Driver for Leveldb {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        self.writer.as_ref().map_or_else(
            || (Capabilities::default(), crate::leveldb::guarantees()),
            |writer| writer.target_profile(),
        )
    }

    fn link_snapshot(&self, path: &Path, into: &Path) -> Result<()> {
        crate::leveldb::link_snapshot(path, into)
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        crate::leveldb::open(path, options)
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        self.writer()?.create_target(path, options)
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        self.writer()?.reopen_target(path, options)
    }
}
