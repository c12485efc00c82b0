//! Damage of every file and kind is an error that names the place, and never an end of data (F1).

use super::{digest, open, replace};
use std::fs;
use std::path::Path;
use transload_store::{KeyRange, Kind, Result, Scan};

/// A copy of a golden database.
fn copy(name: &str) -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leveldb").join(name);
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn files(dir: &Path, wanted: fn(&str) -> bool) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    files.sort();
    files
}

fn read(dir: &Path) -> Result<(u64, String)> {
    digest(&*open(dir)?.snapshot()?)
}

#[test]
fn a_flipped_bit_anywhere_in_a_table_is_never_read_as_data() {
    let dir = copy("deletions");
    let sound = read(dir.path()).unwrap();
    let tables = files(dir.path(), |name| name.ends_with(".ldb"));
    let table = &tables[1];
    let bytes = fs::read(table).unwrap();
    let mut unseen = 0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        replace(table, &damaged);
        match read(dir.path()) {
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Corrupt | Kind::UnknownFormat), "{error}");
                let names_file = error
                    .context()
                    .contains(&("file", table.file_name().unwrap().to_str().unwrap().to_owned()));
                assert!(names_file, "byte {at}: {error}");
            }
            // The metaindex block and the footer's padding aren't needed to read.
            Ok(found) => {
                assert_eq!(found, sound, "byte {at}");
                unseen += 1;
            }
        }
    }
    assert!(unseen < 80, "{unseen} bytes of {} weren't checked", bytes.len());
}

#[test]
fn a_flipped_bit_anywhere_in_log_or_manifest_is_refused() {
    for name in ["000013.log", "MANIFEST-000014"] {
        let dir = copy("deletions");
        let path = dir.path().join(name);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            replace(&path, &damaged);
            let error = read(dir.path()).expect_err("damage is seen");
            assert_eq!(error.kind(), Kind::Corrupt, "{name} byte {at}: {error}");
        }
    }
}

#[test]
fn a_short_long_or_missing_table_is_refused_at_once() {
    let dir = copy("deletions");
    let table = files(dir.path(), |name| name.ends_with(".ldb")).remove(2);
    let bytes = fs::read(&table).unwrap();
    for damaged in [&bytes[..bytes.len() - 1], &bytes[..10], &[], &[&bytes[..], b"x"].concat()] {
        fs::write(&table, damaged).unwrap();
        assert_eq!(open(dir.path()).err().unwrap().kind(), Kind::Corrupt);
    }
    fs::remove_file(&table).unwrap();
    assert_eq!(open(dir.path()).err().unwrap().kind(), Kind::Corrupt);
    // Under the name that older versions gave it, it is there.
    fs::write(table.with_extension("sst"), &bytes).unwrap();
    read(dir.path()).unwrap();
}

#[test]
fn a_table_that_is_cut_off_while_it_is_read_is_an_error_for_ever() {
    let dir = copy("plain");
    let snapshot = open(dir.path()).unwrap().snapshot().unwrap();
    let table = files(dir.path(), |name| name == "000003.ldb").remove(0);
    let file = fs::File::options().write(true).open(&table).unwrap();
    file.set_len(2_000).unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
    let error = loop {
        match scan.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a truncated table looked like the end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(scan.next().unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(scan.receipt().unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_missing_log_manifest_or_current_is_refused() {
    for name in ["000013.log", "MANIFEST-000014"] {
        let dir = copy("deletions");
        fs::remove_file(dir.path().join(name)).unwrap();
        assert_eq!(read(dir.path()).unwrap_err().kind(), Kind::Corrupt, "{name}");
    }
    let dir = copy("only-log");
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert_eq!(read(dir.path()).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn tables_of_another_engine_under_a_leveldb_name_are_refused_by_name() {
    let dir = copy("plain");
    let table = dir.path().join("000003.ldb");
    let mut bytes = fs::read(&table).unwrap();
    let magic_at = bytes.len() - 8;
    for magic in [0x88e2_41b7_85f4_cff7_u64.to_le_bytes(), *b"\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"] {
        bytes[magic_at..].copy_from_slice(&magic);
        fs::write(&table, &bytes).unwrap();
        assert_eq!(read(dir.path()).unwrap_err().kind(), Kind::UnknownFormat);
    }
}
