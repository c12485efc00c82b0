//! Sorts any number of records in bounded memory.
//!
//! Records are compared as bytes (`memcmp`), whole; duplicates are kept. What doesn't fit the
//! memory limit goes to sorted runs, which are merged when they are read. Where the scratch folder
//! has a thread to spare ([`Scratch::lend`]), a run is sorted and written beside what fills the
//! next one; each then has half of the memory.

use super::spool::{READ_BYTES_MAX, READ_BYTES_MIN, write_run};
use super::{Scratch, Sequence, SpareThread, Spool, SpoolReader, Spooled, check_record};
use crate::{Error, Kind, Result};
use std::fs::File;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// Runs merged at a time. With 256 runs of 16 MiB one merge sorts 4 GiB; beyond that, runs are
/// merged into longer ones first, which reads and writes everything once more.
const FAN_IN_MAX: usize = 256;

/// Bytes that the index holds for each record, beside the record's own.
const INDEX_BYTES: usize = size_of::<Place>();

/// The arena is addressed with 32 bits.
const ARENA_BYTES_MAX: usize = u32::MAX as usize;

/// A record's first sixteen bytes, padded with zeros: most comparisons end here.
type Prefix = [u64; 2];

fn prefix(record: &[u8]) -> Prefix {
    let mut first = [[0; 8]; 2];
    let held = record.len().min(16);
    first.as_flattened_mut()[..held].copy_from_slice(&record[..held]);
    first.map(u64::from_be_bytes)
}

#[derive(Clone, Copy, Debug)]
struct Place {
    prefix: Prefix,
    start: u32,
    length: u32,
}

impl Place {
    fn of<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        &arena[start..start + self.length as usize]
    }
}

/// Records in memory.
#[derive(Debug, Default)]
struct Batch {
    arena: Vec<u8>,
    index: Vec<Place>,
}

impl Batch {
    fn bytes(&self) -> usize {
        self.arena.len() + self.index.len() * INDEX_BYTES
    }

    fn push(&mut self, record: &[u8], length: u32) {
        let start = u32::try_from(self.arena.len()).unwrap_or(u32::MAX);
        self.arena.extend_from_slice(record);
        self.index.push(Place { prefix: prefix(record), start, length });
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.index.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| a.of(arena).cmp(b.of(arena)))
        });
    }

    /// Sorts the records and writes them to `file`; none is left.
    fn spill(&mut self, file: (File, PathBuf)) -> Result<Spooled> {
        self.sort();
        let run = write_run(file, self.index.iter().map(|place| place.of(&self.arena)));
        self.arena.clear();
        self.index.clear();
        run
    }
}

/// A batch that another thread sorts and writes.
#[derive(Debug)]
struct Beside(Option<JoinHandle<(Batch, Result<Spooled>)>>);

impl Beside {
    fn begin(mut batch: Batch, file: (File, PathBuf), thread: SpareThread) -> Result<Self> {
        let work = move || {
            let run = batch.spill(file);
            drop(thread);
            (batch, run)
        };
        let begun = std::thread::Builder::new().name("sort".to_owned()).spawn(work);
        let failed = |error: std::io::Error| {
            Error::new(Kind::Io, "begin a thread that sorts", error.to_string())
        };
        begun.map(|handle| Self(Some(handle))).map_err(failed)
    }

    /// Waits for its run, and gives the emptied batch back.
    fn end(mut self) -> Result<(Batch, Spooled)> {
        let Some(handle) = self.0.take() else { return Err(lost()) };
        let (batch, run) = handle.join().map_err(|_| lost())?;
        Ok((batch, run?))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // A sorter that is given up leaves no thread behind.
        if let Some(handle) = self.0.take() {
            let _ = handle.join();
        }
    }
}

fn lost() -> Error {
    Error::new(Kind::Corrupt, "sort records", "the thread that sorts has ended without its run")
}

/// Takes records in any order.
#[derive(Debug)]
pub struct Sorter<'a> {
    scratch: &'a Scratch,
    memory_bytes_max: usize,
    batch: Batch,
    beside: Option<Beside>,
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
            batch: Batch::default(),
            beside: None,
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
        let bytes = self.batch.bytes() + record.len() + INDEX_BYTES;
        let full = bytes > self.memory_bytes_max
            || self.batch.arena.len() + record.len() > ARENA_BYTES_MAX;
        if (full || bytes > self.memory_bytes_max / 2) && !self.batch.index.is_empty() {
            self.make_room(full)?;
        }
        self.batch.push(record, length);
        self.records += 1;
        Ok(())
    }

    /// The batch has half of the memory or more. The other half is for the next batch if somebody
    /// sorts this one now; else it is its own until it is full.
    fn make_room(&mut self, full: bool) -> Result<()> {
        let emptied = self.end_beside()?;
        let is_half = self.batch.bytes() <= self.memory_bytes_max / 2;
        let thread = if is_half { self.scratch.spare_thread() } else { None };
        if let Some(thread) = thread {
            let file = self.scratch.file()?;
            let batch = std::mem::replace(&mut self.batch, emptied);
            self.beside = Some(Beside::begin(batch, file, thread)?);
        } else if full {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let run = self.batch.spill(self.scratch.file()?)?;
        self.runs.push(run);
        Ok(())
    }

    fn end_beside(&mut self) -> Result<Batch> {
        let Some(beside) = self.beside.take() else { return Ok(Batch::default()) };
        let (emptied, run) = beside.end()?;
        self.runs.push(run);
        Ok(emptied)
    }

    /// No more records; what was added comes back in order.
    ///
    /// # Errors
    /// Those of writing and reading scratch files.
    pub fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() && self.beside.is_none() {
            self.batch.sort();
            return Ok(Sorted(Held::Memory { batch: self.batch, at: 0 }));
        }
        if !self.batch.index.is_empty() {
            self.spill()?;
        }
        self.batch = Batch::default();
        drop(self.end_beside()?);
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
    Memory { batch: Batch, at: usize },
    Runs(Merge),
}

impl Sequence for Sorted {
    fn current(&self) -> Option<&[u8]> {
        match &self.0 {
            Held::Memory { batch, at } => batch.index.get(*at).map(|place| place.of(&batch.arena)),
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

/// Merges sorted runs: a binary heap over readers, the least record on top.
#[derive(Debug)]
struct Merge {
    readers: Vec<SpoolReader>,
    heap: Vec<Head>,
}

/// The record that a reader stands at.
#[derive(Clone, Copy, Debug)]
struct Head {
    prefix: Prefix,
    reader: usize,
}

impl Merge {
    fn new(runs: &[Spooled], buffer_bytes: usize) -> Result<Self> {
        let mut merge = Self { readers: Vec::with_capacity(runs.len()), heap: Vec::new() };
        for (at, run) in runs.iter().enumerate() {
            let reader = run.reader(buffer_bytes)?;
            if let Some(record) = reader.current() {
                merge.heap.push(Head { prefix: prefix(record), reader: at });
            }
            merge.readers.push(reader);
        }
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sink(at);
        }
        Ok(merge)
    }

    fn is_less(&self, one: Head, other: Head) -> bool {
        let record = |head: Head| self.readers[head.reader].current();
        one.prefix.cmp(&other.prefix).then_with(|| record(one).cmp(&record(other))).is_lt()
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.is_less(self.heap[child], self.heap[least]) {
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
        self.heap.first().and_then(|head| self.readers[head.reader].current())
    }

    fn advance(&mut self) -> Result<()> {
        let Some(top) = self.heap.first_mut() else { return Ok(()) };
        let reader = &mut self.readers[top.reader];
        reader.advance()?;
        match reader.current() {
            Some(record) => top.prefix = prefix(record),
            None => drop(self.heap.swap_remove(0)),
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

    fn sorted(
        records: &[Vec<u8>],
        memory_bytes_max: usize,
        spare_threads: usize,
    ) -> (Vec<Vec<u8>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        (0..spare_threads).for_each(|_| scratch.lend());
        let mut sorter = Sorter::new(&scratch, memory_bytes_max);
        for record in records {
            sorter.push(record).unwrap();
        }
        let runs = sorter.runs.len();
        let drained = drain(sorter.finish().unwrap());
        let back: Vec<SpareThread> = std::iter::from_fn(|| scratch.spare_thread()).collect();
        assert_eq!(back.len(), spare_threads, "each thread came back");
        (drained, runs)
    }

    proptest! {
        #[test]
        fn any_records_come_back_as_a_map_would_order_them(
            records in proptest::collection::vec(
                proptest::collection::vec(0_u8..4, 0..20), 0..400),
            memory_bytes_max in prop_oneof![Just(0_usize), Just(100), Just(2_000), Just(1 << 20)],
            spare_threads in 0_usize..3,
        ) {
            let mut expected: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            for record in &records {
                *expected.entry(record.clone()).or_default() += 1;
            }
            let expected: Vec<Vec<u8>> = expected
                .into_iter()
                .flat_map(|(record, times)| std::iter::repeat_n(record, times))
                .collect();
            prop_assert_eq!(sorted(&records, memory_bytes_max, spare_threads).0, expected);
        }
    }

    #[test]
    fn more_runs_than_are_merged_at_a_time_are_merged_in_turns() {
        let records: Vec<Vec<u8>> = (0..20_000_u64)
            .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec())
            .collect();
        let (found, runs) = sorted(&records, 1_000, 0);
        assert!(runs > 2 * FAN_IN_MAX, "{runs} runs");
        assert_eq!(found.len(), records.len());
        assert!(found.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn an_empty_sorter_gives_nothing() {
        assert_eq!(sorted(&[], 0, 1).0, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_run_that_can_t_be_written_beside_is_an_error_and_no_smaller_result() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        scratch.lend();
        // Written to, this file is full.
        let full = || (File::options().write(true).open("/dev/full").unwrap(), "full".into());
        let mut sorter = Sorter::new(&scratch, 1_000);
        sorter.push(&[1; 600]).unwrap();
        let batch = std::mem::take(&mut sorter.batch);
        let thread = scratch.spare_thread().unwrap();
        sorter.beside = Some(Beside::begin(batch, full(), thread).unwrap());
        sorter.push(&[2; 600]).unwrap();
        assert_eq!(sorter.finish().unwrap_err().kind(), Kind::NoSpace);
    }

    #[test]
    fn a_sorter_that_is_given_up_leaves_no_thread_behind() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        scratch.lend();
        let mut sorter = Sorter::new(&scratch, 200);
        (0..200_u8).for_each(|n| sorter.push(&[n; 40]).unwrap());
        assert!(sorter.beside.is_some());
        drop(sorter);
        assert!(scratch.spare_thread().is_some());
    }
}
