//! Proof that one record is in a dataset: three ordinary RFC 6962 inclusion proofs, from the
//! record to its segment, from the segment to its table, from the table to the dataset.
//!
//! The verifier here is pure; `docs/formats/record-proof.md` says how to do the same by hand.
//!
//! What a proof doesn't say: that a key is absent, or that a key occurs once. Those follow only
//! under a root that the reader, or somebody the reader trusts, recomputed from the data.

use crate::commitment::{Segment, TableCommitment};
use crate::merkle::{Hash, leaf_hash, root_from_path};
use crate::record::{RecordHasher, TableName, tag};
use serde::{Deserialize, Serialize};

/// A place in an RFC 6962 tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// Index of the leaf.
    #[serde(with = "crate::report::decimal")]
    pub index: u64,
    /// Leaves of the tree.
    #[serde(with = "crate::report::decimal")]
    pub size: u64,
    /// Siblings, deepest first, hex.
    pub path: Vec<String>,
}

impl Inclusion {
    /// The place `index` of a tree with `size` leaves, with this path.
    #[must_use]
    pub fn new(index: u64, size: u64, path: &[Hash]) -> Self {
        Self { index, size, path: path.iter().map(hex::encode).collect() }
    }

    fn root(&self, leaf: Hash, tree: &'static str) -> Result<Hash, BadProof> {
        let path: Vec<Hash> = self
            .path
            .iter()
            .map(|sibling| hash_from_hex(sibling))
            .collect::<Option<_>>()
            .ok_or(BadProof::Malformed("a sibling is no hash of 64 hex digits"))?;
        root_from_path(leaf, self.index, self.size, &path).ok_or(BadProof::Path(tree))
    }
}

/// A record's proof, as the JSON file that `prove` writes and `check` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordProof {
    /// Always [`RecordProof::FORMAT`].
    pub format: String,
    /// The table.
    pub table: TableName,
    /// The canonical key, hex.
    pub key: String,
    /// The value, hex.
    pub value: String,
    /// The record among its segment's records.
    pub in_segment: Inclusion,
    /// The segment's records.
    #[serde(with = "crate::report::decimal")]
    pub segment_records: u64,
    /// The segment's key and value bytes.
    #[serde(with = "crate::report::decimal")]
    pub segment_bytes: u64,
    /// Canonical key of the segment's first record, hex.
    pub segment_first_key: String,
    /// The segment among its table's segments.
    pub in_table: Inclusion,
    /// The table's records.
    #[serde(with = "crate::report::decimal")]
    pub table_records: u64,
    /// The table's key and value bytes.
    #[serde(with = "crate::report::decimal")]
    pub table_bytes: u64,
    /// The table in the dataset.
    pub in_dataset: Inclusion,
    /// The dataset's root, hex: what the reader must know from elsewhere.
    pub dataset_root: String,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// A field is no hex, or not of the format.
    #[error("the proof can't be read: {0}")]
    Malformed(&'static str),
    /// A path doesn't fit its tree.
    #[error("the inclusion path in the {0} doesn't fit the tree's size")]
    Path(&'static str),
    /// Sizes contradict one another.
    #[error("the proof's sizes contradict one another: {0}")]
    Sizes(&'static str),
    /// The hashes lead to another root.
    #[error("the record isn't under this root: the path leads to {0}")]
    OtherRoot(String),
}

impl RecordProof {
    /// The format's name.
    pub const FORMAT: &'static str = "transload.record-proof.v1";

    /// Recomputes the dataset root from the record and the three paths and compares it with
    /// `trusted_root`.
    ///
    /// # Errors
    /// [`BadProof`] unless the record is in the dataset with this root.
    pub fn check(&self, trusted_root: &Hash) -> Result<(), BadProof> {
        if self.format != Self::FORMAT {
            return Err(BadProof::Malformed("the format isn't transload.record-proof.v1"));
        }
        let bytes = |text: &str| hex::decode(text).map_err(|_| BadProof::Malformed("bad hex"));
        let (key, value) = (bytes(&self.key)?, bytes(&self.value)?);
        if self.in_segment.size != self.segment_records {
            return Err(BadProof::Sizes("records of the segment"));
        }
        if self.in_dataset.index == 0 {
            return Err(BadProof::Sizes("leaf 0 of a dataset is its header, not a table"));
        }
        let record = RecordHasher::new(&self.table).leaf(&key, &value);
        let segment = Segment {
            records: self.segment_records,
            bytes: self.segment_bytes,
            root: self.in_segment.root(record, "segment")?,
            first_key: bytes(&self.segment_first_key)?,
        };
        let over_segments = self.in_table.root(segment.leaf(&self.table), "table")?;
        let table = leaf_hash(&table_data(
            &self.table,
            self.table_records,
            self.table_bytes,
            self.in_table.size,
            &over_segments,
        ));
        let root = self.in_dataset.root(table, "dataset")?;
        if root == *trusted_root { Ok(()) } else { Err(BadProof::OtherRoot(hex::encode(root))) }
    }
}

/// The bytes of a table's leaf: `TAG("transload.table.v1") || u16 len(name) || name ||
/// u64 records || u64 bytes || u64 segments || root over the segments`.
pub(crate) fn table_data(
    name: &TableName,
    records: u64,
    bytes: u64,
    segments: u64,
    over_segments: &Hash,
) -> Vec<u8> {
    let name = name.as_str().as_bytes();
    let mut data = Vec::with_capacity(31 + 2 + name.len() + 24 + 32);
    data.extend(tag("transload.table.v1"));
    data.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
    data.extend(name);
    data.extend(records.to_be_bytes());
    data.extend(bytes.to_be_bytes());
    data.extend(segments.to_be_bytes());
    data.extend(over_segments);
    data
}

/// A hash from its 64 hex digits.
#[must_use]
pub fn hash_from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

/// Which segment of `table` would hold `key`; `None` when it sorts before all of them.
#[must_use]
pub fn segment_of(table: &TableCommitment, key: &[u8]) -> Option<usize> {
    table.segments.partition_point(|segment| segment.first_key.as_slice() <= key).checked_sub(1)
}
