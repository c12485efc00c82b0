//! A snapshot's stream: its chunks one after another, decompressed and cut into items.

use super::item::Item;
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use std::io::BufRead;
use transload_codec::varint::read_canonical_uvarint;

/// Longest item that is restored. A longer one could never be read by a node that joins.
/// Source: cosmossdk.io/store `snapshots/manager.go`, `snapshotMaxItemSize`.
pub const ITEM_BYTES_MAX: usize = 64_000_000;

/// What is decompressed at a time. A stream can grow a thousandfold, and never stands in memory.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes of the checksum at the end of a compressed stream.
const CHECKSUM_BYTES: usize = 4;

/// Longest canonical uvarint.
const UVARINT_BYTES_MAX: usize = 10;

/// Why a stream can't be read on.
#[derive(Debug)]
pub enum Fault {
    /// The source failed.
    Read(std::io::Error),
    /// The stream is none that the SDK writes: what is wrong, after so many whole items.
    Broken {
        /// Whole items before.
        items: u64,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Broken { items, what } => write!(f, "after {items} items: {what}"),
        }
    }
}

/// The items of a stream: zlib over items, each with its length as uvarint before it
/// (`snapshots/stream.go`).
pub struct Items<R> {
    source: R,
    inflater: Decompress,
    piece: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
    /// The last compressed bytes that were taken.
    last: [u8; CHECKSUM_BYTES],
    item: Vec<u8>,
    items: u64,
}

impl<R: BufRead> Items<R> {
    /// The items in `source`.
    pub fn new(source: R) -> Self {
        Self {
            source,
            inflater: Decompress::new(true),
            piece: vec![0; PIECE_BYTES],
            at: 0,
            filled: 0,
            ended: false,
            last: [0; CHECKSUM_BYTES],
            item: Vec::new(),
            items: 0,
        }
    }

    /// The next item; `None` after the last, when the compressed stream has ended with the
    /// checksum that it should have. What the source holds after that isn't looked at.
    ///
    /// # Errors
    /// [`Fault`]; there is nothing to go on with after it.
    #[allow(
        clippy::should_implement_trait,
        reason = "an item borrows the stream, and an error must end it"
    )]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, Fault> {
        let Some(length) = self.length()? else { return Ok(None) };
        if length > ITEM_BYTES_MAX as u64 {
            return Err(self.broken("an item longer than a node restores"));
        }
        let mut left = usize::try_from(length).unwrap_or(ITEM_BYTES_MAX);
        self.item.clear();
        while left > 0 {
            if !self.fill()? {
                return Err(self.broken("the last item isn't whole"));
            }
            let taken = left.min(self.filled - self.at);
            self.item.extend_from_slice(&self.piece[self.at..self.at + taken]);
            self.at += taken;
            left -= taken;
        }
        let items = self.items;
        self.items += 1;
        let broken = |bad: super::item::BadItem| Fault::Broken { items, what: bad.to_string() };
        Item::decode(&self.item).map(Some).map_err(broken)
    }

    /// Whole items so far.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Takes the compressed stream's checksum again, where it stands a second time: format 2
    /// closes the stream twice (cosmos/cosmos-sdk#13400). How many bytes were taken that aren't
    /// it.
    ///
    /// # Errors
    /// [`Fault::Read`].
    pub fn skip_second_checksum(&mut self) -> Result<u64, Fault> {
        let mut second = [0; CHECKSUM_BYTES];
        for (taken, slot) in second.iter_mut().enumerate() {
            let Some(byte) = self.source.fill_buf().map_err(Fault::Read)?.first() else {
                return Ok(taken as u64);
            };
            *slot = *byte;
            self.source.consume(1);
        }
        Ok(if second == self.last { 0 } else { CHECKSUM_BYTES as u64 })
    }

    /// The source, which stands after the compressed stream once that has ended.
    #[must_use]
    pub fn into_source(self) -> R {
        self.source
    }

    fn broken(&self, what: impl Into<String>) -> Fault {
        Fault::Broken { items: self.items, what: what.into() }
    }

    /// The length of the next item.
    fn length(&mut self) -> Result<Option<u64>, Fault> {
        let mut bytes = [0; UVARINT_BYTES_MAX];
        for count in 0..UVARINT_BYTES_MAX {
            if !self.fill()? {
                if count == 0 {
                    return Ok(None);
                }
                return Err(self.broken("the last item isn't whole"));
            }
            bytes[count] = self.piece[self.at];
            self.at += 1;
            if bytes[count] < 0x80 {
                let read = read_canonical_uvarint(&bytes[..=count]);
                return match read {
                    Ok((length, _)) => Ok(Some(length)),
                    Err(error) => Err(self.broken(error.to_string())),
                };
            }
        }
        Err(self.broken("an item's length that has no end"))
    }

    /// Makes sure that there are decompressed bytes; false after the last one.
    fn fill(&mut self) -> Result<bool, Fault> {
        while self.at == self.filled {
            if self.ended {
                return Ok(false);
            }
            let input = self.source.fill_buf().map_err(Fault::Read)?;
            let is_over = input.is_empty();
            let (before_in, before_out) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(input, &mut self.piece, FlushDecompress::None);
            let taken = self.inflater.total_in() - before_in;
            let given = self.inflater.total_out() - before_out;
            // No more than what was lent, so it fits.
            let taken_bytes = usize::try_from(taken).unwrap_or(usize::MAX).min(input.len());
            for byte in &input[taken_bytes.saturating_sub(CHECKSUM_BYTES)..taken_bytes] {
                self.last.rotate_left(1);
                self.last[CHECKSUM_BYTES - 1] = *byte;
            }
            self.source.consume(taken_bytes);
            (self.at, self.filled) = (0, usize::try_from(given).unwrap_or(PIECE_BYTES));
            match status {
                Err(_) => return Err(self.broken("the compressed stream is damaged")),
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(_) if taken == 0 && given == 0 && is_over => {
                    return Err(self.broken("the compressed stream ends too early"));
                }
                Ok(_) if taken == 0 && given == 0 => {
                    return Err(self.broken("the compressed stream doesn't go on"));
                }
                Ok(_) => {}
            }
        }
        Ok(true)
    }
}

impl<R> fmt::Debug for Items<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("items", &self.items).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write as _;
    use transload_codec::varint::put_uvarint;

    const STORE: &[u8] = b"\x08\x0a\x06\x0a\x04bank";

    fn compressed(stream: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(7));
        encoder.write_all(stream).unwrap();
        encoder.finish().unwrap()
    }

    /// How many items there are, and what is wrong after them.
    fn read(bytes: &[u8]) -> (u64, String) {
        let mut items = Items::new(bytes);
        loop {
            match items.next() {
                Ok(Some(_)) => {}
                Ok(None) => return (items.items(), String::new()),
                Err(fault) => return (items.items(), fault.to_string()),
            }
        }
    }

    #[test]
    fn items_are_read_to_the_end_of_the_stream() {
        assert_eq!(read(&compressed(b"")), (0, String::new()));
        let whole = compressed(&STORE.repeat(100_000));
        assert_eq!(read(&whole), (100_000, String::new()));
        let with_more = [whole.as_slice(), b"more"].concat();
        let mut items = Items::new(with_more.as_slice());
        while items.next().unwrap().is_some() {}
        assert_eq!(items.into_source(), b"more");
    }

    #[test]
    fn a_stream_that_ends_early_is_never_taken_for_whole() {
        let whole = compressed(&STORE.repeat(50));
        for length in 0..whole.len() {
            let (_, said) = read(&whole[..length]);
            assert!(said.contains("ends too early"), "{length} of {}: {said}", whole.len());
        }
        let (items, said) = read(&compressed(&STORE.repeat(2)[..15]));
        assert_eq!((items, said.as_str()), (1, "after 1 items: the last item isn't whole"));
    }

    #[test]
    fn the_checksum_at_the_end_counts() {
        let mut whole = compressed(&STORE.repeat(50));
        *whole.last_mut().unwrap() ^= 1;
        assert!(read(&whole).1.contains("damaged"), "{:?}", read(&whole));
    }

    #[test]
    fn a_forged_length_allocates_nothing() {
        for length in [b"\x80\xc8\xd0\x07".as_slice(), &[0x80; 10], &[0x80; 11], b"\x80\x00"] {
            let said = read(&compressed(length)).1;
            assert!(!said.is_empty(), "{length:?}");
        }
        let mut longest = Vec::new();
        put_uvarint(&mut longest, ITEM_BYTES_MAX as u64);
        assert!(read(&compressed(&longest)).1.contains("isn't whole"));
        longest.clear();
        put_uvarint(&mut longest, ITEM_BYTES_MAX as u64 + 1);
        assert!(read(&compressed(&longest)).1.contains("longer"));
    }

    #[test]
    fn a_second_checksum_is_taken_and_nothing_else() {
        let whole = compressed(&STORE.repeat(50));
        let left = |more: &[u8]| {
            let bytes = [whole.as_slice(), more].concat();
            let mut items = Items::new(bytes.as_slice());
            while items.next().unwrap().is_some() {}
            let wrong = items.skip_second_checksum().unwrap();
            (wrong, items.into_source().len())
        };
        let checksum = &whole[whole.len() - 4..];
        assert_eq!(left(checksum), (0, 0));
        assert_eq!(left(b""), (0, 0));
        assert_eq!(left(&checksum[..3]), (3, 0));
        assert_eq!(left(b"more and more"), (4, 9));
        assert_eq!(left(&[checksum, b"more"].concat()), (0, 4));
    }
}
