//! Hashes and heights as hexadecimal text inside keys, in one case only.
//!
//! CometBFT writes block hashes in lower case (`BH:%x`) and evidence keys in upper case
//! (`%0.16X/%X`). The other case is another key, so it is refused here.

use crate::{Malformed, MalformedKind};

/// Which letters stand for 10 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` to `f`.
    Lower,
    /// `A` to `F`.
    Upper,
}

/// Appends the bytes that `text` stands for.
///
/// # Errors
/// `Truncated` for an odd number of digits, `Unexpected` for any other character.
pub fn decode(out: &mut Vec<u8>, text: &[u8], case: Case) -> Result<(), Malformed> {
    if !text.len().is_multiple_of(2) {
        return Err(Malformed::new(
            MalformedKind::Truncated,
            "an odd number of hex digits",
            text.len(),
        ));
    }
    let begun = out.len();
    for (index, pair) in text.chunks_exact(2).enumerate() {
        let (Some(high), Some(low)) = (nibble(pair[0], case), nibble(pair[1], case)) else {
            out.truncate(begun);
            return Err(Malformed::new(
                MalformedKind::Unexpected,
                "a character that is no hex digit of this case",
                2 * index,
            ));
        };
        out.push(high << 4 | low);
    }
    Ok(())
}

/// Appends the text of `bytes`.
pub fn encode(out: &mut Vec<u8>, bytes: &[u8], case: Case) {
    let digits: &[u8; 16] = match case {
        Case::Lower => b"0123456789abcdef",
        Case::Upper => b"0123456789ABCDEF",
    };
    for byte in bytes {
        out.push(digits[usize::from(byte >> 4)]);
        out.push(digits[usize::from(byte & 15)]);
    }
}

fn nibble(digit: u8, case: Case) -> Option<u8> {
    match (digit, case) {
        (b'0'..=b'9', _) => Some(digit - b'0'),
        (b'a'..=b'f', Case::Lower) => Some(digit - b'a' + 10),
        (b'A'..=b'F', Case::Upper) => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_case_is_another_key() {
        let mut out = Vec::new();
        decode(&mut out, b"00ff", Case::Lower).unwrap();
        assert_eq!(out, [0, 255]);
        for (text, case) in [("00FF", Case::Lower), ("00ff", Case::Upper), ("0", Case::Upper)] {
            assert!(decode(&mut out, text.as_bytes(), case).is_err());
            assert_eq!(out, [0, 255], "nothing is left behind by a refusal");
        }
        let mut text = Vec::new();
        encode(&mut text, &out, Case::Upper);
        assert_eq!(text, b"00FF");
    }
}
