//! `transload verify`: recomputes what the chain signed.

use super::root::read_through_with;
use crate::args::Verify;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{json::HomeDocument, pace, text};
use transload_engine::{Pulse, Result};
use transload_model::report::Verdict;
use transload_observe::{Event, Stage};
use transload_store::{TrustInput, VerifyOptions};

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Verify) -> Result<Exit> {
    let scratch = context.scratch(&args.target.path)?;
    let (watch, screen) = context.watch()?;
    let watch = watch.at_pace(args.pace.limits());
    let pulse = Pulse::start(&watch);
    let open = context
        .open(&args.target.path, args.target.space.as_deref(), scratch.path())?
        .at_pace(&watch.pacing);
    let read = read_through_with(context, &open, &watch);
    screen.finish();
    let (tallies, dataset) = read?;
    let joins = context.scratch(&args.target.path)?;
    let anchor = args.trust.trust_height.zip(args.trust.trust_hash.map(|hash| hash.0));
    let options = VerifyOptions {
        trust: TrustInput { anchor },
        versions: args.versions.clone(),
        memory_bytes_max: context.memory_bytes_max(),
        workers: context.workers(),
        scratch_dir: joins.path().to_owned(),
    };
    watch.tell(Event::StageBegan { stage: Stage::Certifying });
    let verdict = open.verify(&options, &|done, total| {
        watch.tell(Event::PartsDone { done, total });
        !watch.cancel.is_asked()
    });
    drop(pulse);
    screen.finish();
    let mut verdict = verdict?;
    verdict.notices.extend(pace::wait_times(&watch.pacing.wait_times()));
    if verdict.checks.is_empty() {
        // A single database has no certificate. What was done all the same: every entry was
        // read, against the engine's checksums and order.
        let entries = tallies.values().map(|tally| tally.entries).sum();
        verdict.count("entries_readable", entries);
        verdict.notices.push(
            "no chain profile knows this database: only that every entry can be \
            read was checked"
                .into(),
        );
    }
    let document = HomeDocument::new("verify", &open, &tallies, Some(&dataset), Some(&verdict));
    context.print(&document, || text::home(&document));
    Ok(exit_of(&verdict))
}

/// A finding outweighs a skipped check.
pub(crate) fn exit_of(verdict: &Verdict) -> Exit {
    if verdict.failed() > 0 {
        Exit::Difference
    } else if verdict.skipped() > 0 {
        Exit::Skipped
    } else {
        Exit::Done
    }
}
