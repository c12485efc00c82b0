//! `CommitInfo`: the stores' root hashes of a version, and the application's hash over them.

use crate::iavl::node::empty_tree_hash;
use sha2::{Digest, Sha256};
use transload_codec::proto::{Deviation, FieldKind, Fields, Presence, Shape, Spec};
use transload_codec::{Malformed, MalformedKind};
use transload_model::merkle::{Hash, leaf_hash, root_of};

/// One store in a [`CommitInfo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreInfo<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The version of its tree; 0 for a store that keeps nothing on disk.
    pub version: u64,
    /// The hash of its tree; empty for a store that keeps nothing on disk.
    pub hash: &'a [u8],
}

/// What a version committed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitInfo<'a> {
    /// The version.
    pub version: u64,
    /// The stores.
    pub stores: Vec<StoreInfo<'a>>,
}

static COMMIT_ID: Shape = Shape {
    name: "CommitID",
    fields: &[
        Spec { number: 1, name: "version", kind: FieldKind::Int64, presence: Presence::NotDefault },
        Spec { number: 2, name: "hash", kind: FieldKind::Bytes, presence: Presence::NotDefault },
    ],
};

static STORE_INFO: Shape = Shape {
    name: "StoreInfo",
    fields: &[
        Spec { number: 1, name: "name", kind: FieldKind::Bytes, presence: Presence::NotDefault },
        Spec {
            number: 2,
            name: "commit_id",
            kind: FieldKind::Message(&COMMIT_ID),
            presence: Presence::Always,
        },
    ],
};

static TIMESTAMP: Shape = Shape {
    name: "Timestamp",
    fields: &[
        Spec { number: 1, name: "seconds", kind: FieldKind::Int64, presence: Presence::NotDefault },
        Spec { number: 2, name: "nanos", kind: FieldKind::Int32, presence: Presence::NotDefault },
    ],
};

/// The canonical form. Releases before 0.47 write no timestamp, later ones always.
pub static COMMIT_INFO: Shape = Shape {
    name: "CommitInfo",
    fields: &[
        Spec { number: 1, name: "version", kind: FieldKind::Int64, presence: Presence::NotDefault },
        Spec {
            number: 2,
            name: "store_infos",
            kind: FieldKind::Message(&STORE_INFO),
            presence: Presence::Repeated,
        },
        Spec {
            number: 3,
            name: "timestamp",
            kind: FieldKind::Message(&TIMESTAMP),
            presence: Presence::WhenSet,
        },
    ],
};

impl<'a> CommitInfo<'a> {
    /// Decodes the message (`cosmos/store/v1beta1/commit_info.proto`): 1 version, 2 repeated
    /// store info {1 name, 2 commit id {1 version, 2 hash}}, 3 timestamp.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message, and for negative versions.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut info = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => info.version = version(field.int64()?, field.offset)?,
                2 => info.stores.push(StoreInfo::decode(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(info)
    }

    /// Whether the stored bytes are the one canonical form of what they say.
    ///
    /// # Errors
    /// The first deviation.
    pub fn check_canonical(message: &[u8]) -> Result<(), Deviation> {
        COMMIT_INFO.check(message)
    }

    /// The application's hash: RFC 6962 root over the stores sorted by name, each a leaf of
    /// uvarint length and name, uvarint 32 and the SHA-256 of its hash. `None` when a name
    /// occurs twice: the node keeps the last one then, and nothing else ever writes such a list.
    #[must_use]
    pub fn app_hash(&self) -> Option<Hash> {
        let mut stores: Vec<&StoreInfo<'_>> = self.stores.iter().collect();
        stores.sort_by_key(|store| store.name);
        if stores.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return None;
        }
        if stores.is_empty() {
            return Some(empty_tree_hash());
        }
        Some(root_of(stores.into_iter().map(|store| {
            let mut leaf = Vec::with_capacity(store.name.len() + 40);
            transload_codec::varint::put_uvarint(&mut leaf, store.name.len() as u64);
            leaf.extend_from_slice(store.name);
            leaf.push(32);
            leaf.extend_from_slice(&Sha256::digest(store.hash));
            leaf_hash(&leaf)
        })))
    }

    /// The store of this name.
    #[must_use]
    pub fn store(&self, name: &[u8]) -> Option<&StoreInfo<'a>> {
        self.stores.iter().find(|store| store.name == name)
    }
}

impl<'a> StoreInfo<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut store = Self { name: &[], version: 0, hash: &[] };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => store.name = field.bytes()?,
                2 => {
                    let mut fields = Fields::new(field.bytes()?);
                    while let Some(field) = fields.next()? {
                        match field.number {
                            1 => store.version = version(field.int64()?, field.offset)?,
                            2 => store.hash = field.bytes()?,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(store)
    }

    /// Whether the store keeps a tree on disk. The SDK before 0.47 also lists stores that are
    /// kept in memory only, with version 0.
    #[must_use]
    pub fn has_tree(&self) -> bool {
        self.version != 0 || !self.hash.is_empty()
    }
}

/// Reads `s/latest`: an `Int64Value` message.
///
/// # Errors
/// [`Malformed`] for bytes that are no such message, or a negative version.
pub fn decode_latest(message: &[u8]) -> Result<u64, Malformed> {
    let mut latest = 0;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        if field.number == 1 {
            latest = version(field.int64()?, field.offset)?;
        }
    }
    Ok(latest)
}

fn version(value: i64, offset: usize) -> Result<u64, Malformed> {
    u64::try_from(value)
        .map_err(|_| Malformed::new(MalformedKind::OutOfRange, "a negative version", offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_codec::proto::{put_bytes, put_message, put_varint_field};

    fn encoded(stores: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        put_varint_field(&mut message, 1, 7);
        for (name, version, hash) in stores {
            let mut id = Vec::new();
            put_varint_field(&mut id, 1, *version);
            put_bytes(&mut id, 2, hash);
            let mut store = Vec::new();
            put_bytes(&mut store, 1, name.as_bytes());
            put_message(&mut store, 2, &id);
            put_message(&mut message, 2, &store);
        }
        message
    }

    #[test]
    fn the_order_of_stores_doesnt_matter_and_a_name_counts_once() {
        let one = encoded(&[("bank", 7, &[1; 32]), ("acc", 7, &[2; 32]), ("mem", 0, &[])]);
        let other = encoded(&[("acc", 7, &[2; 32]), ("bank", 7, &[1; 32]), ("mem", 0, &[])]);
        let info = CommitInfo::decode(&one).unwrap();
        assert_eq!(info.version, 7);
        assert_eq!(info.app_hash(), CommitInfo::decode(&other).unwrap().app_hash());
        assert!(info.store(b"bank").unwrap().has_tree() && !info.store(b"mem").unwrap().has_tree());
        assert_eq!(CommitInfo::check_canonical(&one), Ok(()));
        let twice = encoded(&[("bank", 7, &[1; 32]), ("bank", 7, &[1; 32])]);
        assert_eq!(CommitInfo::decode(&twice).unwrap().app_hash(), None);
    }

    #[test]
    fn an_unknown_field_is_no_canonical_commit_info() {
        let mut message = encoded(&[("bank", 7, &[1; 32])]);
        put_varint_field(&mut message, 9, 1);
        assert!(CommitInfo::decode(&message).is_ok());
        assert!(CommitInfo::check_canonical(&message).is_err());
    }

    #[test]
    fn the_latest_version_is_read() {
        assert_eq!(decode_latest(&[0x08, 0xbe, 0x02]), Ok(318));
        assert!(decode_latest(&[0x08]).is_err());
    }
}
