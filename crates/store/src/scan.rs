//! Walks that can't lie about their end.
//!
//! [`Walk`] wraps a driver's cursor. It checks that keys ascend and lie in the range, makes the
//! first error final, and says that it is whole only after the real end. [`Scan`] is one that also
//! digests what it gives, and hands out a [`ScanReceipt`].

use crate::{Cursor, Error, KeyRange, Kind, Result, Snapshot};
use serde::{Deserialize, Serialize};

/// A digest over entries in order: BLAKE3-256 over `u32 BE key length || key || u32 BE value
/// length || value` of each, one after another.
#[derive(Clone, Debug)]
pub struct ScanDigest {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

/// Entries are gathered to this many bytes before they are hashed: BLAKE3 is several times
/// faster on long inputs.
const DIGEST_BUFFER_BYTES: usize = 64 << 10;

impl Default for ScanDigest {
    fn default() -> Self {
        Self { hasher: blake3::Hasher::new(), buffer: Vec::with_capacity(2 * DIGEST_BUFFER_BYTES) }
    }
}

impl ScanDigest {
    /// Adds one entry.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.part(key);
        self.part(value);
        if self.buffer.len() >= DIGEST_BUFFER_BYTES {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    /// The digest of what was added.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.buffer);
        self.hasher.finalize().into()
    }

    fn part(&mut self, bytes: &[u8]) {
        // Keys and values are below 4 GiB (KEY_BYTES_MAX, VALUE_BYTES_MAX); Scan checks it.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.buffer.extend_from_slice(&length.to_be_bytes());
        if bytes.len() > DIGEST_BUFFER_BYTES {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
            self.hasher.update(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }
}

/// Proof that a scan reached its end, and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a receipt is the only sign that the scan is complete"]
pub struct ScanReceipt {
    /// Entries seen.
    pub entries: u64,
    /// Key and value bytes seen.
    pub bytes: u64,
    /// [`ScanDigest`] of all entries.
    pub digest: [u8; 32],
}

enum State {
    Open,
    Ended,
    Failed(Error),
}

/// A checked walk over a range of a snapshot, for whoever looks at entries as they pass. [`Scan`]
/// also digests them, so that two walks can be held against each other.
pub struct Walk {
    cursor: Box<dyn Cursor>,
    range: KeyRange,
    state: State,
    last_key: Option<Vec<u8>>,
}

impl Walk {
    /// Begins a walk.
    ///
    /// # Errors
    /// Those of [`Snapshot::cursor`].
    pub fn new(snapshot: &dyn Snapshot, range: &KeyRange) -> Result<Self> {
        let cursor = snapshot.cursor(range)?;
        Ok(Self { cursor, range: range.clone(), state: State::Open, last_key: None })
    }

    /// The next entry, valid until the next call; `None` at the end, and from then on.
    ///
    /// # Errors
    /// The first error is answered again for ever. [`Kind::Corrupt`] when the driver's keys
    /// don't ascend or leave the range.
    #[allow(clippy::should_implement_trait, reason = "a lending iterator can't be an Iterator")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match &self.state {
            State::Open => {}
            State::Ended => return Ok(None),
            State::Failed(error) => return Err(error.repeat()),
        }
        match self.cursor.next() {
            Ok(Some((key, value))) => {
                if let Some(error) = misplaced(&self.range, self.last_key.as_deref(), key) {
                    self.state = State::Failed(error.repeat());
                    return Err(error);
                }
                let last = self.last_key.get_or_insert_with(Vec::new);
                last.clear();
                last.extend_from_slice(key);
                Ok(Some((key, value)))
            }
            Ok(None) => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(error) => {
                self.state = State::Failed(error.repeat());
                Err(error)
            }
        }
    }

    /// Says that the walk has come to its end: what it gave is all that there is.
    ///
    /// # Errors
    /// The walk's error; [`Kind::InvalidInput`] when the walk was left before its end.
    pub fn end(self) -> Result<()> {
        match self.state {
            State::Ended => Ok(()),
            State::Failed(error) => Err(error),
            State::Open => Err(Error::new(
                Kind::InvalidInput,
                "scan",
                "the walk was left before its end, so there is no receipt",
            )),
        }
    }
}

/// A walk that counts and digests what it gives.
pub struct Scan {
    walk: Walk,
    entries: u64,
    bytes: u64,
    digest: ScanDigest,
}

impl Scan {
    /// Begins a walk.
    ///
    /// # Errors
    /// Those of [`Snapshot::cursor`].
    pub fn new(snapshot: &dyn Snapshot, range: &KeyRange) -> Result<Self> {
        let walk = Walk::new(snapshot, range)?;
        Ok(Self { walk, entries: 0, bytes: 0, digest: ScanDigest::default() })
    }

    /// As [`Walk::next`].
    ///
    /// # Errors
    /// As [`Walk::next`].
    #[allow(clippy::should_implement_trait, reason = "a lending iterator can't be an Iterator")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let Some((key, value)) = self.walk.next()? else { return Ok(None) };
        self.entries += 1;
        self.bytes += key.len() as u64 + value.len() as u64;
        self.digest.push(key, value);
        Ok(Some((key, value)))
    }

    /// The receipt of a walk that ended.
    ///
    /// # Errors
    /// As [`Walk::end`].
    pub fn receipt(self) -> Result<ScanReceipt> {
        self.walk.end()?;
        let digest = self.digest.finish();
        Ok(ScanReceipt { entries: self.entries, bytes: self.bytes, digest })
    }
}

fn misplaced(range: &KeyRange, last: Option<&[u8]>, key: &[u8]) -> Option<Error> {
    // What follows a key in the range can leave it at its end only.
    let (ascends, inside) = match last {
        Some(last) => (last < key, range.end.as_deref().is_none_or(|end| key < end)),
        None => (true, range.contains(key)),
    };
    let fault = match (ascends, inside) {
        (true, true) => return None,
        (false, _) => "the engine gave keys out of order",
        (true, false) => "the engine gave a key outside the range asked for",
    };
    Some(
        Error::new(Kind::Corrupt, "scan", fault)
            .with("key", transload_model::report::printable_key(key)),
    )
}
