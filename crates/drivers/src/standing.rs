//! What stands at a path before an engine sees it: targets are made only where nothing is, and
//! sources of another engine, or in use where that can't be, are refused.

use std::fs;
use std::path::Path;
use transload_store::{Error, Kind, Result};

/// Refuses a source that isn't a regular file with `magic` at its beginning.
#[cfg(any(feature = "redb", feature = "sqlite"))]
pub(crate) fn check_magic(path: &Path, magic: &[u8], engine: &str) -> Result<()> {
    use std::io::Read as _;
    let failed = |error| Error::io("open", path, error);
    let metadata = fs::metadata(path).map_err(failed)?;
    let mut start = vec![0; magic.len()];
    if !metadata.is_file()
        || fs::File::open(path).map_err(failed)?.read_exact(&mut start).is_err()
        || start != magic
    {
        return Err(Error::new(
            Kind::UnknownFormat,
            "open",
            format!("this is no database file of {engine}"),
        )
        .with("path", path.display().to_string()));
    }
    Ok(())
}

/// Refuses a path at which something stands: the database will be the file itself.
#[cfg(any(feature = "redb", feature = "sqlite"))]
pub(crate) fn check_nothing_there(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("create", path, error)),
        Ok(_) => Err(Error::new(
            Kind::InvalidInput,
            "create",
            "something is there already, and the database would be a file of this name",
        )
        .with("path", path.display().to_string())),
    }
}

/// Makes the folder of a target, or takes one that is empty.
#[cfg(any(feature = "lmdb", feature = "rocksdb"))]
pub(crate) fn make_empty_folder(path: &Path) -> Result<()> {
    let failed = |error| Error::io("create", path, error);
    match fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let is_empty = path.is_dir() && fs::read_dir(path).map_err(failed)?.next().is_none();
            if is_empty {
                return Ok(());
            }
            Err(Error::new(Kind::InvalidInput, "create", "something is there already")
                .with("path", path.display().to_string()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Makes the name of a new file durable.
#[cfg(any(feature = "redb", feature = "sqlite"))]
pub(crate) fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io("create", folder, error))
}
