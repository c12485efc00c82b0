//! Golden bytes of the commitment, kept for ever, and proofs checked by `ct-merkle`, an RFC 6962
//! implementation that we didn't write.
//!
//! `testdata/commitment-v1.json` is what any other implementation must reproduce from the
//! dataset described in docs/formats/commitment.md; the Go helper's tests read it too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::cast_possible_truncation, reason = "the vectors are small")]

use ct_merkle::{InclusionProof, RootHash};
use serde_json::{Value, json};
use sha2::Sha256;
use transload_model::commitment::{Dataset, TableCommitment};
use transload_model::merkle::{Hash, inclusion_path, leaf_hash};
use transload_model::proof::{BadProof, Inclusion, RecordProof};
use transload_model::record::{RecordHasher, TableName};
use transload_model::tree::{RunBuilder, TableAssembler};

const GOLDEN: &str = include_str!("../testdata/commitment-v1.json");

/// The dataset of docs/formats/commitment.md: `empty` has no records, `small` has three, `large`
/// has 200 records whose values have `37 * number` bytes, each byte being the number.
fn records(table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    match table {
        "small" => vec![
            (b"".to_vec(), b"empty key".to_vec()),
            (b"a".to_vec(), b"".to_vec()),
            (b"b".to_vec(), vec![0xff; 1025]),
        ],
        "large" => (0..200u16)
            .map(|number| {
                let byte = u8::try_from(number).unwrap();
                (number.to_be_bytes().to_vec(), vec![byte; 37 * usize::from(number)])
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn table(name: &str) -> TableCommitment {
    let name = TableName::new(name).unwrap();
    let mut run = RunBuilder::new(&name);
    for (key, value) in records(name.as_str()) {
        run.push(&key, &value).unwrap();
    }
    let mut assembler = TableAssembler::new(name);
    assembler.append(run.finish()).unwrap();
    assembler.finish()
}

fn dataset() -> Dataset {
    Dataset::new("vectors.v1", ["empty", "large", "small"].map(table).to_vec()).unwrap()
}

/// A proof of the record `number` of table `large`.
fn proof(number: u16) -> RecordProof {
    let (dataset, name) = (dataset(), TableName::new("large").unwrap());
    let commitment = &dataset.tables()[1];
    let key = number.to_be_bytes();
    let index = transload_model::proof::segment_of(commitment, &key).unwrap();
    let segment = &commitment.segments[index];
    let first: usize =
        commitment.segments[..index].iter().map(|segment| segment.records as usize).sum();
    let in_segment = &records("large")[first..first + segment.records as usize];
    let hasher = RecordHasher::new(&name);
    let leaves: Vec<Hash> = in_segment.iter().map(|(key, value)| hasher.leaf(key, value)).collect();
    let segments: Vec<Hash> =
        commitment.segments.iter().map(|segment| segment.leaf(&name)).collect();
    let place = |leaves: &[Hash], index: usize| {
        Inclusion::new(index as u64, leaves.len() as u64, &inclusion_path(leaves, index).unwrap())
    };
    RecordProof {
        format: RecordProof::FORMAT.into(),
        table: name.clone(),
        key: hex::encode(key),
        value: hex::encode(&records("large")[usize::from(number)].1),
        in_segment: place(&leaves, usize::from(number) - first),
        segment_records: segment.records,
        segment_bytes: segment.bytes,
        segment_first_key: hex::encode(&segment.first_key),
        in_table: place(&segments, index),
        table_records: commitment.records,
        table_bytes: commitment.bytes,
        in_dataset: place(&dataset.leaves(), 2),
        dataset_root: hex::encode(dataset.root()),
    }
}

fn vectors() -> Value {
    let dataset = dataset();
    let tables: Vec<Value> = dataset
        .tables()
        .iter()
        .map(|table| {
            let segments: Vec<Value> = table
                .segments
                .iter()
                .map(|segment| {
                    json!({
                        "records": segment.records.to_string(),
                        "bytes": segment.bytes.to_string(),
                        "root": hex::encode(segment.root),
                        "first_key": hex::encode(&segment.first_key),
                        "leaf": hex::encode(segment.leaf(&table.name)),
                    })
                })
                .collect();
            json!({
                "name": table.name,
                "records": table.records.to_string(),
                "bytes": table.bytes.to_string(),
                "data": hex::encode(table.data()),
                "root": hex::encode(table.root()),
                "segments": segments,
            })
        })
        .collect();
    let hasher = RecordHasher::new(&TableName::new("small").unwrap());
    let leaves: Vec<Value> = records("small")
        .iter()
        .map(|(key, value)| {
            json!({
                "key": hex::encode(key),
                "value": hex::encode(value),
                "leaf": hex::encode(hasher.leaf(key, value)),
            })
        })
        .collect();
    json!({
        "schema": dataset.schema(),
        "header": hex::encode(dataset.header()),
        "root": hex::encode(dataset.root()),
        "tables": tables,
        "small_records": leaves,
        "proof_of_large_150": proof(150),
    })
}

#[test]
fn the_golden_bytes_are_reproduced() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    assert!(vectors() == golden, "the bytes of the commitment have changed");
}

#[test]
fn the_vectors_have_more_than_one_segment() {
    assert!(dataset().tables()[1].segments.len() > 1, "or they would show nothing");
}

#[test]
fn a_proof_holds_under_its_own_root_only() {
    let root = dataset().root();
    for number in 0..200 {
        assert_eq!(proof(number).check(&root), Ok(()));
    }
    assert!(matches!(proof(7).check(&[0; 32]), Err(BadProof::OtherRoot(_))));
}

#[test]
fn a_proof_with_anything_changed_fails() {
    let root = dataset().root();
    let good = proof(150);
    let changes: [fn(&mut RecordProof); 11] = [
        |proof| proof.format = "transload.record-proof.v2".into(),
        |proof| proof.table = TableName::new("small").unwrap(),
        |proof| proof.key = "0097".into(),
        |proof| proof.value = proof.value.replacen("96", "97", 1),
        |proof| proof.in_segment.index += 1,
        |proof| proof.segment_records += 1,
        |proof| proof.segment_bytes += 1,
        |proof| proof.segment_first_key.push_str("00"),
        |proof| proof.table_records += 1,
        |proof| proof.in_dataset.index = 0,
        |proof| {
            proof.in_table.path.pop();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(bad, good, "change {number} changes nothing");
        assert!(bad.check(&root).is_err(), "change {number} went unnoticed");
    }
}

#[test]
fn an_independent_implementation_accepts_every_path() {
    for size in [1usize, 2, 3, 7, 8, 9, 100] {
        let data: Vec<Vec<u8>> = (0..size).map(|leaf| leaf.to_be_bytes().to_vec()).collect();
        let leaves: Vec<Hash> = data.iter().map(|data| leaf_hash(data)).collect();
        let root = transload_model::merkle::root_of(leaves.iter().copied());
        let theirs = RootHash::<Sha256>::new(root.into(), size as u64);
        for (index, data) in data.iter().enumerate() {
            let path = inclusion_path(&leaves, index).unwrap().concat();
            let path = InclusionProof::<Sha256>::try_from_bytes(path).unwrap();
            theirs.verify_inclusion(data, index as u64, &path).unwrap();
            let other = (index as u64 + 1) % size as u64;
            if size > 1 {
                assert!(theirs.verify_inclusion(data, other, &path).is_err());
            }
        }
    }
}
