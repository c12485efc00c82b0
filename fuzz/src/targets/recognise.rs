//! What a file or a directory is: told from its first bytes, its names and its OPTIONS file.

use super::files::with_file;
use crate::input::Input;
use transload_drivers::recognise::{self, decoders};
use transload_model::engine::Engine;
use transload_store::Kind;

/// The beginning of a single file.
pub(crate) fn file(bytes: &[u8]) {
    with_file(bytes, |path| {
        if let Ok(found) = recognise::recognise(path) {
            let engines = [Engine::Redb, Engine::Sqlite, Engine::Lmdb, Engine::Bbolt];
            assert!(engines.contains(&found.engine), "{found:?}");
            assert_eq!(found.bytes_on_disk, bytes.len() as u64);
        }
    });
}

pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let at = |at: usize, bytes: &[u8]| {
        let mut file = vec![0; 160];
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let mut redb = at(0, b"redb\x1a\x0a\xa9\x0d\x0a");
    redb[64] = 3;
    vec![
        redb,
        at(0, b"SQLite format 3\0\x10\0\x01\x01"),
        at(16, &[0xde, 0xc0, 0xef, 0xbe, 1, 0, 0, 0]),
        at(16, &0xed0c_daed_u32.to_le_bytes()),
        at(20, &(0x59_659d_bdef_4c11_u64 << 8 | 3).to_le_bytes()),
        b"transload guards this path.".to_vec(),
    ]
}

/// A directory with these names, one a line, and behind an empty line its OPTIONS file.
pub(crate) fn directory(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let names: Vec<String> =
        (0..input.byte() % 8).map(|_| String::from_utf8_lossy(input.piece()).into()).collect();
    let text = input.rest();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Ok(found) = decoders::directory(&names, text) {
        let by_options = [Engine::Pebble1, Engine::Pebble2, Engine::Rocksdb];
        assert!(by_options.contains(&found.engine), "{found:?}");
        let tables = names.iter().any(|name| name.ends_with(".sst"));
        assert!(tables || !found.has_tables);
    }
}

/// What BadgerDB's folder is told by: the first byte says which files stand beside its manifest,
/// the rest is how that begins.
pub(crate) fn badger(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let start = input.rest();
    let beside = ["000001.sst", "000001.vlog", "KEYREGISTRY", "DISCARD"];
    let names: Vec<&str> = (0..beside.len())
        .filter(|index| choice & 1 << index != 0)
        .map(|index| beside[index])
        .collect();
    match decoders::badger(&names, start) {
        Ok(found) => {
            assert_eq!(found.engine, Engine::Badgerdb);
            assert_eq!(found.has_tables, names.contains(&"000001.sst"));
            assert!(start.starts_with(b"Bdgr\0\0\0\x08"), "of no other version or program");
        }
        Err(error) => assert_eq!(error.kind(), Kind::UnknownFormat, "{error}"),
    }
}

/// Manifests as BadgerDB 4, 2 and 1 begin them, and one of another program.
pub(crate) fn badger_seeds() -> Vec<Vec<u8>> {
    let of = |choice: u8, start: &[u8]| [&[choice][..], start].concat();
    vec![
        // As BadgerDB 4 writes it: magic, versions, then the first change with its length and sum.
        of(7, b"Bdgr\0\0\0\x08\0\0\0\x08\x64\x3e\x17\x9e\x0a\x06\x08\x01\x10\x00\x18\x06"),
        of(6, b"Bdgr\0\0\0\x08"),
        of(7, b"Bdgr\0\0\0\x07"),
        of(3, b"Bdgr\0\x01\0\x08"),
        of(15, b"Bdg"),
        of(0, b""),
    ]
}

fn one_byte(length: usize) -> u8 {
    u8::try_from(length).expect("names are short")
}

pub(crate) fn directory_seeds() -> Vec<Vec<u8>> {
    let pebble = "[Version]\n  pebble_version=0.1\n\n[Options]\n  \
        comparer=leveldb.BytewiseComparator\n  format_major_version=13\n  \
        merger=pebble.concatenate\n";
    let rocksdb = "[Version]\n  rocksdb_version=8.10.0\n  options_file_version=1.1\n\n\
        [CFOptions \"default\"]\n  comparator=leveldb.BytewiseComparator\n";
    let of = |names: &[&str], text: &str| {
        let mut seed = vec![one_byte(names.len())];
        for name in names {
            seed.push(one_byte(name.len()));
            seed.extend(name.as_bytes());
        }
        seed.extend(text.as_bytes());
        seed
    };
    vec![
        of(&["000004.sst", "marker.format-version.000001.013"], pebble),
        of(&["marker.format-version.000002.024", "marker.manifest.000001.MANIFEST-000001"], ""),
        of(&["000009.sst"], rocksdb),
        of(&[], pebble),
    ]
}
