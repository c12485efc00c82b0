//! Builds a table's segments from records that several workers read.
//!
//! A worker turns any stretch of a table into a [`Run`]; a [`TableAssembler`] takes the runs in
//! canonical order. Cuts follow from the records alone, so the result doesn't depend on how the
//! table was divided (property-tested in `tests/tree.rs`).

use crate::commitment::{Segment, TableCommitment};
use crate::merkle::{Frontier, Hash};
use crate::record::{RecordHasher, TableName, cuts_after, record_bytes};
use serde::{Deserialize, Serialize};

/// Records that don't follow one another in canonical key order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "canonical key {} of table {table} doesn't come after {}",
    hex::encode(key),
    hex::encode(previous)
)]
pub struct Disorder {
    /// The table.
    pub table: TableName,
    /// The last key in order.
    pub previous: Vec<u8>,
    /// The key that isn't greater; equal to `previous` for a duplicate.
    pub key: Vec<u8>,
}

/// The records since the last cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OpenSegment {
    first_key: Vec<u8>,
    records: u64,
    bytes: u64,
    frontier: Frontier,
}

impl OpenSegment {
    fn push(&mut self, key: &[u8], bytes: u64, leaf: Hash) {
        if self.records == 0 {
            self.first_key = key.to_vec();
        }
        self.records += 1;
        self.bytes += bytes;
        self.frontier.push(leaf);
    }

    fn close(&mut self) -> Segment {
        let open = std::mem::take(self);
        Segment {
            records: open.records,
            bytes: open.bytes,
            root: open.frontier.root(),
            first_key: open.first_key,
        }
    }
}

/// A stretch of one table's records, in canonical order, hashed but not yet placed.
///
/// Up to its first cut it keeps every leaf (a worker can't know where the segment that it
/// starts in began), so its memory is at most 32 bytes a record of the stretch; after it,
/// only finished segments and one frontier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    keys: Option<(Vec<u8>, Vec<u8>)>,
    head: Vec<Hash>,
    head_bytes: u64,
    head_closed: bool,
    segments: Vec<Segment>,
    tail: OpenSegment,
}

impl Run {
    /// How many records the stretch has.
    #[must_use]
    pub fn records(&self) -> u64 {
        let closed: u64 = self.segments.iter().map(|segment| segment.records).sum();
        self.head.len() as u64 + closed + self.tail.records
    }

    /// Key and value bytes of the stretch.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let closed: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        self.head_bytes + closed + self.tail.bytes
    }

    /// Appends the stretch that follows in the same `table`. Of the leaves before a first cut
    /// only those of the joined run stay in memory.
    ///
    /// # Errors
    /// [`Disorder`] when `next` doesn't begin after this run's last key; nothing is appended
    /// then.
    pub fn join(&mut self, next: Run, table: &TableName) -> Result<(), Disorder> {
        let Some((first, last)) = next.keys else { return Ok(()) };
        match &mut self.keys {
            None => self.keys = Some((first.clone(), last)),
            Some((_, previous)) if *previous >= first => {
                return Err(Disorder {
                    table: table.clone(),
                    previous: previous.clone(),
                    key: first,
                });
            }
            Some((_, previous)) => *previous = last,
        }
        if !self.head_closed {
            self.head.extend(next.head);
            self.head_bytes += next.head_bytes;
            self.head_closed = next.head_closed;
            self.segments = next.segments;
            self.tail = next.tail;
            return Ok(());
        }
        for leaf in next.head {
            self.tail.push(&first, 0, leaf);
        }
        self.tail.bytes += next.head_bytes;
        if next.head_closed {
            let segment = self.tail.close();
            self.segments.push(segment);
            self.segments.extend(next.segments);
            self.tail = next.tail;
        }
        Ok(())
    }
}

/// Makes one [`Run`].
#[derive(Clone, Debug)]
pub struct RunBuilder {
    table: TableName,
    hasher: RecordHasher,
    run: Run,
}

impl RunBuilder {
    /// A run of `table`'s records.
    #[must_use]
    pub fn new(table: &TableName) -> Self {
        let run = Run {
            keys: None,
            head: Vec::new(),
            head_bytes: 0,
            head_closed: false,
            segments: Vec::new(),
            tail: OpenSegment::default(),
        };
        Self { table: table.clone(), hasher: RecordHasher::new(table), run }
    }

    /// The leaf of a record of this table.
    #[must_use]
    pub fn leaf(&self, key: &[u8], value: &[u8]) -> Hash {
        self.hasher.leaf(key, value)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// [`Disorder`] when `key` isn't greater than the last one; nothing is appended then.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), Disorder> {
        let leaf = self.hasher.leaf(key, value);
        self.push_leaf(key, record_bytes(key, value), leaf)
    }

    /// Appends a record whose leaf is known.
    ///
    /// # Errors
    /// As [`RunBuilder::push`].
    pub fn push_leaf(&mut self, key: &[u8], bytes: u64, leaf: Hash) -> Result<(), Disorder> {
        match &mut self.run.keys {
            None => self.run.keys = Some((key.to_vec(), key.to_vec())),
            Some((_, last)) if last.as_slice() < key => {
                last.clear();
                last.extend_from_slice(key);
            }
            Some((_, last)) => {
                return Err(Disorder {
                    table: self.table.clone(),
                    previous: last.clone(),
                    key: key.to_vec(),
                });
            }
        }
        let cut = cuts_after(&leaf, bytes);
        if self.run.head_closed {
            self.run.tail.push(key, bytes, leaf);
            if cut {
                let segment = self.run.tail.close();
                self.run.segments.push(segment);
            }
        } else {
            self.run.head.push(leaf);
            self.run.head_bytes += bytes;
            self.run.head_closed = cut;
        }
        Ok(())
    }

    /// The finished run.
    #[must_use]
    pub fn finish(self) -> Run {
        self.run
    }
}

/// Joins runs, in canonical order, into a table.
#[derive(Clone, Debug)]
pub struct TableAssembler {
    name: TableName,
    last_key: Option<Vec<u8>>,
    segments: Vec<Segment>,
    open: OpenSegment,
    records: u64,
    bytes: u64,
}

impl TableAssembler {
    /// An empty table.
    #[must_use]
    pub fn new(name: TableName) -> Self {
        Self {
            name,
            last_key: None,
            segments: Vec::new(),
            open: OpenSegment::default(),
            records: 0,
            bytes: 0,
        }
    }

    /// Appends the next stretch.
    ///
    /// # Errors
    /// [`Disorder`] when the run doesn't begin after the last key; nothing is appended then.
    pub fn append(&mut self, run: Run) -> Result<(), Disorder> {
        let (records, bytes) = (run.records(), run.bytes());
        let Some((first, last)) = run.keys else { return Ok(()) };
        if let Some(previous) = &self.last_key
            && *previous >= first
        {
            return Err(Disorder {
                table: self.name.clone(),
                previous: previous.clone(),
                key: first,
            });
        }
        self.records += records;
        self.bytes += bytes;
        for leaf in run.head {
            self.open.push(&first, 0, leaf);
        }
        self.open.bytes += run.head_bytes;
        if run.head_closed {
            let segment = self.open.close();
            self.segments.push(segment);
            self.segments.extend(run.segments);
            self.open = run.tail;
        }
        self.last_key = Some(last);
        Ok(())
    }

    /// The table; the last segment ends here without a cut.
    #[must_use]
    pub fn finish(mut self) -> TableCommitment {
        if self.open.records > 0 {
            let segment = self.open.close();
            self.segments.push(segment);
        }
        TableCommitment {
            name: self.name,
            records: self.records,
            bytes: self.bytes,
            segments: self.segments,
        }
    }
}
