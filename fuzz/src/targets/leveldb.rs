//! LevelDB: raw bytes, and logs, blocks and tables built around them with right checksums, which
//! no mutation would find.

use super::files::testdata;
use crate::input::Input;
use std::collections::BTreeMap;
use transload_codec::varint::put_uvarint;
use transload_drivers::leveldb::decoders;

const LOG_BLOCK_BYTES: usize = 32 << 10;
const LOG_HEADER_BYTES: usize = 7;
const TABLE_MAGIC: u64 = 0xdb47_7524_8b80_fb57;

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A log of these records, as LevelDB writes it.
fn log_of(records: &[&[u8]]) -> Vec<u8> {
    let mut log = Vec::new();
    for record in records {
        let (mut rest, mut first) = (*record, true);
        loop {
            let mut room = LOG_BLOCK_BYTES - log.len() % LOG_BLOCK_BYTES;
            if room < LOG_HEADER_BYTES {
                log.resize(log.len() + room, 0);
                room = LOG_BLOCK_BYTES;
            }
            let (data, left) = rest.split_at(rest.len().min(room - LOG_HEADER_BYTES));
            let kind = match (first, left.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            let length = u16::try_from(data.len()).expect("a fragment fits a block");
            log.extend(masked_crc(&[&[kind], data].concat()).to_le_bytes());
            log.extend(length.to_le_bytes());
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

/// The log format. A log that is cut off anywhere gives the first of its records, or is refused.
pub(crate) fn log(bytes: &[u8]) {
    let _ = decoders::log_records(bytes);
    let mut input = Input::new(bytes);
    let (cut, room) = (usize::from(input.u16()), usize::from(input.byte()));
    // Long enough that the records after it stand at a block's end. Its bytes begin no fragment:
    // of others the reader would try each in a log that is cut off.
    let filler = vec![0xff; LOG_BLOCK_BYTES - 2 * LOG_HEADER_BYTES - room];
    let mut records: Vec<&[u8]> = vec![&filler];
    while !input.is_empty() {
        records.push(input.piece());
    }
    let whole = log_of(&records);
    assert_eq!(decoders::log_records(&whole).expect("a whole log is sound"), records);
    let kept = whole.len() - cut % (whole.len() - filler.len());
    if let Some(found) = decoders::log_records(&whole[..kept]) {
        assert!(found.len() <= records.len() && records[..found.len()] == found);
    }
}

pub(crate) fn log_seeds() -> Vec<Vec<u8>> {
    let mut seeds = testdata("leveldb", |name| name.ends_with(".log"));
    seeds.push(log_of(&[b"one", b"", b"three"]));
    seeds.push(vec![3, 0, 0, 3, 1, 2, 3, 0, 4, 4, 5, 6, 7]);
    seeds.push(vec![0, 1, 13, 40, 1, 2, 3, 0, 4, 4, 5, 6, 7]);
    seeds
}

/// Batches in a write-ahead log: the last change of a key is the one that is seen.
pub(crate) fn batches(bytes: &[u8]) {
    let _ = decoders::write_ahead_log(&log_of(&[bytes]));
    let mut input = Input::new(bytes);
    let mut records = Vec::new();
    let mut model = BTreeMap::new();
    let mut sequence = 1_u64;
    while !input.is_empty() {
        let (count, gap) = (input.byte() % 8, input.byte());
        sequence += u64::from(gap);
        let mut batch = sequence.to_le_bytes().to_vec();
        batch.extend(u32::from(count).to_le_bytes());
        for _ in 0..count {
            let is_put = input.byte() & 1 == 1;
            batch.push(u8::from(is_put));
            let key = input.piece();
            prefixed(&mut batch, key);
            let value = is_put.then(|| input.piece());
            if let Some(value) = value {
                prefixed(&mut batch, value);
            }
            model.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        }
        sequence += u64::from(count);
        records.push(batch);
    }
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let seen = decoders::write_ahead_log(&log_of(&records)).expect("written as LevelDB does");
    assert_eq!(seen, model.into_iter().collect::<Vec<_>>());
}

pub(crate) fn batch_seeds() -> Vec<Vec<u8>> {
    let logs = testdata("leveldb", |name| name.ends_with(".log"));
    let mut seeds: Vec<_> =
        logs.iter().filter_map(|log| decoders::log_records(log)).flatten().collect();
    seeds.push(b"\x03\x00\x01\x01a\x02xy\x00\x01b\x01\x01a\x00".to_vec());
    seeds
}

/// A manifest's edits, each a record of a sound log, and the same bytes as they are.
pub(crate) fn manifest(bytes: &[u8]) {
    let _ = decoders::manifest(bytes);
    let mut input = Input::new(bytes);
    let mut edits: Vec<&[u8]> = Vec::new();
    while !input.is_empty() {
        edits.push(input.piece());
    }
    if let Some(tables) = decoders::manifest(&log_of(&edits)) {
        // A table takes seven bytes at least.
        assert!(tables <= bytes.len() / 7);
    }
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    let manifests = testdata("leveldb", |name| name.starts_with("MANIFEST"));
    let edits = |manifest: &Vec<u8>| {
        let mut seed = Vec::new();
        for edit in decoders::log_records(manifest).unwrap_or_default() {
            let Ok(length) = u8::try_from(edit.len()) else { continue };
            seed.push(length);
            seed.extend(edit);
        }
        seed
    };
    manifests.iter().map(edits).chain(manifests.clone()).collect()
}

/// Entries as a block, with a restart point every so many.
fn block_of(entries: &[(Vec<u8>, Vec<u8>)], restart_interval: usize) -> Vec<u8> {
    let (mut block, mut restarts, mut last) = (Vec::new(), vec![0_u32], &[][..]);
    for (index, (key, value)) in entries.iter().enumerate() {
        let mut shared = 0;
        if index % restart_interval != 0 {
            shared = key.iter().zip(last).take_while(|(a, b)| a == b).count();
        } else if index > 0 {
            restarts.push(u32::try_from(block.len()).expect("inputs are short"));
        }
        for length in [shared, key.len() - shared, value.len()] {
            put_uvarint(&mut block, length as u64);
        }
        block.extend(&key[shared..]);
        block.extend(value);
        last = key;
    }
    let count = u32::try_from(restarts.len()).expect("inputs are short");
    restarts.push(count);
    block.extend(restarts.iter().flat_map(|restart| restart.to_le_bytes()));
    block
}

/// Reads entries off the input: internal keys, ascending.
fn entries(input: &mut Input<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = BTreeMap::new();
    while !input.is_empty() {
        let key = input.piece();
        let tag = u64::from(input.byte()) << 8 | 1;
        let internal = [key, &tag.to_le_bytes()].concat();
        // Of one key the newer change comes first.
        entries.insert((key, std::cmp::Reverse(tag)), (internal, input.piece().to_vec()));
    }
    entries.into_values().collect()
}

/// A block: forged, and built.
pub(crate) fn block(bytes: &[u8]) {
    if let Some(found) = decoders::block(bytes) {
        let size: usize = found.iter().map(|(_, value)| value.len()).sum();
        assert!(size <= bytes.len());
        assert!(found.iter().all(|(key, _)| key.len() >= 8));
    }
    let mut input = Input::new(bytes);
    let (interval, wanted) = (usize::from(input.byte() % 16) + 1, input.piece());
    let _ = decoders::block_seek(bytes, wanted);
    let entries = entries(&mut input);
    let block = block_of(&entries, interval);
    assert_eq!(decoders::block(&block).as_deref(), Some(&entries[..]));
    let first = entries.iter().map(|(key, _)| key).find(|key| &key[..key.len() - 8] >= wanted);
    assert_eq!(decoders::block_seek(&block, wanted).as_ref(), first);
}

pub(crate) fn block_seeds() -> Vec<Vec<u8>> {
    let entry = |key: &str, value: &str| {
        let key = [key.as_bytes(), &[1, 5, 0, 0, 0, 0, 0, 0]].concat();
        (key, value.as_bytes().to_vec())
    };
    let some = [entry("a", "1"), entry("ab", ""), entry("abc", "three"), entry("b", "4")];
    vec![
        block_of(&[], 16),
        block_of(&some, 1),
        block_of(&some, 3),
        b"\x02\x02ab\x01a\x01\x011\x02ab\x02\x00\x03abc\x05\x05three\x01b\x01\x014".to_vec(),
    ]
}

/// Appends a block with its trailer; gives its handle.
fn put_block(file: &mut Vec<u8>, stored: &[u8], kind: u8) -> Vec<u8> {
    let mut handle = Vec::new();
    put_uvarint(&mut handle, file.len() as u64);
    put_uvarint(&mut handle, stored.len() as u64);
    let start = file.len();
    file.extend(stored);
    file.push(kind);
    let crc = masked_crc(&file[start..]);
    file.extend(crc.to_le_bytes());
    handle
}

fn put_footer(file: &mut Vec<u8>, metaindex: &[u8], index: &[u8]) {
    let mut footer = [metaindex, index].concat();
    footer.resize(40, 0);
    file.extend(footer);
    file.extend(TABLE_MAGIC.to_le_bytes());
}

/// A table: as it is; of forged blocks with right checksums; and of the input's entries.
pub(crate) fn table(bytes: &[u8]) {
    let _ = decoders::table(bytes);

    let mut input = Input::new(bytes);
    let (mut file, mut index) = (Vec::new(), Vec::new());
    let kind = input.byte();
    while !input.is_empty() {
        let (kind, stored) = (input.byte() % 4, input.piece());
        let handle = put_block(&mut file, stored, kind);
        let number = u32::try_from(index.len()).expect("inputs are short");
        index.push(([&number.to_be_bytes()[..], &[0; 8]].concat(), handle));
    }
    // The last block stands for a forged index in half of the tables.
    let forged = index.pop().map(|(_, handle)| handle).filter(|_| kind & 1 == 1);
    let handle = forged.unwrap_or_else(|| put_block(&mut file, &block_of(&index, 1), 0));
    put_footer(&mut file, &handle, &handle);
    let _ = decoders::table(&file);

    let mut input = Input::new(bytes);
    let (interval, per_block) =
        (usize::from(input.byte() % 4) + 1, usize::from(input.byte() % 8) + 1);
    let packed = input.byte() & 1 == 1;
    let entries = entries(&mut input);
    let (mut file, mut index) = (Vec::new(), Vec::new());
    for part in entries.chunks(per_block) {
        let mut stored = block_of(part, interval);
        if packed {
            stored = snap::raw::Encoder::new().compress_vec(&stored).expect("it is short");
        }
        index.push((part[part.len() - 1].0.clone(), put_block(&mut file, &stored, packed.into())));
    }
    let metaindex = put_block(&mut file, &block_of(&[], 1), 0);
    let index = put_block(&mut file, &block_of(&index, 1), 0);
    put_footer(&mut file, &metaindex, &index);
    assert_eq!(decoders::table(&file), Some(entries));
}

pub(crate) fn table_seeds() -> Vec<Vec<u8>> {
    let mut seeds = testdata("leveldb", |name| name.ends_with(".ldb"));
    seeds.push(
        b"\x01\x02\x01\x01a\x01\x011\x02ab\x02\x00\x03abc\x05\x05three\x01b\x01\x014".to_vec(),
    );
    let forged = snap::raw::Encoder::new().compress_vec(&[7; 200]).unwrap_or_default();
    let mut seed = vec![0, 1, u8::try_from(forged.len()).unwrap_or(0)];
    seed.extend(forged);
    seeds.push(seed);
    seeds
}
