//! Benchmarks in pairs: each figure stands beside a peer or a raw limit from the same run.
//!
//! ```text
//! cargo run --release -p transload-bench -- copy --records 5000000 --peer /tmp/peer
//! cargo run --release -p transload-bench -- layout /data/home --to v2
//! cargo run --release -p transload-bench -- signatures
//! ```

mod copy;
mod layouts;
mod measure;
mod memory;
mod signatures;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Pairs Transload with a peer or a raw limit, in one run")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A verified copy beside the canonical engines' own loops
    Copy(copy::Arguments),
    /// A change of layout beside the plain move
    Layout(layouts::Arguments),
    /// Validators' signatures in batches beside one at a time
    Signatures(signatures::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Copy(arguments) => copy::run(&arguments),
        What::Layout(arguments) => layouts::run(&arguments),
        What::Signatures(arguments) => signatures::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Without a reader there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

type Result<T> = std::result::Result<T, String>;
