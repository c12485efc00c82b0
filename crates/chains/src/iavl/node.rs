//! IAVL nodes of both forms, fast nodes, root references: decoded by borrowing.

use crate::iavl::keys::{NodeId, VERSION_MAX};
use sha2::{Digest, Sha256};
use transload_codec::varint::{put_uvarint, put_varint, read_canonical_uvarint, unzigzag};
use transload_codec::{Malformed, MalformedKind};

/// Bytes of a node's hash.
pub const HASH_BYTES: usize = 32;

/// A tree of height 127 would have more leaves than there are atoms; the library keeps heights
/// in an `int8`.
pub const HEIGHT_MAX: u8 = 127;

/// Hash of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_tree_hash() -> [u8; HASH_BYTES] {
    Sha256::digest([]).into()
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// 0 for a leaf.
    pub height: u8,
    /// Leaves below it; 1 for a leaf.
    pub size: u64,
    /// The version that made it.
    pub version: u64,
    /// The leaf's key, or the smallest key below the right child.
    pub key: &'a [u8],
    /// The rest.
    pub body: Body<'a>,
}

/// What leaves and inner nodes don't share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A leaf.
    Leaf {
        /// Its value.
        value: &'a [u8],
    },
    /// An inner node.
    Inner {
        /// The hash that it claims: stored in the 1.x form, its key in the 0.x form.
        hash: [u8; HASH_BYTES],
        /// Left child.
        left: NodeId,
        /// Right child.
        right: NodeId,
    },
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, kind: MalformedKind, what: &'static str) -> Malformed {
        Malformed::new(kind, what, self.at)
    }

    fn uvarint(&mut self) -> Result<u64, Malformed> {
        let (value, taken) = read_canonical_uvarint(&self.input[self.at..])
            .map_err(|error| error.shifted(self.at))?;
        self.at += taken;
        Ok(value)
    }

    /// A zigzag varint from 0 to `max`.
    fn number(&mut self, max: u64, what: &'static str) -> Result<u64, Malformed> {
        let at = self.at;
        let value = u64::try_from(unzigzag(self.uvarint()?)).ok().filter(|value| *value <= max);
        value.ok_or(Malformed::new(MalformedKind::OutOfRange, what, at))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.uvarint()?;
        let rest = &self.input[self.at..];
        let Some(bytes) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return Err(self.error(MalformedKind::Truncated, "bytes that end too early"));
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    fn hash(&mut self) -> Result<[u8; HASH_BYTES], Malformed> {
        let at = self.at;
        let wrong = Malformed::new(MalformedKind::OutOfRange, "a hash that isn't 32 bytes", at);
        let bytes = self.bytes()?;
        bytes.first_chunk().filter(|_| bytes.len() == HASH_BYTES).copied().ok_or(wrong)
    }

    fn child(&mut self, legacy: bool) -> Result<NodeId, Malformed> {
        if legacy {
            return Ok(NodeId::legacy(self.hash()?));
        }
        let version = self.number(VERSION_MAX, "a child's version below 0")?;
        let nonce = self.number(u64::from(u32::MAX), "a child's nonce beyond 32 bits")?;
        Ok(NodeId::new(version, u32::try_from(nonce).unwrap_or(u32::MAX)))
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.at == self.input.len() {
            return Ok(());
        }
        Err(self.error(MalformedKind::Unexpected, "bytes after the node"))
    }
}

impl<'a> Node<'a> {
    /// Decodes the node stored under `id`.
    ///
    /// Layout, 1.x (cosmos/iavl `node.go`): zigzag varints height and size, length-prefixed
    /// key; a leaf: length-prefixed value; an inner node: length-prefixed hash, zigzag varint of
    /// mode bits (1: the left child is of the 0.x form, 2: the right one), each child as zigzag
    /// varints version and nonce, or as length-prefixed hash. The version is in the key.
    /// Layout, 0.x: the same with the version after the size, without hash and mode, and with
    /// hashes for children.
    ///
    /// # Errors
    /// `Truncated`; `NotCanonical` for padded varints; `OutOfRange` for a height above 127, a
    /// leaf whose size isn't 1, an inner size below 2, or a hash of another length; `Unexpected`
    /// for bytes after the node. Never panics on any input.
    pub fn decode(id: NodeId, stored: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { input: stored, at: 0 };
        let height = reader.number(u64::from(HEIGHT_MAX), "a height that isn't 0 to 127")?;
        let height = u8::try_from(height).unwrap_or(HEIGHT_MAX);
        let size_at = reader.at;
        let size = reader.number(VERSION_MAX, "a negative size")?;
        if (height == 0) != (size == 1) || size == 0 {
            let what = "a size that doesn't fit the height";
            return Err(Malformed::new(MalformedKind::OutOfRange, what, size_at));
        }
        let version = match id.version_and_nonce() {
            Some((version, _)) => version,
            None => reader.number(VERSION_MAX, "a negative version")?,
        };
        let key = reader.bytes()?;
        let body = if height == 0 {
            Body::Leaf { value: reader.bytes()? }
        } else if let Some(hash) = id.legacy_hash() {
            Body::Inner { hash, left: reader.child(true)?, right: reader.child(true)? }
        } else {
            let hash = reader.hash()?;
            let mode = reader.number(3, "mode bits that don't exist")?;
            let left = reader.child(mode & 1 != 0)?;
            Body::Inner { hash, left, right: reader.child(mode & 2 != 0)? }
        };
        reader.end()?;
        Ok(Self { height, size, version, key, body })
    }

    /// The hash that the node's bytes say: computed for a leaf, claimed for an inner node.
    #[must_use]
    pub fn hash(&self) -> [u8; HASH_BYTES] {
        match self.body {
            Body::Leaf { value } => {
                leaf_hash(self.version, self.key, &Sha256::digest(value).into())
            }
            Body::Inner { hash, .. } => hash,
        }
    }
}

/// Hash of a leaf: SHA-256 over zigzag varints height 0, size 1 and version, the
/// length-prefixed key, and the length-prefixed SHA-256 of the value.
#[must_use]
pub fn leaf_hash(version: u64, key: &[u8], value_hash: &[u8; HASH_BYTES]) -> [u8; HASH_BYTES] {
    let mut head = Vec::with_capacity(key.len() + 64);
    put_hash_head(&mut head, 0, 1, version);
    put_uvarint(&mut head, key.len() as u64);
    head.extend_from_slice(key);
    put_uvarint(&mut head, HASH_BYTES as u64);
    head.extend_from_slice(value_hash);
    Sha256::digest(head).into()
}

/// Hash of an inner node: SHA-256 over zigzag varints height, size and version, and the
/// length-prefixed hashes of its children.
#[must_use]
pub fn inner_hash(
    height: u8,
    size: u64,
    version: u64,
    left: &[u8; HASH_BYTES],
    right: &[u8; HASH_BYTES],
) -> [u8; HASH_BYTES] {
    let mut head = Vec::with_capacity(128);
    put_hash_head(&mut head, height, size, version);
    for child in [left, right] {
        put_uvarint(&mut head, HASH_BYTES as u64);
        head.extend_from_slice(child);
    }
    Sha256::digest(head).into()
}

fn put_hash_head(out: &mut Vec<u8>, height: u8, size: u64, version: u64) {
    put_varint(out, i64::from(height));
    // Both are at most VERSION_MAX, which is i64::MAX.
    put_varint(out, size.cast_signed());
    put_varint(out, version.cast_signed());
}

/// The latest value of a key, as the fast index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastNode<'a> {
    /// The version that set it, or in which the index was built.
    pub version: u64,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> FastNode<'a> {
    /// Decodes a fast node: zigzag varint version, length-prefixed value.
    ///
    /// # Errors
    /// As [`Node::decode`].
    pub fn decode(stored: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { input: stored, at: 0 };
        let version = reader.number(VERSION_MAX, "a negative version")?;
        let value = reader.bytes()?;
        reader.end()?;
        Ok(Self { version, value })
    }
}

/// What stands at a version's root key (nonce 1, 1.x form) when it is no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootEntry {
    /// The tree of the version is empty.
    Empty,
    /// The version changed nothing: its root is this older node.
    Reference(NodeId),
}

impl RootEntry {
    /// Decodes the value at a root key; `None` when it is a node. A node never begins with the
    /// byte `s`, which would be a negative height.
    ///
    /// # Errors
    /// `OutOfRange` for a reference that has neither 13 bytes (`s`, version, nonce) nor 9
    /// (`s`, version; the nonce is 1), or names a negative version.
    pub fn decode(stored: &[u8]) -> Result<Option<Self>, Malformed> {
        let wrong = Malformed::new(MalformedKind::OutOfRange, "a malformed root reference", 0);
        match stored.split_first() {
            None => Ok(Some(RootEntry::Empty)),
            Some((b's', rest)) => {
                let version = rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                let version = version.filter(|version| *version <= VERSION_MAX).ok_or(wrong)?;
                let nonce = match rest.len() {
                    8 => 1,
                    12 => rest.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)),
                    _ => return Err(wrong),
                };
                Ok(Some(RootEntry::Reference(NodeId::new(version, nonce))))
            }
            Some(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> Vec<u8> {
        // height 0, size 1, key "k", value "v".
        vec![0, 2, 1, b'k', 1, b'v']
    }

    #[test]
    fn a_leaf_of_either_form_is_read() {
        let stored = leaf();
        let node = Node::decode(NodeId::new(7, 3), &stored).unwrap();
        assert_eq!((node.height, node.size, node.version, node.key), (0, 1, 7, b"k".as_slice()));
        assert_eq!(node.body, Body::Leaf { value: b"v" });
        let legacy = [0, 2, 14, 1, b'k', 1, b'v'];
        let old = Node::decode(NodeId::legacy([0; 32]), &legacy).unwrap();
        assert_eq!((old, old.hash()), (node, node.hash()));
    }

    #[test]
    fn children_of_both_forms_are_read() {
        let mut stored = vec![2, 4, 1, b'm', 32];
        stored.extend([9; 32]);
        stored.extend([2, 10, 4, 32]); // mode 1: left (5, 2)? no: bit 1 marks the left child
        stored.extend([8; 32]);
        assert!(Node::decode(NodeId::new(1, 1), &stored).is_err());
        let mut stored = vec![2, 4, 1, b'm', 32];
        stored.extend([9; 32]);
        stored.extend([4, 10, 4, 32]); // mode 2: left (5, 2), right of the 0.x form
        stored.extend([8; 32]);
        let node = Node::decode(NodeId::new(1, 1), &stored).unwrap();
        let left = NodeId::new(5, 2);
        let right = NodeId::legacy([8; 32]);
        assert_eq!(node.body, Body::Inner { hash: [9; 32], left, right });
    }

    #[test]
    fn what_a_node_never_writes_is_refused_with_its_offset() {
        let kind = |stored: &[u8]| {
            let error = Node::decode(NodeId::new(1, 1), stored).unwrap_err();
            (error.kind, error.offset)
        };
        assert_eq!(kind(&[]), (MalformedKind::Truncated, 0));
        assert_eq!(kind(&[1]), (MalformedKind::OutOfRange, 0)); // height -1
        assert_eq!(kind(&[0x80, 2, 2]), (MalformedKind::OutOfRange, 0)); // height 128
        assert_eq!(kind(&[0, 4, 0, 0]), (MalformedKind::OutOfRange, 1)); // a leaf of size 2
        assert_eq!(kind(&[2, 2, 0]), (MalformedKind::OutOfRange, 1)); // an inner node of size 1
        assert_eq!(kind(&[0, 0x82, 0, 1]), (MalformedKind::NotCanonical, 1));
        assert_eq!(kind(&[0, 2, 9, b'k']), (MalformedKind::Truncated, 3));
        let mut longer = leaf();
        longer.push(0);
        assert_eq!(kind(&longer), (MalformedKind::Unexpected, 6));
        assert_eq!(kind(&[2, 4, 0, 31]), (MalformedKind::Truncated, 4));
    }

    #[test]
    fn roots_that_are_no_nodes_are_told_apart() {
        assert_eq!(RootEntry::decode(b""), Ok(Some(RootEntry::Empty)));
        assert_eq!(RootEntry::decode(&leaf()), Ok(None));
        let mut reference = b"s\0\0\0\0\0\0\0\x05".to_vec();
        let five = |nonce| Ok(Some(RootEntry::Reference(NodeId::new(5, nonce))));
        assert_eq!(RootEntry::decode(&reference), five(1));
        reference.extend(3_u32.to_be_bytes());
        assert_eq!(RootEntry::decode(&reference), five(3));
        reference.pop();
        assert!(RootEntry::decode(&reference).is_err());
    }

    #[test]
    fn a_fast_node_is_read() {
        let fast = FastNode::decode(&[14, 2, b'a', b'b']).unwrap();
        assert_eq!(fast, FastNode { version: 7, value: b"ab" });
        assert_eq!(FastNode::decode(&[14, 0]).unwrap().value, b"");
        assert!(FastNode::decode(&[14, 2, b'a', b'b', b'c']).is_err());
        assert!(FastNode::decode(&[13, 0]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            stored in proptest::collection::vec(any::<u8>(), 0..200),
            legacy in any::<bool>(),
        ) {
            let id = if legacy { NodeId::legacy([1; 32]) } else { NodeId::new(3, 1) };
            if let Ok(node) = Node::decode(id, &stored) {
                let _ = node.hash();
            }
            let _ = FastNode::decode(&stored);
            let _ = RootEntry::decode(&stored);
            let _ = crate::iavl::keys::Key::parse(&stored);
            let _ = crate::iavl::commit::CommitInfo::decode(&stored);
        }
    }
}
