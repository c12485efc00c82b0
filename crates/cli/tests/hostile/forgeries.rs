//! One thing of a home is forged, through the engine's own writer, and `verify` names it.
//!
//! Checksums of the engine are right afterwards: only what the chain signed can tell.

use crate::homes::{Copy, changed, helper, imprint, transload};
use serde_json::Value;
use std::path::{Path, PathBuf};
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::engine::Engine;
use transload_store::{Durability, Engines as _, KeyRange, Scan, TargetOptions, WriteBatch};

/// A Cosmos SDK node: every kind of table, keys with heights in decimal.
const HOME: &str = "cosmos-simapp";

/// One forgery and what must be said of it.
struct Forgery {
    what: &'static str,
    database: &'static str,
    /// Makes the key and the value to write, from the entries that are there.
    make: fn(&Entries) -> (Vec<u8>, Vec<u8>),
    table: &'static str,
    /// What the key in the finding contains.
    key: &'static str,
    height: Option<u64>,
}

/// All entries of a database, in order.
struct Entries(Vec<(Vec<u8>, Vec<u8>)>);

impl Entries {
    fn value(&self, key: &[u8]) -> Vec<u8> {
        let found = self.0.iter().find(|(at, _)| at == key);
        found.unwrap_or_else(|| panic!("{} is missing", String::from_utf8_lossy(key))).1.clone()
    }

    /// The entry with one bit of its byte at `place` turned.
    fn turned(&self, key: &[u8], place: usize) -> (Vec<u8>, Vec<u8>) {
        let mut value = self.value(key);
        value[place] ^= 1;
        (key.to_vec(), value)
    }

    fn place_of(&self, key: &[u8], text: &[u8]) -> usize {
        let value = self.value(key);
        value.windows(text.len()).position(|window| window == text).unwrap()
    }
}

const FORGERIES: [Forgery; 8] = [
    Forgery {
        what: "a byte of a block part",
        database: "blockstore.db",
        make: |entries| entries.turned(b"P:100:0", entries.value(b"P:100:0").len() / 3),
        table: "blockstore/part",
        key: "P:100:0",
        height: Some(100),
    },
    Forgery {
        what: "a signature",
        database: "blockstore.db",
        make: |entries| entries.turned(b"C:100", entries.value(b"C:100").len() - 1),
        table: "blockstore/commit",
        key: "C:100",
        height: Some(100),
    },
    Forgery {
        what: "a header's chain id",
        database: "blockstore.db",
        make: |entries| entries.turned(b"H:100", entries.place_of(b"H:100", b"fixture-1") + 8),
        table: "blockstore/meta",
        key: "H:100",
        height: Some(100),
    },
    Forgery {
        what: "a store's hash in CommitInfo",
        database: "application.db",
        // Name, the id's tag and length, version, and the hash's own tag and length lie before.
        make: |entries| entries.turned(b"s/100", entries.place_of(b"s/100", b"bank") + 4 + 6 + 5),
        table: "application/commit_info",
        key: "s/100",
        height: Some(100),
    },
    Forgery {
        what: "the value of an IAVL leaf",
        database: "application.db",
        make: a_leaf,
        table: "application/iavl_node",
        key: "s/k:bank/s",
        height: None,
    },
    Forgery {
        what: "one header too many",
        database: "blockstore.db",
        make: |entries| (b"H:4000".to_vec(), entries.value(b"H:100")),
        table: "blockstore/meta",
        key: "H:4000",
        height: Some(4000),
    },
    Forgery {
        what: "one hash too many in the index of hashes",
        database: "blockstore.db",
        make: |_| {
            let key = format!("BH:{}", "ab".repeat(32));
            (key.into_bytes(), b"100".to_vec())
        },
        table: "blockstore/hash_index",
        key: "BH:abab",
        height: None,
    },
    Forgery {
        what: "an entry of the index of transactions",
        database: "tx_index.db",
        make: |entries| {
            let (key, _) =
                entries.0.iter().find(|(key, _)| key.starts_with(b"tx.height/")).unwrap();
            (key.clone(), vec![7; 32])
        },
        table: "tx_index/height",
        key: "tx.height/",
        height: None,
    },
];

/// The last byte of a leaf of the bank's tree, which belongs to its value's hash or version.
fn a_leaf(entries: &Entries) -> (Vec<u8>, Vec<u8>) {
    // A leaf begins with height 0 and size 1, both zigzag.
    let is_leaf = |key: &[u8], value: &[u8]| {
        key.starts_with(b"s/k:bank/s") && key.len() == 10 + 12 && value.starts_with(&[0, 2])
    };
    let (key, value) = entries.0.iter().find(|(key, value)| is_leaf(key, value)).unwrap();
    entries.turned(key, value.len() - 1)
}

/// Writes one entry with the engine's own writer, and closes it.
fn forge(
    helper: &Path,
    engine: Engine,
    path: &Path,
    make: impl Fn(&Entries) -> (Vec<u8>, Vec<u8>),
) {
    let engines = BuiltIn::new(BuiltInConfig { gostore_helper: Some(helper.to_owned()) });
    let options = TargetOptions { space: None, memory_bytes_max: 64 << 20 };
    let store = engines.driver(engine).unwrap().reopen_target(path, &options).unwrap();
    let mut entries = Entries(Vec::new());
    {
        let snapshot = store.snapshot().unwrap();
        let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
        while let Some((key, value)) = scan.next().unwrap() {
            entries.0.push((key.to_vec(), value.to_vec()));
        }
    }
    let (key, value) = make(&entries);
    let mut batch = WriteBatch::new();
    batch.put(&key, &value);
    store.write(&batch, Durability::Synced).unwrap();
    store.close().unwrap();
}

/// Whether a finding names the table, the key and, where there is one, the height.
fn names(finding: &Value, forgery: &Forgery) -> bool {
    let height = forgery.height;
    finding["table"] == forgery.table
        && finding["key"].as_str().is_some_and(|key| key.contains(forgery.key))
        && height.is_none_or(|height| {
            let said = &finding["height"];
            said.as_u64() == Some(height) || *said == height.to_string().as_str()
        })
}

#[test]
fn verify_names_every_forged_record() {
    let Some(helper) = helper() else { return };
    let mut faults = Vec::new();
    for forgery in &FORGERIES {
        let copy = Copy::of(HOME);
        let database = copy.home().join("data").join(forgery.database);
        forge(&helper, Engine::Goleveldb, &database, forgery.make);
        let outcome = transload(&["verify", copy.home().to_str().unwrap(), "--json"]);
        let document = outcome.document();
        let findings = document["findings"].as_array().cloned().unwrap_or_default();
        if outcome.code != 4 || !findings.iter().any(|finding| names(finding, forgery)) {
            let shown: Vec<String> = findings.iter().take(4).map(Value::to_string).collect();
            faults.push(format!(
                "{}: exit {}: {}\n{}",
                forgery.what,
                outcome.code,
                outcome.said,
                shown.join("\n")
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The first table file of a database.
fn a_table_file(database: &Path, ending: &str) -> PathBuf {
    let entries = std::fs::read_dir(database).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|it| it == ending));
    files.swap_remove(0)
}

#[test]
fn a_table_file_that_was_cut_off_is_named() {
    let copy = Copy::of(HOME);
    let table = a_table_file(&copy.home().join("data/application.db"), "ldb");
    let bytes = std::fs::read(&table).unwrap();
    std::fs::write(&table, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let outcome = transload(&["verify", copy.home().to_str().unwrap()]);
    let name = table.file_name().unwrap().to_str().unwrap();
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    assert!(
        outcome.said.contains(name) && outcome.said.contains("application.db"),
        "{}",
        outcome.said
    );
}

#[test]
fn a_forged_home_is_never_swapped() {
    let Some(helper) = helper() else { return };
    let copy = Copy::of(HOME);
    let home = copy.home();
    forge(&helper, Engine::Goleveldb, &home.join("data/blockstore.db"), FORGERIES[0].make);
    let before = imprint(&home);
    let outcome = transload(&["migrate", home.to_str().unwrap(), "--to", "pebble1", "--yes"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    assert!(outcome.said.contains("P:100:0"), "{}", outcome.said);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
}

#[test]
fn a_target_that_was_forged_after_the_verification_is_never_swapped() {
    let Some(helper) = helper() else { return };
    for forgery in [&FORGERIES[0], &FORGERIES[7]] {
        let copy = Copy::of(HOME);
        let home = copy.home();
        let home_text = home.to_str().unwrap();
        let copied = transload(&["migrate", home_text, "--to", "pebble1"]);
        assert_eq!(copied.code, 5, "{}", copied.said);
        let before = imprint(&home);
        let target = home.join(".transload/attempts/0001/targets").join(forgery.database);
        forge(&helper, Engine::Pebble1, &target, forgery.make);
        // Not at the second try either.
        for _ in 0..2 {
            let outcome = transload(&["resume", home_text, "--yes"]);
            assert_eq!(outcome.code, 4, "{}: {}", forgery.what, outcome.said);
            assert!(outcome.said.contains("somebody has touched it"), "{}", outcome.said);
            assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
        }
        let back = transload(&["rollback", home_text, "--yes"]);
        assert_eq!(back.code, 0, "{}", back.said);
        assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    }
}
