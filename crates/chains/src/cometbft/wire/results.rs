//! What the application answered to each block: `ABCIResponses` (0.34, 0.37, kept as legacy
//! form since), `ResponseFinalizeBlock` (0.38) and `FinalizeBlockResponse` (1.x).

use transload_codec::proto::{Field, Fields, put_bytes, put_varint_field};
use transload_codec::{Malformed, MalformedKind};
use transload_model::merkle::{Hash, leaf_hash, root_of};

/// The results of one block, whichever form they are stored in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results<'a> {
    /// `ExecTxResult` or `ResponseDeliverTx` of each transaction: the same wire form.
    pub txs: Vec<&'a [u8]>,
    /// The application's hash after the block; `None` in the legacy form.
    pub app_hash: Option<&'a [u8]>,
    /// `ValidatorUpdate` messages.
    pub validator_updates: Vec<&'a [u8]>,
}

impl<'a> Results<'a> {
    /// Decodes either form. In the new form field 5 is the application's hash, which every
    /// application of these releases sets; the node tells the forms apart in the same way.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are neither.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        match Self::decode_finalize(message) {
            Ok(results) if results.app_hash.is_some() => Ok(results),
            _ => Self::decode_legacy(message),
        }
    }

    /// Decodes the form of 0.38 and later.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode_finalize(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut results = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                2 => results.txs.push(field.bytes()?),
                3 => results.validator_updates.push(field.bytes()?),
                5 => results.app_hash = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(results)
    }

    /// Decodes the form of 0.34 and 0.37.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode_legacy(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut results = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => results.txs.push(field.bytes()?),
                2 => {
                    let mut end_block = Fields::new(field.bytes()?);
                    while let Some(field) = end_block.next()? {
                        if field.number == 1 {
                            results.validator_updates.push(field.bytes()?);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(results)
    }

    /// Root over code, data, gas wanted and gas used of each transaction: what the next header
    /// commits to.
    ///
    /// # Errors
    /// [`Malformed`] for a result that is no message.
    pub fn hash(&self) -> Result<Hash, Malformed> {
        let leaves: Result<Vec<Hash>, Malformed> =
            self.txs.iter().map(|result| Ok(leaf_hash(&deterministic(result)?))).collect();
        Ok(root_of(leaves?))
    }
}

fn deterministic(result: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (mut code, mut data, mut gas_wanted, mut gas_used) = (0, &[][..], 0, 0);
    let mut fields = Fields::new(result);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => code = field.uint32()?,
            2 => data = field.bytes()?,
            5 => gas_wanted = field.int64()?,
            6 => gas_used = field.int64()?,
            _ => {}
        }
    }
    let mut out = Vec::with_capacity(data.len() + 16);
    put_varint_field(&mut out, 1, u64::from(code));
    put_bytes(&mut out, 2, data);
    put_varint_field(&mut out, 5, gas_wanted.cast_unsigned());
    put_varint_field(&mut out, 6, gas_used.cast_unsigned());
    Ok(out)
}

/// `ABCIResponsesInfo`: the last block's results once more (before 1.0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastResults<'a> {
    /// Their height.
    pub height: i64,
    /// The results as stored, in whichever form.
    pub results: Option<&'a [u8]>,
    /// Whether they are in the form of 0.38 and later.
    pub finalize: bool,
}

impl<'a> LastResults<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message; what no release writes is none.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut last = Self::default();
        let (mut fields, mut before) = (Fields::new(message), 0);
        while let Some(field) = fields.next()? {
            match field.number {
                number if number <= before => return Err(foreign(&field)),
                1 => last.results = Some(field.bytes()?),
                2 => last.height = field.int64()?,
                3 if last.results.is_none() => {
                    last.results = Some(field.bytes()?);
                    last.finalize = true;
                }
                _ => return Err(foreign(&field)),
            }
            before = field.number;
        }
        Ok(last)
    }
}

fn foreign(field: &Field<'_>) -> Malformed {
    let what = "a field of the last results that no release writes there";
    Malformed::new(MalformedKind::Unexpected, what, field.offset)
}

/// `TxResult`, as the transaction index keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxResult<'a> {
    /// The block's height.
    pub height: i64,
    /// The transaction's index in the block.
    pub index: u32,
    /// The transaction.
    pub tx: &'a [u8],
    /// Its result, as stored.
    pub result: &'a [u8],
}

impl<'a> TxResult<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut indexed = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => indexed.height = field.int64()?,
                2 => indexed.index = field.uint32()?,
                3 => indexed.tx = field.bytes()?,
                4 => indexed.result = field.bytes()?,
                _ => {}
            }
        }
        Ok(indexed)
    }
}
