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

use crate::{Result, Snapshot};
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
}

/// A change of a database's layout through a view of the whole.
pub trait Reform: Send + Sync + fmt::Debug {
    /// The layout that comes out of it, by its id.
    fn layout(&self) -> &'static str;

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

    /// What the database says whichever of both layouts it has: equal before and after.
    ///
    /// # Errors
    /// As [`Reform::reform`].
    fn meaning(
        &self,
        snapshot: &dyn Snapshot,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<TableCommitment>;
}
