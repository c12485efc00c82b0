//! Which nodes of a store its roots reach: level by level from the top, in bounded memory.
//!
//! Every node is written down with its level; marks of roots and of reached parents are sorted
//! by node and merged with one level after another. Works for both forms and for stores that
//! have both.

use crate::iavl::fields::Take;
use crate::iavl::keys::{Entry, NodeId};
use crate::iavl::node::{Body, HASH_BYTES, Node, RootEntry};
use transload_store::sort::{Scratch, Sequence, Sorted, Sorter, Spool, SpoolReader, Spooled};
use transload_store::{Error, KeyRange, Kind, Result, Snapshot, Walk};

const OPERATION: &str = "walk the application's trees";

/// The share of the memory that one sorter gets: at most two are in use at a time.
const SORTER_SHARE: usize = 4;

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// One store.
pub(super) struct Trees<'a> {
    pub(super) source: &'a dyn Snapshot,
    pub(super) scratch: &'a Scratch,
    pub(super) memory_bytes_max: usize,
    /// For people.
    pub(super) name: &'a str,
    /// Of its keys.
    pub(super) prefix: &'a [u8],
    /// Nodes of the 1.x form count as reached, whether they are or not: whatever they name must
    /// stay.
    pub(super) new_form_stays: bool,
    /// Nodes that a version above this one made count as reached, whether they are or not.
    pub(super) stays_above: u64,
    /// Roots of versions below this one count for nothing.
    pub(super) first_version: u64,
}

/// One bit a node, by its place among all nodes in the order of their keys: 12 MB for a hundred
/// million nodes.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, place: u64) {
        let word = usize::try_from(place / 64).unwrap_or(usize::MAX);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (place % 64);
    }

    pub(super) fn get(&self, place: u64) -> bool {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }
}

struct Reach<'w> {
    bits: Bits,
    advance: &'w mut dyn FnMut(u64) -> Result<()>,
}

impl Visitor for Reach<'_> {
    fn leaf(&mut self, _: &Node<'_>, _: &[u8], _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn reached(&mut self, place: u64, _: Option<&[u8]>) -> Result<()> {
        self.bits.set(place);
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        (self.advance)(bytes)
    }
}

/// What is to be done with the nodes.
pub(super) trait Visitor {
    /// Appends what is wanted of a leaf once it is reached.
    fn leaf(&mut self, node: &Node<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<()>;

    /// A node is reached: its place among all nodes in the order of their keys, and what `leaf`
    /// kept of it.
    fn reached(&mut self, place: u64, leaf: Option<&[u8]>) -> Result<()>;

    /// Counts bytes as looked at.
    fn advance(&mut self, bytes: u64) -> Result<()>;
}

impl<'a> Trees<'a> {
    fn sorter(&self) -> Sorter<'a> {
        Sorter::new(self.scratch, self.memory_bytes_max / SORTER_SHARE)
    }

    fn spool(&self) -> Spool<'a> {
        Spool::new(self.scratch, (self.memory_bytes_max / 512).min(64 << 10))
    }

    fn buffer_bytes(&self) -> usize {
        self.memory_bytes_max / 64
    }

    fn error(&self, entry: &[u8], what: impl std::fmt::Display) -> Error {
        let key = [self.prefix, entry].concat();
        let what = format!("application.db: store {}: {what}", self.name);
        Error::new(Kind::Corrupt, OPERATION, what)
            .with("key", transload_model::report::printable_key(&key))
    }

    /// The nodes that are reached. `advance` is told of bytes that were looked at.
    pub(super) fn reached(&self, advance: &mut dyn FnMut(u64) -> Result<()>) -> Result<Bits> {
        let mut reach = Reach { bits: Bits::default(), advance };
        self.visit(&mut reach)?;
        Ok(reach.bits)
    }

    /// Visits every reached node, the highest first.
    pub(super) fn visit(&self, visitor: &mut dyn Visitor) -> Result<()> {
        let mut scanner = Scanner {
            trees: self,
            levels: Vec::new(),
            marks: self.sorter(),
            last_mark: None,
            moved: None,
            nodes: 0,
            record: Vec::new(),
        };
        for kind in [b'n', b'r', b's'] {
            scanner.scan(kind, visitor)?;
        }
        let mut levels = Vec::with_capacity(scanner.levels.len());
        for level in scanner.levels {
            levels.push(level.finish()?);
        }
        let mut carried = Spooled::default();
        let mut fresh = scanner.marks.finish()?;
        for (height, level) in levels.iter().enumerate().rev() {
            visitor.advance(0)?;
            let marks = Marks { carried: carried.reader(self.buffer_bytes())?, fresh };
            (carried, fresh) = self.level(height, level, marks, visitor)?;
        }
        let left = carried.reader(self.buffer_bytes())?;
        match left.current() {
            None => Ok(()),
            Some(mark) => {
                let id = Take(mark).id()?;
                Err(self.error(id.bytes(), format_args!("node {id} is named and isn't there")))
            }
        }
    }

    /// Answers the marks for nodes of this level; returns those that are left, and new ones.
    fn level(
        &self,
        height: usize,
        level: &Spooled,
        mut marks: Marks,
        visitor: &mut dyn Visitor,
    ) -> Result<(Spooled, Sorted)> {
        let mut carried = self.spool();
        let mut fresh = self.sorter();
        let mut nodes = level.reader(self.buffer_bytes())?;
        let mut node = Vec::new();
        while let Some(record) = nodes.current() {
            node.clear();
            node.extend_from_slice(record);
            nodes.advance()?;
            let mut take = Take(&node);
            let id = take.id()?;
            while let Some(mark) = marks.current()?
                && mark < id
            {
                carried.push(mark.bytes())?;
                marks.advance()?;
            }
            let mut is_reached = marks.take(id)?;
            // A root that pruning moved to nonce 0 is still named at nonce 1.
            if let Some((version, 0)) = id.version_and_nonce() {
                let named = NodeId::new(version, 1);
                let next = nodes.current().map(|next| Take(next).id()).transpose()?;
                if next != Some(named) {
                    is_reached |= marks.take(named)?;
                }
            }
            let stays = self.new_form_stays && id.legacy_hash().is_none();
            if !is_reached && !stays {
                continue;
            }
            let place = take.u64()?;
            if height == 0 {
                visitor.reached(place, Some(take.0))?;
                continue;
            }
            visitor.reached(place, None)?;
            for _ in 0..2 {
                fresh.push(take.id()?.bytes())?;
            }
        }
        while let Some(mark) = marks.current()? {
            carried.push(mark.bytes())?;
            marks.advance()?;
        }
        Ok((carried.finish()?, fresh.finish()?))
    }
}

/// Marks that wait for their node's level: carried over from the level above, and new.
struct Marks {
    carried: SpoolReader,
    fresh: Sorted,
}

impl Marks {
    fn carried_is_next(&self) -> bool {
        match (self.carried.current(), self.fresh.current()) {
            (Some(carried), Some(fresh)) => carried <= fresh,
            (carried, _) => carried.is_some(),
        }
    }

    fn current(&self) -> Result<Option<NodeId>> {
        let next =
            if self.carried_is_next() { self.carried.current() } else { self.fresh.current() };
        next.map(|mark| Take(mark).id()).transpose()
    }

    fn advance(&mut self) -> Result<()> {
        if self.carried_is_next() { self.carried.advance() } else { self.fresh.advance() }
    }

    /// Takes all marks for `id`; whether there are any.
    fn take(&mut self, id: NodeId) -> Result<bool> {
        let mut found = false;
        while self.current()? == Some(id) {
            found = true;
            self.advance()?;
        }
        Ok(found)
    }
}

struct Scanner<'a, 't> {
    trees: &'t Trees<'a>,
    levels: Vec<Spool<'a>>,
    marks: Sorter<'a>,
    last_mark: Option<NodeId>,
    /// The node at nonce 0 that was passed last, and its hash.
    moved: Option<(u64, [u8; HASH_BYTES])>,
    nodes: u64,
    record: Vec<u8>,
}

impl Scanner<'_, '_> {
    fn scan(&mut self, kind: u8, visitor: &mut dyn Visitor) -> Result<()> {
        let range = KeyRange::prefix(&[self.trees.prefix, &[kind]].concat());
        let mut scan = Walk::new(self.trees.source, &range)?;
        let skip = self.trees.prefix.len();
        let mut untold = 0;
        while let Some((key, value)) = scan.next()? {
            untold += (key.len() + value.len()) as u64;
            if untold >= PROGRESS_BYTES {
                visitor.advance(std::mem::take(&mut untold))?;
            }
            let entry = &key[skip..];
            match Entry::parse(entry) {
                Entry::Node(id) => self.node(id, value, visitor)?,
                Entry::LegacyRoot(version)
                    if value.is_empty() || version < self.trees.first_version => {}
                Entry::LegacyRoot(version) => {
                    let hash = value.first_chunk().filter(|_| value.len() == HASH_BYTES);
                    let Some(hash) = hash else {
                        let what = format!("the root of version {version} is no hash");
                        return Err(self.trees.error(entry, what));
                    };
                    self.mark(NodeId::legacy(*hash))?;
                }
                _ => {}
            }
        }
        scan.end()?;
        visitor.advance(untold)
    }

    /// Roots of versions in a row are often the same.
    fn mark(&mut self, id: NodeId) -> Result<()> {
        if self.last_mark.replace(id) == Some(id) {
            return Ok(());
        }
        self.marks.push(id.bytes())
    }

    fn node(&mut self, id: NodeId, value: &[u8], visitor: &mut dyn Visitor) -> Result<()> {
        if let Some((version, 1)) = id.version_and_nonce() {
            let counts = version >= self.trees.first_version;
            match RootEntry::decode(value) {
                Ok(None) if counts => self.mark(id)?,
                Ok(None) => {}
                Ok(Some(RootEntry::Reference(node))) if counts => return self.mark(node),
                Ok(Some(_)) => return Ok(()),
                Err(error) => return Err(self.trees.error(id.bytes(), error)),
            }
        }
        let node = Node::decode(id, value).map_err(|error| {
            self.trees.error(id.bytes(), format_args!("node {id} can't be decoded: {error}"))
        })?;
        if node.version > self.trees.stays_above {
            self.mark(id)?;
        }
        // What stands at nonce 0 answers for nonce 1: there can't be two different ones.
        match id.version_and_nonce() {
            Some((version, 0)) => self.moved = Some((version, node.hash())),
            Some((version, 1))
                if self.moved.is_some_and(|(of, hash)| of == version && hash != node.hash()) =>
            {
                let what = format!("version {version} has two roots, at nonce 0 and at nonce 1");
                return Err(self.trees.error(id.bytes(), what));
            }
            _ => {}
        }
        self.record.clear();
        self.record.extend_from_slice(id.bytes());
        self.record.extend_from_slice(&self.nodes.to_be_bytes());
        self.nodes += 1;
        match node.body {
            Body::Leaf { value } => visitor.leaf(&node, value, &mut self.record)?,
            Body::Inner { left, right, .. } => {
                self.record.extend_from_slice(left.bytes());
                self.record.extend_from_slice(right.bytes());
            }
        }
        let level = usize::from(node.height);
        while self.levels.len() <= level {
            self.levels.push(self.trees.spool());
        }
        self.levels[level].push(&self.record)
    }
}
