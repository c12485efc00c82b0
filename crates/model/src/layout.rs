//! Layouts: how a database's physical entries map to canonical records and back.

use crate::record::TableName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be said of a table's content. It isn't part of any root: reclassifying a table must
/// not change roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableClass {
    /// Follows from a certificate that consensus signed.
    Authenticated,
    /// Can be rebuilt from authenticated tables, and is compared with them.
    Derived,
    /// Compared between source and target; nothing that consensus signed covers it.
    EqualOnly,
    /// This node's own state.
    Local,
}

impl fmt::Display for TableClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableClass::Authenticated => "authenticated",
            TableClass::Derived => "derived",
            TableClass::EqualOnly => "equal only",
            TableClass::Local => "local",
        })
    }
}

/// One table of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name.
    pub name: TableName,
    /// Its class.
    pub class: TableClass,
    /// One line for people: what its records are.
    pub about: &'static str,
}

/// Where a physical entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A record of `tables()[table]`.
    Record {
        /// Index into [`Layout::tables`].
        table: usize,
        /// Streams follow one another: every canonical key of stream `n` is less than every one
        /// of stream `n + 1`, and within a stream a physical scan is in canonical order (up to
        /// `ordered_prefix_bytes`). CometBFT's decimal heights are one stream a digit count.
        stream: u32,
        /// When `Some(n)`: entries whose canonical keys share their first `n` bytes stand
        /// together in a physical scan, but in any order. Such groups are small (the parts of
        /// one block), and are put in order in memory.
        ordered_prefix_bytes: Option<usize>,
    },
    /// An entry of the layout itself, such as a version key: copied and compared as bytes, but
    /// no record of the ledger.
    Bookkeeping,
}

/// A canonical key that has no physical form in a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("canonical key {key} of table {table} has no form in layout {layout}: {reason}")]
pub struct NoPhysicalForm {
    /// The layout's id.
    pub layout: &'static str,
    /// The table.
    pub table: TableName,
    /// The key in hex.
    pub key: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A lossless two-way mapping between a database's entries and canonical records.
///
/// Obligations, tested for every layout: `physical` undoes `place`; no two physical keys have
/// one (table, canonical key); an entry that the layout doesn't know goes to a table of unknown
/// entries under its physical key, so that nothing is ever dropped.
pub trait Layout: Send + Sync + fmt::Debug {
    /// The layout's id, such as `cometbft-blockstore-v1`.
    fn id(&self) -> &'static str;

    /// All tables that an entry can belong to, also those without entries.
    fn tables(&self) -> &[TableSpec];

    /// Places one physical entry and leaves its canonical key in `canonical` (cleared first).
    fn place(&self, key: &[u8], value: &[u8], canonical: &mut Vec<u8>) -> Placement;

    /// The physical key of a canonical one, left in `physical` (cleared first).
    ///
    /// # Errors
    /// [`NoPhysicalForm`] for a key that no entry of this layout can have.
    fn physical(
        &self,
        table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> Result<(), NoPhysicalForm>;

    /// The longest prefix of `key` at which a scan may be divided without tearing apart a group
    /// of [`Placement::Record::ordered_prefix_bytes`]. An empty answer means: don't divide here.
    fn align_split<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key
    }

    /// The entries of the layout itself ([`Placement::Bookkeeping`]) that a database has once it
    /// was brought to this layout from another one.
    fn bookkeeping(&self) -> &'static [BookkeepingEntry] {
        &[]
    }
}

/// Key and value of an entry of a layout itself.
pub type BookkeepingEntry = (&'static [u8], &'static [u8]);

/// The layout of a database that no profile knows: one table, physical keys as they are.
#[derive(Clone, Debug)]
pub struct RawLayout {
    tables: [TableSpec; 1],
}

impl RawLayout {
    /// One table of this name.
    #[must_use]
    pub fn new(name: TableName) -> Self {
        Self {
            tables: [TableSpec {
                name,
                class: TableClass::EqualOnly,
                about: "entries as they are stored; no chain profile knows this database",
            }],
        }
    }
}

impl Layout for RawLayout {
    fn id(&self) -> &'static str {
        "raw"
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        canonical.clear();
        canonical.extend_from_slice(key);
        Placement::Record { table: 0, stream: 0, ordered_prefix_bytes: None }
    }

    fn physical(
        &self,
        _table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> Result<(), NoPhysicalForm> {
        physical.clear();
        physical.extend_from_slice(canonical);
        Ok(())
    }
}
