//! One version of the database: its tables and logs, as they were when it was opened.

use super::block::BlockCursor;
use super::crc::corrupt;
use super::cursor::{MergeCursor, Plan, split_internal};
use super::manifest::{Manifest, TableFile};
use super::memtable::MemTable;
use super::table::{Handle, Tables};
use std::path::Path;
use std::sync::Arc;
use transload_store::{Cursor, KeyRange, Result, Snapshot};

/// Entries of the logs count as a place to divide every so many bytes.
const LOG_SAMPLE_BYTES: u64 = 64 << 10;

/// The version.
pub(super) struct LevelDbSnapshot {
    tables: Arc<Tables>,
    logs: Arc<MemTable>,
    /// Newest first; they may overlap.
    level_zero: Vec<TableFile>,
    /// One group a level, by smallest key; a group's tables don't overlap.
    levels: Vec<Vec<TableFile>>,
}

impl LevelDbSnapshot {
    /// Reads manifest and logs of `dir`.
    pub(super) fn open(dir: &Path, cache_bytes_max: u64) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let logs = Arc::new(MemTable::replay(dir, &manifest)?);
        let mut level_zero = Vec::new();
        let mut levels: Vec<Vec<TableFile>> = Vec::new();
        for ((level, _), file) in manifest.tables {
            if level == 0 {
                level_zero.push(file);
                continue;
            }
            let level = usize::try_from(level - 1).unwrap_or(usize::MAX).min(63);
            levels.resize(levels.len().max(level + 1), Vec::new());
            levels[level].push(file);
        }
        level_zero.sort_by_key(|file| std::cmp::Reverse(file.number));
        levels.retain(|level| !level.is_empty());
        for level in &mut levels {
            level.sort_by(|a, b| user(&a.smallest).cmp(user(&b.smallest)));
            // A user key may be the last of one table and the first of the next, as versions.
            if let Some(pair) =
                level.windows(2).find(|pair| user(&pair[0].largest) > user(&pair[1].smallest))
            {
                return Err(corrupt(&manifest.name, 0, "two tables of one level overlap")
                    .with("tables", format!("{} and {}", pair[0].number, pair[1].number)));
            }
        }
        Ok(Self { tables: Arc::new(Tables::new(dir, cache_bytes_max)), logs, level_zero, levels })
    }

    /// Tables that may hold keys of `range`, in groups that don't overlap.
    fn plan(&self, range: &KeyRange) -> Plan {
        let touches = |file: &&TableFile| {
            user(&file.largest) >= range.start.as_slice()
                && range.end.as_ref().is_none_or(|end| user(&file.smallest) < end.as_slice())
        };
        let mut groups: Vec<Vec<TableFile>> =
            self.level_zero.iter().filter(touches).map(|file| vec![file.clone()]).collect();
        for level in &self.levels {
            let files: Vec<TableFile> = level.iter().filter(touches).cloned().collect();
            if !files.is_empty() {
                groups.push(files);
            }
        }
        Plan { tables: Arc::clone(&self.tables), groups, logs: Arc::clone(&self.logs) }
    }

    /// The newest change of `key` in a table: its tag and value.
    fn get_in(&self, file: &TableFile, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
        if key < user(&file.smallest) || key > user(&file.largest) {
            return Ok(None);
        }
        let table = self.tables.get(file.number, file.size)?;
        let own = Handle { offset: table.data_bytes(), size: 0 };
        let before = |other: &[u8]| split_internal(other).is_none_or(|(user, _)| user < key);
        let mut index = BlockCursor::new(&table.index).map_err(table.bad(own))?;
        let mut more = index.seek(&table.index, before).map_err(table.bad(own))?;
        // A separator equal to the key may stand above a block that ends before it.
        while more {
            let handle = table.handle(&index)?;
            let block = self.tables.block(&table, handle)?;
            let mut cursor = BlockCursor::new(&block).map_err(table.bad(handle))?;
            if cursor.seek(&block, before).map_err(table.bad(handle))? {
                return Ok(split_internal(cursor.key())
                    .filter(|(user, _)| *user == key)
                    .map(|(_, tag)| (tag, block[cursor.value()].to_vec())));
            }
            more = index.advance(&table.index).map_err(table.bad(own))?;
        }
        Ok(None)
    }

    /// Places to divide at, with the bytes up to each, unsorted.
    fn samples(&self, range: &KeyRange, table_bytes_max: u64) -> Result<Vec<(Vec<u8>, u64)>> {
        let plan = self.plan(range);
        let mut samples = Vec::new();
        for file in plan.groups.into_iter().flatten() {
            if file.size <= table_bytes_max {
                samples.push((user(&file.largest).to_vec(), file.size));
                continue;
            }
            let table = self.tables.get(file.number, file.size)?;
            for (separator, handle) in table.blocks()? {
                if let Some((key, _)) = split_internal(&separator) {
                    samples.push((key.to_vec(), handle.size));
                }
            }
        }
        let mut since = 0;
        for index in self.logs.lower_bound(&range.start)..self.logs.len() {
            let key = self.logs.key(index);
            if !range.contains(key) {
                break;
            }
            since += (key.len() + self.logs.value(index).map_or(0, <[u8]>::len)) as u64;
            if since >= LOG_SAMPLE_BYTES.min(table_bytes_max.max(1)) || index + 1 == self.logs.len()
            {
                samples.push((key.to_vec(), since));
                since = 0;
            }
        }
        Ok(samples)
    }
}

/// The user key of an internal key whose length the manifest's reader has checked.
fn user(internal: &[u8]) -> &[u8] {
    split_internal(internal).map_or(internal, |(user, _)| user)
}

impl Snapshot for LevelDbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let at = self.logs.lower_bound(key);
        if at < self.logs.len() && self.logs.key(at) == key {
            return Ok(self.logs.value(at).map(<[u8]>::to_vec));
        }
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for file in &self.level_zero {
            let found = self.get_in(file, key)?;
            newest = newest.max_by(found);
        }
        for level in &self.levels {
            if newest.is_some() {
                break;
            }
            // The last versions of a key may spill into the next table; the first is newest.
            let first = level.partition_point(|file| user(&file.largest) < key);
            if let Some(file) = level.get(first) {
                newest = self.get_in(file, key)?;
            }
        }
        match newest {
            None => Ok(None),
            Some((tag, value)) => match tag & 0xff {
                0 => Ok(None),
                1 => Ok(Some(value)),
                _ => Err(corrupt("a table", 0, "an entry is of an unknown kind")),
            },
        }
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(MergeCursor::new(self.plan(range), range)?))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let mut samples = self.samples(range, chunk_bytes / 2)?;
        samples.sort_unstable();
        let (mut points, mut since) = (Vec::new(), 0);
        for (key, bytes) in samples {
            since += bytes;
            let is_new = points.last().is_none_or(|last: &Vec<u8>| *last < key);
            if since >= chunk_bytes && is_new && key > range.start && range.contains(&key) {
                points.push(key);
                since = 0;
            }
        }
        Ok(points)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        let samples = self.samples(range, 0)?;
        Ok(samples.iter().filter(|(key, _)| range.contains(key)).map(|(_, bytes)| bytes).sum())
    }
}

/// Keeps the newer of two changes.
trait Newer {
    fn max_by(self, other: Self) -> Self;
}

impl Newer for Option<(u64, Vec<u8>)> {
    fn max_by(self, other: Self) -> Self {
        match (&self, &other) {
            (Some((mine, _)), Some((theirs, _))) if theirs > mine => other,
            (None, _) => other,
            _ => self,
        }
    }
}
