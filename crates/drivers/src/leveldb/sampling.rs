//! Sizes of key ranges and places to divide them, from the manifest and the tables' indexes.

use super::internal_key::{TAG_MAX, split, user};
use super::manifest::TableFile;
use super::tables::Tables;
use super::version::Version;
use transload_store::{KeyRange, Result};

/// A table at most this fraction of a chunk counts whole, at its last key, without being opened.
const TABLES_A_CHUNK: u64 = 8;

/// Entries of the logs are counted together up to this many bytes.
const LOG_SAMPLE_BYTES: u64 = 16 << 10;

/// A place to divide at, and about how many bytes end there.
type Sample = (Vec<u8>, u64);

/// Keys that divide `range` into pieces of about `chunk_bytes`.
pub(super) fn split_points(
    version: &Version,
    tables: &Tables,
    range: &KeyRange,
    chunk_bytes: u64,
) -> Result<Vec<Vec<u8>>> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let mut samples = Vec::new();
    for run in &version.runs {
        for file in &run.files()[run.touched(range)] {
            sample_table(tables, file, range, chunk_bytes / TABLES_A_CHUNK, &mut samples)?;
        }
    }
    sample_logs(version, range, chunk_bytes, &mut samples);
    samples.sort_unstable();
    let mut points: Vec<Vec<u8>> = Vec::new();
    let mut since_bytes = 0;
    for (key, bytes) in samples {
        since_bytes += bytes;
        let divides = key > range.start
            && range.contains(&key)
            && points.last().is_none_or(|last| *last < key);
        if since_bytes >= chunk_bytes && divides {
            points.push(key);
            since_bytes = 0;
        }
    }
    Ok(points)
}

fn sample_table(
    tables: &Tables,
    file: &TableFile,
    range: &KeyRange,
    whole_bytes_max: u64,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    if file.size_bytes <= whole_bytes_max {
        samples.push((user(&file.largest).to_vec(), file.size_bytes));
        return Ok(());
    }
    let table = tables.get(file)?;
    let mut index = table.index_cursor()?;
    let bad = |bad| table.bad_index(bad);
    let mut more = index.seek(table.index(), (&range.start, TAG_MAX)).map_err(bad)?;
    while more {
        let Some((separator, _)) = split(index.key()) else { break };
        if range.end.as_ref().is_some_and(|end| separator >= end.as_slice()) {
            break;
        }
        samples.push((separator.to_vec(), table.handle(&index)?.size_bytes));
        more = index.advance(table.index()).map_err(bad)?;
    }
    Ok(())
}

fn sample_logs(version: &Version, range: &KeyRange, chunk_bytes: u64, samples: &mut Vec<Sample>) {
    let logs = &version.logs;
    let mut since_bytes = 0;
    for index in logs.lower_bound(&range.start)..logs.len() {
        let (key, _) = logs.tagged(index);
        if !range.contains(key) {
            break;
        }
        since_bytes += (key.len() + logs.value(index).len()) as u64;
        if since_bytes >= LOG_SAMPLE_BYTES.min(chunk_bytes) {
            samples.push((key.to_vec(), since_bytes));
            since_bytes = 0;
        }
    }
}

/// About how many bytes `range` takes on disk. Only tables that cross its bounds are opened.
pub(super) fn approximate_bytes(
    version: &Version,
    tables: &Tables,
    range: &KeyRange,
) -> Result<u64> {
    if range.is_empty() {
        return Ok(0);
    }
    let mut bytes = 0;
    for run in &version.runs {
        for file in &run.files()[run.touched(range)] {
            let inside =
                range.contains(user(&file.smallest)) && range.contains(user(&file.largest));
            bytes += if inside { file.size_bytes } else { bytes_within(tables, file, range)? };
        }
    }
    let logs = &version.logs;
    for index in logs.lower_bound(&range.start)..logs.len() {
        let (key, _) = logs.tagged(index);
        if !range.contains(key) {
            break;
        }
        bytes += (key.len() + logs.value(index).len()) as u64;
    }
    Ok(bytes)
}

/// Bytes of the blocks between a range's bounds.
fn bytes_within(tables: &Tables, file: &TableFile, range: &KeyRange) -> Result<u64> {
    let table = tables.get(file)?;
    let mut index = table.index_cursor()?;
    let mut offset_of = |key: &[u8]| {
        let found =
            index.seek(table.index(), (key, TAG_MAX)).map_err(|bad| table.bad_index(bad))?;
        if found {
            table.handle(&index).map(|handle| handle.offset)
        } else {
            Ok(table.data_bytes())
        }
    };
    let start = offset_of(&range.start)?;
    let end = match &range.end {
        Some(end) => offset_of(end)?,
        None => table.data_bytes(),
    };
    Ok(end.saturating_sub(start))
}
