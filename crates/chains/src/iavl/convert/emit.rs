//! The second scan: writes the entries of the 1.x form, sorted by version and nonce.
//!
//! Layout of a record: see [`super::view`]. A leaf whose value is too large to be sorted is named by
//! its hash and read again when it is wanted.

use super::join::{DOUBLED, HAS_ORPHAN, Joined};
use super::view::{INLINE, KEY_BYTES, LARGE};
use super::{OPERATION, StoreReport, Tree, Unreachable};
use crate::iavl::fields::Take;
use crate::iavl::keys::NodeId;
use crate::iavl::node::{Body, HASH_BYTES, Node, inner_hash};
use crate::iavl::reached::Bits;
use transload_codec::varint::{put_uvarint, put_varint};
use transload_store::sort::{Indexed, IndexedBuilder, Sequence, Sorted, Sorter, Spooled};
use transload_store::{Error, Kind, Result, Walk};

/// A leaf larger than this isn't sorted whole: values of megabytes would fill a sorter.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What the first scan left that is needed once more.
pub(super) struct Parts {
    pub(super) nodes: Spooled,
    pub(super) roots: Spooled,
    pub(super) taken: Spooled,
    pub(super) parents: Spooled,
}

struct Emitter<'a, 't> {
    tree: &'t Tree<'a>,
    entries: Sorter<'a>,
    record: Vec<u8>,
}

/// Writes all entries that the conversion makes.
pub(super) fn emit(
    tree: &Tree<'_>,
    joined: Joined,
    parts: &Parts,
    reached: Option<Bits>,
    report: &mut StoreReport,
) -> Result<Indexed> {
    let mut emitter = Emitter { tree, entries: tree.large_sorter(), record: Vec::new() };
    let Joined { own, parents, new_parents, roots, .. } = joined;
    emitter.nodes(&own, parents, &parts.nodes, reached.as_ref(), report)?;
    if let Some(id) = report.left_out_listed.first()
        && report.unreachable > 0
        && tree.work.options.unreachable == Unreachable::Refuse
    {
        let listed: Vec<String> =
            report.left_out_listed.iter().take(8).map(ToString::to_string).collect();
        let what = format!(
            "no version has {} nodes, and no orphan names them: they have no place in any tree. \
             Nodes that no version has: {}",
            report.unreachable,
            listed.join(", ")
        );
        return Err(tree.error(id.bytes(), what).help(
            "--drop-orphans leaves them out and lists them; `transload migrate HOME --to ENGINE` \
             carries the state as it is",
        ));
    }
    emitter.new_parents(new_parents, &parts.parents)?;
    emitter.roots(roots, parts, report)?;
    let mut sorted = emitter.entries.finish()?;
    let mut entries = IndexedBuilder::new(
        tree.scratch,
        (tree.memory_bytes_max / 256).min(super::SPOOL_BYTES_MAX),
        KEY_BYTES,
    );
    while let Some(record) = sorted.current() {
        entries.push(record)?;
        sorted.advance()?;
    }
    entries.finish()
}

impl Emitter<'_, '_> {
    fn begin(&mut self, version: u64, nonce: u32, kind: u8) {
        self.record.clear();
        self.record.extend_from_slice(&version.to_be_bytes());
        self.record.extend_from_slice(&nonce.to_be_bytes());
        self.record.push(kind);
    }

    fn nodes(
        &mut self,
        own: &Spooled,
        mut answers: Sorted,
        nodes: &Spooled,
        reached: Option<&Bits>,
        report: &mut StoreReport,
    ) -> Result<()> {
        let tree = self.tree;
        let changed = || {
            let what = "the source changed between two scans of it";
            Error::new(Kind::Corrupt, OPERATION, what)
        };
        let mut own = own.reader(tree.buffer_bytes())?;
        let mut nodes = nodes.reader(tree.buffer_bytes())?;
        let mut scan = Walk::new(tree.source, &tree.range(b'n'))?;
        let skip = tree.prefix.len();
        let (mut place, mut untold) = (0_u64, 0);
        while let Some((key, value)) = scan.next()? {
            untold += (key.len() + value.len()) as u64;
            if untold >= PROGRESS_BYTES {
                tree.work.advance(std::mem::take(&mut untold))?;
            }
            let (Some(numbered), Some(known)) = (own.current(), nodes.current()) else {
                return Err(changed());
            };
            let (id, _) = NodeId::split(&key[skip..]).ok_or_else(changed)?;
            if id.bytes()[1..] != known[..HASH_BYTES] {
                return Err(changed());
            }
            let mut take = Take(numbered);
            let (nonce, flags) = (take.u32()?, take.u8()?);
            let mut children = [None; 2];
            while let Some(answer) = answers.current() {
                let mut take = Take(answer);
                if take.u64()? != place {
                    break;
                }
                let side = usize::from(take.u8()? != 0);
                children[side] = Some((take.u64()?, take.u32()?));
                answers.advance()?;
            }
            if reached.is_some_and(|reached| !reached.get(place)) && flags & DOUBLED == 0 {
                report.leave_out(id, flags & HAS_ORPHAN != 0);
            } else if flags & DOUBLED == 0 {
                self.node(id, nonce, children, value)?;
            }
            place += 1;
            own.advance()?;
            nodes.advance()?;
        }
        scan.end()?;
        if own.current().is_some() {
            return Err(changed());
        }
        tree.work.advance(untold)
    }

    fn node(
        &mut self,
        id: NodeId,
        nonce: u32,
        children: [Option<(u64, u32)>; 2],
        value: &[u8],
    ) -> Result<()> {
        let wrong = |what: &str| self.tree.error(id.bytes(), format_args!("node {id}: {what}"));
        let node = Node::decode(id, value)
            .map_err(|error| wrong(&format!("it can't be decoded: {error}")))?;
        if !is_what_its_key_says(id, &node) {
            return Err(wrong("it doesn't have the hash that is its key"));
        }
        match node.body {
            Body::Leaf { value } if value.len() > INLINE_BYTES_MAX => {
                self.begin(node.version, nonce, LARGE);
                self.record.extend_from_slice(&id.bytes()[1..]);
            }
            Body::Leaf { .. } => {
                self.begin(node.version, nonce, INLINE);
                put_node(&mut self.record, &node, [None; 2]);
            }
            Body::Inner { .. } => {
                if children.contains(&None) {
                    return Err(wrong("it has lost a child between two scans"));
                }
                self.begin(node.version, nonce, INLINE);
                put_node(&mut self.record, &node, children);
            }
        }
        self.entries.push(&self.record)
    }

    /// Nodes of the 1.x form that named nodes of the 0.x form.
    fn new_parents(&mut self, mut answers: Sorted, parents: &Spooled) -> Result<()> {
        let mut parents = parents.reader(self.tree.buffer_bytes())?;
        while let Some(parent) = parents.current() {
            let mut take = Take(parent);
            let key = take.array::<KEY_BYTES>()?;
            let mut of = Take(&key);
            let (version, nonce) = (of.u64()?, of.u32()?);
            let mut children = [None; 2];
            while let Some(answer) = answers.current() {
                let mut take = Take(answer);
                if take.array::<KEY_BYTES>()? != key {
                    break;
                }
                let side = usize::from(take.u8()? != 0);
                children[side] = Some((take.u64()?, take.u32()?));
                answers.advance()?;
            }
            let id = NodeId::new(version, nonce);
            let node = Node::decode(id, take.0)
                .map_err(|error| self.tree.error(id.bytes(), format_args!("node {id}: {error}")))?;
            self.begin(version, nonce, INLINE);
            put_node(&mut self.record, &node, children);
            self.entries.push(&self.record)?;
            parents.advance()?;
        }
        Ok(())
    }

    /// Roots whose node isn't at nonce 1 of their version, and roots of empty trees.
    fn roots(
        &mut self,
        mut answers: Sorted,
        parts: &Parts,
        report: &mut StoreReport,
    ) -> Result<()> {
        let mut taken = parts.taken.reader(self.tree.buffer_bytes())?;
        let mut roots = parts.roots.reader(self.tree.buffer_bytes())?;
        while let Some(root) = roots.current() {
            let mut take = Take(root);
            let (version, is_empty) = (take.u64()?, take.u8()? == 0);
            let mut stands = None;
            while let Some(record) = taken.current() {
                let mut take = Take(record);
                let at = take.u64()?;
                if at > version {
                    break;
                }
                if at == version {
                    stands = Some(take.u8()? != 0);
                }
                taken.advance()?;
            }
            let conflict = || {
                let what = format!("version {version} has a root of each form, and they differ");
                self.tree.error(NodeId::new(version, 1).bytes(), what)
            };
            if is_empty {
                report.empty += 1;
                match stands {
                    None => {
                        self.begin(version, 1, INLINE);
                        self.entries.push(&self.record)?;
                    }
                    Some(true) => {}
                    Some(false) => return Err(conflict()),
                }
            } else {
                let Some(answer) = answers.current() else {
                    return Err(Error::new(Kind::Corrupt, OPERATION, "a root without an answer"));
                };
                let mut take = Take(answer);
                if take.u64()? != version {
                    return Err(Error::new(Kind::Corrupt, OPERATION, "a root without an answer"));
                }
                let (of, nonce) = (take.u64()?, take.u32()?);
                answers.advance()?;
                if (of, nonce) != (version, 1) {
                    if stands.is_some() {
                        return Err(conflict());
                    }
                    report.references += 1;
                    self.begin(version, 1, INLINE);
                    self.record.extend_from_slice(NodeId::new(of, nonce).bytes());
                    self.entries.push(&self.record)?;
                }
            }
            roots.advance()?;
        }
        Ok(())
    }
}

/// Whether the stored bytes are those that the hash in the key was made of. It covers all but an
/// inner node's key.
pub(super) fn is_what_its_key_says(id: NodeId, node: &Node<'_>) -> bool {
    let hash = match node.body {
        Body::Leaf { .. } => Some(node.hash()),
        Body::Inner { left, right, .. } => left
            .legacy_hash()
            .zip(right.legacy_hash())
            .map(|(left, right)| inner_hash(node.height, node.size, node.version, &left, &right)),
    };
    hash.is_some() && id.legacy_hash() == hash
}

/// Appends a node in the 1.x form. Children that aren't given stay as the node names them.
///
/// Layout: see [`Node::decode`].
pub(super) fn put_node(out: &mut Vec<u8>, node: &Node<'_>, children: [Option<(u64, u32)>; 2]) {
    put_varint(out, i64::from(node.height));
    put_varint(out, node.size.cast_signed());
    put_uvarint(out, node.key.len() as u64);
    out.extend_from_slice(node.key);
    match node.body {
        Body::Leaf { value } => {
            put_uvarint(out, value.len() as u64);
            out.extend_from_slice(value);
        }
        Body::Inner { hash, left, right } => {
            put_uvarint(out, HASH_BYTES as u64);
            out.extend_from_slice(&hash);
            let ids = [left, right];
            let old = |side: usize| children[side].is_none() && ids[side].legacy_hash().is_some();
            put_varint(out, i64::from(u8::from(old(0)) | u8::from(old(1)) << 1));
            for side in 0..2 {
                let id = children[side].or(ids[side].version_and_nonce());
                match (id, ids[side].legacy_hash()) {
                    (Some((version, nonce)), _) => {
                        put_varint(out, version.cast_signed());
                        put_varint(out, i64::from(nonce));
                    }
                    (None, Some(hash)) => {
                        put_uvarint(out, HASH_BYTES as u64);
                        out.extend_from_slice(&hash);
                    }
                    (None, None) => {}
                }
            }
        }
    }
}
