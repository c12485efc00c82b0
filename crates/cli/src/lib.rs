//! The command line of Transload: reads arguments, calls the engine, prints.
//!
//! Invariant: this is the only crate that prints, reads the environment, or exits.

mod args;
mod commands;
mod context;
mod exit;
mod output;
mod signals;

use args::{Cli, Command};
use clap::Parser;
pub use exit::Exit;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use transload_engine::{Error, Kind, StepHook, current_plan, state_dir_of};

/// Runs one command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    run_with_hook(args, Arc::new(|_| ()))
}

/// Runs one command line and tells `hook` the name of every durable step, as crash tests want.
pub fn run_with_hook(args: impl IntoIterator<Item = OsString>, hook: StepHook) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // With the terminal gone there is nobody left to tell.
            let _ = error.print();
            return exit;
        }
    };
    match context::Context::new(&cli.common, node_binary(&cli.command).as_deref(), hook) {
        Ok(context) => execute(&cli, &context),
        Err(error) => {
            let text = output::error::render(&error, false);
            let _ = std::io::stderr().write_all(text.as_bytes());
            Exit::of(error.kind())
        }
    }
}

/// The node's program that the command names; `resume` looks into the one that the plan names.
fn node_binary(command: &Command) -> Option<PathBuf> {
    match command {
        Command::Plan(args) => args.wish.node_binary.clone(),
        Command::Migrate(args) => args.wish.node_binary.clone(),
        // A plan that can't be read is refused by name when the migration is opened.
        Command::Resume(args) => {
            current_plan(&state_dir_of(&args.home)).ok().and_then(|plan| plan.home.node_binary)
        }
        _ => None,
    }
}

fn execute(cli: &Cli, context: &context::Context) -> Exit {
    let outcome = match &cli.command {
        Command::Inspect(args) => commands::inspect::run(context, args),
        Command::Engines => commands::engines::run(context),
        Command::Root(args) => commands::root::run(context, args),
        Command::Verify(args) => commands::verify::run(context, args),
        Command::Diff(args) => commands::diff::run(context, args),
        Command::Prove(args) => commands::prove::run(context, args),
        Command::Check(args) => commands::check::run(context, args),
        Command::Convert(args) => commands::convert::run(context, args),
        Command::Plan(args) => commands::plan::run(context, args),
        Command::Migrate(args) => commands::migrate::run(context, args),
        Command::Status(args) => commands::status::run(context, args),
        Command::Halt(args) => commands::status::halt(context, args),
        Command::Throttle(args) => commands::throttle::run(context, args),
        Command::Resume(args) => commands::migrate::resume(context, args),
        Command::Rollback(args) => commands::wayback::roll_back(context, args),
        Command::Finalize(args) => commands::wayback::finalize(context, args),
        Command::Doctor(args) => commands::doctor::run(context, args),
        Command::Completions { shell } => commands::shell::completions(context, *shell),
        Command::Man { dir } => commands::shell::man(dir),
    };
    let outcome = outcome.and_then(|exit| match context.lost() {
        None => Ok(exit),
        Some(error) => Err(Error::new(Kind::Stopped, "write the answer", error.to_string())
            .next("the work is done, and only its answer was lost: ask again")
            .caused_by(error)),
    });
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            let text = if cli.common.json {
                context.print_json(&output::error::ErrorDocument::new(&error));
                String::new()
            } else {
                output::error::render(&error, context.colour())
            };
            let _ = std::io::stderr().write_all(text.as_bytes());
            Exit::of(error.kind())
        }
    }
}
