//! Appends fields the way proto3 writers do: a scalar or bytes field that holds its default is
//! left out, a message field is written even when it is empty.

use crate::varint::put_uvarint;

fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_uvarint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Appends a varint field, unless `value` is 0. A signed number is cast by the caller.
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_tag(out, number, 0);
        put_uvarint(out, value);
    }
}

/// Appends a fixed64 or sfixed64 field, unless `value` is 0.
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_tag(out, number, 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends a field of bytes or text, unless it is empty.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_message(out, number, bytes);
    }
}

/// Appends a message field, or an element of a repeated one, also when it is empty.
pub fn put_message(out: &mut Vec<u8>, number: u32, message: &[u8]) {
    put_tag(out, number, 2);
    put_uvarint(out, message.len() as u64);
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_left_out_and_empty_messages_are_not() {
        let mut out = Vec::new();
        put_varint_field(&mut out, 1, 0);
        put_fixed64(&mut out, 2, 0);
        put_bytes(&mut out, 3, b"");
        assert!(out.is_empty());
        put_message(&mut out, 4, b"");
        put_varint_field(&mut out, 5, (-1_i64).cast_unsigned());
        put_fixed64(&mut out, 6, 2);
        assert_eq!(hex::encode(out), "220028ffffffffffffffffff01310200000000000000");
    }
}
