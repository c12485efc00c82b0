//! What is wrong about a record is said of that record alone, and not of those that it is held
//! against: whoever repairs or leaves out what is named takes nothing that is whole.

use super::{BLOCKS, STATE, flip};
use crate::sample::{Sample, position};
use std::collections::BTreeSet;
use transload_chains::cometbft::wire::block::BlockMeta;
use transload_chains::cometbft::wire::validators::{ValidatorSet, ValidatorsInfo};

/// A meta whose header has another application hash, and whose id is that header's.
pub(super) fn with_another_app_hash(raw: &[u8]) -> Vec<u8> {
    let mut value = raw.to_vec();
    let before = BlockMeta::decode(raw).unwrap();
    let (app_hash, id) =
        (position(raw, before.header.app_hash), position(raw, before.block_id.hash));
    flip(&mut value, app_hash);
    let hash = BlockMeta::decode(&value).unwrap().header.hash();
    value[id..id + hash.len()].copy_from_slice(&hash);
    value
}

#[test]
fn one_wrong_record_is_named_and_no_other() {
    type Forge = fn(&mut Sample);
    let forgeries: [(&[u8], Forge); 9] = [
        (b"H:192", |sample| {
            let raw = sample.value(BLOCKS, b"H:192").clone();
            let at = position(&raw, BlockMeta::decode(&raw).unwrap().header.app_hash);
            flip(sample.value(BLOCKS, b"H:192"), at);
        }),
        (b"H:192", |sample| {
            let raw = sample.value(BLOCKS, b"H:192").clone();
            flip(
                sample.value(BLOCKS, b"H:192"),
                position(&raw, BlockMeta::decode(&raw).unwrap().block_id.hash),
            );
        }),
        (b"H:192", |sample| {
            let raw = sample.value(BLOCKS, b"H:192").clone();
            *sample.value(BLOCKS, b"H:192") = with_another_app_hash(&raw);
        }),
        (b"H:192", |sample| drop(sample.database(BLOCKS).remove(&b"H:192"[..]))),
        (b"H:192", |sample| *sample.value(BLOCKS, b"H:192") = b"\xff".to_vec()),
        (b"P:195:1", |sample| flip(sample.value(BLOCKS, b"P:195:1"), 100)),
        (b"P:195:0", |sample| drop(sample.database(BLOCKS).remove(&b"P:195:0"[..]))),
        (b"C:190", |sample| {
            let at = sample.value(BLOCKS, b"C:190").len() - 5;
            flip(sample.value(BLOCKS, b"C:190"), at);
        }),
        (b"C:190", |sample| drop(sample.database(BLOCKS).remove(&b"C:190"[..]))),
    ];
    for (number, (key, forge)) in forgeries.into_iter().enumerate() {
        let mut sample = Sample::load("v0.38");
        forge(&mut sample);
        let verdict = sample.verify();
        let named: BTreeSet<&str> = verdict.findings.iter().map(|it| it.key.as_str()).collect();
        let expected = BTreeSet::from([std::str::from_utf8(key).unwrap()]);
        assert_eq!(named, expected, "forgery {number}: {:#?}", verdict.findings);
    }
    let mut sample = Sample::load("v0.38-genesis");
    let raw = sample.value(STATE, b"validatorsKey:1").clone();
    let set = ValidatorSet::decode(ValidatorsInfo::decode(&raw).unwrap().set_raw.unwrap()).unwrap();
    let at = position(&raw, set.validators[1].key.bytes) + 5;
    flip(sample.value(STATE, b"validatorsKey:1"), at);
    let verdict = sample.verify();
    let sets = verdict.findings.iter().filter(|it| it.check == "validators_hash");
    assert_eq!(sets.map(|it| it.key.as_str()).collect::<Vec<_>>(), ["validatorsKey:1"]);
    assert!(verdict.findings.iter().all(|it| it.database == STATE), "{:#?}", verdict.findings);
}
