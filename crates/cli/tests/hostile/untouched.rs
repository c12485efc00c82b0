//! The source stays as it is: bytes, names, sizes, times, modes and owners.
//!
//! A home under a live writer is read through linked snapshots, and every command that would
//! write refuses and names who holds it.

#[cfg(feature = "rocksdb")]
use crate::holding::open;
use crate::holding::{Holding, process_lock};
use crate::homes::{Copy, Outcome, changed, helper, imprint, transload, try_imprint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;

/// Homes whose databases and node differ, and the engine that their node has besides; 0.34 has
/// none that this program writes.
const HOMES: [(&str, Option<&str>); 4] = [
    ("cometbft-0.38-kvstore", Some("pebble1")),
    ("cosmos-simapp", Some("pebble1")),
    ("cosmos-simapp-sdk46-pruned", None),
    ("cometbft-1-pebble-v2", Some("goleveldb")),
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The canonical key of a height's header: canonical keys are the same in both layouts.
const HEADER_100: &str = "0000000000000064";

/// Calls every command that only reads a home; what each came to.
fn read_in_every_way(home: &Path, beside: &Path) -> Vec<(&'static str, Outcome)> {
    let home = text(home);
    let mut outcomes = Vec::new();
    for command in ["inspect", "verify", "root"] {
        outcomes.push((command, transload(&[command, home, "--json"])));
    }
    outcomes.push(("inspect --quick", transload(&["inspect", home, "--quick"])));
    outcomes.push(("diff", transload(&["diff", home, home])));
    let proven = transload(&["prove", home, "blockstore/meta", HEADER_100]);
    let proof = beside.join("proof.json");
    std::fs::write(&proof, &proven.shown).unwrap();
    outcomes.push(("prove", proven));
    let root = outcomes[2].1.document()["dataset_root"].as_str().unwrap_or("").to_owned();
    outcomes.push(("check", transload(&["check", text(&proof), "--root", &root])));
    outcomes.push(("engines", transload(&["engines"])));
    let archive = beside.join("support.tar");
    outcomes.push(("doctor", transload(&["doctor", home, text(&archive)])));
    for made in [proof, archive] {
        let _ = std::fs::remove_file(made);
    }
    outcomes
}

#[test]
fn reading_and_planning_and_an_unconfirmed_migration_change_nothing_of_the_home() {
    // F9
    let mut faults = Vec::new();
    for (name, engine) in HOMES {
        // Without Go no Pebble database can be read either.
        if name.contains("pebble") && helper().is_none() {
            continue;
        }
        let copy = Copy::of(name);
        let home = copy.home();
        let beside = tempfile::tempdir().unwrap();
        let before = imprint(&home);
        let mut outcomes = read_in_every_way(&home, beside.path());
        if home.join(".transload").exists() {
            faults.push(format!("{name}: a command that only reads made .transload"));
        }
        if let Some(engine) = engine.filter(|_| helper().is_some()) {
            let home = text(&home);
            outcomes.push(("plan", transload(&["plan", home, "--to", engine])));
            let migrated = transload(&["migrate", home, "--to", engine]);
            // Nobody was there to say yes.
            faults.extend(
                (migrated.code != 5 || !migrated.said.contains("no terminal to ask on"))
                    .then(|| format!("{name} migrate: exit {}: {}", migrated.code, migrated.said)),
            );
        }
        for (command, outcome) in outcomes {
            if outcome.code != 0 {
                faults.push(format!("{name} {command}: exit {}: {}", outcome.code, outcome.said));
            }
        }
        let after = imprint(&home);
        faults.extend(
            changed(&before, &after)
                .iter()
                .map(|path| format!("{name}: {} changed", path.display())),
        );
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The imprint of a home once its holder has stopped clearing up: Pebble removes what opening has
/// replaced on a thread of its own, and doesn't say when it is done.
fn settled(home: &Path) -> BTreeMap<PathBuf, String> {
    const LOOKS_ALIKE: usize = 12;
    let mut seen = BTreeMap::new();
    let mut alike = 0;
    while alike < LOOKS_ALIKE {
        // One that was removed in the middle of the look is no imprint.
        let Ok(now) = try_imprint(home) else { continue };
        alike = if now == seen { alike + 1 } else { 0 };
        seen = now;
    }
    seen
}

/// A home one of whose databases is open, and the engine of all of them.
const HELD: [(&str, &str, Engine, &str); 3] = [
    ("cosmos-simapp", "blockstore.db", Engine::Goleveldb, "pebble1"),
    ("cosmos-simapp", "application.db", Engine::Goleveldb, "pebble1"),
    // Its node has Pebble 2 and writes the format of Pebble 1.
    ("cometbft-1-pebble-v2", "state.db", Engine::Pebble1, "goleveldb"),
];

#[test]
fn a_held_home_is_read_and_never_written() {
    if helper().is_none() {
        return;
    }
    let mut faults = Vec::new();
    for (name, database, engine, other) in HELD {
        let copy = Copy::of(name);
        let home = copy.home();
        let beside = tempfile::tempdir().unwrap();
        let planned = transload(&["plan", text(&home), "--to", other]);
        assert_eq!(planned.code, 0, "{}", planned.said);
        let holding = Holding::of(engine, &home.join("data").join(database));
        let (pid, command) = (holding.pid.to_string(), holding.command.clone());
        let before = settled(&home);
        for (read, outcome) in read_in_every_way(&home, beside.path()) {
            if outcome.code != 0 {
                faults.push(format!("{name} {read}: exit {}: {}", outcome.code, outcome.said));
            }
            let databases = outcome.document()["databases"].to_string();
            if ["inspect", "verify", "root"].contains(&read)
                && !(databases.contains("\"pid\"") && databases.contains(&pid))
            {
                faults.push(format!("{name} {read} doesn't say that {pid} holds the home"));
            }
        }
        for write in [
            &["migrate", "--to", other, "--yes"][..],
            &["migrate", "--to", other],
            &["resume", "--yes"],
        ] {
            let mut call = write.to_vec();
            call.insert(1, text(&home));
            let outcome = transload(&call);
            let named = outcome.said.contains(&format!("{database} is held by process {pid}"))
                && outcome.said.contains(&command);
            if outcome.code != 3 || !named {
                faults.push(format!("{name} {write:?}: exit {}: {}", outcome.code, outcome.said));
            }
        }
        let after = imprint(&home);
        faults.extend(
            changed(&before, &after)
                .iter()
                .map(|path| format!("{name}: {} changed", path.display())),
        );
        drop(holding);
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn what_stands_in_a_held_databases_log_alone_is_read() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let path = copy.home().join("data/snapshots/metadata.db");
    let root = |path: &Path| {
        let outcome = transload(&["root", text(path), "--json"]);
        assert_eq!(outcome.code, 0, "{}", outcome.said);
        outcome.document()["dataset_root"].clone()
    };
    let before = root(&path);
    let holding = Holding::after_a_write(Engine::Goleveldb, &path, b"new", b"entry");
    let while_held = root(&path);
    assert_ne!(while_held, before, "the log wasn't read");
    drop(holding);
    assert_eq!(root(&path), while_held);
}

#[test]
fn a_node_that_starts_after_the_copy_stops_the_swap() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let copied = transload(&["migrate", text(&home), "--to", "pebble1"]);
    assert_eq!(copied.code, 5, "{}", copied.said);
    let holding = Holding::of(Engine::Goleveldb, &home.join("data/state.db"));
    let before = settled(&home);
    let outcome = transload(&["resume", text(&home), "--yes"]);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    for words in ["another process has it open", &holding.command, &holding.pid.to_string()] {
        assert!(outcome.said.contains(words), "{words}: {}", outcome.said);
    }
    drop(holding);
    // Opening it has changed the database: what was copied is no longer what stands there.
    let again = transload(&["resume", text(&home), "--yes"]);
    assert_eq!(again.code, 0, "{}", again.said);
    assert!(again.said.contains("report of attempt 2"), "{}", again.said);
}

#[test]
fn a_node_that_runs_on_the_target_stops_the_way_back() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let migrated = transload(&["migrate", text(&home), "--to", "pebble1", "--yes"]);
    assert_eq!(migrated.code, 0, "{}", migrated.said);
    let holding = Holding::of(Engine::Pebble1, &home.join("data/state.db"));
    let before = settled(&home);
    let outcome = transload(&["rollback", text(&home), "--yes"]);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    for words in ["another process has it open", &holding.command, &holding.pid.to_string()] {
        assert!(outcome.said.contains(words), "{words}: {}", outcome.said);
    }
    drop(holding);
    let back = transload(&["rollback", text(&home), "--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
}

/// Some are written by the helper.
fn can_be_made(engine: Engine) -> bool {
    ![Engine::Bbolt, Engine::Badgerdb].contains(&engine) || helper().is_some()
}

/// Converts a small database to an embedded engine.
fn converted(copy: &Copy, engine: &str) -> PathBuf {
    let source = copy.home().join("data/snapshots/metadata.db");
    let target = copy.beside(&format!("embedded.{engine}"));
    let call = ["convert", text(&source), text(&target), "--to", engine];
    let outcome = transload(&[&call[..], &["--accept-weaker", "checksummed"]].concat());
    assert_eq!(outcome.code, 0, "{engine}: {}", outcome.said);
    target
}

#[test]
fn an_engine_that_changes_its_file_in_place_is_not_read_beside_a_writer() {
    let copy = Copy::of("cosmos-simapp");
    let mut faults = Vec::new();
    let in_place = [Engine::Lmdb, Engine::Redb, Engine::Sqlite, Engine::Bbolt, Engine::Badgerdb];
    for engine in in_place.into_iter().filter(|engine| can_be_made(*engine)) {
        let path = converted(&copy, engine.name());
        let free = transload(&["root", text(&path)]);
        assert_eq!(free.code, 0, "{}", free.said);
        let before = imprint(copy.beside("").as_path());
        // LMDB's own writer locks a file beside, SQLite's its file while it writes; opening them
        // would change the files.
        let holding: Box<dyn std::any::Any> = match engine {
            Engine::Redb => Box::new(Holding::of(engine, &path)),
            Engine::Lmdb => Box::new(process_lock(&path.join("lock.mdb"))),
            // As they lock it.
            Engine::Bbolt | Engine::Badgerdb => {
                let file = std::fs::File::open(&path).unwrap();
                file.lock().unwrap();
                Box::new(file)
            }
            _ => Box::new(process_lock(&path)),
        };
        for command in ["root", "inspect", "verify"] {
            let outcome = transload(&[command, text(&path)]);
            let pid = std::process::id().to_string();
            let named = outcome.said.contains("in place") && outcome.said.contains(&pid);
            if outcome.code != 3 || !named {
                faults.push(format!("{engine} {command}: exit {}: {}", outcome.code, outcome.said));
            }
        }
        drop(holding);
        // Opening redb for writing changes its file.
        if engine != Engine::Redb {
            let after = imprint(copy.beside("").as_path());
            faults.extend(changed(&before, &after).iter().map(|path| path.display().to_string()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_rocksdb_database_is_left_as_it_is_and_read_beside_its_writer() {
    let copy = Copy::of("cosmos-simapp");
    let path = converted(&copy, "rocksdb");
    let mut faults = Vec::new();
    for held in [false, true] {
        let store = held.then(|| open(Engine::Rocksdb, &path));
        let before = imprint(&path);
        let lock = held.then(|| process_lock(&path.join("LOCK")));
        for command in ["inspect", "verify", "root"] {
            let outcome = transload(&[command, text(&path)]);
            if outcome.code != 0 {
                faults.push(format!("{command}: exit {}: {}", outcome.code, outcome.said));
            }
        }
        drop(lock);
        let after = imprint(&path);
        faults.extend(changed(&before, &after).iter().map(|path| path.display().to_string()));
        drop(store);
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
