//! What the stream of one snapshot holds: the roots of its stores, and how much of extensions.

use super::chunks::Chunks;
use super::item::Item;
use super::judge::RebuiltStore;
use super::record::SnapshotId;
use super::stream::{Fault, Items};
use super::tree::Rebuilding;
use transload_model::report::printable_key;

/// Stores and extensions of one snapshot; chains have some tens.
const STORES_MAX: usize = 10_000;

/// What a stream holds.
#[derive(Default)]
pub(super) struct Contents {
    /// By name.
    pub(super) stores: Vec<RebuiltStore>,
    /// By name.
    pub(super) extensions: Vec<Extension>,
    pub(super) nodes: u64,
}

/// What an extension has put into a snapshot.
pub(super) struct Extension {
    raw_name: Vec<u8>,
    /// Its name for people.
    pub(super) name: String,
    /// Of all its payloads.
    pub(super) bytes: u64,
}

impl Contents {
    /// Reads a stream to its end; what is wrong with it. Failures to read stay with the source.
    pub(super) fn read(
        &mut self,
        items: &mut Items<Chunks<'_>>,
        id: SnapshotId,
    ) -> std::result::Result<(), String> {
        let mut tree: Option<(Vec<u8>, Rebuilding)> = None;
        loop {
            let number = items.items();
            let item = match items.next() {
                Ok(item) => item,
                Err(fault @ Fault::Broken { .. }) => return Err(fault.to_string()),
                Err(Fault::Read(_)) => return Ok(()),
            };
            let wrong = |what: &str| Err(format!("after {number} items: {what}"));
            match item {
                Some(Item::Node(node)) => {
                    let Some((store, tree)) = &mut tree else {
                        return wrong("a node that belongs to no store");
                    };
                    self.nodes += 1;
                    if let Err(what) = tree.take(&node, id.height) {
                        return wrong(&format!("store {}: {what}", printable_key(store)));
                    }
                    continue;
                }
                Some(Item::Payload(payload)) => {
                    let Some(extension) = self.extensions.last_mut() else {
                        return wrong("a payload that belongs to no extension");
                    };
                    extension.bytes += payload.len() as u64;
                    continue;
                }
                _ => {}
            }
            if let Some((name, tree)) = tree.take() {
                match tree.root() {
                    Ok(root) => self.stores.push(RebuiltStore { name, root }),
                    Err(what) => return wrong(&format!("store {}: {what}", printable_key(&name))),
                }
            }
            match item {
                Some(Item::Store(name)) => {
                    if !self.extensions.is_empty() {
                        return wrong("a store after an extension");
                    }
                    if self.stores.last().is_some_and(|last| last.name.as_slice() >= name) {
                        return wrong("stores that aren't in the order of their names");
                    }
                    tree = Some((name.to_vec(), Rebuilding::default()));
                }
                Some(Item::Extension { name, .. }) => {
                    if self.extensions.last().is_some_and(|last| last.raw_name.as_slice() >= name) {
                        return wrong("extensions that aren't in the order of their names");
                    }
                    let raw_name = name.to_vec();
                    let name = printable_key(name);
                    self.extensions.push(Extension { raw_name, name, bytes: 0 });
                }
                _ => return Ok(()),
            }
            if self.stores.len() + self.extensions.len() > STORES_MAX {
                return wrong("more stores than any chain has");
            }
        }
    }
}
