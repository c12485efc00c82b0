//! Limits on the pace, as commands take them.

use bytesize::ByteSize;
use clap::Args;
use std::str::FromStr;
use transload_engine::{Limits, PaceChange, RATE_BYTES_PER_SECOND_MIN};
use transload_observe::PaceLimits;

/// Of commands that read and write.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Pace {
    /// How fast it may go
    #[command(flatten)]
    read: ReadPace,
    /// Write at most this much a second, such as 50MiB; counted are keys and values [default:
    /// none]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    write_limit: Option<u64>,
}

/// Of commands that write nothing.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ReadPace {
    /// Read at most this much a second, such as 50MiB, of all databases together; counted are
    /// keys and values [default: none]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    read_limit: Option<u64>,
    /// Use at most this part of the processor time of all cores, such as 50%, the helpers
    /// counted in [default: none]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    cpu_limit: Option<u32>,
}

/// Of `throttle`. The longer names are those of the other commands.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct NewPace {
    /// Read at most this much a second, such as 20MiB; `none` lifts the limit
    #[arg(long, alias = "read-limit", value_name = "RATE", value_parser = rate)]
    read: Option<u64>,
    /// Write at most this much a second; `none` lifts the limit
    #[arg(long, alias = "write-limit", value_name = "RATE", value_parser = rate)]
    write: Option<u64>,
    /// Use at most this part of the processor time of all cores, such as 50%; `none` lifts the
    /// limit
    #[arg(long, alias = "cpu-limit", value_name = "PERCENT", value_parser = percent)]
    cpu: Option<u32>,
}

impl Pace {
    /// `limits` with those on the pace as given here.
    pub(crate) fn within(&self, limits: Limits) -> Limits {
        Limits {
            read_bytes_per_second_max: self.read.read_limit.unwrap_or(0),
            write_bytes_per_second_max: self.write_limit.unwrap_or(0),
            cpu_percent_max: self.read.cpu_limit.unwrap_or(0),
            ..limits
        }
    }

    /// What is given here as a change of limits in force.
    pub(crate) fn change(&self) -> PaceChange {
        PaceChange {
            read_bytes_per_second_max: self.read.read_limit,
            write_bytes_per_second_max: self.write_limit,
            cpu_percent_max: self.read.cpu_limit,
        }
    }
}

impl ReadPace {
    /// The limits.
    pub(crate) fn limits(&self) -> PaceLimits {
        PaceLimits {
            read_bytes_per_second_max: self.read_limit.unwrap_or(0),
            write_bytes_per_second_max: 0,
            cpu_percent_max: self.cpu_limit.unwrap_or(0),
        }
    }
}

impl NewPace {
    /// The change.
    pub(crate) fn change(&self) -> PaceChange {
        PaceChange {
            read_bytes_per_second_max: self.read,
            write_bytes_per_second_max: self.write,
            cpu_percent_max: self.cpu,
        }
    }
}

/// `20MiB`, `20MiB/s`, or `none`.
fn rate(text: &str) -> Result<u64, String> {
    if text == "none" || text == "0" {
        return Ok(0);
    }
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = ByteSize::from_str(number)
        .map_err(|_| format!("{text:?} is no rate; write 20MiB, or none"))?
        .as_u64();
    if rate < RATE_BYTES_PER_SECOND_MIN {
        let least = ByteSize(RATE_BYTES_PER_SECOND_MIN);
        return Err(format!("{text} is {rate} bytes a second; at least {least}, or none"));
    }
    Ok(rate)
}

/// `50%`, `50`, or `none`.
fn percent(text: &str) -> Result<u32, String> {
    if text == "none" || text == "0" {
        return Ok(0);
    }
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    match number.parse() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err(format!("{text:?} is not from 1% to 100% of all cores; write 50%, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units_and_nonsense_is_refused_with_an_example() {
        for (text, expected) in [
            ("50MiB", 50 << 20),
            ("64KiB/s", 64 << 10),
            ("1.5 MB", 1_500_000),
            ("none", 0),
            ("0", 0),
        ] {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for text in ["", "50", "-5MiB", "fast", "50%", "1KiB", "MiB", "NaN", "5MiB/min"] {
            let said = rate(text).unwrap_err();
            assert!(said.contains("none"), "{text}: {said}");
        }
    }

    #[test]
    fn percentages_are_of_all_cores_and_nonsense_is_refused_with_an_example() {
        for (text, expected) in [("50%", 50), ("1", 1), ("100 %", 100), ("none", 0), ("0", 0)] {
            assert_eq!(percent(text), Ok(expected), "{text}");
        }
        for text in ["", "%", "101%", "-1", "0.5", "50MiB", "half", "99999999999"] {
            let said = percent(text).unwrap_err();
            assert!(said.contains("50%"), "{text}: {said}");
        }
    }
}
