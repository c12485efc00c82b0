//! Nodes that somebody starts while a migration stands still: between copy and swap, and in the
//! middle of the swap, also with the flags and variables that bypass the config.

use crate::bank;
use crate::chain;
use crate::home::{NodeHome, known_answers};
use crate::node::{Node, Software};
use crate::program::{call, stands_on, transload};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What this node's application keeps; its library for its own databases knows no Pebble.
const APP: [&str; 4] = ["--only", "application.db", "--only", "snapshots/metadata.db"];

#[test]
fn blocks_made_between_copy_and_swap_are_noticed_and_copied_too() {
    let (home, mut pairs) = chain::make(Software::CometBft038, 12);
    // Nobody is there to say yes, so it stops when everything but the swap is done.
    let stopped = call("migrate", &home, &["--to", "pebble1"]);
    assert_eq!(stopped.code, Some(5), "{}", stopped.said);
    assert!(stopped.said.contains("no terminal to ask on"), "{}", stopped.said);
    stands_on(&home, "goleveldb");
    let mut node = Node::start(&home);
    let tip = node.wait_for_height(14);
    let pair = ("between".to_owned(), "copy and swap".to_owned());
    chain::write(node.rpc, &pair);
    pairs.push(pair);
    let tip = node.wait_for_height(tip + 2);
    node.stop();
    let resumed = call("resume", &home, &["--yes"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.said);
    assert!(resumed.said.contains("changed since it was copied"), "{}", resumed.said);
    stands_on(&home, "pebble1");
    let verified = transload("verify", &home, &[]);
    assert!(verified["height_last"].as_str().unwrap().parse::<u64>().unwrap() >= tip);
    let mut node = Node::start(&home);
    node.wait_for_height(tip + 2);
    chain::compare_pairs(node.rpc, &pairs);
    node.stop();
}

#[test]
fn an_sdk_node_is_refused_under_a_guard_whatever_bypasses_its_config() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("not checked: strace: no swap was stopped in the middle");
        return;
    }
    let name = "cosmos-simapp";
    let known = known_answers(name);
    let tip = known["last_height"].as_u64().unwrap();
    // The variable is heard: an engine that there isn't is refused.
    let calm = NodeHome::unpack(name, Software::Simapp);
    let heard = Node::start_with(&calm, &[], &[("SIMAPP_APP_DB_BACKEND", "no-such-engine")]);
    heard.ends_refused();
    let guard_stands = exchanges(&calm).into_iter().find(|exchange| exchange.1).unwrap().0;

    let home = NodeHome::unpack(name, Software::Simapp);
    let config = home.path().join("config/app.toml");
    let unguarded = std::fs::read_to_string(&config).unwrap();
    // The guard is in its place when the next exchange is about to come.
    let kill = format!("inject=renameat2:signal=KILL:when={}", guard_stands + 1);
    let killed = traced(&home, &["-e", "trace=renameat2", "-e", &kill]);
    assert!(!killed, "it was never killed");
    let guard = home.path().join("data/application.db");
    assert!(std::fs::read_to_string(&guard).unwrap().contains("transload"));
    let before = databases(&home);
    let flags: [&[&str]; 3] = [&[], &["--db_backend", "goleveldb"], &["--db_backend", "pebbledb"]];
    for flags in flags {
        for variable in ["", "SIMAPP_APP_DB_BACKEND", "SIMAPP_DB_BACKEND"] {
            for engine in ["goleveldb", "pebbledb"] {
                let variables = [(variable, engine)];
                let variables = if variable.is_empty() { &[][..] } else { &variables };
                Node::start_with(&home, flags, variables).ends_refused();
                assert!(databases(&home) == before, "{flags:?} {variables:?}");
            }
        }
    }
    // A tool that puts the old config back is noticed, and no node gets past the guard.
    let guarded = std::fs::read_to_string(&config).unwrap();
    assert!(guarded.contains("transload"), "{guarded}");
    std::fs::write(&config, unguarded).unwrap();
    Node::start(&home).ends_refused();
    let halted = call("resume", &home, &["--yes"]);
    assert!(matches!(halted.code, Some(5 | 6)), "{:?}: {}", halted.code, halted.said);
    assert!(halted.said.contains("app.toml"), "{}", halted.said);
    assert!(databases(&home) == before);
    std::fs::write(&config, guarded).unwrap();
    transload("resume", &home, &["--yes"]);
    let mut node = Node::start(&home);
    node.wait_for_height(tip + 3);
    chain::compare_link(node.rpc, tip, &known["heights"][tip.to_string()]["block_hash"]);
    assert!(bank::compare_balances(node.rpc, &known) > 0, "no balance is known");
    node.stop();
    transload("verify", &home, &[]);
}

/// The home's databases, or what stands in their place.
fn databases(home: &NodeHome) -> Vec<(PathBuf, Vec<u8>)> {
    let data = home.path().join("data");
    let is_log = |path: &PathBuf| path.ends_with("LOCK") || path.ends_with("LOG");
    let contents = home.contents().into_iter();
    contents
        .filter(|(path, _)| path.starts_with(&data) && path.to_string_lossy().contains(".db"))
        .filter(|(path, _)| !is_log(path))
        .collect()
}

/// The numbers of a migration's exchanges, counted from 1, and whether each puts a guard in the
/// place of the application's database.
fn exchanges(home: &NodeHome) -> Vec<(usize, bool)> {
    let log = home.path().with_file_name("calls");
    let done = traced(home, &["-e", "trace=renameat2", "-o", log.to_str().unwrap()]);
    assert!(done, "without faults");
    let text = std::fs::read_to_string(log).unwrap();
    let calls = text.lines().filter(|line| line.contains("renameat2("));
    let guards = |call: &str| call.contains("data/application.db\"") && call.contains("/kept/");
    calls.enumerate().map(|(number, call)| (number + 1, guards(call))).collect()
}

/// Migrates under `strace`; whether it came to its end.
fn traced(home: &NodeHome, more: &[&str]) -> bool {
    let mut migrate = Command::new("strace");
    migrate
        .args(["-qq", "-f", "-s", "4096", "-e", "signal=none"])
        .args(more)
        .arg(env!("CARGO_BIN_EXE_transload"))
        .arg("migrate")
        .arg(home.path())
        .args(["--to", "pebble1", "--yes"])
        .args(APP)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    migrate.status().unwrap().success()
}
