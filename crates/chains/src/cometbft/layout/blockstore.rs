//! `blockstore.db`: block metas, parts, commits, the index of block hashes.
//!
//! | table | `v1` key | `v2` key (orderedcode) | canonical key |
//! |---|---|---|---|
//! | `blockstore/meta` | `H:` height | 0, height | height u64 |
//! | `blockstore/part` | `P:` height `:` index | 1, height, index | height u64, index u32 |
//! | `blockstore/commit` | `C:` height | 2, height | height u64 |
//! | `blockstore/seen_commit` | `SC:` height | 3, height | height u64 |
//! | `blockstore/extended_commit` | `EC:` height | 4, height | height u64 |
//! | `blockstore/hash_index` | `BH:` lower-case hex | 5, hash as string | hash, 32 bytes |
//! | `blockstore/state` | `blockStore` | the same | the same |

use super::{
    KeyForm, VERSION_KEY, WRONG_FIELDS, as_stored, by_height, decimal_height, no_form, put_ordered,
    record, stream_of, table, take_ordered,
};
use transload_codec::hexkey::{self, Case};
use transload_codec::key::{Fields, put_u32, put_u64};
use transload_codec::{decimal, ordered};
use transload_model::layout::{
    BookkeepingEntry, Layout, NoPhysicalForm, Placement, TableClass, TableSpec,
};

/// The key of the store's base and height.
pub const STATE_KEY: &[u8] = b"blockStore";

/// Index of the table in the layout.
pub const META: usize = 0;
/// Index of the table in the layout.
pub const PART: usize = 1;
/// Index of the table in the layout.
pub const COMMIT: usize = 2;
/// Index of the table in the layout.
pub const SEEN_COMMIT: usize = 3;
/// Index of the table in the layout.
pub const EXTENDED_COMMIT: usize = 4;
/// Index of the table in the layout.
pub const HASH_INDEX: usize = 5;
/// Index of the table in the layout.
pub const STATE: usize = 6;
const UNKNOWN: usize = 7;

/// Tables keyed by a height alone, with their `v1` prefixes; `v2` counts 0, 2, 3, 4.
const HEIGHT_TABLES: [(usize, &[u8], u64); 4] =
    [(META, b"H:", 0), (COMMIT, b"C:", 2), (SEEN_COMMIT, b"SC:", 3), (EXTENDED_COMMIT, b"EC:", 4)];
const PART_PREFIX: &[u8] = b"P:";
const PART_NUMBER: u64 = 1;
const HASH_PREFIX: &[u8] = b"BH:";
const HASH_NUMBER: u64 = 5;
const HASH_BYTES: usize = 32;

/// The canonical key of a part of a block.
#[must_use]
pub fn part_key(height: u64, index: u32) -> Vec<u8> {
    [&height.to_be_bytes()[..], &index.to_be_bytes()].concat()
}

/// The layout of `blockstore.db`.
#[derive(Debug)]
pub struct BlockstoreLayout {
    form: KeyForm,
    tables: Vec<TableSpec>,
}

impl BlockstoreLayout {
    /// The layout in this form.
    #[must_use]
    pub fn new(form: KeyForm) -> Self {
        use TableClass::{Authenticated, Derived, EqualOnly};
        let tables = vec![
            table("blockstore/meta", Authenticated, "block id, size, header and number of txs"),
            table("blockstore/part", Authenticated, "slices of the block's bytes with proofs"),
            table("blockstore/commit", Authenticated, "the canonical commit of each height"),
            table(
                "blockstore/seen_commit",
                EqualOnly,
                "the commit this node saw: its signatures verify, its choice is the node's own",
            ),
            table(
                "blockstore/extended_commit",
                EqualOnly,
                "the commit this node saw, with vote extensions; signatures verify",
            ),
            table("blockstore/hash_index", Derived, "block hash to height"),
            table("blockstore/state", Derived, "first and last height of the store"),
            table("blockstore/unknown", EqualOnly, "entries that no known version writes"),
        ];
        Self { form, tables }
    }

    /// Which form it is.
    #[must_use]
    pub fn form(&self) -> KeyForm {
        self.form
    }

    fn place_v1(key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        for (table, prefix, _) in HEIGHT_TABLES {
            if let Some(rest) = key.strip_prefix(prefix) {
                return Some(by_height(table, decimal_height(rest)?, KeyForm::V1, canonical));
            }
        }
        if let Some(rest) = key.strip_prefix(PART_PREFIX) {
            let colon = rest.iter().position(|byte| *byte == b':')?;
            let height = decimal_height(&rest[..colon])?;
            let index = u32::try_from(decimal::parse(&rest[colon + 1..]).ok()?).ok()?;
            return Some(part(height, index, KeyForm::V1, canonical));
        }
        let rest = key.strip_prefix(HASH_PREFIX)?;
        canonical.clear();
        hexkey::decode(canonical, rest, Case::Lower).ok()?;
        (canonical.len() == HASH_BYTES).then(|| record(HASH_INDEX))
    }

    fn place_v2(key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        let (number, rest) = take_ordered(key)?;
        if number == HASH_NUMBER {
            canonical.clear();
            let taken = ordered::read_string(canonical, rest).ok()?;
            return (taken == rest.len() && canonical.len() == HASH_BYTES)
                .then(|| record(HASH_INDEX));
        }
        let (height, rest) = take_ordered(rest)?;
        if number == PART_NUMBER {
            let (index, rest) = take_ordered(rest)?;
            let index = u32::try_from(index).ok().filter(|_| rest.is_empty())?;
            return Some(part(height, index, KeyForm::V2, canonical));
        }
        let (table, ..) = HEIGHT_TABLES.into_iter().find(|table| table.2 == number)?;
        rest.is_empty().then(|| by_height(table, height, KeyForm::V2, canonical))
    }

    fn put_v1(table: usize, canonical: &[u8], physical: &mut Vec<u8>) -> Option<()> {
        let mut fields = Fields::new(canonical);
        if table == HASH_INDEX {
            let hash: [u8; HASH_BYTES] = fields.array().ok()?;
            physical.extend_from_slice(HASH_PREFIX);
            hexkey::encode(physical, &hash, Case::Lower);
            return fields.end().ok();
        }
        let height = fields.u64().ok().filter(|height| *height <= super::HEIGHT_MAX)?;
        if table == PART {
            let index = fields.u32().ok()?;
            physical.extend_from_slice(PART_PREFIX);
            decimal::put(physical, height);
            physical.push(b':');
            decimal::put(physical, u64::from(index));
            return fields.end().ok();
        }
        let (_, prefix, _) = HEIGHT_TABLES.into_iter().find(|known| known.0 == table)?;
        physical.extend_from_slice(prefix);
        decimal::put(physical, height);
        fields.end().ok()
    }

    fn put_v2(table: usize, canonical: &[u8], physical: &mut Vec<u8>) -> Option<()> {
        let mut fields = Fields::new(canonical);
        if table == HASH_INDEX {
            let hash: [u8; HASH_BYTES] = fields.array().ok()?;
            put_ordered(physical, HASH_NUMBER)?;
            ordered::put_string(physical, &hash);
            return fields.end().ok();
        }
        let height = fields.u64().ok()?;
        if table == PART {
            put_ordered(physical, PART_NUMBER)?;
            put_ordered(physical, height)?;
            put_ordered(physical, u64::from(fields.u32().ok()?))?;
            return fields.end().ok();
        }
        let (.., number) = HEIGHT_TABLES.into_iter().find(|known| known.0 == table)?;
        put_ordered(physical, number)?;
        put_ordered(physical, height)?;
        fields.end().ok()
    }
}

fn part(height: u64, index: u32, form: KeyForm, canonical: &mut Vec<u8>) -> Placement {
    canonical.clear();
    put_u64(canonical, height);
    put_u32(canonical, index);
    // `P:7:10` stands before `P:7:2`: the parts of one block are put in order in memory.
    let ordered_prefix_bytes = (form == KeyForm::V1).then_some(size_of::<u64>());
    Placement::Record { table: PART, stream: stream_of(height, form), ordered_prefix_bytes }
}

impl Layout for BlockstoreLayout {
    fn id(&self) -> &'static str {
        match self.form {
            KeyForm::V1 => "cometbft-blockstore-v1",
            KeyForm::V2 => "cometbft-blockstore-v2",
        }
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        match key {
            VERSION_KEY => return Placement::Bookkeeping,
            STATE_KEY => return as_stored(STATE, key, canonical),
            _ => {}
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
        let put = match (table, self.form) {
            (STATE | UNKNOWN, _) => {
                physical.extend_from_slice(canonical);
                Some(())
            }
            (_, KeyForm::V1) => Self::put_v1(table, canonical, physical),
            (_, KeyForm::V2) => Self::put_v2(table, canonical, physical),
        };
        put.ok_or_else(|| no_form(self.id(), &self.tables[table], canonical, WRONG_FIELDS))
    }

    fn align_split<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        if self.form == KeyForm::V2 {
            return key;
        }
        let Some(rest) = key.strip_prefix(PART_PREFIX) else { return key };
        match rest.iter().position(|byte| *byte == b':') {
            Some(colon) => &key[..PART_PREFIX.len() + colon + 1],
            None => key,
        }
    }

    fn bookkeeping(&self) -> &'static [BookkeepingEntry] {
        self.form.bookkeeping()
    }
}
