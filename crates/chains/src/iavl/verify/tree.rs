//! One store: its scan, its joins, and what came of them.

use super::records::Hash;
use super::{
    BYTE_WORK, Ctx, JOIN_WORK, SCAN_WORK, StoreOutcome, checks, fall, finding, index, name, rise,
    scan,
};
use crate::iavl::keys::{NodeId, store_prefix};
use crate::iavl::layout;
use crate::iavl::node::Node;
use transload_model::report::{Verdict, printable_key};
use transload_store::sort::{Sorter, Spool, Spooled};
use transload_store::{KeyRange, Result};

/// The share of the memory that one sorter gets. At most four are in use at a time, and one that
/// is being read beside them.
const SORTER_SHARE: usize = 6;

/// What a spool holds in memory before it writes. A tree has a spool a level.
const SPOOL_BYTES_MAX: usize = 64 << 10;

/// A store that is being checked.
pub(super) struct Store<'a> {
    pub(super) ctx: &'a Ctx<'a>,
    pub(super) name: String,
    /// Of its keys.
    pub(super) prefix: Vec<u8>,
    /// About how many it has, as the engine counts them.
    pub(super) bytes: u64,
}

/// The progress of a join, level by level.
pub(super) struct Levels {
    nodes: u64,
    nodes_done: u64,
    told: u64,
}

impl<'a> Store<'a> {
    pub(super) fn new(ctx: &'a Ctx<'a>, store: &[u8]) -> Result<Self> {
        let prefix = store_prefix(store);
        let bytes = ctx.snapshot.approximate_bytes(&KeyRange::prefix(&prefix))?;
        Ok(Self { ctx, name: name(store), prefix, bytes })
    }

    /// Begins a join of these levels.
    pub(super) fn join(&self, levels: &[Spooled]) -> Levels {
        Levels { nodes: levels.iter().map(Spooled::records).sum(), nodes_done: 0, told: 0 }
    }

    /// Tells that a level is joined.
    pub(super) fn joined(&self, levels: &mut Levels, level: &Spooled) -> Result<()> {
        levels.nodes_done += level.records();
        let all = u128::from(self.bytes.saturating_mul(JOIN_WORK));
        let done = all * u128::from(levels.nodes_done) / u128::from(levels.nodes.max(1));
        let done = u64::try_from(done).unwrap_or(u64::MAX);
        let before = std::mem::replace(&mut levels.told, done);
        self.ctx.work(done.saturating_sub(before))
    }

    pub(super) fn sorter(&self) -> Sorter<'a> {
        Sorter::new(&self.ctx.scratch, self.ctx.memory_bytes_max / SORTER_SHARE)
    }

    pub(super) fn spool(&self) -> Spool<'a> {
        let memory = (self.ctx.memory_bytes_max / 256).min(SPOOL_BYTES_MAX);
        Spool::new(&self.ctx.scratch, memory)
    }

    /// For readers of spools.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.ctx.memory_bytes_max / 64
    }

    /// The physical key of an entry.
    pub(super) fn key(&self, entry: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), entry].concat()
    }

    /// The stored bytes of a node, where pruning moved it included. For failures and rare roots
    /// only: it is a random read.
    pub(super) fn read(&self, id: NodeId) -> Result<Option<(NodeId, Vec<u8>)>> {
        for id in [Some(id), id.moved_by_pruning()].into_iter().flatten() {
            if let Some(stored) = self.ctx.snapshot.get(&self.key(id.bytes()))? {
                return Ok(Some((id, stored)));
            }
        }
        Ok(None)
    }

    /// The claimed hash of a node; `None` when it isn't there or can't be decoded.
    pub(super) fn read_hash(&self, id: NodeId) -> Result<Option<Hash>> {
        let read = self.read(id)?;
        Ok(read.and_then(|(id, stored)| Node::decode(id, &stored).ok().map(|node| node.hash())))
    }

    /// Adds a finding about a node.
    pub(super) fn find_node(
        &self,
        verdict: &mut Verdict,
        check: &'static str,
        id: NodeId,
        version: u64,
        what: impl Into<String>,
    ) {
        self.find_one_of(verdict, check, (id, &[]), version, what);
    }

    /// Adds a finding about a node where another of its table may be the wrong one.
    pub(super) fn find_one_of(
        &self,
        verdict: &mut Verdict,
        check: &'static str,
        (id, others): (NodeId, &[NodeId]),
        version: u64,
        what: impl Into<String>,
    ) {
        let table = |id: &NodeId| match id.version_and_nonce() {
            Some(_) => layout::NODE,
            None => layout::LEGACY_NODE,
        };
        let what = format!("store {}: {}", self.name, what.into());
        let mut found = finding(check, table(&id), &self.key(id.bytes()), Some(version), what);
        let others = others.iter().filter(|other| table(other) == table(&id));
        found.perhaps = others.map(|other| printable_key(&self.key(other.bytes()))).collect();
        verdict.find(found);
    }
}

/// Checks a store.
pub(super) fn check(ctx: &Ctx<'_>, store_name: &[u8]) -> Result<StoreOutcome> {
    let store = Store::new(ctx, store_name)?;
    let mut verdict = Verdict::nothing();
    let scanned = scan::scan(&store, &mut verdict)?;
    rise::check(&store, &scanned.levels, &mut verdict)?;
    let form = fall::Form {
        latest: scanned.latest,
        last_legacy: scanned.last_legacy,
        fast: scanned.fast_index_is_current(&store, &mut verdict)?,
    };
    let fallen = fall::check(
        &store,
        &scanned.levels,
        scanned.marks,
        form,
        scanned.index,
        scanned.orphans,
        &mut verdict,
    )?;
    if form.fast {
        verdict.count(checks::FAST, 0);
        index::check_fast(&store, fallen.index, scanned.latest, &mut verdict)?;
    }
    let mixed = scanned.has_new_form;
    index::check_orphans(&store, fallen.orphans, scanned.latest, mixed, &mut verdict)?;
    ctx.work(store.bytes.saturating_mul(BYTE_WORK - SCAN_WORK - 2 * JOIN_WORK))?;
    Ok(StoreOutcome {
        store: store_name.to_vec(),
        roots: scanned.roots,
        first_entry: scanned.first_entry,
        latest: scanned.latest,
        verdict,
    })
}
