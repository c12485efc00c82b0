//! Removes the copies that the home doesn't stand on: the only step that can't be undone.
//!
//! Only below the attempt's folder, file by file, on one file system, and never through a link.
//! The reason is in the log before the first file goes.

use super::disk::{Disk, is_there, parent, seen, stopped};
use super::guard;
use super::record::{Record, sweep};
use super::standing::{look, of};
use super::steps::{Tools, step};
use crate::error::{Error, Kind, Result};
use crate::moves::{Move, Standing, SwapPlan};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

/// Folders of an engine aren't deeper; a loop must not run for ever.
const DEPTH_MAX: usize = 32;

/// Removes what the home doesn't stand on. Can be repeated after it was cut off.
pub(super) fn free(swap: &SwapPlan, tools: Tools<'_>) -> Result<()> {
    let mut is_any_there = false;
    for path in swap.moves.iter().flat_map(|one| [&one.kept, &one.target]) {
        is_any_there |= is_there(path)?;
    }
    if !is_any_there {
        return prune(tools.disk, swap);
    }
    let standing = of(swap, tools.engines)?;
    let not_whole = |why: String| {
        Error::new(Kind::Refused, "free the old copies", why)
            .next("`transload status HOME` says where the home stands")
    };
    let stands_on = match &standing {
        Standing::Old => "the old databases",
        Standing::New => "the new databases",
        Standing::Between => return Err(not_whole("the home is in the middle of a swap".into())),
        Standing::Unknown(why) => return Err(not_whole(why.clone())),
    };
    let mut record = Record::load(swap)?;
    if let Some(record) = record.as_mut().filter(|record| !record.freed) {
        // A look at every inode before anything goes; afterwards only live paths can be told.
        look(swap, record)?;
        record.freed = true;
        let name = format!("from here on the home stands on {stands_on} alone");
        step(tools.log, &name, || record.save(tools.disk, swap))?;
    }
    for one in &swap.moves {
        for (path, side) in [(&one.kept, "kept"), (&one.target, "staged")] {
            if !is_there(path)? || guard::is_any_at(path)? {
                continue;
            }
            belongs_to_the_attempt(path, one, swap)?;
            let name = format!(
                "free the {side} copy of {} at {}: the home stands on {stands_on}, whole",
                one.database,
                path.display()
            );
            step(tools.log, &name, || remove_tree(tools.disk, path))?;
        }
    }
    if let Some(record) = &record {
        sweep(tools.disk, swap, record)?;
    } else {
        for path in swap.moves.iter().flat_map(|one| [&one.kept, &one.target]) {
            if guard::is_any_at(path)? {
                super::disk::discard(tools.disk, path)?;
            }
        }
    }
    prune(tools.disk, swap)
}

/// Nothing is removed that isn't an ordinary path below the attempt's folder.
fn belongs_to_the_attempt(path: &Path, one: &Move, swap: &SwapPlan) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::new(Kind::Refused, "free the old copies", why)
            .with("path", path.display().to_string()))
    };
    let Ok(inner) = path.strip_prefix(&swap.attempt_dir) else {
        return refuse("it is not in the attempt's folder");
    };
    if inner.components().any(|part| !matches!(part, Component::Normal(_))) {
        return refuse("it leads out of the attempt's folder");
    }
    let mut folder = parent(path);
    while folder != swap.attempt_dir && folder != Path::new(".") {
        if seen(folder)?.is_some_and(|metadata| metadata.is_symlink()) {
            return refuse("a folder on the way to it is a link");
        }
        folder = parent(folder);
    }
    let inode = |path: &Path| -> Result<Option<(u64, u64)>> {
        Ok(seen(path)?.map(|metadata| (metadata.dev(), metadata.ino())))
    };
    if inode(path)? == inode(&one.live)?
        || one.live.starts_with(path)
        || path.starts_with(&one.live)
    {
        return refuse("it is what the node stands on");
    }
    Ok(())
}

fn remove_tree(disk: &dyn Disk, path: &Path) -> Result<()> {
    let failed = |error| stopped("remove an old copy", path, error);
    let device = fs::symlink_metadata(path).map_err(failed)?.dev();
    remove_below(disk, path, device, 0).map_err(failed)?;
    disk.sync_dir(parent(path)).map_err(failed)
}

fn remove_below(disk: &dyn Disk, path: &Path, device: u64, depth: usize) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return disk.remove_file(path);
    }
    if metadata.dev() != device {
        return Err(io::Error::other("another file system is mounted in it"));
    }
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("folders are deeper than {DEPTH_MAX}")));
    }
    for entry in fs::read_dir(path)? {
        remove_below(disk, &entry?.path(), device, depth + 1)?;
    }
    disk.remove_dir(path)
}

/// Removes the folders that have become empty.
fn prune(disk: &dyn Disk, swap: &SwapPlan) -> Result<()> {
    for path in swap.moves.iter().flat_map(|one| [&one.kept, &one.target]) {
        let mut folder = parent(path);
        while folder.starts_with(&swap.attempt_dir) && folder != swap.attempt_dir {
            // One that isn't empty stays, and so do those above it.
            if disk.remove_dir(folder).is_err() && is_there(folder)? {
                break;
            }
            folder = parent(folder);
        }
    }
    disk.sync_dir(&swap.attempt_dir)
        .map_err(|error| stopped("make a folder durable", &swap.attempt_dir, error))
}
