//! Bulk loading: chunks in any order and at the same time, whole or not at all, twice the same.

use super::{Entries, Part, Subject, awkward_entries, content, numbered_entries};
use crate::{BulkLoad, KeyRange, Kind, Store};

pub(super) const PARTS: &[Part] = &[
    ("an_undeclared_bulk_load_is_unsupported", an_undeclared_bulk_load_is_unsupported),
    ("chunks_load_in_any_order_and_at_once", chunks_load_in_any_order_and_at_once),
    ("chunks_whose_ranges_overlap_keep_all_their_entries", overlapping_chunks_keep_all),
    ("a_chunk_without_commit_leaves_nothing", a_chunk_without_commit_leaves_nothing),
    ("a_chunk_loaded_again_is_the_same", a_chunk_loaded_again_is_the_same),
    ("unsorted_and_foreign_keys_are_refused", unsorted_and_foreign_keys_are_refused),
    ("entries_beyond_the_limits_are_refused", entries_beyond_the_limits_are_refused),
    ("a_committed_chunk_survives_a_crash", a_committed_chunk_survives_a_crash),
    ("awkward_entries_load", awkward_entries_load),
];

fn loadable(subject: &dyn Subject) -> Option<Box<dyn Store>> {
    subject.target().filter(|store| store.capabilities().bulk_load)
}

fn load_chunk(load: &dyn BulkLoad, range: &KeyRange, entries: &Entries) {
    let mut chunk = load.chunk(range).expect("a chunk");
    for (key, value) in entries.iter().filter(|(key, _)| range.contains(key)) {
        chunk.put(key, value).expect("a put");
    }
    chunk.commit().expect("a commit");
}

fn an_undeclared_bulk_load_is_unsupported(subject: &dyn Subject) {
    let readable = subject.filled(&Entries::new());
    if !readable.capabilities().bulk_load {
        let refusal = readable.bulk_load().err().expect("not declared");
        assert_eq!(refusal.kind(), Kind::Unsupported);
    }
    if let Some(target) = subject.target().filter(|store| !store.capabilities().bulk_load) {
        assert_eq!(target.bulk_load().err().expect("not declared").kind(), Kind::Unsupported);
    }
}

fn chunks_load_in_any_order_and_at_once(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let entries = numbered_entries(6_000, 300);
    let points: Vec<Vec<u8>> =
        (1..6).map(|part| format!("n/{:08}", part * 1_000).into_bytes()).collect();
    let mut ranges = KeyRange::all().split_at(&points);
    ranges.reverse();
    let load = store.bulk_load().expect("a bulk load");
    std::thread::scope(|scope| {
        for pair in ranges.chunks(2) {
            let (load, entries) = (&load, &entries);
            scope.spawn(move || {
                for range in pair {
                    load_chunk(&**load, range, entries);
                }
            });
        }
    });
    drop(load);
    assert_eq!(content(&*store), entries);
    store.close().expect("a clean close");
    assert_eq!(content(&*subject.reopen().expect("reopened")), entries);
}

/// Chunks of a database in another order have keys of their own and ranges that overlap.
fn overlapping_chunks_keep_all(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let entries = numbered_entries(6_000, 300);
    let load = store.bulk_load().expect("a bulk load");
    let third = |part: usize| -> Entries {
        let of_part = entries.iter().skip(part).step_by(3);
        of_part.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (load, third) = (&load, &third);
            scope.spawn(move || load_chunk(&**load, &KeyRange::all(), &third(part)));
        }
    });
    drop(load);
    assert_eq!(content(&*store), entries);
    store.close().expect("a clean close");
    assert_eq!(content(&*subject.reopen().expect("reopened")), entries);
}

fn a_chunk_without_commit_leaves_nothing(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let entries = numbered_entries(100, 100);
    let load = store.bulk_load().expect("a bulk load");
    let mut chunk = load.chunk(&KeyRange::all()).expect("a chunk");
    for (key, value) in &entries {
        chunk.put(key, value).expect("a put");
    }
    drop(chunk);
    assert_eq!(content(&*store), Entries::new());
    load_chunk(&*load, &KeyRange::all(), &Entries::new());
    assert_eq!(content(&*store), Entries::new(), "an empty chunk is fine");
    load_chunk(&*load, &KeyRange::all(), &entries);
    assert_eq!(content(&*store), entries, "the range can be loaded after it was given up");
}

fn a_chunk_loaded_again_is_the_same(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let entries = numbered_entries(3_000, 300);
    let range = KeyRange::new(*b"n/00001000", *b"n/00002000");
    let load = store.bulk_load().expect("a bulk load");
    load_chunk(&*load, &KeyRange::all(), &entries);
    load_chunk(&*load, &range, &entries);
    assert_eq!(content(&*store), entries);
    drop(load);
    store.close().expect("a clean close");
    assert_eq!(content(&*subject.reopen().expect("reopened")), entries);
}

fn unsorted_and_foreign_keys_are_refused(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let load = store.bulk_load().expect("a bulk load");
    let faults: [&[&[u8]]; 4] = [&[b"b", b"a"], &[b"b", b"b"], &[b"0"], &[b"x"]];
    for keys in faults {
        let mut chunk = load.chunk(&KeyRange::new(*b"a", *b"x")).expect("a chunk");
        let put: crate::Result<()> = keys.iter().try_for_each(|key| chunk.put(key, b""));
        let refusal = match put {
            Err(refusal) => refusal,
            Ok(()) => chunk.commit().expect_err("a bad chunk was committed"),
        };
        assert_eq!(refusal.kind(), Kind::InvalidInput, "keys {keys:?}");
    }
    assert_eq!(content(&*store), Entries::new());
}

/// A copy looks at all keys before it begins, and relies on this for values.
fn entries_beyond_the_limits_are_refused(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let limits = store.guarantees();
    let load = store.bulk_load().expect("a bulk load");
    for (key, value) in [(limits.key_bytes_max + 1, 0), (1, limits.value_bytes_max + 1)] {
        let mut chunk = load.chunk(&KeyRange::all()).expect("a chunk");
        let refusal = chunk.put(&vec![b'k'; key], &vec![0; value]).expect_err("too long");
        assert_eq!(refusal.kind(), Kind::InvalidInput, "a key of {key}, a value of {value} bytes");
    }
    assert_eq!(content(&*store), Entries::new());
}

fn a_committed_chunk_survives_a_crash(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    if !store.guarantees().durable_sync {
        return;
    }
    let entries = numbered_entries(1_000, 100);
    let range = KeyRange::new(*b"n/00000000", *b"n/00000500");
    let load = store.bulk_load().expect("a bulk load");
    load_chunk(&*load, &range, &entries);
    drop(load);
    drop(store);
    let after = content(&*subject.reopen().expect("reopened"));
    let expected: Entries = entries.into_iter().filter(|(key, _)| range.contains(key)).collect();
    assert_eq!(after, expected);
}

fn awkward_entries_load(subject: &dyn Subject) {
    let Some(store) = loadable(subject) else { return };
    let entries = awkward_entries(store.guarantees().key_bytes_max);
    let load = store.bulk_load().expect("a bulk load");
    load_chunk(&*load, &KeyRange::all(), &entries);
    drop(load);
    store.close().expect("a clean close");
    assert_eq!(content(&*subject.reopen().expect("reopened")), entries);
}
