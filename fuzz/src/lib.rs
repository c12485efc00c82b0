//! Fuzz targets: one for every decoder of bytes that somebody else wrote.
//!
//! A target takes any bytes and panics when a promise is broken: a panic of the decoder is one, a
//! value that encodes to other bytes than it was decoded from is another. `cargo xtask fuzz` runs
//! targets under libFuzzer; `tests/replay.rs` replays the kept corpus as ordinary tests.

mod corpus;
mod input;
mod targets;

pub use corpus::{kept, pack};
pub use targets::TARGETS;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Longest input that is worth trying.
    pub bytes_max: usize,
    /// Decodes, and panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to begin with, made from the repository's test data.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
