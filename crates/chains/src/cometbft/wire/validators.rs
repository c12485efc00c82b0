//! `ValidatorSet`, `Validator`, `PublicKey`, `ValidatorsInfo`; the set's hash and the rotation of
//! proposers.

use ripemd::{Digest as _, Ripemd160};
use transload_codec::proto::{Fields, put_message, put_varint_field};
use transload_codec::{Malformed, MalformedKind};
use transload_model::merkle::{Hash, leaf_hash, root_of, sha256};

/// A validator set is stored whole at heights divisible by this, whether it changed or not.
pub const CHECKPOINT_INTERVAL: u64 = 100_000;

/// How a public key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over secp256k1.
    Secp256k1,
    /// Another one, by its field number in `PublicKey`.
    Other(u32),
}

/// A public key, borrowed from the stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey<'a> {
    /// How it signs.
    pub kind: KeyKind,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> PublicKey<'a> {
    fn decode(message: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut key = None;
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            let kind = match field.number {
                1 => KeyKind::Ed25519,
                2 => KeyKind::Secp256k1,
                number => KeyKind::Other(number),
            };
            key = Some(Self { kind, bytes: field.bytes()? });
        }
        Ok(key)
    }

    /// The validator's address; `None` for a kind of key that isn't known.
    #[must_use]
    pub fn address(&self) -> Option<[u8; 20]> {
        let mut address = [0; 20];
        match self.kind {
            KeyKind::Ed25519 => address.copy_from_slice(&sha256(self.bytes)[..20]),
            KeyKind::Secp256k1 => {
                address.copy_from_slice(&Ripemd160::digest(sha256(self.bytes)));
            }
            KeyKind::Other(_) => return None,
        }
        Some(address)
    }

    fn number(&self) -> u32 {
        match self.kind {
            KeyKind::Ed25519 => 1,
            KeyKind::Secp256k1 => 2,
            KeyKind::Other(number) => number,
        }
    }
}

/// `Validator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator<'a> {
    /// Its address, as stored.
    pub address: &'a [u8],
    /// Its key.
    pub key: PublicKey<'a>,
    /// Its power.
    pub power: i64,
    /// Its place in the rotation of proposers.
    pub priority: i64,
}

impl<'a> Validator<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut address, mut power, mut priority) = (&[][..], 0, 0);
        let (mut key, mut key_bytes, mut key_type) = (None, &[][..], &[][..]);
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => address = field.bytes()?,
                2 => key = PublicKey::decode(field.bytes()?)?,
                3 => power = field.int64()?,
                4 => priority = field.int64()?,
                // 1.x writes the key so, and no field 2.
                5 => key_bytes = field.bytes()?,
                6 => key_type = field.bytes()?,
                _ => {}
            }
        }
        let key = key.or_else(|| {
            let kind = match key_type {
                b"" => return None,
                b"ed25519" => KeyKind::Ed25519,
                b"secp256k1" => KeyKind::Secp256k1,
                b"bls12_381" => KeyKind::Other(3),
                _ => KeyKind::Other(0),
            };
            Some(PublicKey { kind, bytes: key_bytes })
        });
        let Some(key) = key else {
            return Err(Malformed {
                kind: MalformedKind::Unexpected,
                what: "a validator without a public key",
                offset: 0,
            });
        };
        Ok(Self { address, key, power, priority })
    }

    /// `SimpleValidator`: the leaf of the set's hash.
    fn leaf(&self) -> Hash {
        let mut key = Vec::with_capacity(40);
        put_message(&mut key, self.key.number(), self.key.bytes);
        let mut leaf = Vec::with_capacity(56);
        put_message(&mut leaf, 1, &key);
        put_varint_field(&mut leaf, 2, self.power.cast_unsigned());
        leaf_hash(&leaf)
    }
}

/// `ValidatorSet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidatorSet<'a> {
    /// The validators in stored order: by power, then by address.
    pub validators: Vec<Validator<'a>>,
    /// The address of the proposer of round 0.
    pub proposer: Option<&'a [u8]>,
    /// The proposer once more, as it is stored beside the validators.
    pub proposer_stored: Option<Validator<'a>>,
    /// The sum of all powers as stored; 0 where it is left out.
    pub total_stored: i64,
}

impl<'a> ValidatorSet<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut set = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => set.validators.push(Validator::decode(field.bytes()?)?),
                2 => {
                    let proposer = Validator::decode(field.bytes()?)?;
                    set.proposer = Some(proposer.address);
                    set.proposer_stored = Some(proposer);
                }
                3 => set.total_stored = field.int64()?,
                _ => {}
            }
        }
        Ok(set)
    }

    /// Root over keys and powers, in stored order.
    #[must_use]
    pub fn hash(&self) -> Hash {
        root_of(self.validators.iter().map(Validator::leaf))
    }

    /// Whether what no hash covers follows from the rest: the stored proposer is one of the
    /// validators, with its key and power, and a stored sum is theirs.
    #[must_use]
    pub fn holds_together(&self) -> bool {
        let is_member = self.proposer_stored.as_ref().is_none_or(|proposer| {
            let of = |one: &Validator<'a>| (one.address, one.key, one.power);
            self.validators.iter().any(|validator| of(validator) == of(proposer))
        });
        let total = u64::try_from(self.total_stored).ok();
        is_member && (self.total_stored == 0 || (total.is_some() && total == self.total_power()))
    }

    /// The sum of all powers; `None` when a power isn't positive or the sum doesn't fit.
    #[must_use]
    pub fn total_power(&self) -> Option<u64> {
        self.validators.iter().try_fold(0_u64, |sum, validator| {
            let power = u64::try_from(validator.power).ok().filter(|power| *power > 0)?;
            sum.checked_add(power)
        })
    }
}

/// `ValidatorsInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidatorsInfo<'a> {
    /// The set, stored only where it changed and at checkpoints.
    pub set_raw: Option<&'a [u8]>,
    /// The height at which it last changed.
    pub last_height_changed: i64,
}

impl<'a> ValidatorsInfo<'a> {
    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut info = Self::default();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => info.set_raw = Some(field.bytes()?),
                2 => info.last_height_changed = field.int64()?,
                _ => {}
            }
        }
        Ok(info)
    }

    /// Where the set of `height` is stored when it isn't here (CometBFT `lastStoredHeightFor`).
    #[must_use]
    pub fn stored_at(&self, height: u64) -> Option<u64> {
        let changed = u64::try_from(self.last_height_changed).ok()?;
        Some(changed.max(height - height % CHECKPOINT_INTERVAL))
    }
}

/// `ValidatorUpdate`: a key and its new power (0.34 to 0.38: a `PublicKey`; 1.x: bytes and type).
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn decode_update<'a>(message: &'a [u8]) -> Result<Option<(PublicKey<'a>, i64)>, Malformed> {
    let (mut key, mut power) = (None, 0);
    let (mut key_bytes, mut key_type) = (&[][..], &[][..]);
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => key = PublicKey::decode(field.bytes()?)?,
            2 => power = field.int64()?,
            3 => key_bytes = field.bytes()?,
            4 => key_type = field.bytes()?,
            _ => {}
        }
    }
    let key = key.or(match key_type {
        b"ed25519" => Some(PublicKey { kind: KeyKind::Ed25519, bytes: key_bytes }),
        b"secp256k1" => Some(PublicKey { kind: KeyKind::Secp256k1, bytes: key_bytes }),
        _ => None,
    });
    Ok(key.map(|key| (key, power)))
}
