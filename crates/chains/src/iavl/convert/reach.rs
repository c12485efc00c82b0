//! Which nodes some version has. Only for stores in which a node was found that nobody names.

use super::{Tree, Work};
use crate::iavl::node::Node;
use crate::iavl::reached::{Trees, Visitor};
use transload_store::Result;

/// One bit a node, by its place: 12 MB for a hundred million nodes.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn new(count: u64) -> Self {
        Self(vec![0; usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX)])
    }

    pub(super) fn get(&self, place: u64) -> bool {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (place % 64) & 1 == 1)
    }
}

struct Reach<'a> {
    bits: Bits,
    work: &'a Work<'a>,
}

impl Visitor for Reach<'_> {
    fn leaf(&mut self, _: &Node<'_>, _: &[u8], _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn reached(&mut self, place: u64, _: Option<&[u8]>) -> Result<()> {
        // Places of 1.x nodes come after those of 0.x nodes and aren't asked for.
        let word = usize::try_from(place / 64).ok().and_then(|word| self.bits.0.get_mut(word));
        if let Some(word) = word {
            *word |= 1 << (place % 64);
        }
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.work.advance(bytes)
    }
}

/// Whether the nodes of the 0.x form, `count` of them, are reached from a root or from a node of
/// the 1.x form.
pub(super) fn reached(tree: &Tree<'_>, count: u64) -> Result<Bits> {
    let trees = Trees {
        source: tree.source,
        scratch: tree.scratch,
        memory_bytes_max: tree.memory_bytes_max,
        name: &tree.name,
        prefix: &tree.prefix,
        new_form_stays: true,
        first_version: 0,
    };
    let mut reach = Reach { bits: Bits::new(count), work: tree.work };
    trees.visit(&mut reach)?;
    Ok(reach.bits)
}
