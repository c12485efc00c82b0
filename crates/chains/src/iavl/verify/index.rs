//! What points into a tree from beside it: the fast index and the orphans.

use super::records::{Hash, Take};
use super::tree::Store;
use super::{checks, finding};
use crate::iavl::commit::CommitInfo;
use crate::iavl::keys::{NodeId, commit_info_key};
use crate::iavl::layout;
use crate::iavl::node::{Node, leaf_hash};
use transload_model::report::{Verdict, printable_key};
use transload_store::Result;
use transload_store::sort::{Sequence, Sorted, Sorter};

struct LatestLeaf {
    version: u64,
    hash: Hash,
    id: NodeId,
}

/// Fast nodes against the latest version's leaves, by the hash of their keys.
pub(super) fn check_fast(
    store: &Store<'_>,
    index: Sorter<'_>,
    latest: Option<u64>,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut sorted = index.finish()?;
    let mut leaf: Option<(Hash, LatestLeaf)> = None;
    while let Some(record) = sorted.current() {
        let mut take = Take(record);
        let key_hash = take.array()?;
        if take.u8()? == 0 {
            missing(store, leaf.take(), verdict)?;
            let found = LatestLeaf { version: take.u64()?, hash: take.array()?, id: take.id()? };
            leaf = Some((key_hash, found));
        } else {
            let version = take.u64()?;
            let value_hash = take.array()?;
            let key = take.0;
            verdict.count(checks::FAST, 1);
            let same = leaf.take_if(|(hash, _)| *hash == key_hash).map(|(_, leaf)| leaf);
            if let Some(what) = judge_fast(store, key, version, &value_hash, latest, same)? {
                let key = store.key(&[b"f".as_slice(), key].concat());
                let what = format!("store {}: {what}", store.name);
                verdict.find(finding(checks::FAST, layout::FAST, &key, Some(version), what));
            }
        }
        sorted.advance()?;
    }
    missing(store, leaf, verdict)
}

fn judge_fast(
    store: &Store<'_>,
    key: &[u8],
    version: u64,
    value_hash: &Hash,
    latest: Option<u64>,
    leaf: Option<LatestLeaf>,
) -> Result<Option<String>> {
    let Some(leaf) = leaf else {
        return Ok(Some(
            "a fast node whose key the latest version doesn't have: a node would serve it".into(),
        ));
    };
    if leaf_hash(leaf.version, key, value_hash) != leaf.hash {
        return Ok(Some(format!(
            "the fast node's value isn't that of leaf {}: a node would serve it unchecked",
            leaf.id
        )));
    }
    if Some(version) > latest {
        return Ok(Some(format!("the fast node is of version {version}, after the latest one")));
    }
    // An index built later says the version in which it was built, and one built in a store's
    // first version counts from 1.
    if version < leaf.version && !(version == 1 && began_with(store, leaf.version)?) {
        return Ok(Some(format!(
            "the fast node is of version {version}, and its value was set in version {}: earlier \
             versions would be answered with it",
            leaf.version
        )));
    }
    Ok(None)
}

/// Whether `version` is the first one that lists the store.
fn began_with(store: &Store<'_>, version: u64) -> Result<bool> {
    let stored = store.ctx.snapshot.get(&commit_info_key(version.saturating_sub(1)))?;
    let info = stored.as_deref().map(CommitInfo::decode);
    let listed = |info: &CommitInfo<'_>| {
        info.stores
            .iter()
            .any(|one| one.has_tree() && crate::iavl::keys::store_prefix(one.name) == store.prefix)
    };
    Ok(!matches!(&info, Some(Ok(info)) if listed(info)))
}

fn missing(
    store: &Store<'_>,
    leaf: Option<(Hash, LatestLeaf)>,
    verdict: &mut Verdict,
) -> Result<()> {
    let Some((_, leaf)) = leaf else { return Ok(()) };
    verdict.count(checks::FAST, 1);
    let stored = store.read(leaf.id)?;
    let key = match stored.as_ref().map(|(id, stored)| Node::decode(*id, stored)) {
        Some(Ok(node)) => node.key.to_vec(),
        _ => Vec::new(),
    };
    let what = format!(
        "store {}: key {} (leaf {}) has no fast node: a node would answer that it doesn't exist",
        store.name,
        printable_key(&key),
        leaf.id
    );
    let key = store.key(&[b"f".as_slice(), &key].concat());
    verdict.find(finding(checks::FAST, layout::FAST, &key, Some(leaf.version), what));
    Ok(())
}

/// A node of the 0.x form.
struct LegacyNode {
    hash: Hash,
    /// The last version that has it; 0 when none has.
    reached: u64,
    version: u64,
}

/// A node that no version after `to` has, it says.
struct Orphan {
    hash: Hash,
    to: u64,
    from: u64,
}

/// Orphans against the nodes that they name.
///
/// An orphan that is missing, or whose last version is later than its node's, is no finding: it
/// lets pruning keep a node for longer. What is missing is said, and so are orphans of the latest
/// version or above, which rollbacks leave.
///
/// Where nodes of the 1.x form stand beside, the library is deleting what is left of the 0.x
/// form, in the background and not in one step: what it leaves behind is named, not wrong.
pub(super) fn check_orphans(
    store: &Store<'_>,
    orphans: Sorter<'_>,
    latest: Option<u64>,
    mixed: bool,
    verdict: &mut Verdict,
) -> Result<()> {
    let mut sorted: Sorted = orphans.finish()?;
    let mut node: Option<LegacyNode> = None;
    let (mut left_over, mut kept_alive, mut ahead) = (0_u64, 0_u64, 0_u64);
    let mut has_orphan = false;
    loop {
        let next = match sorted.current() {
            Some(record) => {
                let mut take = Take(record);
                Some((take.array()?, take.u8()?, take.u64()?, take.u64()?))
            }
            None => None,
        };
        let begins_node = next.is_none_or(|(hash, kind, ..)| {
            kind == 0 || node.as_ref().is_some_and(|node| node.hash != hash)
        });
        if begins_node && let Some(done) = node.take() {
            left_over += unreached(store, &done, has_orphan, mixed, verdict);
            let is_over = done.reached > 0 && latest.is_some_and(|latest| done.reached < latest);
            kept_alive += u64::from(is_over && !has_orphan && !mixed);
        }
        let Some((hash, kind, first, second)) = next else { break };
        if kind == 0 {
            node = Some(LegacyNode { hash, reached: first, version: second });
            has_orphan = false;
        } else {
            has_orphan = true;
            let orphan = Orphan { hash, to: first, from: second };
            left_over += judge_orphan(store, &orphan, node.as_ref(), mixed, verdict);
            let is_kept = node.as_ref().is_some_and(|node| Some(node.reached) == latest);
            ahead += u64::from(is_kept && latest.is_some_and(|latest| orphan.to >= latest));
        }
        sorted.advance()?;
    }
    if left_over > 0 {
        verdict.notices.push(format!(
            "application.db: store {} has {left_over} nodes and orphans of the 0.x form that no \
             version needs any more",
            store.name
        ));
    }
    if kept_alive > 0 {
        verdict.notices.push(format!(
            "application.db: store {} has {kept_alive} nodes of the 0.x form that its latest \
             version doesn't have and no orphan names: pruning would never delete them",
            store.name
        ));
    }
    // A rollback by IAVL 1.x leaves such orphans, and it knows what they are.
    if ahead > 0 {
        verdict.notices.push(format!(
            "application.db: store {} has {ahead} orphans of the latest version or a later one, \
             as a rollback by IAVL 1.x leaves them: IAVL 0.x would delete nodes that are in use \
             when it prunes that version",
            store.name
        ));
    }
    Ok(())
}

fn unreached(
    store: &Store<'_>,
    node: &LegacyNode,
    has_orphan: bool,
    mixed: bool,
    verdict: &mut Verdict,
) -> u64 {
    if node.reached > 0 {
        return 0;
    }
    if has_orphan || mixed {
        return 1;
    }
    let what = "no version that is kept has this node, and no orphan names it";
    let id = NodeId::legacy(node.hash);
    store.find_node(verdict, checks::REACHABLE, id, node.version, what);
    0
}

fn judge_orphan(
    store: &Store<'_>,
    orphan: &Orphan,
    node: Option<&LegacyNode>,
    mixed: bool,
    verdict: &mut Verdict,
) -> u64 {
    verdict.count(checks::ORPHAN, 1);
    let Orphan { hash, to, from } = *orphan;
    let what = match node {
        None if mixed => return 1,
        None => "the orphan names a node that isn't there".to_owned(),
        Some(node) if node.reached > to => format!(
            "the orphan says that no version after {to} has its node, and version {} does: \
             pruning would delete it",
            node.reached
        ),
        Some(node) if node.version != from => format!(
            "the orphan says that its node is of version {from}, and it is of version {}",
            node.version
        ),
        Some(_) if from > to => "the orphan's first version is after its last".to_owned(),
        Some(_) => return 0,
    };
    let mut entry = b"o".to_vec();
    entry.extend_from_slice(&to.to_be_bytes());
    entry.extend_from_slice(&from.to_be_bytes());
    entry.extend_from_slice(&hash);
    let what = format!("store {}: {what}", store.name);
    verdict.find(finding(checks::ORPHAN, layout::ORPHAN, &store.key(&entry), Some(to), what));
    0
}
