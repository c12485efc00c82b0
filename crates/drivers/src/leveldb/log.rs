//! The log format, used by write-ahead logs and manifests.
//!
//! Source: LevelDB `doc/log_format.md`. Blocks of 32 KiB; in each, fragments of
//! `u32 LE masked CRC-32C of type and data || u16 LE length || u8 type || data`, types 1 full,
//! 2 first, 3 middle, 4 last. Fewer than 7 bytes at a block's end are padding. goleveldb and C++
//! LevelDB write the same.

use super::crc::{masked, u32_at};
use transload_store::{Error, Kind, Result};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a record's end.
    Clean,
    /// In the middle of a record, or in bytes that were never written whole; nothing valid
    /// follows. So a process ends that is killed while it writes.
    Torn {
        /// Where the last whole record ended.
        offset: u64,
    },
}

enum Fragment<'a> {
    Whole {
        kind: u8,
        data: &'a [u8],
        end: usize,
    },
    /// Nothing more in this block.
    Padding,
    Bad,
}

/// Calls `each` with every record of `bytes`, in order, and says how the log ended.
///
/// # Errors
/// [`Kind::Corrupt`] when a fragment is damaged and a whole one follows later: that is no torn
/// tail but lost data. Those of `each`.
pub(super) fn records(
    bytes: &[u8],
    file: &str,
    mut each: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<End> {
    let mut at = 0;
    let mut last_good = 0;
    let mut gathered: Option<Vec<u8>> = None;
    while at < bytes.len() {
        match fragment(bytes, at) {
            Fragment::Padding => at = next_block(at),
            Fragment::Bad => return torn(bytes, at, last_good, file),
            Fragment::Whole { kind, data, end } => {
                match (kind, gathered.take()) {
                    (1, None) => each(data, at as u64)?,
                    (2, None) => gathered = Some(data.to_vec()),
                    (3, Some(mut so_far)) => {
                        so_far.extend_from_slice(data);
                        gathered = Some(so_far);
                    }
                    (4, Some(mut so_far)) => {
                        so_far.extend_from_slice(data);
                        each(&so_far, at as u64)?;
                    }
                    _ => return Err(damaged(file, at, "fragments don't follow one another")),
                }
                at = end;
                if gathered.is_none() {
                    last_good = at;
                }
            }
        }
    }
    match gathered {
        None => Ok(End::Clean),
        Some(_) => Ok(End::Torn { offset: last_good as u64 }),
    }
}

fn fragment(bytes: &[u8], at: usize) -> Fragment<'_> {
    let block_end = next_block(at);
    if block_end - at < HEADER_BYTES {
        return Fragment::Padding;
    }
    let Some(header) = bytes.get(at..at + HEADER_BYTES) else { return Fragment::Bad };
    let length = usize::from(header[4]) | usize::from(header[5]) << 8;
    let (kind, start) = (header[6], at + HEADER_BYTES);
    let end = start + length;
    if !(1..=4).contains(&kind) || end > block_end || end > bytes.len() {
        return Fragment::Bad;
    }
    let data = &bytes[start..end];
    if u32_at(header, 0) != Some(masked(&[&[kind], data])) {
        return Fragment::Bad;
    }
    Fragment::Whole { kind, data, end }
}

fn next_block(at: usize) -> usize {
    (at / BLOCK_BYTES + 1) * BLOCK_BYTES
}

/// A damaged fragment at `at` is a torn tail only when no later block begins with a whole
/// fragment.
fn torn(bytes: &[u8], at: usize, last_good: usize, file: &str) -> Result<End> {
    let mut block = next_block(at);
    while block < bytes.len() {
        if matches!(fragment(bytes, block), Fragment::Whole { .. }) {
            return Err(damaged(file, at, "a damaged record with whole ones after it"));
        }
        block += BLOCK_BYTES;
    }
    Ok(End::Torn { offset: last_good as u64 })
}

fn damaged(file: &str, at: usize, what: &str) -> Error {
    Error::new(Kind::Corrupt, "read the log", what)
        .with("file", file)
        .with("offset", at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(records: &[Vec<u8>]) -> Vec<u8> {
        let mut log = Vec::new();
        for record in records {
            let (mut rest, mut first) = (&record[..], true);
            loop {
                let mut room = next_block(log.len()) - log.len();
                if room < HEADER_BYTES {
                    log.resize(log.len() + room, 0);
                    room = BLOCK_BYTES;
                }
                let take = rest.len().min(room - HEADER_BYTES);
                let (data, left) = rest.split_at(take);
                let kind = match (first, left.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                log.extend(masked(&[&[kind], data]).to_le_bytes());
                log.extend(u16::try_from(take).unwrap().to_le_bytes());
                log.push(kind);
                log.extend(data);
                (rest, first) = (left, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        log
    }

    fn read(log: &[u8]) -> Result<(Vec<Vec<u8>>, End)> {
        let mut seen = Vec::new();
        let end = records(log, "log", |record, _| {
            seen.push(record.to_vec());
            Ok(())
        })?;
        Ok((seen, end))
    }

    fn some_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let size = prop_oneof![0usize..50, 32_000usize..33_000, 60_000usize..100_000];
        let record = (any::<u8>(), size).prop_map(|(byte, size)| vec![byte; size]);
        proptest::collection::vec(record, 0..6)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records in some_records()) {
            let (seen, end) = read(&write(&records)).unwrap();
            prop_assert_eq!(seen, records);
            prop_assert_eq!(end, End::Clean);
        }

        #[test]
        fn a_cut_log_gives_a_prefix(records in some_records(), cut in any::<prop::sample::Index>()) {
            let log = write(&records);
            prop_assume!(!log.is_empty());
            let (seen, _) = read(&log[..cut.index(log.len())]).unwrap();
            prop_assert_eq!(&records[..seen.len()], &seen[..]);
        }

        #[test]
        fn a_flipped_bit_never_gives_another_record(
            records in some_records(), at in any::<prop::sample::Index>(), bit in 0..8u8
        ) {
            let mut log = write(&records);
            prop_assume!(!log.is_empty());
            let at = at.index(log.len());
            log[at] ^= 1 << bit;
            if let Ok((seen, _)) = read(&log) {
                prop_assert!(seen.len() <= records.len());
                prop_assert_eq!(&records[..seen.len()], &seen[..]);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn damage_before_whole_records_is_not_a_torn_tail() {
        let mut log = write(&[vec![1; 20_000], vec![2; 20_000], vec![3; 40_000]]);
        log[100] ^= 1;
        assert_eq!(read(&log).unwrap_err().kind(), Kind::Corrupt);
    }
}
