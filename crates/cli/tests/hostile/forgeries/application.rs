//! Forgeries of a Cosmos SDK application's state: trees of both forms, what points into them,
//! and the hashes that headers commit to.

use super::blocks::UNKNOWN_FIELD;
use super::home::{APPLICATION, Home, place};
use super::{Forged, Forgery};
use transload_chains::iavl::commit::{CommitInfo, decode_latest};
use transload_chains::iavl::keys::{Entry, Key, LATEST_KEY, NodeId, commit_info_key, store_prefix};
use transload_chains::iavl::node::{Body, FastNode, Node};

/// The store that is forged: it changes in every block.
const STORE: &[u8] = b"bank";

/// All of them.
pub(super) fn forgeries() -> Vec<Forgery> {
    vec![
        Forgery::new("a store's hash in CommitInfo", |home| {
            let (version, mut value) = commit_info(home)?;
            let at = place(&value, &[2, 2, 2])?;
            value[at] ^= 1;
            Some(of_version(version, value))
        }),
        Forgery::new("a store's name in CommitInfo", |home| {
            let (version, mut value) = commit_info(home)?;
            let at = place(&value, &[2, 1])?;
            value[at] ^= 1;
            Some(of_version(version, value))
        }),
        Forgery::new("an unknown field around CommitInfo", |home| {
            let (version, mut value) = commit_info(home)?;
            value.extend_from_slice(&UNKNOWN_FIELD);
            Some(of_version(version, value))
        }),
        Forgery::new("a CommitInfo that is dropped", |home| {
            let (version, _) = commit_info(home)?;
            let key = commit_info_key(version);
            Some(Forged::dropped(APPLICATION, "application/commit_info", key, Some(version)))
        }),
        Forgery::new("the last version", |home| {
            let mut value = home.databases.get(APPLICATION)?.get(LATEST_KEY)?.clone();
            let last = value.len() - 1;
            value[last] ^= 1;
            decode_latest(&value).unwrap();
            let changes = vec![(APPLICATION, LATEST_KEY.to_vec(), Some(value))];
            // Whatever stands above or is missing is named by its own key.
            Some(Forged::new(changes, APPLICATION, "application/", Vec::new(), None))
        }),
        Forgery::new("the value of a leaf", |home| {
            let (key, value) = node(home, |node| matches!(node.body, Body::Leaf { .. }))?;
            Some(bent(key, value))
        }),
        Forgery::new("a child that an inner node names", |home| {
            let (key, value) = node(home, |node| node.height == 1)?;
            let mut forged = bent(key, value);
            // The child that isn't there is named, with its parent.
            forged.key = store_prefix(STORE);
            Some(forged)
        }),
        Forgery::new("the key of an inner node", |home| {
            let (key, mut value) = node(home, |node| node.height == 2)?;
            let raw = value.clone();
            let inner = Node::decode(id(&key), &raw).unwrap().key;
            let at = inner.as_ptr().addr() - raw.as_ptr().addr() + inner.len() - 1;
            value[at] ^= 1;
            Some(in_tree(key, value))
        }),
        Forgery::new("a node that is dropped", |home| {
            let (key, _) = node(home, |node| node.height == 1)?;
            let changes = vec![(APPLICATION, key, None)];
            // Whoever names it is named.
            let named = store_prefix(STORE);
            Some(Forged::new(changes, APPLICATION, "application/iavl", named, None))
        }),
        Forgery::new("a node too many", |home| {
            let (key, value) = node(home, |node| matches!(node.body, Body::Leaf { .. }))?;
            let mut key = key;
            let name = match id(&key).version_and_nonce() {
                // The nonce of a node that no tree can have.
                Some((version, _)) => {
                    let id = NodeId::new(version, 0x7fff_ffff);
                    key = [store_prefix(STORE).as_slice(), id.bytes()].concat();
                    "application/iavl_node"
                }
                None => {
                    let last = key.len() - 1;
                    key[last] ^= 1;
                    "application/iavl_legacy_node"
                }
            };
            Some(Forged::put(APPLICATION, name, key, value, None))
        }),
        Forgery::new("a second root, where pruning moves the first", |home| {
            let (version, _) = commit_info(home)?;
            let at = |nonce| {
                [store_prefix(STORE).as_slice(), NodeId::new(version, nonce).bytes()].concat()
            };
            let value = home.entries(APPLICATION).get(&at(1))?;
            Node::decode(NodeId::new(version, 1), value).ok()?;
            let (_, leaf) = node(home, |node| matches!(node.body, Body::Leaf { .. }))?;
            let changes = vec![(APPLICATION, at(0), Some(leaf))];
            let (named, name) = (at(1), "application/iavl_node");
            Some(Forged::new(changes, APPLICATION, name, named, Some(version)))
        }),
        Forgery::new("the root of a version", |home| {
            let (version, _) = commit_info(home)?;
            let legacy = [store_prefix(STORE), b"r".to_vec(), version.to_be_bytes().to_vec()];
            let key = legacy.concat();
            let mut value = home.entries(APPLICATION).get(&key)?.clone();
            value[5] ^= 1;
            let name = "application/iavl_root";
            Some(Forged::put(APPLICATION, name, key, value, Some(version)))
        }),
        Forgery::new("a version whose root is dropped", |home| {
            let (version, _) = commit_info(home)?;
            let entries = [
                [b"r".as_slice(), &version.to_be_bytes()].concat(),
                NodeId::new(version, 1).bytes().to_vec(),
            ];
            let keys = entries.map(|entry| [store_prefix(STORE), entry].concat());
            let key = keys.into_iter().find(|key| home.entries(APPLICATION).contains_key(key))?;
            let changes = vec![(APPLICATION, key, None)];
            // By whoever names it, or by CommitInfo.
            let named = store_prefix(STORE);
            Some(Forged::new(changes, APPLICATION, "application/iavl", named, None))
        }),
        Forgery::new("the value of a fast node", |home| {
            let (key, mut value) = fast(home)?;
            let last = value.len() - 1;
            value[last] ^= 1;
            Some(Forged::put(APPLICATION, "application/iavl_fast", key, value, None))
        }),
        Forgery::new("a fast node that is dropped", |home| {
            let (key, _) = fast(home)?;
            Some(Forged::dropped(APPLICATION, "application/iavl_fast", key, None))
        }),
        Forgery::new("a fast node of a key that the tree lacks", |home| {
            let (mut key, value) = fast(home)?;
            key.extend_from_slice(b"invented");
            Some(Forged::put(APPLICATION, "application/iavl_fast", key, value, None))
        }),
        Forgery::new("an orphan that names a node in use", forged_orphan),
        Forgery::new("an orphan of another version", |home| {
            let entries = home.databases.get(APPLICATION)?.range(store_prefix(STORE)..);
            let (key, value) = entries
                .take_while(|(key, _)| key.starts_with(&store_prefix(STORE)))
                .find(|(key, _)| matches!(parsed(key), Entry::Orphan { .. }))?;
            let Entry::Orphan { to, from, hash } = parsed(key) else { return None };
            let forged = orphan_key(to, from + 1, &hash);
            let name = "application/iavl_orphan";
            Some(Forged::put(APPLICATION, name, forged, value.clone(), Some(to)))
        }),
    ]
}

fn parsed(key: &[u8]) -> Entry<'_> {
    match Key::parse(key) {
        Key::Store { entry, .. } => entry,
        other => panic!("{other:?} is in no store"),
    }
}

fn id(key: &[u8]) -> NodeId {
    match parsed(key) {
        Entry::Node(id) => id,
        other => panic!("{other:?} is no node"),
    }
}

fn of_version(version: u64, value: Vec<u8>) -> Forged {
    let key = commit_info_key(version);
    Forged::put(APPLICATION, "application/commit_info", key, value, Some(version))
}

fn latest(home: &Home) -> Option<u64> {
    let stored = home.databases.get(APPLICATION)?.get(LATEST_KEY)?;
    decode_latest(stored).ok()
}

/// The CommitInfo of a version that is kept whole, well below the last.
fn commit_info(home: &Home) -> Option<(u64, Vec<u8>)> {
    let version = latest(home)? - 5;
    let value = home.entries(APPLICATION)[&commit_info_key(version)].clone();
    CommitInfo::decode(&value).unwrap();
    Some((version, value))
}

/// A node of the store's latest trees.
fn node(home: &Home, is_it: impl Fn(&Node<'_>) -> bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let prefix = store_prefix(STORE);
    let entries = home.databases.get(APPLICATION)?.range(prefix.clone()..);
    let mut nodes =
        entries.take_while(|(key, _)| key.starts_with(&prefix)).filter(|(key, value)| {
            let Entry::Node(id) = parsed(key) else { return false };
            Node::decode(id, value).is_ok_and(|node| is_it(&node))
        });
    nodes.next().map(|(key, value)| (key.clone(), value.clone()))
}

/// The last byte of a node turned. In the 1.x form whoever names the node says so, in the 0.x
/// form the node's own key.
fn bent(key: Vec<u8>, mut value: Vec<u8>) -> Forged {
    let last = value.len() - 1;
    value[last] ^= 1;
    let named = match id(&key).version_and_nonce() {
        Some(_) => [store_prefix(STORE).as_slice(), b"s"].concat(),
        None => key.clone(),
    };
    let changes = vec![(APPLICATION, key, Some(value))];
    Forged::new(changes, APPLICATION, "application/iavl", named, None)
}

fn in_tree(key: Vec<u8>, value: Vec<u8>) -> Forged {
    let changes = vec![(APPLICATION, key.clone(), Some(value))];
    Forged::new(changes, APPLICATION, "application/iavl", key, None)
}

fn fast(home: &Home) -> Option<(Vec<u8>, Vec<u8>)> {
    let prefix = [store_prefix(STORE).as_slice(), b"f"].concat();
    let entries = home.databases.get(APPLICATION)?.range(prefix.clone()..);
    let mut nodes = entries.take_while(|(key, _)| key.starts_with(&prefix));
    let long = |value: &[u8]| FastNode::decode(value).is_ok_and(|node| !node.value.is_empty());
    nodes.find(|(_, value)| long(value)).map(|(key, value)| (key.clone(), value.clone()))
}

fn orphan_key(to: u64, from: u64, hash: &[u8; 32]) -> Vec<u8> {
    let store = store_prefix(STORE);
    [store.as_slice(), b"o", &to.to_be_bytes(), &from.to_be_bytes(), hash].concat()
}

/// An orphan for the latest root: pruning would delete it under the node's feet.
fn forged_orphan(home: &Home) -> Option<Forged> {
    let version = latest(home)?;
    let root = [store_prefix(STORE).as_slice(), b"r", &version.to_be_bytes()].concat();
    let hash: [u8; 32] = home.entries(APPLICATION).get(&root)?.as_slice().try_into().ok()?;
    let node = [store_prefix(STORE).as_slice(), b"n", &hash].concat();
    let made = Node::decode(id(&node), &home.entries(APPLICATION)[&node]).unwrap().version;
    let to = version - 1;
    let key = orphan_key(to, made.min(to), &hash);
    let name = "application/iavl_orphan";
    Some(Forged::put(APPLICATION, name, key, hash.to_vec(), Some(to)))
}
