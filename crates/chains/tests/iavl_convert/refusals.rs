//! What doesn't fit is named, and nothing is dropped in silence.

use crate::model::{Change, Model, STORE};
use crate::{Entries, convert, convert_with, logical_root, logical_root_or_error, read, refusal};
use transload_chains::iavl::convert::{Unreachable, prepare};
use transload_chains::iavl::keys::{Entry, Key, NodeId, store_prefix};
use transload_chains::iavl::node::{Body, Node};
use transload_store::Kind;

fn versions(last: &[Change]) -> Vec<Vec<Change>> {
    let mut versions = vec![
        (0..20).map(|at| Change::Set(at, 1)).collect(),
        vec![Change::Set(3, 2)],
        vec![],
        vec![Change::Set(9, 2), Change::Remove(12)],
    ];
    versions.push(last.to_vec());
    versions
}

fn history() -> Entries {
    Model::new(1, &versions(&[Change::Set(14, 3)])).legacy(&|_| true)
}

fn at(entry: &[u8]) -> Vec<u8> {
    [store_prefix(STORE).as_slice(), entry].concat()
}

fn root_of(entries: &Entries, version: u64) -> NodeId {
    let stored = &entries[&at(&[b"r".as_slice(), &version.to_be_bytes()].concat())];
    NodeId::legacy(stored.as_slice().try_into().expect("a hash"))
}

fn nodes(entries: &Entries) -> Vec<(NodeId, Vec<u8>)> {
    let nodes = entries.iter().filter_map(|(key, value)| match Key::parse(key) {
        Key::Store { entry: Entry::Node(id), .. } => Some((id, value.clone())),
        _ => None,
    });
    nodes.collect()
}

fn leaf_of(entries: &Entries) -> NodeId {
    let is_leaf = |(id, value): &(NodeId, Vec<u8>)| {
        matches!(Node::decode(*id, value).expect("a node").body, Body::Leaf { .. })
    };
    nodes(entries).into_iter().find(is_leaf).expect("a leaf").0
}

fn put_orphan(entries: &mut Entries, to: u64, from: u64, id: NodeId) {
    let hash = id.legacy_hash().expect("0.x");
    let key = [b"o".as_slice(), &to.to_be_bytes(), &from.to_be_bytes(), &hash].concat();
    entries.insert(at(&key), hash.to_vec());
}

/// The history with nodes of a fifth version that was rolled back.
fn with_left_overs() -> (Entries, Vec<NodeId>) {
    let rolled_back = Model::new(1, &versions(&[Change::Set(5, 9), Change::Set(16, 9)]));
    let mut entries = history();
    let mut left_over = Vec::new();
    for (id, value) in nodes(&rolled_back.legacy(&|_| true)) {
        if entries.insert(at(id.bytes()), value).is_none() {
            left_over.push(id);
        }
    }
    assert!(left_over.len() > 3);
    (entries, left_over)
}

#[test]
fn a_missing_node_is_named_with_its_parent_its_version_and_its_hash() {
    let mut entries = history();
    let gone = leaf_of(&entries);
    entries.remove(&at(gone.bytes()));
    let error = refusal(&entries);
    assert_eq!(error.kind(), Kind::Corrupt);
    let said = error.message();
    assert!(said.contains("store bank") && said.contains(&gone.to_string()), "{said}");
    assert!(said.contains("a child of node") && said.contains("of version 1"), "{said}");
}

#[test]
fn a_root_without_its_node_is_named() {
    let mut entries = history();
    let gone = root_of(&entries, 5);
    entries.remove(&at(gone.bytes()));
    let error = refusal(&entries);
    let wanted = format!("node {gone}, the root of version 5, isn't there");
    assert!(error.message().contains(&wanted), "{}", error.message());
}

#[test]
fn a_node_that_isnt_what_its_hash_says_is_refused() {
    for victim in [leaf_of(&history()), root_of(&history(), 4)] {
        let mut entries = history();
        let value = entries.get_mut(&at(victim.bytes())).expect("the node");
        *value.last_mut().expect("bytes") ^= 1;
        let error = refusal(&entries);
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains("store bank"), "{}", error.message());
    }
}

#[test]
fn nodes_of_no_version_are_listed_and_need_consent() {
    let (entries, mut left_over) = with_left_overs();
    let error = refusal(&entries);
    assert_eq!(error.kind(), Kind::Corrupt);
    let counted = format!("no version has {} nodes", left_over.len());
    assert!(error.message().contains(&counted), "{}", error.message());
    let (converted, _folder) =
        convert_with(&entries, |options| options.unreachable = Unreachable::LeaveOut).unwrap();
    let report = &converted.report().stores[0];
    assert_eq!((report.unreachable, report.given_up), (left_over.len() as u64, 0));
    left_over.sort();
    assert_eq!(report.left_out_listed, left_over);
    assert_eq!(logical_root(&read(&converted)), logical_root(&history()));
}

#[test]
fn nodes_that_the_old_library_had_given_up_are_left_out_and_counted() {
    let (mut entries, left_over) = with_left_overs();
    for id in &left_over {
        put_orphan(&mut entries, 5, 5, *id);
    }
    let (converted, _folder) = convert_with(&entries, |_| {}).unwrap();
    let report = &converted.report().stores[0];
    assert_eq!((report.unreachable, report.given_up), (0, left_over.len() as u64));
    assert_eq!(report.orphans, left_over.len() as u64);
    assert_eq!(logical_root(&read(&converted)), logical_root(&history()));
}

#[test]
fn orphans_that_point_nowhere_are_named() {
    let mut entries = history();
    let nowhere = NodeId::legacy([7; 32]);
    put_orphan(&mut entries, 3, 2, nowhere);
    let live = leaf_of(&entries);
    put_orphan(&mut entries, 4, 1, live);
    let (converted, _folder) = convert_with(&entries, |_| {}).unwrap();
    let report = &converted.report().stores[0];
    assert_eq!((report.orphans, report.orphans_nowhere), (2, 1));
    assert_eq!(report.orphans_nowhere_listed, [(3, 2, nowhere)]);
    assert_eq!(read(&converted), convert(&history()));
}

#[test]
fn a_version_with_two_different_roots_is_refused() {
    let empty_root = at(NodeId::new(4, 1).bytes());
    let reference = [b"s".as_slice(), &1_u64.to_be_bytes(), &1_u32.to_be_bytes()].concat();
    for value in [Vec::new(), reference, vec![0, 2, 1, b'k', 1, b'v']] {
        let mut entries = history();
        entries.insert(empty_root.clone(), value);
        let error = refusal(&entries);
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains("version 4 has"), "{}", error.message());
    }
    // Where pruning moves a root.
    let mut entries = history();
    entries.insert(at(NodeId::new(4, 0).bytes()), vec![0, 2, 1, b'k', 1, b'v']);
    let error = refusal(&entries);
    assert!(error.message().contains("version 4 has two roots"), "{}", error.message());
}

#[test]
fn two_nodes_that_answer_for_one_root_have_no_logical_root() {
    let mut entries = convert(&history());
    entries.insert(at(NodeId::new(4, 0).bytes()), vec![0, 2, 1, b'k', 1, b'v']);
    let error = logical_root_or_error(&entries).expect_err("nonces 0 and 1");
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("two roots"), "{}", error.message());
}

#[test]
fn keys_that_no_old_library_writes_are_refused_and_others_are_carried() {
    for entry in [b"nshort".as_slice(), b"r123", b"o"] {
        let mut entries = history();
        entries.insert(at(entry), b"x".to_vec());
        assert_eq!(refusal(&entries).kind(), Kind::Corrupt);
    }
    let mut entries = history();
    for (key, value) in [
        (at(b"x?"), b"unknown".as_slice()),
        (at(b"sshort"), b"unknown"),
        (at(b"mother"), b"metadata"),
        (b"s/k:other/xyz".to_vec(), b"another store"),
        (b"zzz".to_vec(), b"another key"),
    ] {
        entries.insert(key.clone(), value.to_vec());
        assert_eq!(convert(&entries).get(&key).map(Vec::as_slice), Some(value));
    }
}

#[test]
fn a_conversion_stops_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::strict(&folder);
    let error = prepare(crate::snapshot(&history()), &options, &|_, _| false).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
}
