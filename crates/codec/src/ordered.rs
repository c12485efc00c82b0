//! `orderedcode`, the order-preserving encoding of Go's `github.com/google/orderedcode`, in its
//! ascending form: signed 64-bit integers and strings.
//!
//! **int64.** For `n` bytes in all (1 to 10): `n` leading one-bits less one, then a zero bit,
//! then the number in big-endian two's complement, shortest form; negative numbers are the
//! bitwise complement of that. Precisely, a number of -64..=63 is the one byte `x ^ 0x80`; a
//! longer one of `n` bytes is its sign-extended big-endian form with the first `n` bits flipped.
//!
//! **string.** `00` becomes `00 ff`, `ff` becomes `ff 00`, and `00 01` ends it.
//!
//! Only the shortest form is taken, so that a decoded key encodes to the same bytes.

use crate::{Malformed, MalformedKind};

/// Bytes of the longest int64: nine of the number's sign-extended form would carry 63 bits, so
/// the extremes take ten.
pub const INT64_BYTES_MAX: usize = 10;

const STRING_ESCAPE_ZERO: [u8; 2] = [0x00, 0xff];
const STRING_ESCAPE_FF: [u8; 2] = [0xff, 0x00];
const STRING_END: [u8; 2] = [0x00, 0x01];

/// Appends a signed integer.
pub fn put_int64(out: &mut Vec<u8>, value: i64) {
    let n = int64_bytes(value);
    // Sign-extended to the longest form; the last n bytes are the number.
    let mut buffer = [if value < 0 { 0xff } else { 0x00 }; INT64_BYTES_MAX];
    buffer[INT64_BYTES_MAX - 8..].copy_from_slice(&value.to_be_bytes());
    let bytes = &mut buffer[INT64_BYTES_MAX - n..];
    flip_leading_bits(bytes, n);
    out.extend_from_slice(bytes);
}

/// How many bytes [`put_int64`] appends.
#[must_use]
pub fn int64_bytes(value: i64) -> usize {
    // n bytes carry 7n - 1 bits of magnitude, for there are n bits of length and one of sign.
    let magnitude = if value < 0 { !value } else { value };
    let bits = (u64::BITS - magnitude.leading_zeros()) as usize;
    (bits + 1).div_ceil(7)
}

/// Reads a signed integer from the front: the value and how many bytes it took.
///
/// # Errors
/// `Truncated` when the input ends within it, `OutOfRange` beyond 64 bits, `NotCanonical` for
/// any but the shortest form.
pub fn read_int64(input: &[u8]) -> Result<(i64, usize), Malformed> {
    let Some(&first) = input.first() else {
        return Err(Malformed::new(MalformedKind::Truncated, "an integer without bytes", 0));
    };
    let negative = first & 0x80 == 0;
    let n = leading_run(input, negative)?;
    if n > INT64_BYTES_MAX {
        return Err(Malformed::new(MalformedKind::OutOfRange, "an integer beyond 64 bits", 0));
    }
    let Some(taken) = input.get(..n) else {
        return Err(Malformed::new(
            MalformedKind::Truncated,
            "an integer that ends too early",
            input.len(),
        ));
    };
    let fill = if negative { 0xff } else { 0x00 };
    let mut buffer = [fill; INT64_BYTES_MAX];
    buffer[INT64_BYTES_MAX - n..].copy_from_slice(taken);
    flip_leading_bits(&mut buffer[INT64_BYTES_MAX - n..], n);
    let (high, low) = buffer.split_at(INT64_BYTES_MAX - 8);
    let mut number = [0; 8];
    number.copy_from_slice(low);
    let value = i64::from_be_bytes(number);
    if high.iter().any(|byte| *byte != fill) || (value < 0) != negative {
        return Err(Malformed::new(MalformedKind::OutOfRange, "an integer beyond 64 bits", 0));
    }
    if int64_bytes(value) != n {
        return Err(Malformed::new(
            MalformedKind::NotCanonical,
            "an integer longer than its value needs",
            0,
        ));
    }
    Ok((value, n))
}

/// Appends a string with its terminator.
pub fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            0x00 => out.extend_from_slice(&STRING_ESCAPE_ZERO),
            0xff => out.extend_from_slice(&STRING_ESCAPE_FF),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(&STRING_END);
}

/// Reads a string from the front, appends it to `out`, and says how many bytes it took.
///
/// # Errors
/// `Truncated` without a terminator, `Unexpected` for an escape that doesn't exist.
pub fn read_string(out: &mut Vec<u8>, input: &[u8]) -> Result<usize, Malformed> {
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        if byte != 0x00 && byte != 0xff {
            out.push(byte);
            at += 1;
            continue;
        }
        let Some(&second) = input.get(at + 1) else { break };
        match [byte, second] {
            STRING_END => return Ok(at + 2),
            STRING_ESCAPE_ZERO => out.push(0x00),
            STRING_ESCAPE_FF => out.push(0xff),
            _ => {
                return Err(Malformed::new(
                    MalformedKind::Unexpected,
                    "an escape that no string has",
                    at,
                ));
            }
        }
        at += 2;
    }
    Err(Malformed::new(MalformedKind::Truncated, "a string without its end", input.len()))
}

/// How many bytes the string at the front takes, without copying it.
///
/// # Errors
/// Those of [`read_string`].
pub fn skip_string(input: &[u8]) -> Result<usize, Malformed> {
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        if byte != 0x00 && byte != 0xff {
            at += 1;
            continue;
        }
        let Some(&second) = input.get(at + 1) else { break };
        match [byte, second] {
            STRING_END => return Ok(at + 2),
            STRING_ESCAPE_ZERO | STRING_ESCAPE_FF => at += 2,
            _ => {
                return Err(Malformed::new(
                    MalformedKind::Unexpected,
                    "an escape that no string has",
                    at,
                ));
            }
        }
    }
    Err(Malformed::new(MalformedKind::Truncated, "a string without its end", input.len()))
}

/// Length of the run of leading bits equal to the first one: the count of bytes.
fn leading_run(input: &[u8], negative: bool) -> Result<usize, Malformed> {
    let mut run = 0;
    for &byte in input.iter().take(2) {
        let ones = if negative { !byte } else { byte };
        let count = ones.leading_ones() as usize;
        run += count;
        if count < 8 {
            return Ok(run);
        }
    }
    if input.len() < 2 {
        return Err(Malformed::new(
            MalformedKind::Truncated,
            "an integer that ends too early",
            input.len(),
        ));
    }
    Ok(run)
}

fn flip_leading_bits(bytes: &mut [u8], count: usize) {
    for bit in 0..count {
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 0x80 >> (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int64(value: i64) -> String {
        let mut out = Vec::new();
        put_int64(&mut out, value);
        hex::encode(out)
    }

    #[test]
    fn integers_have_the_bytes_that_go_writes() {
        // `orderedcode.Append(nil, x)` of github.com/google/orderedcode.
        for (value, bytes) in [
            (0, "80"),
            (1, "81"),
            (63, "bf"),
            (64, "c040"),
            (300, "c12c"),
            (8191, "dfff"),
            (8192, "e02000"),
            (1_000_000, "ef4240"),
            (20_000_000, "f1312d00"),
            (-1, "7f"),
            (-64, "40"),
            (-65, "3fbf"),
            (i64::MAX, "ffc07fffffffffffffff"),
            (i64::MIN, "003f8000000000000000"),
        ] {
            assert_eq!(int64(value), bytes, "{value}");
            let raw = hex::decode(bytes).unwrap();
            assert_eq!(read_int64(&raw), Ok((value, raw.len())), "{value}");
        }
    }

    #[test]
    fn a_form_that_go_would_not_write_is_refused() {
        // 1 in two bytes, then a length that the input lacks, then eleven bytes.
        let kinds = ["c001", "c0", "ff", "", "ffe0000000000000000000"]
            .map(|bytes| read_int64(&hex::decode(bytes).unwrap()).unwrap_err().kind);
        assert_eq!(
            kinds,
            [
                MalformedKind::NotCanonical,
                MalformedKind::Truncated,
                MalformedKind::Truncated,
                MalformedKind::Truncated,
                MalformedKind::OutOfRange
            ]
        );
        let beyond = hex::decode("ffc08000000000000000").unwrap();
        assert_eq!(read_int64(&beyond).unwrap_err().kind, MalformedKind::OutOfRange);
    }

    #[test]
    fn strings_escape_their_reserved_bytes() {
        let mut out = Vec::new();
        put_string(&mut out, b"a\x00\xffb");
        assert_eq!(hex::encode(&out), "6100ffff00620001");
        let mut text = Vec::new();
        assert_eq!(read_string(&mut text, &out), Ok(out.len()));
        assert_eq!(text, b"a\x00\xffb");
        assert_eq!(skip_string(&out), Ok(out.len()));
        for bad in [&b"a"[..], b"a\x00", b"\x00\x02", b"\xff\x01"] {
            assert!(read_string(&mut text, bad).is_err());
            assert!(skip_string(bad).is_err());
        }
    }
}
