//! One store: which of its nodes no root reaches, and which orphans name nothing that stays.
//!
//! An orphan is asked for by the hash of its node: orphans are sorted by it and merged with the
//! nodes of the 0.x form, whose keys are their hashes. IAVL 0.x, and 1.x when it deletes what is
//! left of the old form, delete by the hash that stands in the orphan's value, and nothing else
//! of it is looked up: what an orphan without a node deletes isn't there.
//!
//! Sources: cosmos/iavl v0.20.1 (`nodedb.go`: `deleteOrphans`), v1.2.6 (`nodedb.go`:
//! `deleteLegacyVersions`, `getLatestVersion`).

use super::OPERATION;
use crate::iavl::convert::view::{GONE, KEY_BYTES};
use crate::iavl::gone::Changes;
use crate::iavl::keys::{Entry, NodeId, store_prefix};
use crate::iavl::node::{HASH_BYTES, Node, RootEntry};
use crate::iavl::reached::{Bits, Trees};
use crate::iavl::verify::Progress;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use transload_model::report::printable_key;
use transload_store::sort::{Indexed, IndexedBuilder, Scratch, Sequence, Sorted, Sorter};
use transload_store::{Error, Heights, KeyRange, Kind, Result, Scan, Snapshot};

/// How often a store is read.
pub(super) const READS: u64 = 2;

/// Nodes and orphans of a store, each, which a report names; it counts all.
pub const LISTED_MAX: usize = 16;

/// The share of the memory that one sorter gets: two are in use at a time.
const SORTER_SHARE: usize = 4;

/// What a spool holds in memory before it writes.
const SPOOL_BYTES_MAX: usize = 64 << 10;

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What follows `o` in an orphan's key: last version, first version, hash.
const ORPHAN_BYTES: usize = 8 + 8 + HASH_BYTES;

/// What was left out of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreDropped {
    /// Its name.
    pub store: Vec<u8>,
    /// Nodes of either form that no version has.
    pub nodes: u64,
    /// The first of them, of each form at most [`LISTED_MAX`].
    pub nodes_listed: Vec<NodeId>,
    /// The versions that made those of the 0.x form.
    pub old_node_versions: Option<Heights>,
    /// The versions that made those of the 1.x form.
    pub new_node_versions: Option<Heights>,
    /// Orphans whose node isn't there, or is left out.
    pub orphans: u64,
    /// Last version, first version and node of the first of them.
    pub orphans_listed: Vec<(u64, u64, NodeId)>,
    /// The last versions that they say.
    pub orphan_versions: Option<Heights>,
}

impl StoreDropped {
    /// Everything that was left out.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.nodes + self.orphans
    }

    fn node(&mut self, id: NodeId, version: u64) {
        self.nodes += 1;
        let is_old = id.legacy_hash().is_some();
        let of_form = self.nodes_listed.iter().filter(|one| one.legacy_hash().is_some() == is_old);
        if of_form.count() < LISTED_MAX {
            self.nodes_listed.push(id);
        }
        let versions =
            if is_old { &mut self.old_node_versions } else { &mut self.new_node_versions };
        widen(versions, version);
    }

    fn orphan(&mut self, (to, from): (u64, u64), id: NodeId) {
        self.orphans += 1;
        if self.orphans_listed.len() < LISTED_MAX {
            self.orphans_listed.push((to, from, id));
        }
        widen(&mut self.orphan_versions, to);
    }
}

fn widen(versions: &mut Option<Heights>, version: u64) {
    let (low, high) = versions.unwrap_or((version, version));
    *versions = Some((low.min(version), high.max(version)));
}

impl fmt::Display for StoreDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store {}: left out are ", printable_key(&self.store))?;
        write!(f, "{} nodes that no version has", self.nodes)?;
        let named: Vec<String> = self.nodes_listed.iter().map(ToString::to_string).collect();
        list(f, &named, self.nodes)?;
        let orphans = self.orphans;
        write!(f, ", and {orphans} orphans whose node isn't there or is left out")?;
        let named: Vec<String> = self
            .orphans_listed
            .iter()
            .map(|(to, from, id)| format!("{id} of versions {from} to {to}"))
            .collect();
        list(f, &named, orphans)
    }
}

/// The first of `all`, in brackets.
fn list(f: &mut fmt::Formatter<'_>, named: &[String], all: u64) -> fmt::Result {
    if named.is_empty() {
        return Ok(());
    }
    let more = if all > named.len() as u64 { ", ..." } else { "" };
    write!(f, " ({}{more})", named.join(", "))
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

/// Is given an entry: its key, what of that follows the store's prefix, its value.
type Each<'e> = dyn FnMut(&[u8], &[u8], &[u8]) -> Result<()> + 'e;

/// A store that is being judged.
pub(super) struct Tree<'a> {
    source: &'a dyn Snapshot,
    scratch: &'a Scratch,
    memory_bytes_max: usize,
    name: String,
    prefix: Vec<u8>,
    last: u64,
    report: StoreDropped,
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        source: &'a dyn Snapshot,
        scratch: &'a Scratch,
        memory_bytes_max: usize,
        name: &[u8],
        last: u64,
    ) -> Self {
        Self {
            source,
            scratch,
            memory_bytes_max,
            name: printable_key(name),
            prefix: store_prefix(name),
            last,
            report: StoreDropped { store: name.to_vec(), ..StoreDropped::default() },
        }
    }

    /// What is left out of the store, in the order of the keys.
    pub(super) fn judge(mut self, work: &mut Work<'_>) -> Result<(Vec<Changes>, StoreDropped)> {
        self.has_its_last_root()?;
        let kept = self.reached(work)?;
        let orphans = self.orphans(work)?;
        let (nodes, orphans, places) = self.old_nodes(&kept, orphans, work)?;
        let new_nodes = self.new_nodes(&kept, places, work)?;
        let of_kind = |kind: u8, entries| (self.key(&[kind]), Arc::new(entries));
        let parts = vec![of_kind(b'n', nodes), of_kind(b'o', orphans), of_kind(b's', new_nodes)];
        Ok((parts, self.report))
    }

    /// Without its roots a store would lose every node.
    fn has_its_last_root(&self) -> Result<()> {
        let new = self.key(NodeId::new(self.last, 1).bytes());
        let old = self.key(&[b"r".as_slice(), &self.last.to_be_bytes()].concat());
        if self.source.get(&new)?.is_some() || self.source.get(&old)?.is_some() {
            return Ok(());
        }
        let what = format!("it has no root of version {}, the last one committed", self.last);
        Err(self.error(&new, what))
    }

    /// The nodes that a root reaches, or a version above the last one committed: the library goes
    /// on with what a killed node has left of one.
    fn reached(&self, work: &mut Work<'_>) -> Result<Bits> {
        let trees = Trees {
            source: self.source,
            scratch: self.scratch,
            memory_bytes_max: self.memory_bytes_max,
            name: &self.name,
            prefix: &self.prefix,
            new_form_stays: false,
            stays_above: self.last,
            first_version: 0,
        };
        trees.reached(&mut |bytes| work.advance(bytes))
    }

    /// All orphans by the hashes of their nodes: hash, last version, first version.
    fn orphans(&self, work: &mut Work<'_>) -> Result<Sorted> {
        let mut by_hash = self.sorter();
        self.scan(b'o', work, &mut |key, entry, value| {
            let Entry::Orphan { hash, .. } = Entry::parse(entry) else { return Ok(()) };
            if value != hash {
                return Err(self.error(key, "the orphan's value isn't the hash in its key"));
            }
            let mut record = [0; ORPHAN_BYTES];
            record[..HASH_BYTES].copy_from_slice(&hash);
            record[HASH_BYTES..].copy_from_slice(&entry[1..=16]);
            by_hash.push(&record)
        })?;
        by_hash.finish()
    }

    /// The nodes of the 0.x form and the orphans that are left out, and how many nodes there are.
    fn old_nodes(
        &mut self,
        kept: &Bits,
        mut orphans: Sorted,
        work: &mut Work<'_>,
    ) -> Result<(Indexed, Indexed, u64)> {
        let mut gone = self.builder(HASH_BYTES);
        let mut nowhere = self.sorter();
        let mut report = std::mem::take(&mut self.report);
        let mut place = 0;
        self.scan(b'n', work, &mut |key, entry, value| {
            let Entry::Node(id) = Entry::parse(entry) else { return Ok(()) };
            let is_kept = kept.get(place);
            place += 1;
            if is_kept {
                return pass(&mut orphans, Some(&entry[1..]), &mut nowhere);
            }
            let node = Node::decode(id, value).map_err(|error| self.error(key, error))?;
            report.node(id, node.version);
            gone.push(&[&entry[1..], &[GONE]].concat())
        })?;
        pass(&mut orphans, None, &mut nowhere)?;
        let mut nowhere = nowhere.finish()?;
        let mut gone_orphans = self.builder(ORPHAN_BYTES);
        while let Some(record) = nowhere.current() {
            let key = [b"o", &record[..ORPHAN_BYTES]].concat();
            if let Entry::Orphan { to, from, hash } = Entry::parse(&key) {
                report.orphan((to, from), NodeId::legacy(hash));
            }
            gone_orphans.push(record)?;
            nowhere.advance()?;
        }
        self.report = report;
        Ok((gone.finish()?, gone_orphans.finish()?, place))
    }

    /// The nodes of the 1.x form that are left out; the first of them has this place.
    fn new_nodes(&mut self, kept: &Bits, places: u64, work: &mut Work<'_>) -> Result<Indexed> {
        let mut gone = self.builder(KEY_BYTES);
        let mut report = std::mem::take(&mut self.report);
        let mut place = places;
        self.scan(b's', work, &mut |key, entry, value| {
            let Entry::Node(id) = Entry::parse(entry) else { return Ok(()) };
            let Some((version, nonce)) = id.version_and_nonce() else { return Ok(()) };
            if nonce == 1 {
                let root = RootEntry::decode(value).map_err(|error| self.error(key, error))?;
                if root.is_some() {
                    return Ok(());
                }
            }
            let is_kept = kept.get(place);
            place += 1;
            if is_kept {
                return Ok(());
            }
            report.node(id, version);
            gone.push(&[&entry[1..], &[GONE]].concat())
        })?;
        self.report = report;
        gone.finish()
    }

    /// Gives `each` all entries of one kind.
    fn scan(&self, kind: u8, work: &mut Work<'_>, each: &mut Each<'_>) -> Result<()> {
        let mut scan = Scan::new(self.source, &KeyRange::prefix(&self.key(&[kind])))?;
        let mut untold = 0;
        while let Some((key, value)) = scan.next()? {
            untold += (key.len() + value.len()) as u64;
            if untold >= PROGRESS_BYTES {
                work.advance(std::mem::take(&mut untold))?;
            }
            each(key, &key[self.prefix.len()..], value)?;
        }
        let _receipt = scan.receipt()?;
        work.advance(untold)
    }

    fn sorter(&self) -> Sorter<'a> {
        Sorter::new(self.scratch, self.memory_bytes_max / SORTER_SHARE)
    }

    fn builder(&self, key_bytes: usize) -> IndexedBuilder<'a> {
        let memory = (self.memory_bytes_max / 256).min(SPOOL_BYTES_MAX);
        IndexedBuilder::new(self.scratch, memory, key_bytes)
    }

    fn key(&self, entry: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), entry].concat()
    }

    fn error(&self, key: &[u8], what: impl fmt::Display) -> Error {
        let what = format!("application.db: store {}: {what}", self.name);
        Error::new(Kind::Corrupt, OPERATION, what).with("key", printable_key(key))
    }
}

/// Passes over the orphans up to those of the node that stays. Whatever comes before them names
/// no node that stays: it goes to `nowhere` in the order of its key.
fn pass(orphans: &mut Sorted, stays: Option<&[u8]>, nowhere: &mut Sorter<'_>) -> Result<()> {
    while let Some(orphan) = orphans.current() {
        let (hash, versions) = orphan.split_at(HASH_BYTES);
        match stays.map_or(Ordering::Less, |stays| hash.cmp(stays)) {
            Ordering::Less => nowhere.push(&[versions, hash, &[GONE]].concat())?,
            Ordering::Equal => {}
            Ordering::Greater => return Ok(()),
        }
        orphans.advance()?;
    }
    Ok(())
}
