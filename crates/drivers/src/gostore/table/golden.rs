//! Our tables beside those that Pebble's own writer made of the same entries
//! (`testdata/pebble-tables/make.go`): the same, byte for byte.

use super::{TableFormat, TableWriter};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

type Entry = (Vec<u8>, Vec<u8>);

/// Keys at the edges: empty, one a prefix of the next, one that looks like a key and its trailer.
fn few() -> Vec<Entry> {
    let entry = |key: &[u8], value: &str| (key.to_vec(), value.as_bytes().to_vec());
    vec![
        entry(b"", ""),
        entry(b"\0", "zero"),
        entry(b"a", "short"),
        entry(b"a\x01\0\0\0\0\0\0\0", "looks like the trailer of the key before"),
        entry(b"ab", "b"),
        entry(b"\xff\xff", "highest"),
    ]
}

/// Enough small entries for an index of two levels.
fn many() -> Vec<Entry> {
    let entry = |n: u32| {
        let mut key = format!("s/k:store{}/n", n / 1500).into_bytes();
        key.extend((n * n).to_be_bytes());
        let value = (0..20 + n % 97).map(|i| ((i * n) >> 3).to_le_bytes()[0]).collect();
        (key, value)
    };
    (0..4000).map(entry).collect()
}

/// Values from nothing to more than a block, some that don't compress.
fn large() -> Vec<Entry> {
    let entry = |n: u32| {
        let mut state = n + 1;
        let value = (0..n * n * 37).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> (24 + n % 8)).to_le_bytes()[0]
        });
        (format!("P:{n:05}:0").into_bytes(), value.collect())
    };
    (0..40).map(entry).collect()
}

fn table(entries: &[Entry], format: TableFormat, snappy: bool) -> Vec<u8> {
    let mut writer = TableWriter::with_compression(Vec::new(), format, snappy);
    for (key, value) in entries {
        writer.put(key, value).expect("memory takes everything");
    }
    let (table, bytes) = writer.finish().expect("memory takes everything");
    assert_eq!(table.entries, entries.len() as u64);
    assert_eq!(table.file_bytes, bytes.len() as u64);
    bytes
}

#[test]
fn our_tables_are_those_of_pebbles_own_writer() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/pebble-tables");
    let sums = std::fs::read_to_string(folder.join("sums")).expect("the sums of Pebble's tables");
    let mut compared = 0;
    for (shape, entries) in [("few", few()), ("many", many()), ("large", large())] {
        for (format_name, format) in
            [("rocksdb-v2", TableFormat::RocksDbV2), ("pebble-v1", TableFormat::PebbleV1)]
        {
            for (compression, snappy) in [("none", false), ("snappy", true)] {
                let name = format!("{shape}.{format_name}.{compression}.sst");
                let ours = table(&entries, format, snappy);
                if let Ok(theirs) = std::fs::read(folder.join(&name)) {
                    let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
                    assert_eq!(differs, None, "{name}: the first byte that differs");
                }
                let line = format!("{}  {name}\n", hex::encode(Sha256::digest(&ours)));
                assert!(sums.contains(&line), "{name}: {} bytes, {line}", ours.len());
                compared += 1;
            }
        }
    }
    assert_eq!(compared, sums.lines().count());
}
