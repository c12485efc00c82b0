//! Another process that reads a database through its engine while this one writes it.

use crate::wire::{put_entries, take_entries};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use transload_model::engine::Engine;
use transload_store::contract::Entries;
use transload_store::memory::MemoryStore;
use transload_store::{Error, Kind, Result, Store};

/// First argument of the process; then follow the engine's name and the database's path.
pub(crate) const MARK: &str = "--beside";

/// What another process reads now.
pub(crate) fn read(engine: Engine, path: &Path) -> Result<Box<dyn Store>> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([MARK, engine.name()])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::new(Kind::Busy, "read beside a writer", said));
    }
    Ok(Box::new(MemoryStore::with(take_entries(&mut &output.stdout[..]).unwrap())))
}

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [name, path] = arguments else { return ExitCode::FAILURE };
    let engine = Engine::ALL.into_iter().find(|engine| engine.name() == name).unwrap();
    let entries = entries(engine, Path::new(path));
    put_entries(&mut std::io::stdout().lock(), &entries).unwrap();
    ExitCode::SUCCESS
}

/// All entries, by the engine's own library as any program would use it.
fn entries(engine: Engine, path: &Path) -> Entries {
    match engine {
        #[cfg(feature = "lmdb")]
        Engine::Lmdb => of_lmdb(path),
        #[cfg(feature = "sqlite")]
        Engine::Sqlite => of_sqlite(path),
        other => panic!("{other} promises readers beside a writer, and nothing here reads so"),
    }
}

#[cfg(feature = "lmdb")]
#[allow(unsafe_code, reason = "heed marks every open as unsafe, and there is no other way in")]
fn of_lmdb(path: &Path) -> Entries {
    use heed::types::Bytes;
    let mut options = heed::EnvOpenOptions::new();
    options.map_size(1 << 40).max_dbs(64);
    // SAFETY: the file is changed only through LMDB, in another process.
    let environment = unsafe { options.open(path) }.unwrap();
    let opening = environment.read_txn().unwrap();
    let opened = environment.open_databases_and_commit(opening, |opener, transaction| {
        let database = opener.open_database::<Bytes, Bytes>(transaction, Some("transload"))?;
        Ok::<_, heed::Error>(heed::CommitOrAbort::<_, ()>::Commit(database))
    });
    let database = opened.unwrap().commit().flatten().expect("the table of a target");
    let transaction = environment.read_txn().unwrap();
    let entries = database.iter(&transaction).unwrap();
    entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

#[cfg(feature = "sqlite")]
fn of_sqlite(path: &Path) -> Entries {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut query = connection.prepare("SELECT key, value FROM transload").unwrap();
    let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(std::result::Result::unwrap).collect()
}
