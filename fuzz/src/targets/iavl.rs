//! IAVL: what decodes is exactly what the library writes, told by an encoder of our own.

use super::samples;
use super::shape::agrees;
use crate::input::Input;
use transload_chains::iavl::commit::{COMMIT_INFO, CommitInfo, decode_latest};
use transload_chains::iavl::keys::{
    Entry, Key, LATEST_KEY, NodeId, PRUNE_KEYS, commit_info_key, store_prefix,
};
use transload_chains::iavl::node::{Body, FastNode, HASH_BYTES, Node, RootEntry};
use transload_codec::varint::{put_uvarint, put_varint};

fn number(out: &mut Vec<u8>, value: u64) {
    put_varint(out, i64::try_from(value).expect("decoders take no more than an int64"));
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn child(out: &mut Vec<u8>, id: NodeId) {
    match (id.version_and_nonce(), id.legacy_hash()) {
        (Some((version, nonce)), _) => {
            number(out, version);
            number(out, u64::from(nonce));
        }
        (None, hash) => prefixed(out, &hash.expect("of one of two forms")),
    }
}

fn encode(id: NodeId, node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, u64::from(node.height));
    number(&mut out, node.size);
    let legacy = id.legacy_hash().is_some();
    if legacy {
        number(&mut out, node.version);
    }
    prefixed(&mut out, node.key);
    match node.body {
        Body::Leaf { value } => prefixed(&mut out, value),
        Body::Inner { hash, left, right } => {
            if !legacy {
                prefixed(&mut out, &hash);
                let bit = |id: NodeId, bit| if id.legacy_hash().is_some() { bit } else { 0 };
                number(&mut out, bit(left, 1) | bit(right, 2));
            }
            child(&mut out, left);
            child(&mut out, right);
        }
    }
    out
}

/// A node of either form, a fast node and a root entry from the same bytes.
pub(crate) fn node(bytes: &[u8]) {
    for id in [NodeId::new(7, 3), NodeId::legacy([9; HASH_BYTES])] {
        if let Ok(node) = Node::decode(id, bytes) {
            assert_eq!(encode(id, &node), bytes);
            assert_eq!(node.height == 0, node.size == 1);
            let _ = node.hash();
        }
    }
    if let Ok(fast) = FastNode::decode(bytes) {
        let mut out = Vec::new();
        number(&mut out, fast.version);
        prefixed(&mut out, fast.value);
        assert_eq!(out, bytes);
    }
    match RootEntry::decode(bytes) {
        Ok(Some(RootEntry::Empty)) => assert!(bytes.is_empty()),
        Ok(Some(RootEntry::Reference(id))) => {
            let long = id.bytes() == bytes;
            let short = id.version_and_nonce().is_some_and(|(_, nonce)| nonce == 1)
                && bytes.len() == 9
                && id.bytes().starts_with(bytes);
            assert!(long || short);
        }
        // A node is never taken for a root entry, nor the other way round.
        Ok(None) => {}
        Err(_) => assert!(Node::decode(NodeId::new(7, 1), bytes).is_err()),
    }
}

pub(crate) fn node_seeds() -> Vec<Vec<u8>> {
    let leaf = vec![0, 2, 1, b'k', 1, b'v'];
    let legacy_leaf = vec![0, 2, 14, 1, b'k', 1, b'v'];
    let (left, right) = (NodeId::new(5, 2), NodeId::legacy([8; HASH_BYTES]));
    let inner = |left, right| Node {
        height: 3,
        size: 5,
        version: 7,
        key: b"middle",
        body: Body::Inner { hash: [9; HASH_BYTES], left, right },
    };
    vec![
        leaf,
        legacy_leaf,
        encode(NodeId::new(7, 3), &inner(left, right)),
        encode(NodeId::new(7, 3), &inner(right, left)),
        encode(NodeId::legacy([9; HASH_BYTES]), &inner(right, right)),
        vec![14, 1, b'v'],
        NodeId::new(318, 1).bytes().to_vec(),
        NodeId::new(318, 1).bytes()[..9].to_vec(),
    ]
}

/// Physical keys of `application.db`.
pub(crate) fn key(bytes: &[u8]) {
    let again = match Key::parse(bytes) {
        Key::CommitInfo(version) => commit_info_key(version),
        Key::Latest => LATEST_KEY.to_vec(),
        Key::Prune => {
            assert!(PRUNE_KEYS.contains(&bytes));
            bytes.to_vec()
        }
        Key::Unknown => return,
        Key::Store { store, entry } => {
            let entry = match entry {
                Entry::Node(id) => id.bytes().to_vec(),
                Entry::LegacyRoot(version) => [&b"r"[..], &version.to_be_bytes()].concat(),
                Entry::Orphan { to, from, hash } => {
                    [&b"o"[..], &to.to_be_bytes(), &from.to_be_bytes(), &hash].concat()
                }
                Entry::Fast(key) => [&b"f"[..], key].concat(),
                Entry::Meta(name) => [&b"m"[..], name].concat(),
                Entry::Unknown => return,
            };
            [store_prefix(store), entry].concat()
        }
    };
    assert_eq!(again, bytes);
    // Ids are ordered as their keys are.
    let mut input = Input::new(bytes);
    let (one, other) = (NodeId::split(input.piece()), NodeId::split(input.rest()));
    if let (Some((one, _)), Some((other, _))) = (one, other) {
        assert_eq!(one.cmp(&other), one.bytes().cmp(other.bytes()));
    }
}

pub(crate) fn key_seeds() -> Vec<Vec<u8>> {
    let of = |entry: &[u8]| [store_prefix(b"bank"), entry.to_vec()].concat();
    let mut keys = vec![commit_info_key(318), LATEST_KEY.to_vec(), of(b"fkey"), of(b"mname")];
    keys.push(of(NodeId::new(318, 1).bytes()));
    keys.push(of(NodeId::legacy([7; HASH_BYTES]).bytes()));
    keys.push(of(&[&b"r"[..], &318_u64.to_be_bytes()].concat()));
    keys.push(of(&[&b"o"[..], &[0; 16], &[1; HASH_BYTES]].concat()));
    keys.extend(PRUNE_KEYS.map(<[u8]>::to_vec));
    keys
}

/// A version's root hashes.
pub(crate) fn commit_info(bytes: &[u8]) {
    agrees(&COMMIT_INFO, bytes);
    if let Ok(info) = CommitInfo::decode(bytes) {
        assert!(info.stores.len() <= bytes.len() / 2);
        let hash = info.app_hash();
        let mut turned = info.clone();
        turned.stores.reverse();
        assert_eq!(turned.app_hash(), hash, "the order of stores doesn't matter");
        for store in &info.stores {
            assert!(info.store(store.name).is_some());
            let _ = store.has_tree();
        }
    }
    let _ = decode_latest(bytes);
}

pub(crate) fn commit_info_seeds() -> Vec<Vec<u8>> {
    samples::commit_infos()
}
