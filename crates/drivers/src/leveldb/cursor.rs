//! Walks a version of the database in key order: tables of all levels and the logs, merged;
//! older changes and deleted keys hidden.

use super::block::BlockCursor;
use super::crc::{corrupt, u64_at};
use super::manifest::TableFile;
use super::memtable::MemTable;
use super::table::{Handle, Table, Tables};
use std::cmp::Ordering;
use std::sync::Arc;
use transload_store::{Cursor, KeyRange, Result};

/// A scan reads about this many bytes of a table at once.
const READ_AHEAD_BYTES: u64 = 256 << 10;

/// The user key and (sequence << 8 | type) of an internal key.
pub(super) fn split_internal(key: &[u8]) -> Option<(&[u8], u64)> {
    let at = key.len().checked_sub(8)?;
    Some((&key[..at], u64_at(key, at)?))
}

/// Walks one table from a key on.
struct TableWalk {
    table: Arc<Table>,
    index: BlockCursor,
    block: BlockCursor,
    data: Vec<u8>,
    span: Vec<u8>,
    span_offset: u64,
}

impl TableWalk {
    fn new(table: Arc<Table>, start: &[u8]) -> Result<Option<Self>> {
        let own = Handle { offset: table.data_bytes(), size: 0 };
        let mut index = BlockCursor::new(&table.index).map_err(table.bad(own))?;
        let before = |key: &[u8]| split_internal(key).is_none_or(|(user, _)| user < start);
        if !index.seek(&table.index, before).map_err(table.bad(own))? {
            return Ok(None);
        }
        let mut walk = Self {
            table,
            index,
            block: BlockCursor::default(),
            data: Vec::new(),
            span: Vec::new(),
            span_offset: 0,
        };
        let handle = walk.load()?;
        let found =
            walk.block.seek(&walk.data, before).map_err(|bad| walk.table.bad(handle)(bad))?;
        if found || walk.advance()? { Ok(Some(walk)) } else { Ok(None) }
    }

    /// Loads the block that the index cursor stands at.
    fn load(&mut self) -> Result<Handle> {
        let handle = self.table.handle(&self.index)?;
        let length = self.table.check(handle)?;
        let inside = handle
            .offset
            .checked_sub(self.span_offset)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| at.checked_add(length).is_some_and(|end| end <= self.span.len()));
        let at = match inside {
            Some(at) => at,
            None => {
                let left = self.table.data_bytes() - handle.offset;
                let span = (length as u64).max(READ_AHEAD_BYTES.min(left));
                self.span.resize(usize::try_from(span).unwrap_or(length), 0);
                self.table.read_at(&mut self.span, handle.offset)?;
                self.span_offset = handle.offset;
                0
            }
        };
        self.table.decode(handle, &self.span[at..at + length], &mut self.data)?;
        self.block.reset(&self.data).map_err(|bad| self.table.bad(handle)(bad))?;
        Ok(handle)
    }

    #[inline]
    fn advance(&mut self) -> Result<bool> {
        loop {
            let advanced = self.block.advance(&self.data);
            let own = || Handle { offset: self.table.data_bytes(), size: 0 };
            if advanced.map_err(|bad| self.table.bad(own())(bad))? {
                return Ok(true);
            }
            let more = self.index.advance(&self.table.index);
            if !more.map_err(|bad| self.table.bad(own())(bad))? {
                return Ok(false);
            }
            self.load()?;
        }
    }
}

/// Tables that don't overlap, one after another.
struct LevelWalk {
    tables: Arc<Tables>,
    files: std::vec::IntoIter<TableFile>,
    walk: Option<TableWalk>,
    start: Vec<u8>,
}

impl LevelWalk {
    fn advance(&mut self) -> Result<bool> {
        if let Some(walk) = &mut self.walk
            && walk.advance()?
        {
            return Ok(true);
        }
        for file in self.files.by_ref() {
            let table = self.tables.get(file.number, file.size)?;
            self.walk = TableWalk::new(table, &self.start)?;
            if self.walk.is_some() {
                return Ok(true);
            }
        }
        self.walk = None;
        Ok(false)
    }
}

enum Source {
    Level(Box<LevelWalk>),
    Logs { table: Arc<MemTable>, at: usize },
}

impl Source {
    fn advance(&mut self) -> Result<bool> {
        match self {
            Source::Level(level) => level.advance(),
            Source::Logs { table, at } => {
                *at += 1;
                Ok(*at < table.len())
            }
        }
    }

    /// User key, sequence and type of the current entry.
    #[inline]
    fn key(&self) -> Option<(&[u8], u64)> {
        match self {
            Source::Level(level) => split_internal(level.walk.as_ref()?.block.key()),
            Source::Logs { table, at } => {
                let kind = u64::from(table.value(*at).is_some());
                Some((table.key(*at), table.sequence(*at) << 8 | kind))
            }
        }
    }

    #[inline]
    fn value(&self) -> &[u8] {
        match self {
            Source::Level(level) => match &level.walk {
                Some(walk) => &walk.data[walk.block.value()],
                None => &[],
            },
            Source::Logs { table, at } => table.value(*at).unwrap_or_default(),
        }
    }

    fn file(&self) -> &str {
        match self {
            Source::Level(level) => level.walk.as_ref().map_or("", |walk| &walk.table.name),
            Source::Logs { .. } => "the log",
        }
    }
}

/// The merged walk. Sources that have ended are dropped, so that a walk that is down to one
/// compares nothing.
pub(super) struct MergeCursor {
    sources: Vec<Source>,
    end: Option<Vec<u8>>,
    /// Index of the source whose entry is current, and of the one that comes next to it.
    current: usize,
    rival: Option<usize>,
    last_key: Vec<u8>,
    begun: bool,
}

/// Groups of tables to merge: each group's tables don't overlap.
pub(super) struct Plan {
    pub(super) tables: Arc<Tables>,
    pub(super) groups: Vec<Vec<TableFile>>,
    pub(super) logs: Arc<MemTable>,
}

impl MergeCursor {
    /// A walk over `range`.
    pub(super) fn new(plan: Plan, range: &KeyRange) -> Result<Self> {
        let mut sources = Vec::with_capacity(plan.groups.len() + 1);
        if range.is_empty() {
            return Ok(Self::over(sources, range));
        }
        for group in plan.groups {
            let mut level = LevelWalk {
                tables: Arc::clone(&plan.tables),
                files: group.into_iter(),
                walk: None,
                start: range.start.clone(),
            };
            if level.advance()? {
                sources.push(Source::Level(Box::new(level)));
            }
        }
        let at = plan.logs.lower_bound(&range.start);
        if at < plan.logs.len() {
            sources.push(Source::Logs { table: plan.logs, at });
        }
        Ok(Self::over(sources, range))
    }

    fn over(sources: Vec<Source>, range: &KeyRange) -> Self {
        Self {
            sources,
            end: range.end.clone(),
            current: 0,
            rival: None,
            last_key: Vec::new(),
            begun: false,
        }
    }

    /// Goes to the next internal entry; false when all sources have ended.
    fn step(&mut self) -> Result<bool> {
        if self.begun {
            if !self.sources[self.current].advance()? {
                self.sources.swap_remove(self.current);
                self.choose();
            } else if let Some(rival) = self.rival
                && order(&self.sources[self.current], &self.sources[rival]) == Ordering::Greater
            {
                self.choose();
            }
        } else {
            self.begun = true;
            self.choose();
        }
        Ok(!self.sources.is_empty())
    }

    /// Finds the least source and the one after it.
    fn choose(&mut self) {
        self.current = 0;
        self.rival = None;
        for index in 1..self.sources.len() {
            if order(&self.sources[index], &self.sources[self.current]) == Ordering::Less {
                self.rival = Some(self.current);
                self.current = index;
            } else if self.rival.is_none_or(|rival| {
                order(&self.sources[index], &self.sources[rival]) == Ordering::Less
            }) {
                self.rival = Some(index);
            }
        }
    }
}

/// User keys ascend; of one key the newest change comes first.
#[inline]
fn order(a: &Source, b: &Source) -> Ordering {
    match (a.key(), b.key()) {
        (Some((a, newer)), Some((b, older))) => a.cmp(b).then(older.cmp(&newer)),
        // A key too short to be one: let it come up, where it is refused.
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
    }
}

impl Cursor for MergeCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let mut first = !self.begun;
        loop {
            if !self.step()? {
                return Ok(None);
            }
            let source = &self.sources[self.current];
            let Some((key, tag)) = source.key() else {
                return Err(corrupt(source.file(), 0, "an entry's key is too short"));
            };
            if self.end.as_ref().is_some_and(|end| key >= end.as_slice()) {
                self.sources.clear();
                return Ok(None);
            }
            if !first && key == self.last_key {
                continue;
            }
            first = false;
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
            match tag & 0xff {
                0 => {}
                1 => break,
                _ => return Err(corrupt(source.file(), 0, "an entry is of an unknown kind")),
            }
        }
        let source = &self.sources[self.current];
        Ok(Some((&self.last_key, source.value())))
    }
}
