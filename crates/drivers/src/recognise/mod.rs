//! Tells a directory's engine from its own files, before anything opens it.
//!
//! Opening with the wrong engine loses data: goleveldb takes a Pebble directory that has only
//! logs for an empty database and deletes them; Pebble converts a goleveldb log in place. So
//! OPTIONS files, markers, manifests and magic numbers decide, never a file's suffix alone, and
//! a directory that two engines have touched is refused. The table of signs: `docs/engines.md`.

pub mod decoders;
mod directory;
mod file;
mod listing;
mod options;
#[cfg(test)]
mod tests;
mod two_engines;

use listing::Listing;
use std::fs;
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{Error, Kind, Recognised, Result};

/// The operation that errors of this module name.
const RECOGNISE: &str = "recognise";

/// Looks at the file or directory at `path`. Only reads, and takes no lock.
///
/// # Errors
/// [`Kind::NotFound`] when nothing is there, or an empty folder; [`Kind::UnknownFormat`] for
/// files of no engine that we read, of two engines, an unknown key order or a newer format;
/// [`Kind::Corrupt`] for a damaged manifest; [`Kind::Busy`] for the guard that stands in a
/// database's place while a migration swaps it.
pub fn recognise(path: &Path) -> Result<Recognised> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(RECOGNISE, path, error))?;
    if metadata.is_file() {
        return file::recognise(path, metadata.len());
    }
    if !metadata.is_dir() {
        return Err(foreign(path, "this is neither a file nor a folder"));
    }
    let listing = Listing::read(path)?;
    if listing.is_empty() {
        let what = "the folder is empty: there is no database in it";
        return Err(
            Error::new(Kind::NotFound, RECOGNISE, what).with("path", path.display().to_string())
        );
    }
    directory::recognise(path, &listing)
}

/// Something that is no database which we can read.
fn foreign(path: &Path, what: impl Into<String>) -> Error {
    Error::new(Kind::UnknownFormat, RECOGNISE, what).with("path", path.display().to_string())
}

/// An engine that can be named and has no driver.
fn no_driver(path: &Path, engine: &str) -> Error {
    foreign(path, format!("this is a {engine} database, which this version can't read"))
}

/// Whether keys of an engine in this order can be read by any other.
fn check_key_order(path: &Path, order: &str, evidence: &str) -> Result<()> {
    /// `memcmp`, as LevelDB named it and all its descendants do.
    const BYTEWISE: &str = "leveldb.BytewiseComparator";
    if order == BYTEWISE {
        return Ok(());
    }
    let what = "the keys have an order that only the program that wrote them knows";
    Err(foreign(path, what).with("comparator", order).with("file", evidence))
}

fn recognised(
    engine: Engine,
    version: impl Into<String>,
    evidence: impl Into<String>,
    has_tables: bool,
    bytes_on_disk: u64,
) -> Recognised {
    Recognised {
        engine,
        version: version.into(),
        evidence: evidence.into(),
        has_tables,
        bytes_on_disk,
    }
}
