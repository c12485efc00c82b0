//! Upwards: every inner node against its children, level by level, each distinct node once.
//!
//! The children of a node of height h have height h-1 or h-2 (the trees are balanced), so the
//! join of a level needs the two levels below it and nothing else: the level's nodes ask for
//! their children, the questions are sorted by child and merged with the levels below, the
//! answers are sorted by parent and merged with the level itself.

use super::checks;
use super::records::{Info, Inner, Leaf, Take};
use super::tree::Store;
use crate::iavl::commit::CommitInfo;
use crate::iavl::keys::{Entry, NodeId, commit_info_key, store_prefix};
use crate::iavl::node::{Body, FastNode, Node, inner_hash};
use std::collections::BTreeMap;
use transload_model::report::{FINDINGS_KEPT_MAX, Verdict};
use transload_store::sort::{Sequence, SpoolReader, Spooled};
use transload_store::{Error, Kind, Result};

/// A level whose nodes are known: leaves as scanned, or what was learned of inner nodes.
#[derive(Clone)]
enum Level {
    Leaves(Spooled),
    Infos(Spooled),
}

struct LevelReader {
    reader: SpoolReader,
    leaves: bool,
    current: Option<Info>,
    /// The last root at nonce 0 that was passed: pruning moved it there, and parents still name
    /// nonce 1.
    moved: Option<Info>,
}

impl LevelReader {
    fn new(level: &Level, buffer_bytes: usize) -> Result<Self> {
        let (spooled, leaves) = match level {
            Level::Leaves(spooled) => (spooled, true),
            Level::Infos(spooled) => (spooled, false),
        };
        let reader = spooled.reader(buffer_bytes)?;
        let mut level = Self { reader, leaves, current: None, moved: None };
        level.load()?;
        Ok(level)
    }

    fn load(&mut self) -> Result<()> {
        self.current = match self.reader.current() {
            None => None,
            Some(record) if self.leaves => Some(Info::of_leaf(&Leaf::parse(record)?)),
            Some(record) => Some(Info::parse(&mut Take(record))?),
        };
        Ok(())
    }

    /// Ids are asked for in ascending order.
    fn find(&mut self, id: NodeId) -> Result<Option<Info>> {
        while let Some(info) = self.current
            && info.id < id
        {
            if info.id.version_and_nonce().is_some_and(|(_, nonce)| nonce == 0) {
                self.moved = Some(info);
            }
            self.reader.advance()?;
            self.load()?;
        }
        Ok(self.current.filter(|info| info.id == id))
    }

    /// The node at nonce 0, after `find` hasn't found it at nonce 1.
    fn find_moved(&self, id: NodeId) -> Option<Info> {
        let wanted = id.moved_by_pruning()?;
        self.moved.filter(|info| info.id == wanted)
    }
}

/// A parent whose hash doesn't follow from its children.
struct Suspect {
    parent: Inner,
    /// A node above it has been found to agree with its hash, so the fault is below it.
    covered: bool,
}

/// Checks all inner nodes.
pub(super) fn check(store: &Store<'_>, levels: &[Spooled], verdict: &mut Verdict) -> Result<()> {
    let mut below = Level::Leaves(levels.first().cloned().unwrap_or_default());
    let mut under = Level::Infos(Spooled::default());
    let mut suspects: BTreeMap<NodeId, Suspect> = BTreeMap::new();
    let mut progress = store.join(levels);
    if let Some(leaves) = levels.first() {
        store.joined(&mut progress, leaves)?;
    }
    for (height, level) in levels.iter().enumerate().skip(1) {
        let height = u8::try_from(height)
            .map_err(|_| Error::new(Kind::Limit, "join tree nodes", "a tree beyond height 127"))?;
        let answers = ask(store, height, level, &below, &under)?;
        let infos = judge(store, height, level, answers, &mut suspects, verdict)?;
        under = std::mem::replace(&mut below, Level::Infos(infos));
        store.joined(&mut progress, level)?;
    }
    for suspect in suspects.into_values() {
        name_culprit(store, &suspect, verdict)?;
    }
    Ok(())
}

/// What each node of the level is told of its children, by ordinal number and side.
fn ask(
    store: &Store<'_>,
    height: u8,
    level: &Spooled,
    below: &Level,
    under: &Level,
) -> Result<impl Sequence> {
    let mut questions = store.sorter();
    let mut record = Vec::new();
    let mut parents = level.reader(store.buffer_bytes())?;
    let mut ordinal = 0_u64;
    while let Some(parent) = parents.current() {
        let parent = Inner::parse(parent)?;
        for (side, child) in [parent.left, parent.right].into_iter().enumerate() {
            record.clear();
            record.extend_from_slice(child.bytes());
            record.extend_from_slice(&ordinal.to_be_bytes());
            record.push(u8::from(side == 1));
            questions.push(&record)?;
        }
        ordinal += 1;
        parents.advance()?;
    }
    let mut questions = questions.finish()?;
    let mut below = LevelReader::new(below, store.buffer_bytes())?;
    let mut under = LevelReader::new(under, store.buffer_bytes())?;
    let mut answers = store.sorter();
    while let Some(question) = questions.current() {
        let mut take = Take(question);
        let id = take.id()?;
        // Ordinal and side.
        let asked_by = take.0;
        let (at_below, at_under) = (below.find(id)?, under.find(id)?);
        let found = at_below
            .map(|info| (height - 1, info))
            .or(at_under.map(|info| (height.saturating_sub(2), info)))
            .or_else(|| below.find_moved(id).map(|info| (height - 1, info)))
            .or_else(|| under.find_moved(id).map(|info| (height.saturating_sub(2), info)));
        if let Some((child_height, info)) = found {
            record.clear();
            record.extend_from_slice(asked_by);
            record.push(child_height);
            info.put(&mut record);
            answers.push(&record)?;
        }
        questions.advance()?;
    }
    answers.finish()
}

/// Checks each node of a level, and says what its parents will ask for.
fn judge(
    store: &Store<'_>,
    height: u8,
    level: &Spooled,
    mut answers: impl Sequence,
    suspects: &mut BTreeMap<NodeId, Suspect>,
    verdict: &mut Verdict,
) -> Result<Spooled> {
    let mut infos = store.spool();
    let mut record = Vec::new();
    let mut parents = level.reader(store.buffer_bytes())?;
    let mut ordinal = 0_u64;
    while let Some(parent) = parents.current() {
        let parent = Inner::parse(parent)?;
        let mut children: [Option<(u8, Info)>; 2] = [None, None];
        while let Some(answer) = answers.current() {
            let mut take = Take(answer);
            if take.u64()? != ordinal {
                break;
            }
            let side = usize::from(take.u8()? != 0);
            children[side] = Some((take.u8()?, Info::parse(&mut take)?));
            answers.advance()?;
        }
        verdict.count(checks::PRESENT, 2);
        verdict.count(checks::INNER_KEY, 1);
        match children {
            [Some(left), Some(right)] => {
                judge_node(store, height, &parent, left, right, suspects, verdict);
            }
            _ => {
                let sides = [(parent.left, children[0]), (parent.right, children[1])];
                for (child, _) in sides.into_iter().filter(|(_, found)| found.is_none()) {
                    find_absent(store, height, &parent, child, verdict)?;
                }
            }
        }
        let least = children[0].and_then(|(_, info)| info.least);
        record.clear();
        Info { id: parent.id, size: parent.size, hash: parent.hash, least }.put(&mut record);
        infos.push(&record)?;
        ordinal += 1;
        parents.advance()?;
    }
    infos.finish()
}

fn judge_node(
    store: &Store<'_>,
    height: u8,
    parent: &Inner,
    (left_height, left): (u8, Info),
    (right_height, right): (u8, Info),
    suspects: &mut BTreeMap<NodeId, Suspect>,
    verdict: &mut Verdict,
) {
    let computed = inner_hash(height, parent.size, parent.version, &left.hash, &right.hash);
    let covered = computed == parent.hash;
    for child in [left.id, right.id] {
        if let Some(suspect) = suspects.get_mut(&child) {
            suspect.covered |= covered;
        }
    }
    if !covered {
        // Beyond what a report keeps, the count alone goes on.
        if suspects.len() < FINDINGS_KEPT_MAX {
            suspects.insert(parent.id, Suspect { parent: *parent, covered: false });
        } else {
            let what = "the node's hash doesn't follow from its children";
            store.find_node(verdict, checks::NODE_HASH, parent.id, parent.version, what);
        }
    } else if left.size.checked_add(right.size) != Some(parent.size)
        || left_height.max(right_height) + 1 != height
    {
        let what = "the node's height or size isn't that of its children";
        store.find_node(verdict, checks::NODE_HASH, parent.id, parent.version, what);
    }
    if right.least.is_some_and(|least| least != parent.key_hash) {
        let what = "the inner node's key isn't the smallest key of its right side: lookups would \
                    go astray, and no hash shows it";
        store.find_node(verdict, checks::INNER_KEY, parent.id, parent.version, what);
    }
}

fn find_absent(
    store: &Store<'_>,
    height: u8,
    parent: &Inner,
    child: NodeId,
    verdict: &mut Verdict,
) -> Result<()> {
    let what = match store.read(child)? {
        None => format!("node {child}, a child of node {}, isn't there", parent.id),
        Some((id, stored)) => match Node::decode(id, &stored) {
            Ok(node) => format!(
                "node {child} has height {}, and its parent {} has height {height}",
                node.height, parent.id
            ),
            Err(error) => {
                format!("node {child}, a child of node {}, can't be decoded: {error}", parent.id)
            }
        },
    };
    let version = child.version_and_nonce().map_or(parent.version, |(version, _)| version);
    store.find_node(verdict, checks::PRESENT, child, version, what);
    Ok(())
}

/// Says which node is wrong where a parent and its children disagree. Where the node above
/// agrees with the parent's hash, a child was altered, and if the children are leaves, the fast
/// index tells which.
fn name_culprit(store: &Store<'_>, suspect: &Suspect, verdict: &mut Verdict) -> Result<()> {
    let parent = &suspect.parent;
    let (mut leaves, mut others) = (Vec::new(), Vec::new());
    for child in [parent.left, parent.right] {
        let read = store.read(child)?;
        others.extend(read.iter().map(|(id, _)| *id));
        if let Some((id, stored)) = read
            && let Ok(node) = Node::decode(id, &stored)
            && let Body::Leaf { value } = node.body
            && !confirmed_by_fast_index(store, node.key, value)?
        {
            leaves.push((id, node.version));
        }
    }
    let children = format!("{} and {}", parent.left, parent.right);
    match leaves.as_slice() {
        [(leaf, version)] if suspect.covered || is_committed_root(store, parent)? => {
            let what = format!(
                "leaf {leaf} doesn't have the hash that its parent {} was made with",
                parent.id
            );
            store.find_node(verdict, checks::NODE_HASH, *leaf, *version, what);
        }
        _ => {
            let what = format!(
                "the hash of node {} doesn't follow from its children {children}: it or one of \
                 them was altered",
                parent.id
            );
            let one_of = (parent.id, others.as_slice());
            store.find_one_of(verdict, checks::NODE_HASH, one_of, parent.version, what);
        }
    }
    Ok(())
}

/// Whether the node is a root, and its version's CommitInfo has its hash.
fn is_committed_root(store: &Store<'_>, node: &Inner) -> Result<bool> {
    if !matches!(node.id.version_and_nonce(), Some((_, 0 | 1))) {
        return Ok(false);
    }
    let stored = store.ctx.snapshot.get(&commit_info_key(node.version))?;
    let info = stored.as_deref().map(CommitInfo::decode);
    Ok(matches!(info, Some(Ok(info)) if info
        .stores
        .iter()
        .any(|listed| store.prefix == store_prefix(listed.name) && listed.hash == node.hash)))
}

fn confirmed_by_fast_index(store: &Store<'_>, key: &[u8], value: &[u8]) -> Result<bool> {
    let entry = [b"f".as_slice(), key].concat();
    if !matches!(Entry::parse(&entry), Entry::Fast(_)) {
        return Ok(false);
    }
    let stored = store.ctx.snapshot.get(&store.key(&entry))?;
    let fast = stored.as_deref().map(FastNode::decode);
    Ok(matches!(fast, Some(Ok(fast)) if fast.value == value))
}
