//! Directories as real engines leave them, by names and the contents that decide. What real
//! nodes left as a whole is read in `tests/recognise.rs`.

use super::recognise;
use std::fs;
use std::path::Path;
use transload_model::engine::Engine;
use transload_store::{Kind, Recognised, Result};

const PEBBLE1: &str = "[Version]\n  pebble_version=0.1\n\n[Options]\n  \
    comparer=leveldb.BytewiseComparator\n  format_major_version=1\n  merger=pebble.concatenate\n";
const ROCKSDB: &str = "[Version]\n  rocksdb_version=8.1.1\n  options_file_version=1.1\n\
    [CFOptions \"default\"]\n  comparator=leveldb.BytewiseComparator\n";

/// What goleveldb writes into LOG when it opens a directory, and when it is refused.
const LOG_OPENED: &str = "=============== Nov 23, 2026 (UTC) ===============\n\
    17:50:00.000000 log@legend F\u{b7}NumFile S\u{b7}FileSize\n\
    17:50:00.000001 db@open opening\n17:50:00.000002 db@open done T\u{b7}2.2ms\n";
const LOG_REFUSED: &str = "=============== Nov 23, 2026 (UTC) ===============\n\
    17:50:00.000000 log@legend F\u{b7}NumFile S\u{b7}FileSize\n\
    17:50:00.000001 db@open opening\n";

fn look(files: &[(&str, &str)]) -> Result<Recognised> {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    recognise(dir.path())
}

fn engine(files: &[(&str, &str)]) -> (Engine, bool) {
    let found = look(files).unwrap();
    (found.engine, found.has_tables)
}

fn kind(files: &[(&str, &str)]) -> Kind {
    look(files).unwrap_err().kind()
}

const MARKED: [(&str, &str); 3] = [
    ("OPTIONS-000021", PEBBLE1),
    ("marker.manifest.000003.MANIFEST-000019", ""),
    ("marker.format-version.000001.013", ""),
];

#[test]
fn pebble_is_told_by_its_options_and_markers_not_by_suffixes() {
    let one = [("CURRENT", ""), ("OPTIONS-000003", PEBBLE1), ("000002.log", "")];
    assert_eq!(engine(&one), (Engine::Pebble1, false));
    assert_eq!(engine(&MARKED), (Engine::Pebble2, false));
    assert_eq!(engine(&[&MARKED[..], &[("000034.sst", "")]].concat()), (Engine::Pebble2, true));
    let ratcheted = [
        ("OPTIONS-000021", PEBBLE1),
        ("marker.manifest.000003.MANIFEST-000019", ""),
        ("marker.format-version.000001.013", ""),
        ("marker.format-version.000012.009", ""),
    ];
    assert_eq!(look(&ratcheted).unwrap().version, "format major version 9");
    assert_eq!(engine(&ratcheted).0, Engine::Pebble1);
}

#[test]
fn the_newest_options_file_counts() {
    let files = [("CURRENT", ""), ("OPTIONS-000007", ROCKSDB), ("OPTIONS-000010", PEBBLE1)];
    assert_eq!(engine(&files).0, Engine::Pebble1);
    assert_eq!(kind(&[("CURRENT", ""), ("OPTIONS-000007", "[Version]\n")]), Kind::UnknownFormat);
}

#[test]
fn badgerdb_is_told_by_its_manifest() {
    let manifest = ("MANIFEST", "Bdgr\0\0\0\x08");
    assert_eq!(engine(&[manifest, ("000001.vlog", "")]), (Engine::Badgerdb, false));
    assert_eq!(engine(&[manifest, ("000001.sst", "")]), (Engine::Badgerdb, true));
    assert_eq!(look(&[manifest]).unwrap().version, "manifest version 8");
}

#[test]
fn rocksdb_is_told_by_its_options() {
    let found = look(&[("CURRENT", ""), ("OPTIONS-000007", ROCKSDB)]).unwrap();
    assert_eq!((found.engine, &*found.version), (Engine::Rocksdb, "8.1.1"));
}

#[test]
fn unknown_orders_merges_and_newer_formats_are_refused() {
    let options = |text: &str| kind(&[("CURRENT", ""), ("OPTIONS-000003", text)]);
    let other = |text: &str| text.replace("leveldb.BytewiseComparator", "their.own.order");
    assert_eq!(options(&other(PEBBLE1)), Kind::UnknownFormat);
    assert_eq!(options(&other(ROCKSDB)), Kind::UnknownFormat);
    let second_family = format!("{ROCKSDB}[CFOptions \"b\"]\n  comparator=rocksdb.Reverse\n");
    assert_eq!(options(&second_family), Kind::UnknownFormat);
    let merger = PEBBLE1.replace("pebble.concatenate", "their.own.sum");
    assert_eq!(options(&merger), Kind::UnknownFormat);
    let newer = [("marker.manifest.000001.M", ""), ("marker.format-version.000009.099", "")];
    assert_eq!(kind(&newer), Kind::UnknownFormat);
}

/// Each as it was seen with goleveldb 1.0.1 and Pebble 1.1.5.
#[test]
fn a_directory_that_two_engines_have_opened_is_refused() {
    // F23
    // Pebble had only a log; goleveldb found nothing in it and deleted it.
    let emptied = [
        ("000003.log", ""),
        ("CURRENT", "MANIFEST-000004\n"),
        ("CURRENT.bak", "MANIFEST-000001\n"),
        ("LOG", LOG_OPENED),
        ("MANIFEST-000004", ""),
        ("OPTIONS-000003", PEBBLE1),
    ];
    assert_eq!(kind(&emptied), Kind::UnknownFormat);
    // goleveldb had only a log; Pebble took it over.
    let taken_over = [
        ("000002.sst", ""),
        ("000003.log", ""),
        ("CURRENT", "MANIFEST-000004\n"),
        ("LOG", LOG_OPENED),
        ("MANIFEST-000000", ""),
        ("MANIFEST-000004", ""),
        ("OPTIONS-000005", PEBBLE1),
    ];
    assert_eq!(kind(&taken_over), Kind::UnknownFormat);
    // The same some opens later: goleveldb's manifest is gone, its LOG isn't.
    let later = [("CURRENT", ""), ("000002.sst", ""), ("LOG", LOG_OPENED), ("OPTIONS-8", PEBBLE1)];
    assert_eq!(kind(&later), Kind::UnknownFormat);
    assert_eq!(kind(&[&MARKED[..], &[("000002.ldb", "")]].concat()), Kind::UnknownFormat);
    assert_eq!(kind(&[&MARKED[1..2], &[("CURRENT.bak", "")]].concat()), Kind::UnknownFormat);
    let rocksdb = [("CURRENT", ""), ("OPTIONS-000007", ROCKSDB), ("000002.ldb", "")];
    assert_eq!(kind(&rocksdb), Kind::UnknownFormat);
}

#[test]
fn a_log_of_a_refused_open_proves_nothing() {
    let files = [("CURRENT", ""), ("OPTIONS-000003", PEBBLE1), ("LOG", LOG_REFUSED)];
    assert_eq!(engine(&files), (Engine::Pebble1, false));
    assert_eq!(engine(&[&MARKED[..], &[("LOG", LOG_REFUSED)]].concat()).0, Engine::Pebble2);
}

#[cfg(feature = "leveldb")]
#[test]
fn leveldb_is_what_its_manifest_says() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leveldb");
    for (name, has_tables) in [("only-log", false), ("deletions", true), ("cpp", true)] {
        let found = recognise(&golden.join(name)).unwrap();
        assert_eq!((found.engine, found.has_tables), (Engine::Goleveldb, has_tables), "{name}");
        assert!(found.bytes_on_disk > 0);
    }
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden.join("only-log")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    // The crash window of goleveldb's rename.
    fs::rename(dir.path().join("CURRENT"), dir.path().join("CURRENT.0")).unwrap();
    assert_eq!(recognise(dir.path()).unwrap().engine, Engine::Goleveldb);
    fs::write(dir.path().join("MANIFEST-000000"), "damaged").unwrap();
    assert_eq!(recognise(dir.path()).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn what_is_unknown_is_refused_by_what_was_seen() {
    assert_eq!(kind(&[]), Kind::NotFound);
    assert_eq!(kind(&[("readme.txt", "hello")]), Kind::UnknownFormat);
    assert_eq!(kind(&[("000002.ldb", ""), ("MANIFEST-000004", "")]), Kind::UnknownFormat);
    assert_eq!(kind(&[("mdbx.dat", "")]), Kind::UnknownFormat);
    assert_eq!(kind(&[("KEYREGISTRY", ""), ("000001.vlog", "")]), Kind::UnknownFormat);
    assert_eq!(kind(&[("MANIFEST", "Bdgr\0\0\0\x07"), ("000001.sst", "")]), Kind::UnknownFormat);
    assert_eq!(kind(&[("MANIFEST", "Bdgr\0\x01\0\x08")]), Kind::UnknownFormat);
    assert_eq!(kind(&[("MANIFEST", "Bdgr")]), Kind::UnknownFormat);
    let missing = recognise(Path::new("/nonexistent/transload")).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    assert_eq!(recognise(Path::new("/dev/null")).unwrap_err().kind(), Kind::UnknownFormat);
}

/// A file that begins with `parts` at their offsets.
fn file(parts: &[(usize, &[u8])]) -> std::result::Result<Engine, Kind> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut content = vec![0; 4096];
    for (at, part) in parts {
        content[*at..at + part.len()].copy_from_slice(part);
    }
    fs::write(&path, content).unwrap();
    recognise(&path).map(|found| found.engine).map_err(|error| error.kind())
}

#[test]
fn single_files_are_told_by_their_magic() {
    let redb: (usize, &[u8]) = (0, b"redb\x1a\x0a\xa9\x0d\x0a");
    let sqlite: (usize, &[u8]) = (0, b"SQLite format 3\0\x10\x00\x02\x02");
    let lmdb: (usize, &[u8]) = (16, b"\xde\xc0\xef\xbe\x01\0\0\0");
    assert_eq!(file(&[redb, (64, &[3]), (192, &[3])]), Ok(Engine::Redb));
    assert_eq!(file(&[sqlite]), Ok(Engine::Sqlite));
    assert_eq!(file(&[lmdb]), Ok(Engine::Lmdb));
    assert_eq!(file(&[(16, b"\xed\xda\x0c\xed\x02")]), Ok(Engine::Bbolt));
    let mdbx = (0x59_659d_bdef_4c11_u64 << 8 | 3).to_le_bytes();
    assert_eq!(file(&[(20, &mdbx)]), Err(Kind::UnknownFormat), "MDBX");
    assert_eq!(file(&[(0, b"text")]), Err(Kind::UnknownFormat));
    assert_eq!(file(&[(0, b"transload guards this path.\n")]), Err(Kind::Busy));
}

#[test]
fn single_files_of_other_formats_are_refused() {
    let redb: (usize, &[u8]) = (0, b"redb\x1a\x0a\xa9\x0d\x0a");
    assert_eq!(file(&[redb, (64, &[3]), (192, &[4])]), Err(Kind::UnknownFormat));
    assert_eq!(file(&[redb, (64, &[2]), (192, &[2])]), Err(Kind::UnknownFormat));
    assert_eq!(file(&[(0, b"SQLite format 3\0\x10\x00\x03\x03")]), Err(Kind::UnknownFormat));
    assert_eq!(file(&[(16, b"\xde\xc0\xef\xbe\xe7\x03\0\0")]), Err(Kind::UnknownFormat));
    assert_eq!(file(&[(16, b"\xed\xda\x0c\xed\x03")]), Err(Kind::UnknownFormat), "bbolt 3");
}
