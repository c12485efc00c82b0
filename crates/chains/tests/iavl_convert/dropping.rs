//! What no version reaches is left out: against a walk of the trees in memory.

use crate::golden::sample;
use crate::model::{Model, STORE, versions};
use crate::{Entries, logical_root, read, read_range, snapshot, verify};
use proptest::prelude::*;
use std::collections::BTreeSet;
use transload_chains::iavl::commit::decode_latest;
use transload_chains::iavl::drop_orphans::{DropOrphans, Dropped};
use transload_chains::iavl::keys::{Entry, Key, NodeId, commit_info_key, store_prefix};
use transload_chains::iavl::node::{Body, Node, RootEntry};
use transload_codec::proto::{put_bytes, put_message, put_varint_field};
use transload_store::{KeyRange, Kind, ReformOptions, Result};

fn drop_within(entries: &Entries, memory: u64) -> Result<(Dropped, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let scratch_dir = folder.path().to_owned();
    let options = ReformOptions { scratch_dir, memory_bytes_max: memory, workers: 1 };
    Ok((DropOrphans.prepare(snapshot(entries), &options, &|_, _| true)?, folder))
}

fn drop(entries: &Entries) -> Result<(Dropped, tempfile::TempDir)> {
    drop_within(entries, 16 << 20)
}

fn at(entry: &[u8]) -> Vec<u8> {
    [store_prefix(STORE).as_slice(), entry].concat()
}

fn orphan(to: u64, from: u64, hash: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let entry = [b"o".as_slice(), &to.to_be_bytes(), &from.to_be_bytes(), hash].concat();
    (at(&entry), hash.to_vec())
}

/// What the store's entries are, by what follows its prefix.
fn parsed(entries: &Entries) -> impl Iterator<Item = (&Vec<u8>, Entry<'_>, &Vec<u8>)> {
    entries.iter().filter_map(|(key, value)| match Key::parse(key) {
        Key::Store { store: STORE, entry } => Some((key, entry, value)),
        _ => None,
    })
}

/// The keys of everything that must go: every node is looked for from every root, one by one.
fn unneeded(entries: &Entries) -> BTreeSet<Vec<u8>> {
    let last = decode_latest(&entries[&b"s/latest".to_vec()]).unwrap();
    let there = |id: NodeId| {
        let moved = id.moved_by_pruning();
        [Some(id), moved].into_iter().flatten().find(|id| entries.contains_key(&at(id.bytes())))
    };
    let mut todo = Vec::new();
    for (_, entry, value) in parsed(entries) {
        match entry {
            Entry::LegacyRoot(_) if !value.is_empty() => {
                todo.push(NodeId::legacy(*value.first_chunk().unwrap()));
            }
            Entry::Node(id) => {
                let (version, is_root) = match id.version_and_nonce() {
                    Some((version, nonce)) => (version, nonce == 1),
                    None => (Node::decode(id, value).unwrap().version, false),
                };
                match RootEntry::decode(value) {
                    Ok(Some(RootEntry::Reference(named))) if is_root => todo.push(named),
                    Ok(Some(RootEntry::Empty)) if is_root => {}
                    _ if is_root || version > last => todo.push(id),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let mut reached = BTreeSet::new();
    while let Some(id) = todo.pop() {
        let id = there(id).unwrap();
        if reached.insert(id)
            && let Body::Inner { left, right, .. } =
                Node::decode(id, &entries[&at(id.bytes())]).unwrap().body
        {
            todo.extend([left, right]);
        }
    }
    let goes = |entry: &Entry<'_>, value: &[u8]| match entry {
        Entry::Node(id) => {
            let is_root = matches!(id.version_and_nonce(), Some((_, 1)))
                && RootEntry::decode(value).unwrap().is_some();
            !is_root && !reached.contains(id)
        }
        Entry::Orphan { hash, .. } => !reached.contains(&NodeId::legacy(*hash)),
        _ => false,
    };
    let all = parsed(entries).filter(|(_, entry, value)| goes(entry, value));
    all.map(|(key, ..)| key.clone()).collect()
}

/// Checks both sides of what was left out.
fn is_divided_by(entries: &Entries, unneeded: &BTreeSet<Vec<u8>>, memory: u64) {
    let (dropped, _folder) = drop_within(entries, memory).unwrap();
    let (kept, gone) = (read(&*dropped.snapshot), read(&*dropped.left_out.snapshot));
    assert_eq!(&gone.keys().cloned().collect::<BTreeSet<_>>(), unneeded);
    let counted: u64 = dropped.stores.iter().map(|store| store.entries()).sum();
    assert_eq!(counted, gone.len() as u64);
    for (key, value) in entries {
        let stays = !unneeded.contains(key);
        assert_eq!(kept.get(key), stays.then_some(value), "{}", key.escape_ascii());
        assert_eq!(dropped.snapshot.get(key).unwrap().as_ref(), stays.then_some(value));
        let of_gone = dropped.left_out.snapshot.get(key).unwrap();
        assert_eq!(of_gone.as_ref(), (!stays).then_some(value));
    }
    // From any key on, the rest is the same.
    for key in entries.keys().step_by(7) {
        let range = KeyRange { start: key.clone(), end: None };
        let rest =
            |of: &Entries| of.range(key.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect();
        let both: [Entries; 2] = [rest(&kept), rest(&gone)];
        let [left, out] = [&dropped.snapshot, &dropped.left_out.snapshot]
            .map(|snapshot| read_range(&**snapshot, &range));
        assert_eq!([left, out], both);
    }
    assert_eq!(logical_root(&kept), logical_root(entries));
    let (again, _folder) = drop_within(&kept, memory).unwrap();
    assert!(read(&*again.snapshot) == kept && read(&*again.left_out.snapshot).is_empty());
}

/// Nodes that no version has, in either form, and orphans of all kinds.
fn littered(mut entries: Entries, seed: u64) -> Entries {
    let nodes: Vec<(NodeId, Vec<u8>)> = parsed(&entries)
        .filter_map(|(_, entry, value)| match entry {
            Entry::Node(id) if RootEntry::decode(value).is_ok_and(|root| root.is_none()) => {
                Some((id, value.clone()))
            }
            _ => None,
        })
        .collect();
    for (number, (id, value)) in (seed..).zip(&nodes) {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        match id.version_and_nonce() {
            // The same node once more, under a name that nobody has.
            Some((version, _)) if number % 3 == 0 => {
                let nonce = 900_000 + u32::try_from(number % 1_000).unwrap();
                entries.insert(at(NodeId::new(version, nonce).bytes()), value.clone());
            }
            None if number % 3 == 0 => {
                entries.insert(at(NodeId::legacy(hash).bytes()), value.clone());
                entries.extend((number % 2 == 0).then(|| orphan(number, 1, &hash)));
            }
            // An orphan of a node that is there, and one of a node that isn't.
            None if number % 3 == 1 => {
                entries.extend([orphan(number, 2, &id.legacy_hash().unwrap())]);
            }
            _ if number % 5 == 2 => entries.extend([orphan(number, 3, &hash)]),
            _ => {}
        }
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_is_what_a_walk_in_memory_does_not_meet(
        versions in versions(),
        first in prop_oneof![Just(1_u64), 2..1000_u64],
        spared in any::<u32>(),
        seed in 0..1_000_u64,
        memory in prop_oneof![Just(3_000_u64), Just(60_000), Just(64 << 20)],
    ) {
        let model = Model::new(first, &versions);
        let last = first + versions.len() as u64 - 1;
        let keep = |version: u64| version == last || spared >> (version % 32) & 1 == 1;
        // All nodes that there ever were, and some of the roots.
        let pruned = model.legacy(&keep);
        let mut entries = model.legacy(&|_| true);
        entries.retain(|key, _| {
            pruned.contains_key(key) || matches!(Key::parse(key), Key::Store { entry: Entry::Node(_), .. })
        });
        let (dropped, _folder) = drop(&entries).unwrap();
        prop_assert_eq!(read(&*dropped.snapshot), pruned.clone());
        for entries in [pruned, littered(entries, seed), littered(model.current(), seed)] {
            is_divided_by(&entries, &unneeded(&entries), memory);
        }
    }
}

/// A sample of the library's own work as part of an application of this last version.
fn application(name: &str, last: u64) -> Entries {
    let mut entries = Entries::new();
    for (key, value) in sample(name) {
        let rest = key.strip_prefix(store_prefix(b"test").as_slice()).unwrap();
        entries.insert(at(rest), value);
    }
    let (mut id, mut store, mut info, mut latest) = (vec![], vec![], vec![], vec![]);
    put_varint_field(&mut id, 1, last);
    put_bytes(&mut id, 2, &[7; 32]);
    put_bytes(&mut store, 1, STORE);
    put_message(&mut store, 2, &id);
    put_varint_field(&mut info, 1, last);
    put_message(&mut info, 2, &store);
    put_varint_field(&mut latest, 1, last);
    entries.insert(commit_info_key(last), info);
    entries.insert(b"s/latest".to_vec(), latest);
    entries
}

/// The last version that has a root.
fn last_root(entries: &Entries) -> u64 {
    let roots = entries.keys().filter_map(|key| match Key::parse(key) {
        Key::Store { entry: Entry::LegacyRoot(version), .. } => Some(version),
        Key::Store { entry: Entry::Node(id), .. } => {
            id.version_and_nonce().filter(|(_, nonce)| *nonce == 1).map(|(version, _)| version)
        }
        _ => None,
    });
    roots.max().unwrap()
}

#[test]
fn of_what_the_libraries_wrote_nothing_goes_that_they_did_not_give_up() {
    for name in [
        "grown-0.legacy",
        "grown-1.legacy",
        "grown-2.legacy",
        "pruned.legacy",
        "initial.legacy",
        "genesis.legacy",
        "grown-0.current",
        "grown-1.current",
        "initial.current",
        "genesis.current",
        "mixed.entries",
        "mixed-changed.entries",
        "mixed-pruned.entries",
        "grown-0-to-27.pruned",
        "genesis-to-4.pruned",
    ] {
        let entries = application(name, last_root(&sample(name)));
        let unneeded = unneeded(&entries);
        is_divided_by(&entries, &unneeded, 16 << 20);
        println!("{name}: {} of {} entries go", unneeded.len(), entries.len());
        let littered = littered(entries, 5);
        is_divided_by(&littered, &self::unneeded(&littered), 16 << 20);
    }
}

fn small() -> Entries {
    use crate::model::Change;
    let versions = vec![vec![Change::Set(1, 1), Change::Set(2, 1)], vec![Change::Set(1, 2)]];
    Model::new(1, &versions).legacy(&|_| true)
}

#[test]
fn what_is_gone_is_named_and_what_stays_passes_every_check() {
    let clean = small();
    let mut entries = clean.clone();
    let leaf = entries.iter().find(|(key, value)| {
        matches!(Key::parse(key), Key::Store { entry: Entry::Node(_), .. }) && value[0] == 0
    });
    let leaf = leaf.unwrap().1.clone();
    entries.insert(at(NodeId::legacy([0xee; 32]).bytes()), leaf);
    entries.extend([orphan(1, 1, &[0xee; 32]), orphan(1, 1, &[0xdd; 32])]);
    assert_ne!(verify(&entries).failed(), 0);
    let (dropped, _folder) = drop(&entries).unwrap();
    let text = dropped.stores[0].to_string();
    for words in [
        "store bank: left out are 1 nodes that no version has (eeee",
        "2 orphans whose node isn't there or is left out (dddd",
        "of versions 1 to 1, eeee",
    ] {
        assert!(text.contains(words), "no word of {words}: {text}");
    }
    let kept = read(&*dropped.snapshot);
    assert_eq!(kept, clean);
    assert_eq!(verify(&kept).failed(), 0);
}

#[test]
fn an_unfinished_version_and_what_it_names_and_a_removed_store_are_carried() {
    let mut entries = small();
    let removed = |rest: &[u8]| [store_prefix(b"removed").as_slice(), rest].concat();
    let leaf = b"\0\x02\x01k\x01v".to_vec();
    entries.insert(removed(NodeId::new(1, 9).bytes()), leaf.clone());
    let before = read(&*drop(&entries).unwrap().0.left_out.snapshot);
    // Of version 3, which was never committed: an inner node on a leaf that nobody else has.
    let old = [&[0, 2, 2][..], b"\x01k\x01v"].concat();
    entries.insert(at(NodeId::legacy([0xee; 32]).bytes()), old);
    entries.insert(at(NodeId::new(3, 2).bytes()), leaf);
    let inner = [&[2, 4, 6][..], b"\x01k\x20", &[0xee; 32], b"\x20", &[0xee; 32]].concat();
    entries.insert(at(NodeId::legacy([0xdd; 32]).bytes()), inner);
    let (dropped, _folder) = drop(&entries).unwrap();
    assert_eq!(read(&*dropped.left_out.snapshot), before);
    assert!(before.is_empty());
}

#[test]
fn what_would_be_guessed_is_refused() {
    let refusal = |change: &dyn Fn(&mut Entries)| {
        let mut entries = small();
        change(&mut entries);
        let error = drop(&entries).err().unwrap();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        error.to_string()
    };
    let root = |version: u64| at(&[b"r".as_slice(), &version.to_be_bytes()].concat());
    let no_root = refusal(&|entries| drop_key(entries, &root(2)));
    assert!(no_root.contains("store bank: it has no root of version 2"), "{no_root}");
    let nothing = refusal(&|entries| drop_key(entries, b"s/latest"));
    assert!(nothing.contains("no version that was committed"), "{nothing}");
    let no_info = refusal(&|entries| drop_key(entries, &commit_info_key(2)));
    assert!(no_info.contains("no version that was committed"), "{no_info}");
    let other = refusal(&|entries| {
        let (key, _) = orphan(1, 1, &[1; 32]);
        entries.insert(key, vec![2; 32]);
    });
    assert!(other.contains("the orphan's value isn't the hash in its key"), "{other}");
    let garbage = refusal(&|entries| {
        entries.insert(at(NodeId::legacy([1; 32]).bytes()), b"garbage".to_vec());
    });
    assert!(garbage.contains("can't be decoded"), "{garbage}");
    let dangling = refusal(&|entries| {
        let key = entries[&root(2)].clone();
        drop_key(entries, &at(&[b"n".as_slice(), &key].concat()));
    });
    assert!(dangling.contains("is named and isn't there"), "{dangling}");
}

fn drop_key(entries: &mut Entries, key: &[u8]) {
    assert!(entries.remove(key).is_some());
}
