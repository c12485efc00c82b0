//! Key layouts of the node's databases: physical keys to canonical records and back.
//!
//! Both key layouts of CometBFT, `v1` (decimal text) and `v2` (orderedcode), map to the same
//! canonical records, so a table has one root whatever its layout. Canonical keys and their
//! reasons: `docs/formats/cometbft-tables.md`.
//!
//! Invariant: a key is taken for a record of a known table only when encoding that record again
//! gives the very same key; everything else goes to the database's table of unknown entries.

pub mod blockstore;
pub mod evidence;
pub mod light;
pub mod state;
pub mod tx_index;

pub use blockstore::BlockstoreLayout;
pub use evidence::EvidenceLayout;
pub use light::LightLayout;
pub use state::StateLayout;
pub use tx_index::TxIndexLayout;

use transload_codec::{decimal, key as canonical_key, ordered};
use transload_model::layout::{BookkeepingEntry, NoPhysicalForm, Placement, TableClass, TableSpec};
use transload_model::record::TableName;

/// The key under which CometBFT 1.x keeps the layout's version.
pub const VERSION_KEY: &[u8] = b"version";

/// Which of the two key layouts a database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Decimal text; the only one before 1.0, and the default since.
    V1,
    /// orderedcode.
    V2,
}

impl KeyForm {
    /// The name that CometBFT stores and configures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyForm::V1 => "v1",
            KeyForm::V2 => "v2",
        }
    }

    /// The form of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [KeyForm::V1, KeyForm::V2].into_iter().find(|form| form.name() == name)
    }

    /// What a database in this form says of itself.
    fn bookkeeping(self) -> &'static [BookkeepingEntry] {
        match self {
            KeyForm::V1 => &[(VERSION_KEY, b"v1")],
            KeyForm::V2 => &[(VERSION_KEY, b"v2")],
        }
    }
}

/// Heights are `int64` on the chain, and a key above that has no other layout's form.
const HEIGHT_MAX: u64 = i64::MAX.unsigned_abs();

fn table(name: &str, class: TableClass, about: &'static str) -> TableSpec {
    let name = TableName::new(name).expect("names of known tables are constants, read by tests");
    TableSpec { name, class, about }
}

fn record(table: usize) -> Placement {
    Placement::Record { table, stream: 0, ordered_prefix_bytes: None }
}

/// A record whose canonical key is its physical one.
fn as_stored(table: usize, key: &[u8], canonical: &mut Vec<u8>) -> Placement {
    canonical.clear();
    canonical.extend_from_slice(key);
    record(table)
}

/// A record under one height: a stream a digit count in `v1`.
fn by_height(table: usize, height: u64, form: KeyForm, canonical: &mut Vec<u8>) -> Placement {
    canonical.clear();
    canonical_key::put_u64(canonical, height);
    Placement::Record { table, stream: stream_of(height, form), ordered_prefix_bytes: None }
}

fn stream_of(height: u64, form: KeyForm) -> u32 {
    match form {
        KeyForm::V1 => decimal::digits(height),
        KeyForm::V2 => 0,
    }
}

/// A whole decimal height.
fn decimal_height(text: &[u8]) -> Option<u64> {
    decimal::parse(text).ok().filter(|height| *height <= HEIGHT_MAX)
}

/// Takes a non-negative orderedcode integer from the front.
fn take_ordered(key: &[u8]) -> Option<(u64, &[u8])> {
    let (value, taken) = ordered::read_int64(key).ok()?;
    Some((u64::try_from(value).ok()?, &key[taken..]))
}

fn put_ordered(physical: &mut Vec<u8>, value: u64) -> Option<()> {
    ordered::put_int64(physical, i64::try_from(value).ok()?);
    Some(())
}

/// The error of [`transload_model::layout::Layout::physical`].
fn no_form(
    layout: &'static str,
    table: &TableSpec,
    canonical: &[u8],
    reason: &'static str,
) -> NoPhysicalForm {
    NoPhysicalForm { layout, table: table.name.clone(), key: hex::encode(canonical), reason }
}

const WRONG_FIELDS: &str = "its fields are not those of the table";
