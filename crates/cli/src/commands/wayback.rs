//! `transload rollback` and `transload finalize`: the two ways out of a soaking home.

use crate::args::Confirmed;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::report;
use transload_engine::phase::{Event, Phase};
use transload_engine::{Kind, Migration, Result};

/// Runs `rollback`.
pub(crate) fn roll_back(context: &Context, args: &Confirmed) -> Result<Exit> {
    let question = "Put the old databases back? The node must be stopped.";
    end(context, args, question, (Phase::RollingBack, Event::RollBackAsked), |migration| {
        migration.roll_back("the operator at the command line")
    })
}

/// Runs `finalize`.
pub(crate) fn finalize(context: &Context, args: &Confirmed) -> Result<Exit> {
    end(
        context,
        args,
        "Delete the copies that the home doesn't stand on? There is no way back afterwards.",
        (Phase::Finalizing, Event::FinalizeAsked),
        |migration| migration.finalize("the operator at the command line"),
    )
}

fn end(
    context: &Context,
    args: &Confirmed,
    question: &str,
    (begun, asked): (Phase, Event),
    act: impl FnOnce(&mut Migration<'_>) -> Result<()>,
) -> Result<Exit> {
    let (watch, screen) = context.watch()?;
    let profiles = context.profiles();
    let outcome = (|| {
        let mut migration = context.begun_migration(&args.home, &profiles, &watch)?;
        // What can't be done isn't asked about, and what has begun was asked before.
        if migration.state()?.phase() != begun {
            migration.allows(asked)?;
        }
        screen.finish();
        // Nothing has begun before the yes.
        context.confirm(question, args.yes, Kind::Refused)?;
        act(&mut migration)?;
        let state = migration.state()?;
        let document = report::Document::new(migration.report()?, state);
        context.print(&document, || report::ending(&migration, state));
        Ok(Exit::Done)
    })();
    screen.finish();
    outcome
}
