//! The first scan of a store: what the joins need.
//!
//! | scratch records | order | fields |
//! |---|---|---|
//! | nodes | by hash, as scanned | hash, version, height |
//! | groups | by version, then kind | version, kind, ... (see the constants) |
//! | asks | by hash of what is asked for | hash, kind, ... (see the constants) |
//! | occupied | by hash | hash, version, nonce of a 1.x node at a version that has 0.x nodes |
//! | roots | by version, as scanned | version, 0 for an empty tree, or 1 and the hash |
//! | roots by hash | by hash | hash, version |
//! | taken | by version, as scanned | version, 1 for an empty tree: root keys of the 1.x form |
//! | parents | by id, as scanned | version, nonce, value of 1.x nodes that name 0.x nodes |

use super::{Gaps, OPERATION, StoreReport, Tree};
use crate::iavl::keys::{Entry, NodeId};
use crate::iavl::node::{Body, HASH_BYTES, Node, RootEntry};
use transload_codec::ordered;
use transload_store::sort::{Sequence, Sorter, Spool, Spooled};
use transload_store::{Error, Kind, Result, Walk};

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// The version's own root, by its place among the nodes (u64). Exactly one, or none.
pub(super) const OWN_ROOT: u8 = 0;
/// A node that is the root of a later version: complement of its height (u8), place (u64).
pub(super) const LATER_ROOT: u8 = 1;
/// A nonce that a 1.x node has already, complemented (u32): the largest comes first.
pub(super) const OCCUPIED: u8 = 2;
/// A node: key (ordered string), complement of its height (u8), place (u64). That is the order
/// of keys, and an inner node before the leaf that has its key: in-order, as far as the version's
/// tree is concerned.
pub(super) const NODE: u8 = 3;

/// A node of the 0.x form asks for a child: its place (u64), side (u8).
pub(super) const PARENT: u8 = 0;
/// A node of the 1.x form asks for a child: version (u64), nonce (u32), side (u8).
pub(super) const NEW_PARENT: u8 = 1;
/// The root of a version (u64) asks for its node.
pub(super) const ROOT: u8 = 2;
/// An orphan asks: last version (u64), first version (u64).
pub(super) const ORPHAN: u8 = 3;

/// What the scan leaves behind; see the table above.
pub(super) struct Gathered<'a> {
    pub(super) nodes: Spooled,
    pub(super) groups: Sorter<'a>,
    pub(super) asks: Sorter<'a>,
    pub(super) occupied: Spooled,
    pub(super) roots: Spooled,
    pub(super) roots_by_hash: Sorter<'a>,
    pub(super) taken: Spooled,
    pub(super) parents: Spooled,
}

struct Gatherer<'a, 't> {
    tree: &'t Tree<'a>,
    report: &'t mut StoreReport,
    nodes: Spool<'a>,
    groups: Sorter<'a>,
    asks: Sorter<'a>,
    occupied: Sorter<'a>,
    roots: Spool<'a>,
    roots_by_hash: Sorter<'a>,
    taken: Spool<'a>,
    parents: Spool<'a>,
    /// The last version that made a node of the 0.x form.
    last_made: u64,
    /// The last version that has a root of the 0.x form.
    last_root: Option<u64>,
    /// The first version after it that has a root of the 1.x form.
    next_root: Option<u64>,
    record: Vec<u8>,
}

/// Scans a store; `None` when it has nothing of the 0.x form.
pub(super) fn gather<'a>(
    tree: &Tree<'a>,
    report: &mut StoreReport,
) -> Result<Option<Gathered<'a>>> {
    let mut gatherer = Gatherer {
        tree,
        report,
        nodes: tree.spool(),
        groups: tree.sorter(),
        asks: tree.sorter(),
        occupied: tree.sorter(),
        roots: tree.spool(),
        roots_by_hash: tree.sorter(),
        taken: tree.spool(),
        parents: tree.spool(),
        last_made: 0,
        last_root: None,
        next_root: None,
        record: Vec::new(),
    };
    // The kinds in the order of their keys; what a later one needs, an earlier one has found.
    gatherer.scan(b'n')?;
    gatherer.scan(b'o')?;
    gatherer.scan(b'r')?;
    let report = &*gatherer.report;
    if report.nodes + report.orphans + report.roots == 0 {
        return Ok(None);
    }
    gatherer.scan(b's')?;
    gatherer.finish().map(Some)
}

impl<'a> Gatherer<'a, '_> {
    fn scan(&mut self, kind: u8) -> Result<()> {
        let mut scan = Walk::new(self.tree.source, &self.tree.range(kind))?;
        let skip = self.tree.prefix.len();
        let mut untold = 0;
        while let Some((key, value)) = scan.next()? {
            untold += (key.len() + value.len()) as u64;
            if untold >= PROGRESS_BYTES {
                self.tree.work.advance(std::mem::take(&mut untold))?;
            }
            self.entry(&key[skip..], value)?;
        }
        scan.end()?;
        self.tree.work.advance(untold)
    }

    fn entry(&mut self, entry: &[u8], value: &[u8]) -> Result<()> {
        match Entry::parse(entry) {
            Entry::Node(id) => match id.legacy_hash() {
                Some(hash) => self.node(id, &hash, value),
                None => self.new_node(id, value),
            },
            Entry::Orphan { to, from, hash } => {
                if value != hash {
                    let what = "the orphan's value isn't the hash in its key";
                    return Err(self.tree.error(entry, what));
                }
                self.report.orphans += 1;
                self.ask(&hash, ORPHAN, &[&to.to_be_bytes(), &from.to_be_bytes()])
            }
            Entry::LegacyRoot(version) => self.root(version, entry, value),
            // Of the 1.x form's prefix: carried as it is.
            _ if entry.first() == Some(&b's') => Ok(()),
            _ => Err(self.tree.error(entry, "no IAVL 0.x library writes such a key")),
        }
    }

    fn decode<'v>(&self, id: NodeId, value: &'v [u8]) -> Result<Node<'v>> {
        Node::decode(id, value).map_err(|error| {
            self.tree.error(id.bytes(), format_args!("node {id} can't be decoded: {error}"))
        })
    }

    fn ask(&mut self, hash: &[u8; HASH_BYTES], kind: u8, fields: &[&[u8]]) -> Result<()> {
        self.record.clear();
        self.record.extend_from_slice(hash);
        self.record.push(kind);
        for field in fields {
            self.record.extend_from_slice(field);
        }
        self.asks.push(&self.record)
    }

    fn node(&mut self, id: NodeId, hash: &[u8; HASH_BYTES], value: &[u8]) -> Result<()> {
        let node = self.decode(id, value)?;
        let place = self.nodes.records().to_be_bytes();
        if let Body::Inner { left, right, .. } = node.body {
            for (side, child) in [left, right].into_iter().enumerate() {
                if let Some(child) = child.legacy_hash() {
                    self.ask(&child, PARENT, &[&place, &[u8::from(side == 1)]])?;
                }
            }
        }
        self.record.clear();
        self.record.extend_from_slice(hash);
        self.record.extend_from_slice(&node.version.to_be_bytes());
        self.record.push(node.height);
        self.nodes.push(&self.record)?;
        self.record.clear();
        self.record.extend_from_slice(&node.version.to_be_bytes());
        self.record.push(NODE);
        ordered::put_string(&mut self.record, node.key);
        self.record.push(!node.height);
        self.record.extend_from_slice(&place);
        self.groups.push(&self.record)?;
        self.last_made = self.last_made.max(node.version);
        self.report.nodes += 1;
        Ok(())
    }

    fn root(&mut self, version: u64, entry: &[u8], value: &[u8]) -> Result<()> {
        if let Some(last) = self.last_root.replace(version) {
            self.gap(last, version);
        }
        self.report.roots += 1;
        self.record.clear();
        self.record.extend_from_slice(&version.to_be_bytes());
        if value.is_empty() {
            self.record.push(0);
            return self.roots.push(&self.record);
        }
        let Some(hash) = value.first_chunk().filter(|_| value.len() == HASH_BYTES).copied() else {
            return Err(self.tree.error(entry, "the root is neither empty nor a hash"));
        };
        self.record.push(1);
        self.record.extend_from_slice(&hash);
        self.roots.push(&self.record)?;
        self.record.clear();
        self.record.extend_from_slice(&hash);
        self.record.extend_from_slice(&version.to_be_bytes());
        self.roots_by_hash.push(&self.record)?;
        self.ask(&hash, ROOT, &[&version.to_be_bytes()])
    }

    fn gap(&mut self, before: u64, after: u64) {
        if after > before + 1 {
            self.report.gaps += 1;
            self.report.first_gap.get_or_insert((before + 1, after - 1));
        }
    }

    fn new_node(&mut self, id: NodeId, value: &[u8]) -> Result<()> {
        let Some((version, nonce)) = id.version_and_nonce() else { return Ok(()) };
        if nonce == 1 && self.last_root.is_some_and(|last| version > last) {
            self.next_root.get_or_insert(version);
        }
        let root = if nonce == 1 {
            RootEntry::decode(value).map_err(|error| self.tree.error(id.bytes(), error))?
        } else {
            None
        };
        if nonce == 1 && Some(version) <= self.last_root {
            self.record.clear();
            self.record.extend_from_slice(&version.to_be_bytes());
            self.record.push(u8::from(root == Some(RootEntry::Empty)));
            self.taken.push(&self.record)?;
        }
        if version <= self.last_made {
            self.record.clear();
            self.record.extend_from_slice(&version.to_be_bytes());
            self.record.push(OCCUPIED);
            self.record.extend_from_slice(&(!nonce).to_be_bytes());
            self.groups.push(&self.record)?;
        }
        if root.is_some() {
            return Ok(());
        }
        let node = self.decode(id, value)?;
        if version <= self.last_made {
            self.record.clear();
            self.record.extend_from_slice(&node.hash());
            self.record.extend_from_slice(&version.to_be_bytes());
            self.record.extend_from_slice(&nonce.to_be_bytes());
            self.occupied.push(&self.record)?;
        }
        let Body::Inner { left, right, .. } = node.body else { return Ok(()) };
        let mut names_old = false;
        for (side, child) in [left, right].into_iter().enumerate() {
            if let Some(child) = child.legacy_hash() {
                names_old = true;
                let fields: [&[u8]; 3] =
                    [&version.to_be_bytes(), &nonce.to_be_bytes(), &[u8::from(side == 1)]];
                self.ask(&child, NEW_PARENT, &fields)?;
            }
        }
        if names_old {
            self.record.clear();
            self.record.extend_from_slice(&id.bytes()[1..]);
            self.record.extend_from_slice(value);
            self.parents.push(&self.record)?;
            self.report.renamed += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Gathered<'a>> {
        if let (Some(last), Some(next)) = (self.last_root, self.next_root) {
            self.gap(last, next);
        }
        if let (Some((first, last)), Gaps::Refuse) =
            (self.report.first_gap, self.tree.work.options.gaps)
        {
            let what = format!(
                "application.db: store {} has no versions {first} to {last}, and older ones \
                 ({} such gaps): IAVL 1.x takes versions for a row, wouldn't find those before a \
                 gap and wouldn't prune them",
                self.tree.name, self.report.gaps
            );
            return Err(Error::new(Kind::Unsupported, OPERATION, what).help(
                "have the node prune the versions before the last gap first; `transload migrate \
                     HOME --to ENGINE` carries the state as it is",
            ));
        }
        let mut sorted = self.occupied.finish()?;
        let mut occupied = self.tree.spool();
        while let Some(record) = sorted.current() {
            occupied.push(record)?;
            sorted.advance()?;
        }
        Ok(Gathered {
            nodes: self.nodes.finish()?,
            groups: self.groups,
            asks: self.asks,
            occupied: occupied.finish()?,
            roots: self.roots.finish()?,
            roots_by_hash: self.roots_by_hash,
            taken: self.taken.finish()?,
            parents: self.parents.finish()?,
        })
    }
}
