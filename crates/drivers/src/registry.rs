//! The engines of this build.

use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, EngineStatus, Engines, Error, Guarantees, Holder, Kind, Recognised,
    Result, SourceOptions, Store, TargetOptions,
};

/// What the drivers need from their surroundings.
#[derive(Clone, Debug, Default)]
pub struct BuiltInConfig {
    /// The Go helper that speaks to Pebble and goleveldb.
    pub gostore_helper: Option<PathBuf>,
}

/// The drivers that this build has.
pub struct BuiltIn {
    drivers: Vec<Box<dyn Driver>>,
}

impl BuiltIn {
    /// All drivers that were compiled in and whose helpers are there.
    #[must_use]
    pub fn new(config: BuiltInConfig) -> Self {
        Self { drivers: drivers(&config) }
    }
}

fn drivers(_config: &BuiltInConfig) -> Vec<Box<dyn Driver>> {
    vec![
        #[cfg(feature = "leveldb")]
        Box::new(Goleveldb { writer: None }),
    ]
}

/// How an engine that this build lacks can be had.
fn how_to_get(engine: Engine) -> &'static str {
    match engine {
        Engine::Goleveldb | Engine::Pebble1 | Engine::Pebble2 => {
            "needs the Go helper: install Go, run `cargo xtask build-helper` in the source, and \
             put transload-gostore beside this program or name it with --gostore"
        }
        Engine::Rocksdb => "not in this build: build with `--features rocksdb`",
        Engine::Redb | Engine::Lmdb | Engine::Sqlite => {
            "not in this build: build with the default features"
        }
    }
}

impl Engines for BuiltIn {
    fn recognise(&self, path: &Path) -> Result<Recognised> {
        crate::recognise::recognise(path)
    }

    fn driver(&self, engine: Engine) -> Result<&dyn Driver> {
        self.drivers
            .iter()
            .map(|driver| &**driver)
            .find(|driver| driver.engine() == engine)
            .ok_or_else(|| {
                Error::unsupported("find a driver", format!("no driver for {engine}"))
                    .with("how to get it", how_to_get(engine))
            })
    }

    fn status(&self) -> Vec<EngineStatus> {
        Engine::ALL
            .into_iter()
            .map(|engine| {
                let driver = self.driver(engine).ok();
                let writes = driver.is_some_and(|driver| {
                    let (capabilities, _) = driver.target_profile();
                    capabilities.write || capabilities.bulk_load
                });
                let reads = driver.is_some();
                let note = if reads && writes { "" } else { how_to_get(engine) };
                EngineStatus { engine, reads, writes, note: note.to_owned() }
            })
            .collect()
    }

    fn holder(&self, path: &Path) -> Result<Option<Holder>> {
        crate::holder::holder(path)
    }
}

/// goleveldb: read by our own reader, written by the canonical engine where its helper is there.
#[cfg(feature = "leveldb")]
struct Goleveldb {
    writer: Option<Box<dyn Driver>>,
}

#[cfg(feature = "leveldb")]
impl Goleveldb {
    fn writer(&self) -> Result<&dyn Driver> {
        self.writer.as_deref().ok_or_else(|| {
            Error::new(Kind::Unsupported, "find a driver", "goleveldb can only be read here")
                .with("how to get it", how_to_get(Engine::Goleveldb))
        })
    }
}

#[cfg(feature = "leveldb")]
impl Driver for Goleveldb {
    fn engine(&self) -> Engine {
        Engine::Goleveldb
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        self.writer.as_ref().map_or_else(
            || (Capabilities::default(), crate::leveldb::guarantees()),
            |writer| writer.target_profile(),
        )
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
