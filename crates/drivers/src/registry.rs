//! The engines of this build.

#[cfg(feature = "leveldb")]
use crate::goleveldb::Leveldb;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_store::{Driver, EngineStatus, Engines, Error, Holder, Recognised, Result};

/// What the drivers need from their surroundings.
#[derive(Clone, Debug, Default)]
pub struct BuiltInConfig {
    /// The Go helper that speaks to Pebble, goleveldb, bbolt and BadgerDB.
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

fn drivers(config: &BuiltInConfig) -> Vec<Box<dyn Driver>> {
    let mut drivers: Vec<Box<dyn Driver>> = vec![
        #[cfg(feature = "leveldb")]
        Box::new(Leveldb::new(Engine::Goleveldb, helped(config, Engine::Goleveldb))),
        // C++ LevelDB opens what goleveldb writes: docs/adr/0005-cleveldb-by-goleveldb.md.
        #[cfg(feature = "leveldb")]
        Box::new(Leveldb::new(Engine::Cleveldb, helped(config, Engine::Goleveldb))),
        #[cfg(feature = "gostore")]
        Box::new(crate::bbolt::Bbolt::new(helped(config, Engine::Bbolt))),
        #[cfg(feature = "lmdb")]
        Box::new(crate::lmdb::LmdbDriver),
        #[cfg(feature = "redb")]
        Box::new(crate::redb::RedbDriver),
        #[cfg(feature = "rocksdb")]
        Box::new(crate::rocksdb::RocksdbDriver),
        #[cfg(feature = "sqlite")]
        Box::new(crate::sqlite::SqliteDriver),
    ];
    drivers.extend(
        [Engine::Pebble1, Engine::Pebble2, Engine::Badgerdb]
            .map(|engine| helped(config, engine))
            .into_iter()
            .flatten(),
    );
    drivers
}

/// The driver of an engine that lives in the Go helper, where the helper was named.
#[cfg(feature = "gostore")]
fn helped(config: &BuiltInConfig, engine: Engine) -> Option<Box<dyn Driver>> {
    use crate::gostore::{GostoreConfig, GostoreDriver};
    let config = GostoreConfig::new(config.gostore_helper.as_ref()?);
    GostoreDriver::new(engine, config).ok().map(|driver| Box::new(driver) as Box<dyn Driver>)
}

#[cfg(not(feature = "gostore"))]
fn helped(_: &BuiltInConfig, _: Engine) -> Option<Box<dyn Driver>> {
    None
}

/// How an engine that this build lacks can be had.
pub(crate) fn how_to_get(engine: Engine) -> &'static str {
    match engine {
        Engine::Goleveldb
        | Engine::Cleveldb
        | Engine::Pebble1
        | Engine::Pebble2
        | Engine::Bbolt
        | Engine::Badgerdb => {
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
                    .help(how_to_get(engine))
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
                let promises = driver.map_or_else(Vec::new, |driver| {
                    let (_, guarantees) = driver.target_profile();
                    guarantees.promises()
                });
                EngineStatus { engine, reads, writes, promises, note: note.to_owned() }
            })
            .collect()
    }

    fn holder(&self, path: &Path) -> Result<Option<Holder>> {
        crate::holder::holder(path)
    }
}
