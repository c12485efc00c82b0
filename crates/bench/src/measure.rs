//! Figures of one run.

use crate::Result;
use serde_json::Value;
use std::time::Instant;

/// What one run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// 0 where it wasn't measured.
    pub(crate) peak_bytes: u64,
}

impl Figure {
    /// The line that the peer prints.
    pub(crate) fn from_peer(output: &[u8]) -> Result<Self> {
        let line: Value = serde_json::from_slice(output).map_err(|error| error.to_string())?;
        let number = |name: &str| line[name].as_u64().ok_or(format!("the peer gave no {name}"));
        Ok(Self {
            records: number("records")?,
            bytes: number("bytes")?,
            seconds: line["seconds"].as_f64().ok_or("the peer gave no seconds")?,
            peak_bytes: 0,
        })
    }
}

/// Times something that says how many records and bytes it saw.
pub(crate) fn timed(work: impl FnOnce() -> Result<(u64, u64)>) -> Result<Figure> {
    let began = Instant::now();
    let (records, bytes) = work()?;
    Ok(Figure { records, bytes, seconds: began.elapsed().as_secs_f64(), peak_bytes: 0 })
}

/// `entries` and `bytes` of the document that `transload convert --json` prints.
pub(crate) fn entries_and_bytes(output: &[u8]) -> Result<(u64, u64)> {
    let document: Value = serde_json::from_slice(output).map_err(|error| error.to_string())?;
    let number = |name: &str| {
        let text = document[name].as_str().ok_or(format!("convert gave no {name}"))?;
        text.parse::<u64>().map_err(|error| error.to_string())
    };
    Ok((number("entries")?, number("bytes")?))
}

/// The median; the mean of the two in the middle where there are two.
pub(crate) fn median(runs: &mut [f64]) -> f64 {
    runs.sort_by(f64::total_cmp);
    let middle = runs.len() / 2;
    match runs.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => runs[middle],
        _ => f64::midpoint(runs[middle - 1], runs[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
