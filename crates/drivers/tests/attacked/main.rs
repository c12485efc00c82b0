//! What each engine promises is attacked: its writer is killed for real, its files are damaged,
//! other processes read beside it, its system calls are counted.
//!
//! Every engine of the build's registry is attacked, so that one that is added can't promise
//! anything that nobody tried. The program starts itself again as the process that is killed,
//! and as the reader beside a writer; therefore it has its own `main`.
//!
//! `TRANSLOAD_ATTACKS` sets how often each engine's writer is killed, `TRANSLOAD_SEED`
//! when. Words of the command line choose engines by their names.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "this is its own test harness")]

mod beside;
mod engine;
mod proxy;
mod syncs;
mod victim;
mod wire;

use engine::{Attackable, engines};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;
use transload_model::engine::Engine;
use transload_store::Engines as _;
use transload_store::contract::attack;

/// A case's name, and what it does with an engine and a seed.
type Case = (&'static str, fn(Engine, u64));

/// Kills of each engine's writer where nobody has set another number.
const ROUNDS: u64 = 12;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(victim::MARK) => return victim::run(&arguments[1..]),
        Some(beside::MARK) => return beside::run(&arguments[1..]),
        _ => {}
    }
    proxy::adopt_orphans();
    let seed = number("TRANSLOAD_SEED").unwrap_or(1);
    println!("seed {seed} (repeat with TRANSLOAD_SEED={seed})");
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(*word));
    let (mut passed, mut failed) = (0, 0);
    for engine in Engine::ALL.into_iter().filter(|engine| chosen(engine.name())) {
        let writes = engines().status().into_iter().any(|one| one.engine == engine && one.writes);
        if !writes {
            println!("not checked: {engine} can't be written here, its promises weren't attacked");
            continue;
        }
        let cases: [Case; 2] =
            [("keeps_what_it_promises", withstands), ("syncs_what_it_says_is_synced", syncs::asks)];
        for (name, case) in cases {
            let began = Instant::now();
            let good = catch_unwind(|| case(engine, seed)).is_ok();
            *if good { &mut passed } else { &mut failed } += 1;
            let word = if good { "ok" } else { "FAILED" };
            println!("test {engine}_{name} ... {word} ({:.1} s)", began.elapsed().as_secs_f64());
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every promise that the engine makes is attacked, and none else is made.
fn withstands(engine: Engine, seed: u64) {
    let rounds = number("TRANSLOAD_ATTACKS").unwrap_or(ROUNDS);
    let attacked = attack(&Attackable::new(engine), rounds, seed);
    let promises =
        engines().status().into_iter().find(|one| one.engine == engine).unwrap().promises;
    assert_eq!(attacked, promises);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
