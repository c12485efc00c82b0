//! When a running chunk tells how far it is, and asks whether to go on.

use std::time::{Duration, Instant};

/// After this many bytes,
const ADVANCE_BYTES: u64 = 4 << 20;

/// or after this much time, where a limit or a slow disk holds it up,
const ADVANCE_TIME: Duration = Duration::from_millis(250);

/// which is looked at no more often than this.
const LOOK_BYTES: u64 = 64 << 10;

/// One chunk's.
pub(crate) struct Advance {
    told_bytes: u64,
    looked_bytes: u64,
    told_at: Instant,
}

impl Advance {
    pub(crate) fn new() -> Self {
        Self { told_bytes: 0, looked_bytes: 0, told_at: Instant::now() }
    }

    /// Whether it is time, with so many bytes read in all.
    pub(crate) fn is_due(&mut self, bytes: u64) -> bool {
        if bytes - self.looked_bytes < LOOK_BYTES {
            return false;
        }
        self.looked_bytes = bytes;
        if bytes - self.told_bytes < ADVANCE_BYTES && self.told_at.elapsed() < ADVANCE_TIME {
            return false;
        }
        self.told_bytes = bytes;
        self.told_at = Instant::now();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_after_many_bytes_or_some_time_and_not_for_every_entry() {
        let mut advance = Advance::new();
        advance.told_at += Duration::from_secs(60);
        assert!(!advance.is_due(ADVANCE_BYTES - 1));
        assert!(!advance.is_due(ADVANCE_BYTES + 5));
        assert!(advance.is_due(ADVANCE_BYTES + LOOK_BYTES));
        advance.told_at -= 2 * ADVANCE_TIME;
        assert!(!advance.is_due(ADVANCE_BYTES + 2 * LOOK_BYTES - 1));
        assert!(advance.is_due(ADVANCE_BYTES + 2 * LOOK_BYTES));
    }
}
