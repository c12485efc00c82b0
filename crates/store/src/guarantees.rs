//! What a store can do, and what it promises about it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Optional abilities of a store. An operation of an undeclared one answers
/// [`crate::Kind::Unsupported`]; reading (get, cursor, split points) is not optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// [`crate::Store::write`] takes batches of puts and deletes.
    pub write: bool,
    /// [`crate::Store::bulk_load`] takes sorted chunks.
    pub bulk_load: bool,
}

/// What a reader sees while somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A snapshot may see later writes.
    None,
    /// A snapshot never changes.
    Snapshot,
}

/// Which processes may open one directory at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Processes {
    /// One process, reader or writer.
    One,
    /// One writer and any number of readers.
    ReadersBesideOneWriter,
}

/// What a store promises. The contract suite attacks each promise that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantees {
    /// A batch is applied whole or not at all, also across a crash.
    pub atomic_batch: bool,
    /// What was written with [`crate::Durability::Synced`] survives a power cut.
    pub durable_sync: bool,
    /// After a crash the writes that survive are a prefix of those made.
    pub ordered_writes: bool,
    /// Stored bytes carry checksums that are verified when read.
    pub checksummed: bool,
    /// What a snapshot sees.
    pub isolation: Isolation,
    /// Which processes may share the directory.
    pub processes: Processes,
    /// Longest key that can be stored.
    pub key_bytes_max: usize,
    /// Longest value that can be stored.
    pub value_bytes_max: usize,
}

/// A promise that one store makes and another doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weakness {
    /// Batches may be torn.
    AtomicBatch,
    /// A sync may be lost in a power cut.
    DurableSync,
    /// Surviving writes may have gaps.
    OrderedWrites,
    /// Damaged bytes may be served.
    Checksummed,
    /// Snapshots may change.
    Isolation,
    /// Fewer processes may share the directory.
    Processes,
}

impl Weakness {
    /// All of them.
    pub const ALL: [Weakness; 6] = [
        Weakness::AtomicBatch,
        Weakness::DurableSync,
        Weakness::OrderedWrites,
        Weakness::Checksummed,
        Weakness::Isolation,
        Weakness::Processes,
    ];

    /// The name that `--accept-weaker` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Weakness::AtomicBatch => "atomic-batch",
            Weakness::DurableSync => "durable-sync",
            Weakness::OrderedWrites => "ordered-writes",
            Weakness::Checksummed => "checksummed",
            Weakness::Isolation => "isolation",
            Weakness::Processes => "processes",
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Guarantees {
    /// Which promises these are, by their names.
    #[must_use]
    pub fn promises(&self) -> Vec<Weakness> {
        let makes = |promise: &Weakness| match promise {
            Weakness::AtomicBatch => self.atomic_batch,
            Weakness::DurableSync => self.durable_sync,
            Weakness::OrderedWrites => self.ordered_writes,
            Weakness::Checksummed => self.checksummed,
            Weakness::Isolation => self.isolation == Isolation::Snapshot,
            Weakness::Processes => self.processes == Processes::ReadersBesideOneWriter,
        };
        Weakness::ALL.into_iter().filter(makes).collect()
    }

    /// Which promises of `self` the `target` doesn't make.
    #[must_use]
    pub fn weaknesses_of(&self, target: &Guarantees) -> Vec<Weakness> {
        let mut weaknesses = Vec::new();
        let mut compare = |weaker: bool, weakness| {
            if weaker {
                weaknesses.push(weakness);
            }
        };
        compare(self.atomic_batch && !target.atomic_batch, Weakness::AtomicBatch);
        compare(self.durable_sync && !target.durable_sync, Weakness::DurableSync);
        compare(self.ordered_writes && !target.ordered_writes, Weakness::OrderedWrites);
        compare(self.checksummed && !target.checksummed, Weakness::Checksummed);
        compare(self.isolation > target.isolation, Weakness::Isolation);
        compare(self.processes > target.processes, Weakness::Processes);
        weaknesses
    }
}
