//! One store: which of its entries go, and which root moves.
//!
//! | entry of the 1.x form | becomes |
//! |---|---|
//! | a node that a kept root reaches | the same |
//! | of these, one at nonce 1 of a version that goes, to which the version above refers | at nonce 0 |
//! | a node that only roots of versions that go reach | nothing |
//! | a root that is empty or a reference, of a version that goes | nothing |
//! | a node that no root reaches | the same: it isn't of any version |
//!
//! Source: cosmos/iavl v1.2.6, `nodedb.go` (`deleteVersion`, `GetRoot`).

use super::OPERATION;
use crate::iavl::convert::view::{AWAY, GONE, KEY_BYTES, MOVED};
use crate::iavl::keys::{Entry, NodeId, store_prefix};
use crate::iavl::node::RootEntry;
use crate::iavl::reached::{Bits, Trees};
use crate::iavl::verify::Progress;
use std::fmt;
use transload_model::report::printable_key;
use transload_store::sort::{Indexed, IndexedBuilder, Scratch, Sequence, Sorter};
use transload_store::{Error, Heights, KeyRange, Kind, Result, Snapshot, Walk};

/// How often a store is read.
pub(super) const READS: u64 = 3;

/// The share of the memory that one sorter gets.
const SORTER_SHARE: usize = 4;

/// What a spool holds in memory before it writes.
const SPOOL_BYTES_MAX: usize = 64 << 10;

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What was left out of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreGone {
    /// Its name.
    pub store: Vec<u8>,
    /// Nodes that only older versions have.
    pub nodes: u64,
    /// The versions that made them.
    pub node_versions: Option<Heights>,
    /// Roots of older versions that were empty or referred to a node.
    pub roots: u64,
    /// The versions that these were of.
    pub root_versions: Option<Heights>,
    /// Roots of older versions that kept ones refer to: they stand at nonce 0 now.
    pub moved: u64,
    /// Nodes that no version has: they are carried as they are, for the checks to find.
    pub unreached: u64,
}

impl fmt::Display for StoreGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, nodes, roots) = (printable_key(&self.store), self.nodes, self.roots);
        write!(
            f,
            "store {name}: {nodes} nodes and {roots} roots without a node of their own are left out"
        )?;
        if let Some((first, last)) = self
            .node_versions
            .into_iter()
            .chain(self.root_versions)
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
        {
            write!(f, ", of versions {first} to {last}")?;
        }
        if self.moved > 0 {
            write!(f, "; {} roots that are kept stand at nonce 0", self.moved)?;
        }
        if self.unreached > 0 {
            write!(f, "; {} nodes that no version has are carried", self.unreached)?;
        }
        Ok(())
    }
}

/// What is told of the work.
pub(super) struct Work<'a> {
    pub(super) progress: Progress<'a>,
    pub(super) done: u64,
    pub(super) total: u64,
}

impl Work<'_> {
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if (self.progress)(self.done, self.total.max(self.done)) {
            return Ok(());
        }
        Err(Error::new(Kind::Cancelled, OPERATION, "stopped as asked"))
    }
}

/// A node at nonce 1 of a version that goes, until the entry at nonce 1 of the next has been seen.
struct Root {
    version: u64,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Goes,
    Unreached,
}

/// A store that is being pruned.
pub(super) struct Tree<'a> {
    source: &'a dyn Snapshot,
    scratch: &'a Scratch,
    memory_bytes_max: usize,
    name: String,
    prefix: Vec<u8>,
    first: u64,
    last: u64,
    report: StoreGone,
    root: Option<Root>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        source: &'a dyn Snapshot,
        scratch: &'a Scratch,
        memory_bytes_max: usize,
        name: &[u8],
        (first, last): (u64, u64),
    ) -> Self {
        Self {
            source,
            scratch,
            memory_bytes_max,
            name: printable_key(name),
            prefix: store_prefix(name),
            first,
            last,
            report: StoreGone { store: name.to_vec(), ..StoreGone::default() },
            root: None,
        }
    }

    /// What becomes of the store's entries, where it isn't the same.
    pub(super) fn prune(&mut self, work: &mut Work<'_>) -> Result<(Indexed, StoreGone)> {
        self.refuse_the_old_form()?;
        let kept = self.reached(self.first, work)?;
        let any = self.reached(0, work)?;
        let mut changes = Sorter::new(self.scratch, self.memory_bytes_max / SORTER_SHARE);
        let mut scan = Walk::new(self.source, &KeyRange::prefix(&self.key(b"s")))?;
        let (mut place, mut untold) = (0, 0);
        while let Some((key, value)) = scan.next()? {
            untold += (key.len() + value.len()) as u64;
            if untold >= PROGRESS_BYTES {
                work.advance(std::mem::take(&mut untold))?;
            }
            let Entry::Node(id) = Entry::parse(&key[self.prefix.len()..]) else { continue };
            let Some((version, nonce)) = id.version_and_nonce() else { continue };
            self.settle_root((version, nonce), value, &mut changes)?;
            if nonce == 1 && self.is_root_entry(id, value)? {
                if version < self.first {
                    self.report.roots += 1;
                    widen(&mut self.report.root_versions, version);
                    put(&mut changes, version, nonce, GONE)?;
                }
                continue;
            }
            let fate = match (kept.get(place), any.get(place)) {
                (true, _) => Fate::Kept,
                (false, true) => Fate::Goes,
                (false, false) => Fate::Unreached,
            };
            place += 1;
            if nonce == 1 && version < self.first {
                self.root = Some(Root { version, fate });
            } else {
                self.node((version, nonce), fate, &mut changes)?;
            }
        }
        scan.end()?;
        self.settle_root((u64::MAX, 0), &[], &mut changes)?;
        work.advance(untold)?;
        let memory = (self.memory_bytes_max / 256).min(SPOOL_BYTES_MAX);
        let mut entries = IndexedBuilder::new(self.scratch, memory, KEY_BYTES);
        let mut sorted = changes.finish()?;
        while let Some(record) = sorted.current() {
            entries.push(record)?;
            sorted.advance()?;
        }
        Ok((entries.finish()?, std::mem::take(&mut self.report)))
    }

    fn key(&self, entry: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), entry].concat()
    }

    fn refuse_the_old_form(&self) -> Result<()> {
        for kind in [b"n", b"o", b"r"] {
            let key = self
                .source
                .cursor(&KeyRange::prefix(&self.key(kind)))?
                .next()?
                .map(|(key, _)| printable_key(key));
            if let Some(key) = key {
                let what = format!(
                    "application.db: store {} has entries in the form of IAVL 0.x: orphan records \
                     say which of its nodes go with a version, and what the library does with \
                     them isn't told by the trees",
                    self.name
                );
                return Err(Error::unsupported(OPERATION, what).with("key", key));
            }
        }
        Ok(())
    }

    /// The nodes that roots of versions from `first_version` on reach.
    fn reached(&self, first_version: u64, work: &mut Work<'_>) -> Result<Bits> {
        let trees = Trees {
            source: self.source,
            scratch: self.scratch,
            memory_bytes_max: self.memory_bytes_max,
            name: &self.name,
            prefix: &self.prefix,
            new_form_stays: false,
            stays_above: u64::MAX,
            first_version,
        };
        trees.reached(&mut |bytes| work.advance(bytes))
    }

    fn is_root_entry(&self, id: NodeId, value: &[u8]) -> Result<bool> {
        let entry = RootEntry::decode(value).map_err(|error| {
            let what = format!("application.db: store {}: root {id}: {error}", self.name);
            Error::new(Kind::Corrupt, OPERATION, what)
                .with("key", printable_key(&self.key(id.bytes())))
        })?;
        Ok(entry.is_some())
    }

    fn node(
        &mut self,
        (version, nonce): (u64, u32),
        fate: Fate,
        changes: &mut Sorter<'_>,
    ) -> Result<()> {
        match fate {
            Fate::Kept => Ok(()),
            // Of a version that was never committed.
            Fate::Unreached if version > self.last => Ok(()),
            Fate::Unreached => {
                self.report.unreached += 1;
                Ok(())
            }
            Fate::Goes => {
                self.report.nodes += 1;
                widen(&mut self.report.node_versions, version);
                put(changes, version, nonce, GONE)
            }
        }
    }

    /// Decides about the root that waits, once the entry after its version's is there: the library
    /// moves it where the next version refers to it.
    fn settle_root(
        &mut self,
        (version, nonce): (u64, u32),
        value: &[u8],
        changes: &mut Sorter<'_>,
    ) -> Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        let next = root.version + 1;
        if version < next || (version == next && nonce < 1) {
            return Ok(());
        }
        let Some(Root { version: of, fate }) = self.root.take() else { return Ok(()) };
        let named = RootEntry::Reference(NodeId::new(of, 1));
        let is_named = (version, nonce) == (next, 1)
            && RootEntry::decode(value).is_ok_and(|entry| entry == Some(named));
        if fate != Fate::Kept || !is_named {
            return self.node((of, 1), fate, changes);
        }
        self.report.moved += 1;
        put(changes, of, 0, MOVED)?;
        put(changes, of, 1, AWAY)
    }
}

fn widen(versions: &mut Option<Heights>, version: u64) {
    let (low, high) = versions.unwrap_or((version, version));
    *versions = Some((low.min(version), high.max(version)));
}

fn put(changes: &mut Sorter<'_>, version: u64, nonce: u32, kind: u8) -> Result<()> {
    let mut record = [0; KEY_BYTES + 1];
    record[..8].copy_from_slice(&version.to_be_bytes());
    record[8..KEY_BYTES].copy_from_slice(&nonce.to_be_bytes());
    record[KEY_BYTES] = kind;
    changes.push(&record)
}
