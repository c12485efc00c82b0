//! The few calls by which the swap changes the disk, behind one trait: tests let each of them
//! fail, before it happens or after.

use super::attributes::copy_attributes;
use crate::error::{Error, Kind, Result};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Changes names and files. A call that succeeds is durable once the folders that it concerns
/// are synced; one that fails does so with the file system's error.
pub trait Disk {
    /// Exchanges what stands at two paths, in one step.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Moves `from` to `to`; a file at `to` is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file at `from` a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Writes a file, whole and synced, that nobody but its owner may read; with `like`, it gets
    /// the owner, mode and attributes of that file.
    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder.
    fn create_dir(&self, folder: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, folder: &Path) -> io::Result<()>;

    /// Says when a folder was changed last.
    fn set_modified(&self, folder: &Path, modified: SystemTime) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
}

/// The disk itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
        // A config may hold secrets, so nobody else may read it from the first moment on; a link
        // that somebody put at the path is not followed.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        if let Some(like) = like {
            copy_attributes(like, &file)?;
        }
        file.sync_all()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn set_modified(&self, folder: &Path, modified: SystemTime) -> io::Result<()> {
        File::open(folder)?.set_times(FileTimes::new().set_modified(modified))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// A failure that leaves things as they stand; `resume` looks again.
pub(super) fn stopped(operation: &'static str, path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Stopped, operation, error.to_string())
        .with("path", path.display().to_string())
        .next("mend the cause, then `transload resume HOME` or `transload rollback HOME`")
        .caused_by(error)
}

/// The folder that a path stands in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name beside `path`, told by an ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

/// Whether anything stands at `path`, a dangling link included.
///
/// # Errors
/// Those of [`seen`].
pub(super) fn is_there(path: &Path) -> Result<bool> {
    Ok(seen(path)?.is_some())
}

/// What stands at `path`, which isn't followed when it is a link.
///
/// # Errors
/// [`Kind::Stopped`] when the disk can't tell: what can't be looked at isn't absent.
pub(super) fn seen(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(stopped("look at a path", path, error)),
    }
}

/// Whether an error says that nothing stands at a path.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Puts `bytes` at `path`, durably and whole or not at all; what stood there is replaced.
pub(super) fn replace(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    like: Option<&Path>,
) -> Result<()> {
    let failed = |error| stopped("write a file", path, error);
    make_folders(disk, parent(path))?;
    let temporary = beside(path, ".writing");
    disk.write(&temporary, bytes, like).map_err(failed)?;
    disk.rename(&temporary, path).map_err(failed)?;
    disk.sync_dir(parent(path)).map_err(failed)
}

/// Makes a folder and those above it, durably.
pub(super) fn make_folders(disk: &dyn Disk, folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_folders(disk, parent(folder))?;
    let failed = |error| stopped("make a folder", folder, error);
    match disk.create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    disk.sync_dir(parent(folder)).map_err(failed)
}

/// Removes a file, if there is one.
pub(super) fn discard(disk: &dyn Disk, path: &Path) -> Result<()> {
    let failed = |error| stopped("remove a file", path, error);
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => disk.sync_dir(parent(path)).map_err(failed),
    }
}
