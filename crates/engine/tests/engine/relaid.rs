//! What the comparison of two layouts finds.

use crate::files::Entries;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_engine::{
    CopyJob, Kind, Limits, MemoryLog, OnTheWay, RelaidJob, Result, VerifiedDatabase, Watch,
    aligned_ranges, copy_database, sample, verify_relaid,
};
use transload_model::layout::{
    BookkeepingEntry, Layout, NoPhysicalForm, Placement, TableClass, TableSpec,
};
use transload_model::record::TableName;
use transload_store::memory::MemoryStore;
use transload_store::{
    Durability, KeyRange, PutEntry, Rekey, Reshape, ReshapePass, Store, Transform, WayBack,
    WriteBatch,
};

const LIMITS: Limits = Limits {
    memory_bytes_max: 1 << 20,
    chunk_bytes: 64 << 10,
    workers: 2,
    batch_bytes_max: 4096,
    ..Limits::DEFAULT
};

/// Numbers as text or as bytes: a stream a digit count in text.
#[derive(Debug)]
struct Numbers {
    is_text: bool,
    tables: [TableSpec; 2],
}

impl Numbers {
    fn new(is_text: bool) -> Self {
        let table = |name: &str| TableSpec {
            name: TableName::new(name).unwrap(),
            class: TableClass::EqualOnly,
            about: "of the test",
        };
        Self { is_text, tables: [table("numbers"), table("unknown")] }
    }

    fn number(&self, key: &[u8]) -> Option<u32> {
        if !self.is_text {
            return Some(u32::from_be_bytes(key.strip_prefix(b"\x80")?.try_into().ok()?));
        }
        let text = std::str::from_utf8(key.strip_prefix(b"n:")?).ok()?;
        text.parse().ok().filter(|number: &u32| number.to_string() == text)
    }
}

impl Layout for Numbers {
    fn id(&self) -> &'static str {
        if self.is_text { "text" } else { "bytes" }
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        canonical.clear();
        if key == b"version" {
            return Placement::Bookkeeping;
        }
        let Some(number) = self.number(key) else {
            canonical.extend_from_slice(key);
            return Placement::Record { table: 1, stream: 0, ordered_prefix_bytes: None };
        };
        canonical.extend_from_slice(&number.to_be_bytes());
        let digits = u32::try_from(number.to_string().len()).unwrap();
        let stream = if self.is_text { digits } else { 0 };
        Placement::Record { table: 0, stream, ordered_prefix_bytes: None }
    }

    fn physical(
        &self,
        table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> std::result::Result<(), NoPhysicalForm> {
        physical.clear();
        match (table, self.is_text) {
            (0, true) => {
                let number = u32::from_be_bytes(canonical.try_into().unwrap());
                physical.extend_from_slice(format!("n:{number}").as_bytes());
            }
            (0, false) => physical.extend_from_slice(&[b"\x80", canonical].concat()),
            _ => physical.extend_from_slice(canonical),
        }
        Ok(())
    }

    fn bookkeeping(&self) -> &'static [BookkeepingEntry] {
        if self.is_text { &[(b"version", b"text")] } else { &[(b"version", b"bytes")] }
    }
}

/// A source and its target in the other layout.
struct Pair {
    layouts: [Numbers; 2],
    source: MemoryStore,
    target: MemoryStore,
    ranges: Vec<KeyRange>,
    log: MemoryLog,
}

fn content(layout: &Numbers) -> Entries {
    let mut entries = Entries::from([
        (b"version".to_vec(), layout.bookkeeping()[0].1.to_vec()),
        (b"unheard of".to_vec(), b"kept".to_vec()),
    ]);
    for number in (0..3_000u32).chain(900_000..901_000) {
        let mut key = Vec::new();
        layout.physical(0, &number.to_be_bytes(), &mut key).unwrap();
        entries.insert(key, vec![u8::try_from(number % 251).unwrap(); 80]);
    }
    entries
}

impl Pair {
    fn copied(from_text: bool) -> Self {
        let layouts = [Numbers::new(from_text), Numbers::new(!from_text)];
        let source = MemoryStore::with(content(&layouts[0]));
        let snapshot = source.snapshot().unwrap();
        let ranges = aligned_ranges(&*snapshot, &layouts[0], LIMITS.chunk_bytes).unwrap();
        let (target, log) = (MemoryStore::new(), MemoryLog::default());
        let pair = Self { layouts, source, target, ranges, log };
        pair.copy().unwrap();
        pair
    }

    fn rule(&self) -> Rekey<'_> {
        Rekey::new(&self.layouts[0], &self.layouts[1]).unwrap()
    }

    fn copy(&self) -> Result<()> {
        self.copy_by(&self.rule())
    }

    fn copy_by(&self, rule: &dyn Reshape) -> Result<()> {
        let made_by = [rule.transform().to_string()];
        let job = CopyJob {
            database: "a.db",
            source: &*self.source.snapshot().unwrap(),
            layout: &self.layouts[0],
            rule: Some(rule),
            made_by: &made_by,
            target: &self.target,
            ranges: &self.ranges,
            tally: false,
            limits: LIMITS,
        };
        copy_database(job, &self.log, &Watch::default()).map(drop)
    }

    fn verify(&self) -> Result<VerifiedDatabase> {
        self.verify_by(&self.rule())
    }

    fn verify_by(&self, rule: &dyn Reshape) -> Result<VerifiedDatabase> {
        let made_by = [rule.transform().to_string()];
        let target = self.target.snapshot().unwrap();
        let target_ranges = aligned_ranges(&*target, &self.layouts[1], LIMITS.chunk_bytes).unwrap();
        let job = RelaidJob {
            database: "a.db",
            source: &*self.source.snapshot().unwrap(),
            target: &*target,
            rule,
            made_by: &made_by,
            ranges: &self.ranges,
            target_ranges: &target_ranges,
            limits: LIMITS,
        };
        verify_relaid(job, &self.log, &Watch::default())
    }

    /// What the target holds.
    fn found(&self) -> Entries {
        let snapshot = self.target.snapshot().unwrap();
        let mut scan = transload_store::Scan::new(&*snapshot, &KeyRange::all()).unwrap();
        let mut entries = Entries::new();
        while let Some((key, value)) = scan.next().unwrap() {
            entries.insert(key.to_vec(), value.to_vec());
        }
        entries
    }

    fn key(&self, number: u32) -> Vec<u8> {
        let mut key = Vec::new();
        self.layouts[1].physical(0, &number.to_be_bytes(), &mut key).unwrap();
        key
    }
}

fn change(store: &MemoryStore, key: &[u8], value: Option<&[u8]>) {
    let mut batch = WriteBatch::new();
    match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    }
    store.write(&batch, Durability::Synced).unwrap();
}

fn difference(pair: &Pair) -> String {
    let error = pair.verify().unwrap_err();
    assert_eq!(error.kind(), Kind::Difference, "{error}");
    error.to_string()
}

#[test]
fn every_record_is_carried_to_its_other_key_and_the_roots_are_equal() {
    for from_text in [true, false] {
        let pair = Pair::copied(from_text);
        assert_eq!(pair.found(), content(&pair.layouts[1]));
        let verified = pair.verify().unwrap();
        assert_eq!(verified.entries(), 4_002);
        assert_eq!(verified.tables()[0].records, 4_000);
        assert_eq!(verified.tables()[1].records, 1);
        assert!(verified.chunks() > 2);
    }
}

#[test]
fn a_missing_an_extra_and_a_changed_record_are_named_with_their_table() {
    let pair = Pair::copied(true);
    change(&pair.target, &pair.key(1_234), None);
    let text = difference(&pair);
    assert!(text.contains("missing in the target") && text.contains("n:1234"), "{text}");
    let pair = Pair::copied(false);
    change(&pair.target, b"n:3000", Some(b""));
    let text = difference(&pair);
    assert!(text.contains("only in the target") && text.contains("n:3000"), "{text}");
    let pair = Pair::copied(false);
    change(&pair.target, &pair.key(900_007), Some(b"other"));
    let text = difference(&pair);
    assert!(text.contains("the values differ") && text.contains("numbers"), "{text}");
    let pair = Pair::copied(true);
    change(&pair.target, b"unheard of", Some(b"lost"));
    assert!(difference(&pair).contains("unknown"));
}

#[test]
fn what_the_new_layout_says_of_itself_must_be_there_and_nothing_else() {
    let pair = Pair::copied(true);
    change(&pair.target, b"version", None);
    assert!(difference(&pair).contains("its layout prescribes"));
    let pair = Pair::copied(true);
    change(&pair.target, b"version", Some(b"text"));
    assert!(difference(&pair).contains("is not what bytes prescribes"));
}

#[test]
fn a_source_that_changed_after_the_copy_to_another_layout_is_found() {
    // F26
    let pair = Pair::copied(true);
    change(&pair.source, b"n:77", Some(b"a new block"));
    assert!(difference(&pair).contains("the source is not what it was"));
}

#[test]
fn a_key_that_means_something_else_in_the_new_layout_is_refused_by_name() {
    let mut pair = Pair::copied(true);
    change(&pair.source, b"\x80\0\0\0\x07", Some(b"unknown here"));
    (pair.target, pair.log) = (MemoryStore::new(), MemoryLog::default());
    let error = pair.copy().unwrap_err();
    assert_eq!(error.kind(), Kind::Difference);
    assert!(error.to_string().contains("another meaning in bytes"), "{error}");
    assert!(error.to_string().contains("unknown"), "{error}");
}

#[test]
fn a_copy_that_is_done_again_ends_with_the_same_target() {
    let pair = Pair::copied(true);
    // As after a kill: the target has the chunks already, and no log knows them.
    let again = Pair { log: MemoryLog::default(), target: pair.target.clone(), ..pair };
    again.copy().unwrap();
    assert_eq!(again.found(), content(&again.layouts[1]));
    let _ = again.verify().unwrap();
}

/// Rekeys, and does something to values that no transform may do.
struct Bad<'a> {
    rekey: Rekey<'a>,
    /// Flips a coin for each value; otherwise every value gets the same byte more.
    flips: Option<AtomicU64>,
}

impl Reshape for Bad<'_> {
    fn transform(&self) -> Transform {
        let way_back = WayBack::OneWay("of the test".into());
        Transform { id: "bad", version: 7, way_back, ..self.rekey.transform() }
    }

    fn source(&self) -> &dyn Layout {
        self.rekey.source()
    }

    fn target(&self) -> &dyn Layout {
        self.rekey.target()
    }

    fn pass(&self) -> Box<dyn ReshapePass + '_> {
        Box::new(BadPass { rekey: self.rekey.pass(), flips: self.flips.as_ref() })
    }
}

struct BadPass<'a> {
    rekey: Box<dyn ReshapePass + 'a>,
    flips: Option<&'a AtomicU64>,
}

impl ReshapePass for BadPass<'_> {
    fn entry(
        &mut self,
        key: &[u8],
        value: &[u8],
        put: &mut PutEntry<'_>,
    ) -> transload_store::Result<()> {
        let tossed = self.flips.map_or(1, |flips| {
            // A hash of how often it was asked: another series each time.
            flips.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63
        });
        let value = [value, &b"!"[..usize::try_from(tossed).unwrap()]].concat();
        self.rekey.entry(key, &value, put)
    }
}

#[test]
fn a_transform_that_flips_a_coin_is_found_and_named() {
    let mut pair = Pair::copied(true);
    (pair.target, pair.log) = (MemoryStore::new(), MemoryLog::default());
    let bad = Bad { rekey: pair.rule(), flips: Some(AtomicU64::new(0)) };
    pair.copy_by(&bad).unwrap();
    let error = pair.verify_by(&bad).unwrap_err();
    assert_eq!(error.kind(), Kind::Difference, "{error}");
    assert!(error.to_string().contains("bad 7 isn't deterministic"), "{error}");
}

#[test]
fn what_another_transform_has_made_is_not_taken() {
    let pair = Pair::copied(true);
    let bad = Bad { rekey: pair.rule(), flips: None };
    for error in [pair.copy_by(&bad).unwrap_err(), pair.verify_by(&bad).unwrap_err()] {
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        let text = error.to_string();
        assert!(text.contains("rekey 1") && text.contains("bad 7"), "{text}");
    }
}

#[test]
fn a_value_under_a_certificate_is_not_transformed() {
    let mut pair = Pair::copied(true);
    (pair.target, pair.log) = (MemoryStore::new(), MemoryLog::default());
    for layout in &mut pair.layouts {
        layout.tables[0].class = TableClass::Authenticated;
    }
    let bad = Bad { rekey: pair.rule(), flips: None };
    let error = pair.copy_by(&bad).unwrap_err();
    assert_eq!(error.kind(), Kind::Difference, "{error}");
    assert!(error.to_string().contains("under a certificate"), "{error}");
    assert!(error.to_string().contains("numbers"), "{error}");
    let way = OnTheWay { reshape: Some(&bad), trim: None };
    let source = pair.source.snapshot().unwrap();
    let planned = sample(&*source, &pair.layouts[0], way, &Watch::default()).unwrap_err();
    assert_eq!(planned.kind(), Kind::Refused, "{planned}");
    // The same to a table that nobody signs is no matter of certificates.
    for layout in &mut pair.layouts {
        layout.tables[0].class = TableClass::EqualOnly;
    }
    let bad = Bad { rekey: pair.rule(), flips: None };
    (pair.copy_by(&bad)).unwrap();
}
