//! Writes LevelDB directories for tests: any placement of changes in logs and levels, which a
//! real engine can't be made to choose. The format is LevelDB's; what the canonical engines
//! wrote is read by the golden and fixture tests.

use std::fs;
use std::path::Path;

/// A change: key, sequence number, value or deletion.
pub(crate) type Change = (Vec<u8>, u64, Option<Vec<u8>>);

/// How tables are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) block_bytes: usize,
    pub(crate) table_bytes: usize,
    pub(crate) restart_interval: usize,
    pub(crate) snappy: bool,
}

/// A directory in the making.
pub(crate) struct Writer<'a> {
    dir: &'a Path,
    shape: Shape,
    next_number: u64,
    last_sequence: u64,
    edit: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(dir: &'a Path, shape: Shape) -> Self {
        let mut edit = vec![1];
        prefixed(&mut edit, b"leveldb.BytewiseComparator");
        Self { dir, shape, next_number: 3, last_sequence: 0, edit }
    }

    /// Writes sorted changes as tables of a level: one of level 0, as many as needed of others.
    pub(crate) fn tables(&mut self, level: u64, mut changes: Vec<Change>) {
        changes.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut rest = &changes[..];
        while !rest.is_empty() {
            let bytes = |change: &Change| change.0.len() + change.2.as_ref().map_or(0, Vec::len);
            let mut sum = 0;
            let fits = rest.iter().take_while(|change| {
                sum += bytes(change);
                level == 0 || sum <= self.shape.table_bytes
            });
            // Versions of a key stay in one table, as LevelDB keeps them since 1.21.
            let mut take = fits.count().max(1);
            while take < rest.len() && rest[take].0 == rest[take - 1].0 {
                take += 1;
            }
            self.table(level, &rest[..take]);
            rest = &rest[take..];
        }
    }

    fn table(&mut self, level: u64, changes: &[Change]) {
        let entries: Vec<(Vec<u8>, Vec<u8>)> = changes
            .iter()
            .map(|(key, sequence, value)| {
                self.last_sequence = self.last_sequence.max(*sequence);
                let tag = sequence << 8 | u64::from(value.is_some());
                let internal = [&key[..], &tag.to_le_bytes()].concat();
                (internal, value.clone().unwrap_or_default())
            })
            .collect();
        let (mut file, mut index) = (Vec::new(), Vec::new());
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let mut sum = 0;
            let fits = rest.iter().take_while(|(key, value)| {
                sum += key.len() + value.len();
                sum <= self.shape.block_bytes
            });
            let (block, after) = rest.split_at(fits.count().max(1));
            let handle = self.block(&mut file, block);
            index.push((block[block.len() - 1].0.clone(), handle));
            rest = after;
        }
        let metaindex = self.block(&mut file, &[]);
        let index = self.block(&mut file, &index);
        let mut footer = [metaindex, index].concat();
        footer.resize(40, 0);
        file.extend(footer);
        file.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
        let number = self.next_number;
        self.next_number += 1;
        fs::write(self.dir.join(format!("{number:06}.ldb")), &file).unwrap();
        for part in [7, level, number, file.len() as u64] {
            varint(&mut self.edit, part);
        }
        prefixed(&mut self.edit, &entries[0].0);
        prefixed(&mut self.edit, &entries[entries.len() - 1].0);
    }

    /// Appends a block with its trailer and gives its handle.
    fn block(&self, file: &mut Vec<u8>, entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let (mut block, mut restarts, mut last) = (Vec::new(), vec![0u32], &[][..]);
        for (index, (key, value)) in entries.iter().enumerate() {
            let mut shared = 0;
            if index % self.shape.restart_interval != 0 {
                shared = key.iter().zip(last).take_while(|(a, b)| a == b).count();
            } else if index > 0 {
                restarts.push(u32::try_from(block.len()).unwrap());
            }
            for length in [shared, key.len() - shared, value.len()] {
                varint(&mut block, length as u64);
            }
            block.extend(&key[shared..]);
            block.extend(value);
            last = key;
        }
        block.extend(restarts.iter().flat_map(|restart| restart.to_le_bytes()));
        block.extend(u32::try_from(restarts.len()).unwrap().to_le_bytes());
        if self.shape.snappy {
            block = snap::raw::Encoder::new().compress_vec(&block).unwrap();
        }
        let mut handle = Vec::new();
        varint(&mut handle, file.len() as u64);
        varint(&mut handle, block.len() as u64);
        block.push(u8::from(self.shape.snappy));
        file.extend(&block);
        file.extend(masked(&block).to_le_bytes());
        handle
    }

    /// Writes the log, manifest and `CURRENT`.
    pub(crate) fn finish(mut self, mut log: Vec<Change>) {
        log.sort_by_key(|change| change.1);
        let batches: Vec<Vec<u8>> = log
            .chunk_by(|a, b| a.1 + 1 == b.1)
            .map(|changes| {
                let mut batch = changes[0].1.to_le_bytes().to_vec();
                batch.extend(u32::try_from(changes.len()).unwrap().to_le_bytes());
                for (key, _, value) in changes {
                    batch.push(u8::from(value.is_some()));
                    prefixed(&mut batch, key);
                    if let Some(value) = value {
                        prefixed(&mut batch, value);
                    }
                }
                batch
            })
            .collect();
        fs::write(self.dir.join("000002.log"), log_file(&batches)).unwrap();
        for (tag, number) in [(2, 2), (3, self.next_number), (4, self.last_sequence)] {
            varint(&mut self.edit, tag);
            varint(&mut self.edit, number);
        }
        fs::write(self.dir.join("MANIFEST-000001"), log_file(&[self.edit])).unwrap();
        fs::write(self.dir.join("CURRENT"), "MANIFEST-000001\n").unwrap();
    }
}

/// Records in the log format.
fn log_file(records: &[Vec<u8>]) -> Vec<u8> {
    let mut log = Vec::new();
    for record in records {
        let (mut rest, mut first) = (&record[..], true);
        loop {
            let mut room = (32 << 10) - log.len() % (32 << 10);
            if room < 7 {
                log.resize(log.len() + room, 0);
                room = 32 << 10;
            }
            let (data, left) = rest.split_at(rest.len().min(room - 7));
            let kind = match (first, left.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            log.extend(masked(&[&[kind], data].concat()).to_le_bytes());
            log.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
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

fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}
