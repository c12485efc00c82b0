//! One thing of a home is forged, through the engine's own writer, and `verify` names it.
//!
//! Checksums of the engine are right afterwards: only what the chain signed can tell.

use crate::holding::open;
use crate::homes::{Copy, changed, helper, imprint, transload};
use serde_json::Value;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_store::{Durability, KeyRange, Scan, WriteBatch};

/// A Cosmos SDK node: every kind of table, keys with heights in decimal.
const HOME: &str = "cosmos-simapp";

/// One forgery and what must be said of it.
struct Forgery {
    what: &'static str,
    database: &'static str,
    /// Makes what is to be written, from the entries that are there.
    make: fn(&Entries) -> Changes,
    table: &'static str,
    /// What the key in the finding contains.
    key: &'static str,
    height: Option<u64>,
}

/// Keys with their new values; `None` deletes.
type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// All entries of a database, in order.
struct Entries(Vec<(Vec<u8>, Vec<u8>)>);

impl Entries {
    fn value(&self, key: &[u8]) -> Vec<u8> {
        let found = self.0.iter().find(|(at, _)| at == key);
        found.unwrap_or_else(|| panic!("{} is missing", String::from_utf8_lossy(key))).1.clone()
    }

    /// The entry with one bit of its byte at `place` turned.
    fn turned(&self, key: &[u8], place: usize) -> Changes {
        let mut value = self.value(key);
        value[place] ^= 1;
        vec![(key.to_vec(), Some(value))]
    }

    fn place_of(&self, key: &[u8], text: &[u8]) -> usize {
        let value = self.value(key);
        value.windows(text.len()).position(|window| window == text).unwrap()
    }
}

const FORGERIES: [Forgery; 10] = [
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
        make: |entries| vec![(b"H:4000".to_vec(), Some(entries.value(b"H:100")))],
        table: "blockstore/meta",
        key: "H:4000",
        height: Some(4000),
    },
    Forgery {
        what: "a height that is dropped with everything of it",
        database: "blockstore.db",
        make: |entries| {
            let hash = entries
                .0
                .iter()
                .find(|(key, value)| key.starts_with(b"BH:") && value.as_slice() == b"100");
            let keys: [&[u8]; 5] = [b"H:100", b"P:100:0", b"C:100", b"SC:100", &hash.unwrap().0];
            keys.into_iter().map(|key| (key.to_vec(), None)).collect()
        },
        table: "blockstore/meta",
        key: "H:100",
        height: Some(100),
    },
    Forgery {
        what: "one node too many in an IAVL tree",
        database: "application.db",
        make: |entries| {
            let leaf = a_leaf(entries);
            let mut key = leaf[0].0.clone();
            // The nonce of a node that no tree can have.
            key.splice(18.., [0x7f, 0xff, 0xff, 0xff]);
            vec![(key, leaf[0].1.clone())]
        },
        table: "application/iavl_node",
        key: "s/k:bank/s",
        height: None,
    },
    Forgery {
        what: "one hash too many in the index of hashes",
        database: "blockstore.db",
        make: |_| {
            let key = format!("BH:{}", "ab".repeat(32));
            vec![(key.into_bytes(), Some(b"100".to_vec()))]
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
            vec![(key.clone(), Some(vec![7; 32]))]
        },
        table: "tx_index/height",
        key: "tx.height/",
        height: None,
    },
];

/// The last byte of a leaf of the bank's tree, which belongs to its value's hash or version.
fn a_leaf(entries: &Entries) -> Changes {
    // A leaf begins with height 0 and size 1, both zigzag.
    let is_leaf = |key: &[u8], value: &[u8]| {
        key.starts_with(b"s/k:bank/s") && key.len() == 10 + 12 && value.starts_with(&[0, 2])
    };
    let (key, value) = entries.0.iter().find(|(key, value)| is_leaf(key, value)).unwrap();
    entries.turned(key, value.len() - 1)
}

/// Changes entries with the engine's own writer, and closes it.
fn forge(engine: Engine, path: &Path, make: impl Fn(&Entries) -> Changes) {
    let store = open(engine, path);
    let mut entries = Entries(Vec::new());
    {
        let snapshot = store.snapshot().unwrap();
        let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
        while let Some((key, value)) = scan.next().unwrap() {
            entries.0.push((key.to_vec(), value.to_vec()));
        }
    }
    let mut batch = WriteBatch::new();
    for (key, value) in make(&entries) {
        match value {
            Some(value) => batch.put(&key, &value),
            None => batch.delete(&key),
        };
    }
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

/// What is wrong with what `verify` says of a forged home, in JSON and in words.
fn faults(forgery: &Forgery, home: &Path) -> Vec<String> {
    let home = home.to_str().unwrap();
    let mut faults = Vec::new();
    let outcome = transload(&["verify", home, "--json"]);
    let document = outcome.document();
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    if outcome.code != 4 || !findings.iter().any(|finding| names(finding, forgery)) {
        let shown: Vec<String> = findings.iter().take(4).map(Value::to_string).collect();
        faults.push(format!("exit {}: {}\n{}", outcome.code, outcome.said, shown.join("\n")));
    }
    let outcome = transload(&["verify", home]);
    let height = forgery.height.map(|height| format!("height {height}")).unwrap_or_default();
    let words = [forgery.table, forgery.key, &height];
    let told = |line: &str| words.iter().all(|word| line.contains(word));
    if outcome.code != 4 || !outcome.shown.lines().any(told) {
        faults.push(format!("no line has {words:?}: {}", outcome.shown));
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", forgery.what)).collect()
}

#[test]
fn verify_names_every_record_that_was_forged_in_a_source() {
    if helper().is_none() {
        return;
    }
    let mut found = Vec::new();
    for forgery in &FORGERIES {
        let copy = Copy::of(HOME);
        let database = copy.home().join("data").join(forgery.database);
        forge(Engine::Goleveldb, &database, forgery.make);
        found.extend(faults(forgery, &copy.home()));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn verify_names_every_record_that_was_forged_in_a_target_after_a_good_copy() {
    if helper().is_none() {
        return;
    }
    let good = Copy::of(HOME);
    let migrated =
        transload(&["migrate", good.home().to_str().unwrap(), "--to", "pebble1", "--yes"]);
    assert_eq!(migrated.code, 0, "{}", migrated.said);
    let verified = transload(&["verify", good.home().to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}", verified.said);
    let mut found = Vec::new();
    for forgery in &FORGERIES {
        let copy = good.again();
        let database = copy.home().join("data").join(forgery.database);
        forge(Engine::Pebble1, &database, forgery.make);
        found.extend(faults(forgery, &copy.home()));
    }
    let copy = good.again();
    let table = a_table_file(&copy.home().join("data/application.db"), "sst");
    cut(&table);
    let outcome = transload(&["verify", copy.home().to_str().unwrap()]);
    let number = table.file_stem().unwrap().to_str().unwrap();
    if outcome.code != 4 || !["application.db", number].iter().all(|it| outcome.said.contains(it)) {
        found.push(format!("a table cut off: exit {}: {}", outcome.code, outcome.said));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The first table file of a database.
fn a_table_file(database: &Path, ending: &str) -> PathBuf {
    let entries = std::fs::read_dir(database).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|it| it == ending));
    files.swap_remove(0)
}

/// Leaves two thirds of a file.
fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() * 2 / 3]).unwrap();
}

#[test]
fn a_table_file_that_was_cut_off_is_named() {
    let copy = Copy::of(HOME);
    let table = a_table_file(&copy.home().join("data/application.db"), "ldb");
    cut(&table);
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
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    forge(Engine::Goleveldb, &home.join("data/blockstore.db"), FORGERIES[0].make);
    let before = imprint(&home);
    let outcome = transload(&["migrate", home.to_str().unwrap(), "--to", "pebble1", "--yes"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    assert!(outcome.said.contains("P:100:0"), "{}", outcome.said);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
}

#[test]
fn a_target_that_was_forged_after_the_verification_is_never_swapped() {
    if helper().is_none() {
        return;
    }
    for forgery in [&FORGERIES[0], &FORGERIES[9]] {
        let copy = Copy::of(HOME);
        let home = copy.home();
        let home_text = home.to_str().unwrap();
        let copied = transload(&["migrate", home_text, "--to", "pebble1"]);
        assert_eq!(copied.code, 5, "{}", copied.said);
        let before = imprint(&home);
        let target = home.join(".transload/attempts/0001/targets").join(forgery.database);
        forge(Engine::Pebble1, &target, forgery.make);
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
