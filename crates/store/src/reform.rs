//! A change of layout that no single entry tells: where an entry goes follows from others, all
//! over the database.
//!
//! The database as it will be is a [`Snapshot`], made ready from the whole source. Whoever copies
//! it reads it like any other source, so that copying, reading back and resuming stay what they
//! are.
//!
//! Promises of every reform: it is deterministic (made ready again it gives the same entries, so
//! that chunks of an earlier run stay valid); what it can't carry is refused by name, or stands in
//! the notes.

use crate::{Heights, Result, Snapshot, Transform};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use transload_model::commitment::TableCommitment;

/// What a reform may use.
#[derive(Clone, Debug)]
pub struct ReformOptions {
    /// An existing, empty folder for scratch files, with room for about twice the database.
    pub scratch_dir: PathBuf,
    /// Memory for all workers, in bytes.
    pub memory_bytes_max: u64,
    /// Threads.
    pub workers: usize,
}

/// A database as it will be.
pub struct Reformed {
    /// Its entries.
    pub snapshot: Arc<dyn Snapshot>,
    /// What a person should know: what was left out, and how much of it.
    pub notes: Vec<String>,
    /// The entries that were left out, where leaving them out was asked for.
    pub left_out: Option<GoneEntries>,
}

/// Entries that a reform leaves out.
pub struct GoneEntries {
    /// They and no others.
    pub snapshot: Arc<dyn Snapshot>,
    /// The heights that they are of, by the table in the layout.
    pub heights: BTreeMap<usize, Heights>,
}

/// Which side of a reform is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The database as it was.
    Before,
    /// The database as it will be.
    After,
}

/// A change of a database through a view of the whole.
pub trait Reform: Send + Sync + fmt::Debug {
    /// What it is, and in which version; it leads to the layout that comes out of it, by its id.
    fn transform(&self) -> Transform;

    /// What an operator should know of the software that will have the new layout, if anything.
    fn caution(&self) -> Option<&str> {
        None
    }

    /// Makes the database as it will be ready. `progress` is told (done, total) of about how many
    /// bytes; when it answers false the work stops.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] for what contradicts itself and [`crate::Kind::Unsupported`] for
    /// what can't be carried, both with the key; [`crate::Kind::Cancelled`]; those of reading.
    fn reform(
        &self,
        source: Arc<dyn Snapshot>,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Reformed>;

    /// What the database says that the reform must not change, on this side of it: equal before
    /// and after.
    ///
    /// # Errors
    /// As [`Reform::reform`].
    fn meaning(
        &self,
        snapshot: &dyn Snapshot,
        side: Side,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<TableCommitment>;
}
