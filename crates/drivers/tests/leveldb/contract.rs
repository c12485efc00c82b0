//! The contract suite, over directories whose changes lie anywhere in logs and levels.

use super::open;
use super::writer::{Change, Shape, Writer};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use transload_store::contract::{self, Entries, Subject};
use transload_store::{KeyRange, Result, Scan, Store};

const SHAPE: Shape =
    Shape { block_bytes: 4 << 10, table_bytes: 64 << 10, restart_interval: 16, snappy: true };

/// Logs, three tables of level 0, and levels 1 and 2.
const LAYERS: u64 = 6;

/// A small generator, so that placements differ and repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Puts each entry into a layer, with older versions and deletions below it, and keys that were
/// deleted since.
fn write(dir: &std::path::Path, shape: Shape, entries: &Entries, seed: u64) {
    let mut random = Random(seed);
    // Layer 0 is the oldest.
    let mut layers: Vec<BTreeMap<Vec<u8>, Option<Vec<u8>>>> =
        vec![BTreeMap::new(); LAYERS as usize];
    let older = |layers: &mut Vec<BTreeMap<_, _>>, random: &mut Random, key: &[u8], below| {
        for layer in 0..below {
            if random.below(4) == 0 {
                let old = (random.below(3) > 0).then(|| b"an older value".to_vec());
                layers[layer as usize].insert(key.to_vec(), old);
            }
        }
    };
    for (key, value) in entries {
        let layer = random.below(LAYERS);
        older(&mut layers, &mut random, key, layer);
        layers[layer as usize].insert(key.clone(), Some(value.clone()));
        let deleted = [key, &b"\0deleted"[..]].concat();
        if random.below(3) == 0 && !entries.contains_key(&deleted) {
            let layer = 1 + random.below(LAYERS - 1);
            older(&mut layers, &mut random, &deleted, layer);
            layers[layer as usize].insert(deleted, None);
        }
    }
    let mut writer = Writer::new(dir, shape);
    let mut sequence = 0;
    let mut log = Vec::new();
    for (layer, changes) in layers.into_iter().enumerate() {
        let changes: Vec<Change> = changes
            .into_iter()
            .map(|(key, value)| {
                sequence += 1;
                (key, sequence, value)
            })
            .collect();
        match layer {
            0 => writer.tables(2, changes),
            1 => writer.tables(1, changes),
            2..5 => writer.tables(0, changes),
            _ => log = changes,
        }
    }
    writer.finish(log);
}

#[derive(Default)]
struct Directories {
    made: Mutex<Vec<tempfile::TempDir>>,
}

impl Subject for Directories {
    fn filled(&self, entries: &Entries) -> Box<dyn Store> {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), SHAPE, entries, entries.len() as u64);
        let store = open(dir.path()).unwrap();
        self.made.lock().unwrap().push(dir);
        store
    }

    fn target(&self) -> Option<Box<dyn Store>> {
        None
    }

    fn reopen(&self) -> Result<Box<dyn Store>> {
        panic!("a driver without targets is never reopened")
    }
}

#[test]
fn the_reader_keeps_the_contract() {
    assert_eq!(contract::run(&Directories::default()).len(), 22);
}

fn some_entries() -> impl Strategy<Value = Entries> {
    let key = proptest::collection::vec(0..4u8, 0..5);
    let value = proptest::collection::vec(any::<u8>(), 0..80);
    proptest::collection::btree_map(key, value, 0..150)
}

fn some_shape() -> impl Strategy<Value = Shape> {
    (1..300usize, 1..2_000usize, 1..20usize, any::<bool>()).prop_map(
        |(block_bytes, table_bytes, restart_interval, snappy)| Shape {
            block_bytes,
            table_bytes,
            restart_interval,
            snappy,
        },
    )
}

proptest! {
    #[test]
    fn any_placement_of_changes_reads_like_a_map(
        entries in some_entries(), shape in some_shape(), seed in any::<u64>(),
        start in proptest::collection::vec(0..4u8, 0..4),
        end in proptest::option::of(proptest::collection::vec(0..4u8, 0..4)),
        chunk_bytes in 1..5_000u64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), shape, &entries, seed);
        let snapshot = open(dir.path()).unwrap().snapshot().unwrap();
        let range = KeyRange { start, end };
        let expected: Entries = entries
            .iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let points = snapshot.split_points(&range, chunk_bytes).unwrap();
        for parts in [vec![range.clone()], range.split_at(&points)] {
            let mut seen = Entries::new();
            for part in parts {
                let mut scan = Scan::new(&*snapshot, &part).unwrap();
                while let Some((key, value)) = scan.next().unwrap() {
                    prop_assert!(seen.insert(key.to_vec(), value.to_vec()).is_none());
                }
            }
            prop_assert_eq!(&seen, &expected);
        }
        snapshot.approximate_bytes(&range).unwrap();
        for key in entries.keys() {
            prop_assert_eq!(snapshot.get(key).unwrap(), entries.get(key).cloned());
            let absent = [key, &b"\0deleted"[..]].concat();
            prop_assert_eq!(snapshot.get(&absent).unwrap(), entries.get(&absent).cloned());
        }
    }
}
