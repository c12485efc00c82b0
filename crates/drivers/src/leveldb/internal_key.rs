//! Keys as tables hold them: the user's key followed by a tag.
//!
//! Source: LevelDB `db/dbformat.h`. The tag is a u64 LE: sequence number << 8 | kind, with kind 0
//! for a deletion and 1 for a value. Internal keys are ordered by user key ascending, then by
//! tag descending, so that the newest change of a key comes first.

use super::encoding::u64_at;
use std::cmp::Ordering;

/// Bytes of a tag.
pub(super) const TAG_BYTES: usize = 8;

/// Greater than every tag in a database: seeks to the newest change of a key.
pub(super) const TAG_MAX: u64 = u64::MAX;

/// Bytes of sequence numbers in a tag.
pub(super) const SEQUENCE_MAX: u64 = (1 << 56) - 1;

/// A user key and its tag.
pub(super) type Tagged<'a> = (&'a [u8], u64);

/// Splits an internal key; `None` when it is too short for a tag.
#[inline]
pub(super) fn split(key: &[u8]) -> Option<Tagged<'_>> {
    let at = key.len().checked_sub(TAG_BYTES)?;
    Some((&key[..at], u64_at(key, at)?))
}

/// The user key of an internal key whose length was checked.
#[inline]
pub(super) fn user(internal: &[u8]) -> &[u8] {
    &internal[..internal.len().saturating_sub(TAG_BYTES)]
}

/// The order of internal keys.
#[inline]
pub(super) fn order(a: Tagged<'_>, b: Tagged<'_>) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}

/// Whether an internal key comes before a user key with a tag; one that is too short does.
#[inline]
pub(super) fn is_before(internal: &[u8], target: Tagged<'_>) -> bool {
    split(internal).is_none_or(|key| order(key, target) == Ordering::Less)
}

/// What a tag says happened to the key: whether it has a value. `None` for an unknown kind.
#[inline]
pub(super) fn has_value(tag: u64) -> Option<bool> {
    match tag & 0xff {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_changes_of_a_key_come_first() {
        assert_eq!(order((b"a", 5), (b"a", 4)), Ordering::Less);
        assert_eq!(order((b"a", 1), (b"b", 9)), Ordering::Less);
        assert_eq!(order((b"a", 1), (b"ab", 1)), Ordering::Less);
        assert!(is_before(b"a\x05\0\0\0\0\0\0\0", (b"a", 4)));
        assert!(!is_before(b"a\x05\0\0\0\0\0\0\0", (b"a", TAG_MAX)));
    }

    #[test]
    fn a_key_without_room_for_a_tag_is_none() {
        assert_eq!(split(b"1234567"), None);
        assert_eq!(split(b"\x01\x02\0\0\0\0\0\0"), Some((&b""[..], 0x0201)));
    }
}
