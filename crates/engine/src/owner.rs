//! Gives a target the owner, group and mode of the database that it will replace.

use crate::error::{Error, Kind, Result};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;

/// Folders of an engine aren't deeper; a loop must not run for ever.
const DEPTH_MAX: usize = 32;

/// Makes everything below `target` belong to who owns `source`; the top folder (or file) gets
/// the source's mode as well.
///
/// # Errors
/// [`Kind::Stopped`] when the owner can't be given.
pub(crate) fn adopt(source: &Path, target: &Path) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| {
        Error::new(Kind::Stopped, "keep the owner", error.to_string())
            .with("path", path.display().to_string())
            .caused_by(error)
    };
    let model = fs::metadata(source).map_err(|error| failed(source, error))?;
    give(target, model.uid(), model.gid(), 0).map_err(|error| failed(target, error))?;
    let is_dir = fs::metadata(target).map_err(|error| failed(target, error))?.is_dir();
    if is_dir == model.is_dir() {
        let mode = fs::Permissions::from_mode(model.mode() & 0o7777);
        fs::set_permissions(target, mode)
            .and_then(|()| fs::File::open(target)?.sync_all())
            .map_err(|error| failed(target, error))?;
    }
    Ok(())
}

fn give(path: &Path, uid: u32, gid: u32, depth: usize) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) != (uid, gid) {
        lchown(path, Some(uid), Some(gid))?;
        // A database that a power cut gives back to another owner can't be opened by the node.
        if !metadata.is_symlink() {
            fs::File::open(path)?.sync_all()?;
        }
    }
    if metadata.is_dir() {
        if depth >= DEPTH_MAX {
            return Err(std::io::Error::other(format!("folders are deeper than {DEPTH_MAX}")));
        }
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid, gid, depth + 1)?;
        }
    }
    Ok(())
}
