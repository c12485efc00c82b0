//! Variable-length integers as protobuf and Go's `encoding/binary` write them: seven bits a
//! byte, least significant first, high bit set on all bytes but the last.
//!
//! [`read_uvarint`] takes any encoding of up to ten bytes, as those readers do;
//! [`read_canonical_uvarint`] takes the shortest one only.

use crate::{Malformed, MalformedKind};

/// Bytes of the longest varint of a u64.
pub const UVARINT_BYTES_MAX: usize = 10;

/// Appends `value` in its shortest form.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// How many bytes [`put_uvarint`] appends.
#[must_use]
pub fn uvarint_bytes(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Reads one unsigned varint from the front: the value and how many bytes it took.
///
/// # Errors
/// `Truncated` when the input ends within it, `OutOfRange` when it doesn't fit 64 bits.
pub fn read_uvarint(input: &[u8]) -> Result<(u64, usize), Malformed> {
    if let Some(&byte) = input.first()
        && byte < 0x80
    {
        return Ok((u64::from(byte), 1));
    }
    let mut value = 0_u64;
    for (index, &byte) in input.iter().take(UVARINT_BYTES_MAX).enumerate() {
        if index == UVARINT_BYTES_MAX - 1 && byte > 1 {
            return Err(Malformed::new(
                MalformedKind::OutOfRange,
                "a varint beyond 64 bits",
                index,
            ));
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(Malformed::new(MalformedKind::Truncated, "a varint that ends too early", input.len()))
}

/// Reads one unsigned varint in its shortest form.
///
/// # Errors
/// Those of [`read_uvarint`], and `NotCanonical` for a longer form.
pub fn read_canonical_uvarint(input: &[u8]) -> Result<(u64, usize), Malformed> {
    let (value, taken) = read_uvarint(input)?;
    if taken != uvarint_bytes(value) {
        return Err(Malformed::new(
            MalformedKind::NotCanonical,
            "a varint longer than its value needs",
            0,
        ));
    }
    Ok((value, taken))
}

/// Maps a signed number to an unsigned one, small magnitudes to small numbers.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// Undoes [`zigzag`].
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Appends a signed varint as Go's `binary.PutVarint` does.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Reads one signed (zigzag) varint.
///
/// # Errors
/// Those of [`read_uvarint`].
pub fn read_varint(input: &[u8]) -> Result<(i64, usize), Malformed> {
    let (value, taken) = read_uvarint(input)?;
    Ok((unzigzag(value), taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_have_their_known_bytes() {
        // Go: binary.PutUvarint / PutVarint.
        for (value, bytes) in [
            (0, "00"),
            (1, "01"),
            (127, "7f"),
            (128, "8001"),
            (300, "ac02"),
            (u64::MAX, "ffffffffffffffffff01"),
        ] {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            assert_eq!(hex::encode(&out), bytes);
            assert_eq!(uvarint_bytes(value), out.len());
            assert_eq!(read_canonical_uvarint(&out), Ok((value, out.len())));
        }
        for (value, bytes) in [(0, "00"), (-1, "01"), (1, "02"), (-64, "7f"), (64, "8001")] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(hex::encode(&out), bytes);
            assert_eq!(read_varint(&out), Ok((value, out.len())));
        }
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn a_varint_that_ends_too_early_or_is_too_long_is_refused() {
        assert_eq!(read_uvarint(&[]).unwrap_err().kind, MalformedKind::Truncated);
        assert_eq!(read_uvarint(&[0x80; 9]).unwrap_err().kind, MalformedKind::Truncated);
        assert_eq!(read_uvarint(&[0xff; 11]).unwrap_err().kind, MalformedKind::OutOfRange);
        let mut two_to_64 = [0x80; 10];
        two_to_64[9] = 2;
        assert_eq!(read_uvarint(&two_to_64).unwrap_err().kind, MalformedKind::OutOfRange);
    }

    #[test]
    fn a_padded_varint_is_read_but_is_not_canonical() {
        assert_eq!(read_uvarint(&[0x81, 0x00]), Ok((1, 2)));
        let error = read_canonical_uvarint(&[0x81, 0x00]).unwrap_err();
        assert_eq!(error.kind, MalformedKind::NotCanonical);
    }
}
