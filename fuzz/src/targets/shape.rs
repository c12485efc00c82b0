//! Protobuf: a second, slower opinion on what a message's one canonical form is.

use transload_chains::cometbft::wire::shapes;
use transload_codec::proto::{FieldKind, Fields, Presence, Shape, Value};
use transload_codec::varint::put_uvarint;

fn put(out: &mut Vec<u8>, number: u32, value: &Value<'_>) {
    let tag = |out: &mut Vec<u8>, wire_type| put_uvarint(out, u64::from(number) << 3 | wire_type);
    match value {
        Value::Varint(value) => {
            tag(out, 0);
            put_uvarint(out, *value);
        }
        Value::Fixed64(value) => {
            tag(out, 1);
            out.extend(value.to_le_bytes());
        }
        Value::Bytes(bytes) => {
            tag(out, 2);
            put_uvarint(out, bytes.len() as u64);
            out.extend(*bytes);
        }
        Value::Fixed32(value) => {
            tag(out, 5);
            out.extend(value.to_le_bytes());
        }
    }
}

/// What a canonical writer makes of what a lenient reader read; `None` where a value doesn't fit
/// its field.
fn written_again(shape: &Shape, message: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Vec::new();
    let mut walk = Fields::new(message);
    while let Some(field) = walk.next().ok()? {
        fields.push(field);
    }
    let mut out = Vec::new();
    for spec in shape.fields {
        let mut values = Vec::new();
        for field in fields.iter().filter(|field| field.number == spec.number) {
            values.push(match (spec.kind, field.value) {
                (FieldKind::Int64, Value::Varint(value)) => (value, None),
                (FieldKind::Int32, Value::Varint(_)) => {
                    (i64::from(field.int32().ok()?).cast_unsigned(), None)
                }
                (FieldKind::Uint32, Value::Varint(_)) => (u64::from(field.uint32().ok()?), None),
                (FieldKind::Bool, Value::Varint(value)) => (u64::from(value != 0), None),
                (FieldKind::Bytes, Value::Bytes(bytes)) => (0, Some(bytes.to_vec())),
                (FieldKind::Message(inner), Value::Bytes(bytes)) => {
                    (0, Some(written_again(inner, bytes)?))
                }
                _ => return None,
            });
        }
        // Of a field that stands twice, readers take the last one.
        let first = if spec.presence == Presence::Repeated { 0 } else { values.len().max(1) - 1 };
        let message = matches!(spec.kind, FieldKind::Message(_));
        let mut written = values.get(first..).unwrap_or_default().to_vec();
        if written.is_empty() && spec.presence == Presence::Always && message {
            written.push((0, Some(written_again(empty_of(spec.kind)?, &[])?)));
        }
        for (number, bytes) in &written {
            let default = *number == 0 && bytes.as_ref().is_none_or(Vec::is_empty) && !message;
            if default && spec.presence == Presence::NotDefault {
                continue;
            }
            let value = bytes.as_ref().map_or(Value::Varint(*number), |b| Value::Bytes(b));
            put(&mut out, spec.number, &value);
        }
    }
    Some(out)
}

fn empty_of(kind: FieldKind) -> Option<&'static Shape> {
    match kind {
        FieldKind::Message(shape) => Some(shape),
        _ => None,
    }
}

/// The quick check of a message's form agrees with writing it again.
pub(crate) fn agrees(shape: &Shape, message: &[u8]) {
    let again = written_again(shape, message);
    let checked = shape.check(message);
    assert_eq!(
        checked.is_ok(),
        again.as_deref() == Some(message),
        "{checked:?}, written again {again:?}"
    );
}

/// Any bytes as fields.
pub(crate) fn proto(bytes: &[u8]) {
    let mut walk = Fields::new(bytes);
    let (mut out, mut canonical_bytes) = (Vec::new(), 0);
    let mut last = None;
    while let Ok(Some(field)) = walk.next() {
        assert!(last.is_none_or(|last| last < field.offset) && field.offset < bytes.len());
        last = Some(field.offset);
        put(&mut out, field.number, &field.value);
        canonical_bytes += 1;
    }
    assert!(canonical_bytes <= bytes.len());
    // What was read, written again, is read as the same fields.
    let (mut first, mut second) = (Fields::new(bytes), Fields::new(&out));
    while let Ok(Some(field)) = first.next() {
        let again = second.next().expect("it was just written").expect("as many fields");
        assert_eq!((field.number, field.value), (again.number, again.value));
    }
    assert_eq!(second.next(), Ok(None));
    agrees(&shapes::COMMIT, bytes);
}
