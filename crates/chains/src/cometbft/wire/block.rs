//! `BlockMeta`, `Header`, `Part`, `Block`, `BlockStoreState`, and the header's hash.

use super::BlockId;
use super::commit::Commit;
use transload_codec::Malformed;
use transload_codec::proto::{Fields, put_bytes, put_varint_field};
use transload_model::merkle::{Hash, leaf_hash, root_of};

/// `Header`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// The message itself.
    pub raw: &'a [u8],
    /// `version.Consensus`, as stored.
    pub version: &'a [u8],
    /// The chain's id.
    pub chain_id: &'a [u8],
    /// Height.
    pub height: i64,
    /// `google.protobuf.Timestamp`, as stored.
    pub time: &'a [u8],
    /// The previous block's id, as stored.
    pub last_block_id_raw: &'a [u8],
    /// The previous block's id.
    pub last_block_id: BlockId<'a>,
    /// Root over the previous block's signatures.
    pub last_commit_hash: &'a [u8],
    /// Root over the transactions.
    pub data_hash: &'a [u8],
    /// Root over the validators of this height.
    pub validators_hash: &'a [u8],
    /// Root over the validators of the next height.
    pub next_validators_hash: &'a [u8],
    /// Hash of two consensus parameters.
    pub consensus_hash: &'a [u8],
    /// The application's hash after the previous block.
    pub app_hash: &'a [u8],
    /// Root over the results of the previous block.
    pub last_results_hash: &'a [u8],
    /// Root over the evidence in this block.
    pub evidence_hash: &'a [u8],
    /// Who proposed the block.
    pub proposer_address: &'a [u8],
}

impl<'a> Header<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut header = Self { raw: message, ..Self::default() };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => header.version = field.bytes()?,
                2 => header.chain_id = field.bytes()?,
                3 => header.height = field.int64()?,
                4 => header.time = field.bytes()?,
                5 => {
                    header.last_block_id_raw = field.bytes()?;
                    header.last_block_id = BlockId::decode(header.last_block_id_raw)?;
                }
                6 => header.last_commit_hash = field.bytes()?,
                7 => header.data_hash = field.bytes()?,
                8 => header.validators_hash = field.bytes()?,
                9 => header.next_validators_hash = field.bytes()?,
                10 => header.consensus_hash = field.bytes()?,
                11 => header.app_hash = field.bytes()?,
                12 => header.last_results_hash = field.bytes()?,
                13 => header.evidence_hash = field.bytes()?,
                14 => header.proposer_address = field.bytes()?,
                _ => {}
            }
        }
        Ok(header)
    }

    /// The block's hash: the root over fourteen leaves.
    ///
    /// Scalars are wrapped in `StringValue`, `Int64Value` and `BytesValue`, whose default is no
    /// bytes at all, so that an empty field is an empty leaf (CometBFT `Header.Hash`).
    #[must_use]
    pub fn hash(&self) -> Hash {
        let wrapped = |bytes: &[u8]| {
            let mut leaf = Vec::with_capacity(bytes.len() + 3);
            put_bytes(&mut leaf, 1, bytes);
            leaf_hash(&leaf)
        };
        let mut height = Vec::new();
        put_varint_field(&mut height, 1, self.height.cast_unsigned());
        root_of([
            leaf_hash(self.version),
            wrapped(self.chain_id),
            leaf_hash(&height),
            leaf_hash(self.time),
            leaf_hash(self.last_block_id_raw),
            wrapped(self.last_commit_hash),
            wrapped(self.data_hash),
            wrapped(self.validators_hash),
            wrapped(self.next_validators_hash),
            wrapped(self.consensus_hash),
            wrapped(self.app_hash),
            wrapped(self.last_results_hash),
            wrapped(self.evidence_hash),
            wrapped(self.proposer_address),
        ])
    }
}

/// `BlockMeta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockMeta<'a> {
    /// The block's id.
    pub block_id: BlockId<'a>,
    /// Bytes of the whole block.
    pub block_size: i64,
    /// Its header.
    pub header: Header<'a>,
    /// How many transactions it has.
    pub num_txs: i64,
}

impl<'a> BlockMeta<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut meta = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => meta.block_id = BlockId::decode(field.bytes()?)?,
                2 => meta.block_size = field.int64()?,
                3 => meta.header = Header::decode(field.bytes()?)?,
                4 => meta.num_txs = field.int64()?,
                _ => {}
            }
        }
        Ok(meta)
    }
}

/// `Part` with its `crypto.Proof`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its index in the block.
    pub index: u32,
    /// A slice of the block's bytes.
    pub bytes: &'a [u8],
    /// How many parts the proof speaks of.
    pub proof_total: i64,
    /// The index that the proof speaks of.
    pub proof_index: i64,
    /// The leaf's hash that the proof begins with.
    pub leaf_hash: &'a [u8],
    /// The siblings on the way to the root, deepest first.
    pub aunts: Vec<&'a [u8]>,
}

impl<'a> Part<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut part = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => part.index = field.uint32()?,
                2 => part.bytes = field.bytes()?,
                3 => {
                    let mut proof = Fields::new(field.bytes()?);
                    while let Some(field) = proof.next()? {
                        match field.number {
                            1 => part.proof_total = field.int64()?,
                            2 => part.proof_index = field.int64()?,
                            3 => part.leaf_hash = field.bytes()?,
                            4 => part.aunts.push(field.bytes()?),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(part)
    }
}

/// `Block`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its header.
    pub header: Header<'a>,
    /// Its transactions.
    pub txs: Vec<&'a [u8]>,
    /// Its evidence: each `Evidence` message, with its oneof.
    pub evidence: Vec<&'a [u8]>,
    /// The previous block's commit, as stored; `None` when the field is absent.
    pub last_commit_raw: Option<&'a [u8]>,
}

impl<'a> Block<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut block = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => block.header = Header::decode(field.bytes()?)?,
                2 => repeated(field.bytes()?, &mut block.txs)?,
                3 => repeated(field.bytes()?, &mut block.evidence)?,
                4 => block.last_commit_raw = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(block)
    }

    /// Root over the transactions: a leaf is the leaf hash of a transaction's SHA-256.
    #[must_use]
    pub fn data_hash(&self) -> Hash {
        root_of(self.txs.iter().map(|tx| leaf_hash(&transload_model::merkle::sha256(tx))))
    }

    /// The previous block's commit; an empty one when the field is absent.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn last_commit(&self) -> Result<Commit<'a>, Malformed> {
        Commit::decode(self.last_commit_raw.unwrap_or_default())
    }
}

/// Field 1 of a message that holds nothing but one repeated field.
fn repeated<'a>(message: &'a [u8], items: &mut Vec<&'a [u8]>) -> Result<(), Malformed> {
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        if field.number == 1 {
            items.push(field.bytes()?);
        }
    }
    Ok(())
}

/// `BlockStoreState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockStoreState {
    /// First height kept. Stores older than this field have 0, which means 1.
    pub base: i64,
    /// Last height kept; 0 for an empty store.
    pub height: i64,
}

impl BlockStoreState {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut state = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => state.base = field.int64()?,
                2 => state.height = field.int64()?,
                _ => {}
            }
        }
        Ok(state)
    }

    /// First and last height kept; `None` for an empty store, and for heights that are no
    /// range.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        let last = u64::try_from(self.height).ok().filter(|height| *height > 0)?;
        let first = u64::try_from(self.base).ok()?.max(1);
        (first <= last).then_some((first, last))
    }
}
