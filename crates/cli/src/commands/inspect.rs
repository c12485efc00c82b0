//! `transload inspect`: what a home holds.

use super::root::read_through;
use crate::args::Inspect;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{json::HomeDocument, text};
use std::collections::BTreeMap;
use transload_engine::Result;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Inspect) -> Result<Exit> {
    let scratch = context.scratch(&args.target.path)?;
    let open = context.open(&args.target.path, args.target.space.as_deref(), scratch.path())?;
    let document = if args.quick {
        HomeDocument::new("inspect", &open, &BTreeMap::new(), None, None)
    } else {
        let (tallies, dataset) = read_through(context, &open)?;
        HomeDocument::new("inspect", &open, &tallies, Some(&dataset), None)
    };
    context.print(&document, || text::home(&document));
    Ok(Exit::Done)
}
