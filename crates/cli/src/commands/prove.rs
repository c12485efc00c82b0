//! `transload prove`: a proof that one record is in the dataset.

use crate::args::Prove;
use crate::context::Context;
use crate::exit::Exit;
use transload_engine::{Error, Kind, Result, prove};
use transload_model::record::TableName;

/// Runs the command. The proof itself is JSON, with or without `--json`.
pub(crate) fn run(context: &Context, args: &Prove) -> Result<Exit> {
    let usage = |text: String| Error::new(Kind::Usage, "read the arguments", text);
    let table = TableName::new(args.table.clone()).map_err(|error| usage(error.to_string()))?;
    let key =
        hex::decode(&args.key).map_err(|_| usage("the key is given in hex digits".to_owned()))?;
    let scratch = context.scratch(&args.path)?;
    let open = context.open(&args.path, None, scratch.path())?;
    let (watch, screen) = context.watch()?;
    let proof = prove(&open, &table, &key, context.tally_options(), &watch);
    screen.finish();
    context.print_json(&proof?);
    Ok(Exit::Done)
}
