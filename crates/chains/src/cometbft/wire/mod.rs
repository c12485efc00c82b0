//! The node's protobuf messages, decoded by borrowing.
//!
//! Each decoder keeps slices of the stored bytes: hashes are taken over those, never over a
//! re-encoding, except where consensus itself defines one (header fields, sign bytes, validator
//! leaves). Unknown fields are skipped here; [`shapes`] finds them where it matters.
//!
//! Sources: `proto/tendermint/**` of CometBFT 0.34, 0.37, 0.38 and `proto/cometbft/**` of 1.x;
//! the wire forms of all four agree for what is stored, with fields added over time.

pub mod block;
pub mod commit;
pub mod evidence;
pub mod results;
pub mod shapes;
pub mod state;
pub mod validators;

use transload_codec::Malformed;
use transload_codec::proto::Fields;

/// `google.protobuf.Timestamp` and `Duration`, which have one form.
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn seconds_and_nanos(message: &[u8]) -> Result<(i64, i64), Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => seconds = field.int64()?,
            2 => nanos = field.int64()?,
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// `PartSetHeader`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartSetHeader<'a> {
    /// How many parts.
    pub total: u32,
    /// Root of the tree over them.
    pub hash: &'a [u8],
}

/// `BlockID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockId<'a> {
    /// The header's hash.
    pub hash: &'a [u8],
    /// The block's parts.
    pub parts: PartSetHeader<'a>,
}

impl<'a> BlockId<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut id = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => id.hash = field.bytes()?,
                2 => {
                    let mut inner = Fields::new(field.bytes()?);
                    while let Some(field) = inner.next()? {
                        match field.number {
                            1 => id.parts.total = field.uint32()?,
                            2 => id.parts.hash = field.bytes()?,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(id)
    }

    /// Whether it names no block: a vote for nil, or the block before the first.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.hash.is_empty() && self.parts.total == 0 && self.parts.hash.is_empty()
    }
}
