//! `transload root`: the root of every table and of the dataset.

use crate::args::Target;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{json::HomeDocument, text};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use transload_engine::{DatabaseTally, OpenHome, Result};
use transload_model::commitment::Dataset;
use transload_observe::{Event, Stage};

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Target) -> Result<Exit> {
    let scratch = context.scratch()?;
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
    let so_far: Mutex<BTreeMap<String, (u64, u64)>> = Mutex::default();
    for database in open.databases() {
        watch.tell(Event::DatabaseBegan {
            stage: Stage::Verifying,
            database: database.database.name.clone(),
            // How many chunks there are is known only inside; one stands for all.
            chunks: 1,
            chunks_done: 0,
            bytes_estimate: database.recognised.bytes_on_disk,
        });
    }
    let tallies = open.tallies(context.tally_options(), &|database, entries, bytes| {
        let mut so_far = so_far.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = so_far.entry(database.to_owned()).or_default();
        *sum = (sum.0 + entries, sum.1 + bytes);
        watch.tell(Event::Advanced {
            stage: Stage::Verifying,
            database: database.to_owned(),
            chunk: 0,
            entries: sum.0,
            bytes: sum.1,
        });
        !watch.cancel.is_asked()
    });
    screen.finish();
    let tallies = tallies?;
    let tables = tallies.values().flat_map(|tally| tally.tables.clone()).collect();
    let dataset = open.dataset(tables)?;
    Ok((tallies, dataset))
}
