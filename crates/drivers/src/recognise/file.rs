//! Single files, by what they begin with.

use super::listing::read_start;
use super::{RECOGNISE, foreign, no_driver, recognised};
use crate::little_endian::{u32_at, u64_at};
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{Error, Kind, Recognised, Result};

/// Enough for both commit slots of redb's header.
const START_BYTES: u64 = 320;

const SQLITE: &[u8] = b"SQLite format 3\0";
const REDB: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const REDB_SLOTS_AT: [usize; 2] = [64, 192];
/// The file format that redb 3 and 4 write; older ones must be upgraded by redb 2.
const REDB_FORMAT: u8 = 3;

/// LMDB's and bbolt's pages begin with a header of 16 bytes, MDBX's with one of 20.
const META_AT: usize = 16;
const LMDB: u32 = 0xbeef_c0de;
const LMDB_FORMAT: u32 = 1;
const BBOLT: u32 = 0xed0c_daed;
const BBOLT_FORMAT: u32 = 2;
const MDBX_META_AT: usize = 20;
/// The upper 7 bytes of a u64 whose lowest byte is the format.
const MDBX: u64 = 0x59_659d_bdef_4c11;

/// What our own guard file begins with.
const GUARD: &[u8] = b"transload guards this path.";

/// Recognises a single file of a database that has `bytes_on_disk` in all.
pub(super) fn recognise(path: &Path, bytes_on_disk: u64) -> Result<Recognised> {
    let start = read_start(path, START_BYTES)?;
    let found = |engine, version: &str, evidence: &str| {
        Ok(recognised(engine, version, evidence, true, bytes_on_disk))
    };
    if start.starts_with(REDB) {
        check_redb(path, &start)?;
        return found(Engine::Redb, "file format 3", "the file begins with redb's magic number");
    }
    if start.starts_with(SQLITE) {
        check_sqlite(path, &start)?;
        return found(Engine::Sqlite, "3", "the file begins with SQLite's magic text");
    }
    match u32_at(&start, META_AT) {
        Some(LMDB) => {
            let format = u32_at(&start, META_AT + 4).unwrap_or_default();
            if format != LMDB_FORMAT {
                return Err(newer(path, "LMDB", u64::from(format), u64::from(LMDB_FORMAT)));
            }
            let evidence = "LMDB's magic number stands in the first page";
            return found(Engine::Lmdb, "data format 1", evidence);
        }
        Some(BBOLT) => {
            let format = u32_at(&start, META_AT + 4).unwrap_or_default();
            if format != BBOLT_FORMAT {
                return Err(newer(path, "bbolt", u64::from(format), u64::from(BBOLT_FORMAT)));
            }
            let evidence = "bbolt's magic number stands in the first page";
            return found(Engine::Bbolt, "format 2", evidence);
        }
        _ => {}
    }
    if u64_at(&start, MDBX_META_AT).is_some_and(|word| word >> 8 == MDBX) {
        return Err(no_driver(path, "MDBX"));
    }
    if start.starts_with(GUARD) {
        let what = "a migration stands in the middle of its swap: this file guards the \
                    database's place";
        return Err(Error::new(Kind::Busy, RECOGNISE, what)
            .with("path", path.display().to_string())
            .help("don't start the node; `transload status HOME` says where it stands"));
    }
    if start.is_empty() {
        return Err(foreign(path, "the file is empty: there is no database in it"));
    }
    Err(foreign(path, "the file is no database that transload knows"))
}

/// Either slot may be the one that a crash left half written; neither may be of another format.
fn check_redb(path: &Path, start: &[u8]) -> Result<()> {
    let formats = REDB_SLOTS_AT.map(|at| start.get(at).copied().unwrap_or_default());
    match formats.into_iter().find(|format| *format != REDB_FORMAT && *format != 0) {
        Some(format) if format > REDB_FORMAT => {
            Err(newer(path, "redb", u64::from(format), u64::from(REDB_FORMAT)))
        }
        Some(format) => {
            Err(foreign(path, "redb 2 must upgrade this file first")
                .with("format", format.to_string()))
        }
        None => Ok(()),
    }
}

/// The bytes after the magic and the page size: the versions needed to write and to read.
fn check_sqlite(path: &Path, start: &[u8]) -> Result<()> {
    /// 1 is the rollback journal, 2 the write-ahead log.
    const READ_FORMAT_MAX: u8 = 2;
    match start.get(SQLITE.len() + 3) {
        Some(format) if *format > READ_FORMAT_MAX => {
            Err(newer(path, "SQLite", u64::from(*format), u64::from(READ_FORMAT_MAX)))
        }
        _ => Ok(()),
    }
}

fn newer(path: &Path, engine: &str, format: u64, known: u64) -> Error {
    foreign(path, format!("another version of {engine} wrote this file, in a format not known"))
        .with("format", format.to_string())
        .with("newest_known", known.to_string())
}
