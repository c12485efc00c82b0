//! `transload migrate` and `transload resume`: the way to another engine.

use super::verify::exit_of;
use super::{detach, plan};
use crate::args::{Migrate, Resume};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::report;
use std::io::Write;
use transload_engine::phase::{Phase, State};
use transload_engine::{Error, Kind, Migration, Plan, PlannedTrim, Result, RunReport, make_plan};

/// Runs `migrate`.
pub(crate) fn run(context: &Context, args: &Migrate) -> Result<Exit> {
    if args.detach {
        return detach::start(context, args);
    }
    if args.detached {
        detach::leave_the_terminal()?;
    }
    let (watch, screen) = context.watch()?;
    let profiles = context.profiles();
    let outcome = (|| {
        let mut migration = context.migration(&args.home, &profiles, &watch)?;
        let replanned = match migration.state()? {
            State::In(Phase::Planned | Phase::Finalized | Phase::RolledBack) => true,
            // A difference was found, and something else is to be tried: nothing is under way.
            State::Halted(Phase::Planned) => !is_under_way(&migration, args),
            _ => false,
        };
        if replanned {
            let request = plan::request(context, &args.home, &args.wish)?;
            let planned = make_plan(&request, &profiles, context.engines(), &watch)?;
            migration.accept(planned.clone())?;
            let preflight = migration.preflight()?;
            screen.pause(|| tell(&plan::text(&planned, &preflight)));
        } else {
            refuse_another_target(&migration, args)?;
            migration.change_pace(args.wish.pace.change())?;
        }
        go_on(context, &mut migration, args.yes, &screen)
    })();
    screen.finish();
    outcome
}

/// Runs `resume`.
pub(crate) fn resume(context: &Context, args: &Resume) -> Result<Exit> {
    let (watch, screen) = context.watch()?;
    let profiles = context.profiles();
    let outcome = (|| {
        let mut migration = context.begun_migration(&args.home, &profiles, &watch)?;
        migration.change_pace(args.pace.change())?;
        migration.resume()?;
        go_on(context, &mut migration, args.yes, &screen)
    })();
    screen.finish();
    outcome
}

fn is_same_trim(asked: Option<PlannedTrim>, planned: Option<&PlannedTrim>) -> bool {
    match (asked, planned) {
        (Some(asked), Some(planned)) => asked.asks_for_what(planned),
        (asked, planned) => asked.is_none() && planned.is_none(),
    }
}

/// Whether the plan in force is what is asked for.
fn is_under_way(migration: &Migration<'_>, args: &Migrate) -> bool {
    let wish = &args.wish;
    migration.plan().is_some_and(|plan| {
        let engine = match wish.to {
            Some(engine) => engine == plan.engine,
            None => plan.moving().all(|one| one.from == plan.engine),
        };
        engine
            && wish.layout == plan.to_layout
            && is_same_trim(wish.trim(), plan.trim.as_ref())
            && wish.bad_records.is_as_planned(plan.bad_records.as_ref())
    })
}

/// A migration that is under way goes on to its own target, not to another.
fn refuse_another_target(migration: &Migration<'_>, args: &Migrate) -> Result<()> {
    if is_under_way(migration, args) {
        return Ok(());
    }
    let under_way = migration.plan().map_or_else(|| "another engine".into(), Plan::aim);
    Err(Error::new(
        Kind::Refused,
        "begin a migration",
        format!("a migration to {under_way} is under way in this home"),
    )
    .next(
        "`transload status HOME` shows where it stands; it is ended by `transload rollback HOME`, \
         or once it soaks by `transload finalize HOME`",
    ))
}

/// From wherever the journal stands to the soaking home.
fn go_on(
    context: &Context,
    migration: &mut Migration<'_>,
    yes: bool,
    screen: &crate::output::progress::Screen,
) -> Result<Exit> {
    if !matches!(
        migration.state()?,
        State::In(Phase::Soaking | Phase::RolledBack | Phase::Finalized)
    ) {
        migration.run_to_ready()?;
        let verified = migration.report()?;
        screen.pause(|| {
            if let Some(verified) = &verified {
                tell(&report::text(verified));
            }
        });
        screen.finish();
        context.confirm(&question(migration.plan()), yes, Kind::Stopped)?;
        migration.cut_over("the operator at the command line")?;
    }
    screen.finish();
    let state = migration.state()?;
    let document = report::Document::new(migration.report()?, state);
    context.print(&document, || report::ending(migration, state));
    Ok(document.report.as_ref().map_or(Exit::Done, exit_of_run))
}

/// A record that was left out is a check that can't be made any more.
fn exit_of_run(report: &RunReport) -> Exit {
    match exit_of(&report.verdict) {
        Exit::Done if report.lacks_something() => Exit::Skipped,
        exit => exit,
    }
}

/// What is asked before the swap, with what no transform leads back from.
fn question(plan: Option<&Plan>) -> String {
    let question = "The copy is verified. Put it in the place of the old databases?";
    let databases = plan.map_or(&[][..], |plan| &plan.databases);
    let one_way: Vec<String> = databases
        .iter()
        .filter(|database| database.moves())
        .flat_map(|database| {
            database.one_way().into_iter().map(|one| format!("{} ({})", database.name, one.id))
        })
        .collect();
    if one_way.is_empty() {
        return question.to_owned();
    }
    format!(
        "{} go one way: only `transload rollback` leads back, until `finalize`. {question}",
        one_way.join(", ")
    )
}

fn tell(text: &str) {
    // Nobody may be listening any more; that is no reason to stop a migration.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
