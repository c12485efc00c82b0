//! The source stays as it is: bytes, names, sizes, times, modes and owners.
//!
//! A home under a live writer is read through linked snapshots, and every command that would
//! write refuses and names who holds it.

use crate::homes::{Copy, changed, helper, imprint, transload};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Homes whose databases and node differ.
const HOMES: [&str; 3] = ["cometbft-0.38-kvstore", "cosmos-simapp", "cosmos-simapp-sdk46-pruned"];

/// A process that holds the lock of a database until it is dropped.
struct Holding(Child);

impl Holding {
    /// Takes the lock as goleveldb does.
    fn of(database: &Path) -> Self {
        let mut child = Command::new("flock")
            .arg(database.join("LOCK"))
            .args(["sh", "-c", "echo held; read wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn reading_and_planning_and_an_unconfirmed_migration_change_nothing_of_the_home() {
    let mut faults = Vec::new();
    for name in HOMES {
        let copy = Copy::of(name);
        let home = copy.home();
        let around = copy.beside("");
        let before = imprint(&around);
        for command in ["inspect", "verify", "root"] {
            let outcome = transload(&[OsStr::new(command), home.as_os_str()]);
            if outcome.code != 0 {
                faults.push(format!("{name} {command}: exit {}: {}", outcome.code, outcome.said));
            }
        }
        let table = "blockstore/meta";
        let prove = ["prove", home.to_str().unwrap(), table, "0000000000000064"];
        let proven = transload(&prove);
        if proven.code != 0 {
            faults.push(format!("{name} prove: exit {}: {}", proven.code, proven.said));
        }
        let same = transload(&["diff".as_ref(), home.as_os_str(), home.as_os_str()]);
        if same.code != 0 {
            faults.push(format!("{name} diff: exit {}: {}", same.code, same.said));
        }
        if home.join(".transload").exists() {
            faults.push(format!("{name}: a command that only reads made .transload"));
        }
        // 0.34 has no engine that this program writes.
        if !name.contains("sdk46") && helper().is_some() {
            for (command, code) in [("plan", 0), ("migrate", 5)] {
                let outcome = transload(&[command, home.to_str().unwrap(), "--to", "pebble1"]);
                if outcome.code != code {
                    faults
                        .push(format!("{name} {command}: exit {}: {}", outcome.code, outcome.said));
                }
            }
        }
        for path in changed(&before, &imprint(&around)) {
            // Making .transload changes the time of the home's own folder.
            if path != home {
                faults.push(format!("{name}: {} changed", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_held_home_is_read_and_never_written() {
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let free = transload(&["root".as_ref(), home.as_os_str(), "--json".as_ref()]).document();
    assert!(free["dataset_root"].is_string(), "{free}");
    let holding = Holding::of(&home.join("data/blockstore.db"));
    let before = imprint(&home);
    let mut faults = Vec::new();
    for command in ["inspect", "verify", "root"] {
        let outcome = transload(&[command.as_ref(), home.as_os_str(), "--json".as_ref()]);
        let document = outcome.document();
        if outcome.code != 0 || document["dataset_root"] != free["dataset_root"] {
            faults.push(format!("{command}: exit {}: {}", outcome.code, outcome.said));
        }
        if !document["databases"].to_string().contains("\"pid\"") {
            faults.push(format!("{command} doesn't say who holds the home"));
        }
    }
    if helper().is_some() {
        for yes in [&["--yes"][..], &[]] {
            let mut arguments = vec!["migrate", home.to_str().unwrap(), "--to", "pebble1"];
            arguments.extend(yes);
            let outcome = transload(&arguments);
            let names_it = outcome.said.contains("blockstore.db is held by process");
            if outcome.code != 3 || !names_it {
                faults.push(format!("migrate {yes:?}: exit {}: {}", outcome.code, outcome.said));
            }
        }
    }
    faults.extend(
        changed(&before, &imprint(&home)).iter().map(|path| format!("{} changed", path.display())),
    );
    drop(holding);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_node_that_starts_after_the_copy_stops_the_swap() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let home_text = home.to_str().unwrap();
    let copied = transload(&["migrate", home_text, "--to", "pebble1"]);
    assert_eq!(copied.code, 5, "{}", copied.said);
    let holding = Holding::of(&home.join("data/state.db"));
    let before = imprint(&home);
    let outcome = transload(&["resume", home_text, "--yes"]);
    let after = imprint(&home);
    drop(holding);
    assert_eq!(changed(&before, &after), Vec::<std::path::PathBuf>::new());
    assert!([3, 5].contains(&outcome.code), "exit {}: {}", outcome.code, outcome.said);
    assert!(outcome.said.contains("another process has it open"), "{}", outcome.said);
    assert!(outcome.said.contains("command flock"), "{}", outcome.said);
    let gone_on = transload(&["resume", home_text, "--yes"]);
    assert_eq!(gone_on.code, 0, "{}", gone_on.said);
}

#[test]
fn a_pebble_home_is_left_as_it_is_too() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cometbft-1-pebble-v2");
    let home = copy.home();
    let before = imprint(&home);
    for command in ["inspect", "verify", "root"] {
        let outcome = transload(&[OsStr::new(command), home.as_os_str()]);
        assert_eq!(outcome.code, 0, "{command}: {}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&home)), Vec::<std::path::PathBuf>::new());
}
