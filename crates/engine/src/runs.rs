//! Entries on their way into a target in whose order they don't come.
//!
//! A stretch of the source is gathered in memory, sorted by the target's keys, and loaded run by
//! run: entries of one run stand close together in the target, so that the tables of an engine
//! that takes sorted ones hardly overlap. What is too little for a table goes in a batch.

use std::ops::Range;
use transload_store::{BulkLoad, Durability, KeyRange, Result, Run, Store, WriteBatch};

/// A smaller run isn't worth a table of its own.
const TABLE_BYTES_MIN: usize = 1 << 20;

/// What a gathered entry takes besides its bytes, so that many small ones count as well.
const ENTRY_BYTES: usize = size_of::<Gathered>();

struct Gathered {
    run: Run,
    key: Range<usize>,
    value: Range<usize>,
}

/// Entries that are gathered, and where they go.
pub(crate) struct Runs<'a> {
    store: &'a dyn Store,
    bulk: Option<&'a dyn BulkLoad>,
    bytes_max: u64,
    batch_bytes_max: u64,
    bytes: Vec<u8>,
    entries: Vec<Gathered>,
}

impl<'a> Runs<'a> {
    /// Nothing yet; what is gathered is loaded when it reaches `bytes_max`.
    pub(crate) fn new(
        store: &'a dyn Store,
        bulk: Option<&'a dyn BulkLoad>,
        bytes_max: u64,
        batch_bytes_max: u64,
    ) -> Self {
        let (bytes, entries) = (Vec::new(), Vec::new());
        Self { store, bulk, bytes_max, batch_bytes_max, bytes, entries }
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn put(&mut self, run: Run, key: &[u8], value: &[u8]) -> Result<()> {
        let mut taken = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            start..self.bytes.len()
        };
        let (key, value) = (taken(key), taken(value));
        self.entries.push(Gathered { run, key, value });
        let held = self.bytes.len() + self.entries.len() * ENTRY_BYTES;
        if held as u64 >= self.bytes_max { self.load(Durability::Buffered) } else { Ok(()) }
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.load(Durability::Synced)
    }

    /// Loads what is gathered. Batches of before are durable as well after a synced one.
    fn load(&mut self, durability: Durability) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| {
            a.run.cmp(&b.run).then_with(|| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]))
        });
        let mut batch = WriteBatch::new();
        for run in entries.chunk_by(|a, b| a.run == b.run) {
            let size: usize = run.iter().map(|one| one.key.len() + one.value.len()).sum();
            match self.bulk {
                Some(bulk) if size >= TABLE_BYTES_MIN => load_table(bulk, run, &bytes)?,
                _ => {
                    for one in run {
                        batch.put(&bytes[one.key.clone()], &bytes[one.value.clone()]);
                        if batch.bytes() as u64 >= self.batch_bytes_max {
                            self.store.write(&batch, Durability::Buffered)?;
                            batch.clear();
                        }
                    }
                }
            }
        }
        // Written even when it is empty: its sync makes those before it durable.
        if durability == Durability::Synced || !batch.is_empty() {
            self.store.write(&batch, durability)?;
        }
        // The memory is kept for what comes next.
        (self.bytes, self.entries) = (bytes, entries);
        self.bytes.clear();
        self.entries.clear();
        Ok(())
    }
}

fn load_table(bulk: &dyn BulkLoad, run: &[Gathered], bytes: &[u8]) -> Result<()> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    // The end is the least key after the last one.
    let end = [&bytes[last.key.clone()], &[0]].concat();
    let range = KeyRange { start: bytes[first.key.clone()].to_vec(), end: Some(end) };
    let mut load = bulk.chunk(&range)?;
    for one in run {
        load.put(&bytes[one.key.clone()], &bytes[one.value.clone()])?;
    }
    load.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use transload_store::memory::MemoryStore;
    use transload_store::{ChunkLoad, Scan};

    /// Notes the ranges of the tables that are loaded.
    struct Noted {
        ranges: Mutex<Vec<KeyRange>>,
        load: std::sync::Arc<dyn BulkLoad>,
    }

    impl BulkLoad for Noted {
        fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
            self.ranges.lock().unwrap().push(range.clone());
            self.load.chunk(range)
        }
    }

    fn run(source_stream: u32) -> Run {
        Run { source_stream, ..Run::default() }
    }

    /// How many entries a store has once a crash has taken what wasn't synced.
    fn entries_after_a_crash(store: &MemoryStore) -> u64 {
        store.crash();
        let mut scan = Scan::new(&*store.snapshot().unwrap(), &KeyRange::all()).unwrap();
        while scan.next().unwrap().is_some() {}
        scan.receipt().unwrap().entries
    }

    #[test]
    fn large_runs_become_tables_that_don_t_overlap_and_small_ones_go_in_batches() {
        let store = MemoryStore::new();
        let load = store.bulk_load().unwrap();
        let noted = Noted { ranges: Mutex::default(), load };
        let mut runs = Runs::new(&store, Some(&noted), 64 << 20, 64 << 10);
        // In the order of decimal text: two runs in turns, and one entry of a third between them.
        let value = vec![7; 40 << 10];
        for number in (0..40u32).rev() {
            runs.put(run(1), format!("a{number:03}").as_bytes(), &value).unwrap();
            runs.put(run(2), format!("b{number:03}").as_bytes(), &value).unwrap();
        }
        runs.put(run(3), b"a0205", b"alone").unwrap();
        runs.commit().unwrap();
        let ranges = noted.ranges.into_inner().unwrap();
        assert_eq!(
            ranges,
            [KeyRange::new(*b"a000", *b"a039\0"), KeyRange::new(*b"b000", *b"b039\0")]
        );
        assert_eq!(entries_after_a_crash(&store), 81);
    }

    #[test]
    fn what_is_gathered_is_loaded_when_it_grows_too_large_and_all_of_it_is_durable() {
        for has_bulk in [true, false] {
            let store = MemoryStore::new();
            let load = has_bulk.then(|| store.bulk_load().unwrap());
            let mut runs = Runs::new(&store, load.as_deref(), 2 << 20, 64 << 10);
            for number in (0..500u32).rev() {
                let key = format!("k{number:05}");
                runs.put(run(number % 2), key.as_bytes(), &[1; 20 << 10]).unwrap();
                let held = runs.bytes.len() + runs.entries.len() * ENTRY_BYTES;
                assert!(held < 2 << 20, "{held} bytes are held");
            }
            runs.commit().unwrap();
            assert_eq!(entries_after_a_crash(&store), 500);
        }
    }
}
