//! What Transload's crates share: records, canonical order, the segmented tree and its roots,
//! layouts, and the words of a report.
//!
//! Invariant: no I/O, no clock, no randomness, no threads. Everything here can be recomputed
//! by somebody else from `docs/formats/commitment.md` alone.

pub mod commitment;
pub mod engine;
pub mod layout;
pub mod merkle;
pub mod proof;
pub mod record;
pub mod report;
pub mod tree;
pub mod walk;
