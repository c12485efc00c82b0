//! A linked snapshot: a crash-consistent copy of a directory that a live process writes, made of
//! hard links of its tables (they never change) and copies of `CURRENT`, manifest and logs.
//!
//! The writer may roll its log, flush, compact and delete while this runs. So the manifest is
//! read again afterwards: when it still says the same, every table and log that it needs was
//! there all the time and is now linked or copied; when it doesn't, everything is taken again.

use super::manifest::{Manifest, log_name, log_numbers};
use std::fs;
use std::path::Path;
use transload_store::{Error, Kind, Result};

/// A busy node flushes every few seconds and a snapshot takes milliseconds; who isn't quiet for
/// so many tries has something wrong.
const TRIES_MAX: u32 = 20;

/// Makes a linked snapshot of `dir` in the empty folder `into`.
///
/// # Errors
/// [`Kind::Busy`] when the directory never stood still; [`Kind::Io`] when `into` is on another
/// file system, where no links are possible.
pub(super) fn linked_snapshot(dir: &Path, into: &Path) -> Result<()> {
    for _ in 0..TRIES_MAX {
        clear(into)?;
        if attempt(dir, into)? {
            return Ok(());
        }
    }
    Err(Error::new(Kind::Busy, "link a snapshot", "the directory changes too fast")
        .with("path", dir.display().to_string())
        .with("tries", TRIES_MAX.to_string())
        .retryable())
}

/// One try; false when something moved.
fn attempt(dir: &Path, into: &Path) -> Result<bool> {
    let before = match Manifest::load(dir) {
        Ok(manifest) => manifest,
        // The manifest was replaced between its name and its bytes.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => return Ok(false),
        Err(error) => return Err(error),
    };
    for (_, number) in before.tables.keys() {
        let mut linked = false;
        for suffix in ["ldb", "sst"] {
            let name = format!("{number:06}.{suffix}");
            match fs::hard_link(dir.join(&name), into.join(&name)) {
                Ok(()) => linked = true,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // goleveldb lists a fresh table twice, on two levels at worst: one link serves.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => linked = true,
                Err(error) => return Err(Error::io("link a snapshot", &dir.join(&name), error)),
            }
        }
        if !linked {
            return Ok(false);
        }
    }
    for number in log_numbers(dir)?.into_iter().filter(|number| before.needs_log(*number)) {
        if !copy(dir, into, &log_name(number))? {
            return Ok(false);
        }
    }
    if !copy(dir, into, &before.name)? {
        return Ok(false);
    }
    let current = into.join("CURRENT");
    fs::write(&current, format!("{}\n", before.name))
        .map_err(|error| Error::io("link a snapshot", &current, error))?;
    let unchanged = Manifest::load(dir).is_ok_and(|after| after == before);
    Ok(unchanged && Manifest::load(into).is_ok_and(|copied| copied == before))
}

fn copy(dir: &Path, into: &Path, name: &str) -> Result<bool> {
    match fs::copy(dir.join(name), into.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("link a snapshot", &dir.join(name), error)),
    }
}

/// Empties a folder of an earlier try. Only files are made there, so only files are removed.
fn clear(into: &Path) -> Result<()> {
    let failed = |error| Error::io("link a snapshot", into, error);
    for entry in fs::read_dir(into).map_err(failed)? {
        fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    Ok(())
}
