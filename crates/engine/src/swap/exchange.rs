//! Exchanges what stands at two paths.

use super::files::{parent, stopped, sync_dir};
use crate::error::{Error, Kind, Result};
use crate::moves::SwapMethod;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::path::{Path, PathBuf};

/// Exchanges `live` and `other` and makes it durable.
pub(super) fn exchange(live: &Path, other: &Path, method: SwapMethod) -> Result<()> {
    match method {
        SwapMethod::Exchange => renameat_with(CWD, live, CWD, other, RenameFlags::EXCHANGE)
            .map_err(|error| stopped("exchange two paths", live, error.into()))?,
        SwapMethod::Rename => by_renames(live, other)?,
    }
    sync_dir(parent(live))?;
    sync_dir(parent(other))
}

/// The place where one of the two waits while the other moves.
fn waiting(other: &Path) -> PathBuf {
    let mut name = other.file_name().unwrap_or_default().to_os_string();
    name.push(".transload-waiting");
    other.with_file_name(name)
}

fn by_renames(live: &Path, other: &Path) -> Result<()> {
    let waiting = waiting(other);
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|error| stopped("rename", from, error))
    };
    rename(live, &waiting)?;
    sync_dir(parent(live))?;
    rename(other, live)?;
    sync_dir(parent(live))?;
    rename(&waiting, other)
}

/// Ends an exchange by renames that was cut off; nothing to do after an atomic one.
pub(super) fn finish_renames(live: &Path, other: &Path) -> Result<()> {
    let waiting = waiting(other);
    if fs::symlink_metadata(&waiting).is_err() {
        return Ok(());
    }
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|error| stopped("rename", from, error))
    };
    if fs::symlink_metadata(live).is_err() {
        rename(other, live)?;
        sync_dir(parent(live))?;
    }
    rename(&waiting, other)?;
    sync_dir(parent(other))
}

/// Tries an exchange of a scratch file in `staging_dir` with one in `folder`. Both folders have
/// their names and their times of modification again when it returns.
pub(super) fn probe(staging_dir: &Path, folder: &Path) -> Result<()> {
    let refused = |error: std::io::Error| {
        Error::new(Kind::Refused, "try an exchange", error.to_string())
            .with("path", folder.display().to_string())
            .with("staging", staging_dir.display().to_string())
            .next(
                "this file system can't exchange two paths in one step; `--swap rename` does it \
                 in three, with a moment in which the path is absent",
            )
    };
    let time_of = |folder: &Path| fs::metadata(folder).and_then(|metadata| metadata.modified());
    let before = [staging_dir, folder].map(|folder| (folder, time_of(folder)));
    let name = |folder: &Path, letter| {
        folder.join(format!(".transload-probe-{}-{letter}", std::process::id()))
    };
    let (one, two) = (name(staging_dir, 'a'), name(folder, 'b'));
    let tried = fs::write(&one, "a").and_then(|()| fs::write(&two, "b")).and_then(|()| {
        renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).map_err(Into::into)
    });
    let exchanged = fs::read(&one).is_ok_and(|content| content == b"b");
    for path in [&one, &two] {
        // What can't be removed was never made.
        let _ = fs::remove_file(path);
    }
    for (folder, time) in before {
        let time = time.map_err(refused)?;
        fs::File::open(folder).and_then(|file| file.set_modified(time)).map_err(refused)?;
    }
    tried.map_err(refused)?;
    if exchanged {
        Ok(())
    } else {
        Err(refused(std::io::Error::other("the exchange was answered with success and not done")))
    }
}
