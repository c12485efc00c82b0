//! A home as a forger sees it: every entry of its databases, and where the fields of a stored
//! message lie.

use crate::holding::engines;
use std::collections::BTreeMap;
use std::path::Path;
use transload_chains::cometbft::layout::{
    BlockstoreLayout, EvidenceLayout, KeyForm, StateLayout, blockstore, evidence, state,
};
use transload_chains::cometbft::wire::block::{Block, BlockMeta, BlockStoreState, Part};
use transload_codec::proto::{Fields, Value};
use transload_model::layout::Layout as _;
use transload_store::{Engines as _, KeyRange, Scan, SourceOptions};

pub(super) const BLOCKS: &str = "blockstore.db";
pub(super) const STATE: &str = "state.db";
pub(super) const EVIDENCE: &str = "evidence.db";
pub(super) const INDEX: &str = "tx_index.db";
pub(super) const APPLICATION: &str = "application.db";

pub(super) use crate::homes::Entries;

/// Everything in a home's databases.
pub(super) struct Home {
    pub(super) databases: BTreeMap<&'static str, Entries>,
    pub(super) form: KeyForm,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Home {
    /// Reads the databases that are there.
    pub(super) fn read(home: &Path) -> Self {
        let mut databases = BTreeMap::new();
        for name in [BLOCKS, STATE, EVIDENCE, INDEX, APPLICATION] {
            let path = home.join("data").join(name);
            if path.exists() {
                databases.insert(name, entries(&path));
            }
        }
        Self::of(databases)
    }

    /// The home with these databases.
    pub(super) fn of(databases: BTreeMap<&'static str, Entries>) -> Self {
        let form = match databases[BLOCKS].get(b"version".as_slice()) {
            Some(version) if version == b"v2" => KeyForm::V2,
            _ => KeyForm::V1,
        };
        let stored = &databases[BLOCKS][blockstore::STATE_KEY];
        let (first, last) = BlockStoreState::decode(stored).unwrap().range().unwrap();
        Self { databases, form, first, last }
    }

    pub(super) fn entries(&self, database: &str) -> &Entries {
        &self.databases[database]
    }

    /// A height in the middle.
    pub(super) fn middle(&self) -> u64 {
        self.first.midpoint(self.last)
    }

    /// The key of a record of the block store.
    pub(super) fn block_key(&self, table: usize, canonical: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        BlockstoreLayout::new(self.form).physical(table, canonical, &mut key).unwrap();
        key
    }

    pub(super) fn part_key(&self, height: u64, index: u32) -> Vec<u8> {
        self.block_key(blockstore::PART, &blockstore::part_key(height, index))
    }

    /// The key of a record of the state under a height.
    pub(super) fn state_key(&self, table: usize, height: u64) -> Vec<u8> {
        let mut key = Vec::new();
        StateLayout::new(self.form).physical(table, &height.to_be_bytes(), &mut key).unwrap();
        key
    }

    pub(super) fn evidence_key(&self, table: usize, height: u64, hash: &[u8]) -> Vec<u8> {
        let (mut key, canonical) = (Vec::new(), [&height.to_be_bytes()[..], hash].concat());
        EvidenceLayout::new(self.form).physical(table, &canonical, &mut key).unwrap();
        key
    }

    pub(super) fn meta(&self, height: u64) -> BlockMeta<'_> {
        let key = self.block_key(blockstore::META, &height.to_be_bytes());
        BlockMeta::decode(&self.entries(BLOCKS)[&key]).unwrap()
    }

    /// A block's bytes.
    pub(super) fn block(&self, height: u64) -> Vec<u8> {
        let total = self.meta(height).block_id.parts.total;
        let mut bytes = Vec::new();
        for index in 0..total {
            let value = &self.entries(BLOCKS)[&self.part_key(height, index)];
            bytes.extend_from_slice(Part::decode(value).unwrap().bytes);
        }
        bytes
    }

    /// The first height, above `from`, whose block is as asked.
    pub(super) fn height_where(
        &self,
        from: u64,
        holds: impl Fn(&BlockMeta<'_>, &Block<'_>) -> bool,
    ) -> Option<u64> {
        (from..=self.last).find(|height| {
            let bytes = self.block(*height);
            holds(&self.meta(*height), &Block::decode(&bytes).unwrap())
        })
    }

    /// Whether it is of a release before 0.38, whose results don't have the application's hash.
    pub(super) fn is_legacy(&self) -> bool {
        let results = self.state_key(state::RESULTS, self.last);
        let stored = self.entries(STATE).get(&results);
        stored.is_some_and(|stored| place(stored, &[5]).is_none())
    }

    /// A mark or pending record's table number, named here so that lists need no layouts.
    pub(super) const COMMITTED: usize = evidence::COMMITTED;
    pub(super) const PENDING: usize = evidence::PENDING;
}

/// Whatever a database holds.
pub(crate) fn entries(path: &Path) -> Entries {
    let engines = engines();
    let engine = engines.recognise(path).unwrap().engine;
    let scratch = tempfile::tempdir().unwrap();
    let options = SourceOptions {
        scratch_dir: scratch.path().to_owned(),
        space: None,
        memory_bytes_max: 64 << 20,
    };
    let store = engines.driver(engine).unwrap().open_source(path, &options).unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next().unwrap() {
        entries.insert(key.to_vec(), value.to_vec());
    }
    let _complete = scan.receipt().unwrap();
    drop(snapshot);
    store.close().unwrap();
    entries
}

/// Where the content of a field begins in a message, by the numbers that lead to it; the first
/// of several. `None` when it isn't there or is empty.
pub(super) fn place(message: &[u8], path: &[u32]) -> Option<usize> {
    let (number, rest) = path.split_first()?;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next().unwrap() {
        if field.number != *number {
            continue;
        }
        let Value::Bytes(bytes) = field.value else { return Some(field.offset + 1) };
        let at = bytes.as_ptr().addr() - message.as_ptr().addr();
        if rest.is_empty() {
            return (!bytes.is_empty()).then_some(at);
        }
        if let Some(inside) = place(bytes, rest) {
            return Some(at + inside);
        }
    }
    None
}

/// Where `needle` stands in `hay`, for the first time.
pub(super) fn position(hay: &[u8], needle: &[u8]) -> usize {
    hay.windows(needle.len()).position(|window| window == needle).expect("it is in there")
}

/// A message with one top-level field replaced or added at its place.
pub(super) fn replaced(message: &[u8], number: u32, with: &[u8]) -> Vec<u8> {
    use transload_codec::proto::{put_message, put_varint_field};
    let (mut out, mut fields, mut done) = (Vec::new(), Fields::new(message), false);
    while let Some(field) = fields.next().unwrap() {
        if !done && field.number >= number {
            put_message(&mut out, number, with);
            done = true;
        }
        match field.value {
            _ if field.number == number => {}
            Value::Bytes(bytes) => put_message(&mut out, field.number, bytes),
            Value::Varint(value) => put_varint_field(&mut out, field.number, value),
            other => panic!("no stored message has {other:?} here"),
        }
    }
    if !done {
        put_message(&mut out, number, with);
    }
    out
}

/// As [`replaced`], of a number.
pub(super) fn replaced_number(message: &[u8], number: u32, with: u64) -> Vec<u8> {
    use transload_codec::proto::{put_message, put_varint_field};
    let (mut out, mut fields, mut done) = (Vec::new(), Fields::new(message), false);
    let mut number_put = |out: &mut Vec<u8>, at: u32| {
        if !done && at >= number {
            put_varint_field(out, number, with);
            done = true;
        }
    };
    while let Some(field) = fields.next().unwrap() {
        number_put(&mut out, field.number);
        match field.value {
            _ if field.number == number => {}
            Value::Varint(value) => put_varint_field(&mut out, field.number, value),
            Value::Bytes(bytes) => put_message(&mut out, field.number, bytes),
            other => panic!("no stored message has {other:?} here"),
        }
    }
    number_put(&mut out, u32::MAX);
    out
}
