//! A tree's root hash, rebuilt from its exported nodes.

use super::item::ExportedNode;
use crate::iavl::node::{HASH_BYTES, HEIGHT_MAX, empty_tree_hash, inner_hash, leaf_hash};
use sha2::{Digest as _, Sha256};

/// Subtrees that can wait for a parent at once: in a tree of height 127 one on each level, and the
/// leaf that came last.
const WAITING_MAX: usize = HEIGHT_MAX as usize + 2;

/// A subtree that waits for its parent.
#[derive(Debug)]
struct Subtree {
    height: u8,
    size: u64,
    hash: [u8; HASH_BYTES],
    /// Its smallest key.
    least: Vec<u8>,
}

/// Takes the nodes of one tree, children before parents and left before right.
///
/// Sources: cosmos/iavl `export.go` (the order) and `import.go` (each inner node takes the two
/// subtrees that were finished last).
#[derive(Debug, Default)]
pub struct Rebuilding {
    waiting: Vec<Subtree>,
    nodes: u64,
}

/// Why nodes are no tree.
pub type NoTree = &'static str;

impl Rebuilding {
    /// Nodes taken.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Takes the next node of a tree that was exported at `version`.
    ///
    /// # Errors
    /// [`NoTree`] when it is newer than the version, when an inner node hasn't two children of
    /// lesser height, or has a key that isn't the smallest of its right side: no hash covers that
    /// key, and lookups follow it.
    pub fn take(&mut self, node: &ExportedNode<'_>, version: u64) -> Result<(), NoTree> {
        self.nodes += 1;
        if node.version > version {
            return Err("a node is of a later version than the snapshot");
        }
        if node.height == 0 {
            if self.waiting.len() >= WAITING_MAX {
                return Err("more subtrees without a parent than a tree has levels");
            }
            let value_hash = Sha256::digest(node.value).into();
            let hash = leaf_hash(node.version, node.key, &value_hash);
            self.waiting.push(Subtree { height: 0, size: 1, hash, least: node.key.to_vec() });
            return Ok(());
        }
        let (Some(right), Some(left)) = (self.waiting.pop(), self.waiting.pop()) else {
            return Err("an inner node comes before its children");
        };
        if left.height.max(right.height) + 1 != node.height {
            return Err("an inner node's height isn't that of its children and one");
        }
        if node.key != right.least {
            return Err("an inner node's key isn't the smallest key of its right side");
        }
        let size = left.size + right.size;
        let hash = inner_hash(node.height, size, node.version, &left.hash, &right.hash);
        self.waiting.push(Subtree { height: node.height, size, hash, least: left.least });
        Ok(())
    }

    /// The hash of the root; that of the empty tree when there was no node.
    ///
    /// # Errors
    /// [`NoTree`] when more than one subtree is left.
    pub fn root(mut self) -> Result<[u8; HASH_BYTES], NoTree> {
        match (self.waiting.pop(), self.waiting.is_empty()) {
            (None, _) => Ok(empty_tree_hash()),
            (Some(root), true) => Ok(root.hash),
            (Some(_), false) => Err("nodes end before their parents"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(key: &'static [u8]) -> ExportedNode<'static> {
        ExportedNode { height: 0, version: 5, key, value: b"value" }
    }

    fn inner(height: u8, key: &'static [u8]) -> ExportedNode<'static> {
        ExportedNode { height, version: 5, key, value: b"" }
    }

    fn root(nodes: &[ExportedNode<'_>]) -> Result<[u8; 32], NoTree> {
        let mut tree = Rebuilding::default();
        nodes.iter().try_for_each(|node| tree.take(node, 5))?;
        tree.root()
    }

    #[test]
    fn the_root_follows_from_the_leaves() {
        let value = Sha256::digest(b"value").into();
        let hash = |key: &[u8]| leaf_hash(5, key, &value);
        assert_eq!(root(&[]), Ok(empty_tree_hash()));
        assert_eq!(root(&[leaf(b"a")]), Ok(hash(b"a")));
        let right = inner_hash(1, 2, 5, &hash(b"b"), &hash(b"c"));
        let whole = inner_hash(2, 3, 5, &hash(b"a"), &right);
        let nodes = [leaf(b"a"), leaf(b"b"), leaf(b"c"), inner(1, b"c"), inner(2, b"b")];
        assert_eq!(root(&nodes), Ok(whole));
    }

    #[test]
    fn nodes_that_are_no_tree_are_refused() {
        for nodes in [
            vec![inner(1, b"b")],
            vec![leaf(b"a"), inner(1, b"b")],
            vec![leaf(b"a"), leaf(b"b")],
            vec![leaf(b"a"), leaf(b"b"), inner(2, b"b")],
            vec![leaf(b"a"), leaf(b"b"), inner(1, b"a")],
            vec![ExportedNode { version: 6, ..leaf(b"a") }],
            vec![leaf(b"a"); 1_000],
        ] {
            assert!(root(&nodes).is_err(), "{nodes:?}");
        }
    }

    #[test]
    fn no_more_subtrees_wait_than_a_tree_has_levels() {
        let mut tree = Rebuilding::default();
        while tree.take(&leaf(b"a"), 5).is_ok() {}
        assert_eq!(tree.waiting.len(), WAITING_MAX);
    }
}
