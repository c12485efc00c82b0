//! The entries that only the write-ahead logs hold, in key order.
//!
//! Source: LevelDB `db/write_batch.cc`. A log record is a batch: u64 LE first sequence, u32 LE
//! count, then for each change a byte (0 deletion, 1 value), a length-prefixed key and, for a
//! value, a length-prefixed value.

use super::crc::{prefixed, sound, u32_at, u64_at};
use super::log::{End, records};
use super::manifest::{Manifest, log_name, log_numbers};
use std::fs;
use std::ops::Range;
use std::path::Path;
use transload_store::{Error, Kind, Result};

/// Logs larger than this together are refused: they are read into memory. Nodes roll a log at
/// 4 to 64 MiB.
pub(super) const LOG_BYTES_MAX: u64 = 1 << 30;

/// One change of a key.
#[derive(Clone, Debug)]
struct Entry {
    key: Range<usize>,
    /// `None`: deleted.
    value: Option<Range<usize>>,
    sequence: u64,
}

/// The newest change of every key that occurs in the logs.
#[derive(Clone, Debug, Default)]
pub(super) struct MemTable {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl MemTable {
    /// Replays the logs that the manifest still needs. Only the newest may end in a torn record.
    pub(super) fn replay(dir: &Path, manifest: &Manifest) -> Result<Self> {
        let mut table = Self::default();
        let numbers: Vec<u64> =
            log_numbers(dir)?.into_iter().filter(|number| manifest.needs_log(*number)).collect();
        for (index, number) in numbers.iter().enumerate() {
            let end = table.replay_log(dir, *number)?;
            if let (End::Torn { offset }, true) = (end, index + 1 < numbers.len()) {
                return Err(Error::new(
                    Kind::Corrupt,
                    "read the log",
                    "a log is torn although a newer one follows it",
                )
                .with("file", log_name(*number))
                .with("offset", offset.to_string()));
            }
        }
        table.settle();
        Ok(table)
    }

    fn replay_log(&mut self, dir: &Path, number: u64) -> Result<End> {
        let name = log_name(number);
        let path = dir.join(&name);
        let io = |error| Error::io("read the log", &path, error);
        let size = fs::metadata(&path).map_err(io)?.len();
        if self.bytes.len() as u64 + size > LOG_BYTES_MAX {
            return Err(Error::new(
                Kind::Limit,
                "read the log",
                "the logs are too large to replay",
            )
            .with("file", name)
            .with("limit_bytes", LOG_BYTES_MAX.to_string()));
        }
        let log = fs::read(&path).map_err(io)?;
        records(&log, &name, |batch, offset| self.apply(batch, &name, offset))
    }

    /// Adds the changes of one batch.
    fn apply(&mut self, batch: &[u8], name: &str, offset: u64) -> Result<()> {
        let cut = "a batch in the log is damaged";
        let first = sound(u64_at(batch, 0), name, offset, cut)?;
        let count = sound(u32_at(batch, 8), name, offset, cut)?;
        let base = self.bytes.len();
        self.bytes.extend_from_slice(batch);
        let mut rest = &batch[12..];
        let place = |part: &[u8], rest: &[u8]| {
            let end = base + batch.len() - rest.len();
            end - part.len()..end
        };
        for change in 0..u64::from(count) {
            let (&kind, after) = sound(rest.split_first(), name, offset, cut)?;
            rest = after;
            let key = sound(prefixed(&mut rest), name, offset, cut)?;
            let key = place(key, rest);
            let value = match kind {
                0 => None,
                1 => {
                    let value = sound(prefixed(&mut rest), name, offset, cut)?;
                    Some(place(value, rest))
                }
                _ => return sound(None, name, offset, "a batch has an unknown kind of change"),
            };
            let sequence = sound(first.checked_add(change), name, offset, cut)?;
            self.entries.push(Entry { key, value, sequence });
        }
        sound(rest.is_empty().then_some(()), name, offset, "a batch has bytes after its changes")
    }

    /// Sorts, and keeps the newest change of each key.
    fn settle(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_by(|a, b| {
            bytes[a.key.clone()].cmp(&bytes[b.key.clone()]).then(b.sequence.cmp(&a.sequence))
        });
        self.entries.dedup_by(|later, first| bytes[later.key.clone()] == bytes[first.key.clone()]);
    }

    /// How many keys were changed.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The key at `index`.
    pub(super) fn key(&self, index: usize) -> &[u8] {
        &self.bytes[self.entries[index].key.clone()]
    }

    /// The value at `index`; `None`: deleted.
    pub(super) fn value(&self, index: usize) -> Option<&[u8]> {
        self.entries[index].value.clone().map(|value| &self.bytes[value])
    }

    /// The sequence number at `index`.
    pub(super) fn sequence(&self, index: usize) -> u64 {
        self.entries[index].sequence
    }

    /// The index of the first key that isn't less than `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        self.entries.partition_point(|entry| &self.bytes[entry.key.clone()] < key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(first: u64, changes: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
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

    #[test]
    fn the_newest_change_of_a_key_wins() {
        let mut table = MemTable::default();
        table.apply(&batch(1, &[(b"a", Some(b"1")), (b"b", Some(b"1"))]), "log", 0).unwrap();
        table.apply(&batch(3, &[(b"b", None), (b"a", Some(b"2"))]), "log", 0).unwrap();
        table.settle();
        let all: Vec<_> = (0..table.len()).map(|at| (table.key(at), table.value(at))).collect();
        assert_eq!(all, [(&b"a"[..], Some(&b"2"[..])), (b"b", None)]);
        assert_eq!(table.lower_bound(b"aa"), 1);
    }

    proptest! {
        #[test]
        fn a_damaged_batch_is_an_error_or_other_changes_but_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80)
        ) {
            let mut table = MemTable::default();
            if table.apply(&bytes, "log", 0).is_ok() {
                table.settle();
            }
        }
    }
}
