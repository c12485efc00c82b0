//! Walks a run in key order, reading ahead.
//!
//! Blocks are decompressed in place of one another and keys rebuilt in one buffer: an entry costs
//! no allocation. The first read of a walk is small and each further one twice as large, so that
//! a short range costs little and a long one few calls.

use super::block::BlockCursor;
use super::fault::corrupt;
use super::internal_key::{TAG_MAX, Tagged, is_before, user};
use super::manifest::TableFile;
use super::table::{Decoded, Handle, Table};
use super::tables::Tables;
use super::version::Run;
use std::ops::Range;
use std::sync::Arc;
use transload_store::{KeyRange, Result};

/// The first read of a walk.
pub(super) const READ_BYTES_MIN: usize = 16 << 10;

/// The largest read of a walk, unless one block is larger. Small enough that what was read is
/// still in the processor's cache when it is decompressed.
pub(super) const READ_BYTES_MAX: usize = 256 << 10;

/// A walk over the part of a run that lies in a key range.
pub(super) struct RunWalk {
    tables: Arc<Tables>,
    run: Arc<Run>,
    /// Tables still to come.
    next: Range<usize>,
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    table: Option<OpenTable>,
    reader: Reader,
    block: BlockCursor,
    /// The last key of the block before this one.
    last_key: Vec<u8>,
    /// Whether the current entry is of the same user key as the one before it.
    repeats: bool,
    /// Counts the blocks that were loaded.
    blocks: u64,
}

/// The table that a walk stands in.
struct OpenTable {
    table: Table,
    index: BlockCursor,
    handle: Handle,
    /// The manifest's entry.
    file_at: usize,
    /// Bytes that a walk up to the range's end may need.
    needed_bytes: u64,
    /// Whether the range may end in this table.
    may_end: bool,
}

impl OpenTable {
    /// A key that isn't below any of the current block.
    fn separator(&self) -> Tagged<'_> {
        self.index.tagged().unwrap_or_default()
    }
}

impl RunWalk {
    /// A walk that stands before the first entry of `range` and reads at most so much at once.
    pub(super) fn new(
        tables: Arc<Tables>,
        run: Arc<Run>,
        range: &KeyRange,
        read_bytes_max: usize,
    ) -> Self {
        Self {
            tables,
            next: run.touched(range),
            run,
            start: range.start.clone(),
            end: range.end.clone(),
            table: None,
            reader: Reader { read_bytes_max, ..Reader::default() },
            block: BlockCursor::default(),
            last_key: Vec::new(),
            repeats: false,
            blocks: 0,
        }
    }

    /// Goes to the next entry; false at the end of the range.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<bool> {
        if let Some(open) = &self.table {
            match self.block.advance(self.reader.content()) {
                Ok(true) => {
                    self.repeats = self.block.repeats();
                    return Ok(!open.may_end || !self.is_past_end());
                }
                Ok(false) => {}
                Err(bad) => return Err(open.table.bad_block(open.handle, bad)),
            }
        }
        self.next_block()
    }

    /// The current key and tag. Before the first entry, nothing.
    #[inline]
    pub(super) fn tagged(&self) -> Tagged<'_> {
        self.block.tagged().unwrap_or_default()
    }

    /// The current value.
    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        &self.reader.content()[self.block.value()]
    }

    #[inline]
    pub(super) fn repeats(&self) -> bool {
        self.repeats
    }

    /// The number of the current block in this walk, and a key that isn't below any in it.
    #[inline]
    pub(super) fn current_block(&self) -> Option<(u64, &[u8])> {
        self.table.as_ref().map(|open| (self.blocks, user(open.index.key())))
    }

    /// The file that the current entry stands in, and its block's offset, for errors.
    pub(super) fn place(&self) -> (&str, u64) {
        self.table.as_ref().map_or(("", 0), |open| (open.table.name(), open.handle.offset))
    }

    fn is_past_end(&self) -> bool {
        self.end.as_ref().is_some_and(|end| self.tagged().0 >= end.as_slice())
    }

    /// Goes to the first entry of the next block that has one, in this table or a later one.
    fn next_block(&mut self) -> Result<bool> {
        self.last_key.clear();
        self.last_key.extend_from_slice(self.block.key());
        loop {
            self.blocks += 1;
            let Some(open) = &mut self.table else {
                if !self.next_table()? {
                    return Ok(false);
                }
                if self.is_found()? {
                    return Ok(!self.is_past_end());
                }
                continue;
            };
            // The merge relies on separators; blocks of which nothing was walked don't count.
            if !self.block.key().is_empty() && !is_at_most(self.block.key(), open.separator()) {
                let what = "a block's keys go beyond what the table's index says";
                return Err(corrupt(open.table.name(), open.handle.offset, what));
            }
            let more = open.index.advance(open.table.index());
            if !more.map_err(|bad| open.table.bad_index(bad))? {
                self.leave_table()?;
                continue;
            }
            open.handle = open.table.handle(&open.index)?;
            let (table, handle) = (&open.table, open.handle);
            self.reader.load(table, handle, open.needed_bytes)?;
            let bad = |bad| table.bad_block(handle, bad);
            self.block.reset(self.reader.content()).map_err(bad)?;
            if self.block.advance(self.reader.content()).map_err(bad)? {
                self.check_follows()?;
                return Ok(!self.is_past_end());
            }
        }
    }

    /// Opens the next table and goes to its first block that may hold the range's start; false
    /// when there is none.
    fn next_table(&mut self) -> Result<bool> {
        let Some(file_at) = self.next.next() else { return Ok(false) };
        let file = &self.run.files()[file_at];
        let table = self.tables.get(file)?;
        let mut index = table.index_cursor()?;
        let bad = |bad| table.bad_index(bad);
        let may_end = self.end.as_ref().is_some_and(|end| user(&file.largest) >= end.as_slice());
        let mut needed_bytes = table.data_bytes();
        if may_end
            && let Some(end) = &self.end
            && index.seek(table.index(), (end, TAG_MAX)).map_err(bad)?
        {
            let last = table.handle(&index)?;
            needed_bytes = last.offset + table.stored_bytes(last)? as u64;
        }
        if !index.seek(table.index(), (&self.start, TAG_MAX)).map_err(bad)? {
            return Ok(true);
        }
        let handle = table.handle(&index)?;
        self.reader.enter_table();
        self.reader.load(&table, handle, needed_bytes)?;
        self.table = Some(OpenTable { table, index, handle, file_at, needed_bytes, may_end });
        Ok(true)
    }

    /// Whether the block that a table was entered at holds an entry of the range.
    fn is_found(&mut self) -> Result<bool> {
        let Some(open) = &self.table else { return Ok(false) };
        let content = self.reader.content();
        let bad = |bad| open.table.bad_block(open.handle, bad);
        self.block.reset(content).map_err(bad)?;
        if !self.block.seek(content, (&self.start, TAG_MAX)).map_err(bad)? {
            return Ok(false);
        }
        self.check_follows()?;
        Ok(true)
    }

    /// Checks that the first entry of a block comes after everything before it, and isn't
    /// outside what the manifest says of its table: the merge relies on both.
    fn check_follows(&mut self) -> Result<()> {
        let Some(open) = &self.table else { return Ok(()) };
        let key = self.tagged();
        let file = &self.run.files()[open.file_at];
        let unsorted = !self.last_key.is_empty() && !is_at_most(&self.last_key, key);
        if unsorted || !is_at_most(&file.smallest, key) {
            let what = "a block's keys don't come after those of the block before it";
            return Err(corrupt(open.table.name(), open.handle.offset, what));
        }
        self.repeats = !self.last_key.is_empty() && user(&self.last_key) == key.0;
        Ok(())
    }

    /// Checks that a table which was walked to its end didn't go beyond what the manifest says.
    fn leave_table(&mut self) -> Result<()> {
        let Some(open) = self.table.take() else { return Ok(()) };
        let file: &TableFile = &self.run.files()[open.file_at];
        if !self.block.key().is_empty() && is_before(&file.largest, self.tagged()) {
            let what = "a table's keys go beyond what the manifest says";
            return Err(corrupt(open.table.name(), open.handle.offset, what));
        }
        Ok(())
    }
}

/// Whether an internal key isn't above a key and tag. The same change may be stored twice.
fn is_at_most(internal: &[u8], key: Tagged<'_>) -> bool {
    is_before(internal, key) || super::internal_key::split(internal) == Some(key)
}

/// Reads spans of a table and decodes blocks in them.
#[derive(Default)]
struct Reader {
    span: Vec<u8>,
    span_offset: u64,
    span_bytes: usize,
    /// The size of the last read.
    read_bytes: usize,
    read_bytes_max: usize,
    decompressed: Vec<u8>,
    content: Content,
}

/// Where the current block is.
#[derive(Clone, Copy, Default)]
enum Content {
    #[default]
    None,
    Span(usize, usize),
    Decompressed(usize),
}

impl Reader {
    #[inline]
    fn content(&self) -> &[u8] {
        match self.content {
            Content::None => &[],
            Content::Span(from, to) => &self.span[from..to],
            Content::Decompressed(bytes) => &self.decompressed[..bytes],
        }
    }

    /// Forgets what was read of another table.
    fn enter_table(&mut self) {
        self.span_bytes = 0;
        self.content = Content::None;
    }

    /// Makes the block at `handle` the content.
    fn load(&mut self, table: &Table, handle: Handle, needed_bytes: u64) -> Result<()> {
        let stored_bytes = table.stored_bytes(handle)?;
        let in_span = handle
            .offset
            .checked_sub(self.span_offset)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| at.checked_add(stored_bytes).is_some_and(|end| end <= self.span_bytes));
        let at = match in_span {
            Some(at) => at,
            None => {
                self.read(table, handle, stored_bytes, needed_bytes)?;
                0
            }
        };
        let stored = &self.span[at..at + stored_bytes];
        self.content = match table.decode(handle, stored, &mut self.decompressed)? {
            Decoded::Stored(bytes) => Content::Span(at, at + bytes),
            Decoded::Decompressed(bytes) => Content::Decompressed(bytes),
        };
        Ok(())
    }

    /// Reads the block at `handle` and what follows it.
    fn read(
        &mut self,
        table: &Table,
        handle: Handle,
        stored_bytes: usize,
        needed_bytes: u64,
    ) -> Result<()> {
        self.read_bytes = (2 * self.read_bytes).max(READ_BYTES_MIN).min(self.read_bytes_max);
        let left = usize::try_from(needed_bytes.saturating_sub(handle.offset));
        let bytes = self.read_bytes.min(left.unwrap_or(usize::MAX)).max(stored_bytes);
        if self.span.len() < bytes {
            self.span.resize(bytes, 0);
        }
        // Should the read fail, the span holds nothing.
        self.span_bytes = 0;
        table.read_at(&mut self.span[..bytes], handle.offset)?;
        self.span_offset = handle.offset;
        self.span_bytes = bytes;
        Ok(())
    }
}
