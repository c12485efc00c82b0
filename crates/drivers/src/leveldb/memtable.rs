//! The entries that only the write-ahead logs hold, in key order.
//!
//! Source: LevelDB `db/write_batch.cc`. A log record is a batch: u64 LE first sequence, u32 LE
//! count, then for each change a byte (0 deletion, 1 value), a length-prefixed key and, for a
//! value, a length-prefixed value.

use super::encoding::{length, u32_at, u64_at};
use super::fault::{READ, corrupt, sound, unknown};
use super::files::{Files, log_name, log_numbers, read_whole};
use super::internal_key::{SEQUENCE_MAX, Tagged};
use super::log::{End, records};
use super::manifest::Manifest;
use std::fs;
use std::path::Path;
use transload_store::{Error, KEY_BYTES_MAX, Kind, Result};

/// Logs are held in memory, so they may take half of what the caller gives, but always this much:
/// goleveldb rolls a log at 4 MiB, nodes with large caches at some hundred.
const LOG_BYTES_MIN: u64 = 64 << 20;

/// Logs larger than this together are refused whatever the caller gives: places in them are u32.
const LOG_BYTES_MAX: u64 = 3 << 30;

/// Bytes of a batch before its changes.
const BATCH_HEADER_BYTES: usize = 12;

/// One change of a key: places in the log that it came from.
#[derive(Clone, Copy, Debug)]
struct Entry {
    log: u32,
    key_at: u32,
    key_bytes: u32,
    value_at: u32,
    value_bytes: u32,
    tag: u64,
}

/// The newest change of every key that occurs in the logs.
#[derive(Debug, Default)]
pub(super) struct MemTable {
    logs: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    next_sequence: u64,
}

impl MemTable {
    /// Replays the logs that the manifest still needs. A torn record may only be the last thing
    /// in all of them.
    pub(super) fn replay(
        files: &dyn Files,
        dir: &Path,
        manifest: &Manifest,
        memory_bytes_max: u64,
    ) -> Result<Self> {
        let mut table = Self::default();
        let mut numbers = log_numbers(dir)?;
        numbers.retain(|number| manifest.needs_log(*number));
        if manifest.log_number != 0 && !numbers.contains(&manifest.log_number) {
            let what = "a log that the manifest needs is missing";
            return Err(corrupt(&log_name(manifest.log_number), 0, what)
                .with("path", dir.display().to_string()));
        }
        let mut room = Room::new(memory_bytes_max);
        let mut torn: Option<(u64, u64)> = None;
        for number in numbers {
            let bytes = room.read_log(files, dir, number)?;
            let before = table.entries.len();
            let end = table.add_log(bytes, &log_name(number))?;
            if let Some((torn, offset)) = torn
                && table.entries.len() > before
            {
                let what = "a log ends in a torn record although a newer log goes on";
                return Err(corrupt(&log_name(torn), offset, what));
            }
            if let End::Torn { offset } = end {
                torn = Some((number, offset));
            }
        }
        table.settle();
        Ok(table)
    }

    /// Takes in the whole content of a log.
    pub(super) fn add_log(&mut self, bytes: Vec<u8>, name: &str) -> Result<End> {
        let log = records(bytes, name)?;
        let index = u32::try_from(self.logs.len()).unwrap_or(u32::MAX);
        for (place, offset) in log.places {
            let batch = Batch { bytes: &log.bytes[..place.end], name, offset };
            self.next_sequence =
                batch.changes(place.start, index, self.next_sequence, &mut self.entries)?;
        }
        self.logs.push(log.bytes);
        Ok(log.end)
    }

    /// Sorts, and keeps the newest change of each key.
    pub(super) fn settle(&mut self) {
        let logs = &self.logs;
        self.entries
            .sort_unstable_by(|a, b| key(logs, a).cmp(key(logs, b)).then(b.tag.cmp(&a.tag)));
        self.entries.dedup_by(|later, first| key(logs, later) == key(logs, first));
    }

    /// How many keys were changed.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The key at `index`, with its tag.
    #[inline]
    pub(super) fn tagged(&self, index: usize) -> Tagged<'_> {
        let entry = &self.entries[index];
        (key(&self.logs, entry), entry.tag)
    }

    /// The value at `index`; empty for a deletion.
    #[inline]
    pub(super) fn value(&self, index: usize) -> &[u8] {
        let entry = &self.entries[index];
        slice(&self.logs, entry.log, entry.value_at, entry.value_bytes)
    }

    /// The index of the first key that isn't less than `bound`.
    pub(super) fn lower_bound(&self, bound: &[u8]) -> usize {
        self.entries.partition_point(|entry| key(&self.logs, entry) < bound)
    }
}

#[inline]
fn key<'a>(logs: &'a [Vec<u8>], entry: &Entry) -> &'a [u8] {
    slice(logs, entry.log, entry.key_at, entry.key_bytes)
}

#[inline]
fn slice(logs: &[Vec<u8>], log: u32, at: u32, bytes: u32) -> &[u8] {
    &logs[log as usize][at as usize..at as usize + bytes as usize]
}

/// How much of logs may still be read.
struct Room {
    limit_bytes: u64,
    left_bytes: u64,
}

impl Room {
    fn new(memory_bytes_max: u64) -> Self {
        let limit_bytes = (memory_bytes_max / 2).clamp(LOG_BYTES_MIN, LOG_BYTES_MAX);
        Self { limit_bytes, left_bytes: limit_bytes }
    }

    fn read_log(&mut self, files: &dyn Files, dir: &Path, number: u64) -> Result<Vec<u8>> {
        let name = log_name(number);
        let path = dir.join(&name);
        let failed = |error| Error::io(READ, &path, error);
        let size_bytes = fs::metadata(&path).map_err(failed)?.len();
        let Some(left) = self.left_bytes.checked_sub(size_bytes) else {
            let what = "the logs don't fit into memory; allow more of it, or start and stop the \
                        node once, so that its engine moves them into tables";
            return Err(Error::new(Kind::Limit, READ, what)
                .with("file", name)
                .with("limit_bytes", self.limit_bytes.to_string()));
        };
        self.left_bytes = left;
        read_whole(files, &path, size_bytes)
    }
}

/// One batch, up to its end in the log's gathered bytes.
struct Batch<'a> {
    bytes: &'a [u8],
    name: &'a str,
    offset: u64,
}

impl Batch<'_> {
    /// Appends the changes of the batch that begins at `start`; answers the sequence number that
    /// the next batch can't be below.
    fn changes(
        &self,
        start: usize,
        log: u32,
        sequence_min: u64,
        entries: &mut Vec<Entry>,
    ) -> Result<u64> {
        let first = self.sound(u64_at(self.bytes, start))?;
        let count = u64::from(self.sound(u32_at(self.bytes, start + 8))?);
        if first < sequence_min {
            return Err(self.corrupt("a batch's sequence number goes back"));
        }
        let Some(next) = first.checked_add(count).filter(|next| *next <= SEQUENCE_MAX) else {
            return Err(self.corrupt("a batch's sequence number is beyond what LevelDB writes"));
        };
        let mut rest = &self.bytes[start + BATCH_HEADER_BYTES..];
        for sequence in first..next {
            let (&kind, after) = self.sound(rest.split_first())?;
            rest = after;
            let (key_at, key_bytes) = self.part(&mut rest)?;
            if key_bytes as usize > KEY_BYTES_MAX {
                return Err(Error::new(Kind::Limit, READ, "a key in the log is too long")
                    .with("file", self.name)
                    .with("offset", self.offset.to_string())
                    .with("limit_bytes", KEY_BYTES_MAX.to_string()));
            }
            let (value_at, value_bytes) = match kind {
                0 => (0, 0),
                1 => self.part(&mut rest)?,
                _ => {
                    let what = "a batch has a kind of change that LevelDB doesn't write";
                    return Err(unknown(self.name, self.offset, what)
                        .with("kind_of_change", kind.to_string()));
                }
            };
            let tag = sequence << 8 | u64::from(kind);
            entries.push(Entry { log, key_at, key_bytes, value_at, value_bytes, tag });
        }
        if !rest.is_empty() {
            return Err(self.corrupt("a batch has bytes after its changes"));
        }
        Ok(next)
    }

    /// Takes a length and so many bytes; answers their place.
    fn part(&self, rest: &mut &[u8]) -> Result<(u32, u32)> {
        let place = |rest: &mut &[u8]| {
            let bytes = length(rest)?;
            let at = self.bytes.len() - rest.len();
            *rest = rest.get(bytes..)?;
            Some((u32::try_from(at).ok()?, u32::try_from(bytes).ok()?))
        };
        self.sound(place(rest))
    }

    fn sound<T>(&self, value: Option<T>) -> Result<T> {
        sound(value, self.name, self.offset, "a batch in the log is cut off")
    }

    fn corrupt(&self, what: &str) -> Error {
        corrupt(self.name, self.offset, what)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::leveldb::files::OnDisk;
    use crate::leveldb::log::tests::write;
    use proptest::prelude::*;

    /// A change of a key; `None` deletes it.
    type Change<'a> = (&'a [u8], Option<&'a [u8]>);

    pub(in crate::leveldb) fn batch(first: u64, changes: &[Change<'_>]) -> Vec<u8> {
        let mut bytes = first.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(changes.len()).unwrap().to_le_bytes());
        let part = |bytes: &mut Vec<u8>, part: &[u8]| {
            bytes.push(u8::try_from(part.len()).unwrap());
            bytes.extend(part);
        };
        for (key, value) in changes {
            bytes.push(u8::from(value.is_some()));
            part(&mut bytes, key);
            if let Some(value) = value {
                part(&mut bytes, value);
            }
        }
        bytes
    }

    fn manifest(log_number: u64) -> Manifest {
        Manifest { log_number, ..Manifest::default() }
    }

    #[test]
    fn the_newest_change_of_a_key_wins() {
        let mut table = MemTable::default();
        let one = batch(1, &[(b"a", Some(b"1")), (b"b", Some(b"1"))]);
        let two = batch(3, &[(b"b", None), (b"a", Some(b"2"))]);
        table.add_log(write(&[one, two]), "log").unwrap();
        table.settle();
        let all: Vec<_> = (0..table.len()).map(|at| (table.tagged(at), table.value(at))).collect();
        assert_eq!(all, [((&b"a"[..], 0x401), &b"2"[..]), ((b"b", 0x300), b"")]);
        assert_eq!(table.lower_bound(b"aa"), 1);
    }

    #[test]
    fn a_torn_log_is_an_end_only_when_nothing_newer_follows() {
        let dir = tempfile::tempdir().unwrap();
        let put = |number, bytes: &[u8]| {
            fs::write(dir.path().join(log_name(number)), bytes).unwrap();
        };
        let whole = write(&[batch(1, &[(b"a", Some(b"1"))]), batch(2, &[(b"b", Some(b"1"))])]);
        put(4, b"not needed any more");
        put(5, &whole[..whole.len() - 1]);
        put(6, b"");
        let table = MemTable::replay(&OnDisk, dir.path(), &manifest(5), 0).unwrap();
        assert_eq!(table.len(), 1);
        put(6, &write(&[batch(3, &[(b"c", Some(b"1"))])]));
        let error = MemTable::replay(&OnDisk, dir.path(), &manifest(5), 0).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(error.context()[0], ("file", "000005.log".to_owned()));
    }

    #[test]
    fn a_missing_log_is_lost_data_and_not_an_empty_database() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            MemTable::replay(&OnDisk, dir.path(), &manifest(5), 0).unwrap_err().kind(),
            Kind::Corrupt
        );
        assert_eq!(MemTable::replay(&OnDisk, dir.path(), &manifest(0), 0).unwrap().len(), 0);
    }

    #[test]
    fn logs_beyond_the_memory_limit_are_refused_before_they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let log = fs::File::create(dir.path().join(log_name(5))).unwrap();
        log.set_len(LOG_BYTES_MIN + 1).unwrap();
        let replay = |memory| MemTable::replay(&OnDisk, dir.path(), &manifest(5), memory);
        assert_eq!(replay(0).unwrap_err().kind(), Kind::Limit);
        // With room for it, a log of zeros is one that was never written.
        assert_eq!(replay(LOG_BYTES_MAX).unwrap().len(), 0);
    }

    #[test]
    fn batches_that_contradict_themselves_are_refused() {
        let kind = |batches: &[Vec<u8>]| {
            MemTable::default().add_log(write(batches), "log").unwrap_err().kind()
        };
        let good = batch(5, &[(b"a", Some(b"1"))]);
        assert_eq!(kind(&[good[..11].to_vec()]), Kind::Corrupt);
        assert_eq!(kind(&[good[..good.len() - 1].to_vec()]), Kind::Corrupt);
        assert_eq!(kind(&[[&good[..], b"x"].concat()]), Kind::Corrupt);
        assert_eq!(kind(&[good.clone(), good.clone()]), Kind::Corrupt);
        assert_eq!(kind(&[batch(u64::MAX >> 8, &[(b"a", None)])]), Kind::Corrupt);
        let mut foreign = good;
        foreign[12] = 5;
        assert_eq!(kind(&[foreign]), Kind::UnknownFormat);
    }

    proptest! {
        #[test]
        fn arbitrary_batches_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut table = MemTable::default();
            if table.add_log(write(&[bytes]), "log").is_ok() {
                table.settle();
                for at in 0..table.len() {
                    let _ = (table.tagged(at), table.value(at));
                }
            }
        }
    }
}
