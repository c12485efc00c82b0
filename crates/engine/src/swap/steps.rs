//! Performs the steps of the swap, in either direction, from any state that is known.
//!
//! Every step is one exchange. What the disk says is looked at before each and after each; the
//! log is written, never read.

use super::config::{EditedFile, Setting, files};
use super::disk::{Disk, is_there, parent, stopped};
use super::exchange::{exchange, mend, sync_both};
use super::plan::{Goal, Place, Step, next_step};
use super::record::{Prints, Record, Slots, sweep, sweep_beside_configs};
use super::standing::{Look, State, is_lost, look, of};
use super::{fingerprint, guard};
use crate::error::{Error, Kind, Result};
use crate::moves::{Fingerprint, Move, Standing, SwapMethod, SwapPlan};
use crate::watch::StepLog;
use std::collections::BTreeMap;
use std::path::Path;
use transload_store::Engines;

/// What the steps work with.
#[derive(Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) engines: &'a dyn Engines,
    pub(super) log: &'a dyn StepLog,
}

/// Swaps the new databases in.
pub(super) fn forward(swap: &SwapPlan, tools: Tools<'_>) -> Result<()> {
    let mut record = Record::load(swap)?;
    if let Some(record) = &record {
        ready(swap, record, tools)?;
    }
    match of(swap, tools.engines)? {
        Standing::New => return Ok(()),
        Standing::Unknown(why) => return Err(unknown(why)),
        Standing::Old => {
            // Nothing has changed place, so what was staged before can be staged anew: an
            // operator may have edited the config since. The databases must be the same.
            if let Some(record) = &record {
                unchanged(swap, record)?;
            }
            step(tools.log, "record the swap", || {
                record = Some(Record::make(tools.disk, swap)?);
                Ok(())
            })?;
        }
        Standing::Between => {
            if let Some(record) = &record {
                unchanged(swap, record)?;
            }
        }
    }
    let Some(mut record) = record else {
        return Err(unknown("a swap is under way and its record is gone".into()));
    };
    drive(swap, &mut record, Goal::New, tools)
}

/// Puts the old databases back.
pub(super) fn backward(swap: &SwapPlan, tools: Tools<'_>) -> Result<()> {
    let Some(mut record) = Record::load(swap)? else {
        return match of(swap, tools.engines)? {
            Standing::Old => sweep_beside_configs(tools.disk, swap),
            Standing::New | Standing::Between => Err(unknown("the swap's record is gone".into())),
            Standing::Unknown(why) => Err(unknown(why)),
        };
    };
    if record.freed {
        return Err(Error::new(
            Kind::Refused,
            "roll back",
            "the old databases were freed: there is nothing to go back to",
        )
        .next("migrate again, to the old engine"));
    }
    ready(swap, &record, tools)?;
    if let Standing::Unknown(why) = of(swap, tools.engines)? {
        return Err(unknown(why));
    }
    kept_is_whole(swap, &record)?;
    let untouched = new_is_untouched(swap, &record)?;
    restage(swap, &record, tools.disk)?;
    for one in &swap.moves {
        if !is_lost(one, swap)? {
            continue;
        }
        let name = format!("guard {}, whose new database is gone", one.database);
        step(tools.log, &name, || {
            let failed = |error| stopped("guard a path", &one.live, error);
            tools.disk.rename(&one.target, &one.live).map_err(failed)?;
            for path in [&one.live, &one.target] {
                tools.disk.sync_dir(parent(path)).map_err(failed)?;
            }
            Ok(())
        })?;
    }
    drive(swap, &mut record, Goal::Old, tools)?;
    step(tools.log, "forget the swap", || {
        sweep(tools.disk, swap, &record)?;
        // Before the record goes: it alone knows the times.
        if untouched {
            restore_folder_times(tools.disk, &record)?;
        }
        Record::remove(tools.disk, swap)
    })
}

/// Ends what a crash cut off, and makes durable what it left.
fn ready(swap: &SwapPlan, record: &Record, tools: Tools<'_>) -> Result<()> {
    if record.freed {
        return Ok(());
    }
    let slots = record.configs.iter().map(|(live, slots)| (live, &slots.kept, &slots.staged));
    let databases = swap.moves.iter().map(|one| (&one.live, &one.kept, &one.target));
    for (live, kept, staged) in slots.chain(databases) {
        for other in [kept, staged] {
            if swap.method == SwapMethod::Rename {
                mend(tools.disk, live, other)?;
            }
        }
        // A folder that is gone is for `of` to explain.
        if [live, kept, staged].iter().all(|path| parent(path).is_dir()) {
            sync_both(tools.disk, live, kept)?;
            sync_both(tools.disk, live, staged)?;
        }
    }
    Ok(())
}

/// Exchanges until the home stands at the goal, whole.
fn drive(swap: &SwapPlan, record: &mut Record, goal: Goal, tools: Tools<'_>) -> Result<()> {
    let configs = files(swap);
    let prints = Record::prints(swap)?;
    let mut state = known(look(swap, record)?)?;
    while let Some(next) = next_step(goal, &state.places, &state.settings) {
        match next {
            Step::Config(which, setting) => {
                let (file, from) = (&configs[which], state.settings[which]);
                if !slots_of(record, file)?.are_whole(&file.path, from)? {
                    if goal == Goal::New {
                        return Err(file
                            .changed("the file was changed while the swap was going on")
                            .next("`transload rollback HOME` keeps the change and goes back"));
                    }
                    // An operator may edit a config while the node runs on the new databases:
                    // going back keeps the other keys.
                    let name = format!("take over the edits of {}", file.path.display());
                    step(tools.log, &name, || record.take_over(tools.disk, swap, file, from))?;
                }
                let slots = slots_of(record, file)?;
                let other = if [from, setting].contains(&Setting::Old) {
                    &slots.kept
                } else {
                    &slots.staged
                };
                let name = format!("set {} to {}", file.path.display(), setting.name());
                step(tools.log, &name, || exchange(tools.disk, &file.path, other, swap.method))?;
                state.settings[which] = setting;
            }
            Step::Database(which, place) => {
                let (one, from) = (&swap.moves[which], state.places[which]);
                fit(one, from, place, &prints)?;
                let old = [from, place].contains(&Place::Old);
                let (verb, other) = match (old, place) {
                    (true, Place::Guarded) => ("guard", &one.kept),
                    (true, _) => ("put back", &one.kept),
                    (false, Place::Guarded) => ("take out", &one.target),
                    (false, _) => ("put in", &one.target),
                };
                let name = format!("{verb} {}", one.database);
                step(tools.log, &name, || exchange(tools.disk, &one.live, other, swap.method))?;
                state.places[which] = place;
            }
        }
        let now = known(look(swap, record)?)?;
        if now != state {
            return Err(unknown("a step left something else than it should".into()));
        }
    }
    // The outcome is read from the disk, never assumed.
    match of(swap, tools.engines)? {
        standing if standing == goal.standing() => Ok(()),
        Standing::Unknown(why) => Err(unknown(why)),
        other => Err(unknown(format!("after the last step the home stands {other:?}"))),
    }
}

/// The database that is about to change place is the one that was verified, or kept.
fn fit(one: &Move, from: Place, to: Place, prints: &BTreeMap<String, Prints>) -> Result<()> {
    let prints = prints_of(one, prints)?;
    match (from, to) {
        (Place::Old, Place::Guarded) => expect(&one.live, &prints.old, one, source_changed),
        (Place::Guarded, Place::New) => expect(&one.target, &prints.new, one, target_changed),
        (Place::Guarded, Place::Old) => expect(&one.kept, &prints.old, one, kept_changed),
        _ => Ok(()),
    }
}

/// Neither side of any database is other than when it was verified.
fn unchanged(swap: &SwapPlan, record: &Record) -> Result<()> {
    let prints = Record::prints(swap)?;
    let state = known(look(swap, record)?)?;
    for (one, place) in swap.moves.iter().zip(&state.places) {
        let prints = prints_of(one, &prints)?;
        let (old, new) = match place {
            Place::Old => (&one.live, &one.target),
            Place::Guarded => (&one.kept, &one.target),
            Place::New => (&one.kept, &one.live),
        };
        expect(old, &prints.old, one, source_changed)?;
        expect(new, &prints.new, one, target_changed)?;
    }
    Ok(())
}

/// A guard that somebody has removed while it waited is made again: every step needs one.
fn restage(swap: &SwapPlan, record: &Record, disk: &dyn Disk) -> Result<()> {
    let state = known(look(swap, record)?)?;
    for (one, place) in swap.moves.iter().zip(&state.places) {
        if *place == Place::New && !is_there(&one.target)? {
            let folder = parent(&one.target);
            std::fs::create_dir_all(folder)
                .map_err(|error| stopped("make a folder", folder, error))?;
            guard::stage(disk, &one.target, swap)?;
        }
    }
    Ok(())
}

/// The old databases that wait for a rollback are what they were when the swap began.
///
/// # Errors
/// [`Kind::Refused`] naming what has changed.
pub(super) fn kept_is_whole(swap: &SwapPlan, record: &Record) -> Result<()> {
    let prints = Record::prints(swap)?;
    let state = known(look(swap, record)?)?;
    for (one, place) in swap.moves.iter().zip(&state.places) {
        if *place != Place::Old {
            expect(&one.kept, &prints_of(one, &prints)?.old, one, kept_changed)?;
        }
    }
    Ok(())
}

/// Whether no node has opened any of the new databases since they were verified.
pub(super) fn new_is_untouched(swap: &SwapPlan, record: &Record) -> Result<bool> {
    let prints = Record::prints(swap)?;
    let state = known(look(swap, record)?)?;
    for (one, place) in swap.moves.iter().zip(&state.places) {
        let new = if *place == Place::New { &one.live } else { &one.target };
        if !is_there(new)? || fingerprint::of(new)? != prints_of(one, &prints)?.new {
            return Ok(false);
        }
    }
    Ok(true)
}

fn prints_of<'p>(one: &Move, prints: &'p BTreeMap<String, Prints>) -> Result<&'p Prints> {
    prints.get(&one.database).ok_or_else(|| unknown(format!("{} has no fingerprint", one.database)))
}

fn expect(
    path: &Path,
    print: &Fingerprint,
    one: &Move,
    fault: fn(&str, String) -> Error,
) -> Result<()> {
    match fingerprint::first_change(print, &fingerprint::of(path)?) {
        None => Ok(()),
        Some(what) => Err(fault(&one.database, what).with("path", path.display().to_string())),
    }
}

fn source_changed(database: &str, what: String) -> Error {
    Error::new(
        Kind::Stopped,
        "compare the database with its copy",
        "the database is not what was copied: a node has run in between",
    )
    .with("database", database.to_owned())
    .with("file", what)
    .next("`transload rollback HOME`, then migrate again: the copy lacks what was written since")
}

fn target_changed(database: &str, what: String) -> Error {
    Error::new(
        Kind::Stopped,
        "compare the target with what was verified",
        "the target is not what was verified: somebody has opened it",
    )
    .with("database", database.to_owned())
    .with("file", what)
    .next("`transload rollback HOME`, then migrate again")
}

fn kept_changed(database: &str, what: String) -> Error {
    Error::new(
        Kind::Refused,
        "compare the old database with what was kept",
        "the old database is not what was kept at the swap: going back to it isn't safe",
    )
    .with("database", database.to_owned())
    .with("file", what)
    .next(
        "a new verified migration goes back without it: `transload finalize HOME`, then \
         `transload migrate HOME --to OLD-ENGINE`",
    )
}

fn slots_of<'r>(record: &'r Record, file: &EditedFile<'_>) -> Result<&'r Slots> {
    record
        .configs
        .get(&file.path)
        .ok_or_else(|| unknown(format!("{} is not in the swap's record", file.path.display())))
}

fn known(look: Look) -> Result<State> {
    match look {
        Look::Known(state) => Ok(state),
        Look::Torn => Err(unknown("an exchange by renames is cut off".into())),
        Look::Unknown(why) => Err(unknown(why)),
    }
}

/// What only a person can judge.
pub(super) fn unknown(why: String) -> Error {
    Error::new(Kind::OutcomeUnknown, "look where the home stands", why).effect_unknown().next(
        "don't start the node; compare the paths with the plan in HOME/.transload and ask for \
         help with the archive that `transload doctor HOME` writes",
    )
}

/// Logs that a step begins, performs it, and logs that it is done.
pub(super) fn step(log: &dyn StepLog, name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    log.begin(name)?;
    act()?;
    log.done(name)
}

/// Nothing has run on the new databases, so the folders get their times back as well.
fn restore_folder_times(disk: &dyn Disk, record: &Record) -> Result<()> {
    for (folder, modified) in &record.folders {
        disk.set_modified(folder, *modified)
            .map_err(|error| stopped("restore a folder's time", folder, error))?;
    }
    Ok(())
}
