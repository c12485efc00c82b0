//! `evidence.db`: evidence of misbehaviour, pending and committed.
//!
//! | table | `v1` key | `v2` key (orderedcode) | canonical key |
//! |---|---|---|---|
//! | `evidence/committed` | 00, height as 16 upper-case hex digits, `/`, hash in hex | 9, height, hash as string | height u64, hash 32 bytes |
//! | `evidence/pending` | 01, the same | 10, the same | the same |

use super::{
    HEIGHT_MAX, KeyForm, VERSION_KEY, WRONG_FIELDS, as_stored, no_form, put_ordered, record, table,
    take_ordered,
};
use transload_codec::hexkey::{self, Case};
use transload_codec::key::{Fields, put_u64};
use transload_codec::ordered;
use transload_model::layout::{
    BookkeepingEntry, Layout, NoPhysicalForm, Placement, TableClass, TableSpec,
};

/// Index of the table in the layout.
pub const COMMITTED: usize = 0;
/// Index of the table in the layout.
pub const PENDING: usize = 1;
/// Index of the table in the layout.
pub const UNKNOWN: usize = 2;

/// Tables with their first byte in `v1` and their number in `v2`.
const TABLES: [(usize, u8, u64); 2] = [(COMMITTED, 0x00, 9), (PENDING, 0x01, 10)];
const HASH_BYTES: usize = 32;
const HEIGHT_DIGITS: usize = 16;

/// The layout of `evidence.db`.
#[derive(Debug)]
pub struct EvidenceLayout {
    form: KeyForm,
    tables: Vec<TableSpec>,
}

impl EvidenceLayout {
    /// The layout in this form.
    #[must_use]
    pub fn new(form: KeyForm) -> Self {
        let tables = vec![
            table("evidence/committed", TableClass::Derived, "evidence that a block carries"),
            table("evidence/pending", TableClass::EqualOnly, "evidence that no block carries yet"),
            table(
                "evidence/unknown",
                TableClass::EqualOnly,
                "entries that no known version writes",
            ),
        ];
        Self { form, tables }
    }

    fn place_v1(key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        let (first, rest) = key.split_first()?;
        let (table, ..) = TABLES.into_iter().find(|known| known.1 == *first)?;
        let (height, rest) = rest.split_at_checked(HEIGHT_DIGITS)?;
        canonical.clear();
        hexkey::decode(canonical, height, Case::Upper).ok()?;
        hexkey::decode(canonical, rest.strip_prefix(b"/")?, Case::Upper).ok()?;
        let height = Fields::new(canonical).u64().ok()?;
        (height <= HEIGHT_MAX && canonical.len() == size_of::<u64>() + HASH_BYTES)
            .then(|| record(table))
    }

    fn place_v2(key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        let (number, rest) = take_ordered(key)?;
        let (table, ..) = TABLES.into_iter().find(|known| known.2 == number)?;
        let (height, rest) = take_ordered(rest)?;
        canonical.clear();
        put_u64(canonical, height);
        let taken = ordered::read_string(canonical, rest).ok()?;
        (taken == rest.len() && canonical.len() == size_of::<u64>() + HASH_BYTES)
            .then(|| record(table))
    }

    fn put(&self, table: usize, canonical: &[u8], physical: &mut Vec<u8>) -> Option<()> {
        let mut fields = Fields::new(canonical);
        let height = fields.u64().ok().filter(|height| *height <= HEIGHT_MAX)?;
        let hash: [u8; HASH_BYTES] = fields.array().ok()?;
        fields.end().ok()?;
        let (_, first, number) = TABLES.into_iter().find(|known| known.0 == table)?;
        match self.form {
            KeyForm::V1 => {
                physical.push(first);
                hexkey::encode(physical, &height.to_be_bytes(), Case::Upper);
                physical.push(b'/');
                hexkey::encode(physical, &hash, Case::Upper);
            }
            KeyForm::V2 => {
                put_ordered(physical, number)?;
                put_ordered(physical, height)?;
                ordered::put_string(physical, &hash);
            }
        }
        Some(())
    }
}

impl Layout for EvidenceLayout {
    fn id(&self) -> &'static str {
        match self.form {
            KeyForm::V1 => "cometbft-evidence-v1",
            KeyForm::V2 => "cometbft-evidence-v2",
        }
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        if key == VERSION_KEY {
            return Placement::Bookkeeping;
        }
        let known = match self.form {
            KeyForm::V1 => Self::place_v1(key, canonical),
            KeyForm::V2 => Self::place_v2(key, canonical),
        };
        known.unwrap_or_else(|| as_stored(UNKNOWN, key, canonical))
    }

    fn physical(
        &self,
        table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> Result<(), NoPhysicalForm> {
        physical.clear();
        if table == UNKNOWN {
            physical.extend_from_slice(canonical);
            return Ok(());
        }
        self.put(table, canonical, physical)
            .ok_or_else(|| no_form(self.id(), &self.tables[table], canonical, WRONG_FIELDS))
    }

    fn bookkeeping(&self) -> &'static [BookkeepingEntry] {
        self.form.bookkeeping()
    }
}
