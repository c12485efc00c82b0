//! Checks of the paths that change place: owners, mounts, links, and the exchange itself.

use super::target::existing_ancestor;
use super::{Answer, Ground, Outcome};
use crate::moves::SwapMethod;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Targets can get the owner of the databases that they replace.
pub(super) fn owner(ground: &Ground<'_>) -> Answer {
    let me = rustix::process::geteuid().as_raw();
    for database in ground.plan.moving() {
        let metadata = match std::fs::metadata(&database.path) {
            Ok(metadata) => metadata,
            Err(error) => {
                let text = format!("{}: {error}", database.path.display());
                return Answer::failed(text, "make the database readable");
            }
        };
        if metadata.uid() != me && me != 0 {
            let text = format!(
                "{} belongs to user {}, transload runs as user {me} and can't give files away",
                database.name,
                metadata.uid()
            );
            return Answer::failed(text, "run transload as that user, or as root");
        }
    }
    if me == 0 {
        Answer::passed("runs as root; targets get the owner, group and mode of what they replace")
    } else {
        Answer::passed("the databases belong to the user that transload runs as")
    }
}

/// No path that changes place is a mount point; links are named.
pub(super) fn mounts_and_links(ground: &Ground<'_>) -> Answer {
    let mut notes = Vec::new();
    for database in ground.plan.moving() {
        match is_mount_point(&database.path) {
            Ok(true) => {
                let text = format!(
                    "{} is a mount point, which can't change place",
                    database.path.display()
                );
                return Answer::failed(
                    text,
                    "mount the volume one folder higher, or move the database into a folder",
                );
            }
            Ok(false) => {}
            Err(error) => {
                let text = format!("{}: {error}", database.path.display());
                return Answer::failed(text, "make the database's folder readable");
            }
        }
        let named = ground.home.databases.iter().find(|one| one.name == database.name);
        if named.is_some_and(|one| one.path != database.path) {
            notes.push(format!(
                "{} is reached by a link; the real folder at {} changes place",
                database.name,
                database.path.display()
            ));
        }
    }
    let places = &ground.plan.places;
    if places.staging_dir != places.state_dir {
        notes.push(format!(
            "targets and old copies are kept in {}, which a reset of the data folder would remove",
            places.staging_dir.display()
        ));
    }
    if notes.is_empty() {
        Answer::passed("the databases are plain folders of one file system")
    } else {
        Answer::warning(notes.join("; "), "know where things are before you clean up")
    }
}

fn is_mount_point(path: &Path) -> rustix::io::Result<bool> {
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Paths can be exchanged in the very folders concerned.
pub(super) fn exchange(ground: &Ground<'_>) -> Answer {
    if owner(ground).outcome == Outcome::Failed {
        // Trying leaves a mark: only an owner can put the folders' times back.
        return Answer::skipped("not tried by a user to whom the databases don't belong");
    }
    let staging = existing_ancestor(&ground.plan.places.staging_dir);
    for database in ground.plan.moving() {
        if let Err(error) = ground.swapper.probe_move(&staging, &database.path, ground.watch) {
            return Answer::from_error(&error, "the databases must be able to change place");
        }
    }
    if ground.plan.places.swap == SwapMethod::Rename {
        return Answer::warning(
            "the swap goes by two renames, as asked: between them a path is absent, and a node \
             that starts just then makes an empty database",
            "make sure that nothing starts the node during the swap",
        );
    }
    let mut folders: Vec<PathBuf> = ground
        .plan
        .moving()
        .filter_map(|database| database.path.parent().map(Path::to_owned))
        .collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in &folders {
        if let Err(error) = ground.swapper.probe_exchange(&staging, folder, ground.watch) {
            return Answer::from_error(
                &error,
                "--swap rename does without, with a gap that it states",
            );
        }
    }
    Answer::passed(format!("tried in {} folders", folders.len()))
}
