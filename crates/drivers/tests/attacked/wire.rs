//! What a doomed process is told, and what it answers: length-prefixed pieces.

use std::io::{Read, Result, Write};
use transload_store::contract::Entries;

/// A batch of puts that need not last.
pub(crate) const BUFFERED: u8 = 0;
/// A batch of puts that must last.
pub(crate) const SYNCED: u8 = 1;
/// A chunk of a bulk load; the entries are the whole chunk.
pub(crate) const CHUNK: u8 = 2;
/// Close the store and end.
pub(crate) const CLOSE: u8 = 3;

/// The answer to everything that succeeded.
pub(crate) const DONE: u8 = 7;

pub(crate) fn put(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes())?;
    out.write_all(bytes)
}

pub(crate) fn take(input: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn put_entries(out: &mut impl Write, entries: &Entries) -> Result<()> {
    put(out, &(entries.len() as u64).to_be_bytes())?;
    for (key, value) in entries {
        put(out, key)?;
        put(out, value)?;
    }
    out.flush()
}

pub(crate) fn take_entries(input: &mut impl Read) -> Result<Entries> {
    let count = u64::from_be_bytes(take(input)?.try_into().unwrap());
    (0..count).map(|_| Ok((take(input)?, take(input)?))).collect()
}
