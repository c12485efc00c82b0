//! Canonical key encodings and bounded decoders of foreign bytes.
//!
//! Everything here is pure: no I/O, no clock. Decoders borrow from their input, never panic on
//! any bytes, never allocate by a length that they merely read, and accept exactly one encoding
//! of each value wherever a key is concerned, so that decoding a key and encoding it again gives
//! the same bytes.

pub mod decimal;
mod error;
pub mod hexkey;
pub mod key;
pub mod ordered;
pub mod proto;
pub mod varint;

pub use error::{Malformed, MalformedKind};
