//! Checks of the target engine and of the place where targets are built.

use super::{Answer, Ground, Outcome};
use crate::error::Kind;
use crate::fit::{accept_weaker, needs_a_look, refuse_what_does_not_fit};
use crate::home::{OpenHome, OpenOptions};
use crate::planning::Scratch;
use std::fs;
use std::path::{Path, PathBuf};

/// The target's driver is there and can write.
pub(super) fn engine_built_in(ground: &Ground<'_>) -> Answer {
    let engine = ground.plan.engine;
    match ground.engines.driver(engine) {
        Err(error) => {
            let how = ground
                .engines
                .status()
                .into_iter()
                .find(|status| status.engine == engine)
                .map_or_else(|| "transload engines lists what is built in".into(), |one| one.note);
            Answer::failed(error.to_string(), how)
        }
        Ok(driver) => {
            let (capabilities, _) = driver.target_profile();
            if capabilities.bulk_load || capabilities.write {
                Answer::passed(format!("{engine} can be written"))
            } else {
                let text = format!("{engine} can only be read in this build");
                Answer::failed(text, "transload engines says how to get it")
            }
        }
    }
}

/// The home's node registers the engine, and the config is as the plan saw it.
pub(super) fn node_knows_the_engine(ground: &Ground<'_>) -> Answer {
    let changes = ground.plan.changes();
    match ground.profile.config_edits(ground.home, &changes.as_swap_change()) {
        Err(error) => Answer::failed(
            error.to_string(),
            "choose an engine that the node has; `transload convert` carries a single database",
        ),
        Ok(edits) if edits != ground.plan.config => Answer::failed(
            "the config files are not what they were when the plan was made",
            "`transload plan HOME --to ENGINE` makes a new plan",
        ),
        Ok(edits) => Answer::passed(format!("{} config keys will be set at the swap", edits.len())),
    }
}

/// The target promises as much as the source, or somebody accepted that it doesn't.
pub(super) fn guarantees(ground: &Ground<'_>) -> Answer {
    let mut accepted = Vec::new();
    for database in ground.plan.moving() {
        let (Some(source), Some(target)) =
            (&database.source_guarantees, &database.target_guarantees)
        else {
            return Answer::failed(
                format!("the plan has no guarantees of {}", database.name),
                "`transload plan HOME --to ENGINE` makes a new plan",
            );
        };
        match accept_weaker(source, target, &ground.plan.accept_weaker) {
            Ok(weaker) => accepted.extend(weaker),
            Err(error) => return Answer::from_error(&error, "choose another engine"),
        }
    }
    accepted.sort_unstable();
    accepted.dedup();
    if accepted.is_empty() {
        return Answer::passed("the target promises at least what the source does");
    }
    let names: Vec<&str> = accepted.iter().map(|weakness| weakness.name()).collect();
    Answer::warning(
        format!("weaker than the source, as accepted: {}", names.join(", ")),
        "docs/engines.md says what each means",
    )
}

/// No key or value is longer than the target takes.
pub(super) fn keys_fit(ground: &Ground<'_>) -> Answer {
    let driver = match ground.engines.driver(ground.plan.engine) {
        Ok(driver) => driver,
        Err(_) => return Answer::skipped("the target's engine is not built in"),
    };
    if !needs_a_look(&driver.target_profile().1) {
        return Answer::passed("the target takes keys of every length that can be read");
    }
    let state_dir = &ground.plan.places.state_dir;
    let scratch = match Scratch::make(state_dir, "preflight", ground.watch) {
        Ok(scratch) => scratch,
        Err(error) => return Answer::from_error(&error, "make the state folder writable"),
    };
    for database in ground.plan.moving() {
        let options = OpenOptions {
            scratch_dir: scratch.path.clone(),
            memory_bytes_max: ground.plan.limits.driver_bytes(),
            space: None,
        };
        let looked =
            OpenHome::open_single(&database.path, ground.engines, &options).and_then(|open| {
                match open.databases().next() {
                    Some(one) => refuse_what_does_not_fit(&*one.snapshot, driver, ground.watch),
                    None => Ok(()),
                }
            });
        if let Err(error) = looked {
            let next = match error.kind() {
                Kind::Difference => "`transload verify HOME` names the damage",
                _ => "choose another engine",
            };
            return Answer::from_error(&error.with("database", database.name.clone()), next);
        }
    }
    Answer::passed("every key and value fits")
}

/// Files can be made where targets and journal go.
pub(super) fn staging_writable(ground: &Ground<'_>) -> Answer {
    for folder in folders(ground) {
        let place = existing_ancestor(&folder);
        let probe = place.join(format!(".transload-probe-{}", std::process::id()));
        let own = place.starts_with(&ground.plan.places.state_dir);
        // Only our own folders are written to: the source's folders keep their times, also when
        // one of them was given for the targets.
        let for_targets =
            || is_target_dir(ground, &folder) && target_empty(ground).outcome != Outcome::Failed;
        if !own && !for_targets() {
            continue;
        }
        if let Err(error) = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
            let text = format!("{}: {error}", place.display());
            return Answer::failed(text, "make the file system writable or give --target-dir");
        }
    }
    Answer::passed("targets and journal can be written")
}

/// The file systems have the room that the plan needs.
pub(super) fn space(ground: &Ground<'_>) -> Answer {
    let estimate = &ground.plan.estimate;
    let staging = &ground.plan.places.staging_dir;
    let mut needs: Vec<(PathBuf, u64)> = vec![(staging.clone(), estimate.staging_bytes_needed)];
    if let Some(folder) = &ground.plan.places.target_dir {
        needs.push((folder.clone(), estimate.target_dir_bytes_needed));
    }
    let mut seen = Vec::new();
    for (folder, needed) in needs {
        let place = existing_ancestor(&folder);
        let free = match rustix::fs::statvfs(&place) {
            Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
            Err(error) => {
                let text = format!("{}: {error}", place.display());
                return Answer::failed(text, "give a folder on a file system that can be asked");
            }
        };
        if free < needed {
            let text = format!("{} has {free} bytes free, {needed} are needed", place.display());
            return Answer::failed(
                text,
                "free some space, move fewer databases at a time with --only, or build on \
                 another volume with --target-dir",
            );
        }
        seen.push(format!("{}: {free} bytes free, {needed} needed", place.display()));
    }
    Answer::passed(seen.join("; "))
}

/// Nothing stands where targets are to be built.
pub(super) fn target_empty(ground: &Ground<'_>) -> Answer {
    let Some(folder) = &ground.plan.places.target_dir else {
        return Answer::passed("every attempt has a folder of its own");
    };
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Answer::passed("the target folder will be made")
        }
        Err(error) => Answer::failed(
            format!("{}: {error}", folder.display()),
            "give a folder that is empty or doesn't exist",
        ),
        Ok(mut entries) => match entries.find(|entry| !is_an_attempt(entry)) {
            None => Answer::passed("the target folder holds nothing but attempts"),
            Some(_) => Answer::failed(
                format!("{} is not empty", folder.display()),
                "give a folder that is empty or doesn't exist",
            ),
        },
    }
}

/// Folders of earlier attempts are ours; each attempt has one that was never used.
fn is_an_attempt(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("transload-"));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn folders(ground: &Ground<'_>) -> Vec<PathBuf> {
    let places = &ground.plan.places;
    let mut folders = vec![places.state_dir.clone(), places.staging_dir.clone()];
    folders.extend(places.target_dir.clone());
    folders
}

fn is_target_dir(ground: &Ground<'_>, folder: &Path) -> bool {
    ground.plan.places.target_dir.as_deref() == Some(folder)
}

/// The nearest folder above `path`, or it itself, that exists.
pub(super) fn existing_ancestor(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|ancestor| ancestor.exists() && !ancestor.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}
