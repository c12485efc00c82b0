//! Homes of real nodes verify, and every forgery is found and named: check, table, key, height.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod blame;
mod sample;
mod uncommitted;

use proptest::prelude::*;
use sample::{Sample, block_key, evidence_key, names, position};
use transload_chains::cometbft::CometBft;
use transload_chains::cometbft::layout::{evidence as evidence_table, tx_index};
use transload_chains::cometbft::wire::block::{Block, BlockMeta, Part};
use transload_chains::cometbft::wire::commit::Commit;
use transload_chains::cometbft::wire::evidence::Evidence;
use transload_chains::cometbft::wire::results::Results;
use transload_chains::cometbft::wire::state::State;
use transload_chains::cometbft::wire::validators::{ValidatorSet, ValidatorsInfo};
use transload_codec::proto::{Fields, put_message, put_varint_field};
use transload_codec::varint::uvarint_bytes;
use transload_model::commitment::TableCommitment;
use transload_model::merkle::sha256;
use transload_model::report::{Trust, Verdict};
use transload_model::walk::{ChunkWalk, assemble};
use transload_store::memory::MemoryStore;
use transload_store::{Profile as _, Store as _, TrustInput};

const BLOCKS: &str = "blockstore.db";
const STATE: &str = "state.db";
const EVIDENCE: &str = "evidence.db";
const INDEX: &str = "tx_index.db";
const ALL: [&str; 7] = [
    "v0.34",
    "v0.38",
    "v0.38-extended",
    "v0.38-genesis",
    "v0.38-pruned",
    "v1-layout1",
    "v1-layout2",
];

fn counts(verdict: &Verdict, name: &str) -> (u64, u64, u64) {
    let check = verdict.checks.iter().find(|check| check.name == name).expect(name);
    (check.checked, check.failed, check.skipped)
}

/// Forges with `forge`, and expects the check to name table and key.
fn found(name: &str, check: &str, table: &str, key: &[u8], forge: impl FnOnce(&mut Sample)) {
    let mut sample = Sample::load(name);
    forge(&mut sample);
    let verdict = sample.verify();
    assert!(names(&verdict, check, table, key), "{check} {table}: {:#?}", verdict.findings);
}

fn flip(value: &mut [u8], at: usize) {
    value[at] ^= 1;
}

#[test]
fn homes_of_every_release_verify_whole() {
    for name in ALL {
        let verdict = Sample::load(name).verify();
        assert_eq!(verdict.findings, [], "{name}");
        assert_eq!((verdict.failed(), verdict.skipped()), (0, 0), "{name}");
        for check in ["header_hash", "part_set", "commit_signatures", "proposer", "results_hash"] {
            assert!(counts(&verdict, check).0 > 0, "{name} {check}");
        }
    }
}

fn tables(name: &str) -> Vec<TableCommitment> {
    let mut sample = Sample::load(name);
    let home = sample.home();
    let mut all = Vec::new();
    for database in &home.databases {
        let entries = sample.database(&database.name).clone();
        let snapshot = MemoryStore::with(entries.clone()).snapshot().unwrap();
        let layout = CometBft.layout(&home, database, &*snapshot).unwrap();
        let mut walk = ChunkWalk::new(&*layout);
        for (key, value) in &entries {
            walk.push(key, value).unwrap();
        }
        all.extend(assemble(&*layout, [walk.finish().unwrap()]).unwrap());
    }
    all
}

/// Golden: table names, canonical keys and the commitment never change silently.
#[test]
fn the_tables_of_real_homes_have_their_published_roots() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/cometbft/roots.txt");
    let mut lines = String::new();
    for name in ALL {
        for table in tables(name).iter().filter(|table| table.records > 0) {
            let root: String = table.root().iter().map(|byte| format!("{byte:02x}")).collect();
            lines += &format!("{name} {} {} {root}\n", table.name, table.records);
        }
    }
    assert_eq!(lines, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn both_key_layouts_of_one_ledger_have_the_same_tables() {
    let (first, second) = (tables("v1-layout1"), tables("v1-layout2"));
    assert_eq!(first, second);
    assert!(first.iter().map(|table| table.records).sum::<u64>() > 400);
}

#[test]
fn every_signature_of_a_window_is_counted() {
    let mut sample = Sample::load("v0.38");
    let (mut canonical, mut seen, mut different) = (0, 0, 0);
    for height in 187..=197_u64 {
        let signed = |sample: &mut Sample, prefix: &str| -> Vec<Vec<u8>> {
            let key = format!("{prefix}:{height}").into_bytes();
            let Some(value) = sample.database(BLOCKS).get(&key).cloned() else { return Vec::new() };
            let commit = Commit::decode(&value).unwrap();
            commit
                .signatures
                .iter()
                .map(|s| s.signature.to_vec())
                .filter(|s| !s.is_empty())
                .collect()
        };
        let (ours, theirs) = (signed(&mut sample, "SC"), signed(&mut sample, "C"));
        different += ours.iter().filter(|signature| !theirs.contains(signature)).count();
        canonical += theirs.len() as u64;
        seen += ours.len() as u64;
    }
    let verdict = sample.verify();
    assert_eq!(counts(&verdict, "commit_signatures").0, canonical);
    assert_eq!(counts(&verdict, "seen_commit_signatures").0, seen);
    assert!(different > 0, "the seen commit of the tip has no twin");
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let mut sample = Sample::load("v0.38");
    flip(sample.value(BLOCKS, b"C:190"), 200);
    let one = sample.verify_with(TrustInput::default(), 1);
    let many = sample.verify_with(TrustInput::default(), 7);
    assert_eq!(one.checks, many.checks);
    assert_eq!(one.findings, many.findings);
}

#[test]
fn a_byte_of_a_block_part_is_found() {
    found("v0.38", "part_proof", "blockstore/part", b"P:195:1", |sample| {
        flip(sample.value(BLOCKS, b"P:195:1"), 100);
    });
    found("v0.38", "part_set", "blockstore/part", b"P:195:1", |sample| {
        sample.database(BLOCKS).remove(&b"P:195:1"[..]);
    });
    // The first part's proof in the second part's place.
    found("v0.38", "part_proof", "blockstore/part", b"P:195:1", |sample| {
        let first = sample.value(BLOCKS, b"P:195:0").clone();
        *sample.value(BLOCKS, b"P:195:1") = first;
    });
}

#[test]
fn a_signature_is_found_wherever_it_is_kept() {
    for name in ["v0.38", "v0.34"] {
        let height = if name == "v0.34" { 198 } else { 190 };
        for (prefix, check, table) in [
            ("C", "commit_signatures", "blockstore/commit"),
            ("SC", "seen_commit_signatures", "blockstore/seen_commit"),
        ] {
            let key = format!("{prefix}:{height}").into_bytes();
            found(name, check, table, &key, |sample| {
                let value = sample.value(BLOCKS, &key);
                let raw = value.clone();
                let commit = Commit::decode(&raw).unwrap();
                let at = position(value, commit.signatures[0].signature);
                flip(value, at + 10);
            });
        }
    }
}

#[test]
fn vote_extensions_and_secp256k1_keys_are_verified() {
    let verdict = Sample::load("v0.38-extended").verify();
    // Heights 1001 to 1005: each vote for the block carries an extension with its signature.
    let (checked, failed, skipped) = counts(&verdict, "extended_commit_signatures");
    assert!(checked > 5 * 4 && failed == 0 && skipped == 0, "{checked}");
    assert_eq!(verdict.trust, Trust::BySignaturesSince { height: 1000 });
    let forge = |of: fn(&Commit<'_>) -> Vec<u8>| {
        let table = "blockstore/extended_commit";
        found("v0.38-extended", "extended_commit_signatures", table, b"EC:1005", |sample| {
            let value = sample.value(BLOCKS, b"EC:1005");
            let raw = value.clone();
            let at = position(value, &of(&Commit::decode(&raw).unwrap()));
            flip(value, at + 2);
        });
    };
    // The four validators of genesis stand by power: 3 and 1 hold secp256k1 keys.
    forge(|commit| commit.signatures[0].extension.to_vec());
    forge(|commit| commit.signatures[1].extension_signature.to_vec());
    forge(|commit| commit.signatures[2].extension_signature.to_vec());
    forge(|commit| commit.signatures[3].signature.to_vec());
}

#[test]
fn headers_that_outlive_their_blocks_are_verified() {
    // Blocks 1010 to 1013 are kept; headers, commits and validators from 1006.
    let verdict = Sample::load("v0.38-pruned").verify();
    assert_eq!(counts(&verdict, "header_hash"), (8, 0, 0));
    assert_eq!(counts(&verdict, "part_set"), (4, 0, 0));
    assert_eq!(counts(&verdict, "last_block_id"), (7, 0, 0));
    assert_eq!(verdict.trust, Trust::SelfConsistent);
    found("v0.38-pruned", "header_hash", "blockstore/meta", b"H:1007", |sample| {
        let value = sample.value(BLOCKS, b"H:1007");
        let raw = value.clone();
        let at = position(value, BlockMeta::decode(&raw).unwrap().header.app_hash);
        flip(value, at);
    });
    found("v0.38-pruned", "commit_record", "blockstore/commit", b"C:1007", |sample| {
        let value = sample.value(BLOCKS, b"C:1007");
        let last = value.len() - 1;
        flip(value, last);
    });
    // What a killed pruning leaves behind is said, and no finding.
    let mut sample = Sample::load("v0.38-pruned");
    sample.database(BLOCKS).insert(b"P:1003:0".to_vec(), b"left".to_vec());
    sample.database(BLOCKS).insert(b"H:1001".to_vec(), b"left".to_vec());
    let verdict = sample.verify();
    assert_eq!(verdict.findings, []);
    // These two, and C:999, which no pruning looks at.
    assert!(verdict.limits.iter().any(|limit| limit.starts_with("3 records of blockstore.db")));
}

#[test]
fn a_commit_that_is_not_the_next_blocks_is_found() {
    // The seen commit has real signatures too, but perhaps others: here of another height.
    found("v0.38", "commit_record", "blockstore/commit", b"C:190", |sample| {
        let other = sample.value(BLOCKS, b"C:191").clone();
        *sample.value(BLOCKS, b"C:190") = other;
    });
    found("v0.38", "commit_power", "blockstore/commit", b"C:190", |sample| {
        let other = sample.value(BLOCKS, b"C:191").clone();
        *sample.value(BLOCKS, b"C:190") = other;
    });
    found("v0.38", "commit_record", "blockstore/commit", b"C:190", |sample| {
        sample.database(BLOCKS).remove(&b"C:190"[..]);
    });
    found("v0.38", "commit_record", "blockstore/seen_commit", b"SC:197", |sample| {
        sample.database(BLOCKS).remove(&b"SC:197"[..]);
    });
}

#[test]
fn votes_for_nil_are_no_votes_for_the_block() {
    found("v0.38", "commit_power", "blockstore/seen_commit", b"SC:197", |sample| {
        let value = sample.value(BLOCKS, b"SC:197");
        let raw = value.clone();
        for sig in Commit::decode(&raw).unwrap().signatures {
            let at = position(value, sig.raw);
            if value[at + 1] == 2 {
                value[at + 1] = 3;
            }
        }
    });
}

#[test]
fn a_header_field_is_found() {
    found("v0.38", "header_hash", "blockstore/meta", b"H:192", |sample| {
        let value = sample.value(BLOCKS, b"H:192");
        let raw = value.clone();
        let at = position(value, BlockMeta::decode(&raw).unwrap().header.app_hash);
        flip(value, at);
    });
    // A header that hashes to its id, but isn't the one that the next names.
    found("v0.38", "last_block_id", "blockstore/meta", b"H:192", |sample| {
        let raw = sample.value(BLOCKS, b"H:192").clone();
        *sample.value(BLOCKS, b"H:192") = blame::with_another_app_hash(&raw);
    });
    found("v0.38", "block_store_state", "blockstore/meta", b"H:192", |sample| {
        sample.database(BLOCKS).remove(&b"H:192"[..]);
    });
}

#[test]
fn what_hides_in_a_wrapper_is_found() {
    for (key, table) in [
        ("H:192", "blockstore/meta"),
        ("P:192:0", "blockstore/part"),
        ("C:192", "blockstore/commit"),
        ("SC:192", "blockstore/seen_commit"),
    ] {
        found("v0.38", "canonical_encoding", table, key.as_bytes(), |sample| {
            // A field that no release has.
            sample.value(BLOCKS, key.as_bytes()).extend_from_slice(&[0xfa, 0x01, 1, 7]);
        });
    }
    found("v0.38", "canonical_encoding", "state/validators", b"validatorsKey:192", |sample| {
        sample.value(STATE, b"validatorsKey:192").extend_from_slice(&[0xfa, 0x01, 1, 7]);
    });
}

#[test]
fn a_validators_power_and_key_are_found() {
    let mut sample = Sample::load("v0.38-genesis");
    let value = sample.value(STATE, b"validatorsKey:1").clone();
    let set =
        ValidatorSet::decode(ValidatorsInfo::decode(&value).unwrap().set_raw.unwrap()).unwrap();
    let key_at = position(&value, set.validators[1].key.bytes);
    // The power follows the key: field 3.
    for (at, what) in [(key_at + 33, "power"), (key_at + 5, "key")] {
        found(
            "v0.38-genesis",
            "validators_hash",
            "state/validators",
            b"validatorsKey:1",
            |sample| {
                let value = sample.value(STATE, b"validatorsKey:1");
                value[at] ^= 6;
                let _ = what;
            },
        );
    }
    found("v0.38", "validators_hash", "state/validators", b"validatorsKey:192", |sample| {
        sample.database(STATE).remove(&b"validatorsKey:192"[..]);
    });
}

#[test]
fn a_proposer_out_of_turn_is_found() {
    // The stored set has another of its validators as the proposer: no hash covers that.
    found("v0.38-genesis", "proposer", "blockstore/meta", b"H:1", |sample| {
        let value = sample.value(STATE, b"validatorsKey:1");
        let raw = value.clone();
        let set_raw = ValidatorsInfo::decode(&raw).unwrap().set_raw.unwrap();
        let (mut members, mut proposer, mut total) = (Vec::new(), &[][..], 0);
        let mut fields = Fields::new(set_raw);
        while let Some(field) = fields.next().unwrap() {
            match field.number {
                1 => members.push(field.bytes().unwrap()),
                2 => proposer = field.bytes().unwrap(),
                _ => total = field.uint64().unwrap(),
            }
        }
        let address = ValidatorSet::decode(set_raw).unwrap().proposer.unwrap();
        let is_other = |member: &&&[u8]| !member.windows(20).any(|it| it == address);
        let other = *members.iter().find(is_other).unwrap();
        assert_ne!(other, proposer);
        let mut set = Vec::new();
        members.iter().for_each(|member| put_message(&mut set, 1, member));
        put_message(&mut set, 2, other);
        put_varint_field(&mut set, 3, total);
        let at = position(&raw, set_raw) + set_raw.len();
        value.clear();
        put_message(value, 1, &set);
        value.extend_from_slice(&raw[at..]);
    });
}

#[test]
fn the_hash_index_is_checked_both_ways() {
    let mut sample = Sample::load("v0.38");
    let meta = sample.value(BLOCKS, b"H:190").clone();
    let hash = BlockMeta::decode(&meta).unwrap().block_id.hash.to_vec();
    let key = block_key(5, &hash);
    found("v0.38", "hash_index", "blockstore/hash_index", &key, |sample| {
        sample.database(BLOCKS).remove(&key);
    });
    found("v0.38", "hash_index", "blockstore/hash_index", &key, |sample| {
        *sample.value(BLOCKS, &key) = b"191".to_vec();
    });
    let foreign = block_key(5, &[7; 32]);
    found("v0.38", "hash_index", "blockstore/hash_index", &foreign, |sample| {
        sample.database(BLOCKS).insert(foreign.clone(), b"190".to_vec());
    });
}

#[test]
fn records_where_the_chain_has_none_are_found() {
    for (database, key, table) in [
        (BLOCKS, "H:198", "blockstore/meta"),
        (BLOCKS, "P:190:1", "blockstore/part"),
        (BLOCKS, "P:198:0", "blockstore/part"),
        (BLOCKS, "C:198", "blockstore/commit"),
        (BLOCKS, "SC:199", "blockstore/seen_commit"),
        (BLOCKS, "H:0190", "blockstore/unknown"),
        (STATE, "validatorsKey:201", "state/validators"),
        (STATE, "consensusParamsKey:200", "state/params"),
        (STATE, "abciResponsesKey:199", "state/results"),
        (STATE, "surprise", "state/unknown"),
        (INDEX, "surprise", "tx_index/unknown"),
        (EVIDENCE, "surprise", "evidence/unknown"),
    ] {
        found("v0.38", "extra_records", table, key.as_bytes(), |sample| {
            sample.database(database).insert(key.as_bytes().to_vec(), b"x".to_vec());
        });
    }
}

#[test]
fn results_and_parameters_are_found() {
    let key = b"abciResponsesKey:195";
    found("v0.38", "app_hash", "state/results", key, |sample| {
        let value = sample.value(STATE, key);
        let raw = value.clone();
        let at = position(value, Results::decode(&raw).unwrap().app_hash.unwrap());
        flip(value, at);
    });
    found("v0.38", "results_hash", "state/results", key, |sample| {
        // One result less.
        let value = sample.value(STATE, key);
        let raw = value.clone();
        let first = Results::decode(&raw).unwrap().txs[0];
        let at = position(value, first);
        let tag = at - uvarint_bytes(first.len() as u64) - 1;
        value.drain(tag..at + first.len());
    });
    found("v0.38-genesis", "consensus_hash", "state/params", b"consensusParamsKey:3", |sample| {
        // Parameters of their own, which the header doesn't know: block { max_bytes: 1 }.
        let own = [0x0a, 4, 0x0a, 2, 0x08, 1, 0x10, 3];
        *sample.value(STATE, b"consensusParamsKey:3") = own.to_vec();
    });
}

#[test]
fn the_state_after_the_last_block_is_checked() {
    let forge = |part: fn(&State<'_>) -> Vec<u8>| {
        found("v0.38", "state", "state/state", b"stateKey", move |sample| {
            let value = sample.value(STATE, b"stateKey");
            let raw = value.clone();
            let at = position(value, &part(&State::decode(&raw).unwrap()));
            flip(value, at);
        });
    };
    forge(|state| state.app_hash.to_vec());
    forge(|state| state.last_results_hash.to_vec());
    forge(|state| state.last_block_id.hash.to_vec());
    forge(|state| state.last_block_time.to_vec());
    found("v0.38", "state", "state/state", b"stateKey", |sample| {
        sample.database(STATE).remove(&b"stateKey"[..]);
    });
    found("v0.34", "last_results", "state/last_results", b"lastABCIResponseKey", |sample| {
        flip(sample.value(STATE, b"lastABCIResponseKey"), 30);
    });
}

#[test]
fn a_validator_set_that_no_update_made_is_found() {
    let key = b"validatorsKey:199";
    found("v0.38", "validator_updates", "state/validators", key, |sample| {
        // No header reaches this set: an older one in its place.
        let (height, old) = sample
            .database(STATE)
            .iter()
            .find(|(key, value)| {
                key.starts_with(b"validatorsKey:")
                    && ValidatorsInfo::decode(value).unwrap().set_raw.is_some()
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .unwrap();
        assert_ne!(height, key);
        let value = sample.value(STATE, key);
        *value = old;
        let raw = value.clone();
        let set = ValidatorSet::decode(ValidatorsInfo::decode(&raw).unwrap().set_raw.unwrap());
        let power_at = position(value, set.unwrap().validators[0].key.bytes) + 33;
        value[power_at] ^= 2;
    });
}

#[test]
fn evidence_is_checked_in_blocks_in_marks_and_pending() {
    let mut sample = Sample::load("v0.38");
    let part = sample.value(BLOCKS, b"P:189:0").clone();
    let part = Part::decode(&part).unwrap();
    let block = Block::decode(part.bytes).unwrap();
    let message = block.evidence[0].to_vec();
    let canonical = |message: &[u8]| {
        let evidence = Evidence::decode(message).unwrap().unwrap();
        [&evidence.height().to_be_bytes()[..], &evidence.hash()].concat()
    };
    let mark = evidence_key(evidence_table::COMMITTED, &canonical(&message));
    assert!(sample.database(EVIDENCE).contains_key(&mark), "the node has marked it");
    found("v0.38", "evidence_markers", "evidence/committed", &mark, |sample| {
        sample.database(EVIDENCE).remove(&mark);
    });
    found("v0.38", "evidence_markers", "evidence/committed", &mark, |sample| {
        *sample.value(EVIDENCE, &mark) = vec![8, 1];
    });
    found("v0.38-genesis", "evidence_markers", "evidence/committed", &mark, |sample| {
        sample.database(EVIDENCE).insert(mark.clone(), vec![8, 0xbc, 1]);
    });
    // Pending: the same evidence, whole and then with a forged vote.
    let pending = evidence_key(evidence_table::PENDING, &canonical(&message));
    let mut whole = Sample::load("v0.38");
    whole.database(EVIDENCE).insert(pending, message.clone());
    let verdict = whole.verify();
    assert_eq!(counts(&verdict, "evidence_signatures"), (4, 0, 0));
    let mut forged = message.clone();
    let Some(Evidence::DuplicateVote(duplicate)) = Evidence::decode(&message).unwrap() else {
        panic!("the sample's evidence is a duplicate vote");
    };
    let at = position(&forged, duplicate.vote_b.signature);
    flip(&mut forged, at);
    let key = evidence_key(evidence_table::PENDING, &canonical(&forged));
    found("v0.38", "evidence_signatures", "evidence/pending", &key, |sample| {
        sample.database(EVIDENCE).insert(key.clone(), forged.clone());
    });
}

#[test]
fn the_transaction_index_is_checked_both_ways() {
    let mut sample = Sample::load("v0.38");
    let part = sample.value(BLOCKS, b"P:197:0").clone();
    let part = Part::decode(&part).unwrap();
    let txs: Vec<Vec<u8>> =
        Block::decode(part.bytes).unwrap().txs.iter().map(|tx| tx.to_vec()).collect();
    let hash = sha256(&txs[0]).to_vec();
    let by_height = b"tx.height/197/197/0$es$0".to_vec();
    assert!(txs.len() > 1);
    found("v0.38", "tx_index_results", "tx_index/result", &hash, |sample| {
        sample.database(INDEX).remove(&hash);
    });
    found("v0.38", "tx_index_results", "tx_index/result", &hash, |sample| {
        // Another result: a byte of what the application logged.
        let value = sample.value(INDEX, &hash);
        let last = value.len() - 1;
        flip(value, last);
    });
    found("v0.38", "tx_index_heights", "tx_index/height", &by_height, |sample| {
        sample.database(INDEX).remove(&by_height);
    });
    found("v0.38", "tx_index_heights", "tx_index/height", &by_height, |sample| {
        *sample.value(INDEX, &by_height) = vec![7; 32];
    });
    let above = b"tx.height/197/197/99$es$0".to_vec();
    found("v0.38", "tx_index_heights", "tx_index/height", &above, |sample| {
        sample.database(INDEX).insert(above.clone(), vec![7; 32]);
    });
    let counted = b"tx.height/197/197/0$es$1".to_vec();
    found("v0.38", "tx_index_heights", "tx_index/height", &counted, |sample| {
        sample.database(INDEX).insert(counted.clone(), hash.clone());
    });
    let invented = sha256(b"invented").to_vec();
    found("v0.38", "tx_index_results", "tx_index/result", &invented, |sample| {
        let mut entry = vec![0x08, 0xc5, 0x01, 0x10, 9, 0x1a, 8];
        entry.extend_from_slice(b"invented");
        entry.extend_from_slice(&[0x22, 0]);
        sample.database(INDEX).insert(invented.clone(), entry);
    });
    // A height that is missing whole is said, and is no finding.
    let layout = tx_index::TxIndexLayout::new();
    let mut missing = Sample::load("v0.38");
    let hashes: Vec<Vec<u8>> = txs.iter().map(|tx| sha256(tx).to_vec()).collect();
    missing.database(INDEX).retain(|key, value| {
        use transload_model::layout::{Layout as _, Placement};
        let mut canonical = Vec::new();
        let height = match layout.place(key, value, &mut canonical) {
            Placement::Record { table: tx_index::HEIGHT | tx_index::BLOCK, .. } => {
                u64::from_be_bytes(*canonical.first_chunk().unwrap())
            }
            _ => 0,
        };
        height != 197 && !hashes.contains(key)
    });
    let verdict = missing.verify();
    assert_eq!(verdict.findings, []);
    assert!(verdict.notices.iter().any(|notice| notice.contains("height 197")));
}

#[test]
fn a_stored_genesis_that_differs_from_the_file_is_found() {
    found("v0.38", "genesis", "state/genesis", b"genesisDoc", |sample| {
        let value = sample.value(STATE, b"genesisDoc");
        let at = position(value, b"chain-7FEsNS");
        value[at] = b'C';
    });
    found("v1-layout1", "genesis", "state/genesis", b"genesisDocHash", |sample| {
        flip(sample.value(STATE, b"genesisDocHash"), 0);
    });
}

#[test]
fn a_cut_off_tip_is_told_by_the_signer() {
    for (height, failed) in [(197, 0), (198, 0), (199, 1)] {
        let mut sample = Sample::load("v0.38");
        sample.signed_at(height);
        assert_eq!(counts(&sample.verify(), "signer_height"), (1, failed, 0), "{height}");
    }
}

#[test]
fn the_words_of_trust_are_earned() {
    assert_eq!(Sample::load("v0.38").verify().trust, Trust::SelfConsistent);
    let mut sample = Sample::load("v0.38-genesis");
    assert_eq!(sample.verify().trust, Trust::BySignaturesSince { height: 1 });
    let meta = sample.value(BLOCKS, b"H:4").clone();
    let hash: [u8; 32] = BlockMeta::decode(&meta).unwrap().block_id.hash.try_into().unwrap();
    let anchored = |height, hash| {
        let sample = Sample::load("v0.38-genesis");
        sample.verify_with(TrustInput { anchor: Some((height, hash)) }, 1)
    };
    let verdict = anchored(4, hash);
    assert!(matches!(verdict.trust, Trust::AnchoredByHash { height: 4, .. }));
    let verdict = anchored(5, hash);
    assert!(!matches!(verdict.trust, Trust::AnchoredByHash { .. }));
    assert!(names(&verdict, "trust_anchor", "blockstore/meta", b"H:5"));
    let verdict = anchored(7, hash);
    assert_eq!(counts(&verdict, "trust_anchor"), (0, 0, 1));
    // A genesis file with other validators gives no such word.
    let sample = Sample::load("v0.38-genesis");
    let path = sample.root().join("config/genesis.json");
    let text =
        std::fs::read_to_string(&path).unwrap().replacen("\"power\": \"1\"", "\"power\": \"2\"", 1);
    std::fs::write(&path, text).unwrap();
    assert_eq!(sample.verify().trust, Trust::SelfConsistent);
}

#[test]
fn a_config_that_outlived_an_upgrade_doesnt_choose_the_signature_rules() {
    let said = |name: &str, config: &str| {
        let sample = Sample::load(name);
        std::fs::write(sample.root().join("config/config.toml"), config).unwrap();
        let verdict = sample.verify();
        assert_eq!(verdict.findings, []);
        verdict.notices.iter().any(|notice| notice.contains("newer release wrote the state"))
    };
    let old = "fast_sync = true\ndb_backend = \"goleveldb\"\n[consensus]\n";
    assert!(said("v0.38", old));
    assert!(said("v1-layout1", old));
    assert!(!said("v0.34", old));
}

#[test]
fn a_home_without_a_state_store_is_checked_as_far_as_it_goes() {
    let mut sample = Sample::load("v0.38");
    sample.drop_database(STATE);
    let verdict = sample.verify();
    assert_eq!(counts(&verdict, "header_hash"), (11, 0, 0));
    // Nothing that needs the validators is taken for checked.
    for (check, skipped) in [
        ("state", 1),
        ("validators_hash", 11),
        ("consensus_hash", 11),
        ("commit_signatures", 10),
        ("seen_commit_signatures", 11),
        ("proposer", 11),
    ] {
        assert_eq!(counts(&verdict, check), (0, 0, skipped), "{check}");
    }
}

#[test]
fn any_changed_byte_of_a_block_store_is_found() {
    let keys: Vec<Vec<u8>> = Sample::load("v0.34").database(BLOCKS).keys().cloned().collect();
    let mut tried = 0;
    for key in keys {
        let length = Sample::load("v0.34").value(BLOCKS, &key).len();
        for at in (0..length).step_by(29) {
            let mut sample = Sample::load("v0.34");
            sample.value(BLOCKS, &key)[at] ^= 0x10;
            let verdict = sample.verify();
            assert!(verdict.failed() > 0, "byte {at} of {}", String::from_utf8_lossy(&key));
            tried += 1;
        }
    }
    assert!(tried > 200);
}

#[test]
fn forged_heights_of_the_store_end_in_findings() {
    for (state, check) in [
        // base 6, height 1
        (vec![8, 6, 16, 1], "block_store_state"),
        // base 1, height 2^62
        (vec![8, 1, 16, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40], "block_store_state"),
        (vec![0xff], "block_store_state"),
    ] {
        let mut sample = Sample::load("v0.38-genesis");
        *sample.value(BLOCKS, b"blockStore") = state;
        assert!(counts(&sample.verify(), check).1 > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_change_of_stored_bytes_makes_the_verifier_panic(
        changes in proptest::collection::vec(
            (0_usize..4, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4),
            1..6,
        ),
    ) {
        let mut sample = Sample::load("v0.38-extended");
        for (database, key, at, byte, how) in changes {
            let entries = sample.database([BLOCKS, STATE, EVIDENCE, INDEX][database]);
            if entries.is_empty() {
                continue;
            }
            let keys: Vec<Vec<u8>> = entries.keys().cloned().collect();
            let mut key = keys[key.index(keys.len())].clone();
            let mut value = entries.remove(&key).unwrap();
            match how {
                0 if !value.is_empty() => {
                    let at = at.index(value.len());
                    value[at] = byte;
                }
                1 if !value.is_empty() => value.truncate(at.index(value.len())),
                2 => {
                    let at = at.index(key.len());
                    key[at] = byte;
                }
                _ => value.insert(at.index(value.len() + 1), byte),
            }
            // Heights of 2^62 take a while to be given up; another test has them.
            if key != b"blockStore" {
                entries.insert(key, value);
            }
        }
        sample.verify();
    }
}

#[test]
fn bytes_that_are_no_messages_are_findings_and_never_a_panic() {
    for database in [BLOCKS, STATE, EVIDENCE, INDEX] {
        for garbage in [&b""[..], b"\xff", b"\x0a\xff\xff\xff\xff\x0f", &[0x0a; 40]] {
            let mut sample = Sample::load("v0.38-genesis");
            for value in sample.database(database).values_mut() {
                *value = garbage.to_vec();
            }
            let verdict = sample.verify();
            let may_be_empty = database == EVIDENCE;
            assert!(may_be_empty || verdict.failed() > 0 || !verdict.notices.is_empty());
        }
    }
}
