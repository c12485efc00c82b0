//! The root depends on the records alone: not on chunks, workers or the order of work.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use transload_model::commitment::{Dataset, TableCommitment};
use transload_model::merkle::{inclusion_path, leaf_hash, root_from_path, root_of};
use transload_model::record::{RecordHasher, TableName, cuts_after, record_bytes};
use transload_model::tree::{Run, RunBuilder, TableAssembler};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn name() -> TableName {
    TableName::new("t").unwrap()
}

/// Values large enough that small tables have several segments.
fn records() -> impl Strategy<Value = Records> {
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 1usize..600_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..6), value, 0..40)
}

fn runs(records: &Records, chunk_ends: &[usize]) -> Vec<Run> {
    let entries: Vec<_> = records.iter().collect();
    let mut runs = Vec::new();
    let mut ends: Vec<usize> = chunk_ends.iter().map(|end| end % (entries.len() + 1)).collect();
    ends.push(entries.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        let mut builder = RunBuilder::new(&name());
        for (key, value) in &entries[start..end] {
            builder.push(key, value).unwrap();
        }
        runs.push(builder.finish());
        start = end;
    }
    runs
}

fn table(records: &Records, chunk_ends: &[usize]) -> TableCommitment {
    let mut assembler = TableAssembler::new(name());
    for run in runs(records, chunk_ends) {
        assembler.append(run).unwrap();
    }
    assembler.finish()
}

/// The definition, written down as slowly as it reads.
fn table_by_definition(records: &Records) -> (Vec<[u8; 32]>, u64) {
    let hasher = RecordHasher::new(&name());
    let (mut segments, mut open, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (key, value) in records {
        let leaf = hasher.leaf(key, value);
        open.push(leaf);
        bytes += record_bytes(key, value);
        if cuts_after(&leaf, record_bytes(key, value)) {
            segments.push(root_of(std::mem::take(&mut open)));
        }
    }
    if !open.is_empty() {
        segments.push(root_of(open));
    }
    (segments, bytes)
}

proptest! {
    #[test]
    fn any_division_into_chunks_gives_the_same_table(
        records in records(), ends in proptest::collection::vec(any::<usize>(), 0..8)
    ) {
        let whole = table(&records, &[]);
        prop_assert_eq!(&table(&records, &ends), &whole);
        let (segments, bytes) = table_by_definition(&records);
        let roots: Vec<_> = whole.segments.iter().map(|segment| segment.root).collect();
        prop_assert_eq!(roots, segments);
        prop_assert_eq!((whole.records, whole.bytes), (records.len() as u64, bytes));
        let summed: u64 = whole.segments.iter().map(|segment| segment.bytes).sum();
        prop_assert_eq!(summed, bytes);
    }

    #[test]
    fn runs_that_are_joined_first_give_the_same_table(
        records in records(),
        ends in proptest::collection::vec(any::<usize>(), 0..8),
        pairs in any::<bool>(),
    ) {
        let mut assembler = TableAssembler::new(name());
        let mut joined: Option<Run> = None;
        for (index, run) in runs(&records, &ends).into_iter().enumerate() {
            match &mut joined {
                None => joined = Some(run),
                Some(before) => before.join(run, &name()).unwrap(),
            }
            if pairs && index % 2 == 1 {
                assembler.append(joined.take().unwrap()).unwrap();
            }
        }
        if let Some(run) = joined {
            assembler.append(run).unwrap();
        }
        prop_assert_eq!(assembler.finish(), table(&records, &[]));
    }

    #[test]
    fn a_run_does_not_join_one_that_does_not_follow(records in records()) {
        prop_assume!(!records.is_empty());
        let run = runs(&records, &[]).remove(0);
        prop_assert!(run.clone().join(run, &name()).is_err());
    }

    #[test]
    fn a_changed_added_dropped_or_swapped_record_changes_the_root(
        records in records(), pick in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        prop_assume!(!records.is_empty());
        let root = table(&records, &[]).root();
        let key = pick.get(&records.keys().cloned().collect::<Vec<_>>()).clone();

        let mut changed = records.clone();
        changed.get_mut(&key).unwrap().push(byte);
        prop_assert_ne!(table(&changed, &[]).root(), root);

        let mut added = records.clone();
        let mut new_key = key.clone();
        new_key.extend([byte; 8]);
        added.insert(new_key, vec![]);
        prop_assert_ne!(table(&added, &[]).root(), root);

        let mut dropped = records.clone();
        dropped.remove(&key);
        prop_assert_ne!(table(&dropped, &[]).root(), root);

        let mut swapped = records.clone();
        let other = records.keys().next().unwrap().clone();
        let (one, two) = (records[&key].clone(), records[&other].clone());
        if one != two {
            swapped.insert(key, two);
            swapped.insert(other, one);
            prop_assert_ne!(table(&swapped, &[]).root(), root);
        }
    }

    #[test]
    fn the_name_of_a_table_is_part_of_its_root(records in records()) {
        let one = table(&records, &[]);
        let two = TableCommitment { name: TableName::new("u").unwrap(), ..one.clone() };
        prop_assert_ne!(one.root(), two.root());
    }
}

#[test]
fn tables_are_leaves_of_the_dataset_in_order_of_their_names() {
    let [a, b] = ["a", "b"].map(|name| TableCommitment::empty(TableName::new(name).unwrap()));
    let one = Dataset::new("s.v1", vec![a.clone(), b.clone()]).unwrap();
    let two = Dataset::new("s.v1", vec![b.clone(), a.clone()]).unwrap();
    assert_eq!(one.root(), two.root());
    let leaves = one.leaves();
    assert_eq!(leaves[1..], [a.root(), b.root()]);
    assert_eq!(leaves[0], leaf_hash(&one.header()));
    let path = inclusion_path(&leaves, 2).unwrap();
    assert_eq!(root_from_path(b.root(), 2, 3, &path), Some(one.root()));
    assert!(Dataset::new("s.v1", vec![a.clone(), a]).is_err());
}

/// CRC-32C of some bytes, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 * low);
        }
    }
    !crc
}

#[test]
fn values_that_a_crc_takes_for_one_another_give_different_roots() {
    // F6
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut state, mut pair) = (1_u64, None);
    while pair.is_none() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        pair = seen.insert(crc32c(&state.to_be_bytes()), state).map(|other| (other, state));
    }
    let (one, other) = pair.unwrap();
    let of = |value: u64| {
        let records = Records::from([(b"key".to_vec(), value.to_be_bytes().to_vec())]);
        table(&records, &[]).root()
    };
    assert!(one != other && of(one) != of(other));
}
