//! The one error of this crate: bytes that are not what a format says.

/// In which way bytes are malformed. Closed: callers match on it, never on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedKind {
    /// The input ends before the value does.
    Truncated,
    /// The value is readable, but not in the one form in which it may be written.
    NotCanonical,
    /// The value is outside the range that its type or a named limit allows.
    OutOfRange,
    /// Something else stands there: another wire type, another character, a reserved byte.
    Unexpected,
}

/// Bytes that are not what a format says. Decoding changes nothing, so the effect is always
/// "not applied", and reading the same bytes again can't help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct Malformed {
    /// In which way.
    pub kind: MalformedKind,
    /// What is wrong, as a noun phrase, such as "a varint that ends too early".
    pub what: &'static str,
    /// Offset in the input that was given to the decoder.
    pub offset: usize,
}

impl Malformed {
    /// An error of `kind` at `offset`; `what` is a noun phrase.
    #[must_use]
    pub fn new(kind: MalformedKind, what: &'static str, offset: usize) -> Self {
        Self { kind, what, offset }
    }

    /// The same error in an input that begins `base` bytes earlier.
    #[must_use]
    pub fn shifted(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}
