//! Evidence of misbehaviour: `DuplicateVoteEvidence` and `LightClientAttackEvidence`.

use super::block::Header;
use super::commit::{Commit, Vote};
use transload_codec::Malformed;
use transload_codec::proto::Fields;
use transload_codec::varint::put_varint;
use transload_model::merkle::{Hash, leaf_hash, root_of, sha256};

/// `Evidence`: one of two kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence<'a> {
    /// A validator signed two votes for one height, round and type.
    DuplicateVote(Box<DuplicateVote<'a>>),
    /// Validators signed a header that is not the chain's.
    LightClientAttack(Box<LightClientAttack<'a>>),
}

/// `DuplicateVoteEvidence`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuplicateVote<'a> {
    /// The message itself: the leaf of the evidence hash.
    pub raw: &'a [u8],
    /// One vote.
    pub vote_a: Vote<'a>,
    /// The other.
    pub vote_b: Vote<'a>,
    /// Power of the whole set.
    pub total_voting_power: i64,
    /// Power of the validator.
    pub validator_power: i64,
}

/// `LightClientAttackEvidence`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LightClientAttack<'a> {
    /// The message itself: the leaf of the evidence hash.
    pub raw: &'a [u8],
    /// The header that is not the chain's.
    pub header: Header<'a>,
    /// The commit for it.
    pub commit: Commit<'a>,
    /// The last height at which both chains agree.
    pub common_height: i64,
}

impl<'a> Evidence<'a> {
    /// Decodes the message; `None` when neither kind is set.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut evidence = None;
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => evidence = Some(Self::DuplicateVote(Box::new(duplicate(field.bytes()?)?))),
                2 => evidence = Some(Self::LightClientAttack(Box::new(attack(field.bytes()?)?))),
                _ => {}
            }
        }
        Ok(evidence)
    }

    /// The message within the oneof.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        match self {
            Self::DuplicateVote(duplicate) => duplicate.raw,
            Self::LightClientAttack(attack) => attack.raw,
        }
    }

    /// The height under which the node keeps it.
    #[must_use]
    pub fn height(&self) -> i64 {
        match self {
            Self::DuplicateVote(duplicate) => duplicate.vote_a.height,
            Self::LightClientAttack(attack) => attack.common_height,
        }
    }

    /// The hash under which the node keeps it.
    #[must_use]
    pub fn hash(&self) -> Hash {
        match self {
            Self::DuplicateVote(duplicate) => sha256(duplicate.raw),
            Self::LightClientAttack(attack) => {
                // 31 bytes of the header's hash and a zero byte: an off-by-one in
                // LightClientAttackEvidence.Hash that became part of the format.
                let mut bytes = attack.header.hash().to_vec();
                bytes[31] = 0;
                put_varint(&mut bytes, attack.common_height);
                sha256(&bytes)
            }
        }
    }
}

/// Root over the evidence of a block, from `Evidence` messages.
///
/// # Errors
/// [`Malformed`] for a message that is no evidence.
pub fn evidence_hash(messages: &[&[u8]]) -> Result<Hash, Malformed> {
    let leaves: Result<Vec<Hash>, Malformed> = messages
        .iter()
        .map(|message| {
            Ok(leaf_hash(Evidence::decode(message)?.as_ref().map_or(&[][..], Evidence::raw)))
        })
        .collect();
    Ok(root_of(leaves?))
}

fn duplicate(message: &[u8]) -> Result<DuplicateVote<'_>, Malformed> {
    let mut duplicate = DuplicateVote { raw: message, ..DuplicateVote::default() };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => duplicate.vote_a = Vote::decode(field.bytes()?)?,
            2 => duplicate.vote_b = Vote::decode(field.bytes()?)?,
            3 => duplicate.total_voting_power = field.int64()?,
            4 => duplicate.validator_power = field.int64()?,
            _ => {}
        }
    }
    Ok(duplicate)
}

fn attack(message: &[u8]) -> Result<LightClientAttack<'_>, Malformed> {
    let mut attack = LightClientAttack { raw: message, ..LightClientAttack::default() };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field.number {
            // LightBlock { SignedHeader { header, commit }, validator_set }
            1 => {
                let mut block = Fields::new(field.bytes()?);
                while let Some(field) = block.next()? {
                    if field.number == 1 {
                        (attack.header, attack.commit) = signed_header(field.bytes()?)?;
                    }
                }
            }
            2 => attack.common_height = field.int64()?,
            _ => {}
        }
    }
    Ok(attack)
}

fn signed_header(message: &[u8]) -> Result<(Header<'_>, Commit<'_>), Malformed> {
    let (mut header, mut commit) = (Header::default(), Commit::default());
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => header = Header::decode(field.bytes()?)?,
            2 => commit = Commit::decode(field.bytes()?)?,
            _ => {}
        }
    }
    Ok((header, commit))
}
