//! Downwards: from the roots to every node that a version has, level by level.
//!
//! A mark says that versions up to N have a node. Roots are marked by their versions; a marked
//! node marks its children. Marks are sorted by id and merged with one level after another, so
//! when a level's turn comes all marks for it are there. What no mark reaches, no version has.

use super::records::{Inner, Leaf, Mark};
use super::tree::Store;
use super::{checks, finding};
use crate::iavl::keys::NodeId;
use crate::iavl::layout;
use transload_model::report::Verdict;
use transload_store::Result;
use transload_store::sort::{Sequence, Sorted, Sorter, SpoolReader, Spooled};

/// What else is wanted on the way down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The last version that has a root.
    pub(super) latest: Option<u64>,
    /// The last version that has a root of the 0.x form.
    pub(super) last_legacy: Option<u64>,
    /// Collect the latest version's leaves for the fast index.
    pub(super) fast: bool,
}

/// What the joins after this one need.
pub(super) struct Fallen<'a> {
    pub(super) index: Sorter<'a>,
    pub(super) orphans: Sorter<'a>,
}

/// Marks that wait for their node's level: carried over from the level above, and new.
struct Pending {
    carried: SpoolReader,
    fresh: Sorted,
}

impl Pending {
    fn carried_is_next(&self) -> bool {
        match (self.carried.current(), self.fresh.current()) {
            (Some(carried), Some(fresh)) => carried <= fresh,
            (carried, _) => carried.is_some(),
        }
    }

    fn current(&self) -> Result<Option<Mark>> {
        let next =
            if self.carried_is_next() { self.carried.current() } else { self.fresh.current() };
        next.map(Mark::parse).transpose()
    }

    fn advance(&mut self) -> Result<()> {
        if self.carried_is_next() { self.carried.advance() } else { self.fresh.advance() }
    }

    /// The last version of all marks for `id`.
    fn take(&mut self, id: NodeId) -> Result<Option<u64>> {
        let mut version = None;
        while let Some(mark) = self.current()?
            && mark.id == id
        {
            version = version.max(Some(mark.version));
            self.advance()?;
        }
        Ok(version)
    }
}

struct Descent<'a, 's> {
    store: &'s Store<'a>,
    form: Form,
    index: Sorter<'a>,
    orphans: Sorter<'a>,
    /// Nodes of a version above the last one that has a root.
    unfinished: u64,
    /// Roots of the 0.x form that IAVL 1.x copied to nonce 0 and a rollback left there.
    left_copies: u64,
    record: Vec<u8>,
}

/// Follows the marks from level to level.
pub(super) fn check<'a>(
    store: &Store<'a>,
    levels: &[Spooled],
    marks: Sorted,
    form: Form,
    index: Sorter<'a>,
    orphans: Sorter<'a>,
    verdict: &mut Verdict,
) -> Result<Fallen<'a>> {
    let mut descent =
        Descent { store, form, index, orphans, unfinished: 0, left_copies: 0, record: Vec::new() };
    let mut carried = Spooled::default();
    let mut fresh = marks;
    let mut progress = store.join(levels);
    for (height, level) in levels.iter().enumerate().rev() {
        let pending = Pending { carried: carried.reader(store.buffer_bytes())?, fresh };
        (carried, fresh) = descent.level(height, level, pending, verdict)?;
        store.joined(&mut progress, level)?;
    }
    // What is left names nodes that aren't there. Children were named on the way up, roots of
    // the 1.x form by the scan.
    let mut left = carried.reader(store.buffer_bytes())?;
    while let Some(record) = left.current() {
        let mark = Mark::parse(record)?;
        if mark.root && mark.id.legacy_hash().is_some() {
            let version = mark.version;
            let key = store.key(&[b"r".as_slice(), &version.to_be_bytes()].concat());
            let what = format!(
                "store {}: the root of version {version} names node {}, which isn't there",
                store.name, mark.id
            );
            verdict.find(finding(checks::PRESENT, layout::ROOT, &key, Some(version), what));
        }
        left.advance()?;
    }
    if descent.unfinished > 0 {
        verdict.notices.push(format!(
            "application.db: store {} has {} nodes of a version that was never finished, as a \
             killed node leaves them",
            store.name, descent.unfinished
        ));
    }
    if descent.left_copies > 0 {
        verdict.notices.push(format!(
            "application.db: store {} has {} roots of the 0.x form copied to the 1.x form that no \
             version needs, as a rollback leaves them",
            store.name, descent.left_copies
        ));
    }
    Ok(Fallen { index: descent.index, orphans: descent.orphans })
}

impl<'a> Descent<'a, '_> {
    /// Answers the marks that found no node here, and those for the children of what was found.
    fn level(
        &mut self,
        height: usize,
        level: &Spooled,
        mut pending: Pending,
        verdict: &mut Verdict,
    ) -> Result<(Spooled, Sorted)> {
        let mut carried = self.store.spool();
        let mut fresh = self.store.sorter();
        let mut nodes = level.reader(self.store.buffer_bytes())?;
        let mut node = Vec::new();
        while let Some(record) = nodes.current() {
            node.clear();
            node.extend_from_slice(record);
            nodes.advance()?;
            let id = super::records::Take(&node).id()?;
            while let Some(mark) = pending.current()?
                && mark.id < id
            {
                mark.put(&mut self.record);
                carried.push(&self.record)?;
                pending.advance()?;
            }
            let mut version = pending.take(id)?;
            // A root that pruning moved to nonce 0 is still marked under nonce 1.
            if let Some((of, 0)) = id.version_and_nonce() {
                let named = NodeId::new(of, 1);
                let next = nodes.current().map(|next| super::records::Take(next).id());
                if next.transpose()? != Some(named) {
                    version = version.max(pending.take(named)?);
                }
            }
            if height == 0 {
                self.leaf(&Leaf::parse(&node)?, version, verdict)?;
            } else {
                let inner = Inner::parse(&node)?;
                self.reached(inner.id, inner.version, version, verdict)?;
                if let Some(version) = version {
                    for id in [inner.left, inner.right] {
                        Mark { id, version, root: false }.put(&mut self.record);
                        fresh.push(&self.record)?;
                    }
                }
            }
        }
        while let Some(mark) = pending.current()? {
            mark.put(&mut self.record);
            carried.push(&self.record)?;
            pending.advance()?;
        }
        Ok((carried.finish()?, fresh.finish()?))
    }

    fn leaf(&mut self, leaf: &Leaf, reached: Option<u64>, verdict: &mut Verdict) -> Result<()> {
        self.reached(leaf.id, leaf.version, reached, verdict)?;
        if !self.form.fast || reached.is_none() || reached != self.form.latest {
            return Ok(());
        }
        self.record.clear();
        self.record.extend_from_slice(&leaf.key_hash);
        self.record.push(0);
        self.record.extend_from_slice(&leaf.version.to_be_bytes());
        self.record.extend_from_slice(&leaf.hash);
        self.record.extend_from_slice(leaf.id.bytes());
        self.index.push(&self.record)
    }

    /// Judges whether a version has the node: here for the 1.x form, with the orphans for the
    /// 0.x form.
    fn reached(
        &mut self,
        id: NodeId,
        version: u64,
        reached: Option<u64>,
        verdict: &mut Verdict,
    ) -> Result<()> {
        verdict.count(checks::REACHABLE, 1);
        if let Some(hash) = id.legacy_hash() {
            self.record.clear();
            self.record.extend_from_slice(&hash);
            self.record.push(0);
            // Versions begin at 1.
            self.record.extend_from_slice(&reached.unwrap_or(0).to_be_bytes());
            self.record.extend_from_slice(&version.to_be_bytes());
            return self.orphans.push(&self.record);
        }
        if reached.is_some() {
            return Ok(());
        }
        if Some(version) == self.form.latest.map_or(Some(1), |latest| latest.checked_add(1)) {
            self.unfinished += 1;
            return Ok(());
        }
        if matches!(id.version_and_nonce(), Some((_, 0))) && Some(version) <= self.form.last_legacy
        {
            self.left_copies += 1;
            return Ok(());
        }
        let what = "no version that is kept has this node";
        self.store.find_node(verdict, checks::REACHABLE, id, version, what);
        Ok(())
    }
}
