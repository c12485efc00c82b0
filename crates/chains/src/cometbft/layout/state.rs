//! `state.db`: validator sets, consensus parameters, results, the node's view of the tip.
//!
//! | table | `v1` key | `v2` key (orderedcode) | canonical key |
//! |---|---|---|---|
//! | `state/validators` | `validatorsKey:` height | 6, height | height u64 |
//! | `state/params` | `consensusParamsKey:` height | 7, height | height u64 |
//! | `state/results` | `abciResponsesKey:` height | 8, height | height u64 |
//! | `state/state` | `stateKey` | the same | the same |
//! | `state/genesis` | `genesisDoc`, `genesisDocHash` | the same | the same |
//! | `state/last_results` | `lastABCIResponseKey` | the same | the same |
//! | `state/marks` | retain heights and the like | the same | the same |

use super::{
    HEIGHT_MAX, KeyForm, VERSION_KEY, WRONG_FIELDS, as_stored, by_height, decimal_height, no_form,
    put_ordered, table, take_ordered,
};
use transload_codec::decimal;
use transload_codec::key::Fields;
use transload_model::layout::{
    BookkeepingEntry, Layout, NoPhysicalForm, Placement, TableClass, TableSpec,
};

/// Index of the table in the layout.
pub const VALIDATORS: usize = 0;
/// Index of the table in the layout.
pub const PARAMS: usize = 1;
/// Index of the table in the layout.
pub const RESULTS: usize = 2;
/// Index of the table in the layout.
pub const STATE: usize = 3;
/// Index of the table in the layout.
pub const GENESIS: usize = 4;
/// Index of the table in the layout.
pub const LAST_RESULTS: usize = 5;
const MARKS: usize = 6;
/// Index of the table in the layout.
pub const UNKNOWN: usize = 7;

const HEIGHT_TABLES: [(usize, &[u8], u64); 3] = [
    (VALIDATORS, b"validatorsKey:", 6),
    (PARAMS, b"consensusParamsKey:", 7),
    (RESULTS, b"abciResponsesKey:", 8),
];

/// The key of the state after the last block.
pub const STATE_KEY: &[u8] = b"stateKey";
/// The key of the genesis document (before 1.0).
pub const GENESIS_KEY: &[u8] = b"genesisDoc";
/// The key of the genesis document's hash (1.x).
pub const GENESIS_HASH_KEY: &[u8] = b"genesisDocHash";
/// The key of the last block's results (before 1.0).
pub const LAST_RESULTS_KEY: &[u8] = b"lastABCIResponseKey";

/// Keys whose value is a height that this node keeps for itself.
const MARK_KEYS: [&[u8]; 5] = [
    b"offlineStateSyncHeightKey",
    b"AppRetainHeightKey",
    b"DCBlockRetainHeightKey",
    b"ABCIResRetainHeightKey",
    b"lastABCIResponsesRetainHeight",
];

/// The layout of `state.db`.
#[derive(Debug)]
pub struct StateLayout {
    form: KeyForm,
    tables: Vec<TableSpec>,
}

impl StateLayout {
    /// The layout in this form.
    #[must_use]
    pub fn new(form: KeyForm) -> Self {
        use TableClass::{Authenticated, Derived, EqualOnly};
        let tables = vec![
            table(
                "state/validators",
                Authenticated,
                "validator sets; the headers' hashes cover keys and powers",
            ),
            table(
                "state/params",
                EqualOnly,
                "consensus parameters; the headers cover block size and gas only",
            ),
            table(
                "state/results",
                EqualOnly,
                "results of each block; the headers cover code, data and gas, not events and logs",
            ),
            table("state/state", Derived, "the state after the last block"),
            table("state/genesis", EqualOnly, "the genesis document that the node starts with"),
            table("state/last_results", Derived, "the last block's results once more"),
            table("state/marks", EqualOnly, "heights that this node keeps for itself"),
            table("state/unknown", EqualOnly, "entries that no known version writes"),
        ];
        Self { form, tables }
    }

    /// Which form it is.
    #[must_use]
    pub fn form(&self) -> KeyForm {
        self.form
    }

    fn place_by_height(&self, key: &[u8], canonical: &mut Vec<u8>) -> Option<Placement> {
        let (table, height) = match self.form {
            KeyForm::V1 => {
                let (table, rest) = HEIGHT_TABLES.into_iter().find_map(|(table, prefix, _)| {
                    key.strip_prefix(prefix).map(|rest| (table, rest))
                })?;
                (table, decimal_height(rest)?)
            }
            KeyForm::V2 => {
                let (number, rest) = take_ordered(key)?;
                let (height, rest) = take_ordered(rest)?;
                let (table, ..) =
                    HEIGHT_TABLES.into_iter().find(|known| known.2 == number && rest.is_empty())?;
                (table, height)
            }
        };
        Some(by_height(table, height, self.form, canonical))
    }

    fn put_by_height(&self, table: usize, canonical: &[u8], physical: &mut Vec<u8>) -> Option<()> {
        let mut fields = Fields::new(canonical);
        let height = fields.u64().ok().filter(|height| *height <= HEIGHT_MAX)?;
        fields.end().ok()?;
        let (_, prefix, number) = HEIGHT_TABLES.into_iter().find(|known| known.0 == table)?;
        match self.form {
            KeyForm::V1 => {
                physical.extend_from_slice(prefix);
                decimal::put(physical, height);
                Some(())
            }
            KeyForm::V2 => {
                put_ordered(physical, number)?;
                put_ordered(physical, height)
            }
        }
    }
}

impl Layout for StateLayout {
    fn id(&self) -> &'static str {
        match self.form {
            KeyForm::V1 => "cometbft-state-v1",
            KeyForm::V2 => "cometbft-state-v2",
        }
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        if key == VERSION_KEY {
            return Placement::Bookkeeping;
        }
        if let Some(placement) = self.place_by_height(key, canonical) {
            return placement;
        }
        let table = match key {
            STATE_KEY => STATE,
            GENESIS_KEY | GENESIS_HASH_KEY => GENESIS,
            LAST_RESULTS_KEY => LAST_RESULTS,
            key if MARK_KEYS.contains(&key) => MARKS,
            _ => UNKNOWN,
        };
        as_stored(table, key, canonical)
    }

    fn physical(
        &self,
        table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> Result<(), NoPhysicalForm> {
        physical.clear();
        if table > RESULTS {
            physical.extend_from_slice(canonical);
            return Ok(());
        }
        self.put_by_height(table, canonical, physical)
            .ok_or_else(|| no_form(self.id(), &self.tables[table], canonical, WRONG_FIELDS))
    }

    fn bookkeeping(&self) -> &'static [BookkeepingEntry] {
        self.form.bookkeeping()
    }
}
