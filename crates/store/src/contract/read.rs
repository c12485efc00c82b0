//! Reading: gets, ranges, order, receipts, split points, snapshots that don't move.

use super::{Entries, Part, Subject, awkward_entries, content, numbered_entries};
use crate::{KEY_BYTES_MAX, KeyRange, Kind, Scan, ScanDigest, Snapshot};
use std::ops::ControlFlow;
use std::sync::Arc;

pub(super) const PARTS: &[Part] = &[
    ("an_empty_store_has_no_entries", an_empty_store_has_no_entries),
    ("every_entry_is_read_back_exactly", every_entry_is_read_back_exactly),
    ("many_keys_at_once_are_answered_like_each_alone", many_keys_at_once),
    ("ranges_hold_just_their_keys", ranges_hold_just_their_keys),
    ("receipts_exist_only_at_the_end", receipts_exist_only_at_the_end),
    ("split_points_lie_in_the_range_and_lose_nothing", split_points_lose_nothing),
    ("many_cursors_read_at_the_same_time", many_cursors_read_at_the_same_time),
];

fn an_empty_store_has_no_entries(subject: &dyn Subject) {
    let store = subject.filled(&Entries::new());
    assert_eq!(content(&*store), Entries::new());
    let snapshot = store.snapshot().expect("a snapshot");
    assert_eq!(snapshot.get(b"").expect("a get"), None);
    assert_eq!(snapshot.get(b"a").expect("a get"), None);
    assert_eq!(snapshot.split_points(&KeyRange::all(), 1).expect("points"), Vec::<Vec<u8>>::new());
}

fn every_entry_is_read_back_exactly(subject: &dyn Subject) {
    let limit = subject.filled(&Entries::new()).guarantees().key_bytes_max;
    let entries = awkward_entries(limit);
    let store = subject.filled(&entries);
    assert_eq!(content(&*store), entries);
    let snapshot = store.snapshot().expect("a snapshot");
    for (key, value) in &entries {
        assert_eq!(snapshot.get(key).expect("a get").as_ref(), Some(value), "key {key:?}");
        let mut absent = key.clone();
        absent.push(1);
        if !entries.contains_key(&absent) && absent.len() <= limit {
            assert_eq!(snapshot.get(&absent).expect("a get"), None, "key {absent:?}");
        }
    }
}

fn many_keys_at_once(subject: &dyn Subject) {
    let limit = subject.filled(&Entries::new()).guarantees().key_bytes_max;
    let mut entries = awkward_entries(limit);
    // More than an answer of 1 MiB holds, some of it in values larger than that.
    entries.extend(numbered_entries(6_000, 300));
    for number in 0..3 {
        entries.insert(format!("large/{number}").into_bytes(), vec![number; 2 << 20]);
    }
    let store = subject.filled(&entries);
    let snapshot = store.snapshot().expect("a snapshot");
    let ask = |keys: &[Vec<u8>], enough: usize| {
        let mut answers = Vec::new();
        let asked = snapshot.get_many(keys, &mut |place, value| {
            assert_eq!(place, answers.len(), "answers come in the order of the keys");
            answers.push(value);
            if answers.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        asked.expect("many gets");
        answers
    };
    assert!(ask(&[], usize::MAX).is_empty());
    let mut keys: Vec<Vec<u8>> = entries.keys().rev().cloned().collect();
    keys.extend([b"".to_vec(), b"absent".to_vec(), b"large/1".to_vec(), b"large/1".to_vec()]);
    keys.extend([b"absent".to_vec(), b"n/00000007".to_vec(), b"large/0".to_vec()]);
    keys.extend([b"value-0".to_vec(), vec![0xff; limit.min(4_096)]]);
    let expected: Vec<_> = keys.iter().map(|key| entries.get(key).cloned()).collect();
    for enough in [usize::MAX, 1, 5_000, keys.len() - 4] {
        let answers = ask(&keys, enough);
        assert!(answers[..] == expected[..enough.min(keys.len())], "up to {enough}");
    }
    let alone = ask(&keys[keys.len() - 9..], usize::MAX);
    assert!(alone[..] == expected[keys.len() - 9..], "a few of them");
    // Beyond the limit some engines say that it isn't there, and some refuse the question.
    let too_long = [b"a".to_vec(), b"k".repeat(KEY_BYTES_MAX + 1)];
    let mut answers = Vec::new();
    let asked = snapshot.get_many(&too_long, &mut |_, value| {
        answers.push(value);
        ControlFlow::Continue(())
    });
    match snapshot.get(&too_long[1]) {
        Ok(value) => {
            asked.expect("many gets");
            assert_eq!(answers, [entries.get(&too_long[0]).cloned(), value]);
        }
        Err(error) => assert_eq!(asked.expect_err("a refusal").kind(), error.kind()),
    }
}

fn ranges_hold_just_their_keys(subject: &dyn Subject) {
    let limit = subject.filled(&Entries::new()).guarantees().key_bytes_max;
    let entries = awkward_entries(limit);
    let store = subject.filled(&entries);
    let snapshot = store.snapshot().expect("a snapshot");
    let ranges = [
        KeyRange::all(),
        KeyRange::prefix(b"k"),
        KeyRange::prefix(b"value-"),
        KeyRange::prefix(b"\xff"),
        KeyRange::new(*b"p", *b"p\x80"),
        KeyRange::new(*b"a", *b"a"),
        KeyRange::new(*b"z", *b"a"),
        KeyRange { start: b"\xff\xff\xff".to_vec(), end: None },
    ];
    for range in ranges {
        let expected: Vec<_> = entries.iter().filter(|(key, _)| range.contains(key)).collect();
        let mut scan = Scan::new(&*snapshot, &range).expect("a scan");
        let mut digest = ScanDigest::default();
        let mut seen = 0;
        while let Some((key, value)) = scan.next().expect("an entry") {
            assert_eq!((key, value), (&expected[seen].0[..], &expected[seen].1[..]), "{range:?}");
            digest.push(key, value);
            seen += 1;
        }
        assert_eq!(seen, expected.len(), "{range:?}");
        assert!(scan.next().expect("still the end").is_none());
        let receipt = scan.receipt().expect("a receipt");
        assert_eq!(receipt.entries, expected.len() as u64);
        assert_eq!(receipt.digest, digest.finish());
    }
}

fn receipts_exist_only_at_the_end(subject: &dyn Subject) {
    let store = subject.filled(&numbered_entries(10, 10));
    let snapshot = store.snapshot().expect("a snapshot");
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).expect("a scan");
    scan.next().expect("an entry").expect("not yet the end");
    let left_early = scan.receipt().expect_err("no receipt before the end");
    assert_eq!(left_early.kind(), Kind::InvalidInput);
}

fn split_points_lose_nothing(subject: &dyn Subject) {
    let entries = numbered_entries(20_000, 200);
    let store = subject.filled(&entries);
    let snapshot = store.snapshot().expect("a snapshot");
    let all: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    let approximate = snapshot.approximate_bytes(&KeyRange::all()).expect("a size");
    assert!(approximate <= 20 * all as u64, "{approximate} is no estimate of {all}");
    for chunk_bytes in [1, 64 << 10, 1 << 30] {
        let range = KeyRange::new(*b"n/00000100", *b"n/00019000");
        let points = snapshot.split_points(&range, chunk_bytes).expect("points");
        assert!(points.windows(2).all(|pair| pair[0] < pair[1]), "points ascend");
        assert!(points.iter().all(|point| range.contains(point)), "points lie in the range");
        let mut total = 0;
        for part in range.split_at(&points) {
            let mut scan = Scan::new(&*snapshot, &part).expect("a scan");
            while scan.next().expect("an entry").is_some() {}
            total += scan.receipt().expect("a receipt").entries;
        }
        assert_eq!(total, 18_900);
    }
}

fn many_cursors_read_at_the_same_time(subject: &dyn Subject) {
    let entries = numbered_entries(4_000, 500);
    let store = subject.filled(&entries);
    let snapshot: Arc<dyn Snapshot> = store.snapshot().expect("a snapshot");
    let expected = receipt_of(&*snapshot);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| receipt_of(&*snapshot))).collect();
        for worker in workers {
            assert_eq!(worker.join().expect("no panic"), expected);
        }
    });
}

fn receipt_of(snapshot: &dyn Snapshot) -> crate::ScanReceipt {
    let mut scan = Scan::new(snapshot, &KeyRange::all()).expect("a scan");
    while scan.next().expect("an entry").is_some() {}
    scan.receipt().expect("a receipt")
}
