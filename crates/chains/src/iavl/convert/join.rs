//! Answers every question by hash: which version and nonce has this node now?
//!
//! One pass over the nodes in the order of their hashes, with their nonces beside them. A question
//! without a node is a dangling reference; a node that nobody asks for is one that no version
//! has, or leads to such.

use super::gather::{NEW_PARENT, ORPHAN, PARENT, ROOT};
use super::report::ORPHANS_LISTED_MAX;
use super::{OPERATION, StoreReport, Tree};
use crate::iavl::fields::Take;
use crate::iavl::keys::NodeId;
use crate::iavl::node::HASH_BYTES;
use transload_store::sort::{Sequence, Sorted, Sorter, SpoolReader, Spooled};
use transload_store::{Error, Kind, Result};

/// Dangling references that an error names; it counts all.
const DANGLING_NAMED_MAX: usize = 8;

/// The node stands in the 1.x form already, under its version and nonce.
pub(super) const DOUBLED: u8 = 1;
/// An orphan names the node.
pub(super) const HAS_ORPHAN: u8 = 2;

/// The answers, each in the order of those who asked.
pub(super) struct Joined {
    /// Of each node, by place: nonce (u32), flags (u8).
    pub(super) own: Spooled,
    /// For nodes of the 0.x form: place (u64), side (u8), version (u64), nonce (u32).
    pub(super) parents: Sorted,
    /// For nodes of the 1.x form: version (u64), nonce (u32), side (u8), version, nonce.
    pub(super) new_parents: Sorted,
    /// For roots: version (u64), version of the node (u64), nonce (u32).
    pub(super) roots: Sorted,
    /// Nodes for which neither a node nor a root asks.
    pub(super) unnamed: u64,
}

struct Joiner<'a, 't> {
    tree: &'t Tree<'a>,
    report: &'t mut StoreReport,
    parents: Sorter<'a>,
    new_parents: Sorter<'a>,
    roots: Sorter<'a>,
    dangling: u64,
    named: Vec<Dangling>,
    record: Vec<u8>,
}

/// A reference whose node isn't there.
struct Dangling {
    child: NodeId,
    from: Asker,
}

enum Asker {
    Place(u64),
    Node(NodeId),
    Root(u64),
}

/// Joins nodes, nonces, and questions.
pub(super) fn join(
    tree: &Tree<'_>,
    nodes: &Spooled,
    mut nonces: Sorted,
    occupied: &Spooled,
    asks: Sorter<'_>,
    report: &mut StoreReport,
) -> Result<Joined> {
    let mut joiner = Joiner {
        tree,
        report,
        parents: tree.sorter(),
        new_parents: tree.sorter(),
        roots: tree.sorter(),
        dangling: 0,
        named: Vec::new(),
        record: Vec::new(),
    };
    let mut asks = asks.finish()?;
    let mut own = tree.spool();
    let mut unnamed = 0;
    let mut occupied = occupied.reader(tree.buffer_bytes())?;
    let mut reader = nodes.reader(tree.buffer_bytes())?;
    let mut place = 0_u64;
    while let Some(node) = reader.current() {
        let mut take = Take(node);
        let hash: [u8; HASH_BYTES] = take.array()?;
        let version = take.u64()?;
        let numbered = nonces.current().map(Take);
        let Some(mut numbered) = numbered else { return Err(lost()) };
        if numbered.u64()? != place {
            return Err(lost());
        }
        let (mut nonce, shared) = (numbered.u32()?, numbered.u8()? != 0);
        nonces.advance()?;
        let mut flags = 0;
        if let Some(doubled) = find_doubled(&mut occupied, &hash)? {
            nonce = doubled;
            flags |= DOUBLED;
            joiner.report.doubled += 1;
        } else if shared {
            let what = format!(
                "version {version} has two roots: node {} of the 0.x form and one of the 1.x form",
                NodeId::legacy(hash)
            );
            return Err(tree.error(NodeId::new(version, 1).bytes(), what));
        }
        let (has_parent, has_orphan) = joiner.answer(&mut asks, &hash, version, nonce)?;
        if has_orphan {
            flags |= HAS_ORPHAN;
        }
        if !has_parent && flags & DOUBLED == 0 {
            unnamed += 1;
        }
        let mut record = [0; 5];
        record[..4].copy_from_slice(&nonce.to_be_bytes());
        record[4] = flags;
        own.push(&record)?;
        place += 1;
        reader.advance()?;
    }
    joiner.unanswered(&mut asks, None)?;
    if joiner.dangling > 0 {
        return Err(joiner.dangling_error(nodes));
    }
    Ok(Joined {
        own: own.finish()?,
        parents: joiner.parents.finish()?,
        new_parents: joiner.new_parents.finish()?,
        roots: joiner.roots.finish()?,
        unnamed,
    })
}

fn lost() -> Error {
    Error::new(Kind::Corrupt, OPERATION, "scratch records of nodes and nonces differ")
}

/// The nonce of the 1.x node that has this hash. Hashes are asked for in ascending order.
fn find_doubled(occupied: &mut SpoolReader, hash: &[u8; HASH_BYTES]) -> Result<Option<u32>> {
    while let Some(record) = occupied.current() {
        let mut take = Take(record);
        let here: [u8; HASH_BYTES] = take.array()?;
        if here > *hash {
            break;
        }
        if here == *hash {
            take.u64()?;
            return take.u32().map(Some);
        }
        occupied.advance()?;
    }
    Ok(None)
}

impl Joiner<'_, '_> {
    /// Answers who asks for a node: whether a node or root does, and whether an orphan does.
    fn answer(
        &mut self,
        asks: &mut Sorted,
        hash: &[u8; HASH_BYTES],
        version: u64,
        nonce: u32,
    ) -> Result<(bool, bool)> {
        self.unanswered(asks, Some(hash))?;
        let (mut has_parent, mut has_orphan) = (false, false);
        while let Some(ask) = asks.current() {
            let mut take = Take(ask);
            if take.array::<HASH_BYTES>()? != *hash {
                break;
            }
            let kind = take.u8()?;
            if kind == ORPHAN {
                has_orphan = true;
            } else {
                has_parent = true;
                self.record.clear();
                self.record.extend_from_slice(take.0);
                self.record.extend_from_slice(&version.to_be_bytes());
                self.record.extend_from_slice(&nonce.to_be_bytes());
                match kind {
                    PARENT => self.parents.push(&self.record)?,
                    NEW_PARENT => self.new_parents.push(&self.record)?,
                    _ => self.roots.push(&self.record)?,
                }
            }
            asks.advance()?;
        }
        Ok((has_parent, has_orphan))
    }

    /// Passes over questions below `hash`: their nodes aren't there.
    fn unanswered(&mut self, asks: &mut Sorted, hash: Option<&[u8; HASH_BYTES]>) -> Result<()> {
        while let Some(ask) = asks.current() {
            if hash.is_some_and(|hash| ask >= hash.as_slice()) {
                break;
            }
            let mut take = Take(ask);
            let child = NodeId::legacy(take.array()?);
            let from = match take.u8()? {
                ORPHAN => {
                    self.report.orphans_nowhere += 1;
                    if self.report.orphans_nowhere_listed.len() < ORPHANS_LISTED_MAX {
                        let listed = (take.u64()?, take.u64()?, child);
                        self.report.orphans_nowhere_listed.push(listed);
                    }
                    None
                }
                PARENT => Some(Asker::Place(take.u64()?)),
                NEW_PARENT => Some(Asker::Node(NodeId::new(take.u64()?, take.u32()?))),
                ROOT => Some(Asker::Root(take.u64()?)),
                _ => return Err(lost()),
            };
            if let Some(from) = from {
                self.dangling += 1;
                if self.named.len() < DANGLING_NAMED_MAX {
                    self.named.push(Dangling { child, from });
                }
            }
            asks.advance()?;
        }
        Ok(())
    }

    /// Names what is missing, and who misses it.
    fn dangling_error(&self, nodes: &Spooled) -> Error {
        let mut texts = Vec::new();
        for dangling in &self.named {
            let child = dangling.child;
            texts.push(match &dangling.from {
                Asker::Root(version) => {
                    format!("node {child}, the root of version {version}, isn't there")
                }
                Asker::Node(parent) => {
                    format!("node {child}, a child of node {parent}, isn't there")
                }
                Asker::Place(place) => match self.node_at(nodes, *place) {
                    Ok(Some((version, parent))) => format!(
                        "node {child}, a child of node {parent} of version {version}, isn't there"
                    ),
                    _ => format!("node {child}, a child of another, isn't there"),
                },
            });
        }
        let more = self.dangling - self.named.len() as u64;
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        let first = self.named.first().map_or(b"".as_slice(), |first| first.child.bytes());
        self.tree.error(first, texts.join("; "))
    }

    fn node_at(&self, nodes: &Spooled, place: u64) -> Result<Option<(u64, NodeId)>> {
        let mut reader = nodes.reader(self.tree.buffer_bytes())?;
        for _ in 0..place {
            reader.advance()?;
        }
        let Some(record) = reader.current() else { return Ok(None) };
        let mut take = Take(record);
        let id = NodeId::legacy(take.array()?);
        Ok(Some((take.u64()?, id)))
    }
}
