//! Records that will be asked for soon, read together.
//!
//! A single read of an engine in another process costs a round trip. So whoever knows what will be
//! asked for says it beforehand, in about that order, and the first question is asked for all of
//! them, as far as memory goes.
//!
//! Invariant: an answer is that of a single read, whatever was expected and in whichever order.

use crate::cometbft::database::Reader;
use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use transload_model::layout::Layout;
use transload_store::Result;

/// Keys that are expected at a time, about: one request to a helper takes as many.
pub(super) const KEYS_EXPECTED_MAX: usize = 4_096;

/// Bytes of keys and values that are held, and the last value above it. A helper sends 1 MiB at
/// once, less what the next value would have been too much: with a limit above that, most of a
/// second frame would be sent for nothing. More would hardly be faster, and every worker holds
/// four times as much.
const HELD_BYTES_MAX: usize = 896 << 10;

/// One database and what is expected of it.
pub(super) struct Ahead<'r, L> {
    reader: &'r Reader<L>,
    /// Keys that weren't read yet.
    expected: VecDeque<Vec<u8>>,
    held: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'r, L: Layout> Ahead<'r, L> {
    pub(super) fn new(reader: &'r Reader<L>) -> Self {
        Self { reader, expected: VecDeque::new(), held: HashMap::new() }
    }

    /// Expects a question.
    pub(super) fn expect(&mut self, table: usize, canonical: &[u8]) {
        self.expected.extend(self.reader.physical(table, canonical));
    }

    /// Expects a question for the record under a height.
    pub(super) fn expect_at(&mut self, table: usize, height: u64) {
        self.expect(table, &height.to_be_bytes());
    }

    /// How many questions are expected whose answers weren't read yet.
    pub(super) fn expects(&self) -> usize {
        self.expected.len()
    }

    /// Expects nothing any more.
    pub(super) fn forget(&mut self) {
        self.expected.clear();
    }

    /// The value of a canonical key of `table`.
    pub(super) fn get(&mut self, table: usize, canonical: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(key) = self.reader.physical(table, canonical) else { return Ok(None) };
        if let Some(value) = self.held.remove(&key) {
            return Ok(value);
        }
        if let Some(place) = self.expected.iter().position(|expected| *expected == key) {
            // What was expected before it was passed over.
            self.expected.drain(..place);
            self.read()?;
            if let Some(value) = self.held.remove(&key) {
                return Ok(value);
            }
        }
        self.reader.snapshot.get(&key)
    }

    /// The value under a height.
    pub(super) fn at(&mut self, table: usize, height: u64) -> Result<Option<Vec<u8>>> {
        self.get(table, &height.to_be_bytes())
    }

    /// The value of a key that wasn't asked for yet; `None` when it wasn't read yet.
    pub(super) fn peek(&self, table: usize, canonical: &[u8]) -> Option<Option<&[u8]>> {
        let key = self.reader.physical(table, canonical)?;
        self.held.get(&key).map(Option::as_deref)
    }

    fn read(&mut self) -> Result<()> {
        self.held.clear();
        let keys = &*self.expected.make_contiguous();
        let (held, mut held_bytes, mut answered) = (&mut self.held, 0, 0);
        self.reader.snapshot.get_many(keys, &mut |place, value| {
            let key = &keys[place];
            held_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            held.insert(key.clone(), value);
            answered = place + 1;
            if held_bytes < HELD_BYTES_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        self.expected.drain(..answered);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cometbft::layout::{BlockstoreLayout, KeyForm, blockstore as table};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use transload_store::memory::MemoryStore;
    use transload_store::{Cursor, KeyRange, Snapshot, Store as _, TakeValue};

    /// Counts questions.
    struct Counted {
        inner: Arc<dyn Snapshot>,
        alone: AtomicUsize,
        together: AtomicUsize,
    }

    impl Snapshot for Counted {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.alone.fetch_add(1, Ordering::Relaxed);
            self.inner.get(key)
        }

        fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
            self.together.fetch_add(1, Ordering::Relaxed);
            self.inner.get_many(keys, take)
        }

        fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
            self.inner.cursor(range)
        }

        fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
            self.inner.split_points(range, chunk_bytes)
        }

        fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
            self.inner.approximate_bytes(range)
        }
    }

    /// Metas of the even heights below 100, each of so many bytes that begin with its height.
    fn even(value_bytes: usize) -> (Reader<BlockstoreLayout>, Arc<Counted>) {
        let layout = BlockstoreLayout::new(KeyForm::V1);
        let entries = (0_u8..50).map(|half| {
            let mut key = Vec::new();
            layout.physical(table::META, &u64::from(2 * half).to_be_bytes(), &mut key).unwrap();
            let mut value = vec![0; value_bytes];
            value[0] = 2 * half;
            (key, value)
        });
        let inner = MemoryStore::with(entries.collect::<Vec<_>>()).snapshot().unwrap();
        let (alone, together) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let snapshot = Arc::new(Counted { inner, alone, together });
        (Reader { snapshot: Arc::clone(&snapshot) as Arc<dyn Snapshot>, layout }, snapshot)
    }

    /// Asks for the heights; each answer is that of a single read. How many questions reached the
    /// database alone, and how many together.
    fn ask(value_bytes: usize, expected: &[u64], asked: &[u64]) -> (usize, usize) {
        let (reader, counted) = even(value_bytes);
        let mut ahead = Ahead::new(&reader);
        expected.iter().for_each(|height| ahead.expect_at(table::META, *height));
        for height in asked {
            let value = ahead.at(table::META, *height).unwrap();
            let first = value.map(|value| u64::from(value[0]));
            assert_eq!(first, (height % 2 == 0).then_some(*height), "height {height}");
        }
        (counted.alone.load(Ordering::Relaxed), counted.together.load(Ordering::Relaxed))
    }

    #[test]
    fn what_is_expected_is_read_together() {
        let heights: Vec<u64> = (0..60).collect();
        assert_eq!(ask(8, &heights, &heights), (0, 1));
        assert_eq!(ask(8, &[], &heights), (60, 0));
    }

    #[test]
    fn no_more_is_held_than_the_limit_allows_and_one_value() {
        let heights: Vec<u64> = (0..60).collect();
        assert_eq!(ask(HELD_BYTES_MAX / 3, &heights, &heights), (0, 11));
        assert_eq!(ask(HELD_BYTES_MAX, &heights, &heights), (0, 31));
    }

    #[test]
    fn whatever_is_passed_over_asked_twice_or_out_of_turn_has_the_same_answer() {
        let heights: Vec<u64> = (0..60).collect();
        assert_eq!(ask(8, &heights, &[8, 9, 10]), (0, 1));
        assert_eq!(ask(8, &heights, &[8, 8, 9, 2, 70]), (3, 1));
        assert_eq!(ask(HELD_BYTES_MAX, &heights, &[8, 6, 10, 12]), (1, 3));
        assert_eq!(ask(8, &[6, 6, 7], &[6, 6, 7]), (1, 1));
    }

    #[test]
    fn what_was_read_can_be_looked_at_before_it_is_asked_for() {
        let (reader, _) = even(8);
        let mut ahead = Ahead::new(&reader);
        (2..6).for_each(|height| ahead.expect_at(table::META, height));
        let key = |height: u64| height.to_be_bytes();
        assert_eq!(ahead.peek(table::META, &key(4)), None);
        ahead.at(table::META, 2).unwrap();
        assert_eq!(ahead.peek(table::META, &key(4)).unwrap().unwrap()[0], 4);
        assert_eq!(ahead.peek(table::META, &key(5)), Some(None));
        assert_eq!(ahead.peek(table::META, &key(6)), None);
        assert_eq!(ahead.expects(), 0);
    }
}
