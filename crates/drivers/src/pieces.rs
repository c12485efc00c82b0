//! Cursors for engines whose own iterators borrow what they walk over: entries are read in
//! pieces, and each piece goes on after the last key of the one before.

use transload_store::{Cursor, Error, KeyRange, Kind, Result};

/// The first piece is small, for walks that only look at the beginning.
const FIRST_PIECE_BYTES: usize = 16 << 10;

/// Pieces grow to this: large enough that beginning one costs nothing, small enough that dozens
/// of cursors fit in memory. A single entry may be larger.
const PIECE_BYTES_MAX: usize = 512 << 10;

/// Where a piece begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin<'a> {
    /// At this key, if it is there.
    At(&'a [u8]),
    /// Beyond this key.
    After(&'a [u8]),
}

/// Whether the range has more entries than the piece took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The piece is full.
    More,
    /// The range has ended.
    Nothing,
}

/// Reads a snapshot piece by piece.
pub(crate) trait Pieces: Send {
    /// Fills `piece` with the entries from `begin` to `end` (excluded), in order.
    fn read(&self, begin: Begin<'_>, end: Option<&[u8]>, piece: &mut Piece) -> Result<Rest>;
}

/// Entries that were read together.
pub(crate) struct Piece {
    bytes: Vec<u8>,
    /// Where each entry's key and value end.
    ends: Vec<(usize, usize)>,
    bytes_max: usize,
}

impl Piece {
    /// Takes an entry, and says whether there is room for more.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Rest {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
        if self.bytes.len() < self.bytes_max { Rest::More } else { Rest::Nothing }
    }

    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let begin = match index.checked_sub(1) {
            Some(before) => self.ends.get(before)?.1,
            None => 0,
        };
        let (key_end, end) = *self.ends.get(index)?;
        Some((self.bytes.get(begin..key_end)?, self.bytes.get(key_end..end)?))
    }

    fn begin_again(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes_max = (2 * self.bytes_max).min(PIECE_BYTES_MAX);
        // One large entry must not hold its memory for ever.
        self.bytes.shrink_to(2 * PIECE_BYTES_MAX);
    }
}

/// Walks over a range, piece by piece.
pub(crate) struct PieceCursor<P> {
    pieces: P,
    range: KeyRange,
    piece: Piece,
    next: usize,
    rest: Rest,
    last_key: Option<Vec<u8>>,
}

impl<P: Pieces> PieceCursor<P> {
    pub(crate) fn new(pieces: P, range: &KeyRange) -> Self {
        let rest = if range.is_empty() { Rest::Nothing } else { Rest::More };
        let piece = Piece { bytes: Vec::new(), ends: Vec::new(), bytes_max: FIRST_PIECE_BYTES / 2 };
        Self { pieces, range: range.clone(), piece, next: 0, rest, last_key: None }
    }

    fn read_on(&mut self) -> Result<()> {
        if let Some(last) = self.next.checked_sub(1)
            && let Some((key, _)) = self.piece.entry(last)
        {
            let last_key = self.last_key.get_or_insert_with(Vec::new);
            last_key.clear();
            last_key.extend_from_slice(key);
        }
        self.piece.begin_again();
        self.next = 0;
        let begin = match &self.last_key {
            Some(key) => Begin::After(key),
            None => Begin::At(&self.range.start),
        };
        self.rest = self.pieces.read(begin, self.range.end.as_deref(), &mut self.piece)?;
        if self.rest == Rest::More && self.piece.ends.is_empty() {
            // Going on would begin at the same place again, and ending here would lose entries.
            return Err(Error::new(
                Kind::Corrupt,
                "scan",
                "the engine says that there is more and gives nothing",
            ));
        }
        Ok(())
    }
}

impl<P: Pieces> Cursor for PieceCursor<P> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.next == self.piece.ends.len() {
            if self.rest == Rest::Nothing {
                return Ok(None);
            }
            self.read_on()?;
        }
        let entry = self.piece.entry(self.next);
        self.next += usize::from(entry.is_some());
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::ops::Bound;

    struct Model(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Pieces for Model {
        fn read(&self, begin: Begin<'_>, end: Option<&[u8]>, piece: &mut Piece) -> Result<Rest> {
            let begin = match begin {
                Begin::At(key) => Bound::Included(key),
                Begin::After(key) => Bound::Excluded(key),
            };
            let end = end.map_or(Bound::Unbounded, Bound::Excluded);
            for (key, value) in self.0.range::<[u8], _>((begin, end)) {
                if piece.push(key, value) == Rest::Nothing {
                    return Ok(Rest::More);
                }
            }
            Ok(Rest::Nothing)
        }
    }

    struct Silent;

    impl Pieces for Silent {
        fn read(&self, _: Begin<'_>, _: Option<&[u8]>, _: &mut Piece) -> Result<Rest> {
            Ok(Rest::More)
        }
    }

    #[test]
    fn pieces_join_without_a_gap_or_an_overlap() {
        let model: BTreeMap<Vec<u8>, Vec<u8>> = (0..30_000u32)
            .map(|number| (number.to_be_bytes().to_vec(), vec![7; number as usize % 97]))
            .collect();
        let range = KeyRange::new(17u32.to_be_bytes(), 29_990u32.to_be_bytes());
        let expected: Vec<_> = model.clone().into_iter().filter(|e| range.contains(&e.0)).collect();
        let mut cursor = PieceCursor::new(Model(model), &range);
        let mut seen = Vec::new();
        while let Some((key, value)) = cursor.next().unwrap() {
            seen.push((key.to_vec(), value.to_vec()));
        }
        assert_eq!(seen, expected);
        assert!(cursor.next().unwrap().is_none());
    }

    #[test]
    fn an_entry_larger_than_a_piece_is_read_whole() {
        let model = BTreeMap::from([(b"a".to_vec(), vec![1; 3 << 20]), (b"b".to_vec(), vec![2])]);
        let mut cursor = PieceCursor::new(Model(model), &KeyRange::all());
        assert_eq!(cursor.next().unwrap().unwrap().1.len(), 3 << 20);
        assert_eq!(cursor.next().unwrap().unwrap(), (&b"b"[..], &[2][..]));
        assert!(cursor.next().unwrap().is_none());
    }

    #[test]
    fn a_piece_that_gives_nothing_is_no_end() {
        let mut cursor = PieceCursor::new(Silent, &KeyRange::all());
        assert_eq!(cursor.next().unwrap_err().kind(), Kind::Corrupt);
    }
}
