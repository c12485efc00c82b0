//! Chosen versions only: their trees are walked from the roots, by point reads.
//!
//! Every hash below a root is recomputed from the leaves. What isn't looked at (other versions,
//! nodes that no version has, orphans) is counted as skipped.

use super::records::Hash;
use super::scan::{FastIndex, fast_index};
use super::tree::Store;
use super::{Ctx, checks, commits, finding, in_parallel, name};
use crate::iavl::commit::CommitInfo;
use crate::iavl::keys::{NodeId, STORAGE_VERSION, VERSION_MAX, commit_info_key};
use crate::iavl::layout;
use crate::iavl::node::{Body, FastNode, HASH_BYTES, Node, RootEntry, empty_tree_hash, inner_hash};
use transload_model::report::Verdict;
use transload_store::{KeyRange, Result, Walk};

/// Checks these versions in all stores.
pub(super) fn check(
    ctx: &Ctx<'_>,
    workers: usize,
    stores: &[Vec<u8>],
    versions: &[u64],
    verdict: &mut Verdict,
) -> Result<()> {
    let infos = commits::check_commit_infos(ctx, verdict)?;
    for version in versions {
        let key = commit_info_key(*version);
        let stored = ctx.snapshot.get(&key)?;
        let Some(stored) = stored else {
            verdict.skip(checks::ROOT, 1, format!("version {version} isn't kept"));
            continue;
        };
        let Ok(info) = CommitInfo::decode(&stored) else { continue };
        let each = |store: &Vec<u8>| check_store(ctx, store, *version, &info);
        for outcome in in_parallel(ctx, workers, stores, each)? {
            verdict.absorb(outcome);
        }
        for listed in info.stores.iter().filter(|store| store.has_tree()) {
            if !stores.iter().any(|store| store == listed.name) {
                let what = format!("store {} is listed and has no entry", name(listed.name));
                let table = layout::COMMIT_INFO;
                verdict.find(finding(checks::STORES, table, &key, Some(*version), what));
            }
        }
    }
    let asked = versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let why = format!("only version {asked} was asked for");
    let others = infos.saturating_sub(versions.len() as u64);
    verdict.skip(checks::ROOT, others, why.clone());
    for check in [checks::REACHABLE, checks::ORPHAN] {
        verdict.skip(check, stores.len() as u64, why.clone());
    }
    if !ctx.latest.is_some_and(|latest| versions.contains(&latest)) {
        verdict.skip(checks::FAST, stores.len() as u64, why);
    }
    Ok(())
}

fn check_store(
    ctx: &Ctx<'_>,
    store_name: &[u8],
    version: u64,
    info: &CommitInfo<'_>,
) -> Result<Verdict> {
    let store = Store::new(ctx, store_name)?;
    let mut verdict = Verdict::nothing();
    let Some(listed) = info.store(store_name) else { return Ok(verdict) };
    let mut walk = TreeWalk { store: &store, version, fast: None, verdict: &mut verdict };
    let found = root(&store, version)?;
    let hash = match found {
        None => {
            if ctx.latest == Some(version) {
                let what = format!("store {} has no root for version {version}", store.name);
                let key = store.key(NodeId::new(version, 1).bytes());
                verdict.find(finding(checks::ROOT, layout::ROOT, &key, Some(version), what));
            } else {
                let why = format!("version {version} isn't kept");
                verdict.skip(checks::ROOT, 1, why);
            }
            return Ok(verdict);
        }
        Some(id) => {
            walk.open_fast_index()?;
            let hash = match id {
                None => Some(empty_tree_hash()),
                Some(id) => walk.node(id, None)?.map(|below| below.hash),
            };
            walk.close_fast_index()?;
            hash
        }
    };
    verdict.count(checks::ROOT, 1);
    let empty = hash == Some(empty_tree_hash()) && listed.hash.is_empty();
    if let Some(hash) = hash
        && hash.as_slice() != listed.hash
        && !empty
    {
        let what = format!(
            "store {}: the root of version {version} is {}, and CommitInfo has {}",
            store.name,
            hex::encode(hash),
            hex::encode(listed.hash)
        );
        let key = store.key(NodeId::new(version, 1).bytes());
        verdict.find(finding(checks::ROOT, layout::ROOT, &key, Some(version), what));
    }
    Ok(verdict)
}

/// The root of a version: no such version, an empty tree, or a node.
fn root(store: &Store<'_>, version: u64) -> Result<Option<Option<NodeId>>> {
    if version > VERSION_MAX {
        return Ok(None);
    }
    let id = NodeId::new(version, 1);
    if let Some(stored) = store.ctx.snapshot.get(&store.key(id.bytes()))? {
        return Ok(Some(match RootEntry::decode(&stored) {
            Ok(Some(RootEntry::Empty)) => None,
            Ok(Some(RootEntry::Reference(node))) => Some(node),
            // One that can't be decoded is found when it is read as a node.
            Ok(None) | Err(_) => Some(id),
        }));
    }
    let entry = [b"r".as_slice(), &version.to_be_bytes()].concat();
    let Some(stored) = store.ctx.snapshot.get(&store.key(&entry))? else { return Ok(None) };
    let hash: Option<[u8; HASH_BYTES]> = stored.as_slice().try_into().ok();
    Ok(Some(hash.map(NodeId::legacy)))
}

/// What a subtree turned out to be.
struct Below {
    height: u8,
    size: u64,
    hash: Hash,
    least: Vec<u8>,
}

struct TreeWalk<'a, 'v> {
    store: &'a Store<'a>,
    version: u64,
    /// The fast index, in step with the leaves; `None` when it isn't for this version.
    fast: Option<Walk>,
    verdict: &'v mut Verdict,
}

impl TreeWalk<'_, '_> {
    fn open_fast_index(&mut self) -> Result<()> {
        if self.store.ctx.latest != Some(self.version) {
            return Ok(());
        }
        let key = self.store.key(&[b"m".as_slice(), STORAGE_VERSION].concat());
        let stored = self.store.ctx.snapshot.get(&key)?;
        if fast_index(stored.as_deref(), Some(self.version)) == FastIndex::Current {
            let range = KeyRange::prefix(&self.store.key(b"f"));
            self.fast = Some(Walk::new(self.store.ctx.snapshot, &range)?);
        }
        Ok(())
    }

    /// Fast nodes after the last leaf.
    fn close_fast_index(&mut self) -> Result<()> {
        while let Some(key) = self.next_fast()? {
            self.find_fast(&key.0, "a fast node whose key the latest version doesn't have");
        }
        Ok(())
    }

    fn next_fast(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let skip = self.store.prefix.len() + 1;
        let Some(fast) = &mut self.fast else { return Ok(None) };
        Ok(fast.next()?.map(|(key, value)| (key[skip..].to_vec(), value.to_vec())))
    }

    fn find_fast(&mut self, key: &[u8], what: &str) {
        let key = self.store.key(&[b"f".as_slice(), key].concat());
        let what = format!("store {}: {what}: a node would serve it", self.store.name);
        let version = Some(self.version);
        self.verdict.find(finding(checks::FAST, layout::FAST, &key, version, what));
    }

    /// The next fast node must be this leaf's.
    fn leaf(&mut self, node: &Node<'_>, value: &[u8]) -> Result<()> {
        if self.fast.is_none() {
            return Ok(());
        }
        loop {
            self.verdict.count(checks::FAST, 1);
            match self.next_fast()? {
                Some((key, _)) if key.as_slice() < node.key => {
                    self.find_fast(&key, "a fast node whose key the latest version doesn't have");
                }
                Some((key, stored)) if key == node.key => {
                    let fast = FastNode::decode(&stored);
                    if !fast.is_ok_and(|fast| fast.value == value) {
                        self.find_fast(&key, "the fast node's value isn't the leaf's");
                    }
                    return Ok(());
                }
                _ => {
                    let key = node.key.to_vec();
                    self.find_fast(&key, "the key has no fast node, or the index is out of order");
                    // Out of step from here on: the whole check names each one.
                    self.fast = None;
                    return Ok(());
                }
            }
        }
    }

    /// Walks a subtree in key order. Heights decrease on every way down, so the recursion is at
    /// most 128 deep. `None` when a node can't be read, which was found.
    fn node(&mut self, id: NodeId, parent: Option<(NodeId, u8)>) -> Result<Option<Below>> {
        let Some((id, stored)) = self.store.read(id)? else {
            let what = match parent {
                Some((parent, _)) => format!("node {id}, a child of node {parent}, isn't there"),
                None => format!("node {id}, the root of version {}, isn't there", self.version),
            };
            self.find(checks::PRESENT, id, what);
            return Ok(None);
        };
        let node = match Node::decode(id, &stored) {
            Ok(node) => node,
            Err(error) => {
                self.find(checks::ENTRY, id, format!("the node can't be decoded: {error}"));
                return Ok(None);
            }
        };
        self.store.ctx.advance(stored.len() as u64)?;
        self.verdict.count(checks::NODE_HASH, 1);
        self.verdict.count(checks::PRESENT, 1);
        let (left, right) = match node.body {
            Body::Leaf { value } => {
                self.leaf(&node, value)?;
                let hash = node.hash();
                if id.legacy_hash().is_some_and(|claimed| claimed != hash) {
                    let what = "the leaf doesn't have the hash that is its key";
                    self.find(checks::NODE_HASH, id, what.to_owned());
                }
                return Ok(Some(Below { height: 0, size: 1, hash, least: node.key.to_vec() }));
            }
            Body::Inner { left, right, .. } => (left, right),
        };
        if let Some((parent, above)) = parent
            && node.height >= above
        {
            let what = format!(
                "node {id} has height {}, and its parent {parent} has height {above}",
                node.height
            );
            self.find(checks::PRESENT, id, what);
            return Ok(None);
        }
        let here = Some((id, node.height));
        let (left, right) = (self.node(left, here)?, self.node(right, here)?);
        let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
        let hash = inner_hash(node.height, node.size, node.version, &left.hash, &right.hash);
        if hash != node.hash() {
            let what = "the node's hash doesn't follow from its children";
            self.find(checks::NODE_HASH, id, what.to_owned());
        } else if left.size.checked_add(right.size) != Some(node.size)
            || left.height.max(right.height) + 1 != node.height
        {
            let what = "the node's height or size isn't that of its children";
            self.find(checks::NODE_HASH, id, what.to_owned());
        }
        self.verdict.count(checks::INNER_KEY, 1);
        if node.key != right.least {
            let what = "the inner node's key isn't the smallest key of its right side";
            self.find(checks::INNER_KEY, id, what.to_owned());
        }
        Ok(Some(Below { height: node.height, size: node.size, hash, least: left.least }))
    }

    fn find(&mut self, check: &'static str, id: NodeId, what: String) {
        self.store.find_node(self.verdict, check, id, self.version, what);
    }
}
