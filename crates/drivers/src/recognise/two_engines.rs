//! Directories that goleveldb and another engine have both opened.
//!
//! Seen when a node is started with the wrong `db_backend`: goleveldb finds nothing in a Pebble
//! directory that has only logs, and deletes them; Pebble takes over a goleveldb directory that
//! has only a log and rewrites it. What is left depends on who came first and how often.

use super::RECOGNISE;
use super::listing::{Listing, read_start};
use super::options::Options;
use std::path::Path;
use transload_store::{Error, Kind, Result};

/// goleveldb begins a new `LOG` at 1 MiB.
const LOG_BYTES_MAX: u64 = 2 << 20;

/// Refuses a directory with a sign of goleveldb beside OPTIONS files or markers.
///
/// A `LOG` alone proves nothing: goleveldb leaves one when it is refused. One that tells of an
/// open that succeeded does.
pub(super) fn refuse(path: &Path, listing: &Listing) -> Result<()> {
    let Some((other, their_sign)) = other_engine(path, listing) else { return Ok(()) };
    let sign = listing
        .find(|name| name == "CURRENT.bak" || name == "MANIFEST-000000")
        .or_else(|| listing.numbered(".ldb"))
        .or_else(|| ["LOG", "LOG.old"].into_iter().find(|name| goleveldb_opened(path, name)));
    let Some(sign) = sign else { return Ok(()) };
    let what = format!(
        "two engines have opened this directory: {their_sign} is {other}'s and {sign} is \
         goleveldb's. Whichever was the wrong one may have dropped entries, so go back to a copy \
         from before, or let the node fetch this database again"
    );
    Err(Error::new(Kind::UnknownFormat, RECOGNISE, what)
        .with("path", path.display().to_string())
        .with("seen", listing.sample()))
}

/// Another engine than goleveldb, and the file that shows it.
fn other_engine<'a>(path: &Path, listing: &'a Listing) -> Option<(&'static str, &'a str)> {
    if let Some(marker) = listing.find(|name| name.starts_with("marker.manifest.")) {
        return Some(("Pebble", marker));
    }
    let options = listing.latest("OPTIONS-")?;
    let writer = Options::read(path, options).ok().and_then(|options| options.writer());
    Some((writer.map_or("another engine", |writer| writer.name()), options))
}

/// Whether goleveldb's log of its doings tells that it opened the directory.
fn goleveldb_opened(path: &Path, name: &str) -> bool {
    let Ok(log) = read_start(&path.join(name), LOG_BYTES_MAX) else { return false };
    let log = String::from_utf8_lossy(&log);
    log.contains("log@legend ") && log.contains("db@open done")
}
