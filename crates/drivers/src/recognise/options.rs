//! OPTIONS files: Pebble and RocksDB write one each time they open a database, and name
//! themselves in it.

use super::listing::{Listing, read_start};
use super::{check_key_order, foreign, recognised};
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{Recognised, Result};

/// An OPTIONS file has a few kilobytes a column family; of a larger one only the beginning is
/// read.
const OPTIONS_BYTES_MAX: u64 = 4 << 20;

/// Pebble 2 opens format major versions from here on; before it only Pebble 1 does.
const PEBBLE2_FORMAT_MIN: u64 = 13;

/// The newest format major version that the helper's Pebble 2 knows.
const PEBBLE2_FORMAT_MAX: u64 = 24;

/// What Pebble does with merge records unless a program brings its own operator; databases of
/// nodes have none.
const PEBBLE_MERGERS: [&str; 2] = ["pebble.concatenate", "nullptr"];

/// The lines `name=value` of an OPTIONS file.
pub(super) struct Options {
    file: String,
    text: String,
}

impl Options {
    pub(super) fn read(path: &Path, file: &str) -> Result<Self> {
        let bytes = read_start(&path.join(file), OPTIONS_BYTES_MAX)?;
        Ok(Self::of(file, &bytes))
    }

    /// The content of `file`.
    pub(super) fn of(file: &str, bytes: &[u8]) -> Self {
        Self { file: file.to_owned(), text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// All values of a name, in order: RocksDB has one a column family.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.text
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .filter(move |(found, _)| *found == name)
            .map(|(_, value)| value.trim())
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values(name).next().map(str::to_owned)
    }

    /// The engine that wrote the file.
    pub(super) fn writer(&self) -> Option<Writer> {
        if self.value("pebble_version").is_some() {
            Some(Writer::Pebble)
        } else {
            self.value("rocksdb_version").map(|version| Writer::Rocksdb { version })
        }
    }
}

/// Who wrote an OPTIONS file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Pebble,
    Rocksdb { version: String },
}

impl Writer {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Writer::Pebble => "Pebble",
            Writer::Rocksdb { .. } => "RocksDB",
        }
    }
}

/// A directory whose newest OPTIONS file is this one.
pub(super) fn recognise(path: &Path, listing: &Listing, options: &Options) -> Result<Recognised> {
    for name in ["comparer", "comparator"] {
        for order in options.values(name) {
            check_key_order(path, order, &options.file)?;
        }
    }
    match options.writer() {
        Some(Writer::Pebble) => pebble(path, listing, Some(options)),
        Some(Writer::Rocksdb { version }) => {
            let has_tables = listing.numbered(".sst").is_some();
            let evidence = format!("{} says rocksdb_version={version}", options.file);
            Ok(recognised(Engine::Rocksdb, version, evidence, has_tables, listing.bytes_on_disk))
        }
        None => Err(foreign(path, "the OPTIONS file names neither Pebble nor RocksDB")
            .with("file", options.file.as_str())),
    }
}

/// A Pebble directory, told by OPTIONS or by markers.
pub(super) fn pebble(
    path: &Path,
    listing: &Listing,
    options: Option<&Options>,
) -> Result<Recognised> {
    if let Some(merger) = options.and_then(|options| options.value("merger"))
        && !PEBBLE_MERGERS.contains(&merger.as_str())
    {
        let what = "values are merged in a way that only the program that wrote them knows";
        return Err(foreign(path, what).with("merger", merger));
    }
    // marker.format-version.NNNNNN.VVV: of several, the one with the highest N counts.
    let marker = listing
        .names()
        .filter_map(|name| {
            let (number, version) = name.strip_prefix("marker.format-version.")?.split_once('.')?;
            Some((number.parse::<u64>().ok()?, version.parse::<u64>().ok()?, name))
        })
        .max();
    let in_options = || options?.value("format_major_version")?.parse().ok();
    let (format, evidence) = match (marker, in_options()) {
        (Some((_, format, name)), _) => (format, format!("{name} says so")),
        (None, Some(format)) => {
            let file = options.map_or("", |options| options.file.as_str());
            (format, format!("{file} says pebble_version and format_major_version={format}"))
        }
        // The first versions of Pebble wrote no format; their directories have no markers.
        (None, None) => (1, "a Pebble directory without a format is of format 1".to_owned()),
    };
    if format > PEBBLE2_FORMAT_MAX {
        return Err(foreign(path, "a newer Pebble wrote this database")
            .with("format_major_version", format.to_string())
            .with("newest_known", PEBBLE2_FORMAT_MAX.to_string()));
    }
    let engine = if format >= PEBBLE2_FORMAT_MIN { Engine::Pebble2 } else { Engine::Pebble1 };
    let version = format!("format major version {format}");
    let has_tables = listing.numbered(".sst").is_some();
    Ok(recognised(engine, version, evidence, has_tables, listing.bytes_on_disk))
}
