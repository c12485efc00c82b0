//! The items of a snapshot's stream.

use crate::iavl::node::HEIGHT_MAX;
use std::fmt;
use transload_codec::proto::{Deviation, FieldKind, Fields, Presence, Shape, Spec};
use transload_codec::{Malformed, MalformedKind};

/// Longest key that the SDK's stores take.
/// Source: cosmossdk.io/store `types/validity.go`, `MaxKeyLength`.
pub const KEY_BYTES_MAX: usize = (1 << 17) - 1;

/// Longest name of a store or an extension; those of real chains have some tens of bytes.
pub const NAME_BYTES_MAX: usize = 1 << 10;

/// A node of a tree as it is exported: without children, after both of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedNode<'a> {
    /// 0 for a leaf.
    pub height: u8,
    /// The version that made it.
    pub version: u64,
    /// The leaf's key, or the smallest key below the right child.
    pub key: &'a [u8],
    /// The leaf's value; empty for an inner node.
    pub value: &'a [u8],
}

/// One item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The nodes that follow are this store's.
    Store(&'a [u8]),
    /// A node.
    Node(ExportedNode<'a>),
    /// The payloads that follow are this extension's.
    Extension {
        /// Its name.
        name: &'a [u8],
        /// The format of its payloads, which is its own.
        format: u32,
    },
    /// Something that only the extension understands.
    Payload(&'a [u8]),
}

static STORE: Shape = Shape {
    name: "SnapshotStoreItem",
    fields: &[Spec {
        number: 1,
        name: "name",
        kind: FieldKind::Bytes,
        presence: Presence::NotDefault,
    }],
};

static NODE: Shape = Shape {
    name: "SnapshotIAVLItem",
    fields: &[
        Spec { number: 1, name: "key", kind: FieldKind::Bytes, presence: Presence::NotDefault },
        Spec { number: 2, name: "value", kind: FieldKind::Bytes, presence: Presence::NotDefault },
        Spec { number: 3, name: "version", kind: FieldKind::Int64, presence: Presence::NotDefault },
        Spec { number: 4, name: "height", kind: FieldKind::Int32, presence: Presence::NotDefault },
    ],
};

static EXTENSION: Shape = Shape {
    name: "SnapshotExtensionMeta",
    fields: &[
        Spec { number: 1, name: "name", kind: FieldKind::Bytes, presence: Presence::NotDefault },
        Spec { number: 2, name: "format", kind: FieldKind::Uint32, presence: Presence::NotDefault },
    ],
};

static PAYLOAD: Shape = Shape {
    name: "SnapshotExtensionPayload",
    fields: &[Spec {
        number: 1,
        name: "payload",
        kind: FieldKind::Bytes,
        presence: Presence::NotDefault,
    }],
};

/// The canonical form of an item.
pub static ITEM: Shape = Shape {
    name: "SnapshotItem",
    fields: &[
        Spec {
            number: 1,
            name: "store",
            kind: FieldKind::Message(&STORE),
            presence: Presence::WhenSet,
        },
        Spec {
            number: 2,
            name: "iavl",
            kind: FieldKind::Message(&NODE),
            presence: Presence::WhenSet,
        },
        Spec {
            number: 3,
            name: "extension",
            kind: FieldKind::Message(&EXTENSION),
            presence: Presence::WhenSet,
        },
        Spec {
            number: 4,
            name: "extension_payload",
            kind: FieldKind::Message(&PAYLOAD),
            presence: Presence::WhenSet,
        },
    ],
};

/// Why an item isn't one that the SDK writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadItem {
    /// No such message.
    Malformed(Malformed),
    /// Something hides in it that hashes don't cover.
    NotCanonical(Deviation),
}

impl fmt::Display for BadItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::NotCanonical(deviation) => deviation.fmt(f),
        }
    }
}

impl From<Malformed> for BadItem {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl<'a> Item<'a> {
    /// Decodes `SnapshotItem`, one of: 1 store {1 name}, 2 iavl {1 key, 2 value, 3 version,
    /// 4 height}, 3 extension {1 name, 2 format}, 4 extension payload {1 payload}.
    ///
    /// # Errors
    /// For bytes that aren't the canonical form of exactly one of these (restoring skips what it
    /// doesn't know, and no hash covers it), and for numbers and lengths that no SDK writes.
    pub fn decode(message: &'a [u8]) -> Result<Self, BadItem> {
        ITEM.check(message).map_err(BadItem::NotCanonical)?;
        let mut fields = Fields::new(message);
        let Some(field) = fields.next()? else { return Err(wrong("an empty item")) };
        if fields.next()?.is_some() {
            return Err(wrong("an item that is two at once"));
        }
        let inner = field.bytes()?;
        match field.number {
            1 => Ok(Self::Store(name(bytes_of(inner)?)?)),
            2 => Ok(Self::Node(ExportedNode::decode(inner)?)),
            3 => {
                let mut format = 0;
                let mut fields = Fields::new(inner);
                while let Some(field) = fields.next()? {
                    if field.number == 2 {
                        format = field.uint32()?;
                    }
                }
                Ok(Self::Extension { name: name(bytes_of(inner)?)?, format })
            }
            _ => Ok(Self::Payload(bytes_of(inner)?)),
        }
    }
}

impl<'a> ExportedNode<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, BadItem> {
        let mut node = Self { height: 0, version: 0, key: &[], value: &[] };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => node.key = field.bytes()?,
                2 => node.value = field.bytes()?,
                3 => {
                    let version = u64::try_from(field.int64()?);
                    node.version = version.map_err(|_| wrong("a negative version"))?;
                }
                _ => {
                    let height = u8::try_from(field.int32()?).ok();
                    let height = height.filter(|height| *height <= HEIGHT_MAX);
                    node.height = height.ok_or(wrong("a height that isn't 0 to 127"))?;
                }
            }
        }
        if node.key.len() > KEY_BYTES_MAX {
            return Err(wrong("a key longer than the SDK's stores take"));
        }
        if node.height > 0 && !node.value.is_empty() {
            return Err(wrong("an inner node with a value, which no hash covers"));
        }
        Ok(node)
    }
}

/// The bytes in field 1.
fn bytes_of(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(message);
    match fields.next()? {
        Some(field) if field.number == 1 => field.bytes(),
        _ => Ok(&[]),
    }
}

fn name(name: &[u8]) -> Result<&[u8], BadItem> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(wrong("a name that is empty or too long"));
    }
    Ok(name)
}

fn wrong(what: &'static str) -> BadItem {
    BadItem::Malformed(Malformed::new(MalformedKind::OutOfRange, what, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(hex: &str) -> Result<String, String> {
        let message = hex::decode(hex).unwrap();
        Item::decode(&message).map(|item| format!("{item:?}")).map_err(|bad| bad.to_string())
    }

    #[test]
    fn every_kind_of_item_is_read() {
        let read = |hex: &str| decoded(hex).unwrap();
        assert_eq!(read("0a060a0462616e6b"), format!("{:?}", Item::Store(b"bank")));
        let leaf = ExportedNode { height: 0, version: 7, key: b"k", value: b"v" };
        assert_eq!(read("12080a016b1201761807"), format!("{:?}", Item::Node(leaf)));
        let inner = ExportedNode { height: 2, version: 7, key: b"k", value: b"" };
        assert_eq!(read("12070a016b18072002"), format!("{:?}", Item::Node(inner)));
        let extension = Item::Extension { name: b"wasm", format: 1 };
        assert_eq!(read("1a080a047761736d1001"), format!("{extension:?}"));
        assert_eq!(read("22030a0178"), format!("{:?}", Item::Payload(b"x")));
        assert_eq!(read("2200"), format!("{:?}", Item::Payload(b"")));
    }

    #[test]
    fn what_no_hash_would_cover_is_refused() {
        for (hex, why) in [
            ("", "an empty item"),
            ("0a060a0462616e6b12080a016b1201761807", "two at once"),
            ("12080a016b12017618072802", "field that the format doesn't have"),
            ("12", "ends too early"),
            ("0a00", "a name that is empty"),
            ("120a0a016b12017618072002", "an inner node with a value"),
            ("12080a016b1201761800", "default value"),
            ("12110a016b12017618ffffffffffffffffff01", "a negative version"),
            ("12080a016b18072080", "ends too early"),
            ("12080a016b1807208001", "a height that isn't 0 to 127"),
            ("2a00", "field that the format doesn't have"),
        ] {
            let said = decoded(hex).expect_err(hex);
            assert!(said.contains(why) || why == "ends too early", "{hex}: {said}");
        }
    }
}
