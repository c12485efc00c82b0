//! Merges runs and logs into one walk over what a reader sees: the newest change of each key,
//! deleted keys hidden.
//!
//! Sources stand in a heap by their current keys, and the second best, the *rival*, is
//! remembered. As long as the best source stays ahead of it, an entry costs one comparison; in a
//! block whose separator is ahead of the rival's key none at all, nor when one source is left.

use super::fault::corrupt;
use super::internal_key::{Tagged, has_value, order};
use super::memtable::MemTable;
use super::tables::Tables;
use super::version::Version;
use super::walk::{READ_BYTES_MAX, READ_BYTES_MIN, RunWalk};
use std::cmp::Ordering;
use std::sync::Arc;
use transload_store::{Cursor, Error, KeyRange, Result};

/// A sorted source of changes.
enum Source {
    Run(Box<RunWalk>),
    Logs {
        logs: Arc<MemTable>,
        /// The entry after the current one.
        next: usize,
        end: usize,
    },
}

impl Source {
    /// Goes to the next entry; false at the end.
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        match self {
            Source::Run(walk) => walk.advance(),
            Source::Logs { next, end, .. } => {
                *next += 1;
                Ok(*next <= *end)
            }
        }
    }

    #[inline]
    fn tagged(&self) -> Tagged<'_> {
        match self {
            Source::Run(walk) => walk.tagged(),
            Source::Logs { logs, next, .. } => logs.tagged(*next - 1),
        }
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match self {
            Source::Run(walk) => walk.value(),
            Source::Logs { logs, next, .. } => logs.value(*next - 1),
        }
    }

    /// Whether the entry before this one, in this source, was of the same key.
    #[inline]
    fn repeats(&self) -> bool {
        match self {
            Source::Run(walk) => walk.repeats(),
            Source::Logs { .. } => false,
        }
    }

    /// A number that changes with the current block, and a key that isn't below any in it.
    #[inline]
    fn block(&self) -> Option<(u64, &[u8])> {
        match self {
            Source::Run(walk) => walk.current_block(),
            Source::Logs { .. } => None,
        }
    }
}

/// What tells whether an entry is of the same key as the one before it.
enum Before {
    /// Another key for certain, or no entry.
    Other,
    /// It came from the same source, which knows.
    SameSource,
    /// It was kept.
    LastKey,
}

/// The merged walk.
pub(super) struct MergeCursor {
    sources: Vec<Source>,
    /// Indexes of sources that have an entry, the least first, as a binary heap.
    heap: Vec<usize>,
    /// Where in the heap the second best is, when it is known.
    rival: Option<usize>,
    /// The block of the best source up to whose end it stays ahead of all others for certain.
    ahead_in: Option<u64>,
    /// The block of the best source for which that was found out.
    seen_block: Option<u64>,
    before: Before,
    last_key: Vec<u8>,
    state: State,
}

enum State {
    New,
    Open,
    Ended,
    Failed(Error),
}

impl MergeCursor {
    /// A walk over `range` whose reads ahead take about `memory_bytes_max` together.
    pub(super) fn new(
        version: &Version,
        tables: &Arc<Tables>,
        range: &KeyRange,
        memory_bytes_max: usize,
    ) -> Self {
        let mut sources = Vec::new();
        if !range.is_empty() {
            let runs: Vec<_> =
                version.runs.iter().filter(|run| !run.touched(range).is_empty()).collect();
            let read_bytes_max = memory_bytes_max
                .checked_div(runs.len())
                .unwrap_or_default()
                .clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            for run in runs {
                let (tables, run) = (Arc::clone(tables), Arc::clone(run));
                let walk = RunWalk::new(tables, run, range, read_bytes_max);
                sources.push(Source::Run(Box::new(walk)));
            }
            let next = version.logs.lower_bound(&range.start);
            let end = match &range.end {
                Some(end) => version.logs.lower_bound(end),
                None => version.logs.len(),
            };
            if next < end {
                sources.push(Source::Logs { logs: Arc::clone(&version.logs), next, end });
            }
        }
        Self {
            heap: Vec::with_capacity(sources.len()),
            sources,
            rival: None,
            ahead_in: None,
            seen_block: None,
            before: Before::Other,
            last_key: Vec::new(),
            state: State::New,
        }
    }

    /// Goes to the next entry that a reader sees; false at the end.
    fn step(&mut self) -> Result<bool> {
        if matches!(self.state, State::New) {
            self.state = State::Open;
            self.begin()?;
        } else {
            self.advance_best()?;
        }
        loop {
            let Some(&best) = self.heap.first() else { return Ok(false) };
            let source = &self.sources[best];
            let (key, tag) = source.tagged();
            let hidden = match self.before {
                Before::Other => false,
                Before::SameSource => source.repeats(),
                Before::LastKey => key == self.last_key,
            };
            if self.heap.len() > 1 && self.ahead_in.is_none() {
                self.last_key.clear();
                self.last_key.extend_from_slice(key);
            }
            if !hidden {
                let Some(has_value) = has_value(tag) else { return Err(unknown_kind(source)) };
                if has_value {
                    return Ok(true);
                }
            }
            self.advance_best()?;
        }
    }

    /// Puts every source at its first entry.
    fn begin(&mut self) -> Result<()> {
        for index in 0..self.sources.len() {
            if self.sources[index].advance()? {
                self.heap.push(index);
            }
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sink(at);
        }
        self.look_ahead();
        Ok(())
    }

    /// Moves the best source on and finds the new best.
    #[inline]
    fn advance_best(&mut self) -> Result<()> {
        let Some(&best) = self.heap.first() else { return Ok(()) };
        if !self.sources[best].advance()? {
            self.heap.swap_remove(0);
            self.replace_best();
            return Ok(());
        }
        self.before = Before::SameSource;
        if self.heap.len() == 1 {
            return Ok(());
        }
        let block = self.sources[best].block().map(|(number, _)| number);
        if self.ahead_in.is_some() && self.ahead_in == block {
            return Ok(());
        }
        let rival = self.rival();
        if self.is_less(rival, 0) {
            self.replace_best();
        } else if self.ahead_in.is_some() || self.seen_block != block {
            self.look_ahead();
        }
        Ok(())
    }

    /// Another source comes to the top of the heap.
    fn replace_best(&mut self) {
        // A source that was ahead of all others up to its block's end has shown none of their
        // keys.
        self.before = if self.ahead_in.is_some() { Before::Other } else { Before::LastKey };
        self.rival = None;
        self.sink(0);
        self.look_ahead();
    }

    /// Finds out whether the best source stays ahead of all others in its current block.
    fn look_ahead(&mut self) {
        self.ahead_in = None;
        self.seen_block = None;
        if self.heap.len() < 2 {
            return;
        }
        let rival = self.rival();
        if let Some((number, bound)) = self.sources[self.heap[0]].block() {
            self.seen_block = Some(number);
            let (rival_key, _) = self.sources[self.heap[rival]].tagged();
            if bound < rival_key {
                self.ahead_in = Some(number);
            }
        }
    }

    /// Where in the heap the second best is.
    #[inline]
    fn rival(&mut self) -> usize {
        match self.rival {
            Some(rival) => rival,
            None => self.find_rival(),
        }
    }

    fn find_rival(&mut self) -> usize {
        let rival = if self.heap.len() > 2 && self.is_less(2, 1) { 2 } else { 1 };
        self.rival = Some(rival);
        rival
    }

    /// Lets the source at `at` sink to its place in the heap.
    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            if left < self.heap.len() && self.is_less(left, least) {
                least = left;
            }
            if right < self.heap.len() && self.is_less(right, least) {
                least = right;
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    #[inline]
    fn is_less(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.sources[self.heap[a]], &self.sources[self.heap[b]]);
        order(a.tagged(), b.tagged()) == Ordering::Less
    }
}

impl Cursor for MergeCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match &self.state {
            State::New | State::Open => {}
            State::Ended => return Ok(None),
            State::Failed(error) => return Err(error.repeat()),
        }
        match self.step() {
            Ok(true) => {}
            Ok(false) => {
                self.state = State::Ended;
                return Ok(None);
            }
            Err(error) => {
                self.state = State::Failed(error.repeat());
                return Err(error);
            }
        }
        let source = &self.sources[self.heap[0]];
        Ok(Some((source.tagged().0, source.value())))
    }
}

fn unknown_kind(source: &Source) -> Error {
    let (file, offset) = match source {
        Source::Run(walk) => walk.place(),
        Source::Logs { .. } => ("a log", 0),
    };
    corrupt(file, offset, "an entry is neither a value nor a deletion")
}
