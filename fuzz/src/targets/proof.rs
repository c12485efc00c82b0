//! Record proofs: whatever is forged, no record passes under a root that doesn't have it.

use crate::input::Input;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use transload_model::commitment::{Dataset, TableCommitment};
use transload_model::merkle::{Hash, inclusion_path, leaf_hash, root_from_path, root_of};
use transload_model::proof::{Inclusion, RecordProof};
use transload_model::record::{RecordHasher, TableName};
use transload_model::tree::{RunBuilder, TableAssembler};

/// A dataset of two tables, its root, and the proof of every record.
struct World {
    records: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    root: Hash,
    proofs: Vec<RecordProof>,
}

static WORLD: LazyLock<World> = LazyLock::new(world);

fn table(name: &TableName, records: &[(Vec<u8>, Vec<u8>)]) -> TableCommitment {
    let mut builder = RunBuilder::new(name);
    for (key, value) in records {
        builder.push(key, value).expect("they are in order");
    }
    let mut assembler = TableAssembler::new(name.clone());
    assembler.append(builder.finish()).expect("it is one run");
    assembler.finish()
}

fn world() -> World {
    let named = |name: &str| TableName::new(name).expect("a name");
    let small = |count: u8| -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..count).map(|number| (vec![number], vec![number; 3])).collect()
    };
    let contents = [(named("blocks/meta"), small(5)), (named("blocks/part"), small(7))];
    let tables = contents.iter().map(|(name, records)| table(name, records)).collect();
    let dataset = Dataset::new("fuzz.v1", tables).expect("two tables");
    let inclusion = |leaves: &[Hash], index: usize| {
        let path = inclusion_path(leaves, index).expect("it is in there");
        Inclusion::new(index as u64, leaves.len() as u64, &path)
    };
    let (mut all, mut proofs) = (BTreeMap::new(), Vec::new());
    for (place, (name, records)) in contents.iter().enumerate() {
        let commitment = &dataset.tables()[place];
        let [segment] = &commitment.segments[..] else { panic!("so few records are one segment") };
        let hasher = RecordHasher::new(name);
        let leaves: Vec<Hash> = records.iter().map(|(k, v)| hasher.leaf(k, v)).collect();
        for (index, (key, value)) in records.iter().enumerate() {
            all.insert((name.to_string(), key.clone()), value.clone());
            proofs.push(RecordProof {
                format: RecordProof::FORMAT.into(),
                table: name.clone(),
                key: hex::encode(key),
                value: hex::encode(value),
                in_segment: inclusion(&leaves, index),
                segment_records: segment.records,
                segment_bytes: segment.bytes,
                segment_first_key: hex::encode(&segment.first_key),
                in_table: inclusion(&[segment.leaf(name)], 0),
                table_records: commitment.records,
                table_bytes: commitment.bytes,
                in_dataset: inclusion(&dataset.leaves(), place + 1),
                dataset_root: hex::encode(dataset.root()),
            });
        }
    }
    World { records: all, root: dataset.root(), proofs }
}

fn judge(proof: &RecordProof) {
    if proof.check(&WORLD.root).is_err() {
        return;
    }
    let key = hex::decode(&proof.key).expect("it was checked");
    let value = WORLD.records.get(&(proof.table.to_string(), key));
    assert_eq!(value.map(hex::encode), Some(proof.value.to_lowercase()), "{proof:?}");
}

/// The JSON document: any, and a true one in which some numbers and hashes are others.
pub(crate) fn document(bytes: &[u8]) {
    if let Ok(proof) = serde_json::from_slice::<RecordProof>(bytes) {
        judge(&proof);
        let text = serde_json::to_vec(&proof).expect("it was read");
        assert_eq!(serde_json::from_slice::<RecordProof>(&text).expect("it was written"), proof);
    }
    let mut input = Input::new(bytes);
    let proofs = &WORLD.proofs;
    let mut proof = proofs[usize::from(input.byte()) % proofs.len()].clone();
    let other = &proofs[usize::from(input.byte()) % proofs.len()];
    judge(&proof);
    while !input.is_empty() {
        let number = u64::from(input.byte());
        match input.byte() % 14 {
            0 => proof.value.clone_from(&other.value),
            1 => proof.key.clone_from(&other.key),
            2 => proof.table.clone_from(&other.table),
            3 => proof.in_segment.index = number,
            4 => proof.in_segment.size = number,
            5 => proof.segment_records = number,
            6 => proof.in_segment = other.in_segment.clone(),
            7 => proof.in_table = other.in_table.clone(),
            8 => proof.in_dataset = other.in_dataset.clone(),
            9 => proof.in_table.index = number,
            10 => proof.in_dataset.size = number,
            11 => proof.in_segment.path.reverse(),
            12 => proof.in_dataset.index = number,
            _ => proof.value = hex::encode(input.piece()),
        }
    }
    judge(&proof);
}

pub(crate) fn document_seeds() -> Vec<Vec<u8>> {
    let text = |proof| serde_json::to_vec(proof).expect("a proof is JSON");
    let mut seeds: Vec<Vec<u8>> = WORLD.proofs.iter().step_by(4).map(text).collect();
    seeds.extend([vec![0, 5, 1, 0], vec![1, 9, 2, 6, 3, 3]]);
    seeds
}

/// A path: only that of the very leaf at the very place leads to the root.
pub(crate) fn path(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let count = u64::from(input.byte() % 40) + 1;
    let leaves: Vec<Hash> = (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect();
    let root = root_of(leaves.iter().copied());
    let at = usize::from(input.byte()) % leaves.len();
    let good = inclusion_path(&leaves, at).expect("it is in there");
    assert_eq!(root_from_path(leaves[at], at as u64, count, &good), Some(root));
    let (mut index, mut size, mut leaf, mut path) = (at as u64, count, leaves[at], good);
    while !input.is_empty() {
        let number = input.byte();
        match input.byte() % 7 {
            0 => index = u64::from(number),
            1 => size = u64::from(number),
            2 => leaf = leaf_hash(input.piece()),
            3 => drop(path.pop()),
            4 => path.push(leaf_hash(&[number])),
            5 => index = input.u64(),
            _ => size = input.u64(),
        }
    }
    if root_from_path(leaf, index, size, &path) == Some(root) {
        // Of another size, a path may lead to the same root; sizes are hashed elsewhere.
        assert!(leaves.contains(&leaf), "{index} of {size}");
        assert!(size != count || leaves[usize::try_from(index).expect("below size")] == leaf);
    }
}

pub(crate) fn path_seeds() -> Vec<Vec<u8>> {
    vec![vec![0, 0], vec![6, 3], vec![39, 38, 3, 1], vec![16, 15, 7, 5, 0, 0, 0, 0, 0, 0, 0, 0]]
}
