//! Errors for a person at 3 a.m.: what happened, where, whether anything changed, what to do.

use serde::Serialize;
use transload_engine::{Error, Kind};
use transload_store::{Effect, HELP};

/// An error as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDocument {
    schema: &'static str,
    error: String,
    operation: &'static str,
    context: Vec<(String, String)>,
    changed: &'static str,
    next: Option<String>,
    exit_code: u8,
}

impl ErrorDocument {
    /// The document of `error`.
    #[must_use]
    pub(crate) fn new(error: &Error) -> Self {
        Self {
            schema: "transload.error.v1",
            error: error.message().to_owned(),
            operation: error.operation(),
            context: error
                .context()
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            changed: match error.effect() {
                Effect::NotApplied => "nothing",
                Effect::Unknown => "unknown",
            },
            next: next_step(error).map(str::to_owned),
            exit_code: crate::exit::Exit::of(error.kind()).code(),
        }
    }
}

/// What to do next, as the engine says it, or as the driver or the profile does.
fn next_step(error: &Error) -> Option<&str> {
    let help = error.context().iter().find(|(name, _)| *name == HELP);
    let damaged = (error.kind() == Kind::Difference).then_some(
        "keep these files as they are, and put back what they should be: from a backup, from the \
         node's peers, or, before `finalize`, by `transload rollback HOME`",
    );
    error.next_step().or(help.map(|(_, text)| text.as_str())).or(damaged)
}

/// The error as text.
#[must_use]
pub(crate) fn render(error: &Error, colour: bool) -> String {
    let (red, bold, reset) =
        if colour { ("\x1b[31;1m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error{reset}: {bold}{}{reset}\n", error.message());
    let mut places = vec![format!("while trying to {}", error.operation())];
    places.extend(
        error
            .context()
            .iter()
            .filter(|(name, _)| *name != HELP)
            .map(|(name, value)| format!("{name} {value}")),
    );
    text.push_str(&format!("  where   {}\n", places.join(", ")));
    let state = match (error.kind(), error.effect()) {
        (_, Effect::Unknown) => "something may have been changed; look before you start the node",
        (Kind::Stopped, _) => "stopped midway; the source is whole",
        _ => "nothing was changed",
    };
    text.push_str(&format!("  state   {state}\n"));
    if let Some(next) = next_step(error) {
        text.push_str(&format!("  next    {next}\n"));
    }
    text
}
