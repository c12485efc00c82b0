//! The guard: a regular file that stands where a database is looked for. goleveldb, Pebble and
//! RocksDB all stop at it, whatever flag or variable bypasses the config.

use super::disk::{Disk, is_absence, is_there, replace, seen, stopped};
use crate::error::{Error, Kind, Result};
use crate::moves::SwapPlan;
use std::fs;
use std::path::Path;

/// The first line of a guard file, of whichever attempt.
const MARK: &str = "transload guards this path.";

/// What a guard file says, to whoever finds it.
pub(super) fn text(swap: &SwapPlan) -> String {
    format!(
        "{MARK}\n\nA migration of this node's databases is under way, so the node must not start \
         now.\nRun `transload status HOME` to see where it stands, then\n`transload resume HOME` \
         to go on or `transload rollback HOME` to go back.\nDon't remove this file: an engine \
         would make an empty database in its place.\n\nattempt {}\n",
        swap.attempt_dir.display()
    )
}

/// Whether this attempt's guard stands at `path`.
///
/// # Errors
/// [`Kind::Stopped`] when the disk can't tell.
pub(super) fn is_at(path: &Path, swap: &SwapPlan) -> Result<bool> {
    Ok(read(path)?.is_some_and(|bytes| bytes == text(swap).as_bytes()))
}

/// Whether a guard of any attempt stands at `path`.
///
/// # Errors
/// [`Kind::Stopped`] when the disk can't tell.
pub(super) fn is_any_at(path: &Path) -> Result<bool> {
    Ok(read(path)?.is_some_and(|bytes| bytes.starts_with(MARK.as_bytes())))
}

/// What a file holds that is small enough for a guard.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    // The longest path makes the longest guard; a database in one file is larger than that.
    const GUARD_BYTES_MAX: u64 = 16 << 10;
    let is_small = |metadata: fs::Metadata| metadata.is_file() && metadata.len() <= GUARD_BYTES_MAX;
    if !seen(path)?.is_some_and(is_small) {
        return Ok(None);
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(stopped("look for a guard", path, error)),
    }
}

/// Makes sure that a guard stands at a staging path that is empty or has one.
///
/// # Errors
/// [`Kind::OutcomeUnknown`] when something else stands there.
pub(super) fn stage(disk: &dyn Disk, path: &Path, swap: &SwapPlan) -> Result<()> {
    if is_at(path, swap)? {
        return Ok(());
    }
    if is_there(path)? && !is_any_at(path)? {
        return Err(Error::new(
            Kind::OutcomeUnknown,
            "stage a guard",
            "something else stands where the guard should be",
        )
        .with("path", path.display().to_string())
        .next("see what it is and move it away; then go on"));
    }
    replace(disk, path, text(swap).as_bytes(), None)
}
