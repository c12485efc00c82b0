//! Writing batches: the last change wins, limits are refused whole, snapshots stay, what was
//! synced survives.

use super::{Entries, Part, Subject, awkward_entries, content, numbered_entries};
use crate::{Durability, Effect, Isolation, Kind, Store, WriteBatch};

pub(super) const PARTS: &[Part] = &[
    ("an_undeclared_write_is_unsupported", an_undeclared_write_is_unsupported),
    ("batches_apply_in_order", batches_apply_in_order),
    ("a_key_beyond_the_limit_refuses_the_whole_batch", a_long_key_refuses_the_batch),
    ("a_snapshot_doesnt_see_later_writes", a_snapshot_doesnt_see_later_writes),
    ("closed_and_reopened_everything_is_there", closed_and_reopened_everything_is_there),
    ("dropped_and_reopened_what_was_synced_is_there", dropped_what_was_synced_is_there),
];

fn writable(subject: &dyn Subject) -> Option<Box<dyn Store>> {
    subject.target().filter(|store| store.capabilities().write)
}

fn batch_of(entries: &Entries) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in entries {
        batch.put(key, value);
    }
    batch
}

fn an_undeclared_write_is_unsupported(subject: &dyn Subject) {
    let mut batch = WriteBatch::new();
    batch.put(b"a", b"1");
    let readable = subject.filled(&numbered_entries(3, 3));
    if !readable.capabilities().write {
        let refusal = readable.write(&batch, Durability::Synced).expect_err("not declared");
        assert_eq!(refusal.kind(), Kind::Unsupported);
        assert_eq!(refusal.effect(), Effect::NotApplied);
    }
    if let Some(target) = subject.target().filter(|store| !store.capabilities().write) {
        let refusal = target.write(&batch, Durability::Synced).expect_err("not declared");
        assert_eq!(refusal.kind(), Kind::Unsupported);
    }
}

fn batches_apply_in_order(subject: &dyn Subject) {
    let Some(store) = writable(subject) else { return };
    let mut batch = WriteBatch::new();
    batch.put(b"a", b"1");
    batch.put(b"b", b"1");
    batch.put(b"a", b"2");
    batch.delete(b"b");
    batch.delete(b"never there");
    batch.put(b"c", b"");
    store.write(&batch, Durability::Synced).expect("a write");
    let expected: Entries =
        [(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), Vec::new())].into_iter().collect();
    assert_eq!(content(&*store), expected);
    store.write(&WriteBatch::new(), Durability::Synced).expect("an empty batch is fine");
    assert_eq!(content(&*store), expected);
}

fn a_long_key_refuses_the_batch(subject: &dyn Subject) {
    let Some(store) = writable(subject) else { return };
    let mut batch = WriteBatch::new();
    batch.put(b"a", b"1");
    batch.put(&vec![b'x'; store.guarantees().key_bytes_max + 1], b"");
    let refusal = store.write(&batch, Durability::Synced).expect_err("too long");
    assert_eq!((refusal.kind(), refusal.effect()), (Kind::InvalidInput, Effect::NotApplied));
    assert_eq!(content(&*store), Entries::new(), "nothing of the batch was applied");
}

fn a_snapshot_doesnt_see_later_writes(subject: &dyn Subject) {
    let Some(store) = writable(subject) else { return };
    if store.guarantees().isolation < Isolation::Snapshot {
        return;
    }
    let before = numbered_entries(100, 50);
    store.write(&batch_of(&before), Durability::Synced).expect("a write");
    let snapshot = store.snapshot().expect("a snapshot");
    let mut batch = WriteBatch::new();
    batch.put(b"n/00000005", b"changed");
    batch.put(b"z", b"new");
    batch.delete(b"n/00000007");
    store.write(&batch, Durability::Synced).expect("a write");
    assert_eq!(snapshot.get(b"z").expect("a get"), None);
    assert_eq!(
        snapshot.get(b"n/00000007").expect("a get"),
        Some(before[&b"n/00000007"[..]].clone())
    );
    let mut scan = crate::Scan::new(&*snapshot, &crate::KeyRange::all()).expect("a scan");
    let mut seen = Entries::new();
    while let Some((key, value)) = scan.next().expect("an entry") {
        seen.insert(key.to_vec(), value.to_vec());
    }
    assert_eq!(seen, before);
}

fn closed_and_reopened_everything_is_there(subject: &dyn Subject) {
    let Some(store) = writable(subject) else { return };
    let entries = awkward_entries(store.guarantees().key_bytes_max);
    store.write(&batch_of(&entries), Durability::Buffered).expect("a write");
    store.close().expect("a clean close");
    assert_eq!(content(&*subject.reopen().expect("reopened")), entries);
}

fn dropped_what_was_synced_is_there(subject: &dyn Subject) {
    let Some(store) = writable(subject) else { return };
    if !store.guarantees().durable_sync {
        return;
    }
    let synced = numbered_entries(500, 100);
    store.write(&batch_of(&synced), Durability::Synced).expect("a write");
    drop(store);
    let after = content(&*subject.reopen().expect("reopened"));
    for (key, value) in &synced {
        assert_eq!(after.get(key), Some(value), "a synced entry is lost");
    }
}
