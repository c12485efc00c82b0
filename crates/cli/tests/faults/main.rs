//! The real program, and its helper, while system calls, frames and stored bytes go wrong.
//!
//! `cargo xtask test --lane faults` runs this. `strace` makes single calls of the real processes
//! fail or lie; a proxy that stands between transload and its helper spoils frames; files are
//! spoiled between commands. Whatever happens: success is said only of an equal target, a node
//! never starts on a mixture, the old databases are unchanged, nobody panics, nobody works for
//! ever, and without faults it goes on to the end or back.
//!
//! It has its own `main`, since it starts itself as the proxy. Words of the command line choose
//! cases by their names. Settings from the environment are read in [`settings`].

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "this is its own test harness")]

mod calls;
mod conversions;
mod frames;
mod injection;
mod program;
mod proxy;
mod settings;
#[path = "../shared/mod.rs"]
mod shared;
mod stored;
mod syncs;
mod verdict;
#[path = "../shared/victims.rs"]
mod victims;
mod ward;

use settings::Settings;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const HANGS: &str = "a_helper_that_hangs_is_given_up_in_bounded_time";

/// Cases that are worked on at the same time, each with as many runs as are set.
const CASES_AT_A_TIME: usize = 3;

type Case = (&'static str, fn(&Settings));

const CASES: &[Case] = &[
    ("a_system_call_that_fails_or_lies_never_harms_a_migration", calls::migrations),
    ("a_system_call_that_fails_or_lies_never_harms_a_way_back_or_out", calls::ways_out),
    ("a_system_call_that_fails_or_lies_never_harms_a_conversion", conversions::failing),
    ("a_helper_whose_frames_are_spoiled_is_an_ordinary_error", frames::spoiled),
    (HANGS, frames::hanging),
    ("what_gets_its_name_is_synced_before", syncs::before_names),
    ("bytes_that_are_spoiled_between_commands_are_never_taken_over", stored::spoiled),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == proxy::MARK) {
        return proxy::run(&arguments[1..]);
    }
    let settings = Settings::from_environment();
    println!("seed {} (repeat with --seed {0} or TRANSLOAD_SEED={0})", settings.seed);
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| {
        let is_wanted = wanted.is_empty() || wanted.iter().any(|word| name.contains(*word));
        // A helper that hangs takes a minute: only where somebody asks for it.
        is_wanted && (settings.hangs > 0 || name != HANGS)
    };
    let (passed, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let cases: Vec<Case> = CASES.iter().filter(|(name, _)| chosen(name)).copied().collect();
    // Where a fault silences a helper, a run waits out a minute of silence: the other cases go on.
    shared::each(CASES_AT_A_TIME, &cases, |(name, case)| {
        let began = Instant::now();
        let good = catch_unwind(|| case(&settings)).is_ok();
        if good { &passed } else { &failed }.fetch_add(1, Ordering::Relaxed);
        let word = if good { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", began.elapsed().as_secs_f64());
    });
    let (passed, failed) = (passed.into_inner(), failed.into_inner());
    ward::clean_up();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
