//! A small protobuf wire reader and writer, and a test for the one canonical form.
//!
//! The reader borrows: a field of bytes is a slice of its input, so that hashes are taken over
//! the bytes as stored and never over a re-encoding. [`Shape`] says what a message may hold, and
//! [`Shape::check`] finds every byte that a canonical re-encoding would not give back: unknown
//! and repeated fields, fields out of order, padded varints, defaults written out.

mod shape;
mod write;

pub use shape::{Deviation, FieldKind, Presence, Shape, Spec};
pub use write::{put_bytes, put_fixed64, put_message, put_varint_field};

use crate::varint::{read_canonical_uvarint, read_uvarint};
use crate::{Malformed, MalformedKind};

/// Largest field number of protobuf.
const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

/// The value of one field, as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// Where its tag begins in the message.
    pub offset: usize,
}

impl<'a> Field<'a> {
    /// The value as bytes, text or a message.
    ///
    /// # Errors
    /// `Unexpected` for another wire type.
    pub fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type()),
        }
    }

    /// The value as an unsigned integer.
    ///
    /// # Errors
    /// `Unexpected` for another wire type.
    pub fn uint64(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    /// The value as an `int64` (two's complement, not zigzag).
    ///
    /// # Errors
    /// `Unexpected` for another wire type.
    pub fn int64(&self) -> Result<i64, Malformed> {
        Ok(self.uint64()?.cast_signed())
    }

    /// The value as a `uint32`.
    ///
    /// # Errors
    /// `Unexpected` for another wire type, `OutOfRange` for a greater value (readers that cut
    /// it to 32 bits would see another number than those that don't).
    pub fn uint32(&self) -> Result<u32, Malformed> {
        u32::try_from(self.uint64()?).map_err(|_| self.out_of_range())
    }

    /// The value as an `int32`.
    ///
    /// # Errors
    /// `Unexpected` for another wire type, `OutOfRange` beyond 32 bits.
    pub fn int32(&self) -> Result<i32, Malformed> {
        i32::try_from(self.int64()?).map_err(|_| self.out_of_range())
    }

    fn wrong_type(&self) -> Malformed {
        Malformed::new(MalformedKind::Unexpected, "a field of another wire type", self.offset)
    }

    fn out_of_range(&self) -> Malformed {
        Malformed::new(MalformedKind::OutOfRange, "a number beyond its field's type", self.offset)
    }
}

/// Walks the fields of one message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { input: message, at: 0 }
    }

    /// The next field; `None` at the end of the message.
    ///
    /// # Errors
    /// `Truncated`, `OutOfRange`, or `Unexpected` for groups, which no format here has.
    #[allow(
        clippy::should_implement_trait,
        reason = "an error must end the walk, not be one of its items"
    )]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        self.advance(false)
    }

    fn advance(&mut self, canonical: bool) -> Result<Option<Field<'a>>, Malformed> {
        if self.at == self.input.len() {
            return Ok(None);
        }
        let offset = self.at;
        let tag = self.varint(canonical)?;
        let number = tag >> 3;
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(Malformed::new(
                MalformedKind::OutOfRange,
                "a field number that doesn't exist",
                offset,
            ));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint(canonical)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint(canonical)?;
                let rest = &self.input[self.at..];
                let Some(bytes) = usize::try_from(length).ok().and_then(|n| rest.get(..n)) else {
                    return Err(Malformed::new(
                        MalformedKind::Truncated,
                        "a field longer than its message",
                        offset,
                    ));
                };
                self.at += bytes.len();
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => {
                return Err(Malformed::new(
                    MalformedKind::Unexpected,
                    "a wire type that isn't used here",
                    offset,
                ));
            }
        };
        // FIELD_NUMBER_MAX is below 2^32.
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Some(Field { number, value, offset }))
    }

    fn varint(&mut self, canonical: bool) -> Result<u64, Malformed> {
        let rest = &self.input[self.at..];
        let read = if canonical { read_canonical_uvarint(rest) } else { read_uvarint(rest) };
        let (value, taken) = read.map_err(|error| error.shifted(self.at))?;
        self.at += taken;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some(taken) = self.input[self.at..].first_chunk::<N>() else {
            return Err(Malformed::new(
                MalformedKind::Truncated,
                "a number that ends too early",
                self.at,
            ));
        };
        self.at += N;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_slices_of_the_input() {
        // 1: varint 150; 2: "testing"; 3: fixed64 1; 4: fixed32 2.
        let message = hex::decode("089601120774657374696e671901000000000000002502000000").unwrap();
        let mut fields = Fields::new(&message);
        assert_eq!(fields.next().unwrap().unwrap().uint64(), Ok(150));
        let text = fields.next().unwrap().unwrap().bytes().unwrap();
        assert_eq!(text.as_ptr(), message[5..].as_ptr());
        assert_eq!(text, b"testing");
        assert_eq!(fields.next().unwrap().unwrap().value, Value::Fixed64(1));
        assert_eq!(fields.next().unwrap().unwrap().value, Value::Fixed32(2));
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn a_forged_length_allocates_nothing_and_is_refused() {
        let message = hex::decode("12ffffffffffffffff7f00").unwrap();
        assert_eq!(Fields::new(&message).next().unwrap_err().kind, MalformedKind::Truncated);
        for (bytes, kind) in [
            ("00", MalformedKind::OutOfRange),
            ("0b", MalformedKind::Unexpected),
            ("08", MalformedKind::Truncated),
            ("0901", MalformedKind::Truncated),
        ] {
            let message = hex::decode(bytes).unwrap();
            assert_eq!(Fields::new(&message).next().unwrap_err().kind, kind, "{bytes}");
        }
    }

    #[test]
    fn numbers_beyond_their_type_are_refused() {
        let message = hex::decode("0880808080800108ffffffffffffffffff01").unwrap();
        let mut fields = Fields::new(&message);
        let first = fields.next().unwrap().unwrap();
        assert_eq!(first.uint32().unwrap_err().kind, MalformedKind::OutOfRange);
        assert_eq!(first.int32().unwrap_err().kind, MalformedKind::OutOfRange);
        assert!(first.bytes().is_err());
        let second = fields.next().unwrap().unwrap();
        assert_eq!((second.int64(), second.int32()), (Ok(-1), Ok(-1)));
    }
}
