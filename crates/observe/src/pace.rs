//! Limits on the pace of a run, and what its workers wait for.

use serde::{Deserialize, Serialize};
use std::fmt;
use transload_model::report::decimal;

/// Limits on the pace; 0 where there is none. In JSON a limit that isn't there is `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaceLimits {
    /// Key and value bytes that are read in a second, of both sides together.
    #[serde(with = "limit", default)]
    pub read_bytes_per_second_max: u64,
    /// Key and value bytes that are written in a second.
    #[serde(with = "limit", default)]
    pub write_bytes_per_second_max: u64,
    /// Processor time of the process and its helpers, in percent of all the cores that it may
    /// use.
    #[serde(with = "percent", default)]
    pub cpu_percent_max: u32,
}

impl PaceLimits {
    /// Whether there is any.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Why workers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// The limit on what is read.
    ReadLimit,
    /// The limit on what is written.
    WriteLimit,
    /// The limit on processor time.
    CpuLimit,
}

impl WaitReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ReadLimit, Self::WriteLimit, Self::CpuLimit];

    /// The reason in lines for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadLimit => "read limit",
            Self::WriteLimit => "write limit",
            Self::CpuLimit => "cpu limit",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What workers wait for, lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Why.
    pub reason: WaitReason,
    /// The part of the workers' time that went by in waiting, from 1 to 100.
    pub percent: u32,
    /// Over this many seconds until now.
    pub window_seconds: u32,
}

/// How long workers have waited in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitTime {
    /// Why.
    pub reason: WaitReason,
    /// Milliseconds, those of all workers added up.
    #[serde(with = "decimal")]
    pub waited_millis: u64,
}

/// A u64 as a decimal string, 0 as `null`.
mod limit {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(limit: &u64, to: S) -> Result<S::Ok, S::Error> {
        match limit {
            0 => to.serialize_none(),
            limit => to.collect_str(limit),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map_or(Ok(0), |text| text.parse().map_err(D::Error::custom))
    }
}

/// A percentage as a number, 0 as `null`.
mod percent {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(percent: &u32, to: S) -> Result<S::Ok, S::Error> {
        match percent {
            0 => to.serialize_none(),
            percent => to.serialize_u32(*percent),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        Ok(Option::<u32>::deserialize(from)?.unwrap_or(0))
    }
}
