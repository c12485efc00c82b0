//! Where a home stands, from the disk alone.

use super::config::{Setting, files};
use super::record::{Identity, Record};
use crate::error::Result;
use crate::moves::{Move, Standing, SwapPlan};
use std::fs;
use std::path::Path;

/// The first line of a guard file.
pub(super) const GUARD_MARK: &str = "transload guards this path.";

/// Where one database stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The old database is live.
    Old,
    /// The guard is live.
    Guarded,
    /// The new database is live.
    New,
}

/// Whether a guard of this attempt stands at `path`.
pub(super) fn is_guard(path: &Path, swap: &SwapPlan) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
        && fs::read_to_string(path).is_ok_and(|text| text == guard_text(swap))
}

/// What a guard file says, to whoever finds it.
pub(super) fn guard_text(swap: &SwapPlan) -> String {
    format!(
        "{GUARD_MARK}\n\nA migration of this node's databases is under way, so the node must not \
         start now.\nRun `transload status HOME` to see where it stands, then\n`transload resume \
         HOME` to go on or `transload rollback HOME` to go back.\n\nattempt {}\n",
        swap.attempt_dir.display()
    )
}

/// Where one database stands; a text for a person when nobody can tell.
pub(super) fn place(
    one: &Move,
    swap: &SwapPlan,
    record: &Record,
) -> std::result::Result<Place, String> {
    let Some(pair) = record.databases.get(&one.database) else {
        return Err(format!("{}: the swap's record doesn't know it", one.database));
    };
    let [live, target, kept] = [&one.live, &one.target, &one.kept].map(|path| Identity::at(path));
    let guard_at = |path| is_guard(path, swap);
    if live == Some(pair.old) && target == Some(pair.new) {
        Ok(Place::Old)
    } else if guard_at(&one.live) && target == Some(pair.new) && kept == Some(pair.old) {
        Ok(Place::Guarded)
    } else if live == Some(pair.new) && kept == Some(pair.old) {
        Ok(Place::New)
    } else {
        Err(format!(
            "{}: what stands at {} is neither the old database, nor the new one, nor a \
            guard",
            one.database,
            one.live.display()
        ))
    }
}

/// Where the home stands.
pub(super) fn of(swap: &SwapPlan) -> Result<Standing> {
    let Some(record) = Record::load(swap)? else {
        let kept = swap.moves.iter().find(|one| one.kept.is_dir());
        return Ok(kept.map_or(Standing::Old, |one| {
            Standing::Unknown(format!(
                "{} holds an old database, but the swap's record is gone",
                one.kept.display()
            ))
        }));
    };
    let mut places = Vec::new();
    for one in &swap.moves {
        match place(one, swap, &record) {
            Ok(place) => places.push(place),
            Err(text) => return Ok(Standing::Unknown(text)),
        }
    }
    let mut settings = Vec::new();
    for file in files(swap) {
        match file.setting()? {
            Some(setting) => settings.push(setting),
            None => {
                return Ok(Standing::Unknown(format!(
                    "{} has other values than transload wrote",
                    file.path.display()
                )));
            }
        }
    }
    Ok(judge(&places, &settings))
}

/// Only what the steps can leave is known; everything else is for a person.
pub(super) fn judge(places: &[Place], settings: &[Setting]) -> Standing {
    let all_places = |place| places.iter().all(|one| *one == place);
    let none_is = |place| places.iter().all(|one| *one != place);
    let all_set = |setting| settings.iter().all(|one| *one == setting);
    let none_set = |setting| settings.iter().all(|one| *one != setting);
    if all_places(Place::Old) && all_set(Setting::Old) {
        Standing::Old
    } else if all_places(Place::New) && all_set(Setting::New) {
        Standing::New
    } else if (all_places(Place::Old) && none_set(Setting::New))
        || (all_set(Setting::Guard) && (none_is(Place::New) || none_is(Place::Old)))
        || (all_places(Place::New) && none_set(Setting::Old))
    {
        Standing::Between
    } else {
        Standing::Unknown("databases and config files contradict one another".into())
    }
}
