//! Directories: LevelDB and its descendants, and engines that keep one file in a folder.

use super::listing::{Listing, read_start};
use super::options::{self, Options};
use super::{file, foreign, no_driver, recognised, two_engines};
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{Recognised, Result};

/// What BadgerDB's manifest begins with.
const BADGER_MANIFEST_MAGIC: &[u8] = b"Bdgr";

/// What is read of it: magic, the program's number, the version.
const BADGER_START_BYTES: u64 = 8;

pub(super) fn recognise(path: &Path, listing: &Listing) -> Result<Recognised> {
    if listing.has("data.mdb") {
        return file::recognise(&path.join("data.mdb"), listing.bytes_on_disk);
    }
    if listing.has("mdbx.dat") {
        return Err(no_driver(path, "MDBX"));
    }
    if let Some(start) = badger_start(path, listing)? {
        return badger(path, listing, &start);
    }
    two_engines::refuse(path, listing)?;
    if let Some(file) = listing.latest("OPTIONS-") {
        return options::recognise(path, listing, &Options::read(path, file)?);
    }
    if listing.find(|name| name.starts_with("marker.manifest.")).is_some() {
        return options::pebble(path, listing, None);
    }
    if listing.find(is_current).is_some() {
        return leveldb(path, listing);
    }
    Err(nothing_known(path, listing))
}

/// `CURRENT` and what goleveldb keeps of it across a crash.
fn is_current(name: &str) -> bool {
    name == "CURRENT"
        || name == "CURRENT.bak"
        || name.strip_prefix("CURRENT.").is_some_and(super::listing::is_number)
}

/// Without OPTIONS and markers only LevelDB is left; its manifest must agree.
fn leveldb(path: &Path, listing: &Listing) -> Result<Recognised> {
    #[cfg(feature = "leveldb")]
    let evidence = {
        crate::leveldb::check_manifest(path)?;
        "CURRENT without OPTIONS or markers, and a manifest that is LevelDB's"
    };
    #[cfg(not(feature = "leveldb"))]
    let (evidence, _) = ("CURRENT without OPTIONS or markers", path);
    let has_tables = listing.numbered(".ldb").or_else(|| listing.numbered(".sst")).is_some();
    let bytes = listing.bytes_on_disk;
    Ok(recognised(Engine::Goleveldb, "leveldb format", evidence, has_tables, bytes))
}

/// How BadgerDB's manifest begins, nothing where it is missing; `None` where no file is BadgerDB's.
fn badger_start(path: &Path, listing: &Listing) -> Result<Option<Vec<u8>>> {
    let is_named = listing.has("KEYREGISTRY") || listing.numbered(".vlog").is_some();
    let manifest = path.join("MANIFEST");
    // What can't be read must not look like another engine's folder, or like damage.
    let start = if listing.has("MANIFEST") && manifest.is_file() {
        read_start(&manifest, BADGER_START_BYTES)?
    } else {
        Vec::new()
    };
    Ok((is_named || start.starts_with(BADGER_MANIFEST_MAGIC)).then_some(start))
}

/// `MANIFEST` begins with `Bdgr`, u16 BE the program's number, u16 BE the version.
pub(super) fn badger(path: &Path, listing: &Listing, start: &[u8]) -> Result<Recognised> {
    const VERSION: [u8; 4] = [0, 0, 0, 8];
    let version = start.strip_prefix(BADGER_MANIFEST_MAGIC);
    match version.map(|version| version.get(..VERSION.len()).unwrap_or(version)) {
        Some(version) if version == VERSION => {
            let evidence = "MANIFEST begins with BadgerDB's magic text and version 8";
            let has_tables = listing.numbered(".sst").is_some();
            let bytes = listing.bytes_on_disk;
            Ok(recognised(Engine::Badgerdb, "manifest version 8", evidence, has_tables, bytes))
        }
        Some([0, 0, 0, 1..=7]) => Err(foreign(
            path,
            "BadgerDB 2 or older wrote this, in a format of its own that this version can't read",
        )),
        Some(_) => Err(foreign(path, "a BadgerDB of another version or program wrote this")),
        None => Err(foreign(path, "these are files of BadgerDB without its MANIFEST")),
    }
}

/// Says what is missing where something of a database is left.
fn nothing_known(path: &Path, listing: &Listing) -> transload_store::Error {
    let is_remains = |name: &str| {
        name.starts_with("MANIFEST-") || name.ends_with(".ldb") || name.ends_with(".sst")
    };
    let what = if listing.find(is_remains).is_some() {
        "these are files of a database whose entry point (CURRENT, OPTIONS or a marker) is missing"
    } else {
        "these are no files of a database that transload knows"
    };
    foreign(path, what).with("seen", listing.sample())
}
