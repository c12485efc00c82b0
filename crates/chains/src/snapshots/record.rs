//! Records of snapshots, as `snapshots/metadata.db` holds them.

use std::fmt;
use std::path::{Path, PathBuf};
use transload_codec::proto::{Deviation, FieldKind, Fields, Presence, Shape, Spec};
use transload_codec::{Malformed, MalformedKind};

/// What every key begins with.
const KEY_PREFIX: u8 = 1;

/// Bytes of a key: the prefix, height and format.
const KEY_BYTES: usize = 13;

/// Bytes of a SHA-256 hash.
pub const HASH_BYTES: usize = 32;

/// The SDK keeps heights in an `int64` everywhere else, and restores no snapshot above it.
const HEIGHT_MAX: u64 = i64::MAX.cast_unsigned();

/// Which snapshot a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The height after which the state was taken.
    pub height: u64,
    /// The format of its stream.
    pub format: u32,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the snapshot at height {} (format {})", self.height, self.format)
    }
}

impl SnapshotId {
    /// Reads a key: the byte 1, height u64 and format u32, both big-endian. `None` for any other.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let (prefix, rest) = key.split_first()?;
        let (height, format) = rest.split_first_chunk::<8>()?;
        let format: &[u8; 4] = format.try_into().ok()?;
        let id = Self { height: u64::from_be_bytes(*height), format: u32::from_be_bytes(*format) };
        (*prefix == KEY_PREFIX).then_some(id)
    }

    /// The key of its record.
    #[must_use]
    pub fn key(self) -> [u8; KEY_BYTES] {
        let mut key = [KEY_PREFIX; KEY_BYTES];
        key[1..9].copy_from_slice(&self.height.to_be_bytes());
        key[9..].copy_from_slice(&self.format.to_be_bytes());
        key
    }

    /// The folder of its chunks, in that of all snapshots.
    #[must_use]
    pub fn folder_in(self, snapshots: &Path) -> PathBuf {
        snapshots.join(self.height.to_string()).join(self.format.to_string())
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which snapshot it is about.
    pub id: SnapshotId,
    /// SHA-256 over all chunks, one after another.
    pub hash: [u8; HASH_BYTES],
    /// SHA-256 of each chunk.
    pub chunk_hashes: Vec<&'a [u8; HASH_BYTES]>,
}

static METADATA: Shape = Shape {
    name: "Metadata",
    fields: &[Spec {
        number: 1,
        name: "chunk_hashes",
        kind: FieldKind::Bytes,
        presence: Presence::Repeated,
    }],
};

/// The canonical form of a record.
pub static SNAPSHOT: Shape = Shape {
    name: "Snapshot",
    fields: &[
        Spec { number: 1, name: "height", kind: FieldKind::Int64, presence: Presence::NotDefault },
        Spec { number: 2, name: "format", kind: FieldKind::Uint32, presence: Presence::NotDefault },
        Spec { number: 3, name: "chunks", kind: FieldKind::Uint32, presence: Presence::NotDefault },
        Spec { number: 4, name: "hash", kind: FieldKind::Bytes, presence: Presence::NotDefault },
        Spec {
            number: 5,
            name: "metadata",
            kind: FieldKind::Message(&METADATA),
            presence: Presence::Always,
        },
    ],
};

impl<'a> Record<'a> {
    /// Decodes `Snapshot` (`cosmos/store/snapshots/v1/snapshot.proto`, before it
    /// `cosmos/base/snapshots/v1beta1`): 1 height, 2 format, 3 chunks, 4 hash, 5 metadata
    /// {1 repeated chunk hash}.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message, a height of 0 or above 2^63 - 1, a hash
    /// that isn't 32 bytes, and when there are more or fewer hashes than chunks, or none: the SDK
    /// restores no such snapshot.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut height, mut format, mut chunks) = (0, 0, 0);
        let (mut hash, mut chunk_hashes) = (None, Vec::new());
        let wrong = |what| Malformed::new(MalformedKind::OutOfRange, what, 0);
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => height = field.uint64()?,
                2 => format = field.uint32()?,
                3 => chunks = field.uint32()?,
                4 => hash = Some(sha256(field.bytes()?)?),
                5 => {
                    let mut fields = Fields::new(field.bytes()?);
                    while let Some(field) = fields.next()? {
                        if field.number == 1 {
                            chunk_hashes.push(sha256(field.bytes()?)?);
                        }
                    }
                }
                _ => {}
            }
        }
        if height == 0 || height > HEIGHT_MAX {
            return Err(wrong("a height that no block has"));
        }
        if chunk_hashes.is_empty() || chunk_hashes.len() != chunks as usize {
            return Err(wrong("not as many hashes as chunks, or no chunk"));
        }
        let hash = *hash.ok_or(wrong("no hash over the chunks"))?;
        Ok(Self { id: SnapshotId { height, format }, hash, chunk_hashes })
    }

    /// Whether the stored bytes are the one canonical form of what they say.
    ///
    /// # Errors
    /// The first deviation.
    pub fn check_canonical(message: &[u8]) -> Result<(), Deviation> {
        SNAPSHOT.check(message)
    }
}

fn sha256(bytes: &[u8]) -> Result<&[u8; HASH_BYTES], Malformed> {
    let wrong = Malformed::new(MalformedKind::OutOfRange, "a hash that isn't 32 bytes", 0);
    bytes.try_into().map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_codec::proto::{put_bytes, put_message, put_varint_field};

    fn encoded(chunks: u64, hashes: &[&[u8]]) -> Vec<u8> {
        let (mut message, mut metadata) = (Vec::new(), Vec::new());
        put_varint_field(&mut message, 1, 250);
        put_varint_field(&mut message, 2, 3);
        put_varint_field(&mut message, 3, chunks);
        put_bytes(&mut message, 4, &[7; 32]);
        hashes.iter().for_each(|hash| put_bytes(&mut metadata, 1, hash));
        put_message(&mut message, 5, &metadata);
        message
    }

    #[test]
    fn a_record_and_its_key_name_the_same_snapshot() {
        let message = encoded(2, &[&[1; 32], &[2; 32]]);
        let record = Record::decode(&message).unwrap();
        assert_eq!(record.id, SnapshotId { height: 250, format: 3 });
        assert_eq!(SnapshotId::of_key(&record.id.key()), Some(record.id));
        assert_eq!(hex::encode(record.id.key()), "0100000000000000fa00000003");
        assert_eq!(record.chunk_hashes, [&[1; 32], &[2; 32]]);
        assert_eq!(Record::check_canonical(&message), Ok(()));
        for key in [&b""[..], b"\x01", &[2; 13], &[1; 12], &[1; 14]] {
            assert_eq!(SnapshotId::of_key(key), None, "{key:?}");
        }
    }

    #[test]
    fn what_the_sdk_would_not_restore_is_refused() {
        assert!(Record::decode(&encoded(1, &[&[1; 32], &[2; 32]])).is_err());
        assert!(Record::decode(&encoded(0, &[])).is_err());
        assert!(Record::decode(&encoded(1, &[&[1; 31]])).is_err());
        assert!(Record::decode(&encoded(1, &[&[1; 32]])[3..]).is_err(), "no height");
        assert!(Record::decode(&[]).is_err());
    }
}
