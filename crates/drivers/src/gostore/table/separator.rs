//! Short keys for the index: any key between the end of one block and the start of the next will
//! do, so most of a long key needn't stand there.

use super::block::shared_bytes;

/// A key that is at least `last` and below `next`, shortened as Pebble's default comparer does;
/// `None` where `last` itself must do.
pub(super) fn between(last: &[u8], next: &[u8]) -> Option<Vec<u8>> {
    let shared = shared_bytes(last, next);
    let (low, high) = (*last.get(shared)?, *next.get(shared)?);
    if low >= high {
        return None;
    }
    if shared < next.len() - 1 || low + 1 < high {
        return Some(raised(last, shared));
    }
    // The keys are neighbours in this byte: the first byte after it that can be raised will do.
    let place = (shared + 1..last.len()).find(|place| last[*place] != 0xff)?;
    Some(raised(last, place))
}

/// A short key that is at least `last`, for the end of the table; `None` where `last` itself must
/// do.
pub(super) fn after(last: &[u8]) -> Option<Vec<u8>> {
    let place = last.iter().position(|byte| *byte != 0xff)?;
    Some(raised(last, place))
}

/// `key` up to and with the byte at `place`, that byte raised by one.
fn raised(key: &[u8], place: usize) -> Vec<u8> {
    let mut short = key[..=place].to_vec();
    short[place] += 1;
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_separator_lies_between(
            a in proptest::collection::vec(prop_oneof![0u8..3, 0xfdu8..=0xff], 0..6),
            b in proptest::collection::vec(prop_oneof![0u8..3, 0xfdu8..=0xff], 0..6),
        ) {
            prop_assume!(a != b);
            let (last, next) = if a < b { (a, b) } else { (b, a) };
            if let Some(short) = between(&last, &next) {
                prop_assert!(last < short && short < next, "{last:?} {short:?} {next:?}");
                prop_assert!(short.len() <= last.len());
            }
            if let Some(short) = after(&last) {
                prop_assert!(last < short && short.len() <= last.len());
            }
        }
    }

    #[test]
    fn keys_are_shortened_where_they_first_differ() {
        assert_eq!(between(b"black", b"blue").as_deref(), Some(&b"blb"[..]));
        assert_eq!(between(b"green", b"greens"), None);
        assert_eq!(between(b"1\xff\xff7", b"2").as_deref(), Some(&b"1\xff\xff8"[..]));
        assert_eq!(after(b"\xff\xffa").as_deref(), Some(&b"\xff\xffb"[..]));
        assert_eq!(after(b"\xff"), None);
    }
}
