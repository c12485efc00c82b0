//! Where a home stands, from the disk alone: inodes, guard texts, config values, and the signs
//! of engines in the directories themselves.

use super::config::{Setting, files};
use super::disk::is_there;
use super::exchange::is_torn;
use super::guard;
use super::plan::{Place, judge};
use super::record::{Pair, Record, inode};
use crate::error::{Error, Kind, Result};
use crate::moves::{Move, Standing, SwapMethod, SwapPlan};
use std::path::Path;
use std::time::Duration;
use transload_model::engine::Engine;
use transload_store::Engines;

/// A running node replaces small files now and then; a look that falls into that is repeated.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What stands where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) places: Vec<Place>,
    pub(super) settings: Vec<Setting>,
}

/// What a look at the disk tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything is where the steps put it.
    Known(State),
    /// An exchange by renames was cut off; it must be ended first.
    Torn,
    /// Something stands there that no step left.
    Unknown(String),
}

impl Look {
    pub(super) fn standing(&self) -> Standing {
        match self {
            Look::Known(state) => judge(&state.places, &state.settings),
            Look::Torn => Standing::Between,
            Look::Unknown(why) => Standing::Unknown(why.clone()),
        }
    }
}

/// Where the home stands.
pub(super) fn of(swap: &SwapPlan, engines: &dyn Engines) -> Result<Standing> {
    let Some(record) = Record::load(swap)? else { return without_record(swap, engines) };
    let look = look(swap, &record)?;
    if let Look::Known(state) = &look
        && let Some(why) = wrong_sign(swap, &record, state, engines)?
    {
        return Ok(Standing::Unknown(why));
    }
    Ok(match (look.standing(), &look) {
        (Standing::Unknown(_), Look::Known(state)) => Standing::Unknown(contradiction(swap, state)),
        (standing, _) => standing,
    })
}

/// What stands where, by inodes, guard texts and config values.
pub(super) fn look(swap: &SwapPlan, record: &Record) -> Result<Look> {
    let configs = files(swap);
    if swap.method == SwapMethod::Rename && !record.freed {
        let databases = swap.moves.iter().flat_map(|one| [&one.kept, &one.target]);
        let slots = configs.iter().filter_map(|file| record.configs.get(&file.path));
        for path in databases.chain(slots.flat_map(|slots| [&slots.kept, &slots.staged])) {
            if is_torn(path)? {
                return Ok(Look::Torn);
            }
        }
    }
    let mut state = State { places: Vec::new(), settings: Vec::new() };
    for one in &swap.moves {
        match place(one, swap, record)? {
            Ok(place) => state.places.push(place),
            Err(why) => return Ok(Look::Unknown(why)),
        }
    }
    let mut all_are_new = true;
    for (one, place) in swap.moves.iter().zip(&state.places) {
        // A new one that somebody has removed was there.
        all_are_new &= *place == Place::New || is_lost(one, swap)?;
    }
    for file in &configs {
        if !record.configs.contains_key(&file.path) {
            return Ok(Look::Unknown(format!(
                "{} was not the config file when the swap began: a link points elsewhere now",
                file.path.display()
            )));
        }
        if !is_there(&file.path)? {
            return Ok(Look::Unknown(format!("{} is gone", file.path.display())));
        }
        match file.setting(&file.read()?)? {
            // Where the keys keep their values, the databases alone tell on which side it is.
            Some(Setting::Old) if all_are_new && file.changes_nothing() => {
                state.settings.push(Setting::New);
            }
            Some(setting) => state.settings.push(setting),
            None => {
                return Ok(Look::Unknown(format!(
                    "{} has another value in a key that transload sets than any that it wrote",
                    file.path.display()
                )));
            }
        }
    }
    Ok(Look::Known(state))
}

/// Where one database stands; a text for a person when nobody can tell.
fn place(
    one: &Move,
    swap: &SwapPlan,
    record: &Record,
) -> Result<std::result::Result<Place, String>> {
    let Some(pair) = record.databases.get(&one.database) else {
        return Ok(Err(format!("{}: the swap's record doesn't know it", one.database)));
    };
    let (old, new) = (Some(pair.old), Some(pair.new));
    let (live, target, kept) = (inode(&one.live)?, inode(&one.target)?, inode(&one.kept)?);
    let waits = kept == old && (target == new || target.is_none());
    Ok(if live == old && (record.freed || target == new || target.is_none()) {
        Ok(Place::Old)
    } else if live == new && (record.freed || kept == old) {
        Ok(Place::New)
    } else if waits && guard::is_at(&one.live, swap)? {
        Ok(Place::Guarded)
    } else if kept == old && is_lost(one, swap)? {
        // No node starts on what isn't there, so it counts as guarded; a rollback puts the guard
        // in its place.
        Ok(Place::Guarded)
    } else {
        let known = [(pair.old, "the old database"), (pair.new, "the new database")];
        let what = |path: &Path| -> Result<&str> {
            Ok(match inode(path)? {
                None => "nothing",
                Some(_) if guard::is_any_at(path)? => "a guard",
                Some(found) => known
                    .iter()
                    .find(|(inode, _)| *inode == found)
                    .map_or("something unknown", |(_, name)| name),
            })
        };
        Err(format!(
            "{}: {} at {}, {} at {}, {} at {}: transload's steps leave no such thing",
            one.database,
            what(&one.live)?,
            one.live.display(),
            what(&one.target)?,
            one.target.display(),
            what(&one.kept)?,
            one.kept.display()
        ))
    })
}

/// Whether somebody has removed the new database after it was put in: its guard waits where it
/// came from.
///
/// # Errors
/// [`Kind::Stopped`] when the disk can't tell.
pub(super) fn is_lost(one: &Move, swap: &SwapPlan) -> Result<bool> {
    Ok(!is_there(&one.live)? && guard::is_at(&one.target, swap)?)
}

/// Before the record is written nothing has changed place, so anything else is for a person.
fn without_record(swap: &SwapPlan, engines: &dyn Engines) -> Result<Standing> {
    let unknown = |path: &Path, what: &str| {
        Ok(Standing::Unknown(format!("{} {what}, but the swap's record is gone", path.display())))
    };
    for one in &swap.moves {
        if guard::is_any_at(&one.live)? {
            return unknown(&one.live, "is guarded");
        }
        if !is_there(&one.live)? {
            return Ok(Standing::Unknown(format!("{} is gone", one.live.display())));
        }
        if is_there(&one.kept)? && !guard::is_any_at(&one.kept)? {
            return unknown(&one.kept, "holds a database");
        }
        if let Some(why) = sign(&one.live, one.from, engines)? {
            return Ok(Standing::Unknown(why));
        }
    }
    for file in files(swap) {
        match file.setting(&file.read()?)? {
            Some(Setting::Guard) => return unknown(&file.path, "is guarded"),
            Some(Setting::New) => return unknown(&file.path, "has the new values"),
            Some(Setting::Old) | None => {}
        }
    }
    Ok(Standing::Old)
}

/// What is wrong with the engines' own signs in the directories, if anything.
fn wrong_sign(
    swap: &SwapPlan,
    record: &Record,
    state: &State,
    engines: &dyn Engines,
) -> Result<Option<String>> {
    for (one, place) in swap.moves.iter().zip(&state.places) {
        let signs: &[(&Path, Engine)] = match place {
            Place::Old => &[(&one.live, one.from)],
            Place::Guarded if inode(&one.target)? == pair_of(record, one).map(|pair| pair.new) => {
                &[(&one.kept, one.from), (&one.target, one.to)]
            }
            // The new one is lost.
            Place::Guarded => &[(&one.kept, one.from)],
            Place::New if record.freed => &[(&one.live, one.to)],
            Place::New => &[(&one.live, one.to), (&one.kept, one.from)],
        };
        for (path, engine) in signs {
            if let Some(why) = sign(path, *engine, engines)? {
                return Ok(Some(why));
            }
        }
    }
    Ok(None)
}

fn pair_of<'r>(record: &'r Record, one: &Move) -> Option<&'r Pair> {
    record.databases.get(&one.database)
}

/// What is wrong with the engine's sign at `path`, if anything.
pub(super) fn sign(path: &Path, wanted: Engine, engines: &dyn Engines) -> Result<Option<String>> {
    let mut looks = 1;
    loop {
        match engines.recognise(path) {
            Ok(found) if is_same_family(found.engine, wanted) => return Ok(None),
            Ok(found) => {
                return Ok(Some(format!(
                    "{} has the files of {} and should have those of {wanted}: {}",
                    path.display(),
                    found.engine,
                    found.evidence
                )));
            }
            Err(_) if looks < LOOKS => {
                looks += 1;
                std::thread::sleep(BETWEEN_LOOKS);
            }
            Err(error) if error.kind() == transload_store::Kind::Io => {
                return Err(Error::store(Kind::Stopped, "look at the engine's files", error));
            }
            Err(error) => return Ok(Some(format!("{}: {error}", path.display()))),
        }
    }
}

/// A node with a newer Pebble raises the format of a directory that an older one made.
fn is_same_family(one: Engine, other: Engine) -> bool {
    let family = |engine: Engine| match engine.told_by_files() {
        Engine::Pebble1 => Engine::Pebble2,
        other => other,
    };
    family(one) == family(other)
}

fn contradiction(swap: &SwapPlan, state: &State) -> String {
    let databases = swap
        .moves
        .iter()
        .zip(&state.places)
        .map(|(one, place)| format!("{} is {}", one.database, place.name()));
    let configs = files(swap).into_iter().zip(state.settings.clone()).map(|(file, setting)| {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{name} has {}", setting.name())
    });
    let all: Vec<String> = databases.chain(configs).collect();
    format!(
        "databases and config files contradict one another ({}): somebody has set a key or \
         moved a folder while the swap was going on. Where a config file has lost its guard, \
         put that value back, then `transload rollback HOME`",
        all.join(", ")
    )
}
