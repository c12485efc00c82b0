//! Records of the external joins: fixed fields, ids first, so that byte order is id order.
//!
//! They live in scratch files of this process only. A record that can't be read again is an
//! error of the scratch disk, not a finding.

use crate::iavl::keys::NodeId;
use crate::iavl::node::HASH_BYTES;
use transload_store::Result;

pub(super) use crate::iavl::fields::Take;

pub(super) type Hash = [u8; HASH_BYTES];

/// A leaf, as the joins need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) id: NodeId,
    pub(super) version: u64,
    pub(super) hash: Hash,
    pub(super) key_hash: Hash,
}

impl Leaf {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.clear();
        put_id_and_version(out, self.id, self.version);
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.key_hash);
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self> {
        let mut take = Take(record);
        let (id, version) = take_id_and_version(&mut take)?;
        Ok(Self { id, version, hash: take.array()?, key_hash: take.array()? })
    }
}

/// An inner node, as the joins need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner {
    pub(super) id: NodeId,
    pub(super) version: u64,
    pub(super) size: u64,
    /// What it claims.
    pub(super) hash: Hash,
    pub(super) key_hash: Hash,
    pub(super) left: NodeId,
    pub(super) right: NodeId,
}

impl Inner {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.clear();
        put_id_and_version(out, self.id, self.version);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.key_hash);
        out.extend_from_slice(self.left.bytes());
        out.extend_from_slice(self.right.bytes());
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self> {
        let mut take = Take(record);
        let (id, version) = take_id_and_version(&mut take)?;
        Ok(Self {
            id,
            version,
            size: take.u64()?,
            hash: take.array()?,
            key_hash: take.array()?,
            left: take.id()?,
            right: take.id()?,
        })
    }
}

/// The version of a 1.x node is in its id.
fn put_id_and_version(out: &mut Vec<u8>, id: NodeId, version: u64) {
    out.extend_from_slice(id.bytes());
    if id.version_and_nonce().is_none() {
        out.extend_from_slice(&version.to_be_bytes());
    }
}

fn take_id_and_version(take: &mut Take<'_>) -> Result<(NodeId, u64)> {
    let id = take.id()?;
    let version = match id.version_and_nonce() {
        Some((version, _)) => version,
        None => take.u64()?,
    };
    Ok((id, version))
}

/// What a parent needs to know of a child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) id: NodeId,
    pub(super) size: u64,
    pub(super) hash: Hash,
    /// Hash of the smallest key below it; `None` when a node on the way to it is missing.
    pub(super) least: Option<Hash>,
}

impl Info {
    pub(super) fn of_leaf(leaf: &Leaf) -> Self {
        Self { id: leaf.id, size: 1, hash: leaf.hash, least: Some(leaf.key_hash) }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.hash);
        // No SHA-256 that anybody will ever see is all zero.
        out.extend_from_slice(&self.least.unwrap_or_default());
    }

    pub(super) fn parse(take: &mut Take<'_>) -> Result<Self> {
        let (id, size, hash) = (take.id()?, take.u64()?, take.array()?);
        let least = take.array()?;
        Ok(Self { id, size, hash, least: (least != Hash::default()).then_some(least) })
    }
}

/// A node that versions up to `version` have, because a root or a parent of theirs names it.
/// Sorted by id, then version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) id: NodeId,
    pub(super) version: u64,
    /// A root names it.
    pub(super) root: bool,
}

impl Mark {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.id.bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.push(u8::from(self.root));
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self> {
        let mut take = Take(record);
        Ok(Self { id: take.id()?, version: take.u64()?, root: take.u8()? != 0 })
    }
}

/// How sure it is that a version of a store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootKind {
    /// A node stands at the root's key. It may be all that pruning left of the version, because
    /// later versions have it as a part of their trees.
    Node,
    /// A reference, an empty tree, or a root of the 0.x form: only a kept version has one.
    Entry,
    /// As `Entry`, and the node that it names can't be read.
    Broken,
}

/// The root of a version. Sorted by version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) version: u64,
    pub(super) legacy: bool,
    pub(super) kind: RootKind,
    pub(super) hash: Hash,
}

impl Root {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.version.to_be_bytes());
        out.push(u8::from(self.legacy));
        out.push(match self.kind {
            RootKind::Node => 0,
            RootKind::Entry => 1,
            RootKind::Broken => 2,
        });
        out.extend_from_slice(&self.hash);
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self> {
        let mut take = Take(record);
        let (version, legacy) = (take.u64()?, take.u8()? != 0);
        let kind = match take.u8()? {
            0 => RootKind::Node,
            1 => RootKind::Entry,
            _ => RootKind::Broken,
        };
        Ok(Self { version, legacy, kind, hash: take.array()? })
    }
}
