//! What a database has to do and has done in a stage, in bytes and in work.

use std::collections::BTreeMap;

/// What an entry takes beside its bytes, as bytes that take as long: reading, hashing and writing
/// an IAVL node of 110 bytes takes three times as long as 110 bytes of a block's part
/// (`docs/performance.md`).
const ENTRY_WORK_BYTES: u64 = 250;

/// A database in a stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) chunks: u64,
    pub(crate) chunks_done: u64,
    pub(crate) chunks_before: u64,
    pub(crate) bytes_estimate: u64,
    pub(crate) expected: Option<Expected>,
    pub(crate) entries_done: u64,
    pub(crate) bytes_done: u64,
    pub(crate) open: BTreeMap<u64, (u64, u64)>,
}

/// What was said of a database before it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) bytes_on_disk: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

impl Line {
    pub(crate) fn entries(&self) -> u64 {
        self.entries_done + self.open.values().map(|(entries, _)| entries).sum::<u64>()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_done + self.open.values().map(|(_, bytes)| bytes).sum::<u64>()
    }

    fn is_done(&self) -> bool {
        self.chunks_done >= self.chunks
    }

    /// Bytes to do in all. Of a database that nothing was said of: the estimate (of bytes on
    /// disk, which may be compressed), or what the chunks done so far promise when that is more.
    /// When chunks are left, a little is left too.
    pub(crate) fn total(&self) -> u64 {
        if self.is_done() {
            return self.bytes();
        }
        let done = self.chunks_done - self.chunks_before;
        let to_do = self.chunks - self.chunks_before;
        let total = if let Some(expected) = self.expected {
            let estimate = share(self.bytes_estimate, expected.bytes, expected.bytes_on_disk);
            share(estimate, to_do - done, to_do).saturating_add(self.bytes_done)
        } else {
            self.bytes_estimate.max(share(self.bytes_done, to_do, done))
        };
        total.max(self.bytes().saturating_add(1))
    }

    pub(crate) fn work_done(&self) -> u64 {
        work(self.entries(), self.bytes())
    }

    /// Work to do in all: what is left has as many entries a byte as the sample or, without one,
    /// as what is done.
    pub(crate) fn work_total(&self) -> u64 {
        let left = self.total() - self.bytes();
        let (entries, bytes) = match self.expected {
            Some(expected) => (expected.entries, expected.bytes),
            None => (self.entries(), self.bytes()),
        };
        self.work_done().saturating_add(work(share(left, entries, bytes), left))
    }
}

/// A sum that estimates of foreign origin can't overflow.
pub(crate) fn sum(amounts: impl Iterator<Item = u64>) -> u64 {
    amounts.fold(0, u64::saturating_add)
}

fn work(entries: u64, bytes: u64) -> u64 {
    entries.saturating_mul(ENTRY_WORK_BYTES).saturating_add(bytes)
}

/// `part` of `whole` parts of `amount`; nothing of no parts.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let share = (u128::from(amount) * u128::from(part)).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}
