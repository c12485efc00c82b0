//! Random forgeries: bytes of records that consensus covers, or that follow from such, are
//! changed at random. Every change is found, or is one of those that `docs/chains.md` says can't
//! be.
//!
//! `TRANSLOAD_FORGERIES` sets how many are made, `TRANSLOAD_SEED` which. Databases are in memory,
//! so that one forgery costs one verification.

use super::home::{BLOCKS, Entries};
use super::uncovered;
use crate::homes::Copy;
use crate::shared::{self, Dice, number};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use transload_chains::cometbft::CometBft;
use transload_chains::cometbft::layout::blockstore;
use transload_chains::cometbft::wire::block::BlockStoreState;
use transload_chains::cometbft::wire::results::TxResult;
use transload_model::layout::{Layout, Placement, TableClass};
use transload_model::report::{Verdict, printable_key};
use transload_store::memory::MemoryStore;
use transload_store::{
    Home, HomeView, Opener, Profile as _, Snapshot, Store as _, TrustInput, VerifyOptions,
    VersionChoice,
};

/// Forgeries where nobody has set another number.
const FORGERIES: u64 = 300;

/// Small homes of every release and key layout, cut to some heights (`crates/chains/testdata`).
const SAMPLES: [&str; 7] = [
    "v0.34",
    "v0.38",
    "v0.38-extended",
    "v0.38-genesis",
    "v0.38-pruned",
    "v1-layout1",
    "v1-layout2",
];

/// Whole homes with an application's state, in both forms of IAVL nodes.
const APPLICATIONS: [&str; 2] = ["cosmos-simapp", "cosmos-simapp-sdk46-pruned"];

/// Of so many forgeries one is in an application's state, whose verification takes a hundred
/// times as long.
const ONE_APPLICATION_IN: u64 = 8;

/// A home in memory.
pub(super) struct Held {
    name: &'static str,
    _copy: Copy,
    root: PathBuf,
    /// The first height whose block is kept, and the last.
    pub(super) first: u64,
    pub(super) last: u64,
    databases: BTreeMap<String, Database>,
    /// What `verify` says of it besides.
    notices: Vec<String>,
}

pub(super) struct Database {
    pub(super) entries: Entries,
    snapshot: Arc<dyn Snapshot>,
    layout: Box<dyn Layout>,
    /// What may be forged: authenticated and derived records, by table, each with its height.
    tables: BTreeMap<String, Vec<Place>>,
}

/// A record's key, and its height where it has one.
type Place = (Vec<u8>, Option<u64>);

struct Opened<'h> {
    held: &'h Held,
    forged: (&'h str, Arc<dyn Snapshot>),
}

impl Opener for Opened<'_> {
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>> {
        if database == self.forged.0 {
            return Some(Arc::clone(&self.forged.1));
        }
        self.held.databases.get(database).map(|database| Arc::clone(&database.snapshot))
    }
}

fn in_memory(entries: &Entries) -> Arc<dyn Snapshot> {
    MemoryStore::with(entries.clone()).snapshot().unwrap()
}

impl Held {
    fn new(name: &'static str, copy: Copy, read: impl Fn(&Path) -> Option<Entries>) -> Self {
        let root = copy.home();
        let home = CometBft.recognise(&root).unwrap().unwrap();
        let mut databases = BTreeMap::new();
        for database in &home.databases {
            let Some(entries) = read(&root.join("data").join(&database.name)) else { continue };
            let snapshot = in_memory(&entries);
            let layout = CometBft.layout(&home, database, &*snapshot).unwrap();
            let tables = certain(&*layout, &entries);
            let held = Database { entries, snapshot, layout, tables };
            databases.insert(database.name.clone(), held);
        }
        let stored = &databases[BLOCKS].entries[blockstore::STATE_KEY];
        let (first, last) = BlockStoreState::decode(stored).unwrap().range().unwrap();
        let notices = Vec::new();
        let good = Self { name, _copy: copy, root, first, last, databases, notices };
        let notices = good.verify(BLOCKS, &good.databases[BLOCKS].entries).notices;
        Self { notices, ..good }
    }

    fn home(&self) -> Home {
        CometBft.recognise(&self.root).unwrap().unwrap()
    }

    fn verify(&self, database: &str, entries: &Entries) -> Verdict {
        let home = self.home();
        let opened = Opened { held: self, forged: (database, in_memory(entries)) };
        // Others may be verifying the same home.
        let scratch = tempfile::tempdir().unwrap();
        let options = VerifyOptions {
            trust: TrustInput::default(),
            versions: VersionChoice::All,
            memory_bytes_max: 64 << 20,
            workers: 1,
            scratch_dir: scratch.path().to_owned(),
        };
        let view = HomeView { home: &home, databases: &opened, is_written: false };
        CometBft.verify(view, &options, &|_, _| true).unwrap()
    }
}

/// Keys of the records that are authenticated or derived, by table.
fn certain(layout: &dyn Layout, entries: &Entries) -> BTreeMap<String, Vec<Place>> {
    let (mut tables, mut canonical) = (BTreeMap::new(), Vec::new());
    for (key, value) in entries {
        let Placement::Record { table, .. } = layout.place(key, value, &mut canonical) else {
            continue;
        };
        let spec = &layout.tables()[table];
        if matches!(spec.class, TableClass::Authenticated | TableClass::Derived) {
            let keys: &mut Vec<_> = tables.entry(spec.name.as_str().to_owned()).or_default();
            let height = height_of(spec.name.as_str(), &canonical, value);
            keys.push((key.clone(), height));
        }
    }
    tables
}

/// The height in a record's key or, of a hash, in its value.
fn height_of(table: &str, canonical: &[u8], value: &[u8]) -> Option<u64> {
    match table {
        "blockstore/hash_index" => std::str::from_utf8(value).ok()?.parse().ok(),
        "tx_index/result" => u64::try_from(TxResult::decode(value).ok()?.height).ok(),
        _ => canonical.first_chunk().map(|height| u64::from_be_bytes(*height)),
    }
}

/// What was changed, to be judged and told.
pub(super) struct Change<'h> {
    pub(super) held: &'h Held,
    database: &'h str,
    pub(super) table: &'h str,
    pub(super) key: &'h [u8],
    /// The height in the record's key or, of a hash, in its value.
    pub(super) height: Option<u64>,
    /// Where a copy went: its table and height.
    pub(super) copied_to: Option<(String, Option<u64>)>,
    /// Whether there was another record.
    pub(super) copied_over: bool,
    pub(super) how: &'static str,
    pub(super) before: &'h [u8],
    /// The record's value now; `None` when there is none under its key any more.
    pub(super) after: Option<Vec<u8>>,
    /// What `verify` says besides and didn't say of the good home.
    pub(super) notices: Vec<String>,
}

/// Makes one forgery. The dice decide the table first, so that small ones get their share.
fn forge<'h>(held: &'h Held, dice: &mut Dice) -> (Change<'h>, Entries) {
    let tables: Vec<(&str, &str)> = held
        .databases
        .iter()
        .flat_map(|(name, database)| database.tables.keys().map(|table| (name.as_str(), &**table)))
        .collect();
    let (name, table) = tables[dice.below(tables.len())];
    let database = &held.databases[name];
    let keys = &database.tables[table];
    let (key, height) = &keys[dice.below(keys.len())];
    let mut entries = database.entries.clone();
    let before = &database.entries[key];
    let mut value = before.clone();
    let at = dice.below(value.len().max(1));
    let (mut copied_to, mut copied_over) = (None, false);
    let how = match dice.below(12) {
        0 => {
            entries.remove(key);
            "dropped"
        }
        1 => {
            let (other, _) = &keys[dice.below(keys.len())];
            value.clone_from(&database.entries[other]);
            "replaced by another of its table"
        }
        2 => {
            let (other, _) = &keys[dice.below(keys.len())];
            entries.insert(other.clone(), value.clone());
            value.clone_from(&database.entries[other]);
            "exchanged with another of its table"
        }
        3 => {
            let mut key = key.clone();
            let at = dice.below(key.len());
            key[at] ^= 1 << dice.below(8);
            copied_to = placed(&*database.layout, &key, &value);
            copied_over = entries.insert(key, value.clone()).is_some();
            "copied under a key with another bit"
        }
        4 => {
            value.truncate(at);
            "cut off"
        }
        5 => {
            value.insert(at, byte(dice));
            "lengthened by a byte"
        }
        6 if !value.is_empty() => {
            value[at] = byte(dice);
            "changed in a byte"
        }
        7 => {
            let end = (at + 1 + dice.below(16)).min(value.len());
            value[at.min(end)..end].iter_mut().for_each(|old| *old = byte(dice));
            "changed in a run of bytes"
        }
        _ if !value.is_empty() => {
            value[at] ^= 1 << dice.below(8);
            "changed in a bit"
        }
        _ => {
            value.push(byte(dice));
            "lengthened by a byte"
        }
    };
    let after = (how != "dropped").then(|| value.clone());
    if let Some(value) = &after {
        entries.insert(key.clone(), value.clone());
    }
    let height = *height;
    let notices = Vec::new();
    let database = name;
    let change = Change {
        held,
        database,
        table,
        key,
        height,
        copied_to,
        copied_over,
        how,
        before,
        after,
        notices,
    };
    (change, entries)
}

/// Table and height of an entry.
fn placed(layout: &dyn Layout, key: &[u8], value: &[u8]) -> Option<(String, Option<u64>)> {
    let mut canonical = Vec::new();
    let Placement::Record { table, .. } = layout.place(key, value, &mut canonical) else {
        return None;
    };
    let name = layout.tables()[table].name.as_str().to_owned();
    let height = height_of(&name, &canonical, value);
    Some((name, height))
}

/// A number from the environment.
/// Whether nothing was changed after all.
fn is_idle(change: &Change<'_>, entries: &Entries) -> bool {
    *entries == change.held.databases[change.database].entries
}

#[test]
#[allow(clippy::print_stdout, reason = "the seed is for whoever repeats the run")]
fn random_forgeries_are_found_or_are_said_to_be_beyond_any_check() {
    let seed = number("TRANSLOAD_SEED").unwrap_or(1);
    let forgeries = number("TRANSLOAD_FORGERIES").unwrap_or(FORGERIES);
    println!("seed {seed}, {forgeries} forgeries (TRANSLOAD_SEED, TRANSLOAD_FORGERIES)");
    let samples: Vec<Held> = SAMPLES
        .into_iter()
        .map(|name| {
            let (copy, databases) = Copy::of_sample_in_memory(name);
            Held::new(name, copy, |path| {
                databases.get(path.file_name()?.to_str()?).filter(|it| !it.is_empty()).cloned()
            })
        })
        .collect();
    let applications = APPLICATIONS
        .map(|name| Held::new(name, Copy::of(name), |path| Some(super::home::entries(path))));
    let told = Mutex::new((Vec::new(), BTreeMap::<&str, u64>::new()));
    let numbers: Vec<u64> = (0..forgeries).collect();
    shared::each(shared::cores(), &numbers, |number| {
        let mut dice = Dice::of(seed, number);
        let held = if number.is_multiple_of(ONE_APPLICATION_IN) {
            &applications[dice.below(applications.len())]
        } else {
            &samples[dice.below(samples.len())]
        };
        let (mut change, entries) = forge(held, &mut dice);
        let outcome = if is_idle(&change, &entries) {
            Ok("nothing was changed")
        } else {
            let mut verdict = held.verify(change.database, &entries);
            verdict.notices.retain(|notice| !held.notices.contains(notice));
            change.notices = std::mem::take(&mut verdict.notices);
            if verdict.failed() > 0 {
                Ok("found")
            } else {
                uncovered::reason(&change).ok_or_else(|| tell(number, &change))
            }
        };
        let mut told = told.lock().unwrap();
        match outcome {
            Ok(word) => *told.1.entry(word).or_default() += 1,
            Err(fault) => told.0.push(fault),
        }
    });
    let (faults, counts) = told.into_inner().unwrap();
    println!("{counts:#?}");
    assert!(faults.is_empty(), "{} unnoticed:\n{}", faults.len(), faults.join("\n"));
    assert!(counts["found"] * 2 > forgeries, "{counts:?}");
}

fn tell(number: u64, change: &Change<'_>) -> String {
    let hex = |bytes: &[u8]| {
        let shown: Vec<u8> = bytes.iter().copied().take(4_000).collect();
        hex::encode(shown)
    };
    let (before, after) = (change.before, change.after.as_deref().unwrap_or_default());
    let to = change.copied_to.as_ref().map(|to| format!(" ({to:?})")).unwrap_or_default();
    let same = before.iter().zip(after).take_while(|(one, two)| one == two).count();
    format!(
        "forgery {number}: {}: {} {} {}{to}, from byte {same} of {}\n  before {}\n  after  {}",
        change.held.name,
        change.table,
        printable_key(change.key),
        change.how,
        before.len(),
        hex(&before[same.saturating_sub(8)..]),
        hex(&after[same.saturating_sub(8)..]),
    )
}

fn byte(dice: &mut Dice) -> u8 {
    dice.roll(u64::MAX).to_be_bytes()[0]
}
