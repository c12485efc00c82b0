//! `light-client-db.db`: the light client's verified blocks.
//!
//! | table | `v1` key | `v2` key (orderedcode) | canonical key |
//! |---|---|---|---|
//! | `light/block` | `lb/` prefix `/` height in 20 digits | prefix as string, 11, height | prefix as string, height u64 |
//! | `light/size` | `size` | prefix as string, 12 | empty in `v1`, else prefix as string |
//!
//! The prefix is the chain's id. A `v1` database counts the blocks of all prefixes together,
//! so that the size record alone differs between the layouts.

use super::{
    HEIGHT_MAX, KeyForm, VERSION_KEY, WRONG_FIELDS, as_stored, no_form, put_ordered, record, table,
    take_ordered,
};
use transload_codec::key::{Fields, put_u64};
use transload_codec::{decimal, ordered};
use transload_model::layout::{
    BookkeepingEntry, Layout, NoPhysicalForm, Placement, TableClass, TableSpec,
};

const BLOCK: usize = 0;
const SIZE: usize = 1;
const UNKNOWN: usize = 2;

const BLOCK_PREFIX: &[u8] = b"lb/";
const BLOCK_NUMBER: u64 = 11;
const SIZE_KEY: &[u8] = b"size";
const SIZE_NUMBER: u64 = 12;
const HEIGHT_DIGITS: usize = 20;

/// The layout of the light client's database.
#[derive(Debug)]
pub struct LightLayout {
    form: KeyForm,
    tables: Vec<TableSpec>,
}

impl LightLayout {
    /// The layout in this form.
    #[must_use]
    pub fn new(form: KeyForm) -> Self {
        let tables = vec![
            table("light/block", TableClass::EqualOnly, "headers with commit and validator set"),
            table("light/size", TableClass::Derived, "how many blocks are kept"),
            table("light/unknown", TableClass::EqualOnly, "entries that no known version writes"),
        ];
        Self { form, tables }
    }

    fn place_v1(key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        canonical.clear();
        if key == SIZE_KEY {
            return Some(record(SIZE));
        }
        let rest = key.strip_prefix(BLOCK_PREFIX)?;
        let (prefix, digits) = rest.split_at_checked(rest.len().checked_sub(HEIGHT_DIGITS)?)?;
        let prefix = prefix.strip_suffix(b"/").filter(|prefix| !prefix.contains(&b'/'))?;
        let nonzero = digits.iter().position(|digit| *digit != b'0').unwrap_or(HEIGHT_DIGITS - 1);
        let height = decimal::parse(&digits[nonzero..]).ok().filter(|h| *h <= HEIGHT_MAX)?;
        ordered::put_string(canonical, prefix);
        put_u64(canonical, height);
        Some(record(BLOCK))
    }

    fn place_v2(key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        let taken = ordered::skip_string(key).ok()?;
        let (number, rest) = take_ordered(&key[taken..])?;
        canonical.clear();
        canonical.extend_from_slice(&key[..taken]);
        if number == SIZE_NUMBER {
            return rest.is_empty().then(|| record(SIZE));
        }
        let (height, rest) = take_ordered(rest)?;
        put_u64(canonical, height);
        (number == BLOCK_NUMBER && rest.is_empty()).then(|| record(BLOCK))
    }

    fn put(&self, table: usize, canonical: &[u8], physical: &mut Vec<u8>) -> Option<()> {
        if self.form == KeyForm::V1 && table == SIZE {
            physical.extend_from_slice(SIZE_KEY);
            return canonical.is_empty().then_some(());
        }
        let mut prefix = Vec::new();
        let taken = ordered::read_string(&mut prefix, canonical).ok()?;
        let mut fields = Fields::new(&canonical[taken..]);
        match (self.form, table) {
            (KeyForm::V1, _) => {
                let height = fields.u64().ok().filter(|height| *height <= HEIGHT_MAX)?;
                if prefix.contains(&b'/') {
                    return None;
                }
                physical.extend_from_slice(BLOCK_PREFIX);
                physical.extend_from_slice(&prefix);
                physical.push(b'/');
                let zeros = HEIGHT_DIGITS - decimal::digits(height) as usize;
                physical.resize(physical.len() + zeros, b'0');
                decimal::put(physical, height);
            }
            (KeyForm::V2, SIZE) => {
                physical.extend_from_slice(&canonical[..taken]);
                put_ordered(physical, SIZE_NUMBER)?;
            }
            (KeyForm::V2, _) => {
                physical.extend_from_slice(&canonical[..taken]);
                put_ordered(physical, BLOCK_NUMBER)?;
                put_ordered(physical, fields.u64().ok()?)?;
            }
        }
        fields.end().ok()
    }
}

impl Layout for LightLayout {
    fn id(&self) -> &'static str {
        match self.form {
            KeyForm::V1 => "cometbft-light-v1",
            KeyForm::V2 => "cometbft-light-v2",
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
