//! Doors for fuzzing: a directory without a disk.

use super::listing::Listing;
use super::options::{self, Options};
use std::path::Path;
use transload_store::{Recognised, Result};

/// What a directory is that has these names and an OPTIONS file, or markers where `text` is empty.
///
/// # Errors
/// As [`super::recognise`].
pub fn directory(names: &[&str], text: &[u8]) -> Result<Recognised> {
    let (path, listing) = (Path::new("fuzz"), Listing::of(names));
    if text.is_empty() {
        return options::pebble(path, &listing, None);
    }
    options::recognise(path, &listing, &Options::of("OPTIONS-000007", text))
}

/// What a folder of BadgerDB's is that has these names beside a MANIFEST which begins so.
///
/// # Errors
/// As [`super::recognise`].
pub fn badger(names: &[&str], start: &[u8]) -> Result<Recognised> {
    super::directory::badger(Path::new("fuzz"), &Listing::of(names), start)
}
