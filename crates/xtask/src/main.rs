//! `cargo xtask`: the project's own commands.
//!
//! `demo` shows the main job on a real home, `test` runs every lane, `tidy` keeps the house,
//! `fuzz` runs the fuzz targets, `build-helper` builds the Go helper, `build-nodes` the real nodes
//! of the tests.

mod demo;
mod fuzz;
mod helper;
mod lanes;
mod nodes;
mod place;
mod plyvel;
mod tidy;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and migrate a copy of a real node home that is in this repository
    Demo {
        /// The engine to migrate to [default: pebble1; where Go is missing, every database is
        /// converted to redb instead]
        #[arg(long)]
        to: Option<String>,
    },
    /// Run every test lane; ends with `N passed, N failed`
    Test {
        /// Only this lane (may be given more than once)
        #[arg(long, value_name = "NAME")]
        lane: Vec<String>,
        /// A folder of node homes (NAME.tar.gz, NAME.answers.json) for the fixtures lane
        /// [default: testdata/homes]
        #[arg(long, value_name = "DIR")]
        fixtures: Option<PathBuf>,
        /// Seed of the randomised lanes [default: from the commit, printed]
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// List the lanes and leave
        #[arg(long)]
        list: bool,
    },
    /// Fuzz every decoder of foreign bytes, and print what each target did
    Fuzz {
        /// Only this target (may be given more than once)
        #[arg(long, value_name = "NAME")]
        target: Vec<String>,
        /// Executions of each target
        #[arg(long, value_name = "N", default_value_t = 10_000_000)]
        runs: u64,
        /// Seconds for each target, instead of executions
        #[arg(long, value_name = "N", conflicts_with = "runs")]
        seconds: Option<u64>,
        /// Seed of the fuzzer
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// Put the smallest inputs that cover as much as all into fuzz/corpus
        #[arg(long)]
        keep: bool,
        /// List the targets and leave
        #[arg(long)]
        list: bool,
    },
    /// Check the house: crate arrows, file lengths, names, leftovers, ARCHITECTURE.md
    Tidy,
    /// Build the Go helper beside the transload binary and print its path
    BuildHelper,
    /// Build the real node programs of the lane `real` and print their folder
    BuildNodes,
}

fn say_path(path: &Path) -> bool {
    place::say(&path.display().to_string());
    true
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo { to } => demo::show(to.as_deref()),
        Command::Test { list: true, .. } => {
            lanes::list();
            Ok(true)
        }
        Command::Test { lane, fixtures, seed, list: false } => {
            lanes::run_lanes(&lane, fixtures.as_deref(), seed)
        }
        Command::Fuzz { list: true, .. } => fuzz::list().map(|()| true),
        Command::Fuzz { target, runs, seconds, seed, keep, list: false } => {
            let length = seconds.map_or(fuzz::Length::Runs(runs), fuzz::Length::Seconds);
            let campaign = fuzz::Campaign { targets: target, length, seed, grow: true, keep };
            fuzz::run_targets(&campaign).map(|outcome| outcome.failed == 0)
        }
        Command::Tidy => tidy::report(),
        Command::BuildHelper => helper::build().map(|path| say_path(&path)),
        Command::BuildNodes => nodes::build().map(|path| say_path(&path)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            place::say(&format!("xtask: {error}"));
            ExitCode::FAILURE
        }
    }
}
