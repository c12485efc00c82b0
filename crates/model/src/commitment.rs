//! Segments, table roots and the dataset root.
//!
//! Byte layouts with test vectors: `docs/formats/commitment.md`.

use crate::merkle::{Frontier, Hash, leaf_hash};
use crate::record::{TableName, key_len, tag};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A run of records between two cuts: about 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// How many records; never 0.
    pub records: u64,
    /// Key and value bytes of all records.
    pub bytes: u64,
    /// RFC 6962 root over the records' leaves.
    pub root: Hash,
    /// Canonical key of the first record.
    pub first_key: Vec<u8>,
}

impl Segment {
    /// The segment's leaf in its table's tree: the RFC 6962 leaf hash of
    /// `TAG("transload.segment.v1") || H(table) || u64 records || u64 bytes || root ||
    /// u32 len(first key) || first key`.
    #[must_use]
    pub fn leaf(&self, table: &TableName) -> Hash {
        leaf_hash(&self.data(table))
    }

    /// The bytes that [`Segment::leaf`] hashes.
    #[must_use]
    pub fn data(&self, table: &TableName) -> Vec<u8> {
        let mut data = Vec::with_capacity(31 + 32 + 16 + 32 + 4 + self.first_key.len());
        data.extend(tag("transload.segment.v1"));
        data.extend(Sha256::digest(table.as_str()));
        data.extend(self.records.to_be_bytes());
        data.extend(self.bytes.to_be_bytes());
        data.extend(self.root);
        data.extend(key_len(&self.first_key).to_be_bytes());
        data.extend(&self.first_key);
        data
    }
}

/// What is committed to of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCommitment {
    /// The table's name.
    pub name: TableName,
    /// How many records it has.
    pub records: u64,
    /// Key and value bytes of all records.
    pub bytes: u64,
    /// Its segments, in canonical key order; none when the table is empty.
    pub segments: Vec<Segment>,
}

impl TableCommitment {
    /// A table without records; it is listed all the same.
    #[must_use]
    pub fn empty(name: TableName) -> Self {
        Self { name, records: 0, bytes: 0, segments: Vec::new() }
    }

    /// The table's root: the RFC 6962 leaf hash of its table data, which is
    /// `TAG("transload.table.v1") || u16 len(name) || name || u64 records || u64 bytes ||
    /// u64 segments || root over the segments`.
    #[must_use]
    pub fn root(&self) -> Hash {
        leaf_hash(&self.data())
    }

    /// The bytes that [`TableCommitment::root`] hashes.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        let mut over_segments = Frontier::new();
        for segment in &self.segments {
            over_segments.push(segment.leaf(&self.name));
        }
        crate::proof::table_data(
            &self.name,
            self.records,
            self.bytes,
            self.segments.len() as u64,
            &over_segments.root(),
        )
    }
}

/// A ledger's tables, by name, under one schema id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    schema: String,
    tables: Vec<TableCommitment>,
}

/// Why tables don't make a dataset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDataset {
    /// Two tables have one name.
    #[error("two tables are named {0}")]
    DuplicateTable(TableName),
    /// A schema id is 1 to 255 bytes long.
    #[error("a schema id has 1 to 255 bytes, not {0}")]
    SchemaLength(usize),
}

impl Dataset {
    /// Puts `tables` in order of their names.
    ///
    /// # Errors
    /// [`BadDataset`] for two tables of one name or a schema id of a wrong length.
    pub fn new(
        schema: impl Into<String>,
        mut tables: Vec<TableCommitment>,
    ) -> Result<Self, BadDataset> {
        let schema = schema.into();
        if schema.is_empty() || schema.len() > 255 {
            return Err(BadDataset::SchemaLength(schema.len()));
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = tables.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(BadDataset::DuplicateTable(pair[0].name.clone()));
        }
        Ok(Self { schema, tables })
    }

    /// The schema id, such as `cometbft-home.v1`.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The tables in order of their names.
    #[must_use]
    pub fn tables(&self) -> &[TableCommitment] {
        &self.tables
    }

    /// The leaf that opens the dataset's tree: schema id and number of tables.
    ///
    /// `TAG("transload.dataset.v1") || u16 len(schema) || schema || u32 tables`.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mut data = tag("transload.dataset.v1").to_vec();
        data.extend(u16::try_from(self.schema.len()).unwrap_or(u16::MAX).to_be_bytes());
        data.extend(self.schema.as_bytes());
        data.extend(u32::try_from(self.tables.len()).unwrap_or(u32::MAX).to_be_bytes());
        data
    }

    /// The leaves of the dataset's tree: its header, then each table's root.
    #[must_use]
    pub fn leaves(&self) -> Vec<Hash> {
        std::iter::once(leaf_hash(&self.header()))
            .chain(self.tables.iter().map(TableCommitment::root))
            .collect()
    }

    /// The dataset root.
    #[must_use]
    pub fn root(&self) -> Hash {
        crate::merkle::root_of(self.leaves())
    }
}
