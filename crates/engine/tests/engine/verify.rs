//! What the verification of a database finds.

use crate::files::Entries;
use transload_engine::{
    ChunkLog, CopyJob, Kind, Limits, MemoryLog, Result, VerifiedDatabase, VerifyJob, Watch,
    aligned_ranges, copy_database, verify_database,
};
use transload_model::layout::RawLayout;
use transload_model::record::TableName;
use transload_store::memory::MemoryStore;
use transload_store::{Durability, KeyRange, Store, WriteBatch};

struct Pair {
    source: MemoryStore,
    target: MemoryStore,
    layout: RawLayout,
    ranges: Vec<KeyRange>,
    log: MemoryLog,
}

const LIMITS: Limits = Limits {
    memory_bytes_max: 1 << 20,
    chunk_bytes: 64 << 10,
    workers: 2,
    batch_bytes_max: 4096,
    ..Limits::DEFAULT
};

fn content() -> Entries {
    (0..3_000u32).map(|n| (format!("k{n:06}").into_bytes(), vec![1; 80])).collect()
}

impl Pair {
    /// A source and its good copy.
    fn copied() -> Self {
        let source = MemoryStore::with(content());
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let snapshot = source.snapshot().unwrap();
        let ranges = aligned_ranges(&*snapshot, &layout, LIMITS.chunk_bytes).unwrap();
        let pair =
            Self { source, target: MemoryStore::new(), layout, ranges, log: MemoryLog::default() };
        let job = CopyJob {
            database: "a.db",
            source: &*snapshot,
            layout: &pair.layout,
            target: &pair.target,
            ranges: &pair.ranges,
            rule: None,
            made_by: &[],
            tally: true,
            limits: LIMITS,
        };
        let totals = copy_database(job, &pair.log, &Watch::default()).unwrap();
        assert_eq!(totals.entries, 3_000);
        pair
    }

    fn verify(&self) -> Result<VerifiedDatabase> {
        let job = VerifyJob {
            database: "a.db",
            source: &*self.source.snapshot().unwrap(),
            target: &*self.target.snapshot().unwrap(),
            layout: &self.layout,
            made_by: &[],
            ranges: &self.ranges,
            limits: LIMITS,
        };
        verify_database(job, &self.log, &Watch::default())
    }
}

fn put(store: &MemoryStore, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    store.write(&batch, Durability::Synced).unwrap();
}

fn difference(pair: &Pair) -> String {
    let error = pair.verify().unwrap_err();
    assert_eq!(error.kind(), Kind::Difference, "{error}");
    error.to_string()
}

#[test]
fn a_good_copy_is_verified_and_counted() {
    let verified = Pair::copied().verify().unwrap();
    assert_eq!((verified.entries(), verified.tables()[0].records), (3_000, 3_000));
    assert!(verified.chunks() > 2);
}

#[test]
fn a_key_too_many_is_found_wherever_it_stands() {
    // F5: before the first key, between, in the last chunk, after the last key.
    for extra in [&b"a"[..], b"k000007x", b"k002999x", b"zzz"] {
        let pair = Pair::copied();
        put(&pair.target, extra, b"");
        let text = difference(&pair);
        let key = String::from_utf8(extra.to_vec()).unwrap();
        assert!(text.contains("only in the target") && text.contains(&key), "{text}");
    }
}

#[test]
fn a_missing_key_and_a_changed_value_are_named() {
    let pair = Pair::copied();
    let mut batch = WriteBatch::new();
    batch.delete(b"k000042");
    pair.target.write(&batch, Durability::Synced).unwrap();
    assert!(difference(&pair).contains("missing in the target (check target_equals_source"));
    let pair = Pair::copied();
    put(&pair.target, b"k001234", b"other");
    let text = difference(&pair);
    assert!(text.contains("the values differ") && text.contains("k001234"), "{text}");
}

#[test]
fn a_source_that_changed_after_the_copy_is_found() {
    // F26
    let pair = Pair::copied();
    put(&pair.source, b"k003000", b"a new block");
    assert!(difference(&pair).contains("the source is not what it was"));
}

#[test]
fn a_chunk_that_differs_counts_as_not_copied_any_more() {
    let pair = Pair::copied();
    put(&pair.target, b"a", b"");
    difference(&pair);
    assert_eq!(pair.log.copied("a.db", 0).unwrap(), None);
    assert_eq!(pair.verify().unwrap_err().kind(), Kind::Stopped);
}

#[test]
fn chunks_with_a_gap_between_them_are_no_verification() {
    let mut pair = Pair::copied();
    pair.ranges.remove(1);
    assert_eq!(pair.verify().unwrap_err().kind(), Kind::Stopped);
    pair.ranges.clear();
    assert_eq!(pair.verify().unwrap_err().kind(), Kind::Stopped);
}
