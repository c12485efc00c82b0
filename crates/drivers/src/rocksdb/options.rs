//! RocksDB's settings: what a source is read with, what a target is made with, and what a
//! database says about its own.

use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, DBCompressionType, DBRecoveryMode, LogLevel, Options,
};
use std::fs;
use std::path::Path;
use transload_store::{Error, Kind, Result};

/// Tables of this format are read by RocksDB 6.6 and later; newer defaults are read by newer
/// ones only.
const FORMAT_VERSION: i32 = 5;

/// Bits a key of the filters that a node's own tables have.
const BLOOM_BITS: f64 = 10.0;

/// Tables held open at once: the usual limit of file handles is 1,024 a process.
const FILES_OPEN_MAX: i32 = 256;

/// Bounds of the buffer of writes that aren't in tables yet.
const WRITE_BUFFER_BYTES: std::ops::RangeInclusive<usize> = (4 << 20)..=(64 << 20);

/// An OPTIONS file has a few kilobytes.
const OPTIONS_BYTES_MAX: u64 = 1 << 20;

/// Settings for reading what another program wrote.
pub(super) fn for_source(memory_bytes_max: u64) -> Options {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_lru_cache(bytes(memory_bytes_max / 2)));
    let mut options = Options::default();
    options.set_block_based_table_factory(&tables);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_paranoid_checks(true);
    options.set_skip_stats_update_on_db_open(true);
    options.set_log_level(LogLevel::Error);
    // A log may end in the middle of a record, as after a kill; damage before its end is an
    // error, not the end of the data, which RocksDB's default takes it for.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

/// Settings as nodes of the Cosmos SDK have, with the format pinned.
pub(super) fn for_target(memory_bytes_max: u64) -> Options {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_lru_cache(bytes(memory_bytes_max / 4)));
    tables.set_bloom_filter(BLOOM_BITS, false);
    tables.set_format_version(FORMAT_VERSION);
    tables.set_checksum_type(ChecksumType::CRC32c);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_block_based_table_factory(&tables);
    options.set_compression_type(DBCompressionType::Snappy);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_paranoid_checks(true);
    options.set_log_level(LogLevel::Warn);
    let buffer = bytes(memory_bytes_max / 8);
    options.set_write_buffer_size(
        buffer.clamp(*WRITE_BUFFER_BYTES.start(), *WRITE_BUFFER_BYTES.end()),
    );
    options
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The version of RocksDB that wrote the newest OPTIONS file; empty where there is none.
pub(super) fn version(path: &Path) -> Result<String> {
    Ok(stored(path, "rocksdb_version")?.map(|v| format!("RocksDB {v}")).unwrap_or_default())
}

/// Refuses a database whose log lies in another folder: without it the newest writes would be
/// missing, and nothing would say so.
pub(super) fn check_log_folder(path: &Path) -> Result<()> {
    let Some(folder) = stored(path, "wal_dir")?.filter(|folder| !folder.is_empty()) else {
        return Ok(());
    };
    // A home that was moved still names the old place, where now nothing is.
    let (Ok(named), Ok(here)) = (fs::canonicalize(&folder), fs::canonicalize(path)) else {
        return Ok(());
    };
    if named == here || !has_logs(&named) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Unsupported,
        "open",
        "the database keeps its log in another folder, which this driver doesn't read",
    )
    .with("path", path.display().to_string())
    .with("wal_dir", folder))
}

fn has_logs(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".log"))
    })
}

/// A value of the newest OPTIONS file.
fn stored(path: &Path, key: &str) -> Result<Option<String>> {
    let failed = |error| Error::io("open", path, error);
    let mut newest: Option<(u64, std::path::PathBuf)> = None;
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("OPTIONS-")?.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(newest, _)| *newest < number)
        {
            newest = Some((number, entry.path()));
        }
    }
    let Some((_, file)) = newest else { return Ok(None) };
    let mut text = Vec::new();
    let opened = fs::File::open(&file).map_err(|error| Error::io("open", &file, error))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(opened, OPTIONS_BYTES_MAX), &mut text)
        .map_err(|error| Error::io("open", &file, error))?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_another_folder_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (database, elsewhere) = (folder.path().join("db"), folder.path().join("log"));
        fs::create_dir(&database).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let text = format!("[DBOptions]\n  wal_dir={}\n", elsewhere.display());
        fs::write(database.join("OPTIONS-000007"), text).unwrap();
        assert!(check_log_folder(&database).is_ok(), "nothing lies there");
        fs::write(elsewhere.join("000004.log"), "x").unwrap();
        assert_eq!(check_log_folder(&database).unwrap_err().kind(), Kind::Unsupported);
    }
}
