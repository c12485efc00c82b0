//! A plain model of the old library: trees that share nodes, numbered as the new library does.
//!
//! Its trees are balanced, though not always by the same rotations as the library's.

use crate::{Entries, convert, convert_with, logical_root, read, verify};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use transload_chains::iavl::convert::Gaps;
use transload_chains::iavl::keys::{Entry, Key, NodeId, commit_info_key, store_prefix};
use transload_chains::iavl::node::{empty_tree_hash, inner_hash, leaf_hash};
use transload_codec::proto::{put_bytes, put_message, put_varint_field};
use transload_codec::varint::{put_uvarint, put_varint};

type Hash = [u8; 32];

#[derive(Debug)]
pub(crate) struct Node {
    version: u64,
    key: Vec<u8>,
    height: u8,
    size: u64,
    hash: Hash,
    kind: NodeKind,
}

#[derive(Debug)]
enum NodeKind {
    Leaf(Vec<u8>),
    Inner(Rc<Node>, Rc<Node>),
}

impl Node {
    fn leaf(version: u64, key: &[u8], value: &[u8]) -> Rc<Self> {
        use sha2::Digest as _;
        let hash = leaf_hash(version, key, &sha2::Sha256::digest(value).into());
        let kind = NodeKind::Leaf(value.to_vec());
        Rc::new(Self { version, key: key.to_vec(), height: 0, size: 1, hash, kind })
    }

    fn inner(version: u64, left: Rc<Self>, right: Rc<Self>) -> Rc<Self> {
        let height = left.height.max(right.height) + 1;
        let size = left.size + right.size;
        let hash = inner_hash(height, size, version, &left.hash, &right.hash);
        let key = right.least().to_vec();
        Rc::new(Self { version, key, height, size, hash, kind: NodeKind::Inner(left, right) })
    }

    /// An inner node, rotated where one side is higher by two.
    fn balanced(version: u64, left: Rc<Self>, right: Rc<Self>) -> Rc<Self> {
        let inner = |left: &Rc<Self>, right: &Rc<Self>| {
            Self::inner(version, Rc::clone(left), Rc::clone(right))
        };
        match (&left.kind, &right.kind) {
            (NodeKind::Inner(outer, middle), _) if left.height > right.height + 1 => {
                match &middle.kind {
                    NodeKind::Inner(one, other) if middle.height > outer.height => {
                        inner(&inner(outer, one), &inner(other, &right))
                    }
                    _ => inner(outer, &inner(middle, &right)),
                }
            }
            (_, NodeKind::Inner(middle, outer)) if right.height > left.height + 1 => {
                match &middle.kind {
                    NodeKind::Inner(one, other) if middle.height > outer.height => {
                        inner(&inner(&left, one), &inner(other, outer))
                    }
                    _ => inner(&inner(&left, middle), outer),
                }
            }
            _ => inner(&left, &right),
        }
    }

    fn least(&self) -> &[u8] {
        match &self.kind {
            NodeKind::Leaf(_) => &self.key,
            NodeKind::Inner(left, _) => left.least(),
        }
    }

    fn set(self: &Rc<Self>, version: u64, key: &[u8], value: &[u8]) -> Rc<Self> {
        let NodeKind::Inner(left, right) = &self.kind else {
            let new = Self::leaf(version, key, value);
            return match key.cmp(&self.key) {
                std::cmp::Ordering::Less => Self::inner(version, new, Rc::clone(self)),
                std::cmp::Ordering::Equal => new,
                std::cmp::Ordering::Greater => Self::inner(version, Rc::clone(self), new),
            };
        };
        if key < self.key.as_slice() {
            Self::balanced(version, left.set(version, key, value), Rc::clone(right))
        } else {
            Self::balanced(version, Rc::clone(left), right.set(version, key, value))
        }
    }

    /// The tree without `key`; itself where it hasn't got it.
    fn remove(self: &Rc<Self>, version: u64, key: &[u8]) -> Option<Rc<Self>> {
        let NodeKind::Inner(left, right) = &self.kind else {
            return (self.key != key).then(|| Rc::clone(self));
        };
        let (side, other) = if key < self.key.as_slice() { (left, right) } else { (right, left) };
        match side.remove(version, key) {
            None => Some(Rc::clone(other)),
            Some(same) if Rc::ptr_eq(&same, side) => Some(Rc::clone(self)),
            Some(new) if Rc::ptr_eq(side, left) => {
                Some(Self::balanced(version, new, Rc::clone(right)))
            }
            Some(new) => Some(Self::balanced(version, Rc::clone(left), new)),
        }
    }

    /// This node and all below, those of the left first.
    fn all<'a>(self: &'a Rc<Self>, into: &mut Vec<&'a Rc<Self>>) {
        into.push(self);
        if let NodeKind::Inner(left, right) = &self.kind {
            left.all(into);
            right.all(into);
        }
    }

    fn head(&self, out: &mut Vec<u8>, legacy: bool) {
        put_varint(out, i64::from(self.height));
        put_varint(out, self.size.cast_signed());
        if legacy {
            put_varint(out, self.version.cast_signed());
        }
        put_uvarint(out, self.key.len() as u64);
        out.extend_from_slice(&self.key);
    }

    pub(crate) fn legacy(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.head(&mut out, true);
        match &self.kind {
            NodeKind::Leaf(value) => put_prefixed(&mut out, value),
            NodeKind::Inner(left, right) => {
                put_prefixed(&mut out, &left.hash);
                put_prefixed(&mut out, &right.hash);
            }
        }
        out
    }

    fn current(&self, nonces: &BTreeMap<Hash, u32>) -> Vec<u8> {
        let mut out = Vec::new();
        self.head(&mut out, false);
        match &self.kind {
            NodeKind::Leaf(value) => put_prefixed(&mut out, value),
            NodeKind::Inner(left, right) => {
                put_prefixed(&mut out, &self.hash);
                put_varint(&mut out, 0);
                for child in [left, right] {
                    put_varint(&mut out, child.version.cast_signed());
                    put_varint(&mut out, i64::from(nonces[&child.hash]));
                }
            }
        }
        out
    }
}

fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What a version does: sets and removes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(u8, u8),
    Remove(u8),
    Clear,
}

/// A store's versions from `first` on.
#[derive(Debug)]
pub(crate) struct Model {
    first: u64,
    roots: Vec<Option<Rc<Node>>>,
}

pub(crate) const STORE: &[u8] = b"bank";

/// The keys sort as their numbers do not: prefixes of one another, zeros and 255s.
fn key(number: u8) -> Vec<u8> {
    match number % 4 {
        0 => vec![number / 4],
        1 => vec![number / 4, 0],
        2 => vec![0xff, number],
        _ => format!("key/{}", number / 8).into_bytes(),
    }
}

impl Model {
    pub(crate) fn new(first: u64, versions: &[Vec<Change>]) -> Self {
        let mut roots: Vec<Option<Rc<Node>>> = Vec::new();
        let mut root = None;
        for (version, changes) in (first..).zip(versions) {
            for change in changes {
                root = match (change, &root) {
                    (Change::Clear, _) | (Change::Remove(_), None) => None,
                    (Change::Set(at, value), None) => {
                        Some(Node::leaf(version, &key(*at), &[*value]))
                    }
                    (Change::Set(at, value), Some(root)) => {
                        Some(root.set(version, &key(*at), &[*value]))
                    }
                    (Change::Remove(at), Some(root)) => root.remove(version, &key(*at)),
                };
            }
            roots.push(root.clone());
        }
        Self { first, roots }
    }

    fn versions(&self) -> impl Iterator<Item = (u64, Option<&Rc<Node>>)> {
        (self.first..).zip(self.roots.iter().map(Option::as_ref))
    }

    fn put_commits(&self, keep: &dyn Fn(u64) -> bool, entries: &mut Entries) {
        for (version, root) in self.versions().filter(|(version, _)| keep(*version)) {
            let mut id = Vec::new();
            put_varint_field(&mut id, 1, version);
            put_bytes(&mut id, 2, &root.map_or(empty_tree_hash(), |root| root.hash));
            let mut store = Vec::new();
            put_bytes(&mut store, 1, STORE);
            put_message(&mut store, 2, &id);
            let mut info = Vec::new();
            put_varint_field(&mut info, 1, version);
            put_message(&mut info, 2, &store);
            entries.insert(commit_info_key(version), info);
            let mut latest = Vec::new();
            put_varint_field(&mut latest, 1, version);
            entries.insert(b"s/latest".to_vec(), latest);
        }
    }

    /// The database as the old library keeps it, with these versions.
    pub(crate) fn legacy(&self, keep: &dyn Fn(u64) -> bool) -> Entries {
        let mut entries = Entries::new();
        self.put_commits(keep, &mut entries);
        let prefix = store_prefix(STORE);
        for (version, root) in self.versions().filter(|(version, _)| keep(*version)) {
            let at = [prefix.as_slice(), b"r", &version.to_be_bytes()].concat();
            entries.insert(at, root.map_or(Vec::new(), |root| root.hash.to_vec()));
            let mut nodes = Vec::new();
            if let Some(root) = root {
                root.all(&mut nodes);
            }
            for node in nodes {
                let at = [prefix.as_slice(), NodeId::legacy(node.hash).bytes()].concat();
                entries.insert(at, node.legacy());
            }
        }
        entries
    }

    /// The database as the new library would keep it, with all versions.
    pub(crate) fn current(&self) -> Entries {
        let mut entries = Entries::new();
        self.put_commits(&|_| true, &mut entries);
        let prefix = store_prefix(STORE);
        let mut nonces: BTreeMap<Hash, u32> = BTreeMap::new();
        for (version, root) in self.versions() {
            let mut nodes = Vec::new();
            if let Some(root) = root {
                root.all(&mut nodes);
            }
            nodes.retain(|node| node.version == version);
            for (nonce, node) in (1..).zip(&nodes) {
                nonces.insert(node.hash, nonce);
            }
            for node in &nodes {
                let id = NodeId::new(version, nonces[&node.hash]);
                entries.insert([prefix.as_slice(), id.bytes()].concat(), node.current(&nonces));
            }
            let at = [prefix.as_slice(), NodeId::new(version, 1).bytes()].concat();
            match root {
                None => {
                    entries.insert(at, Vec::new());
                }
                Some(root) if root.version != version => {
                    let id = NodeId::new(root.version, nonces[&root.hash]);
                    entries.insert(at, id.bytes().to_vec());
                }
                Some(_) => {}
            }
        }
        entries
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0..60_u8, any::<u8>()).prop_map(|(at, value)| Change::Set(at, value)),
        6 => (0..60_u8).prop_map(Change::Remove),
        1 => Just(Change::Clear),
    ]
}

pub(crate) fn versions() -> impl Strategy<Value = Vec<Vec<Change>>> {
    proptest::collection::vec(proptest::collection::vec(change(), 0..12), 1..25)
}

/// The versions for which a root stands in the database, in the form of the new library.
fn new_roots(entries: &Entries) -> BTreeSet<u64> {
    let versions = entries.keys().filter_map(|key| match Key::parse(key) {
        Key::Store { entry: Entry::Node(id), .. } => id.version_and_nonce(),
        _ => None,
    });
    versions.filter(|(_, nonce)| *nonce == 1).map(|(version, _)| version).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_history_without_pruning_becomes_what_the_new_library_writes(
        versions in versions(),
        first in prop_oneof![Just(1_u64), 2..1000_u64],
        memory_bytes_max in prop_oneof![Just(3_000_u64), Just(60_000), Just(64 << 20)],
    ) {
        let model = Model::new(first, &versions);
        let legacy = model.legacy(&|_| true);
        let (converted, _folder) =
            convert_with(&legacy, |options| options.memory_bytes_max = memory_bytes_max).unwrap();
        prop_assert_eq!(read(&converted), model.current());
    }

    #[test]
    fn pruned_versions_dont_come_back_and_nothing_else_changes(
        versions in versions(),
        pruned in 0..24_u64,
        memory_bytes_max in prop_oneof![Just(3_000_u64), Just(60_000), Just(64 << 20)],
    ) {
        let model = Model::new(1, &versions);
        let last = versions.len() as u64;
        let keep = |version: u64| version > pruned.min(last - 1);
        let legacy = model.legacy(&keep);
        let (converted, _folder) =
            convert_with(&legacy, |options| options.memory_bytes_max = memory_bytes_max).unwrap();
        let converted = read(&converted);
        let kept: BTreeSet<u64> = (1..=last).filter(|version| keep(*version)).collect();
        prop_assert_eq!(new_roots(&converted), kept);
        prop_assert_eq!(logical_root(&converted), logical_root(&legacy));
        let (before, after) = (verify(&legacy), verify(&converted));
        prop_assert_eq!(before.findings, vec![]);
        prop_assert_eq!(after.findings, vec![]);
        prop_assert_eq!(convert(&converted), converted);
    }

    #[test]
    fn gaps_are_kept_where_that_was_agreed(
        versions in versions(),
        gaps in proptest::collection::btree_set(1..24_u64, 0..12),
    ) {
        let model = Model::new(1, &versions);
        let last = versions.len() as u64;
        let legacy = model.legacy(&|version| version == last || !gaps.contains(&version));
        let (converted, _folder) =
            convert_with(&legacy, |options| options.gaps = Gaps::Keep).unwrap();
        let first = (1..=last).find(|version| *version == last || !gaps.contains(version));
        let runs = (first.unwrap_or(last)..last)
            .filter(|v| gaps.contains(v) && !gaps.contains(&(v - 1)))
            .count();
        prop_assert_eq!(converted.report().stores[0].gaps, runs as u64);
        let converted = read(&converted);
        prop_assert_eq!(logical_root(&converted), logical_root(&legacy));
        prop_assert_eq!(verify(&converted).findings, verify(&legacy).findings);
    }
}
