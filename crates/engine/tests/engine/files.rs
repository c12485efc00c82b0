//! A file-backed store for tests: a folder with a file `ENGINE` that names its engine and one
//! file of sorted entries for each chunk or batch. It keeps the seam's rules and nothing more.
//!
//! Faults can be ordered from the outside: a read that fails, a write that fails, a byte that
//! is damaged on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use transload_model::engine::Engine;
use transload_store::memory::MemoryStore;
use transload_store::{
    BulkLoad, Capabilities, ChunkLoad, Cursor, Driver, Durability, EngineStatus, Engines, Error,
    Guarantees, Holder, KeyRange, Kind, Recognised, Result, Snapshot, SourceOptions, Store,
    TargetOptions, WriteBatch, WriteOp,
};

pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Counts down to a failure; `u64::MAX` never fails.
#[derive(Debug)]
pub(crate) struct Fuse(AtomicU64);

impl Default for Fuse {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Fuse {
    /// The operation after `count` more fails, and those after it don't.
    pub(crate) fn light(&self, count: u64) {
        self.0.store(count, Ordering::SeqCst);
    }

    fn burns_now(&self) -> bool {
        let burn = |left: u64| (left != u64::MAX).then(|| left.checked_sub(1).unwrap_or(u64::MAX));
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, burn) == Ok(0)
    }
}

/// Faults to inject.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Cursor steps of sources.
    pub(crate) source_read: Fuse,
    /// Puts into target chunks.
    pub(crate) target_put: Fuse,
    /// Commits of target chunks: applied, and then reported as unknown.
    pub(crate) target_commit_unknown: Fuse,
}

fn encode(entries: &Entries) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in entries {
        for part in [key, value] {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8], path: &Path) -> Result<Entries> {
    let corrupt = || {
        Error::new(Kind::Corrupt, "read", "a file of entries is cut off")
            .with("path", path.display().to_string())
    };
    let mut part = || -> Result<Option<Vec<u8>>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let length = u32::from_be_bytes(*length) as usize;
        let part = rest.get(..length).ok_or_else(corrupt)?.to_vec();
        bytes = &rest[length..];
        Ok(Some(part))
    };
    let mut entries = Entries::new();
    while let Some(key) = part()? {
        entries.insert(key, part()?.ok_or_else(corrupt)?);
    }
    Ok(entries)
}

/// Writes a database of `engine` at `path`, as a node would have.
pub(crate) fn write_database(path: &Path, engine: Engine, entries: &Entries) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("ENGINE"), engine.name()).unwrap();
    fs::write(path.join("000001.run"), encode(entries)).unwrap();
}

/// Reads a database from disk, whatever wrote it.
pub(crate) fn read_database(path: &Path) -> Result<Entries> {
    let io = |error| Error::io("read", path, error);
    let mut runs: Vec<PathBuf> = fs::read_dir(path)
        .map_err(io)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(io)?;
    runs.retain(|run| run.extension().is_some_and(|extension| extension == "run"));
    runs.sort();
    let mut entries = Entries::new();
    for run in runs {
        entries.extend(decode(&fs::read(&run).map_err(io)?, &run)?);
    }
    Ok(entries)
}

pub(crate) struct FileDriver {
    pub(crate) engine: Engine,
    pub(crate) capabilities: Capabilities,
    pub(crate) guarantees: Guarantees,
    pub(crate) faults: Arc<Faults>,
}

impl FileDriver {
    fn store(&self, path: &Path, content: Entries, writes: bool) -> Box<dyn Store> {
        Box::new(FileStore {
            engine: self.engine,
            path: path.to_owned(),
            content: MemoryStore::with(content),
            capabilities: if writes { self.capabilities } else { Capabilities::default() },
            guarantees: self.guarantees,
            faults: Arc::clone(&self.faults),
            is_source: !writes,
            runs: Arc::new(Mutex::new(1)),
        })
    }
}

impl Driver for FileDriver {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        (self.capabilities, self.guarantees)
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        assert!(options.scratch_dir.is_dir(), "a scratch folder is promised");
        Ok(self.store(path, read_database(path)?, false))
    }

    fn create_target(&self, path: &Path, _options: &TargetOptions) -> Result<Box<dyn Store>> {
        if path.exists() {
            return Err(Error::new(Kind::InvalidInput, "create", "something is there"));
        }
        let io = |error| Error::io("create", path, error);
        fs::create_dir_all(path).map_err(io)?;
        fs::write(path.join("ENGINE"), self.engine.name()).map_err(io)?;
        Ok(self.store(path, Entries::new(), true))
    }

    fn reopen_target(&self, path: &Path, _options: &TargetOptions) -> Result<Box<dyn Store>> {
        Ok(self.store(path, read_database(path)?, true))
    }
}

struct FileStore {
    engine: Engine,
    path: PathBuf,
    content: MemoryStore,
    capabilities: Capabilities,
    guarantees: Guarantees,
    faults: Arc<Faults>,
    is_source: bool,
    runs: Arc<Mutex<u64>>,
}

fn write_run(folder: &Path, name: &str, entries: &Entries) -> Result<()> {
    let path = folder.join(name);
    let io = |error| Error::io("write", &path, error);
    let mut file = fs::File::create(&path).map_err(io)?;
    file.write_all(&encode(entries)).map_err(io)?;
    file.sync_all().map_err(io)
}

impl Store for FileStore {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn engine_version(&self) -> String {
        "test".into()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let faults = self.is_source.then(|| Arc::clone(&self.faults));
        Ok(Arc::new(FileSnapshot { inner: self.content.snapshot()?, faults }))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        if !self.capabilities.write {
            return Err(Error::unsupported("write", "no batches"));
        }
        if self.faults.target_put.burns_now() {
            return Err(Error::new(Kind::NoSpace, "write", "no space is left"));
        }
        let mut entries = Entries::new();
        for op in batch.ops() {
            if let WriteOp::Put { key, value } = op {
                entries.insert(key.clone(), value.clone());
            }
        }
        let mut runs = self.runs.lock().unwrap();
        *runs += 1;
        write_run(&self.path, &format!("{runs:06}.run"), &entries)?;
        self.content.write(batch, durability)
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        if !self.capabilities.bulk_load {
            return Err(Error::unsupported("bulk load", "no bulk path"));
        }
        let content = self.content.bulk_load()?;
        let (path, faults) = (self.path.clone(), Arc::clone(&self.faults));
        Ok(Arc::new(FileLoad { content, path, faults }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct FileSnapshot {
    inner: Arc<dyn Snapshot>,
    faults: Option<Arc<Faults>>,
}

impl Snapshot for FileSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let (inner, faults) = (self.inner.cursor(range)?, self.faults.clone());
        Ok(Box::new(FileCursor { inner, faults }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.inner.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.inner.approximate_bytes(range)
    }
}

struct FileCursor {
    inner: Box<dyn Cursor>,
    faults: Option<Arc<Faults>>,
}

impl Cursor for FileCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.faults.as_ref().is_some_and(|faults| faults.source_read.burns_now()) {
            return Err(Error::new(Kind::Io, "read", "the disk failed"));
        }
        self.inner.next()
    }
}

struct FileLoad {
    content: Arc<dyn BulkLoad>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl BulkLoad for FileLoad {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        Ok(Box::new(FileChunk {
            content: self.content.chunk(range)?,
            path: self.path.clone(),
            name: format!("{}.run", blake_name(range)),
            entries: Entries::new(),
            faults: Arc::clone(&self.faults),
        }))
    }
}

/// A chunk that is loaded again replaces its own file.
fn blake_name(range: &KeyRange) -> String {
    hex::encode(&transload_model::merkle::sha256(&range.start)[..8])
}

struct FileChunk {
    content: Box<dyn ChunkLoad>,
    path: PathBuf,
    name: String,
    entries: Entries,
    faults: Arc<Faults>,
}

impl ChunkLoad for FileChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.faults.target_put.burns_now() {
            return Err(Error::new(Kind::NoSpace, "bulk load", "no space is left"));
        }
        self.content.put(key, value)?;
        self.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        write_run(&self.path, &self.name, &self.entries)?;
        self.content.commit()?;
        if self.faults.target_commit_unknown.burns_now() {
            return Err(Error::new(Kind::HelperLost, "commit", "no answer").effect_unknown());
        }
        Ok(())
    }
}

/// The engines of the tests: all of them are [`FileDriver`]s.
pub(crate) struct FileEngines {
    drivers: Vec<FileDriver>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) holder: Mutex<Option<Holder>>,
}

/// The promises of a strong engine.
pub(crate) fn strong() -> Guarantees {
    MemoryStore::new().guarantees()
}

impl FileEngines {
    pub(crate) fn new() -> Self {
        let both = Capabilities { write: true, bulk_load: true };
        Self::with(|engine| {
            let batches_only = Capabilities { write: true, bulk_load: false };
            match engine {
                Engine::Sqlite => (batches_only, strong()),
                Engine::Lmdb => (both, Guarantees { key_bytes_max: 511, ..strong() }),
                Engine::Redb => (both, Guarantees { checksummed: false, ..strong() }),
                _ => (both, strong()),
            }
        })
    }

    fn with(profile: impl Fn(Engine) -> (Capabilities, Guarantees)) -> Self {
        let faults = Arc::new(Faults::default());
        let drivers = Engine::ALL
            .into_iter()
            .map(|engine| {
                let (capabilities, guarantees) = profile(engine);
                FileDriver { engine, capabilities, guarantees, faults: Arc::clone(&faults) }
            })
            .collect();
        Self { drivers, faults, holder: Mutex::new(None) }
    }
}

impl Engines for FileEngines {
    fn recognise(&self, path: &Path) -> Result<Recognised> {
        if !path.exists() {
            return Err(Error::new(Kind::NotFound, "recognise", "nothing is there"));
        }
        let unknown = || Error::new(Kind::UnknownFormat, "recognise", "no engine's files");
        let name = fs::read_to_string(path.join("ENGINE")).map_err(|_| unknown())?;
        if name.contains("and") {
            return Err(Error::new(
                Kind::UnknownFormat,
                "recognise",
                "two engines have touched it",
            ));
        }
        let bytes_on_disk = fs::read_dir(path)
            .map_err(|error| Error::io("recognise", path, error))?
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|metadata| metadata.len())
            .sum();
        Ok(Recognised {
            engine: name.parse().map_err(|_| unknown())?,
            version: "test".into(),
            evidence: "the file ENGINE".into(),
            has_tables: true,
            bytes_on_disk,
        })
    }

    fn driver(&self, engine: Engine) -> Result<&dyn Driver> {
        let driver = self.drivers.iter().find(|driver| driver.engine == engine);
        Ok(driver.ok_or_else(|| Error::unsupported("driver", "not built in"))?)
    }

    fn status(&self) -> Vec<EngineStatus> {
        self.drivers
            .iter()
            .map(|driver| EngineStatus {
                promises: driver.guarantees.promises(),
                engine: driver.engine,
                reads: true,
                writes: true,
                note: String::new(),
            })
            .collect()
    }

    fn holder(&self, _path: &Path) -> Result<Option<Holder>> {
        Ok(self.holder.lock().unwrap().clone())
    }
}
