//! `transload root`: the root of every table and of the dataset.

use crate::args::Target;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{json::HomeDocument, text};
use std::collections::BTreeMap;
use transload_engine::{DatabaseTally, OpenHome, Result, Watch};
use transload_model::commitment::Dataset;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Target) -> Result<Exit> {
    let scratch = context.scratch(&args.path)?;
    let open = context.open(&args.path, args.space.as_deref(), scratch.path())?;
    let (tallies, dataset) = read_through(context, &open)?;
    let document = HomeDocument::new("root", &open, &tallies, Some(&dataset), None);
    context.print(&document, || text::home(&document));
    Ok(Exit::Done)
}

/// Reads every database and hashes it into its tables.
pub(crate) fn read_through(
    context: &Context,
    open: &OpenHome<'_>,
) -> Result<(BTreeMap<String, DatabaseTally>, Dataset)> {
    let (watch, screen) = context.watch()?;
    let read = read_through_with(context, open, &watch);
    screen.finish();
    read
}

/// As [`read_through`], told to `watch`.
pub(crate) fn read_through_with(
    context: &Context,
    open: &OpenHome<'_>,
    watch: &Watch,
) -> Result<(BTreeMap<String, DatabaseTally>, Dataset)> {
    let tallies = open.tallies(context.tally_options(), watch)?;
    let tables = tallies.values().flat_map(|tally| tally.tables.clone()).collect();
    let dataset = open.dataset(tables)?;
    Ok((tallies, dataset))
}
