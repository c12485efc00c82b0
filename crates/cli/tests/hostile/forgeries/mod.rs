//! One thing of a home is forged, through the engine's own writer, and `verify` names it.
//!
//! Checksums of the engine are right afterwards: only what the chain signed can tell. The lists
//! say what is forged, the same for every release, key layout and engine; what a home doesn't
//! have (evidence, a second part, an orphan) is forged in another one.

mod application;
mod blocks;
mod campaign;
mod home;
mod records;
mod settling;
mod tip;
mod uncovered;

use crate::holding::{engines, open};
use crate::homes::{Copy, changed, helper, imprint, transload};
use crate::shared::number;
use home::Home;
pub(crate) use home::entries;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use transload_model::report::printable_key;
use transload_store::{Durability, Engines as _, WriteBatch};

/// A Cosmos SDK node: every kind of table, keys with heights in decimal.
const HOME: &str = "cosmos-simapp";

/// A database, a key, its new value; `None` deletes.
type Change = (&'static str, Vec<u8>, Option<Vec<u8>>);

/// What is written, and what must be said of it.
struct Forged {
    changes: Vec<Change>,
    database: &'static str,
    /// How the table's name begins.
    table: &'static str,
    /// How the key begins.
    key: Vec<u8>,
    height: Option<u64>,
}

impl Forged {
    fn new(
        changes: Vec<Change>,
        database: &'static str,
        table: &'static str,
        key: Vec<u8>,
        height: Option<u64>,
    ) -> Self {
        Self { changes, database, table, key, height }
    }

    /// A record that is set; it is named itself.
    fn put(
        database: &'static str,
        table: &'static str,
        key: Vec<u8>,
        value: Vec<u8>,
        height: Option<u64>,
    ) -> Self {
        Self::new(vec![(database, key.clone(), Some(value))], database, table, key, height)
    }

    /// A record that is dropped; it is named itself.
    fn dropped(
        database: &'static str,
        table: &'static str,
        key: Vec<u8>,
        height: Option<u64>,
    ) -> Self {
        Self::new(vec![(database, key.clone(), None)], database, table, key, height)
    }

    /// The application's own record of the version contradicts it.
    fn told_of_the_application(self, version: u64) -> Self {
        let key = transload_chains::iavl::keys::commit_info_key(version);
        let table = "application/commit_info";
        Self { database: home::APPLICATION, table, key, ..self }
    }

    /// Writes it with the engines' own writers, and closes the databases.
    fn write(&self, home: &Path) {
        let mut batches: BTreeMap<&str, WriteBatch> = BTreeMap::new();
        for (database, key, value) in &self.changes {
            let batch = batches.entry(database).or_default();
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        for (database, batch) in batches {
            let path = home.join("data").join(database);
            write(&path, &batch);
        }
    }

    /// Whether a finding names database, table, key and, where there is one, the height.
    fn is_named_by(&self, finding: &Value) -> bool {
        let begins = |field: &str, with: &str| {
            finding[field].as_str().is_some_and(|text| text.starts_with(with))
        };
        let said = &finding["height"];
        finding["database"] == self.database
            && begins("table", self.table)
            && begins("key", &printable_key(&self.key))
            && self.height.is_none_or(|height| *said == height)
    }

    /// What is wrong with what `verify` says of the forged home, in JSON and, where `in_words`
    /// asks for them, in words.
    fn faults(&self, what: &str, home: &Path, in_words: bool) -> Vec<String> {
        let home = home.to_str().unwrap();
        let mut faults = Vec::new();
        let outcome = transload(&["verify", home, "--json"]);
        let document = outcome.document();
        let findings = document["findings"].as_array().cloned().unwrap_or_default();
        if outcome.code != 4 || !findings.iter().any(|finding| self.is_named_by(finding)) {
            let shown: Vec<String> = findings.iter().take(4).map(Value::to_string).collect();
            faults.push(format!("exit {}: {}\n{}", outcome.code, outcome.said, shown.join("\n")));
        }
        if in_words {
            faults.extend(self.faults_in_words(home));
        }
        faults.into_iter().map(|fault| format!("{what}: {fault}")).collect()
    }

    fn faults_in_words(&self, home: &str) -> Option<String> {
        let outcome = transload(&["verify", home]);
        let height = self.height.map(|height| format!("height {height}")).unwrap_or_default();
        let key = printable_key(&self.key);
        let words = [self.table, &key, &height];
        let told = |line: &str| words.iter().all(|word| line.contains(word));
        if outcome.code == 4 && outcome.shown.lines().any(told) {
            return None;
        }
        let wrong: Vec<&str> =
            outcome.shown.lines().filter(|line| line.starts_with("WRONG")).take(4).collect();
        Some(format!("no line has {words:?}: exit {}: {wrong:#?}", outcome.code))
    }
}

fn write(path: &Path, batch: &WriteBatch) {
    let engine = engines().recognise(path).unwrap().engine;
    let store = open(engine, path);
    store.write(batch, Durability::Synced).unwrap();
    store.close().unwrap();
}

/// One forgery: what it is called, and how it is made of a good home; `None` where the home has
/// no such thing.
struct Forgery {
    what: &'static str,
    make: Make,
}

type Make = Box<dyn Fn(&Home) -> Option<Forged> + Sync>;

impl Forgery {
    fn new(what: &'static str, make: impl Fn(&Home) -> Option<Forged> + Sync + 'static) -> Self {
        Self { what, make: Box::new(make) }
    }
}

fn forgeries() -> Vec<Forgery> {
    let mut all = blocks::forgeries();
    all.extend(records::forgeries());
    all.extend(application::forgeries());
    all
}

/// Of the listed forgeries one in so many is made, and one of those asked for in words as well;
/// the seed, which is another one for each commit, decides which. `TRANSLOAD_FORGERY_PART=1`
/// makes and asks for all.
const PART_ON_SOURCE: u64 = 5;

/// What the engines' own writers put into other engines was read back when it was copied.
const PART_AFTER_COPY: u64 = 10;

/// One in so many is asked for in words.
const PART_IN_WORDS: u64 = 4;

fn part(otherwise: u64) -> u64 {
    number("TRANSLOAD_FORGERY_PART").unwrap_or(otherwise).max(1)
}

/// Forges one thing after another in copies of a good home; `least` of them must be possible.
/// One in `part` is made, and one in `part_in_words` looked at in words.
fn forge_each(good: &Copy, least: usize, part_in_words: u64, part: u64) {
    let clean = transload(&["verify", good.home().to_str().unwrap()]);
    assert_eq!(clean.code, 0, "{}", clean.said);
    let home = Home::read(&good.home());
    let (mut made, mut faults) = (Vec::new(), Vec::new());
    let seed = number("TRANSLOAD_SEED").unwrap_or(1);
    for forgery in &forgeries() {
        let Some(forged) = (forgery.make)(&home) else { continue };
        made.push(forgery.what);
        let turn = made.len() as u64 + seed;
        if !turn.is_multiple_of(part) {
            continue;
        }
        let in_words = turn.is_multiple_of(part_in_words);
        let copy = good.again();
        forged.write(&copy.home());
        faults.extend(forged.faults(forgery.what, &copy.home(), in_words));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(made.len() >= least, "only {}: {made:?}", made.len());
}

/// Forges a home's source, and the target of a good copy.
fn forge_both(name: &str, to: &str, least: usize) {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(name);
    forge_each(&copy, least, part(PART_IN_WORDS), part(PART_ON_SOURCE));
    let home = copy.home();
    let migrated = transload(&["migrate", home.to_str().unwrap(), "--to", to, "--yes"]);
    assert_eq!(migrated.code, 0, "{}", migrated.said);
    // Whether a finding is told in words doesn't depend on the engine.
    forge_each(&copy, least, u64::MAX, part(PART_AFTER_COPY));
}

#[test]
fn verify_names_every_record_that_was_forged_on_an_sdk_node_and_after_its_copy() {
    // F25
    forge_both(HOME, "pebble1", 80);
}

#[test]
fn verify_names_every_record_that_was_forged_on_a_node_with_evidence_and_after_its_copy() {
    forge_both("cometbft-0.38-kvstore", "pebble1", 60);
}

#[test]
fn verify_names_every_record_that_was_forged_under_ordered_keys_and_after_its_copy() {
    forge_both("cometbft-1-pebble-v2", "goleveldb", 60);
}

#[test]
fn verify_names_every_record_that_was_forged_in_a_pruned_home_with_orphans() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp-sdk46-pruned");
    forge_each(&copy, 60, part(PART_IN_WORDS), part(PART_ON_SOURCE));
}

/// Nodes of this release have goleveldb and RocksDB alone.
#[cfg(feature = "rocksdb")]
#[test]
fn verify_names_every_record_that_was_forged_after_a_copy_to_rocksdb() {
    forge_both("cosmos-simapp-sdk46-pruned", "rocksdb", 60);
}

#[test]
fn verify_names_every_forged_vote_extension() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of_sample("v0.38-extended");
    let home = Home::read(&copy.home());
    let extended = |forged: &Forged| forged.table == "blockstore/extended_commit";
    let mut made = 0;
    for forgery in &forgeries() {
        let Some(forged) = (forgery.make)(&home).filter(extended) else { continue };
        let copy = copy.again();
        forged.write(&copy.home());
        assert_eq!(forged.faults(forgery.what, &copy.home(), true), Vec::<String>::new());
        made += 1;
    }
    assert_eq!(made, 4);
}

/// The first table file of a database.
fn a_table_file(database: &Path) -> PathBuf {
    let entries = std::fs::read_dir(database).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|it| it == "sst" || it == "ldb"));
    files.swap_remove(0)
}

/// Leaves two thirds of a file.
fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() * 2 / 3]).unwrap();
}

/// A cut-off table file is named, with its database.
fn cut_is_named(home: &Path, database: &str) {
    let table = a_table_file(&home.join("data").join(database));
    cut(&table);
    for json in [None, Some("--json")] {
        let call = ["verify", home.to_str().unwrap()].into_iter().chain(json);
        let outcome = transload(&call.collect::<Vec<_>>());
        let number = table.file_stem().unwrap().to_str().unwrap();
        let told = outcome.shown + &outcome.said;
        assert_eq!(outcome.code, 4, "{told}");
        assert!([database, number].iter().all(|it| told.contains(it)), "{told}");
    }
}

#[test]
fn a_table_file_that_was_cut_off_is_named() {
    cut_is_named(&Copy::of(HOME).home(), "application.db");
    if helper().is_none() {
        return;
    }
    cut_is_named(&Copy::of("cometbft-1-pebble-v2").home(), "blockstore.db");
    for (name, to) in [(HOME, "pebble1"), ("cometbft-1-pebble-v2", "goleveldb")] {
        let copy = Copy::of(name);
        let home = copy.home();
        let migrated = transload(&["migrate", home.to_str().unwrap(), "--to", to, "--yes"]);
        assert_eq!(migrated.code, 0, "{}", migrated.said);
        cut_is_named(&home, "state.db");
    }
}

/// A forgery by its name.
fn named(what: &str) -> Forgery {
    forgeries().into_iter().find(|forgery| forgery.what == what).expect("a forgery of that name")
}

#[test]
fn a_forged_home_is_never_swapped() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    let forged = (named("a byte of a block part").make)(&Home::read(&home)).unwrap();
    forged.write(&home);
    let before = imprint(&home);
    let outcome = transload(&["migrate", home.to_str().unwrap(), "--to", "pebble1", "--yes"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    assert!(outcome.said.contains(&printable_key(&forged.key)), "{}", outcome.said);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
}

#[test]
fn a_target_that_was_forged_after_the_verification_is_never_swapped() {
    if helper().is_none() {
        return;
    }
    for what in ["a byte of a block part", "the hash of an entry by height"] {
        let copy = Copy::of(HOME);
        let home = copy.home();
        let home_text = home.to_str().unwrap();
        let forged = (named(what).make)(&Home::read(&home)).unwrap();
        let copied = transload(&["migrate", home_text, "--to", "pebble1"]);
        assert_eq!(copied.code, 5, "{}", copied.said);
        let before = imprint(&home);
        let mut batch = WriteBatch::new();
        batch.put(&forged.key, forged.changes[0].2.as_deref().unwrap());
        write(&home.join(".transload/attempts/0001/targets").join(forged.database), &batch);
        // Not at the second try either.
        for _ in 0..2 {
            let outcome = transload(&["resume", home_text, "--yes"]);
            assert_eq!(outcome.code, 4, "{what}: {}", outcome.said);
            assert!(outcome.said.contains("somebody has touched it"), "{}", outcome.said);
            assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
        }
        let back = transload(&["rollback", home_text, "--yes"]);
        assert_eq!(back.code, 0, "{}", back.said);
        assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    }
}

/// Events are compared with the source and signed by nobody: what is missing is no finding, and
/// the report says that nothing could tell.
#[test]
fn a_missing_event_is_among_what_can_t_be_authenticated() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = Home::read(&copy.home());
    let event = home.entries(home::INDEX).keys().find(|key| key.starts_with(b"transfer.")).unwrap();
    let mut batch = WriteBatch::new();
    batch.delete(event);
    write(&copy.home().join("data/tx_index.db"), &batch);
    let outcome = transload(&["verify", copy.home().to_str().unwrap()]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(outcome.shown.contains("never authenticated: events, logs"), "{}", outcome.shown);
}
