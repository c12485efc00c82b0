//! Killed for real, at every durable step: a process that is gone leaves a home that its node
//! starts on, or refuses, and a migration that goes on to the same root or back to every byte.
//!
//! `cargo xtask test --lane crash` runs this. The program starts itself again with a hook that
//! counts durable steps and sends SIGKILL to its own process at one of them; the same command
//! line goes on afterwards. It has its own `main`, since the test harness of the language can't
//! start itself as something else. Words of the command line choose cases by their names.
//!
//! Needs `TRANSLOAD_HOMES` (folder of archived homes) and `TRANSLOAD_GOSTORE`. Further settings
//! are read in [`settings`].

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "this is its own test harness")]

mod campaign;
mod contents;
mod conversions;
mod disks;
mod doomed;
mod halts;
mod layouts;
mod ledger;
#[path = "../shared/litter.rs"]
mod litter;
mod meanwhile;
mod moments;
mod mounts;
mod nodes;
mod settings;
mod settling;
#[path = "../shared/mod.rs"]
mod shared;
mod stand;
mod steps;
mod trimming;
mod victim;
#[path = "../shared/victims.rs"]
mod victims;
mod ways;

use settings::Settings;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

type Case = (&'static str, fn(&Settings));

const CASES: &[Case] = &[
    ("a_kill_at_any_step_of_a_migration_is_resumed_to_the_same_root", campaign::resumed),
    ("a_kill_at_any_step_of_a_migration_is_rolled_back_byte_for_byte", campaign::undone),
    ("a_kill_while_targets_come_from_another_volume_is_resumed", campaign::elsewhere),
    ("a_second_kill_while_going_on_changes_nothing", campaign::resumed_twice),
    ("a_kill_at_any_step_of_a_rollback_is_ended_byte_for_byte", campaign::rollback),
    ("a_kill_at_any_step_of_finalize_leaves_the_new_databases_alone", campaign::finalize),
    ("a_kill_at_any_step_of_convert_leaves_nothing_or_all_at_its_target", conversions::killed),
    ("a_kill_at_any_step_of_a_new_layout_is_resumed_or_rolled_back", layouts::killed),
    ("a_kill_at_any_step_of_a_conversion_is_resumed_or_rolled_back", layouts::converted),
    ("a_kill_at_any_step_of_a_trim_is_resumed_or_rolled_back", trimming::killed),
    ("a_kill_at_any_step_of_a_repair_is_resumed_or_rolled_back", settling::killed),
    ("a_kill_at_any_moment_is_ended_as_an_operator_would", moments::killed),
    ("a_signal_stops_a_migration_cleanly_and_resume_goes_on", halts::stopped),
    ("a_node_started_at_any_stop_of_the_swap_serves_or_refuses", nodes::started),
    ("a_node_started_while_transload_works_gets_nowhere", meanwhile::nodes),
    ("a_config_rewritten_while_the_swap_goes_on_halts_it", meanwhile::rewritten),
    ("a_disk_that_fills_fails_or_turns_read_only_ends_in_the_same_root", disks::struck),
    ("a_home_that_is_read_only_while_it_soaks_is_told_and_left_alone", disks::read_only_soak),
    ("a_detached_migration_survives_its_terminal", halts::detached),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == doomed::MARK) {
        return doomed::run(&arguments);
    }
    mounts::enter();
    victim::adopt_orphans();
    let settings = Settings::from_environment();
    println!("seed {} (repeat with --seed {0} or TRANSLOAD_SEED={0})", settings.seed);
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(*word));
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES.iter().filter(|(name, _)| chosen(name)) {
        let began = Instant::now();
        let good = catch_unwind(|| case(&settings)).is_ok();
        *if good { &mut passed } else { &mut failed } += 1;
        let word = if good { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", began.elapsed().as_secs_f64());
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
