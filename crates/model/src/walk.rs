//! Turns physical scans into canonical tables without sorting.
//!
//! A database is scanned in chunks of physical key ranges, in any order and by any number of
//! workers; each chunk gives a [`ChunkTally`]. [`assemble`] joins the tallies of all chunks, in
//! physical order, into the tables of the layout.

use crate::commitment::TableCommitment;
use crate::layout::{Layout, Placement};
use crate::merkle::Hash;
use crate::record::record_bytes;
use crate::tree::{Disorder, Run, RunBuilder, TableAssembler};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Entries of one group that may stand out of order (see
/// [`Placement::Record::ordered_prefix_bytes`]). A block of 4 GiB has 65,536 parts; a group above
/// this is refused rather than held in memory.
pub const GROUP_ENTRIES_MAX: usize = 65_536;

/// Why entries could not be laid out canonically.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// Two entries have one canonical key, or the layout's promise about order doesn't hold.
    #[error(transparent)]
    Disorder(#[from] Disorder),
    /// More than [`GROUP_ENTRIES_MAX`] entries share a prefix.
    #[error("more than {GROUP_ENTRIES_MAX} entries of one group at canonical key {0}")]
    GroupTooLarge(String),
}

/// What one chunk contributes: a run for each (table, stream) that it touches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkTally {
    /// Physical entries, bookkeeping included.
    pub entries: u64,
    /// Physical key and value bytes.
    pub bytes: u64,
    runs: Vec<((usize, u32), Run)>,
}

struct Group {
    prefix: Vec<u8>,
    waiting: Vec<(Vec<u8>, u64, Hash)>,
}

struct Stream {
    builder: RunBuilder,
    group: Option<Group>,
}

impl Stream {
    fn flush(&mut self) -> Result<(), WalkError> {
        if let Some(mut group) = self.group.take() {
            group.waiting.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, bytes, leaf) in group.waiting {
                self.builder.push_leaf(&key, bytes, leaf)?;
            }
        }
        Ok(())
    }
}

/// Lays out the entries of one chunk.
pub struct ChunkWalk<'a> {
    layout: &'a dyn Layout,
    streams: BTreeMap<(usize, u32), Stream>,
    canonical: Vec<u8>,
    entries: u64,
    bytes: u64,
}

impl<'a> ChunkWalk<'a> {
    /// A walk of a chunk under `layout`.
    #[must_use]
    pub fn new(layout: &'a dyn Layout) -> Self {
        Self { layout, streams: BTreeMap::new(), canonical: Vec::new(), entries: 0, bytes: 0 }
    }

    /// Takes the next entry of the physical scan.
    ///
    /// # Errors
    /// [`WalkError`] when canonical order doesn't come out of it.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), WalkError> {
        self.entries += 1;
        self.bytes += record_bytes(key, value);
        let Placement::Record { table, stream, ordered_prefix_bytes } =
            self.layout.place(key, value, &mut self.canonical)
        else {
            return Ok(());
        };
        let canonical = &self.canonical;
        let slot = self.streams.entry((table, stream)).or_insert_with(|| Stream {
            builder: RunBuilder::new(&self.layout.tables()[table].name),
            group: None,
        });
        let Some(prefix_bytes) = ordered_prefix_bytes else {
            slot.flush()?;
            return Ok(slot.builder.push(canonical, value)?);
        };
        let prefix = &canonical[..prefix_bytes.min(canonical.len())];
        if slot.group.as_ref().is_some_and(|group| group.prefix != prefix) {
            slot.flush()?;
        }
        let group = slot
            .group
            .get_or_insert_with(|| Group { prefix: prefix.to_vec(), waiting: Vec::new() });
        if group.waiting.len() >= GROUP_ENTRIES_MAX {
            return Err(WalkError::GroupTooLarge(hex::encode(canonical)));
        }
        let leaf = slot.builder.leaf(canonical, value);
        group.waiting.push((canonical.clone(), record_bytes(canonical, value), leaf));
        Ok(())
    }

    /// The chunk's tally.
    ///
    /// # Errors
    /// [`WalkError`] when the last group holds a duplicate.
    pub fn finish(self) -> Result<ChunkTally, WalkError> {
        let mut runs = Vec::with_capacity(self.streams.len());
        for (slot, mut stream) in self.streams {
            stream.flush()?;
            runs.push((slot, stream.builder.finish()));
        }
        Ok(ChunkTally { entries: self.entries, bytes: self.bytes, runs })
    }
}

/// Joins the tallies of a database's chunks, one after another in physical order, into its
/// tables.
///
/// Memory: the finished segments (about one a MiB of data) and, for each stream, the leaves
/// before its first cut.
pub struct Assembly<'a> {
    layout: &'a dyn Layout,
    by_slot: BTreeMap<(usize, u32), Run>,
}

impl<'a> Assembly<'a> {
    /// The tables of `layout`, still empty.
    #[must_use]
    pub fn new(layout: &'a dyn Layout) -> Self {
        Self { layout, by_slot: BTreeMap::new() }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`WalkError::Disorder`] when it doesn't follow the one before it.
    pub fn push(&mut self, tally: ChunkTally) -> Result<(), WalkError> {
        for (slot, run) in tally.runs {
            match self.by_slot.entry(slot) {
                Entry::Vacant(vacant) => {
                    vacant.insert(run);
                }
                Entry::Occupied(mut joined) => {
                    let table = &self.layout.tables()[slot.0].name;
                    joined.get_mut().join(run, table)?;
                }
            }
        }
        Ok(())
    }

    /// The tables, in the layout's order, also those without records.
    ///
    /// # Errors
    /// [`WalkError::Disorder`] when the layout's order doesn't hold across streams.
    pub fn finish(self) -> Result<Vec<TableCommitment>, WalkError> {
        let mut assemblers: Vec<TableAssembler> = self
            .layout
            .tables()
            .iter()
            .map(|table| TableAssembler::new(table.name.clone()))
            .collect();
        for ((table, _stream), run) in self.by_slot {
            assemblers[table].append(run)?;
        }
        Ok(assemblers.into_iter().map(TableAssembler::finish).collect())
    }
}

/// Joins the tallies of all chunks of a database, given in physical order, into its tables.
///
/// # Errors
/// [`WalkError::Disorder`] when the chunks overlap, or the layout's order doesn't hold across
/// them.
pub fn assemble(
    layout: &dyn Layout,
    tallies: impl IntoIterator<Item = ChunkTally>,
) -> Result<Vec<TableCommitment>, WalkError> {
    let mut assembly = Assembly::new(layout);
    for tally in tallies {
        assembly.push(tally)?;
    }
    assembly.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::RawLayout;
    use crate::record::TableName;

    #[test]
    fn an_unsorted_scan_is_refused() {
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let mut walk = ChunkWalk::new(&layout);
        walk.push(b"b", b"").unwrap();
        assert!(matches!(walk.push(b"a", b""), Err(WalkError::Disorder(_))));
        assert!(matches!(walk.push(b"b", b""), Err(WalkError::Disorder(_))));
    }

    #[test]
    fn a_table_without_entries_is_listed() {
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let tables = assemble(&layout, []).unwrap();
        assert_eq!(tables, [TableCommitment::empty(TableName::new("raw").unwrap())]);
    }
}
