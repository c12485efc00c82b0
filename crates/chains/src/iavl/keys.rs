//! Physical keys of `application.db`.
//!
//! | key | what |
//! |---|---|
//! | `s/` decimal version | CommitInfo |
//! | `s/latest` | the last version committed |
//! | `s/pruneheights`, `s/prunesnapshotheights` | versions that wait to be pruned |
//! | `s/k:` store `/` ... | an entry of a store's tree, as below |
//! | `s` version u64 BE, nonce u32 BE | node of the 1.x form; nonce 1 is the version's root |
//! | `n` hash | node of the 0.x form |
//! | `r` version u64 BE | root of a version, 0.x form |
//! | `o` last version, first version u64 BE, hash | orphan: a node that no later version has |
//! | `f` key | fast node: the latest value of a key |
//! | `m` name | metadata, such as `storage_version` |

use crate::iavl::node::HASH_BYTES;
use transload_codec::decimal;

/// Where the stores' entries begin.
pub const STORES_PREFIX: &[u8] = b"s/k:";

/// The key of the last version committed.
pub const LATEST_KEY: &[u8] = b"s/latest";

/// Keys of versions that wait to be pruned.
pub const PRUNE_KEYS: [&[u8]; 2] = [b"s/pruneheights", b"s/prunesnapshotheights"];

/// The name under which a tree keeps the version of its fast index.
pub const STORAGE_VERSION: &[u8] = b"storage_version";

/// Versions are `int64` on the chain.
pub const VERSION_MAX: u64 = i64::MAX.unsigned_abs();

/// A physical key, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The CommitInfo of a version.
    CommitInfo(u64),
    /// The last version committed.
    Latest,
    /// Versions that wait to be pruned.
    Prune,
    /// An entry of a store.
    Store {
        /// The store's name.
        store: &'a [u8],
        /// Which of its entries.
        entry: Entry<'a>,
    },
    /// Nothing that any known version writes.
    Unknown,
}

/// An entry of a store's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A node, or (at nonce 1) the root of a version that has no node of its own.
    Node(NodeId),
    /// The root of a version, 0.x form.
    LegacyRoot(u64),
    /// A node that no version after `to` has.
    Orphan {
        /// The last version that has it.
        to: u64,
        /// The first version that has it.
        from: u64,
        /// The node.
        hash: [u8; HASH_BYTES],
    },
    /// The latest value of this key.
    Fast(&'a [u8]),
    /// Metadata of this name.
    Meta(&'a [u8]),
    /// Nothing that any known version writes.
    Unknown,
}

const NODE_ID_BYTES: usize = 13;
const LEGACY_ID_BYTES: usize = 1 + HASH_BYTES;

/// Which node: the part of its physical key after the store's prefix. Ids are ordered as the
/// keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeId {
    /// Unused bytes are zero.
    bytes: [u8; LEGACY_ID_BYTES],
}

impl NodeId {
    /// A node of the 1.x form.
    #[must_use]
    pub fn new(version: u64, nonce: u32) -> Self {
        let mut bytes = [0; LEGACY_ID_BYTES];
        bytes[0] = b's';
        bytes[1..9].copy_from_slice(&version.to_be_bytes());
        bytes[9..13].copy_from_slice(&nonce.to_be_bytes());
        Self { bytes }
    }

    /// A node of the 0.x form.
    #[must_use]
    pub fn legacy(hash: [u8; HASH_BYTES]) -> Self {
        let mut bytes = [0; LEGACY_ID_BYTES];
        bytes[0] = b'n';
        bytes[1..].copy_from_slice(&hash);
        Self { bytes }
    }

    /// Bytes of the key, which the first one tells.
    fn length(&self) -> usize {
        if self.bytes[0] == b's' { NODE_ID_BYTES } else { LEGACY_ID_BYTES }
    }

    /// Takes an id from the front of `bytes`.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let length = match bytes.first()? {
            b's' => NODE_ID_BYTES,
            b'n' => LEGACY_ID_BYTES,
            _ => return None,
        };
        let (id, rest) = bytes.split_at_checked(length)?;
        let mut held = [0; LEGACY_ID_BYTES];
        held[..length].copy_from_slice(id);
        Some((Self { bytes: held }, rest))
    }

    /// The key after the store's prefix.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length()]
    }

    /// The hash of a node of the 0.x form.
    #[must_use]
    pub fn legacy_hash(&self) -> Option<[u8; HASH_BYTES]> {
        if self.bytes[0] == b'n' { self.bytes[1..].first_chunk().copied() } else { None }
    }

    /// Version and nonce of a node of the 1.x form.
    #[must_use]
    pub fn version_and_nonce(&self) -> Option<(u64, u32)> {
        if self.bytes[0] != b's' {
            return None;
        }
        let version = u64::from_be_bytes(*self.bytes[1..].first_chunk()?);
        let nonce = u32::from_be_bytes(*self.bytes[9..].first_chunk()?);
        Some((version, nonce))
    }

    /// Where pruning moves a root: from nonce 1 to nonce 0, while other nodes still name nonce 1.
    #[must_use]
    pub fn moved_by_pruning(&self) -> Option<Self> {
        match self.version_and_nonce() {
            Some((version, 1)) => Some(Self::new(version, 0)),
            _ => None,
        }
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl std::fmt::Debug for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.version_and_nonce() {
            Some((version, nonce)) => write!(f, "({version}, {nonce})"),
            None => write!(f, "{}", hex::encode(&self.bytes[1..])),
        }
    }
}

impl<'a> Key<'a> {
    /// Parses any key. A key that isn't written exactly as a node would write it is `Unknown`.
    #[must_use]
    pub fn parse(key: &'a [u8]) -> Self {
        if key == LATEST_KEY {
            return Key::Latest;
        }
        if PRUNE_KEYS.contains(&key) {
            return Key::Prune;
        }
        if let Some(rest) = key.strip_prefix(STORES_PREFIX) {
            let Some(end) = rest.iter().position(|byte| *byte == b'/').filter(|end| *end > 0)
            else {
                return Key::Unknown;
            };
            return Key::Store { store: &rest[..end], entry: Entry::parse(&rest[end + 1..]) };
        }
        match key.strip_prefix(b"s/").map(decimal::parse) {
            Some(Ok(version)) if version <= VERSION_MAX => Key::CommitInfo(version),
            _ => Key::Unknown,
        }
    }
}

impl<'a> Entry<'a> {
    /// Parses what follows a store's prefix.
    #[must_use]
    pub fn parse(entry: &'a [u8]) -> Self {
        let Some((kind, rest)) = entry.split_first() else { return Entry::Unknown };
        match kind {
            b'f' if !rest.is_empty() => Entry::Fast(rest),
            b'm' => Entry::Meta(rest),
            b'n' | b's' => match NodeId::split(entry) {
                Some((id, [])) if id.version_and_nonce().is_none_or(|(v, _)| v <= VERSION_MAX) => {
                    Entry::Node(id)
                }
                _ => Entry::Unknown,
            },
            b'r' => match rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) {
                Some(version) if rest.len() == 8 && version <= VERSION_MAX => {
                    Entry::LegacyRoot(version)
                }
                _ => Entry::Unknown,
            },
            b'o' => parse_orphan(rest).unwrap_or(Entry::Unknown),
            _ => Entry::Unknown,
        }
    }
}

fn parse_orphan<'a>(rest: &[u8]) -> Option<Entry<'a>> {
    let (to, rest) = rest.split_first_chunk()?;
    let (from, rest) = rest.split_first_chunk()?;
    let hash = rest.first_chunk().filter(|_| rest.len() == HASH_BYTES)?;
    let (to, from) = (u64::from_be_bytes(*to), u64::from_be_bytes(*from));
    (to <= VERSION_MAX && from <= VERSION_MAX).then_some(Entry::Orphan { to, from, hash: *hash })
}

/// The prefix of a store's entries.
#[must_use]
pub fn store_prefix(store: &[u8]) -> Vec<u8> {
    [STORES_PREFIX, store, b"/"].concat()
}

/// The key of a version's CommitInfo.
#[must_use]
pub fn commit_info_key(version: u64) -> Vec<u8> {
    let mut key = b"s/".to_vec();
    decimal::put(&mut key, version);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &[u8]) -> Entry<'_> {
        match Key::parse(key) {
            Key::Store { store: b"bank", entry } => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_key_is_told_apart() {
        assert_eq!(Key::parse(b"s/latest"), Key::Latest);
        assert_eq!(Key::parse(b"s/10482"), Key::CommitInfo(10_482));
        assert_eq!(Key::parse(b"s/pruneheights"), Key::Prune);
        let key = [b"s/k:bank/s".as_slice(), &5_u64.to_be_bytes(), &1_u32.to_be_bytes()].concat();
        assert_eq!(entry(&key), Entry::Node(NodeId::new(5, 1)));
        let key = [b"s/k:bank/n".as_slice(), &[7; 32]].concat();
        assert_eq!(entry(&key), Entry::Node(NodeId::legacy([7; 32])));
        let key = [b"s/k:bank/r".as_slice(), &9_u64.to_be_bytes()].concat();
        assert_eq!(entry(&key), Entry::LegacyRoot(9));
        let key = [b"s/k:bank/o".as_slice(), &9_u64.to_be_bytes(), &3_u64.to_be_bytes(), &[1; 32]];
        let key = key.concat();
        assert_eq!(entry(&key), Entry::Orphan { to: 9, from: 3, hash: [1; 32] });
        assert_eq!(entry(b"s/k:bank/fa/b"), Entry::Fast(b"a/b"));
        assert_eq!(entry(b"s/k:bank/mstorage_version"), Entry::Meta(STORAGE_VERSION));
    }

    #[test]
    fn a_key_that_no_node_writes_is_unknown() {
        for key in [
            b"s/01".as_slice(),
            b"s/-1",
            b"s/9223372036854775808",
            b"s/",
            b"",
            b"s/k:bank",
            b"s/k:/sx",
            b"t/1",
        ] {
            assert_eq!(Key::parse(key), Key::Unknown, "{}", key.escape_ascii());
        }
        for key in [b"s/k:bank/".as_slice(), b"s/k:bank/f", b"s/k:bank/s123", b"s/k:bank/x"] {
            assert_eq!(entry(key), Entry::Unknown, "{}", key.escape_ascii());
        }
        let key = [b"s/k:bank/s".as_slice(), &[0xff; 12]].concat();
        assert_eq!(entry(&key), Entry::Unknown, "a negative version");
    }

    #[test]
    fn ids_are_ordered_as_their_keys() {
        let ids = [
            NodeId::legacy([0xff; 32]),
            NodeId::new(1, 2),
            NodeId::new(2, 0),
            NodeId::new(2, 1),
            NodeId::new(256, 1),
        ];
        assert!(ids.is_sorted());
        assert_eq!(NodeId::new(7, 1).moved_by_pruning(), Some(NodeId::new(7, 0)));
        assert_eq!(NodeId::new(7, 2).moved_by_pruning(), None);
        assert_eq!(NodeId::split(b"s12345678abcdX").unwrap().1, b"X");
        assert!(NodeId::split(b"s1234").is_none() && NodeId::split(b"f").is_none());
    }
}
