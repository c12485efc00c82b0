//! Versions that are left out, against what the library's own pruning leaves.

use crate::golden::sample;
use crate::{Entries, convert, logical_root, read, snapshot, verify};
use transload_chains::iavl::keys::{Entry, NodeId, commit_info_key, store_prefix};
use transload_chains::iavl::node::{Node, RootEntry, empty_tree_hash};
use transload_chains::iavl::prune::{KeepVersions, Pruned, kept_versions};
use transload_codec::proto::{put_bytes, put_message, put_varint_field};
use transload_store::{Kind, Reform as _, ReformOptions, Result, Side};

const STORE: &[u8] = b"test";

/// Samples of a full history, the last version that goes, and the last version that there is.
const PRUNED: [(&str, u64, u64); 10] = [
    ("grown-0", 1, 40),
    ("grown-0", 12, 40),
    ("grown-0", 27, 40),
    ("grown-0", 39, 40),
    ("grown-1", 20, 40),
    ("grown-1", 35, 40),
    ("grown-2", 8, 40),
    ("grown-2", 33, 40),
    ("initial", 106, 111),
    ("genesis", 4, 7),
];

fn id(version: u64, nonce: u32) -> Vec<u8> {
    [store_prefix(STORE).as_slice(), NodeId::new(version, nonce).bytes()].concat()
}

/// The hash of the store's root at a version.
fn root_hash(entries: &Entries, version: u64) -> Option<[u8; 32]> {
    let at = |id: Vec<u8>| entries.get(&id);
    let stored = at(id(version, 1))?;
    match RootEntry::decode(stored).unwrap() {
        Some(RootEntry::Empty) => Some(empty_tree_hash()),
        None => Some(Node::decode(NodeId::new(version, 1), stored).unwrap().hash()),
        Some(RootEntry::Reference(node)) => {
            let (of, nonce) = node.version_and_nonce().unwrap();
            let stored = at(id(of, nonce)).or_else(|| at(id(of, 0))).unwrap();
            Some(Node::decode(node, stored).unwrap().hash())
        }
    }
}

/// The store as part of an application, with a CommitInfo for each of its versions.
fn application(mut entries: Entries, last: u64) -> Entries {
    let versions: Vec<u64> = (1..=last).filter(|v| root_hash(&entries, *v).is_some()).collect();
    for version in versions {
        let (mut id, mut store, mut info) = (Vec::new(), Vec::new(), Vec::new());
        put_varint_field(&mut id, 1, version);
        put_bytes(&mut id, 2, &root_hash(&entries, version).unwrap());
        put_bytes(&mut store, 1, STORE);
        put_message(&mut store, 2, &id);
        put_varint_field(&mut info, 1, version);
        put_message(&mut info, 2, &store);
        entries.insert(commit_info_key(version), info);
    }
    let mut latest = Vec::new();
    put_varint_field(&mut latest, 1, last);
    entries.insert(b"s/latest".to_vec(), latest);
    entries
}

fn options(folder: &tempfile::TempDir) -> ReformOptions {
    ReformOptions { scratch_dir: folder.path().to_owned(), memory_bytes_max: 16 << 20, workers: 1 }
}

fn prune(entries: &Entries, first: u64, last: u64) -> Result<(Pruned, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let rule = KeepVersions { first, last };
    Ok((rule.prepare(snapshot(entries), &options(&folder), &|_, _| true)?, folder))
}

fn trees(entries: &Entries) -> Entries {
    let prefix = store_prefix(STORE);
    let of_store = entries.iter().filter(|(key, _)| key.starts_with(&prefix));
    of_store.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn what_stays_is_byte_for_byte_what_the_library_leaves() {
    let mut left_behind = 0;
    for (name, gone, last) in PRUNED {
        let source = application(sample(&format!("{name}.current")), last);
        assert_eq!(kept_versions(&*snapshot(&source)).unwrap().unwrap().1, last, "{name}");
        let (pruned, _folder) = prune(&source, gone + 1, last).unwrap();
        let ours = read(&*pruned.snapshot);
        let library = sample(&format!("{name}-to-{gone}.pruned"));
        let what = format!("{name} without versions up to {gone}");
        for (key, value) in trees(&ours) {
            assert_eq!(library.get(&key), Some(&value), "{what}: {}", key.escape_ascii());
        }
        // The library forgets some leaves that were the whole tree of a version that is gone; the
        // checks below find nothing that misses them.
        for (key, value) in library.iter().filter(|(key, _)| !ours.contains_key(*key)) {
            left_behind += 1;
            let Entry::Node(id) = Entry::parse(&key[store_prefix(STORE).len()..]) else {
                panic!("{what}: {} is missing", key.escape_ascii());
            };
            let (version, nonce) = id.version_and_nonce().unwrap();
            let is_leaf = Node::decode(id, value).is_ok_and(|node| node.height == 0);
            assert!(version <= gone && nonce == 1 && is_leaf, "{what}: {id} is missing");
        }
        let verdict = verify(&ours);
        assert_eq!(verdict.failed(), 0, "{what}: {:?}", verdict.findings);
        let kept = kept_versions(&*snapshot(&ours)).unwrap();
        assert_eq!(kept, Some((gone + 1, last)), "{what}");
    }
    println!("{left_behind} leaves that the library forgets aren't carried");
}

#[test]
fn what_is_left_out_and_what_stays_are_the_whole() {
    for (name, gone, last) in PRUNED {
        let source = application(sample(&format!("{name}.current")), last);
        let (pruned, _folder) = prune(&source, gone + 1, last).unwrap();
        let (kept, out) = (read(&*pruned.snapshot), read(&*pruned.left_out.snapshot));
        let moved = pruned.stores[0].moved;
        let mut away = 0;
        for (key, value) in &source {
            match (kept.get(key), out.get(key)) {
                (Some(other), None) | (None, Some(other)) => assert_eq!(other, value),
                (None, None) => away += 1,
                (Some(_), Some(_)) => panic!("{name}: {} is in both", key.escape_ascii()),
            }
            assert_eq!(pruned.snapshot.get(key).unwrap().as_ref(), kept.get(key));
            assert_eq!(pruned.left_out.snapshot.get(key).unwrap().as_ref(), out.get(key));
        }
        assert_eq!(away, moved, "{name}: what stands elsewhere now");
        assert_eq!(kept.len() + out.len(), source.len(), "{name}");
        let counted = pruned.stores[0].nodes + pruned.stores[0].roots;
        assert_eq!(counted, out.len() as u64, "{name}");
        // Again it changes nothing.
        let (again, _folder) = prune(&kept, gone + 1, last).unwrap();
        assert!(read(&*again.snapshot) == kept && read(&*again.left_out.snapshot).is_empty());
    }
}

#[test]
fn what_kept_versions_say_is_one_root_on_both_sides_and_another_than_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let meaning = |entries: &Entries, first, side| {
        let rule = KeepVersions { first, last: 40 };
        let table =
            rule.meaning(&*snapshot(entries), side, &options(&folder), &|_, _| true).unwrap();
        (table.records, table.root())
    };
    for first in [2, 17, 31, 40] {
        let source = application(sample("grown-0.current"), 40);
        let (pruned, _folder) = prune(&source, first, 40).unwrap();
        let ours = read(&*pruned.snapshot);
        let before = meaning(&source, first, Side::Before);
        assert_eq!(meaning(&ours, first, Side::After), before);
        if first > 2 {
            // The first version is empty.
            assert_ne!(meaning(&source, first, Side::After), before, "more versions");
        }
        // The same of a state that was converted just before.
        let old = application_of_old(sample("grown-0.legacy"));
        let converted = convert(&old);
        let (pruned, _folder) = prune(&converted, first, 40).unwrap();
        let after = meaning(&read(&*pruned.snapshot), first, Side::After);
        assert_eq!((after, meaning(&old, first, Side::Before)), (before, before));
    }
    let source = application(sample("grown-0.current"), 40);
    assert_eq!(meaning(&source, 1, Side::After).1, logical_root(&source));
}

/// The same application in the form of IAVL 0.x.
fn application_of_old(mut entries: Entries) -> Entries {
    let new = application(sample("grown-0.current"), 40);
    let outside = |key: &&Vec<u8>| !key.starts_with(b"s/k:");
    for key in new.keys().filter(outside) {
        entries.insert(key.clone(), new[key].clone());
    }
    entries
}

#[test]
fn a_node_that_has_run_since_the_plan_changes_nothing_of_what_is_planned() {
    let [then, now] = [40, 41].map(|last| KeepVersions { first: 30, last }.transform());
    assert_eq!(then, now);
    assert_ne!(then, KeepVersions { first: 31, last: 40 }.transform());
}

#[test]
fn the_old_form_another_last_version_and_a_missing_node_are_refused() {
    let old = application_of_old(sample("grown-0.legacy"));
    let error = prune(&old, 20, 40).err().unwrap();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().contains("the form of IAVL 0.x"), "{error}");
    let mut source = application(sample("grown-0.current"), 40);
    let error = prune(&source, 20, 39).err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("last version committed"), "{error}");
    let node = |key: &Vec<u8>| key.starts_with(&store_prefix(STORE)) && key.ends_with(&[0, 2]);
    let lost = source.keys().rfind(|key| node(key)).unwrap().clone();
    source.remove(&lost);
    let error = prune(&source, 2, 40).err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("is named and isn't there"), "{error}");
}

#[test]
fn a_store_that_was_removed_and_a_version_that_was_never_committed_are_carried() {
    let whole = application(sample("grown-0.current"), 40);
    let mut source = whole.clone();
    // A store of the same trees that no CommitInfo lists, and a node of a version to come.
    for (key, value) in trees(&whole) {
        let rest = &key[store_prefix(STORE).len()..];
        source.insert([store_prefix(b"removed").as_slice(), rest].concat(), value);
    }
    let leaf = b"\0\x02\x01k\x01v".to_vec();
    source.insert(id(41, 7), leaf.clone());
    let (pruned, _folder) = prune(&source, 30, 40).unwrap();
    let kept = read(&*pruned.snapshot);
    assert_eq!(kept.get(&id(41, 7)), Some(&leaf));
    let removed = |entries: &Entries| {
        entries.keys().filter(|key| key.starts_with(&store_prefix(b"removed"))).count()
    };
    assert_eq!(removed(&kept), removed(&source));
    // A node that no version has isn't taken for one of those that go.
    source.insert(id(3, 900), leaf);
    let (pruned, _folder) = prune(&source, 30, 40).unwrap();
    assert_eq!(pruned.stores[0].unreached, 1);
    assert!(read(&*pruned.snapshot).contains_key(&id(3, 900)));
    assert!(pruned.stores[0].to_string().contains("1 nodes that no version has are carried"));
}
