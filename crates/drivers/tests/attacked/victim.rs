//! The process that is killed: it opens a store and writes what it is told.

use crate::engine::{engines, target_options};
use crate::wire::{BUFFERED, CHUNK, DONE, SYNCED, take_entries};
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use transload_model::engine::Engine;
use transload_store::contract::Entries;
use transload_store::{Durability, Engines as _, KeyRange, Store, WriteBatch};

/// First argument of the process; then follow the engine's name and the store's path.
pub(crate) const MARK: &str = "--victim";

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [name, path] = arguments else { return ExitCode::FAILURE };
    let engine = Engine::ALL.into_iter().find(|engine| engine.name() == name).unwrap();
    let engines = engines();
    let driver = engines.driver(engine).unwrap();
    let store = driver.create_target(Path::new(path), &target_options()).unwrap();
    let (mut input, mut output) = (BufReader::new(std::io::stdin()), std::io::stdout());
    let mut answer = || output.write_all(&[DONE]).and_then(|()| output.flush());
    answer().unwrap();
    loop {
        let mut told = [0];
        // Whoever tells is gone: then so are we.
        if input.read_exact(&mut told).is_err() {
            return ExitCode::SUCCESS;
        }
        match told[0] {
            CHUNK => load(&*store, &take_entries(&mut input).unwrap()),
            how @ (BUFFERED | SYNCED) => {
                let durability =
                    if how == SYNCED { Durability::Synced } else { Durability::Buffered };
                let mut batch = WriteBatch::new();
                for (key, value) in take_entries(&mut input).unwrap() {
                    batch.put(&key, &value);
                }
                store.write(&batch, durability).unwrap();
            }
            _ => break,
        }
        answer().unwrap();
    }
    store.close().unwrap();
    answer().unwrap();
    ExitCode::SUCCESS
}

fn load(store: &dyn Store, entries: &Entries) {
    let (first, last) = (entries.keys().next().unwrap(), entries.keys().next_back().unwrap());
    let range = KeyRange::new(first.clone(), [last.as_slice(), b"\0"].concat());
    let mut chunk = store.bulk_load().unwrap().chunk(&range).unwrap();
    for (key, value) in entries {
        chunk.put(key, value).unwrap();
    }
    chunk.commit().unwrap();
}
