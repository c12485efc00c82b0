//! `Commit`, `ExtendedCommit`, `Vote`, and the bytes that validators sign.

use super::BlockId;
use transload_codec::Malformed;
use transload_codec::proto::{Fields, put_bytes, put_fixed64, put_message, put_varint_field};
use transload_codec::varint::put_uvarint;
use transload_model::merkle::{Hash, leaf_hash, root_of};

/// What a signature of a commit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The validator's vote was not received: no address, no signature.
    Absent,
    /// A vote for the block.
    Commit,
    /// A vote for nil.
    Nil,
    /// A number that doesn't exist.
    Unknown,
}

/// `SignedMsgType` of a precommit.
pub const PRECOMMIT: u64 = 2;

/// `CommitSig` or `ExtendedCommitSig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSig<'a> {
    /// The message itself: a leaf of the commit's hash.
    pub raw: &'a [u8],
    /// What it is for.
    pub flag: Flag,
    /// The validator.
    pub validator_address: &'a [u8],
    /// `google.protobuf.Timestamp`, as stored.
    pub timestamp: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// The vote's extension (0.38 and later).
    pub extension: &'a [u8],
    /// The signature over the extension.
    pub extension_signature: &'a [u8],
}

impl<'a> CommitSig<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut sig = Self {
            raw: message,
            flag: Flag::Unknown,
            validator_address: &[],
            timestamp: &[],
            signature: &[],
            extension: &[],
            extension_signature: &[],
        };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    sig.flag = match field.uint64()? {
                        1 => Flag::Absent,
                        2 => Flag::Commit,
                        3 => Flag::Nil,
                        _ => Flag::Unknown,
                    }
                }
                2 => sig.validator_address = field.bytes()?,
                3 => sig.timestamp = field.bytes()?,
                4 => sig.signature = field.bytes()?,
                5 => sig.extension = field.bytes()?,
                6 => sig.extension_signature = field.bytes()?,
                _ => {}
            }
        }
        Ok(sig)
    }
}

/// `Commit` or `ExtendedCommit`: the same fields, the latter with extensions in its signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit<'a> {
    /// Height.
    pub height: i64,
    /// Round.
    pub round: i32,
    /// The block that was committed.
    pub block_id: BlockId<'a>,
    /// One for each validator, in the set's order.
    pub signatures: Vec<CommitSig<'a>>,
}

impl<'a> Commit<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut commit = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => commit.height = field.int64()?,
                2 => commit.round = field.int32()?,
                3 => commit.block_id = BlockId::decode(field.bytes()?)?,
                4 => commit.signatures.push(CommitSig::decode(field.bytes()?)?),
                _ => {}
            }
        }
        Ok(commit)
    }

    /// Root over the signatures, as stored. Height, round and block id are not in it: the
    /// signatures cover them.
    #[must_use]
    pub fn hash(&self) -> Hash {
        root_of(self.signatures.iter().map(|sig| leaf_hash(sig.raw)))
    }
}

/// `Vote`, as evidence carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vote<'a> {
    /// `SignedMsgType`.
    pub kind: u64,
    /// Height.
    pub height: i64,
    /// Round.
    pub round: i32,
    /// The block voted for.
    pub block_id: BlockId<'a>,
    /// `google.protobuf.Timestamp`, as stored.
    pub timestamp: &'a [u8],
    /// The validator.
    pub validator_address: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> Vote<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut vote = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => vote.kind = field.uint64()?,
                2 => vote.height = field.int64()?,
                3 => vote.round = field.int32()?,
                4 => vote.block_id = BlockId::decode(field.bytes()?)?,
                5 => vote.timestamp = field.bytes()?,
                6 => vote.validator_address = field.bytes()?,
                8 => vote.signature = field.bytes()?,
                _ => {}
            }
        }
        Ok(vote)
    }
}

/// The parts of a signed vote that all validators of one commit share.
#[derive(Clone, Copy, Debug)]
pub struct SignBytes<'a> {
    /// `SignedMsgType`.
    pub kind: u64,
    /// Height.
    pub height: i64,
    /// Round.
    pub round: i32,
    /// The chain's id.
    pub chain_id: &'a [u8],
}

impl SignBytes<'_> {
    /// `CanonicalVote`, length-delimited: what is signed. A nil vote has no block id.
    #[must_use]
    pub fn vote(&self, block_id: Option<&BlockId<'_>>, timestamp: &[u8]) -> Vec<u8> {
        let mut vote = Vec::with_capacity(160);
        put_varint_field(&mut vote, 1, self.kind);
        put_fixed64(&mut vote, 2, self.height.cast_unsigned());
        put_fixed64(&mut vote, 3, i64::from(self.round).cast_unsigned());
        if let Some(id) = block_id.filter(|id| !id.is_nil()) {
            let mut parts = Vec::with_capacity(40);
            put_varint_field(&mut parts, 1, u64::from(id.parts.total));
            put_bytes(&mut parts, 2, id.parts.hash);
            let mut message = Vec::with_capacity(80);
            put_bytes(&mut message, 1, id.hash);
            put_message(&mut message, 2, &parts);
            put_message(&mut vote, 4, &message);
        }
        put_message(&mut vote, 5, timestamp);
        put_bytes(&mut vote, 6, self.chain_id);
        delimited(&vote)
    }

    /// `CanonicalVoteExtension`, length-delimited.
    #[must_use]
    pub fn extension(&self, extension: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(extension.len() + 64);
        put_bytes(&mut message, 1, extension);
        put_fixed64(&mut message, 2, self.height.cast_unsigned());
        put_fixed64(&mut message, 3, i64::from(self.round).cast_unsigned());
        put_bytes(&mut message, 4, self.chain_id);
        delimited(&message)
    }
}

fn delimited(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 3);
    put_uvarint(&mut out, message.len() as u64);
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_bytes_are_those_of_go() {
        // The signbytes that a 0.38 node left in its priv_validator_state.json.
        let expected = "6e0802113e0100000000000022480a20f6ac69b966edeb0d66de5621cfd880a947fa28c7d7\
                        af65a5edd379ffb5bb78a3122408011220c7e57fed9ee2e88de017ac1b70e1cf324662206e\
                        29ab04c4e0c9068d09ed13b82a0c08ed8d8fd806109ad5d482023209666978747572652d31";
        let hash = hex::decode("f6ac69b966edeb0d66de5621cfd880a947fa28c7d7af65a5edd379ffb5bb78a3");
        let parts = hex::decode("c7e57fed9ee2e88de017ac1b70e1cf324662206e29ab04c4e0c9068d09ed13b8");
        let (hash, parts) = (hash.unwrap(), parts.unwrap());
        let id =
            BlockId { hash: &hash, parts: super::super::PartSetHeader { total: 1, hash: &parts } };
        let time = hex::decode("08ed8d8fd806109ad5d48202").unwrap();
        let signed = SignBytes { kind: PRECOMMIT, height: 318, round: 0, chain_id: b"fixture-1" };
        assert_eq!(hex::encode(signed.vote(Some(&id), &time)), expected);
        let nil = signed.vote(None, &time);
        assert_eq!(nil, signed.vote(Some(&BlockId::default()), &time));
        assert_eq!(nil.len(), 1 + 0x6e - 74);
    }
}
