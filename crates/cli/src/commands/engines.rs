//! `transload engines`: what this build can read and write.

use crate::context::Context;
use crate::exit::Exit;
use serde::Serialize;
use std::fmt::Write as _;
use transload_engine::Result;
use transload_store::{EngineStatus, Engines};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    engines: Vec<EngineStatus>,
}

/// Runs the command.
pub(crate) fn run(context: &Context) -> Result<Exit> {
    let document = Document { schema: "transload.engines.v1", engines: context.engines().status() };
    context.print(&document, || {
        let mut text = format!(
            "{:<12}{:<8}{:<8}{}\n",
            "engine", "reads", "writes", "promises, or what is missing"
        );
        for status in &document.engines {
            let yes = |able: bool| if able { "yes" } else { "no" };
            let promises: Vec<&str> = status.promises.iter().map(|one| one.name()).collect();
            let said = [promises.join(", "), status.note.clone()];
            let said: Vec<&str> =
                said.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
            let _ = writeln!(
                text,
                "{:<12}{:<8}{:<8}{}",
                status.engine.name(),
                yes(status.reads),
                yes(status.writes),
                said.join("; ")
            );
        }
        text
    });
    Ok(Exit::Done)
}
