//! A record: one (table, canonical key, value) of a ledger, and the leaf that commits to it.

use crate::merkle::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest table name in bytes: its length stands in a u16 and names are for people to read.
pub const TABLE_NAME_BYTES_MAX: usize = 255;

/// A value longer than this many bytes enters its leaf as its SHA-256, so that a record can be
/// proven without carrying a large value.
pub const VALUE_INLINE_BYTES_MAX: usize = 1024;

/// A table's name: lower-case words of `a-z 0-9 _ -`, joined by `/`, such as `blockstore/meta`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName(String);

/// Why a string is not a table name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a table name: words of a-z, 0-9, _ and -, joined by /, at most 255 bytes")]
pub struct BadTableName(String);

impl TableName {
    /// Checks and takes `name`.
    ///
    /// # Errors
    /// [`BadTableName`] for an empty name or word, another character, or more than
    /// [`TABLE_NAME_BYTES_MAX`] bytes.
    pub fn new(name: impl Into<String>) -> Result<Self, BadTableName> {
        let name = name.into();
        let word_is_good = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        };
        if name.len() <= TABLE_NAME_BYTES_MAX && name.split('/').all(word_is_good) {
            Ok(Self(name))
        } else {
            Err(BadTableName(name))
        }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TableName {
    type Error = BadTableName;
    fn try_from(name: String) -> Result<Self, BadTableName> {
        Self::new(name)
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> String {
        name.0
    }
}

/// `s` zero-padded to 31 bytes, so that `00 || TAG || H(table)` is one SHA-256 block.
#[must_use]
pub fn tag(s: &str) -> [u8; 31] {
    let mut padded = [0; 31];
    padded[..s.len()].copy_from_slice(s.as_bytes());
    padded
}

/// Hashes the records of one table.
///
/// The first SHA-256 block (`00 || TAG || H(table)`) is the same for all of them; its state is
/// kept and cloned.
#[derive(Clone, Debug)]
pub struct RecordHasher {
    prefix: Sha256,
}

impl RecordHasher {
    /// A hasher for the records of `table`.
    #[must_use]
    pub fn new(table: &TableName) -> Self {
        let mut prefix = Sha256::new();
        prefix.update([0]);
        prefix.update(tag("transload.record.v1"));
        prefix.update(Sha256::digest(table.as_str().as_bytes()));
        Self { prefix }
    }

    /// The RFC 6962 leaf hash of one record:
    /// `H(00 || TAG || H(table) || u32 len(key) || u64 len(value) || key || V)`, where V is the
    /// value, or its SHA-256 above [`VALUE_INLINE_BYTES_MAX`].
    #[must_use]
    pub fn leaf(&self, key: &[u8], value: &[u8]) -> Hash {
        let mut hasher = self.prefix.clone();
        let mut lengths = [0; 12];
        lengths[..4].copy_from_slice(&key_len(key).to_be_bytes());
        lengths[4..].copy_from_slice(&(value.len() as u64).to_be_bytes());
        hasher.update(lengths);
        hasher.update(key);
        if value.len() <= VALUE_INLINE_BYTES_MAX {
            hasher.update(value);
        } else {
            hasher.update(Sha256::digest(value));
        }
        hasher.finalize().into()
    }
}

/// A key's length as the formats carry it. Stores cap keys far below 4 GiB (see
/// `transload_store::KEY_BYTES_MAX`), so saturation is never reached with a record in hand.
pub(crate) fn key_len(key: &[u8]) -> u32 {
    u32::try_from(key.len()).unwrap_or(u32::MAX)
}

/// How many bytes a record counts for where a segment is weighed: its key and value.
#[must_use]
pub fn record_bytes(key: &[u8], value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64
}

/// Whether a segment ends after this record.
///
/// `u64(leaf[0..8]) >> 44 < min(2^20, bytes + 64)`: a cut about every MiB, decided by the
/// record alone, so that any number of workers starting anywhere find the same cuts.
#[must_use]
pub fn cuts_after(leaf: &Hash, bytes: u64) -> bool {
    let mut draw = [0; 8];
    draw.copy_from_slice(&leaf[..8]);
    (u64::from_be_bytes(draw) >> 44) < bytes.saturating_add(64).min(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn a_leaf_is_the_rfc_6962_leaf_of_the_written_out_record() {
        let table = TableName::new("blockstore/meta").unwrap();
        for (key, value) in [(&b"k"[..], &b"v"[..]), (b"", b""), (b"key", &[7; 1024][..])] {
            let mut data = tag("transload.record.v1").to_vec();
            data.extend(Sha256::digest(table.as_str()));
            data.extend(u32::try_from(key.len()).unwrap().to_be_bytes());
            data.extend((value.len() as u64).to_be_bytes());
            data.extend(key);
            data.extend(value);
            assert_eq!(RecordHasher::new(&table).leaf(key, value), leaf_hash(&data));
        }
    }

    #[test]
    fn a_long_value_enters_as_its_hash() {
        let table = TableName::new("t").unwrap();
        let value = vec![9; VALUE_INLINE_BYTES_MAX + 1];
        let mut data = tag("transload.record.v1").to_vec();
        data.extend(Sha256::digest("t"));
        data.extend(1u32.to_be_bytes());
        data.extend((value.len() as u64).to_be_bytes());
        data.extend(b"k");
        data.extend(Sha256::digest(&value));
        assert_eq!(RecordHasher::new(&table).leaf(b"k", &value), leaf_hash(&data));
    }

    #[test]
    fn table_names_are_words_joined_by_slashes() {
        for good in ["a", "blockstore/meta", "s-1/x_2"] {
            assert_eq!(TableName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "a/", "A", "a b", "é", &"x".repeat(256)] {
            assert!(TableName::new(bad).is_err(), "{bad}");
        }
    }
}
