//! Properties of the key encodings: there and back is the identity, byte order is field order,
//! and no input makes a decoder panic.

use proptest::prelude::*;
use transload_codec::{decimal, ordered, proto, varint};

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

/// Numbers near the lengths' borders as often as any others.
fn any_int64() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), (0_u32..63, -2_i64..3).prop_map(|(bits, near)| (1 << bits) + near)]
        .prop_flat_map(|value| prop_oneof![Just(value), Just(value.wrapping_neg())])
}

proptest! {
    #[test]
    fn ordered_integers_come_back_and_keep_their_order(a in any_int64(), b in any_int64()) {
        let (left, right) = (int64(a), int64(b));
        prop_assert_eq!(ordered::read_int64(&left).unwrap(), (a, left.len()));
        prop_assert_eq!(ordered::int64_bytes(a), left.len());
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
    }

    #[test]
    fn ordered_strings_come_back_and_keep_their_order(
        a in proptest::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 0..12),
        b in proptest::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 0..12),
    ) {
        let (left, right) = (string(&a), string(&b));
        let mut back = Vec::new();
        prop_assert_eq!(ordered::read_string(&mut back, &left).unwrap(), left.len());
        prop_assert_eq!(ordered::skip_string(&left).unwrap(), left.len());
        prop_assert_eq!(&back, &a);
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
        if let Ok((value, taken)) = ordered::read_int64(&bytes) {
            prop_assert_eq!(int64(value), &bytes[..taken]);
        }
        let mut text = Vec::new();
        if let Ok(taken) = ordered::read_string(&mut text, &bytes) {
            prop_assert_eq!(string(&text), &bytes[..taken]);
        }
        if let Ok((value, taken)) = varint::read_canonical_uvarint(&bytes) {
            let mut out = Vec::new();
            varint::put_uvarint(&mut out, value);
            prop_assert_eq!(out, &bytes[..taken]);
        }
        if let Ok(value) = decimal::parse(&bytes) {
            let mut out = Vec::new();
            decimal::put(&mut out, value);
            prop_assert_eq!(out, bytes);
        }
    }

    #[test]
    fn decimal_numbers_of_one_digit_count_keep_their_order(a in any::<u64>(), b in any::<u64>()) {
        let text = |value| { let mut out = Vec::new(); decimal::put(&mut out, value); out };
        prop_assert_eq!(decimal::parse(&text(a)), Ok(a));
        if decimal::digits(a) == decimal::digits(b) {
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
        } else {
            prop_assert_eq!(a.cmp(&b), decimal::digits(a).cmp(&decimal::digits(b)));
        }
    }

    #[test]
    fn zigzag_comes_back(value in any::<i64>()) {
        prop_assert_eq!(varint::unzigzag(varint::zigzag(value)), value);
        let mut out = Vec::new();
        varint::put_varint(&mut out, value);
        prop_assert_eq!(varint::read_varint(&out).unwrap(), (value, out.len()));
    }

    #[test]
    fn any_bytes_are_walked_to_an_end_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut fields = proto::Fields::new(&bytes);
        let mut seen = 0;
        while let Ok(Some(field)) = fields.next() {
            prop_assert!(field.number > 0);
            seen += 1;
        }
        prop_assert!(seen <= bytes.len());
    }
}
