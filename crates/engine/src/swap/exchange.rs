//! Exchanges what stands at a live path and at a staging path, durably.
//!
//! In one step where the file system can. Where it can't, and only when asked for, by three
//! steps: a config file is never absent even then, a database is for a moment, and only while
//! the config is guarded.

use super::disk::{Disk, beside, is_there, parent, seen, stopped};
use crate::error::{Error, Kind, Result};
use crate::moves::SwapMethod;
use crate::planning::is_alive;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Exchanges `live` and `other` and makes it durable.
///
/// # Errors
/// [`Kind::Stopped`]; whether it happened must be read back.
pub(super) fn exchange(
    disk: &dyn Disk,
    live: &Path,
    other: &Path,
    method: SwapMethod,
) -> Result<()> {
    let failed = |error| stopped("exchange two paths", live, error).effect_unknown();
    match method {
        SwapMethod::Exchange => disk.exchange(live, other).map_err(failed)?,
        SwapMethod::Rename => by_renames(disk, live, other).map_err(failed)?,
    }
    sync_both(disk, live, other)
}

/// Makes the names in both folders durable.
pub(super) fn sync_both(disk: &dyn Disk, live: &Path, other: &Path) -> Result<()> {
    for folder in [parent(live), parent(other)] {
        disk.sync_dir(folder)
            .map_err(|error| stopped("make a folder durable", folder, error).effect_unknown())?;
    }
    Ok(())
}

/// Where what was live waits while the other moves.
fn waiting(other: &Path) -> PathBuf {
    beside(other, ".waiting")
}

/// A file whose place is taken by a file gets a second name first, so that the live path is
/// never absent. A folder can't have two names.
fn by_renames(disk: &dyn Disk, live: &Path, other: &Path) -> io::Result<()> {
    let waiting = waiting(other);
    let is_file = |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.is_file());
    if is_file(live)? && is_file(other)? {
        disk.link(live, &waiting)?;
    } else {
        disk.rename(live, &waiting)?;
    }
    disk.sync_dir(parent(&waiting))?;
    disk.rename(other, live)?;
    disk.sync_dir(parent(live))?;
    disk.rename(&waiting, other)
}

/// Whether an exchange with what stands at `other` was cut off.
pub(super) fn is_torn(other: &Path) -> Result<bool> {
    is_there(&waiting(other))
}

/// Ends an exchange by renames that was cut off, forward where the other has moved, else
/// backward.
///
/// # Errors
/// [`Kind::Stopped`] when the disk refuses; [`Kind::OutcomeUnknown`] when the pieces aren't
/// those that a cut-off exchange leaves.
pub(super) fn mend(disk: &dyn Disk, live: &Path, other: &Path) -> Result<()> {
    let waiting = waiting(other);
    if !is_there(&waiting)? {
        return Ok(());
    }
    let failed = |error| stopped("end an exchange", live, error).effect_unknown();
    match (is_there(live)?, is_there(other)?) {
        (true, false) => disk.rename(&waiting, other).map_err(failed)?,
        (false, true) => disk.rename(&waiting, live).map_err(failed)?,
        (true, true) if is_same_file(live, &waiting)? => {
            disk.remove_file(&waiting).map_err(failed)?;
        }
        _ => {
            return Err(Error::new(
                Kind::OutcomeUnknown,
                "end an exchange",
                "what stands here is not what a cut-off exchange leaves",
            )
            .with("live", live.display().to_string())
            .with("waiting", waiting.display().to_string()));
        }
    }
    sync_both(disk, live, other)
}

fn is_same_file(one: &Path, other: &Path) -> Result<bool> {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (one, other) = (seen(one)?.map(identity), seen(other)?.map(identity));
    Ok(one.is_some() && one == other)
}

/// Whether a path in `folder` can be exchanged with one in `staging`: tried out with a file in
/// one and a folder in the other, as the swap does. Nothing is left, and the folders' times are
/// as before.
///
/// # Errors
/// [`Kind::Refused`] with the file system's reason.
pub(super) fn probe(disk: &dyn Disk, staging: &Path, folder: &Path) -> Result<()> {
    let tried = keeping_times([staging, folder], || try_out(disk, staging, folder));
    tried.map_err(|error| {
        refusal("try an exchange", folder, staging, error).next(
            "staging must stand on the databases' own mount; where that can't exchange, `--swap \
             rename` does it in three steps, with a moment in which a path is absent",
        )
    })
}

/// Whether a path in `folder` can be exchanged with one in `staging`, tried out as [`probe`] does.
///
/// # Errors
/// [`Kind::Stopped`] where the disk fails: then nothing is known of its file system.
pub(super) fn can_exchange(disk: &dyn Disk, staging: &Path, folder: &Path) -> Result<bool> {
    use io::ErrorKind::{CrossesDevices, InvalidInput, Unsupported};
    match keeping_times([staging, folder], || try_out(disk, staging, folder)) {
        Ok(()) => Ok(true),
        // Another file system, mount or layer, or one that can't exchange.
        Err(error) if matches!(error.kind(), CrossesDevices | InvalidInput | Unsupported) => {
            Ok(false)
        }
        Err(error) => Err(stopped("try an exchange", folder, error)),
    }
}

/// Whether a database itself can leave its place: on a stacked file system (overlayfs, most
/// often a container's) a folder of a lower layer can't, though one that was made now can.
///
/// It is moved onto a folder that has something in it, which no file system does: the answer
/// tells whether that alone stood in the way.
///
/// # Errors
/// [`Kind::Refused`] with the file system's reason.
pub(super) fn probe_move(disk: &dyn Disk, staging: &Path, database: &Path) -> Result<()> {
    let tried = keeping_times([staging, parent(database)], || try_move(disk, staging, database));
    tried.map_err(|error| {
        refusal("try to move a database", database, staging, error)
            .next("copy the home to a volume of its own and migrate it there")
    })
}

fn refusal(operation: &'static str, path: &Path, staging: &Path, error: io::Error) -> Error {
    use rustix::io::Errno;
    let why = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::XDEV) => "they are on different file systems, mounts or layers",
        Some(Errno::BUSY) => "something is mounted there",
        Some(Errno::ROFS) => "the file system is read-only",
        Some(Errno::ACCESS | Errno::PERM) => "this user may not write",
        Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            "this file system can't exchange two paths in one step"
        }
        _ => "it failed",
    };
    Error::new(Kind::Refused, operation, why)
        .with("path", path.display().to_string())
        .with("staging", staging.display().to_string())
        .with("system", error.to_string())
        .caused_by(error)
}

fn keeping_times<T>(folders: [&Path; 2], work: impl FnOnce() -> T) -> T {
    let times = folders.map(|path| (path, times_of(path)));
    let result = work();
    for (path, times) in times {
        if let Ok(times) = times {
            // A wrong time of a folder misleads no engine.
            let _ = File::open(path).and_then(|folder| folder.set_times(times));
        }
    }
    result
}

/// The times of a folder, to be given back.
pub(super) fn times_of(path: &Path) -> io::Result<FileTimes> {
    let metadata = fs::metadata(path)?;
    Ok(FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?))
}

/// How the names of everything that a probe makes begin; then follow the process's id and what
/// it is.
const PROBE: &str = ".transload-probe-";

fn try_out(disk: &dyn Disk, staging: &Path, folder: &Path) -> io::Result<()> {
    // What a killed probe of an equal number left.
    sweep_probes(staging)?;
    sweep_probes(folder)?;
    let name = format!("{PROBE}{}", std::process::id());
    let (dir, file) = (staging.join(format!("{name}-d")), folder.join(format!("{name}-f")));
    let tried = disk
        .create_dir(&dir)
        .and_then(|()| disk.write(&file, b"transload", None))
        .and_then(|()| disk.exchange(&dir, &file))
        .and_then(|()| {
            if dir.is_file() && file.is_dir() {
                Ok(())
            } else {
                Err(io::Error::other("it was answered with success and not done"))
            }
        });
    for path in [&dir, &file] {
        // Each is a folder or a file, or isn't there.
        let _ = disk.remove_dir(path);
        let _ = disk.remove_file(path);
    }
    tried
}

/// What stands in a probe's folder so that nothing can take its place.
const OCCUPANT: &str = "occupied";

fn try_move(disk: &dyn Disk, staging: &Path, database: &Path) -> io::Result<()> {
    sweep_probes(staging)?;
    let dir = staging.join(format!("{PROBE}{}-m", std::process::id()));
    let occupant = dir.join(OCCUPANT);
    let tried = disk
        .create_dir(&dir)
        .and_then(|()| disk.write(&occupant, b"transload", None))
        .and_then(|()| match disk.rename(database, &dir) {
            // The answers of a file system that looks at the place at all: it is occupied, or
            // (for a database in one file) a folder.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::AlreadyExists
                        | io::ErrorKind::IsADirectory
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => {
                disk.rename(&dir, database)?;
                Err(io::Error::other("a folder took the place of one that isn't empty"))
            }
        });
    // Neither removes anything but what was made here.
    let _ = disk.remove_file(&occupant);
    let _ = disk.remove_dir(&dir);
    tried
}

/// Removes from `folder` what killed probes left there, this process's own included.
///
/// # Errors
/// The folder can't be read, or something in it can't be removed.
pub(super) fn sweep_probes(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        // A folder that is gone is for others to explain.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PROBE)) else { continue };
        let process = rest.split('-').next().and_then(|text| text.parse::<u32>().ok());
        if process.is_some_and(|id| id != std::process::id() && is_alive(id)) {
            continue;
        }
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            fs::remove_file(path)?;
            continue;
        }
        let occupant = path.join(OCCUPANT);
        match fs::remove_file(occupant) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_dir(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;

    #[test]
    fn exchange_works_here_and_leaves_nothing_behind() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let time = fs::metadata(other.path()).unwrap().modified().unwrap();
        probe(&RealDisk, one.path(), other.path()).unwrap();
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 0);
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        assert_eq!(fs::metadata(other.path()).unwrap().modified().unwrap(), time);
        let refusal = probe(&RealDisk, one.path(), &other.path().join("absent")).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Refused);
    }

    #[test]
    fn a_database_that_could_move_stays_and_one_that_is_absent_is_refused() {
        let (staging, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (folder, file) = (data.path().join("state.db"), data.path().join("state.redb"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("CURRENT"), "x").unwrap();
        fs::write(&file, "x").unwrap();
        let inodes = || [&folder, &file].map(|path| fs::metadata(path).unwrap().ino());
        let before = (inodes(), fs::metadata(data.path()).unwrap().modified().unwrap());
        for database in [&folder, &file] {
            probe_move(&RealDisk, staging.path(), database).unwrap();
        }
        let now = (inodes(), fs::metadata(data.path()).unwrap().modified().unwrap());
        assert_eq!(now, before);
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
        let absent = data.path().join("absent.db");
        let refusal = probe_move(&RealDisk, staging.path(), &absent).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Refused);
    }

    #[test]
    fn a_database_that_a_mad_file_system_moves_comes_back() {
        struct Mad;
        impl Disk for Mad {
            fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
                RealDisk.exchange(one, other)
            }
            fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
                let _ = fs::remove_file(to.join(OCCUPANT));
                RealDisk.rename(from, to)
            }
            fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
                RealDisk.link(from, to)
            }
            fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
                RealDisk.write(path, bytes, like)
            }
            fn remove_file(&self, path: &Path) -> io::Result<()> {
                RealDisk.remove_file(path)
            }
            fn create_dir(&self, folder: &Path) -> io::Result<()> {
                RealDisk.create_dir(folder)
            }
            fn remove_dir(&self, folder: &Path) -> io::Result<()> {
                RealDisk.remove_dir(folder)
            }
            fn set_modified(&self, folder: &Path, at: std::time::SystemTime) -> io::Result<()> {
                RealDisk.set_modified(folder, at)
            }
            fn sync_dir(&self, folder: &Path) -> io::Result<()> {
                RealDisk.sync_dir(folder)
            }
        }
        let (staging, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let database = data.path().join("state.db");
        fs::create_dir(&database).unwrap();
        fs::write(database.join("CURRENT"), "x").unwrap();
        let refusal = probe_move(&Mad, staging.path(), &database).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Refused);
        assert_eq!(fs::read(database.join("CURRENT")).unwrap(), b"x");
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_probe_left_is_swept_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        // No process has this number: it is above the kernel's limit.
        let dead = u32::MAX;
        for (name, is_dir) in [("-f", false), ("-d", true), ("-m", true)] {
            let path = folder.path().join(format!("{PROBE}{dead}{name}"));
            if is_dir { fs::create_dir(path).unwrap() } else { fs::write(path, "x").unwrap() }
        }
        fs::write(folder.path().join(format!("{PROBE}{dead}-m/{OCCUPANT}")), "x").unwrap();
        let alive = format!("{PROBE}1-f");
        for name in ["transload-probe", "blockstore.db", alive.as_str()] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        sweep_probes(folder.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [alive.as_str(), "blockstore.db", "transload-probe"]);
    }

    #[test]
    fn another_file_system_is_refused_with_the_reason() {
        let (one, proc) = (tempfile::tempdir().unwrap(), Path::new("/proc"));
        let refusal = probe(&RealDisk, one.path(), proc).unwrap_err();
        assert_eq!(refusal.kind(), Kind::Refused);
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 0);
    }
}
