//! Key encodings: what decodes encodes to the same bytes, and byte order is the order of values.

use crate::input::Input;
use transload_codec::hexkey::{self, Case};
use transload_codec::{decimal, ordered, varint};

fn int64(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    ordered::put_int64(&mut out, value);
    out
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ordered::put_string(&mut out, text);
    out
}

/// orderedcode, both as foreign bytes and as values whose order must stay.
pub(crate) fn ordered(bytes: &[u8]) {
    if let Ok((value, taken)) = ordered::read_int64(bytes) {
        assert_eq!(int64(value), &bytes[..taken]);
    }
    let mut text = Vec::new();
    let read = ordered::read_string(&mut text, bytes);
    assert_eq!(read, ordered::skip_string(bytes));
    if let Ok(taken) = read {
        assert_eq!(string(&text), &bytes[..taken]);
    }
    assert!(text.len() <= bytes.len());

    let mut input = Input::new(bytes);
    let (a, b) = (input.u64().cast_signed(), input.u64().cast_signed());
    let (left, right) = (int64(a), int64(b));
    assert_eq!(ordered::read_int64(&left), Ok((a, left.len())));
    assert_eq!(a.cmp(&b), left.cmp(&right));
    let (a, b) = (input.piece(), input.rest());
    let (left, right) = (string(a), string(b));
    let mut back = Vec::new();
    assert_eq!(ordered::read_string(&mut back, &left), Ok(left.len()));
    assert_eq!(back, a);
    assert_eq!(a.cmp(b), left.cmp(&right));
}

pub(crate) fn ordered_seeds() -> Vec<Vec<u8>> {
    let numbers = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN, 10_482];
    let texts: [&[u8]; 4] = [b"", b"tx.height", b"\x00\xff\x00", b"\xff\x01\x00"];
    numbers.into_iter().map(int64).chain(texts.into_iter().map(string)).collect()
}

/// Decimal and hexadecimal text, and varints.
pub(crate) fn decimal(bytes: &[u8]) {
    if let Ok(value) = decimal::parse(bytes) {
        let mut out = Vec::new();
        decimal::put(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(decimal::digits(value) as usize, bytes.len());
    }
    if let Ok((value, digits)) = decimal::parse_front(bytes) {
        assert_eq!(decimal::parse(&bytes[..digits]), Ok(value));
        assert!(bytes.get(digits).is_none_or(|byte| !byte.is_ascii_digit()));
    }
    for case in [Case::Lower, Case::Upper] {
        let mut out = Vec::new();
        if hexkey::decode(&mut out, bytes, case).is_ok() {
            let mut text = Vec::new();
            hexkey::encode(&mut text, &out, case);
            assert_eq!(text, bytes);
        } else {
            assert!(out.is_empty());
        }
    }
    match (varint::read_uvarint(bytes), varint::read_canonical_uvarint(bytes)) {
        (Ok(lenient), Ok(strict)) => {
            assert_eq!(lenient, strict);
            let mut out = Vec::new();
            varint::put_uvarint(&mut out, strict.0);
            assert_eq!(out, &bytes[..strict.1]);
        }
        (Ok((value, taken)), Err(_)) => assert!(taken > varint::uvarint_bytes(value)),
        (Err(_), strict) => assert!(strict.is_err()),
    }
    let value = Input::new(bytes).u64();
    assert_eq!(varint::zigzag(varint::unzigzag(value)), value);
}

pub(crate) fn decimal_seeds() -> Vec<Vec<u8>> {
    let texts = ["0", "10482", "18446744073709551615", "01", "c7ceeb", "C7CEEB", "7:2"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
