//! How stored bytes that contradict themselves become errors with a place.

use transload_store::{Error, Kind, Result};

/// The operation that errors of this module name.
pub(super) const READ: &str = "read LevelDB";

/// Stored bytes that contradict themselves, with the place.
pub(super) fn corrupt(file: &str, offset: u64, what: &str) -> Error {
    Error::new(Kind::Corrupt, READ, what).with("file", file).with("offset", offset.to_string())
}

/// Stored bytes that only a newer LevelDB or another engine writes.
pub(super) fn unknown(file: &str, offset: u64, what: &str) -> Error {
    Error::new(Kind::UnknownFormat, READ, what)
        .with("file", file)
        .with("offset", offset.to_string())
}

/// `None` as corruption at a place.
pub(super) fn sound<T>(value: Option<T>, file: &str, offset: u64, what: &str) -> Result<T> {
    value.ok_or_else(|| corrupt(file, offset, what))
}
