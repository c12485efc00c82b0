//! One version of a database, as the seam's snapshot.

use super::fault::corrupt;
use super::files::Files;
use super::internal_key::has_value;
use super::merge::MergeCursor;
use super::sampling;
use super::tables::Tables;
use super::version::Version;
use std::path::Path;
use std::sync::Arc;
use transload_store::{Cursor, KeyRange, Result, Snapshot};

/// Copies and scans run some cursors at once; each may take this part of the memory for its
/// reads ahead.
const CURSOR_MEMORY_PART: u64 = 16;

/// The version and where its tables are.
pub(super) struct LevelDbSnapshot {
    version: Version,
    tables: Arc<Tables>,
    cursor_bytes_max: usize,
}

impl LevelDbSnapshot {
    /// Reads manifest and logs of `dir`, and checks that every table is there.
    ///
    /// Half of `memory_bytes_max` is for caches.
    pub(super) fn open(files: Arc<dyn Files>, dir: &Path, memory_bytes_max: u64) -> Result<Self> {
        let version = Version::load(&*files, dir, memory_bytes_max)?;
        let tables = Tables::new(files, dir, memory_bytes_max / 2);
        tables.check_present(version.runs.iter().flat_map(|run| run.files()))?;
        let cursor_bytes_max =
            usize::try_from(memory_bytes_max / CURSOR_MEMORY_PART).unwrap_or(usize::MAX);
        Ok(Self { version, tables: Arc::new(tables), cursor_bytes_max })
    }
}

impl Snapshot for LevelDbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // What the logs hold is newer than what any table holds.
        let logs = &self.version.logs;
        let at = logs.lower_bound(key);
        if at < logs.len() && logs.tagged(at).0 == key {
            let is_value = has_value(logs.tagged(at).1) == Some(true);
            return Ok(is_value.then(|| logs.value(at).to_vec()));
        }
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for run in &self.version.runs {
            let Some(file) = run.table_of(key) else { continue };
            if let Some((tag, value)) = self.tables.newest(file, key)?
                && newest.as_ref().is_none_or(|(newest, _)| *newest < tag)
            {
                if has_value(tag).is_none() {
                    let name = format!("{:06}", file.number);
                    return Err(corrupt(&name, 0, "an entry is neither a value nor a deletion"));
                }
                newest = Some((tag, value));
            }
        }
        Ok(newest.filter(|(tag, _)| has_value(*tag) == Some(true)).map(|(_, value)| value))
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let memory = self.cursor_bytes_max;
        Ok(Box::new(MergeCursor::new(&self.version, &self.tables, range, memory)))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        sampling::split_points(&self.version, &self.tables, range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        sampling::approximate_bytes(&self.version, &self.tables, range)
    }
}
