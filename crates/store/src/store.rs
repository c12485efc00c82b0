//! The traits: store, snapshot, cursor, writer, bulk load. All object-safe.

use crate::{Capabilities, Error, Guarantees, KeyRange, Result};
use std::ops::ControlFlow;
use std::sync::Arc;
use transload_model::engine::Engine;

/// One ordered keyspace of byte keys and values, in `memcmp` order of its keys.
pub trait Store: Send + Sync {
    /// Which engine's format this is.
    fn engine(&self) -> Engine;

    /// The engine's own version or format version, for reports (such as `format 13`).
    fn engine_version(&self) -> String;

    /// What the store can do beyond reading.
    fn capabilities(&self) -> Capabilities;

    /// What the store promises.
    fn guarantees(&self) -> Guarantees;

    /// A view that never changes, of everything written before this call.
    ///
    /// # Errors
    /// Those of the engine.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;

    /// Applies a batch, whole or not at all where [`Guarantees::atomic_batch`] is promised.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] without [`Capabilities::write`];
    /// [`crate::Kind::InvalidInput`] for a key or value beyond the store's limits, with nothing
    /// applied; an error with [`crate::Effect::Unknown`] asks for a read-back.
    fn write(&self, _batch: &WriteBatch, _durability: Durability) -> Result<()> {
        Err(Error::unsupported("write", format!("{} takes no batches here", self.engine())))
    }

    /// Begins loading sorted chunks.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] without [`Capabilities::bulk_load`].
    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        Err(Error::unsupported("bulk load", format!("{} has no bulk path here", self.engine())))
    }

    /// Makes everything durable and closes the store. Dropping a store without closing it is
    /// like a crash: only what was synced is promised.
    ///
    /// # Errors
    /// When something may not have become durable.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Takes the answers of [`Snapshot::get_many`]: the place of a key among those asked for, and its
/// value. Whoever holds the values says when it is enough.
pub type TakeValue<'a> = dyn FnMut(usize, Option<Vec<u8>>) -> ControlFlow<()> + 'a;

/// A view of a store that never changes. Shared between threads.
pub trait Snapshot: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// Those of reading; a damaged block is an error, never an absent key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The values of `keys`, given to `take` one by one in the order of the keys, each as
    /// [`Snapshot::get`] answers it, until `take` breaks off. A driver whose engine is far away
    /// answers many keys at once; what it holds meanwhile has a bound of its own, whatever the
    /// number of keys.
    ///
    /// # Errors
    /// As [`Snapshot::get`]; what was given before stands.
    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        for (place, key) in keys.iter().enumerate() {
            if take(place, self.get(key)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// A cursor over `range`, in ascending key order. Use [`crate::Scan`] around it: that one
    /// checks order, makes errors sticky and gives the receipt.
    ///
    /// # Errors
    /// Those of opening files.
    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>>;

    /// Keys that divide `range` into pieces of about `chunk_bytes`, ascending, by sampling the
    /// engine's own metadata; possibly none. Pieces may differ much in size.
    ///
    /// # Errors
    /// Those of reading metadata.
    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>>;

    /// About how many bytes `range` takes on disk.
    ///
    /// # Errors
    /// Those of reading metadata.
    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64>;
}

/// Walks entries in ascending key order.
pub trait Cursor: Send {
    /// The next entry, valid until the next call; `None` only at the real end of the range.
    ///
    /// # Errors
    /// Any failure to read. A driver may answer anything after an error: [`crate::Scan`] makes
    /// errors sticky, so that a failed walk can't look like an ended one.
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>>;
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a key; nothing happens when it isn't there.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// Changes that belong together; later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is written"]
pub struct WriteBatch {
    ops: Vec<WriteOp>,
    bytes: usize,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += key.len() + value.len();
        self.ops.push(WriteOp::Put { key: key.to_vec(), value: value.to_vec() });
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: &[u8]) {
        self.bytes += key.len();
        self.ops.push(WriteOp::Delete { key: key.to_vec() });
    }

    /// The changes in order.
    #[must_use]
    pub fn ops(&self) -> &[WriteOp] {
        &self.ops
    }

    /// Key and value bytes of all changes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Forgets all changes and keeps the memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.bytes = 0;
    }
}

/// What a successful write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut, where the store promises [`Guarantees::durable_sync`].
    Synced,
    /// Survives once a later synced write or `close` has succeeded.
    Buffered,
}

/// Loads sorted chunks, several at a time, in any order.
pub trait BulkLoad: Send + Sync {
    /// Begins a chunk for keys of `range`. No key is in two chunks, except that a chunk may be
    /// loaded again whole (after a crash), with the same entries. Ranges may overlap; what is
    /// loaded in ranges that don't is cheaper to read.
    ///
    /// # Errors
    /// Those of the engine.
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>>;
}

/// One chunk being loaded. Dropped without `commit`: none of it becomes visible.
pub trait ChunkLoad: Send {
    /// Appends an entry; keys strictly increase and lie in the chunk's range.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidInput`] for an unsorted or foreign key; those of the engine.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Makes the chunk visible and durable, whole.
    ///
    /// # Errors
    /// With [`crate::Effect::Unknown`] the chunk must be loaded again.
    fn commit(self: Box<Self>) -> Result<()>;
}
