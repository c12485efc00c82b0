//! `tx_index.db`: transaction results by hash, and the keys by which events are searched. It is
//! the same in both key layouts.
//!
//! | table | key | canonical key |
//! |---|---|---|
//! | `tx_index/result` | the transaction's SHA-256 | the same |
//! | `tx_index/height` | `tx.height/` height `/` height `/` index, `$es$0` since 0.34.25 | height u64, index u32, then the number after `$es$` as u64 where there is one |
//! | `tx_index/event` | tag `/` value `/` height `/` index, `$es$` sequence | the same |
//! | `tx_index/block` | `block_events`, then orderedcode of `block.height`, height | height u64 |
//! | `tx_index/block_event` | `block_events`, then orderedcode of tag, value, height, perhaps a type, sequence | the same |
//! | `tx_index/marks` | retain heights (1.x) | the same |
//!
//! A key of 32 bytes is a transaction's hash, unless its form is that of an event's key and its
//! value that of such a key: an event's value is a hash, a block event's value its height.

use super::{
    HEIGHT_MAX, WRONG_FIELDS, as_stored, decimal_height, no_form, put_ordered, record, table,
    take_ordered,
};
use transload_codec::key::{Fields, put_u32, put_u64};
use transload_codec::{decimal, ordered, varint};
use transload_model::layout::{Layout, NoPhysicalForm, Placement, TableClass, TableSpec};

/// Index of the table in the layout.
pub const RESULT: usize = 0;
/// Index of the table in the layout.
pub const HEIGHT: usize = 1;
const EVENT: usize = 2;
/// Index of the table in the layout.
pub const BLOCK: usize = 3;
const BLOCK_EVENT: usize = 4;
/// Table of the marks that the node's own pruning of the index keeps (1.x).
pub const MARKS: usize = 5;
/// Index of the table in the layout.
pub const UNKNOWN: usize = 6;

const HASH_BYTES: usize = 32;
const HEIGHT_PREFIX: &[u8] = b"tx.height/";
const SEQUENCE_MARK: &[u8] = b"$es$";
/// All keys of the block indexer begin with this.
const BLOCK_EVENTS: &[u8] = b"block_events";
/// That, and `block.height` as an orderedcode string.
const BLOCK_PREFIX: &[u8] = b"block_eventsblock.height\x00\x01";
const MARK_KEYS: [&[u8]; 4] = [
    b"LastTxIndexerRetainHeightKey",
    b"TxIndexerRetainHeightKey",
    b"block_eventsLastBlockIndexerRetainHeightKey",
    b"block_eventsBlockIndexerRetainHeightKey",
];

/// The layout of `tx_index.db`.
#[derive(Debug)]
pub struct TxIndexLayout {
    tables: Vec<TableSpec>,
}

impl Default for TxIndexLayout {
    fn default() -> Self {
        Self::new()
    }
}

impl TxIndexLayout {
    /// The layout.
    #[must_use]
    pub fn new() -> Self {
        use TableClass::{Derived, EqualOnly};
        let tables = vec![
            table("tx_index/result", Derived, "transactions and their results, by hash"),
            table("tx_index/height", Derived, "hashes of transactions by height and index"),
            table("tx_index/event", EqualOnly, "hashes of transactions by their events"),
            table("tx_index/block", Derived, "heights that were indexed"),
            table("tx_index/block_event", EqualOnly, "heights by their blocks' events"),
            table("tx_index/marks", EqualOnly, "heights that this node keeps for itself"),
            table("tx_index/unknown", EqualOnly, "entries that no known version writes"),
        ];
        Self { tables }
    }
}

/// Height, index and sequence of a key that ends in `/height/index`, perhaps with `$es$n`.
struct Tail {
    head_bytes: usize,
    height: u64,
    index: u32,
    sequence: Option<u64>,
}

fn tail(key: &[u8]) -> Option<Tail> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    let (index, digits) = decimal::parse_front(&key[slash + 1..]).ok()?;
    let sequence = match &key[slash + 1 + digits..] {
        [] => None,
        rest => Some(decimal::parse(rest.strip_prefix(SEQUENCE_MARK)?).ok()?),
    };
    let second = key[..slash].iter().rposition(|byte| *byte == b'/')?;
    let height = decimal_height(&key[second + 1..slash])?;
    Some(Tail { head_bytes: second, height, index: u32::try_from(index).ok()?, sequence })
}

/// `tag/value` must stand before the height.
fn is_event(key: &[u8], value: &[u8]) -> bool {
    value.len() == HASH_BYTES
        && tail(key).is_some_and(|tail| key[..tail.head_bytes].contains(&b'/'))
}

/// The height within a block event's key.
fn block_event_height(key: &[u8]) -> Option<u64> {
    let key = key.strip_prefix(BLOCK_EVENTS)?;
    let tag = ordered::skip_string(key).ok()?;
    let value = ordered::skip_string(&key[tag..]).ok()?;
    let (height, rest) = take_ordered(&key[tag + value..])?;
    let rest = match take_ordered(rest) {
        Some((_, rest)) => rest,
        None => {
            // 0.34 and 0.37: a type, and since 0.34.25 a sequence after it.
            let rest = &rest[ordered::skip_string(rest).ok()?..];
            if rest.is_empty() { rest } else { take_ordered(rest)?.1 }
        }
    };
    rest.is_empty().then_some(height)
}

/// Block events and heights have their height as value, in Go's signed varint.
fn is_height_value(value: &[u8], height: u64) -> bool {
    varint::read_varint(value)
        .is_ok_and(|(stored, taken)| taken == value.len() && u64::try_from(stored) == Ok(height))
}

fn block_height(key: &[u8], value: &[u8]) -> Option<u64> {
    let (height, rest) = take_ordered(key.strip_prefix(BLOCK_PREFIX)?)?;
    (rest.is_empty() && is_height_value(value, height)).then_some(height)
}

fn is_block_event(key: &[u8], value: &[u8]) -> bool {
    block_event_height(key).is_some_and(|height| is_height_value(value, height))
}

/// A `tx.height` key, when its two heights agree.
fn tx_height(key: &[u8], value: &[u8]) -> Option<Tail> {
    let rest = key.strip_prefix(HEIGHT_PREFIX).filter(|_| value.len() == HASH_BYTES)?;
    let tail = tail(key)?;
    let first = rest.get(..tail.head_bytes.checked_sub(HEIGHT_PREFIX.len())?)?;
    (decimal_height(first) == Some(tail.height)).then_some(tail)
}

impl Layout for TxIndexLayout {
    fn id(&self) -> &'static str {
        "cometbft-tx-index"
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        if let Some(tail) = tx_height(key, value) {
            canonical.clear();
            put_u64(canonical, tail.height);
            put_u32(canonical, tail.index);
            if let Some(sequence) = tail.sequence {
                put_u64(canonical, sequence);
            }
            return Placement::Record {
                table: HEIGHT,
                stream: decimal::digits(tail.height),
                ordered_prefix_bytes: Some(size_of::<u64>()),
            };
        }
        if let Some(height) = block_height(key, value) {
            canonical.clear();
            put_u64(canonical, height);
            return record(BLOCK);
        }
        let table = if is_event(key, value) {
            EVENT
        } else if is_block_event(key, value) {
            BLOCK_EVENT
        } else if key.len() == HASH_BYTES {
            RESULT
        } else if MARK_KEYS.contains(&key) {
            MARKS
        } else {
            UNKNOWN
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
        let put = match table {
            HEIGHT => put_tx_height(canonical, physical),
            BLOCK => {
                physical.extend_from_slice(BLOCK_PREFIX);
                let mut fields = Fields::new(canonical);
                fields
                    .u64()
                    .ok()
                    .and_then(|height| put_ordered(physical, height))
                    .and_then(|()| fields.end().ok())
            }
            _ => {
                physical.extend_from_slice(canonical);
                Some(())
            }
        };
        put.ok_or_else(|| no_form(self.id(), &self.tables[table], canonical, WRONG_FIELDS))
    }

    fn align_split<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        // The transactions of one height stand together, in any order of their indices.
        let Some(rest) = key.strip_prefix(HEIGHT_PREFIX) else { return key };
        let mut slashes = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        match slashes.nth(1) {
            Some((slash, _)) => &key[..HEIGHT_PREFIX.len() + slash + 1],
            None => key,
        }
    }
}

/// The height that an entry of this table has in its key; `None` where the key has none.
#[must_use]
pub fn height_of(table: usize, key: &[u8], value: &[u8]) -> Option<u64> {
    match table {
        HEIGHT | EVENT => Some(tail(key)?.height),
        BLOCK => block_height(key, value),
        BLOCK_EVENT => block_event_height(key),
        _ => None,
    }
}

/// The canonical key of a transaction in `tx_index/height`.
#[must_use]
pub fn height_key(height: u64, index: u32, sequence: Option<u64>) -> Vec<u8> {
    let mut canonical = Vec::with_capacity(20);
    put_u64(&mut canonical, height);
    put_u32(&mut canonical, index);
    if let Some(sequence) = sequence {
        put_u64(&mut canonical, sequence);
    }
    canonical
}

fn put_tx_height(canonical: &[u8], physical: &mut Vec<u8>) -> Option<()> {
    let mut fields = Fields::new(canonical);
    let height = fields.u64().ok().filter(|height| *height <= HEIGHT_MAX)?;
    let index = fields.u32().ok()?;
    physical.extend_from_slice(HEIGHT_PREFIX);
    decimal::put(physical, height);
    physical.push(b'/');
    decimal::put(physical, height);
    physical.push(b'/');
    decimal::put(physical, u64::from(index));
    if !fields.rest().is_empty() {
        physical.extend_from_slice(SEQUENCE_MARK);
        decimal::put(physical, fields.u64().ok()?);
    }
    fields.end().ok()
}
