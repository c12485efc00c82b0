//! An engine of the registry, as the attack wants it.

use crate::proxy::Proxy;
use crate::{beside, proxy};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::engine::Engine;
use transload_store::contract::{Attacked, Entries, Subject};
use transload_store::{
    Durability, Engines as _, Result, SourceOptions, Store, TargetOptions, WriteBatch,
};

/// The engines of this build.
pub(crate) fn engines() -> BuiltIn {
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    BuiltIn::new(BuiltInConfig { gostore_helper: helper.filter(|path| path.is_file()) })
}

pub(crate) fn target_options() -> TargetOptions {
    TargetOptions { space: None, memory_bytes_max: 64 << 20 }
}

/// Stores of one engine, each in a folder of its own.
pub(crate) struct Attackable {
    engine: Engine,
    engines: BuiltIn,
    /// The last one is the last store's; kept until the end, since stores may still be open.
    folders: RefCell<Vec<TempDir>>,
    doomed: RefCell<Option<proxy::Process>>,
}

impl Attackable {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, engines: engines(), folders: RefCell::default(), doomed: RefCell::default() }
    }

    fn folder(&self) -> PathBuf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        self.folders.borrow_mut().push(folder);
        path
    }

    fn last(&self) -> PathBuf {
        self.folders.borrow().last().unwrap().path().join("db")
    }

    fn reopened(&self) -> Result<Box<dyn Store>> {
        self.engines.driver(self.engine)?.reopen_target(&self.last(), &target_options())
    }

    fn source(&self, path: &Path, scratch: PathBuf) -> Result<Box<dyn Store>> {
        std::fs::create_dir(&scratch).unwrap();
        let options =
            SourceOptions { scratch_dir: scratch, space: None, memory_bytes_max: 64 << 20 };
        self.engines.driver(self.engine)?.open_source(path, &options)
    }

    fn filled_at(&self, entries: &Entries) -> PathBuf {
        let folder = self.folder();
        let path = folder.join("db");
        let driver = self.engines.driver(self.engine).unwrap();
        let store = driver.create_target(&path, &target_options()).unwrap();
        let mut batch = WriteBatch::new();
        for (key, value) in entries {
            batch.put(key, value);
        }
        store.write(&batch, Durability::Buffered).unwrap();
        store.close().unwrap();
        folder
    }
}

impl Subject for Attackable {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        let folder = self.filled_at(entries);
        self.source(&folder.join("db"), folder.join("scratch")).unwrap()
    }

    fn target(&self) -> Option<Box<dyn Store>> {
        let path = self.folder().join("db");
        let driver = self.engines.driver(self.engine).unwrap();
        Some(driver.create_target(&path, &target_options()).unwrap())
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        self.reopened()
    }
}

impl Attacked for Attackable {
    fn doomed(&self) -> Box<dyn Store> {
        let path = self.folder().join("db");
        let (process, connection) = proxy::Process::start(self.engine, &path);
        *self.doomed.borrow_mut() = Some(process);
        let (capabilities, guarantees) = self.engines.driver(self.engine).unwrap().target_profile();
        Box::new(Proxy::new(self.engine, capabilities, guarantees, connection))
    }

    fn crash(&self, _chance: u64) -> Result<Box<dyn Store>> {
        self.doomed.borrow_mut().take().expect("a doomed store").kill();
        self.reopened()
    }

    fn damaged(&self, entries: &Entries, chance: u64) -> Result<Box<dyn Store>> {
        let folder = self.filled_at(entries);
        turn_a_bit(&folder.join("db"), chance);
        self.source(&folder.join("db"), folder.join("scratch"))
    }

    fn beside(&self) -> Result<Box<dyn Store>> {
        beside::read(self.engine, &self.last())
    }
}

/// Turns a bit of one of the files below `path`, every bit as likely as any other.
fn turn_a_bit(path: &Path, chance: u64) {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
    }
    let length = |file: &PathBuf| std::fs::metadata(file).unwrap().len();
    let mut bit = chance % (files.iter().map(length).sum::<u64>() * 8);
    for file in files {
        let bits = length(&file) * 8;
        if bit < bits {
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            std::fs::write(&file, bytes).unwrap();
            return;
        }
        bit -= bits;
    }
}
