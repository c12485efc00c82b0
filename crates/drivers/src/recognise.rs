//! Tells a directory's engine from its own files, before anything opens it.
//!
//! Opening with the wrong engine loses data: goleveldb takes a Pebble directory that has only
//! logs for an empty database and deletes them; Pebble converts a goleveldb log in place. So
//! OPTIONS files, markers and magic numbers decide, never a file's suffix alone, and a directory
//! that two engines have touched is refused. The table of signs: `docs/engines.md`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{Error, Kind, Recognised, Result};

/// Pebble 2 opens format major versions from here on; before it only Pebble 1 does.
const PEBBLE2_FORMAT_MIN: u64 = 13;

/// The newest Pebble format that the helper's Pebble 2 knows.
const PEBBLE2_FORMAT_MAX: u64 = 24;

/// The only key order that carries over between engines.
const BYTEWISE: &str = "leveldb.BytewiseComparator";

/// An OPTIONS file has a few kilobytes; of a larger one only the beginning is read.
const OPTIONS_BYTES_MAX: u64 = 1 << 20;

/// Looks at the file or directory at `path`.
///
/// # Errors
/// [`Kind::NotFound`] when nothing is there; [`Kind::UnknownFormat`] for files of no engine that
/// we read, an unknown comparator or a newer format; [`Kind::Corrupt`] for a directory that two
/// engines have touched.
pub fn recognise(path: &Path) -> Result<Recognised> {
    let metadata = fs::metadata(path).map_err(|error| Error::io("recognise", path, error))?;
    if metadata.is_file() {
        return of_file(path, metadata.len());
    }
    let files = Files::list(path)?;
    if files.names.is_empty() {
        return Err(Error::new(Kind::NotFound, "recognise", "the folder is empty: no database")
            .with("path", path.display().to_string()));
    }
    if files.has("data.mdb") {
        return of_file(&path.join("data.mdb"), files.bytes);
    }
    if let Some(foreign) = foreign_engine(&files) {
        return Err(no_driver(path, foreign));
    }
    let options = files.latest("OPTIONS-");
    let markers = files.names.iter().any(|name| name.starts_with("marker.manifest."));
    match (options, markers) {
        (Some(options), _) => with_options(path, &files, options),
        (None, true) => pebble(path, &files, None),
        (None, false) if files.names.iter().any(|name| name.starts_with("CURRENT")) => {
            leveldb(path, &files)
        }
        (None, false) => Err(Error::new(
            Kind::UnknownFormat,
            "recognise",
            "these are no files of a database that transload knows",
        )
        .with("path", path.display().to_string())
        .with("seen", files.sample())),
    }
}

/// The names in a directory.
struct Files {
    names: BTreeSet<String>,
    bytes: u64,
}

impl Files {
    fn list(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("recognise", path, error);
        let mut files = Self { names: BTreeSet::new(), bytes: 0 };
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            files.bytes += entry.metadata().map_err(failed)?.len();
            files.names.insert(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(files)
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn ends_with(&self, suffix: &str) -> bool {
        self.names.iter().any(|name| name.ends_with(suffix))
    }

    /// The name with this prefix and the highest number after it.
    fn latest(&self, prefix: &str) -> Option<&str> {
        self.names
            .iter()
            .filter_map(|name| {
                let number: u64 = name.strip_prefix(prefix)?.parse().ok()?;
                Some((number, name.as_str()))
            })
            .max()
            .map(|(_, name)| name)
    }

    fn sample(&self) -> String {
        self.names.iter().take(8).cloned().collect::<Vec<_>>().join(" ")
    }
}

/// A directory with an OPTIONS file: Pebble or RocksDB, as the file itself says.
fn with_options(path: &Path, files: &Files, options: &str) -> Result<Recognised> {
    let text = read_start(&path.join(options), OPTIONS_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&text);
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.trim().split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim().to_owned())
    };
    if let Some(comparator) = value("comparer").or_else(|| value("comparator"))
        && comparator != BYTEWISE
    {
        return Err(Error::new(
            Kind::UnknownFormat,
            "recognise",
            "the keys have an order that only the program that wrote them knows",
        )
        .with("comparator", comparator)
        .with("path", path.display().to_string()));
    }
    if value("pebble_version").is_some() {
        return pebble(path, files, value("format_major_version"));
    }
    let Some(version) = value("rocksdb_version") else {
        return Err(Error::new(
            Kind::UnknownFormat,
            "recognise",
            "the OPTIONS file names neither Pebble nor RocksDB",
        )
        .with("file", options)
        .with("path", path.display().to_string()));
    };
    refuse_two_engines(path, files, "RocksDB")?;
    Ok(Recognised {
        engine: Engine::Rocksdb,
        version,
        evidence: format!("{options} names RocksDB"),
        has_tables: files.ends_with(".sst"),
        bytes_on_disk: files.bytes,
    })
}

fn pebble(path: &Path, files: &Files, in_options: Option<String>) -> Result<Recognised> {
    refuse_two_engines(path, files, "Pebble")?;
    // marker.format-version.NNNNNN.VVV: the highest NNNNNN is current.
    let in_marker = files
        .names
        .iter()
        .filter_map(|name| {
            let (number, version) = name.strip_prefix("marker.format-version.")?.split_once('.')?;
            Some((number.parse::<u64>().ok()?, version.parse::<u64>().ok()?))
        })
        .max()
        .map(|(_, version)| version);
    let version =
        in_marker.or_else(|| in_options.and_then(|version| version.parse().ok())).unwrap_or(1);
    if version > PEBBLE2_FORMAT_MAX {
        return Err(Error::new(
            Kind::UnknownFormat,
            "recognise",
            "the database was written by a newer Pebble",
        )
        .with("format_major_version", version.to_string())
        .with("newest_known", PEBBLE2_FORMAT_MAX.to_string())
        .with("path", path.display().to_string()));
    }
    let engine = if version >= PEBBLE2_FORMAT_MIN { Engine::Pebble2 } else { Engine::Pebble1 };
    let sign = if in_marker.is_some() { "its format-version marker" } else { "its OPTIONS file" };
    Ok(Recognised {
        engine,
        version: format!("format major version {version}"),
        evidence: format!("{sign} says so"),
        has_tables: files.ends_with(".sst"),
        bytes_on_disk: files.bytes,
    })
}

fn leveldb(path: &Path, files: &Files) -> Result<Recognised> {
    #[cfg(feature = "leveldb")]
    crate::leveldb::check_manifest(path)?;
    #[cfg(not(feature = "leveldb"))]
    let _ = path; // a build without the reader can't look into the manifest
    Ok(Recognised {
        engine: Engine::Goleveldb,
        version: "leveldb format".into(),
        evidence: "CURRENT without OPTIONS or markers, and its manifest is LevelDB's".into(),
        has_tables: files.ends_with(".ldb") || files.ends_with(".sst"),
        bytes_on_disk: files.bytes,
    })
}

/// goleveldb's own files beside another engine's mean an accident: somebody started the node
/// with the wrong `db_backend`.
fn refuse_two_engines(path: &Path, files: &Files, engine: &str) -> Result<()> {
    let goleveldb = files.has("CURRENT.bak") || files.ends_with(".ldb");
    if !goleveldb {
        return Ok(());
    }
    Err(Error::new(
        Kind::Corrupt,
        "recognise",
        format!(
            "two engines have touched this directory: it has files of {engine} and of goleveldb; \
             somebody opened it with the wrong engine, which may have lost data"
        ),
    )
    .with("path", path.display().to_string())
    .with("seen", files.sample()))
}

/// Engines that we can name and have no driver for.
fn foreign_engine(files: &Files) -> Option<&'static str> {
    if files.has("mdbx.dat") {
        Some("MDBX")
    } else if files.ends_with(".vlog") || files.has("KEYREGISTRY") {
        Some("BadgerDB")
    } else {
        None
    }
}

fn no_driver(path: &Path, engine: &str) -> Error {
    Error::new(
        Kind::UnknownFormat,
        "recognise",
        format!("this is a {engine} database, which this version of transload can't read"),
    )
    .with("path", path.display().to_string())
}

/// A single file, by its magic number.
fn of_file(path: &Path, bytes_on_disk: u64) -> Result<Recognised> {
    let start = read_start(path, 64)?;
    let recognised = |engine, version: &str, evidence: &str| Recognised {
        engine,
        version: version.into(),
        evidence: evidence.into(),
        has_tables: true,
        bytes_on_disk,
    };
    let word = |at: usize| {
        start.get(at..at + 4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    };
    if start.starts_with(b"redb\x1a\x0a\xa9\x0d\x0a") {
        Ok(recognised(Engine::Redb, "", "the file begins with redb's magic number"))
    } else if start.starts_with(b"SQLite format 3\0") {
        Ok(recognised(Engine::Sqlite, "3", "the file begins with SQLite's magic text"))
    } else if word(16) == Some(0xbeef_c0de) {
        Ok(recognised(Engine::Lmdb, "", "LMDB's magic number stands in the first page"))
    } else if word(16) == Some(0xed0c_daed) {
        Err(no_driver(path, "bbolt"))
    } else {
        Err(Error::new(
            Kind::UnknownFormat,
            "recognise",
            "the file is no database that transload knows",
        )
        .with("path", path.display().to_string()))
    }
}

fn read_start(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let failed = |error| Error::io("recognise", path, error);
    let mut start = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max).read_to_end(&mut start).map_err(failed)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn kind(files: &[(&str, &str)]) -> Kind {
        recognise(dir(files).path()).unwrap_err().kind()
    }

    const PEBBLE1: &str = "[Version]\n  pebble_version=0.1\n[Options]\n  \
        comparer=leveldb.BytewiseComparator\n  format_major_version=1\n";

    #[test]
    fn pebble_is_told_by_its_options_and_markers_not_by_suffixes() {
        let one = recognise(dir(&[("CURRENT", ""), ("OPTIONS-000003", PEBBLE1)]).path()).unwrap();
        assert_eq!((one.engine, one.has_tables), (Engine::Pebble1, false));
        let files = [
            ("OPTIONS-000021", PEBBLE1),
            ("marker.manifest.000003.MANIFEST-000019", ""),
            ("marker.format-version.000001.013", ""),
            ("000034.sst", ""),
        ];
        let two = recognise(dir(&files).path()).unwrap();
        assert_eq!((two.engine, two.has_tables), (Engine::Pebble2, true));
    }

    #[test]
    fn rocksdb_is_told_by_its_options() {
        let options = "[Version]\n  rocksdb_version=8.1.1\n[CFOptions \"default\"]\n  \
            comparator=leveldb.BytewiseComparator\n";
        let found = recognise(dir(&[("CURRENT", ""), ("OPTIONS-000007", options)]).path()).unwrap();
        assert_eq!((found.engine, &*found.version), (Engine::Rocksdb, "8.1.1"));
    }

    #[test]
    fn a_directory_that_two_engines_have_touched_is_refused() {
        let files = [("CURRENT", ""), ("OPTIONS-000003", PEBBLE1), ("CURRENT.bak", "")];
        assert_eq!(kind(&files), Kind::Corrupt);
        let files = [("CURRENT", ""), ("OPTIONS-000003", PEBBLE1), ("000002.ldb", "")];
        assert_eq!(kind(&files), Kind::Corrupt);
    }

    #[test]
    fn what_is_unknown_is_refused_by_what_was_seen() {
        assert_eq!(kind(&[]), Kind::NotFound);
        assert_eq!(kind(&[("readme.txt", "hello")]), Kind::UnknownFormat);
        assert_eq!(kind(&[("mdbx.dat", "")]), Kind::UnknownFormat);
        assert_eq!(kind(&[("KEYREGISTRY", ""), ("000001.vlog", "")]), Kind::UnknownFormat);
        let other_order = PEBBLE1.replace(BYTEWISE, "cockroach_comparator");
        assert_eq!(kind(&[("OPTIONS-000003", &other_order)]), Kind::UnknownFormat);
        let newer = [("marker.manifest.000001.M", ""), ("marker.format-version.000009.099", "")];
        assert_eq!(kind(&newer), Kind::UnknownFormat);
        let missing = recognise(Path::new("/nonexistent/transload")).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
    }

    #[test]
    fn single_files_are_told_by_their_magic() {
        let mut bbolt = [0u8; 64];
        bbolt[16..20].copy_from_slice(&0xed0c_daedu32.to_le_bytes());
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            recognise(&path).map(|found| found.engine).map_err(|error| error.kind())
        };
        assert_eq!(file("a", b"SQLite format 3\0..."), Ok(Engine::Sqlite));
        assert_eq!(file("b", b"redb\x1a\x0a\xa9\x0d\x0a..."), Ok(Engine::Redb));
        assert_eq!(file("c", &bbolt), Err(Kind::UnknownFormat));
        assert_eq!(file("d", b"text"), Err(Kind::UnknownFormat));
    }
}
