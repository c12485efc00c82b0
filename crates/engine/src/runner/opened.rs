//! What a migration is opened on: the home's folder, the journal, and the plan in force.

use super::ending::holds_something;
use super::{World, notes};
use crate::error::{Error, Kind, Result};
use crate::history::{current_plan, plan_path};
use crate::journal::Journal;
use crate::phase::Phase;
use crate::plan::Plan;
use crate::planning::discover;
use std::path::{Path, PathBuf};
use transload_store::{Home, Profile};

/// A swap's old databases may be all that is left of the source; without the journal nobody here
/// knows what they are.
pub(super) fn refuse_a_lost_journal(root: &Path, state_dir: &Path) -> Result<()> {
    // Where the data folder is another file system, attempts are in it.
    for folder in [state_dir.join("attempts"), root.join("data/.transload/attempts")] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for attempt in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            if holds_something(&attempt.join("kept")) {
                return Err(Error::new(
                    Kind::Refused,
                    "look for the journal",
                    "the journal is gone, and databases of an earlier swap are there",
                )
                .with("journal", Journal::path_in(state_dir).display().to_string())
                .with("databases", attempt.join("kept").display().to_string())
                .next(
                    "put the journal back from a backup; without one, look whether the node \
                     runs well on its databases, keep the others, and move them out of \
                     `.transload` to begin anew",
                ));
            }
        }
    }
    Ok(())
}

/// The real path of a folder.
pub(super) fn real_folder(path: &Path) -> Result<PathBuf> {
    let refused = |message: String| {
        Error::new(Kind::Refused, "look for the home", message)
            .with("path", path.display().to_string())
            .next("give the node's home, the folder that holds config and data")
    };
    let root = path.canonicalize().map_err(|error| refused(error.to_string()))?;
    if root.is_dir() { Ok(root) } else { Err(refused("this is no folder".into())) }
}

/// The home as it was before a swap that is going on.
pub(super) fn home_at_swap<'a>(
    journal: &Journal,
    root: &Path,
    world: World<'a>,
) -> Result<(&'a dyn Profile, Home)> {
    let home: Option<Home> = journal.note(notes::HOME_AT_SWAP)?;
    let Some(home) = home else {
        // A rollback before any swap: the home is as it always was.
        return discover(root, world.profiles);
    };
    let profile = world.profiles.iter().find(|profile| profile.id() == home.profile);
    match profile {
        Some(profile) => Ok((*profile, home)),
        None => Err(Error::new(
            Kind::Refused,
            "look for the profile",
            "this build lacks the profile of the home",
        )
        .with("profile", home.profile)),
    }
}

/// The digest of the plan in force. A plan whose putting in force was cut off after its file
/// was written is put in force now.
pub(super) fn settle_plan(journal: &Journal, state_dir: &Path) -> Result<Option<String>> {
    let in_force: Option<String> = journal.note(notes::PLAN_DIGEST)?;
    let coming: Option<String> = journal.note(notes::PLAN_COMING)?;
    let Some(coming) = coming.filter(|coming| Some(coming) != in_force.as_ref()) else {
        return Ok(in_force);
    };
    let found = match current_plan(state_dir) {
        Ok(plan) => Some(plan.digest()?),
        Err(_) => None,
    };
    if found.as_ref() == Some(&coming) {
        journal.set_note(notes::PLAN_DIGEST, &coming)?;
        return Ok(Some(coming));
    }
    Ok(in_force)
}

/// The plan file must be what the journal says.
pub(super) fn plan_in_force(state_dir: &Path, digest: &str, phase: Phase) -> Result<Plan> {
    let kept = crate::history::plan_log(state_dir)?;
    let hint = kept.iter().rev().find(|entry| entry.digest == digest);
    // A plan that was lost is in the history; one that was edited is somebody's wish.
    if let (false, Some(entry)) = (plan_path(state_dir).exists(), hint) {
        return Plan::read(&entry.path);
    }
    let found = match current_plan(state_dir) {
        Ok(plan) if plan.digest()? == digest => return Ok(plan),
        Ok(plan) => plan.digest()?,
        Err(error) => error.to_string(),
    };
    // Once the swap has begun, its paths are those that it began with, whatever is edited.
    if let (true, Some(entry)) = (phase >= Phase::CuttingOver, hint) {
        return Plan::read(&entry.path);
    }
    let next = match hint {
        Some(entry) => format!(
            "`{}` is the plan in force: copy it over plan.toml, or make a new plan",
            entry.path.display()
        ),
        None => "`transload plan HOME --to ENGINE` makes a new plan".into(),
    };
    Err(Error::new(
        Kind::Refused,
        "read the plan",
        "the plan is not the one in the journal: it was edited",
    )
    .with("journal", digest.to_owned())
    .with("file", found)
    .next(next))
}

/// Every path of the plan and of the swap is one of the place where the home stood: another home
/// may stand there by now.
pub(super) fn refuse_a_moved_home(plan: &Plan, root: &Path) -> Result<()> {
    if plan.home.path == root {
        return Ok(());
    }
    let (then, now) = (plan.home.path.display(), root.display());
    Err(Error::new(
        Kind::Refused,
        "look for the home",
        "the home was moved since its plan was made",
    )
    .with("planned at", then.to_string())
    .with("found at", now.to_string())
    .next(format!(
        "move it back, so that it is found at {then}; its databases and those that are kept \
             are all in it"
    )))
}
