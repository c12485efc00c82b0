//! `State`: the node's view after the last block, and `ConsensusParamsInfo`.

use super::{BlockId, seconds_and_nanos};
use transload_codec::Malformed;
use transload_codec::proto::{Fields, put_varint_field};
use transload_model::merkle::{Hash, sha256};

/// `State`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State<'a> {
    /// Version of the software that made the genesis state.
    pub software: &'a [u8],
    /// The chain's id.
    pub chain_id: &'a [u8],
    /// The chain's first height; 0 in states older than this field.
    pub initial_height: i64,
    /// Height of the last block applied; 0 before the first.
    pub last_block_height: i64,
    /// Its id.
    pub last_block_id: BlockId<'a>,
    /// Its time, as stored.
    pub last_block_time: &'a [u8],
    /// The set of the height after next, as stored.
    pub next_validators: Option<&'a [u8]>,
    /// The set of the next height, as stored.
    pub validators: Option<&'a [u8]>,
    /// The set of the last height, as stored.
    pub last_validators: Option<&'a [u8]>,
    /// The height from which `next_validators` holds.
    pub last_height_validators_changed: i64,
    /// `ConsensusParams`, as stored.
    pub params: &'a [u8],
    /// The height from which they hold.
    pub last_height_params_changed: i64,
    /// Root over the last block's results.
    pub last_results_hash: &'a [u8],
    /// The application's hash after the last block.
    pub app_hash: &'a [u8],
}

impl<'a> State<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut state = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    let mut version = Fields::new(field.bytes()?);
                    while let Some(field) = version.next()? {
                        if field.number == 2 {
                            state.software = field.bytes()?;
                        }
                    }
                }
                2 => state.chain_id = field.bytes()?,
                3 => state.last_block_height = field.int64()?,
                4 => state.last_block_id = BlockId::decode(field.bytes()?)?,
                5 => state.last_block_time = field.bytes()?,
                6 => state.next_validators = Some(field.bytes()?),
                7 => state.validators = Some(field.bytes()?),
                8 => state.last_validators = Some(field.bytes()?),
                9 => state.last_height_validators_changed = field.int64()?,
                10 => state.params = field.bytes()?,
                11 => state.last_height_params_changed = field.int64()?,
                12 => state.last_results_hash = field.bytes()?,
                13 => state.app_hash = field.bytes()?,
                14 => state.initial_height = field.int64()?,
                _ => {}
            }
        }
        Ok(state)
    }
}

/// The two parameters that headers commit to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashedParams {
    /// Largest block.
    pub block_bytes_max: i64,
    /// Most gas of a block; -1 for no limit.
    pub block_gas_max: i64,
}

impl HashedParams {
    /// Takes them from a `ConsensusParams` message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut params = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                let mut block = Fields::new(field.bytes()?);
                while let Some(field) = block.next()? {
                    match field.number {
                        1 => params.block_bytes_max = field.int64()?,
                        2 => params.block_gas_max = field.int64()?,
                        _ => {}
                    }
                }
            }
        }
        Ok(params)
    }

    /// `ConsensusHash`: SHA-256 of the `HashedParams` message.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut message = Vec::new();
        put_varint_field(&mut message, 1, self.block_bytes_max.cast_unsigned());
        put_varint_field(&mut message, 2, self.block_gas_max.cast_unsigned());
        sha256(&message)
    }
}

/// How long evidence is accepted: until it is older than both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceWindow {
    /// `max_age_num_blocks`.
    pub blocks_max: i64,
    /// `max_age_duration`, in nanoseconds.
    pub nanos_max: i128,
}

impl EvidenceWindow {
    /// Takes it from a `ConsensusParams` message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut window = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            if field.number != 2 {
                continue;
            }
            let mut evidence = Fields::new(field.bytes()?);
            while let Some(field) = evidence.next()? {
                match field.number {
                    1 => window.blocks_max = field.int64()?,
                    2 => {
                        let (seconds, nanos) = seconds_and_nanos(field.bytes()?)?;
                        window.nanos_max = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
                    }
                    _ => {}
                }
            }
        }
        Ok(window)
    }
}

/// `ConsensusParamsInfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParamsInfo<'a> {
    /// `ConsensusParams`, as stored; without content where they didn't change.
    pub params: &'a [u8],
    /// The height at which they last changed.
    pub last_height_changed: i64,
}

impl<'a> ParamsInfo<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut info = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => info.params = field.bytes()?,
                2 => info.last_height_changed = field.int64()?,
                _ => {}
            }
        }
        Ok(info)
    }
}
