//! Nonces: each version's new nodes in pre-order, as the 1.x library numbers them at a commit.
//!
//! A version's new nodes hang together below its root, and every node is higher than those below
//! it. So the tree follows from the order of keys and the heights alone (it is the Cartesian tree
//! of the heights), and a node's number in pre-order is
//!
//! > its place in order - nodes below its left side + ancestors that have it on their left side
//!
//! The second follows from a pass in order, the third from a pass in reverse. Both need a stack
//! of falling heights and nothing else, so a version may have made any number of nodes.
//!
//! Where the version's root is gone, what is left of its nodes is numbered in the same way, but
//! from 2: nonce 1 would be taken for the root of the version. One that is the root of a later
//! version gets nonce 0, where pruning moves such nodes.

use super::gather::{LATER_ROOT, NODE, OCCUPIED, OWN_ROOT};
use super::{OPERATION, Tree};
use crate::iavl::fields::Take;
use transload_store::sort::{Sequence, Sorted, Sorter, Spooled};
use transload_store::{Error, Kind, Result};

/// Above every node's height.
const ROOT_HEIGHT: u16 = 256;

/// Nodes of one version that are held in memory, for each byte of the worker's memory; a
/// version that made more is sorted by its places instead.
const MEMORY_SHARE: usize = 8;

/// Gives every node its nonce. The records: place (u64), nonce (u32), and 1 where nonce 1 of the
/// version is taken by a 1.x entry, so that it must be the same node.
pub(super) fn number(
    tree: &Tree<'_>,
    mut groups: Sorter<'_>,
    nodes: &Spooled,
    roots_by_hash: Sorter<'_>,
) -> Result<Sorted> {
    place_roots(tree, &mut groups, nodes, roots_by_hash)?;
    let mut sorted = groups.finish()?;
    let mut numbering = Numbering { nonces: tree.sorter(), record: Vec::new() };
    let mut group: Option<Group<'_>> = None;
    while let Some(record) = sorted.current() {
        let mut take = Take(record);
        let version = take.u64()?;
        if group.as_ref().is_none_or(|group| group.version != version)
            && let Some(done) = group.replace(Group::new(tree, version))
        {
            done.finish(&mut numbering)?;
        }
        if let Some(group) = &mut group {
            match take.u8()? {
                OWN_ROOT => group.own_root = Some(take.u64()?),
                LATER_ROOT => {
                    take.u8()?;
                    let place = take.u64()?;
                    group.later_root.get_or_insert(place);
                }
                OCCUPIED => {
                    let nonce = !take.u32()?;
                    group.last_occupied = group.last_occupied.max(nonce);
                    group.has_zero |= nonce == 0;
                    group.has_one |= nonce == 1;
                }
                NODE => {
                    take.skip_to_last(9)?;
                    let height = !take.u8()?;
                    group.push(height, take.u64()?)?;
                }
                _ => return Err(Error::new(Kind::Corrupt, OPERATION, "a torn scratch record")),
            }
        }
        sorted.advance()?;
    }
    if let Some(done) = group {
        done.finish(&mut numbering)?;
    }
    numbering.nonces.finish()
}

/// Tells each group which of its nodes is its root, and which is a later version's.
fn place_roots(
    tree: &Tree<'_>,
    groups: &mut Sorter<'_>,
    nodes: &Spooled,
    roots_by_hash: Sorter<'_>,
) -> Result<()> {
    let mut roots = roots_by_hash.finish()?;
    let mut nodes = nodes.reader(tree.buffer_bytes())?;
    let mut place = 0_u64;
    let mut record = Vec::new();
    while let (Some(node), Some(_)) = (nodes.current(), roots.current()) {
        let mut take = Take(node);
        let hash: [u8; 32] = take.array()?;
        let (version, height) = (take.u64()?, take.u8()?);
        let (mut own, mut later) = (false, false);
        while let Some(root) = roots.current() {
            let mut take = Take(root);
            let named: [u8; 32] = take.array()?;
            if named > hash {
                break;
            }
            if named == hash {
                let of = take.u64()?;
                own |= of == version;
                later |= of != version;
            }
            roots.advance()?;
        }
        for (kind, found) in [(OWN_ROOT, own), (LATER_ROOT, later)] {
            if found {
                record.clear();
                record.extend_from_slice(&version.to_be_bytes());
                record.push(kind);
                if kind == LATER_ROOT {
                    record.push(!height);
                }
                record.extend_from_slice(&place.to_be_bytes());
                groups.push(&record)?;
            }
        }
        place += 1;
        nodes.advance()?;
    }
    Ok(())
}

struct Numbering<'a> {
    nonces: Sorter<'a>,
    record: Vec<u8>,
}

impl Numbering<'_> {
    fn put(&mut self, place: u64, nonce: u32, shared: bool) -> Result<()> {
        self.record.clear();
        self.record.extend_from_slice(&place.to_be_bytes());
        self.record.extend_from_slice(&nonce.to_be_bytes());
        self.record.push(u8::from(shared));
        self.nonces.push(&self.record)
    }
}

/// A node after the pass in order.
#[derive(Clone, Copy)]
struct Placed {
    height: u16,
    /// Its place in order less the nodes below its left side.
    partial: u32,
    place: u64,
}

/// What one version made.
struct Group<'a> {
    version: u64,
    own_root: Option<u64>,
    later_root: Option<u64>,
    last_occupied: u32,
    has_zero: bool,
    has_one: bool,
    count: u32,
    /// Heights that fall, each with its last place in order.
    left: Vec<(u16, u32)>,
    held: Vec<Placed>,
    held_max: usize,
    /// What memory doesn't hold, last in order first.
    spilled: Sorter<'a>,
}

impl<'a> Group<'a> {
    fn new(tree: &Tree<'a>, version: u64) -> Self {
        Self {
            version,
            own_root: None,
            later_root: None,
            last_occupied: 0,
            has_zero: false,
            has_one: false,
            count: 0,
            left: Vec::new(),
            held: Vec::new(),
            held_max: tree.memory_bytes_max / MEMORY_SHARE / size_of::<Placed>(),
            spilled: tree.sorter(),
        }
    }

    fn push(&mut self, height: u8, place: u64) -> Result<()> {
        let height = if self.own_root == Some(place) { ROOT_HEIGHT } else { u16::from(height) };
        let at = self.count;
        self.count = self.count.checked_add(1).ok_or_else(|| self.too_many())?;
        while self.left.last().is_some_and(|(left, _)| *left < height) {
            self.left.pop();
        }
        // Nodes below the left side: all since the last one that isn't lower.
        let before = self.left.last().map_or(0, |(_, before)| before + 1);
        match self.left.last_mut() {
            Some((left, last)) if *left == height => *last = at,
            _ => self.left.push((height, at)),
        }
        self.held.push(Placed { height, partial: before, place });
        if self.held.len() >= self.held_max {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let first = u64::from(self.count) - self.held.len() as u64;
        for (at, placed) in self.held.drain(..).enumerate() {
            let mut record = [0; 22];
            record[..8].copy_from_slice(&(!(first + at as u64)).to_be_bytes());
            record[8..10].copy_from_slice(&placed.height.to_be_bytes());
            record[10..14].copy_from_slice(&placed.partial.to_be_bytes());
            record[14..].copy_from_slice(&placed.place.to_be_bytes());
            self.spilled.push(&record)?;
        }
        Ok(())
    }

    fn too_many(&self) -> Error {
        let what = format!(
            "application.db: version {} made more nodes than the {} nonces that IAVL 1.x has",
            self.version,
            u32::MAX
        );
        Error::new(Kind::Limit, OPERATION, what)
    }

    /// The pass in reverse.
    fn finish(mut self, numbering: &mut Numbering<'_>) -> Result<()> {
        // Numbers that 1.x nodes of this version have already are passed over.
        let begin = if self.last_occupied > 1 { self.last_occupied } else { 0 };
        let begin = if self.own_root.is_none() { begin.max(1) } else { begin };
        if begin.checked_add(self.count).is_none() {
            return Err(self.too_many());
        }
        // What stands at nonce 0 answers for nonce 1.
        let is_free = self.own_root.is_none() && !self.has_zero && !self.has_one;
        let later_root = self.later_root.filter(|_| is_free);
        let shared = (self.has_one || self.has_zero) && self.own_root.is_some();
        let own_root = self.own_root;
        let mut right: Vec<u16> = Vec::new();
        let mut each = |placed: Placed| {
            while right.last().is_some_and(|right| *right <= placed.height) {
                right.pop();
            }
            // At most 257 heights fall one after another.
            let above = u32::try_from(right.len()).unwrap_or(u32::MAX);
            right.push(placed.height);
            let number = placed.partial + above + 1;
            if own_root == Some(placed.place) {
                numbering.put(placed.place, 1, shared)
            } else if later_root == Some(placed.place) {
                numbering.put(placed.place, 0, false)
            } else {
                numbering.put(placed.place, begin + number, false)
            }
        };
        if self.spilled.records() == 0 {
            return self.held.iter().rev().try_for_each(|placed| each(*placed));
        }
        self.spill()?;
        let mut sorted = self.spilled.finish()?;
        while let Some(record) = sorted.current() {
            let mut take = Take(&record[8..]);
            let height = u16::from_be_bytes(take.array()?);
            each(Placed { height, partial: take.u32()?, place: take.u64()? })?;
            sorted.advance()?;
        }
        Ok(())
    }
}
