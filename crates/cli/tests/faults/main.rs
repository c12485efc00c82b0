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
mod stored;
mod syncs;
mod verdict;
mod ward;

use settings::Settings;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

const HANGS: &str = "a_helper_that_hangs_is_given_up_in_bounded_time";

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
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES.iter().filter(|(name, _)| chosen(name)) {
        let began = Instant::now();
        let good = catch_unwind(|| case(&settings)).is_ok();
        *if good { &mut passed } else { &mut failed } += 1;
        let word = if good { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", began.elapsed().as_secs_f64());
    }
    ward::clean_up();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
