//! A database that is open in another process than the program's, by its own engine.

use crate::homes::{Entries, helper};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::File;
use std::path::Path;
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::engine::Engine;
use transload_store::{Engines as _, Holder, Store, TargetOptions, WriteBatch};

/// The engines as the program has them.
pub(crate) fn engines() -> BuiltIn {
    BuiltIn::new(BuiltInConfig { gostore_helper: helper() })
}

/// Opens a database for writing. This process holds its locks, or the helper does.
pub(crate) fn open(engine: Engine, path: &Path) -> Box<dyn Store> {
    let options = TargetOptions { space: None, memory_bytes_max: 64 << 20 };
    engines().driver(engine).unwrap().reopen_target(path, &options).unwrap()
}

/// Makes a database with these entries, closed.
pub(crate) fn create(engine: Engine, path: &Path, entries: &Entries) {
    let options = TargetOptions { space: None, memory_bytes_max: 64 << 20 };
    let store = engines().driver(engine).unwrap().create_target(path, &options).unwrap();
    let mut batch = WriteBatch::new();
    for (key, value) in entries {
        batch.put(key, value);
    }
    store.write(&batch, transload_store::Durability::Synced).unwrap();
    store.close().unwrap();
}

/// A database held open by its engine until it is dropped, with a record that only its log has.
pub(crate) struct Holding {
    store: Box<dyn Store>,
    /// The holder's process.
    pub(crate) pid: u32,
    /// The holder's program.
    pub(crate) command: String,
}

impl Holding {
    /// Opens goleveldb, Pebble or redb. What it says of the holder is read from the kernel here,
    /// not taken from the program under test.
    pub(crate) fn of(engine: Engine, path: &Path) -> Self {
        let store = open(engine, path);
        let (pid, command) = match transload_drivers::holder(path).unwrap() {
            Some(Holder { pid, command }) => (pid, command),
            // The kernel names other processes only; it must be this one.
            None => (std::process::id(), own_name()),
        };
        Self { store, pid, command }
    }

    /// As [`Holding::of`], after a write that stands in the log alone.
    pub(crate) fn after_a_write(engine: Engine, path: &Path, key: &[u8], value: &[u8]) -> Self {
        let holding = Self::of(engine, path);
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        holding.store.write(&batch, transload_store::Durability::Synced).unwrap();
        holding
    }
}

/// A lock as RocksDB, LMDB and SQLite take it: of the whole process, gone when it closes any
/// handle of the file. Whoever holds it reads the file before, not meanwhile.
pub(crate) fn process_lock(file: &Path) -> File {
    let open = File::options().read(true).write(true).open(file).unwrap();
    fcntl_lock(&open, FlockOperation::NonBlockingLockExclusive).unwrap();
    open
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned()
}
