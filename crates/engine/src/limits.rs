//! The limits of a run, each with its unit, and what follows from them.

use crate::error::{Error, Kind, Result};
use crate::pacing::check_pace;
use serde::{Deserialize, Serialize};
use transload_observe::PaceLimits;

/// A chunk may not be smaller: below it the cost of a durable journal entry (one sync) is more
/// than that of the data.
pub const CHUNK_BYTES_MIN: u64 = 64 << 10;

/// A plan may not ask for more threads; the engines' own locks stop scaling long before.
pub const WORKERS_MAX: u32 = 256;

/// A chunk that is being copied may be held in memory about this many times: in the engine's
/// bulk path and in the operating system's pipe on the way there.
const CHUNK_COPIES: u64 = 2;

/// The limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Upper bound for caches and buffers of all drivers and workers together.
    pub memory_bytes_max: u64,
    /// About how many bytes a chunk has.
    pub chunk_bytes: u64,
    /// Threads that read and write at the same time.
    pub workers: u32,
    /// A batch of a target without a bulk path is written when it reaches this many bytes.
    pub batch_bytes_max: u64,
    /// Key and value bytes that may be read in a second; 0 for any number.
    #[serde(default, skip_serializing_if = "none")]
    pub read_bytes_per_second_max: u64,
    /// Key and value bytes that may be written in a second; 0 for any number.
    #[serde(default, skip_serializing_if = "none")]
    pub write_bytes_per_second_max: u64,
    /// Processor time in percent of all cores; 0 for all that there is.
    #[serde(default, skip_serializing_if = "zero")]
    pub cpu_percent_max: u32,
}

// What isn't limited isn't written: the digest of a plan made before there were limits stays.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn none(rate: &u64) -> bool {
    *rate == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn zero(percent: &u32) -> bool {
    *percent == 0
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// The usual ones: no limit on the pace.
    pub const DEFAULT: Self = Self {
        memory_bytes_max: 1 << 30,
        chunk_bytes: 32 << 20,
        workers: 4,
        batch_bytes_max: 4 << 20,
        read_bytes_per_second_max: 0,
        write_bytes_per_second_max: 0,
        cpu_percent_max: 0,
    };

    /// Checks that the limits can be kept together.
    ///
    /// # Errors
    /// [`Kind::Refused`], naming the limit.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::new(Kind::Refused, "check the limits", what));
        if self.chunk_bytes < CHUNK_BYTES_MIN {
            return refuse(format!("chunk_bytes is below {CHUNK_BYTES_MIN}"));
        }
        if self.workers == 0 || self.workers > WORKERS_MAX {
            return refuse(format!("workers is not from 1 to {WORKERS_MAX}"));
        }
        if self.batch_bytes_max == 0 || self.batch_bytes_max > self.chunk_bytes {
            return refuse("batch_bytes_max is 0 or above chunk_bytes".into());
        }
        if self.memory_bytes_max / 4 < self.chunk_bytes {
            return refuse("memory_bytes_max is below four times chunk_bytes".into());
        }
        check_pace(self.pace())
    }

    /// The limits that can be changed while the run goes on.
    #[must_use]
    pub fn pace(&self) -> PaceLimits {
        PaceLimits {
            read_bytes_per_second_max: self.read_bytes_per_second_max,
            write_bytes_per_second_max: self.write_bytes_per_second_max,
            cpu_percent_max: self.cpu_percent_max,
        }
    }

    /// What each side's driver may use: a quarter.
    #[must_use]
    pub fn driver_bytes(&self) -> u64 {
        self.memory_bytes_max / 4
    }

    /// How many workers fit into the half of the memory that drivers leave.
    #[must_use]
    pub fn workers_that_fit(&self) -> usize {
        let fit =
            (self.memory_bytes_max / 2) / self.chunk_bytes.saturating_mul(CHUNK_COPIES).max(1);
        usize::try_from(fit.clamp(1, u64::from(self.workers.max(1)))).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        assert!(Limits::default().check().is_ok());
        let default = Limits::default();
        for bad in [
            Limits { chunk_bytes: 1, ..default },
            Limits { workers: 0, ..default },
            Limits { workers: WORKERS_MAX + 1, ..default },
            Limits { batch_bytes_max: 0, ..default },
            Limits { batch_bytes_max: default.chunk_bytes + 1, ..default },
            Limits { memory_bytes_max: default.chunk_bytes, ..default },
            Limits { read_bytes_per_second_max: 1, ..default },
            Limits { cpu_percent_max: 101, ..default },
        ] {
            assert_eq!(bad.check().unwrap_err().kind(), Kind::Refused, "{bad:?}");
        }
    }

    #[test]
    fn less_memory_means_fewer_workers_and_never_none() {
        let small = Limits { memory_bytes_max: 128 << 20, workers: 64, ..Limits::default() };
        assert_eq!(small.workers_that_fit(), 1);
        let large = Limits { memory_bytes_max: 8 << 30, workers: 64, ..Limits::default() };
        assert_eq!(large.workers_that_fit(), 64);
    }
}
