//! Durable file operations: written whole or not at all, and synced with the folder's entry.

use crate::error::{Error, Kind, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A failure that leaves things as they stand; `resume` looks again.
pub(super) fn stopped(operation: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Stopped, operation, error.to_string())
        .with("path", path.display().to_string())
        .next("mend the cause, then `transload resume HOME` or `transload rollback HOME`")
        .caused_by(error)
}

/// Makes a folder's entries durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| stopped("make a folder durable", dir, error))
}

/// The folder that a path stands in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a file beside its final place and renames it there, with the owner and mode of the
/// file that it replaces.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = beside(path);
    let failed = |error| stopped("write a file", path, error);
    let before = fs::metadata(path).ok();
    let mut file = File::create(&temporary).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let Some(before) = &before {
        file.set_permissions(fs::Permissions::from_mode(before.mode())).map_err(failed)?;
        let now = file.metadata().map_err(failed)?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))
                .map_err(failed)?;
        }
    }
    file.sync_all().map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    sync_dir(parent(path))
}

/// A name beside `path` for its next content.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".transload-new");
    path.with_file_name(name)
}

/// Removes a file or a folder with all that is in it; a symlink itself, never what it names.
pub(super) fn remove(path: &Path) -> Result<()> {
    let failed = |error| stopped("remove an old copy", path, error);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).map_err(failed)?,
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    sync_dir(parent(path))
}
