//! `transload completions` and `transload man`.

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Exit;
use clap::CommandFactory;
use std::path::Path;
use transload_engine::{Error, Kind, Result};

/// Prints a completion script.
pub(crate) fn completions(context: &Context, shell: clap_complete::Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "transload", &mut script);
    context.write(&script);
    Ok(Exit::Done)
}

/// Writes one manual page a command.
pub(crate) fn man(dir: &Path) -> Result<Exit> {
    clap_mangen::generate_to(Cli::command(), dir).map_err(|error| {
        Error::new(Kind::Refused, "write manual pages", error.to_string())
            .with("path", dir.display().to_string())
    })?;
    Ok(Exit::Done)
}
