//! The log format, used by write-ahead logs and manifests.
//!
//! Source: LevelDB `doc/log_format.md`. Blocks of 32 KiB; in each, fragments of
//! `u32 LE masked CRC-32C of type and data || u16 LE length || u8 type || data`, types 1 full,
//! 2 first, 3 middle, 4 last. Fewer than 7 bytes at a block's end are padding. goleveldb and C++
//! LevelDB write the same.
//!
//! How a log may end. A process that is killed leaves a prefix of what it wrote: the file ends
//! inside a fragment, or between the fragments of a record. A power cut may also leave zeros
//! where data was never written. Such a tail is torn, and the record in it was never
//! acknowledged as durable. Anything else that doesn't match its checksum is damage, at the end
//! of a log too, and an error. (LevelDB's own readers drop damaged records in silence.)

use super::encoding::{masked_crc, u32_at};
use super::fault::corrupt;
use std::ops::Range;
use transload_store::Result;

pub(super) const BLOCK_BYTES: usize = 32 << 10;
pub(super) const HEADER_BYTES: usize = 7;

/// Storage writes whole sectors: where a power cut tore a fragment, zeros begin at a multiple of
/// this.
const SECTOR_BYTES: usize = 512;

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a record's end.
    Clean,
    /// In a record that was never written whole.
    Torn {
        /// Where the last whole record ended.
        offset: u64,
    },
}

/// The records of a log. Their data was moved together inside the log's own buffer.
#[derive(Debug)]
pub(super) struct Records {
    /// The log's bytes without headers, padding and torn tail.
    pub(super) bytes: Vec<u8>,
    /// Each record's place in `bytes`, and the offset in the file at which its last fragment
    /// begins.
    pub(super) places: Vec<(Range<usize>, u64)>,
    /// How the log ended.
    pub(super) end: End,
}

/// A fragment's header, once its data was checked.
struct Fragment {
    kind: u8,
    data: Range<usize>,
}

enum Found {
    Fragment(Fragment),
    /// Nothing more in this block.
    Padding,
    /// The file ends in the fragment.
    CutOff,
    /// The fragment can't be right; it claims to end here.
    Damaged(usize),
}

/// Takes the whole content of a log apart.
///
/// # Errors
/// [`transload_store::Kind::Corrupt`] with the offset for damage that no torn tail explains.
pub(super) fn records(mut bytes: Vec<u8>, file: &str) -> Result<Records> {
    let zeros_from = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut places = Vec::new();
    let mut end = End::Clean;
    // Data is moved down over headers and padding, never beyond what is still to be read.
    let (mut at, mut kept, mut record) = (0, 0, None);
    let mut whole_until = 0;
    while at < bytes.len() {
        match fragment(&bytes, at) {
            Found::Padding => at = next_block(at),
            Found::CutOff => {
                if hides_whole_data(&bytes, at) {
                    return Err(corrupt(file, at as u64, "a record's length is damaged"));
                }
                break;
            }
            Found::Damaged(claimed_end) => {
                let torn = zeros_from <= at
                    || zeros_from.next_multiple_of(SECTOR_BYTES) < claimed_end.min(bytes.len());
                if torn {
                    break;
                }
                return Err(corrupt(file, at as u64, "a record doesn't match its checksum"));
            }
            Found::Fragment(Fragment { kind, data }) => {
                let begins = matches!(kind, 1 | 2);
                let start = match (begins, record) {
                    (true, None) => kept,
                    (false, Some(start)) => start,
                    _ => {
                        let what = "the parts of a record don't follow one another";
                        return Err(corrupt(file, at as u64, what));
                    }
                };
                let next = data.end;
                let length = data.len();
                bytes.copy_within(data, kept);
                kept += length;
                record = Some(start);
                if matches!(kind, 1 | 4) {
                    places.push((start..kept, at as u64));
                    record = None;
                    whole_until = next;
                }
                at = next;
            }
        }
    }
    if at < bytes.len() || record.is_some() {
        end = End::Torn { offset: whole_until as u64 };
    }
    bytes.truncate(record.unwrap_or(kept));
    Ok(Records { bytes, places, end })
}

fn fragment(bytes: &[u8], at: usize) -> Found {
    let block_end = next_block(at);
    let start = at + HEADER_BYTES;
    if start > block_end {
        return Found::Padding;
    }
    let Some(header) = bytes.get(at..start) else { return Found::CutOff };
    let length = usize::from(header[4]) | usize::from(header[5]) << 8;
    let (kind, end) = (header[6], start + length);
    if !(1..=4).contains(&kind) || end > block_end {
        return Found::Damaged(start);
    }
    let Some(data) = bytes.get(start..end) else { return Found::CutOff };
    if u32_at(header, 0) != Some(masked_crc(&[&[kind], data])) {
        return Found::Damaged(end);
    }
    Found::Fragment(Fragment { kind, data: start..end })
}

/// Whether the fragment at `at`, which claims to go on beyond the file, is a whole one with a
/// damaged length, or covers a later whole one. In a file that was really cut off there, neither
/// is so.
fn hides_whole_data(bytes: &[u8], at: usize) -> bool {
    let Some(data) = bytes.get(at + HEADER_BYTES..) else { return false };
    let is_whole = u32_at(bytes, at) == Some(masked_crc(&[&bytes[at + 6..at + 7], data]));
    is_whole
        || (at + HEADER_BYTES..bytes.len())
            .any(|later| matches!(fragment(bytes, later), Found::Fragment(_)))
}

fn next_block(at: usize) -> usize {
    (at / BLOCK_BYTES + 1) * BLOCK_BYTES
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use transload_store::Kind;

    pub(in crate::leveldb) fn write(records: &[Vec<u8>]) -> Vec<u8> {
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
                log.extend(masked_crc(&[&[kind], data]).to_le_bytes());
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
        let found = records(log.to_vec(), "log")?;
        let seen = found.places.iter().map(|(place, _)| found.bytes[place.clone()].to_vec());
        Ok((seen.collect(), found.end))
    }

    fn some_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let size = prop_oneof![0usize..50, 32_000usize..33_000, 60_000usize..100_000];
        let record = (1..=255u8, size).prop_map(|(byte, size)| vec![byte; size]);
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
        fn a_log_cut_anywhere_gives_all_whole_records_before_the_cut(
            records in some_records(), cut in any::<prop::sample::Index>()
        ) {
            let log = write(&records);
            prop_assume!(!log.is_empty());
            let cut = cut.index(log.len());
            let (seen, end) = read(&log[..cut]).unwrap();
            let whole = (0..=records.len()).rev().find(|n| write(&records[..*n]).len() <= cut);
            let whole = whole.unwrap();
            prop_assert_eq!(&records[..whole], &seen[..]);
            let is_torn = cut > write(&records[..whole]).len();
            prop_assert!(end == End::Clean || is_torn);
        }

        #[test]
        fn zeros_after_a_power_cut_are_a_torn_tail(
            records in some_records(), from in any::<prop::sample::Index>()
        ) {
            let mut log = write(&records);
            prop_assume!(log.len() > SECTOR_BYTES);
            let from = from.index(log.len()).next_multiple_of(SECTOR_BYTES).min(log.len());
            log[from..].fill(0);
            log.resize(log.len() + 5_000, 0);
            let (seen, _) = read(&log).unwrap();
            let whole = (0..=records.len()).rev().find(|n| write(&records[..*n]).len() <= from);
            prop_assert_eq!(&records[..whole.unwrap()], &seen[..]);
        }

        #[test]
        fn a_flipped_bit_never_gives_another_record_nor_an_early_end(
            records in some_records(), at in any::<prop::sample::Index>(), bit in 0..8u8
        ) {
            let mut log = write(&records);
            prop_assume!(!log.is_empty());
            let at = at.index(log.len());
            log[at] ^= 1 << bit;
            // Only padding can change unnoticed.
            if let Ok((seen, end)) = read(&log) {
                prop_assert_eq!((seen, end), (records, End::Clean));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn damage_is_an_error_in_the_middle_and_at_the_end() {
        let log = write(&[vec![1; 20_000], vec![2; 200], vec![3; 300]]);
        for at in [0, 100, 20_010, log.len() - 1] {
            let mut damaged = log.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged).unwrap_err().kind(), Kind::Corrupt, "byte {at}");
        }
    }
}
