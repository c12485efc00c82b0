//! The one scan over a store: decodes every entry, and writes down what the joins need.

use super::records::{Hash, Inner, Leaf, Mark, Root, RootKind};
use super::tree::Store;
use super::{SCAN_WORK, checks, finding};
use crate::course::Course;
use crate::iavl::keys::{Entry, NodeId, STORAGE_VERSION};
use crate::iavl::layout;
use crate::iavl::node::{Body, FastNode, HASH_BYTES, Node, RootEntry, empty_tree_hash};
use sha2::{Digest, Sha256};
use transload_codec::decimal;
use transload_model::report::Verdict;
use transload_store::sort::{Sequence, Sorted, Sorter, Spool, Spooled};
use transload_store::{KeyRange, Result, Walk};

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What is told is put right after about this many bytes as the engine counts them.
const PIECE_BYTES: u64 = 16 << 20;

/// What the scan of a store leaves behind.
pub(super) struct Scanned<'a> {
    /// Nodes by height, each level in id order.
    pub(super) levels: Vec<Spooled>,
    /// What the roots name.
    pub(super) marks: Sorted,
    /// Roots by version.
    pub(super) roots: Spooled,
    /// Fast nodes, to be joined with leaves.
    pub(super) index: Sorter<'a>,
    /// Orphans, to be joined with nodes.
    pub(super) orphans: Sorter<'a>,
    /// First version that certainly is kept.
    pub(super) first_entry: Option<u64>,
    /// Last version that has a root.
    pub(super) latest: Option<u64>,
    /// Last version that has a root of the 0.x form.
    pub(super) last_legacy: Option<u64>,
    /// Nodes of the 1.x form exist.
    pub(super) has_new_form: bool,
    fast_nodes: u64,
}

struct Scanner<'a, 's> {
    store: &'s Store<'a>,
    levels: Vec<Spool<'a>>,
    marks: Sorter<'a>,
    roots: Sorter<'a>,
    index: Sorter<'a>,
    orphans: Sorter<'a>,
    first_entry: Option<u64>,
    latest: Option<u64>,
    has_new_form: bool,
    fast_nodes: u64,
    /// The last root's node: most references name it.
    known: Option<(NodeId, Hash)>,
    /// A mark that further references may still extend.
    waiting: Option<Mark>,
    /// The node at nonce 0 that was passed last: its version and hash.
    moved: Option<(u64, Hash)>,
    last_legacy: Option<u64>,
    nodes: u64,
    entries: u64,
    unknown: u64,
    record: Vec<u8>,
}

/// Scans a store.
pub(super) fn scan<'a>(store: &Store<'a>, verdict: &mut Verdict) -> Result<Scanned<'a>> {
    let mut scanner = Scanner {
        store,
        levels: Vec::new(),
        marks: store.sorter(),
        roots: store.sorter(),
        index: store.sorter(),
        orphans: store.sorter(),
        first_entry: None,
        latest: None,
        has_new_form: false,
        fast_nodes: 0,
        known: None,
        waiting: None,
        moved: None,
        last_legacy: None,
        nodes: 0,
        entries: 0,
        unknown: 0,
        record: Vec::new(),
    };
    let range = KeyRange::prefix(&store.prefix);
    let points = store.ctx.snapshot.split_points(&range, PIECE_BYTES)?;
    let mut course = Course::new(points, store.bytes.saturating_mul(SCAN_WORK));
    let mut scan = Walk::new(store.ctx.snapshot, &range)?;
    let mut untold = 0;
    while let Some((key, value)) = scan.next()? {
        untold += (key.len() + value.len()) as u64;
        if untold >= PROGRESS_BYTES {
            store.ctx.work(course.at(key, untold * SCAN_WORK))?;
            untold = 0;
        }
        scanner.entry(&key[store.prefix.len()..], value, verdict)?;
    }
    scan.end()?;
    store.ctx.work(course.rest())?;
    scanner.finish(verdict)
}

impl<'a> Scanner<'a, '_> {
    fn entry(&mut self, entry: &[u8], value: &[u8], verdict: &mut Verdict) -> Result<()> {
        self.entries += 1;
        match Entry::parse(entry) {
            Entry::Node(id) => self.node(id, value, verdict),
            Entry::LegacyRoot(version) => self.legacy_root(version, value, verdict),
            Entry::Fast(key) => self.fast(key, entry, value, verdict),
            Entry::Orphan { to, from, hash } => {
                if value != hash {
                    let what = "the orphan's value isn't the hash in its key";
                    self.find_entry(verdict, layout::ORPHAN, entry, Some(to), what);
                }
                self.record.clear();
                self.record.extend_from_slice(&hash);
                self.record.push(1);
                self.record.extend_from_slice(&to.to_be_bytes());
                self.record.extend_from_slice(&from.to_be_bytes());
                self.orphans.push(&self.record)
            }
            Entry::Meta(STORAGE_VERSION) => Ok(()),
            Entry::Meta(_) | Entry::Unknown => {
                self.unknown += 1;
                Ok(())
            }
        }
    }

    fn find_entry(
        &self,
        verdict: &mut Verdict,
        table: usize,
        entry: &[u8],
        version: Option<u64>,
        what: impl std::fmt::Display,
    ) {
        let what = format!("store {}: {what}", self.store.name);
        verdict.find(finding(checks::ENTRY, table, &self.store.key(entry), version, what));
    }

    fn node(&mut self, id: NodeId, value: &[u8], verdict: &mut Verdict) -> Result<()> {
        if let Some((version, nonce)) = id.version_and_nonce() {
            self.has_new_form = true;
            if nonce == 1 {
                match RootEntry::decode(value) {
                    Ok(None) => {}
                    Ok(Some(RootEntry::Empty)) => return self.empty_root(version, false),
                    Ok(Some(RootEntry::Reference(node))) => {
                        return self.reference(version, node, id, verdict);
                    }
                    Err(error) => {
                        self.find_entry(verdict, layout::ROOT, id.bytes(), Some(version), error);
                        return Ok(());
                    }
                }
            }
        }
        let node = match Node::decode(id, value) {
            Ok(node) => node,
            Err(error) => {
                let table = match id.legacy_hash() {
                    Some(_) => layout::LEGACY_NODE,
                    None => layout::NODE,
                };
                let version = id.version_and_nonce().map(|(version, _)| version);
                let what = format!("the node can't be decoded: {error}");
                self.find_entry(verdict, table, id.bytes(), version, what);
                return Ok(());
            }
        };
        self.nodes += 1;
        let hash = node.hash();
        self.put_node(id, &node, hash, verdict)?;
        if let Some((version, 0)) = id.version_and_nonce() {
            self.moved = Some((version, hash));
        }
        if let Some((version, 1)) = id.version_and_nonce() {
            // What stands at nonce 0 answers for nonce 1. Beside the 0.x form it may be what a
            // rollback has left.
            if Some(version) > self.last_legacy
                && self.moved.is_some_and(|(of, other)| of == version && other != hash)
            {
                let what = "another node stands at nonce 0, where pruning moves this one";
                self.find_entry(verdict, layout::NODE, id.bytes(), Some(version), what);
            }
            self.known = Some((id, hash));
            self.root(version, false, RootKind::Node, hash)?;
            self.mark(Mark { id, version, root: true })?;
        }
        Ok(())
    }

    fn put_node(
        &mut self,
        id: NodeId,
        node: &Node<'_>,
        hash: Hash,
        verdict: &mut Verdict,
    ) -> Result<()> {
        let key_hash = Sha256::digest(node.key).into();
        let version = node.version;
        match node.body {
            Body::Leaf { .. } => {
                if id.legacy_hash().is_some_and(|claimed| claimed != hash) {
                    let what = "the leaf doesn't have the hash that is its key";
                    self.store.find_node(verdict, checks::NODE_HASH, id, version, what);
                }
                let hash = id.legacy_hash().unwrap_or(hash);
                Leaf { id, version, hash, key_hash }.put(&mut self.record);
            }
            Body::Inner { hash, left, right } => {
                let size = node.size;
                Inner { id, version, size, hash, key_hash, left, right }.put(&mut self.record);
            }
        }
        let level = usize::from(node.height);
        while self.levels.len() <= level {
            self.levels.push(self.store.spool());
        }
        self.levels[level].push(&self.record)
    }

    fn fast(
        &mut self,
        key: &[u8],
        entry: &[u8],
        value: &[u8],
        verdict: &mut Verdict,
    ) -> Result<()> {
        self.fast_nodes += 1;
        let fast = match FastNode::decode(value) {
            Ok(fast) => fast,
            Err(error) => {
                let what = format!("the fast node can't be decoded: {error}");
                self.find_entry(verdict, layout::FAST, entry, None, what);
                return Ok(());
            }
        };
        self.record.clear();
        self.record.extend_from_slice(&Sha256::digest(key));
        self.record.push(1);
        self.record.extend_from_slice(&fast.version.to_be_bytes());
        self.record.extend_from_slice(&Sha256::digest(fast.value));
        self.record.extend_from_slice(key);
        self.index.push(&self.record)
    }

    fn legacy_root(&mut self, version: u64, value: &[u8], verdict: &mut Verdict) -> Result<()> {
        self.last_legacy = self.last_legacy.max(Some(version));
        if value.is_empty() {
            return self.empty_root(version, true);
        }
        let Some(hash) = value.first_chunk().filter(|_| value.len() == HASH_BYTES).copied() else {
            let entry = [b"r".as_slice(), &version.to_be_bytes()].concat();
            let what = "the root is neither empty nor a hash";
            self.find_entry(verdict, layout::ROOT, &entry, Some(version), what);
            return Ok(());
        };
        self.root(version, true, RootKind::Entry, hash)?;
        self.mark(Mark { id: NodeId::legacy(hash), version, root: true })
    }

    fn empty_root(&mut self, version: u64, legacy: bool) -> Result<()> {
        self.root(version, legacy, RootKind::Entry, empty_tree_hash())
    }

    fn reference(
        &mut self,
        version: u64,
        node: NodeId,
        at: NodeId,
        verdict: &mut Verdict,
    ) -> Result<()> {
        let known = match self.known {
            Some((id, hash)) if id == node => Some(hash),
            _ => self.store.read_hash(node)?,
        };
        let Some(hash) = known else {
            let what = format!(
                "store {}: the root of version {version} names node {node}, which isn't there",
                self.store.name
            );
            let key = self.store.key(at.bytes());
            verdict.find(finding(checks::PRESENT, layout::ROOT, &key, Some(version), what));
            return self.root(version, false, RootKind::Broken, Hash::default());
        };
        self.known = Some((node, hash));
        self.root(version, false, RootKind::Entry, hash)?;
        self.mark(Mark { id: node, version, root: true })
    }

    fn root(&mut self, version: u64, legacy: bool, kind: RootKind, hash: Hash) -> Result<()> {
        self.latest = self.latest.max(Some(version));
        if kind != RootKind::Node && self.first_entry.is_none_or(|first| version < first) {
            self.first_entry = Some(version);
        }
        Root { version, legacy, kind, hash }.put(&mut self.record);
        self.roots.push(&self.record)
    }

    /// Versions in a row that share a root need one mark, that of the last of them.
    fn mark(&mut self, mark: Mark) -> Result<()> {
        if let Some(waiting) = &mut self.waiting {
            if waiting.id == mark.id {
                waiting.version = waiting.version.max(mark.version);
                return Ok(());
            }
            waiting.put(&mut self.record);
            self.marks.push(&self.record)?;
        }
        self.waiting = Some(mark);
        Ok(())
    }

    fn finish(mut self, verdict: &mut Verdict) -> Result<Scanned<'a>> {
        if let Some(waiting) = self.waiting.take() {
            waiting.put(&mut self.record);
            self.marks.push(&self.record)?;
        }
        verdict.count(checks::ENTRY, self.entries);
        verdict.count(checks::NODE_HASH, self.nodes);
        if self.unknown > 0 {
            verdict.notices.push(format!(
                "application.db: store {} has {} entries that no known version writes",
                self.store.name, self.unknown
            ));
        }
        let mut levels = Vec::with_capacity(self.levels.len());
        for level in self.levels {
            levels.push(level.finish()?);
        }
        let mut sorted = self.roots.finish()?;
        let mut roots = self.store.spool();
        while let Some(record) = sorted.current() {
            roots.push(record)?;
            sorted.advance()?;
        }
        Ok(Scanned {
            levels,
            marks: self.marks.finish()?,
            roots: roots.finish()?,
            index: self.index,
            orphans: self.orphans,
            first_entry: self.first_entry,
            latest: self.latest,
            last_legacy: self.last_legacy,
            has_new_form: self.has_new_form,
            fast_nodes: self.fast_nodes,
        })
    }
}

impl Scanned<'_> {
    /// Whether a node would serve from the fast index as it stands. It rebuilds one that is for
    /// another version, and doesn't look at one without a version.
    pub(super) fn fast_index_is_current(
        &self,
        store: &Store<'_>,
        verdict: &mut Verdict,
    ) -> Result<bool> {
        let key = store.key(&[b"m".as_slice(), STORAGE_VERSION].concat());
        let stored = store.ctx.snapshot.get(&key)?;
        let state = fast_index(stored.as_deref(), self.latest);
        if let (FastIndex::Stale, true) = (state, self.fast_nodes > 0) {
            verdict.notices.push(format!(
                "application.db: store {} has a fast index of {} entries that isn't for its \
                 latest version: the node rebuilds it before it serves from it",
                store.name, self.fast_nodes
            ));
        }
        Ok(state == FastIndex::Current)
    }
}

/// What a node does with the fast index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FastIndex {
    /// Serves from it.
    Current,
    /// Rebuilds it first.
    Stale,
}

/// Reads `storage_version`: `1.0.0` or nothing for none, `1.1.0` and above with `-` and the
/// version for which the index is.
pub(super) fn fast_index(storage_version: Option<&[u8]>, latest: Option<u64>) -> FastIndex {
    let Some(stored) = storage_version.filter(|stored| *stored >= b"1.1.0".as_slice()) else {
        return FastIndex::Stale;
    };
    let mut parts = stored.split(|byte| *byte == b'-');
    let (_, version, more) = (parts.next(), parts.next(), parts.next());
    match (version, more) {
        // The library compares the version only where exactly one stands there.
        (Some(version), None) if decimal::parse(version).ok() != latest => FastIndex::Stale,
        _ => FastIndex::Current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_index_counts_where_the_node_would_serve_from_it() {
        let at = |stored: &str| fast_index(Some(stored.as_bytes()), Some(318));
        assert_eq!(fast_index(None, Some(318)), FastIndex::Stale);
        assert_eq!(at("1.0.0"), FastIndex::Stale);
        assert_eq!(at("1.1.0-317"), FastIndex::Stale);
        assert_eq!(at("1.1.0-x"), FastIndex::Stale);
        assert_eq!(at("1.1.0-318"), FastIndex::Current);
        assert_eq!(at("1.1.0"), FastIndex::Current);
        assert_eq!(at("1.1.0-1-2"), FastIndex::Current);
    }
}
