//! Numbers as ASCII decimal, the way Go's `%v` and `%d` print them, and the streams that their
//! byte order falls into.
//!
//! Among keys `PREFIX` + decimal, byte order is not numeric order (`10` < `9`). But keys whose
//! numbers have the same count of digits stand in numeric order among themselves, and every
//! number of `n` digits is less than every one of `n + 1`. So one physical scan feeds one
//! stream a digit count, and the streams follow one another.

use crate::{Malformed, MalformedKind};

/// Digits of the largest u64.
pub const DIGITS_MAX: usize = 20;

/// Reads a whole decimal number in its only form: no sign, no leading zero but in `0` itself.
///
/// # Errors
/// `Truncated` for no digit, `Unexpected` for another character, `NotCanonical` for a leading
/// zero, `OutOfRange` beyond 64 bits.
pub fn parse(text: &[u8]) -> Result<u64, Malformed> {
    if text.is_empty() {
        return Err(Malformed::new(MalformedKind::Truncated, "a number without digits", 0));
    }
    if text.len() > 1 && text[0] == b'0' {
        return Err(Malformed::new(MalformedKind::NotCanonical, "a number with a leading zero", 0));
    }
    let mut value = 0_u64;
    for (offset, byte) in text.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return Err(Malformed::new(
                MalformedKind::Unexpected,
                "a character that is no digit",
                offset,
            ));
        }
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(byte - b'0')))
            .ok_or(Malformed::new(MalformedKind::OutOfRange, "a number beyond 64 bits", offset))?;
    }
    Ok(value)
}

/// Reads the digits at the front: the number and how many digits it has.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_front(text: &[u8]) -> Result<(u64, usize), Malformed> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Ok((parse(&text[..digits])?, digits))
}

/// Appends `value`.
pub fn put(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// How many digits `value` has: its stream.
#[must_use]
pub fn digits(value: u64) -> u32 {
    value.checked_ilog10().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_form_of_a_number_is_taken() {
        for (text, value) in [("0", 0), ("7", 7), ("10", 10), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse(text.as_bytes()), Ok(value));
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, text.as_bytes());
            assert_eq!(digits(value) as usize, text.len());
        }
        for (text, kind) in [
            ("", MalformedKind::Truncated),
            ("01", MalformedKind::NotCanonical),
            ("00", MalformedKind::NotCanonical),
            ("+1", MalformedKind::Unexpected),
            ("-1", MalformedKind::Unexpected),
            ("1a", MalformedKind::Unexpected),
            ("18446744073709551616", MalformedKind::OutOfRange),
            ("99999999999999999999999", MalformedKind::OutOfRange),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind, kind, "{text}");
        }
    }

    #[test]
    fn keys_of_one_digit_count_stand_in_numeric_order() {
        let mut keys: Vec<Vec<u8>> = (0..2_000_u64)
            .map(|n| {
                let mut key = b"P:".to_vec();
                put(&mut key, n);
                key.extend_from_slice(b":0");
                key
            })
            .collect();
        keys.sort();
        let mut last = [None::<u64>; 5];
        for key in keys {
            let (n, count) = parse_front(&key[2..]).unwrap();
            assert!(last[count].is_none_or(|last| last < n));
            last[count] = Some(n);
        }
    }
}
