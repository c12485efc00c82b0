//! The `transload` program. Everything is in the library, so that tests can run it with hooks.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(transload::run(std::env::args_os()).code())
}
