//! What a message may hold, and whether stored bytes are its one canonical form.
//!
//! A reader that ignores unknown fields can be shown one thing while a hash over a re-encoding
//! covers another. So what wraps authenticated bytes must equal its canonical re-encoding, and
//! this check says so without encoding anything.

use super::{Field, Fields, Value};
use crate::Malformed;
use std::fmt;

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum FieldKind {
    /// `int64`, `uint64`.
    Int64,
    /// `int32` or an enum: sign-extended.
    Int32,
    /// `uint32`.
    Uint32,
    /// `bool`.
    Bool,
    /// `bytes` or `string`.
    Bytes,
    /// A message of this shape.
    Message(&'static Shape),
}

/// When a canonical writer writes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// When it isn't the default (proto3 scalars and bytes).
    NotDefault,
    /// Always (gogoproto's non-nullable messages).
    Always,
    /// When it is set (nullable messages, members of a oneof), default or not.
    WhenSet,
    /// Once an element.
    Repeated,
}

/// One field of a shape.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// When it is written.
    pub presence: Presence,
}

/// A message: its fields by ascending number.
#[derive(Debug)]
pub struct Shape {
    /// The message's name.
    pub name: &'static str,
    /// Its fields, by ascending number.
    pub fields: &'static [Spec],
}

/// Where and how stored bytes differ from their canonical re-encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// Path of the field, such as `BlockMeta.header.version`.
    pub path: String,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.path)
    }
}

impl std::error::Error for Deviation {}

impl Deviation {
    fn at(shape: &Shape, field: &str, what: &'static str) -> Self {
        Self { path: format!("{}.{field}", shape.name), what }
    }

    fn malformed(shape: &Shape, error: Malformed) -> Self {
        Self { path: format!("{} byte {}", shape.name, error.offset), what: error.what }
    }
}

impl Shape {
    /// Whether `message` is the one canonical form of what it says.
    ///
    /// # Errors
    /// The first [`Deviation`], with the path to it.
    pub fn check(&self, message: &[u8]) -> Result<(), Deviation> {
        let mut fields = Fields::new(message);
        // Specs before this index have been written, or are known to be absent.
        let mut next = 0;
        while let Some(field) =
            fields.advance(true).map_err(|error| Deviation::malformed(self, error))?
        {
            while let Some(spec) = self.fields.get(next)
                && spec.number < field.number
            {
                self.left_out(spec)?;
                next += 1;
            }
            let Some(spec) = self.fields.get(next).filter(|spec| spec.number == field.number)
            else {
                return Err(self.misplaced(&field));
            };
            self.check_field(spec, &field)?;
            if spec.presence == Presence::Repeated {
                // The spec stays for further elements.
                if !self.repeats(&fields, spec.number) {
                    next += 1;
                }
            } else {
                next += 1;
            }
        }
        self.fields[next.min(self.fields.len())..].iter().try_for_each(|spec| self.left_out(spec))
    }

    fn repeats(&self, fields: &Fields<'_>, number: u32) -> bool {
        fields.clone().advance(false).is_ok_and(|field| field.is_some_and(|f| f.number == number))
    }

    fn left_out(&self, spec: &Spec) -> Result<(), Deviation> {
        if spec.presence == Presence::Always {
            return Err(Deviation::at(self, spec.name, "a message is missing"));
        }
        Ok(())
    }

    fn misplaced(&self, field: &Field<'_>) -> Deviation {
        match self.fields.iter().find(|spec| spec.number == field.number) {
            Some(spec) => Deviation::at(self, spec.name, "a field stands twice or out of order"),
            None => Deviation::at(
                self,
                &format!("{}", field.number),
                "a field that the format doesn't have",
            ),
        }
    }

    fn check_field(&self, spec: &Spec, field: &Field<'_>) -> Result<(), Deviation> {
        let refuse = |what| Err(Deviation::at(self, spec.name, what));
        let default = match (spec.kind, field.value) {
            (FieldKind::Int64, Value::Varint(value)) => value == 0,
            (FieldKind::Int32, Value::Varint(value)) => {
                if i32::try_from(value.cast_signed()).is_err() {
                    return refuse("a number beyond its field's type");
                }
                value == 0
            }
            (FieldKind::Uint32, Value::Varint(value)) => {
                if u32::try_from(value).is_err() {
                    return refuse("a number beyond its field's type");
                }
                value == 0
            }
            (FieldKind::Bool, Value::Varint(value)) => {
                if value > 1 {
                    return refuse("a number beyond its field's type");
                }
                value == 0
            }
            (FieldKind::Bytes, Value::Bytes(bytes)) => bytes.is_empty(),
            (FieldKind::Message(shape), Value::Bytes(bytes)) => {
                shape.check(bytes).map_err(|inner| Deviation {
                    path: format!(
                        "{}.{}{}",
                        self.name,
                        spec.name,
                        inner.path.strip_prefix(shape.name).unwrap_or(&inner.path)
                    ),
                    what: inner.what,
                })?;
                false
            }
            _ => return refuse("a field of another wire type"),
        };
        if default && spec.presence == Presence::NotDefault {
            return refuse("a default value is written out");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static INNER: Shape = Shape {
        name: "Inner",
        fields: &[Spec {
            number: 1,
            name: "flag",
            kind: FieldKind::Bool,
            presence: Presence::NotDefault,
        }],
    };
    static OUTER: Shape = Shape {
        name: "Outer",
        fields: &[
            Spec {
                number: 1,
                name: "number",
                kind: FieldKind::Uint32,
                presence: Presence::NotDefault,
            },
            Spec {
                number: 2,
                name: "inner",
                kind: FieldKind::Message(&INNER),
                presence: Presence::Always,
            },
            Spec { number: 4, name: "items", kind: FieldKind::Bytes, presence: Presence::Repeated },
            Spec {
                number: 5,
                name: "round",
                kind: FieldKind::Int32,
                presence: Presence::NotDefault,
            },
        ],
    };

    fn check(bytes: &str) -> Result<(), String> {
        OUTER.check(&hex::decode(bytes).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_canonical_form_passes() {
        assert_eq!(check("1200"), Ok(()));
        assert_eq!(check("0805120208012200220161220028ffffffffffffffffff01"), Ok(()));
    }

    #[test]
    fn every_other_form_is_named_with_its_path() {
        for (bytes, expected) in [
            ("", "a message is missing at Outer.inner"),
            ("0805", "a message is missing at Outer.inner"),
            ("08001200", "a default value is written out at Outer.number"),
            ("0885001200", "a varint longer than its value needs at Outer byte 1"),
            ("12000805", "a field stands twice or out of order at Outer.number"),
            ("12001200", "a field stands twice or out of order at Outer.inner"),
            ("12001a00", "a field that the format doesn't have at Outer.3"),
            ("1200320161", "a field that the format doesn't have at Outer.6"),
            ("120028012200", "a field stands twice or out of order at Outer.items"),
            ("12020802", "a number beyond its field's type at Outer.inner.flag"),
            ("12021001", "a field that the format doesn't have at Outer.inner.2"),
            ("088080808080011200", "a number beyond its field's type at Outer.number"),
            ("1200288080808008", "a number beyond its field's type at Outer.round"),
            ("0a001200", "a field of another wire type at Outer.number"),
            ("1205", "a field longer than its message at Outer byte 0"),
        ] {
            assert_eq!(check(bytes), Err(expected.to_owned()), "{bytes}");
        }
    }
}
