//! Sorts any number of records in bounded memory.
//!
//! Records are compared as bytes (`memcmp`), whole; duplicates are kept. What doesn't fit the
//! memory limit goes to sorted runs, which are merged when they are read.

use super::spool::{READ_BYTES_MAX, READ_BYTES_MIN};
use super::{Scratch, Sequence, Spool, SpoolReader, Spooled, check_record};
use crate::Result;

/// Runs merged at a time. With 64 runs of 64 MiB one merge sorts 4 GiB; beyond that, runs are
/// merged into longer ones first.
const FAN_IN_MAX: usize = 64;

/// Bytes that the index holds for each record, beside the record's own.
const INDEX_BYTES: usize = size_of::<Place>();

/// The arena is addressed with 32 bits.
const ARENA_BYTES_MAX: usize = u32::MAX as usize;

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The record's first eight bytes: most comparisons end here.
    prefix: u64,
    start: u32,
    length: u32,
}

impl Place {
    fn of<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        &arena[start..start + self.length as usize]
    }
}

fn prefix(record: &[u8]) -> u64 {
    let mut first = [0; 8];
    let held = record.len().min(8);
    first[..held].copy_from_slice(&record[..held]);
    u64::from_be_bytes(first)
}

/// Takes records in any order.
#[derive(Debug)]
pub struct Sorter<'a> {
    scratch: &'a Scratch,
    memory_bytes_max: usize,
    arena: Vec<u8>,
    index: Vec<Place>,
    runs: Vec<Spooled>,
    records: u64,
}

impl<'a> Sorter<'a> {
    /// An empty sorter that holds about `memory_bytes_max` in memory.
    #[must_use]
    pub fn new(scratch: &'a Scratch, memory_bytes_max: usize) -> Self {
        Self {
            scratch,
            memory_bytes_max,
            arena: Vec::new(),
            index: Vec::new(),
            runs: Vec::new(),
            records: 0,
        }
    }

    /// How many records were added.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of writing scratch files; [`crate::Kind::Limit`] for a record beyond
    /// [`super::RECORD_BYTES_MAX`].
    pub fn push(&mut self, record: &[u8]) -> Result<()> {
        let length = check_record(record)?;
        let held = self.arena.len() + self.index.len() * INDEX_BYTES;
        let beyond = held + record.len() + INDEX_BYTES > self.memory_bytes_max
            || self.arena.len() + record.len() > ARENA_BYTES_MAX;
        if beyond && !self.index.is_empty() {
            self.spill()?;
        }
        let start = u32::try_from(self.arena.len()).unwrap_or(u32::MAX);
        self.arena.extend_from_slice(record);
        self.index.push(Place { prefix: prefix(record), start, length });
        self.records += 1;
        Ok(())
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.index.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| a.of(arena).cmp(b.of(arena)))
        });
    }

    fn spill(&mut self) -> Result<()> {
        self.sort();
        let mut run = Spool::new(self.scratch, READ_BYTES_MAX.min(self.memory_bytes_max));
        for place in &self.index {
            run.push(place.of(&self.arena))?;
        }
        self.runs.push(run.finish()?);
        self.arena.clear();
        self.index.clear();
        Ok(())
    }

    /// No more records; what was added comes back in order.
    ///
    /// # Errors
    /// Those of writing and reading scratch files.
    pub fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(Sorted(Held::Memory { arena: self.arena, index: self.index, at: 0 }));
        }
        self.spill()?;
        self.arena = Vec::new();
        self.index = Vec::new();
        while self.runs.len() > FAN_IN_MAX {
            let rest = self.runs.split_off(FAN_IN_MAX);
            let first = std::mem::replace(&mut self.runs, rest);
            let mut merge = Merge::new(&first, self.buffer())?;
            let mut run = Spool::new(self.scratch, READ_BYTES_MAX.min(self.memory_bytes_max));
            while let Some(record) = merge.current() {
                run.push(record)?;
                merge.advance()?;
            }
            self.runs.push(run.finish()?);
        }
        let buffer = self.buffer();
        Ok(Sorted(Held::Runs(Merge::new(&self.runs, buffer)?)))
    }

    fn buffer(&self) -> usize {
        (self.memory_bytes_max / (FAN_IN_MAX + 1)).clamp(READ_BYTES_MIN, READ_BYTES_MAX)
    }
}

/// Sorted records.
#[derive(Debug)]
pub struct Sorted(Held);

#[derive(Debug)]
enum Held {
    Memory { arena: Vec<u8>, index: Vec<Place>, at: usize },
    Runs(Merge),
}

impl Sequence for Sorted {
    fn current(&self) -> Option<&[u8]> {
        match &self.0 {
            Held::Memory { arena, index, at } => index.get(*at).map(|place| place.of(arena)),
            Held::Runs(merge) => merge.current(),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match &mut self.0 {
            Held::Memory { at, .. } => {
                *at += 1;
                Ok(())
            }
            Held::Runs(merge) => merge.advance(),
        }
    }
}

/// Merges sorted runs: a binary heap of readers, the least record on top.
#[derive(Debug)]
struct Merge {
    heap: Vec<SpoolReader>,
}

impl Merge {
    fn new(runs: &[Spooled], buffer_bytes: usize) -> Result<Self> {
        let mut merge = Self { heap: Vec::with_capacity(runs.len()) };
        for run in runs {
            let reader = run.reader(buffer_bytes)?;
            if reader.current().is_some() {
                merge.heap.push(reader);
            }
        }
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sink(at);
        }
        Ok(merge)
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len()
                    && self.heap[child].current() < self.heap[least].current()
                {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn current(&self) -> Option<&[u8]> {
        self.heap.first().and_then(SpoolReader::current)
    }

    fn advance(&mut self) -> Result<()> {
        let Some(top) = self.heap.first_mut() else { return Ok(()) };
        top.advance()?;
        if top.current().is_none() {
            self.heap.swap_remove(0);
        }
        self.sink(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn drain(mut sorted: Sorted) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while let Some(record) = sorted.current() {
            records.push(record.to_vec());
            sorted.advance().unwrap();
        }
        records
    }

    fn sorted(records: &[Vec<u8>], memory_bytes_max: usize) -> (Vec<Vec<u8>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        let mut sorter = Sorter::new(&scratch, memory_bytes_max);
        for record in records {
            sorter.push(record).unwrap();
        }
        let runs = sorter.runs.len();
        (drain(sorter.finish().unwrap()), runs)
    }

    proptest! {
        #[test]
        fn any_records_come_back_as_a_map_would_order_them(
            records in proptest::collection::vec(
                proptest::collection::vec(0_u8..4, 0..14), 0..400),
            memory_bytes_max in prop_oneof![Just(0_usize), Just(100), Just(2_000), Just(1 << 20)],
        ) {
            let mut expected: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            for record in &records {
                *expected.entry(record.clone()).or_default() += 1;
            }
            let expected: Vec<Vec<u8>> = expected
                .into_iter()
                .flat_map(|(record, times)| std::iter::repeat_n(record, times))
                .collect();
            prop_assert_eq!(sorted(&records, memory_bytes_max).0, expected);
        }
    }

    #[test]
    fn more_runs_than_are_merged_at_a_time_are_merged_in_turns() {
        let records: Vec<Vec<u8>> = (0..20_000_u64)
            .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec())
            .collect();
        let (found, runs) = sorted(&records, 2_000);
        assert!(runs > 2 * FAN_IN_MAX, "{runs} runs");
        assert_eq!(found.len(), records.len());
        assert!(found.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn an_empty_sorter_gives_nothing() {
        assert_eq!(sorted(&[], 0).0, Vec::<Vec<u8>>::new());
    }
}
