//! Canonical keys: typed fields one after another, encoded so that byte order is field order.
//!
//! | field | bytes |
//! |---|---|
//! | u64, such as a height | 8, big-endian |
//! | u32, such as an index | 4, big-endian |
//! | hash of fixed length | as it is |
//! | text or bytes of any length | the string form of [`crate::ordered`], so that no key is a prefix of another; as it is when it is the last field |

use crate::{Malformed, MalformedKind};

/// Appends a u64 field.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a u32 field.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Takes fields from the front of a canonical key.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Fields<'a> {
    /// At the beginning of `key`.
    #[must_use]
    pub fn new(key: &'a [u8]) -> Self {
        Self { rest: key, offset: 0 }
    }

    /// The next field, a u64.
    ///
    /// # Errors
    /// `Truncated` when fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// The next field, a u32.
    ///
    /// # Errors
    /// `Truncated` when fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// The next field, a hash of `N` bytes.
    ///
    /// # Errors
    /// `Truncated` when fewer than `N` bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Malformed::new(
                MalformedKind::Truncated,
                "a key that ends within a field",
                self.offset,
            ));
        };
        self.rest = rest;
        self.offset += N;
        Ok(*taken)
    }

    /// All that is left: a last field of any length.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `Unexpected` when bytes follow the last field.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Malformed::new(
            MalformedKind::Unexpected,
            "bytes after the last field of a key",
            self.offset,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_nothing_may_follow() {
        let mut key = Vec::new();
        put_u64(&mut key, 7);
        put_u32(&mut key, 9);
        let mut fields = Fields::new(&key);
        assert_eq!((fields.u64(), fields.u32(), fields.end()), (Ok(7), Ok(9), Ok(())));
        let mut fields = Fields::new(&key);
        fields.u64().unwrap();
        assert_eq!(fields.end().unwrap_err().kind, MalformedKind::Unexpected);
        assert_eq!(fields.array::<5>().unwrap_err().kind, MalformedKind::Truncated);
    }
}
