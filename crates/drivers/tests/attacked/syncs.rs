//! A power cut can't be had in a test; what it would find missing can: every write that is said
//! to be synced must have asked the system for that before it was acknowledged.

use crate::engine::engines;
use crate::proxy::Process;
use crate::wire::{CHUNK, CLOSE, SYNCED};
use std::path::Path;
use std::process::Command;
use transload_model::engine::Engine;
use transload_store::Engines as _;
use transload_store::contract::Entries;

/// System calls that make data last.
const CALLS: &str = "trace=fsync,fdatasync,msync,sync_file_range,sync,syncfs";

/// Writes that are counted.
const WRITES: usize = 8;

/// Asks the engine's process what it asked of the system.
pub(crate) fn asks(engine: Engine, _seed: u64) {
    let (able, promised) = engines().driver(engine).unwrap().target_profile();
    if !promised.durable_sync {
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        println!("not checked: strace: the syncs of {engine} weren't counted");
        return;
    }
    let without = calls(engine, SYNCED, 0);
    for (_, what) in [(able.write, SYNCED), (able.bulk_load, CHUNK)].iter().filter(|one| one.0) {
        let with = calls(engine, *what, WRITES);
        assert!(
            with >= without + WRITES,
            "durable-sync: {with} syncs with {WRITES} synced writes, {without} without"
        );
    }
}

/// How many syncs there are in the life of a store that gets so many writes of a kind.
fn calls(engine: Engine, what: u8, writes: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", CALLS, "-o"]).arg(&log);
    strace.arg(std::env::current_exe().unwrap());
    let path = folder.path().join("db");
    let (process, mut connection) = Process::start_under(&mut strace, engine, &path);
    for number in 0..writes {
        connection.tell(what, Some(&one(number))).unwrap();
    }
    connection.tell(CLOSE, None).unwrap();
    process.gone();
    lines(&log)
}

fn one(number: usize) -> Entries {
    Entries::from([(format!("key {number}").into_bytes(), vec![7; 100])])
}

/// Calls that were made; one that another thread's call cut in two has a second line.
fn lines(log: &Path) -> usize {
    let text = std::fs::read_to_string(log).unwrap();
    let call = |line: &&str| !line.contains("resumed>") && line.contains("sync");
    text.lines().filter(call).count()
}
