//! The contract suite: what every store promises, as tests that panic when a promise breaks.
//!
//! A driver's tests hand in a [`Subject`] and call [`run`]. Reading is held to the suite
//! always; writing and bulk loading once where they are declared, and where they are not, the
//! answer must be `Unsupported`. [`attack`] goes after the promises: crashes, damage, readers
//! beside a writer.

mod attack;
mod bulk;
mod read;
mod write;

use crate::{Result, Store};
use std::collections::BTreeMap;

pub use attack::{Attacked, attack};

/// Entries of a test store.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Makes the stores under test.
pub trait Subject {
    /// A store, opened for reading, that holds just these entries. Stores that can't be written
    /// through the seam are filled by their canonical engine.
    fn filled(&self, entries: &Entries) -> Box<dyn Store>;

    /// A new empty store to write to; `None` for a driver that has no targets.
    fn target(&self) -> Option<Box<dyn Store>>;

    /// The store that the last [`Subject::target`] made, opened again from disk after it was
    /// closed, or dropped without closing.
    ///
    /// # Errors
    /// Those of the driver.
    fn reopen(&self) -> Result<Box<dyn Store>>;
}

/// Runs every part of the suite and names the parts that ran.
///
/// # Panics
/// When a promise is broken.
pub fn run(subject: &dyn Subject) -> Vec<&'static str> {
    let mut ran = Vec::new();
    for (name, part) in read::PARTS.iter().chain(write::PARTS).chain(bulk::PARTS) {
        part(subject);
        ran.push(*name);
    }
    ran
}

/// One part of the suite.
type Part = (&'static str, fn(&dyn Subject));

/// Entries that are awkward to store: empty values, keys that are prefixes of one another, all
/// byte values, a key longer than most blocks (where the store takes it), values of 0 to
/// 70,000 bytes.
fn awkward_entries(key_bytes_max: usize) -> Entries {
    let mut entries = Entries::new();
    for byte in 0..=255u8 {
        entries.insert(vec![byte], vec![byte; usize::from(byte % 5)]);
        entries.insert(vec![b'p', byte, 0], Vec::new());
    }
    for length in [2, 8, 17, 64, 300, 511, 4096, 20_000] {
        if length <= key_bytes_max {
            entries.insert(vec![b'k'; length], length.to_be_bytes().to_vec());
        }
    }
    for (index, length) in [0, 1, 1023, 1024, 1025, 4096, 32_768, 70_000].into_iter().enumerate() {
        let value = (0..length).map(|at| (at % 251) as u8).collect();
        entries.insert(format!("value-{index}").into_bytes(), value);
    }
    entries
}

/// `count` entries of about `value_bytes` each, in key order.
fn numbered_entries(count: u32, value_bytes: usize) -> Entries {
    (0..count)
        .map(|number| {
            let mut value = number.to_be_bytes().repeat(value_bytes / 4 + 1);
            value.truncate(value_bytes);
            (format!("n/{number:08}").into_bytes(), value)
        })
        .collect()
}

fn content(store: &dyn Store) -> Entries {
    let snapshot = store.snapshot().expect("a snapshot");
    let mut scan = crate::Scan::new(&*snapshot, &crate::KeyRange::all()).expect("a scan");
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next().expect("an entry") {
        entries.insert(key.to_vec(), value.to_vec());
    }
    let receipt = scan.receipt().expect("a receipt");
    assert_eq!(receipt.entries, entries.len() as u64, "the receipt counts every entry");
    entries
}
