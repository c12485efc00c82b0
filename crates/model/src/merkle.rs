//! The RFC 6962 Merkle tree over SHA-256: leaf and node hashes, an append-only frontier that
//! keeps O(log n) hashes, and inclusion proofs.
//!
//! Source: RFC 6962 section 2.1 (leaf prefix 00, node prefix 01, empty tree = SHA-256 of the
//! empty string, split at the largest power of two below n).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 output.
pub type Hash = [u8; 32];

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// `SHA-256(00 || data)`.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(data);
    hasher.finalize().into()
}

/// `SHA-256(01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [0; 65];
    block[0] = 1;
    block[1..33].copy_from_slice(left);
    block[33..].copy_from_slice(right);
    sha256(&block)
}

/// The root of a tree without leaves: `SHA-256("")`.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The roots of the perfect subtrees of an append-only tree, largest first.
///
/// One hash for each set bit of the leaf count, so a tree of 2^63 leaves needs 63 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    leaves: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves were pushed.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends one leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.subtrees.push(node);
        self.leaves += 1;
    }

    /// The tree's root; [`empty_root`] when nothing was pushed.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        match subtrees.next() {
            None => empty_root(),
            Some(last) => subtrees.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The root over `leaves` (already leaf hashes).
#[must_use]
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.push(leaf);
    }
    frontier.root()
}

/// The inclusion path of `leaves[index]`, deepest sibling first (RFC 6962 section 2.1.1).
///
/// `None` when `index` is outside the tree.
#[must_use]
pub fn inclusion_path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut low, mut high) = (0, leaves.len());
    while high - low > 1 {
        let split = low + largest_power_of_two_below(high - low);
        if index < split {
            path.push(root_of(leaves[split..high].iter().copied()));
            high = split;
        } else {
            path.push(root_of(leaves[low..split].iter().copied()));
            low = split;
        }
    }
    path.reverse();
    Some(path)
}

/// Recomputes the root that an inclusion path claims (RFC 9162 section 2.1.3.2).
///
/// `None` when the path's length doesn't fit a tree of `size` leaves or `index >= size`.
#[must_use]
pub fn root_from_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

fn largest_power_of_two_below(n: usize) -> usize {
    debug_assert!(n > 1);
    1 << (usize::BITS - 1 - (n - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_published_vectors_of_rfc_6962_are_met() {
        // The empty root and the one-leaf tree of certificate-transparency's test vectors.
        assert_eq!(
            hex::encode(empty_root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex::encode(leaf_hash(&[])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        let inputs: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
        let root = root_of(inputs.map(leaf_hash));
        assert_eq!(
            hex::encode(root),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
    }

    #[test]
    fn every_path_of_small_trees_leads_to_the_root_and_no_other_index_does() {
        for n in 1..40 {
            let leaves = leaves(n);
            let root = root_of(leaves.iter().copied());
            for index in 0..n {
                let path = inclusion_path(&leaves, index).unwrap();
                let size = n as u64;
                assert_eq!(root_from_path(leaves[index], index as u64, size, &path), Some(root));
                for other in (0..n).filter(|other| *other != index) {
                    assert_ne!(
                        root_from_path(leaves[index], other as u64, size, &path),
                        Some(root)
                    );
                }
            }
        }
    }

    #[test]
    fn a_path_of_the_wrong_length_has_no_root() {
        let leaves = leaves(5);
        let mut path = inclusion_path(&leaves, 1).unwrap();
        path.push(leaves[0]);
        assert_eq!(root_from_path(leaves[1], 1, 5, &path), None);
        path.truncate(2);
        assert_eq!(root_from_path(leaves[1], 1, 5, &path), None);
    }
}
