//! Verifies validators' signatures, many at a time.
//!
//! An Ed25519 signature takes 35 to 40 microseconds alone and 7 to 8 in a batch over many
//! heights, because the batch equation needs one term a public key and the same validators sign
//! height after height. A batch that fails is halved until the signatures that are wrong stand
//! alone, so that each is named.
//!
//! Rules: CometBFT 0.38 and later verify by ZIP-215, which a batch can do. Earlier releases use
//! Go's `crypto/ed25519`, which is stricter (no cofactor) and can't be batched soundly; their
//! signatures are verified one at a time. secp256k1 signatures are one at a time as well, and a
//! high S is refused, as Go does.

use super::wire::validators::KeyKind;
use ed25519_zebra::batch;
use ed25519_zebra::{Signature, VerificationKeyBytes};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;
use transload_model::merkle::sha256;

/// Signatures gathered before a batch is verified: larger ones gain nothing, and this one needs
/// about 2 MiB.
const BATCH_SIGNATURES: usize = 8_192;

/// Which Ed25519 signatures are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ed25519Rules {
    /// ZIP-215: CometBFT 0.38 and later.
    Zip215,
    /// Go's `crypto/ed25519`: before 0.38.
    Strict,
}

/// A signature of a key that this profile can't verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKey;

struct Pending<T> {
    item: batch::Item,
    digest: [u8; 32],
    tag: T,
}

/// Gathers signatures and verifies them in batches. `T` names a signature.
pub struct Signatures<T> {
    rules: Ed25519Rules,
    pending: Vec<Pending<T>>,
    wrong: Vec<T>,
    checked: u64,
}

impl<T> Signatures<T> {
    /// No signatures yet.
    #[must_use]
    pub fn new(rules: Ed25519Rules) -> Self {
        Self { rules, pending: Vec::new(), wrong: Vec::new(), checked: 0 }
    }

    /// Takes one signature; it is verified now or with a later batch.
    ///
    /// # Errors
    /// [`UnknownKey`] for a kind of key that isn't known: nothing was verified.
    pub fn push(
        &mut self,
        kind: KeyKind,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
        tag: T,
    ) -> Result<(), UnknownKey> {
        match (kind, self.rules) {
            (KeyKind::Other(_), _) => return Err(UnknownKey),
            (KeyKind::Ed25519, Ed25519Rules::Zip215) => {
                self.checked += 1;
                match item(key, message, signature) {
                    Some(item) => {
                        let mut hasher = blake3::Hasher::new();
                        hasher.update(key).update(signature).update(message);
                        let digest = hasher.finalize().into();
                        self.pending.push(Pending { item, digest, tag });
                    }
                    None => self.wrong.push(tag),
                }
            }
            (KeyKind::Ed25519, Ed25519Rules::Strict) => {
                self.checked += 1;
                if !strict(key, message, signature) {
                    self.wrong.push(tag);
                }
            }
            (KeyKind::Secp256k1, _) => {
                self.checked += 1;
                if !secp256k1(key, message, signature) {
                    self.wrong.push(tag);
                }
            }
        }
        if self.pending.len() >= BATCH_SIGNATURES {
            self.flush();
        }
        Ok(())
    }

    /// Verifies what is still waiting; says how many signatures were verified and which of them
    /// are wrong.
    #[must_use]
    pub fn finish(mut self) -> (u64, Vec<T>) {
        self.flush();
        (self.checked, self.wrong)
    }

    fn flush(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        if batch_holds(&pending) {
            return;
        }
        // Halves of halves, without recursion: a ruined archive must not overflow the stack.
        let mut parts = vec![pending.split_off(pending.len() / 2), pending];
        while let Some(mut part) = parts.pop() {
            if part.len() == 1 {
                for one in part {
                    if one.item.verify_single().is_err() {
                        self.wrong.push(one.tag);
                    }
                }
            } else if !batch_holds(&part) {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
    }
}

fn item(key: &[u8], message: &[u8], signature: &[u8]) -> Option<batch::Item> {
    let key = VerificationKeyBytes::from(<[u8; 32]>::try_from(key).ok()?);
    let signature = Signature::from(<[u8; 64]>::try_from(signature).ok()?);
    Some(batch::Item::from((key, signature, message)))
}

fn batch_holds<T>(pending: &[Pending<T>]) -> bool {
    if pending.is_empty() {
        return true;
    }
    let mut verifier = batch::Verifier::new();
    let mut transcript = blake3::Hasher::new();
    for one in pending {
        verifier.queue(one.item.clone());
        transcript.update(&one.digest);
    }
    verifier.verify(Coefficients(transcript.finalize_xof())).is_ok()
}

/// The batch's coefficients, drawn from a hash over all keys, signatures and messages in it:
/// whoever made the signatures can't have known them, and a run can be repeated exactly.
struct Coefficients(blake3::OutputReader);

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

/// The check of Go's `crypto/ed25519`: S below the group's order, and R recomputed without
/// cofactor equals R byte for byte.
fn strict(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    use ed25519_dalek::Verifier as _;
    let (Ok(key), Ok(signature)) = (<[u8; 32]>::try_from(key), <[u8; 64]>::try_from(signature))
    else {
        return false;
    };
    ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok_and(|key| {
        key.verify(message, &ed25519_dalek::Signature::from_bytes(&signature)).is_ok()
    })
}

fn secp256k1(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    // Compressed keys only: 33 bytes.
    let Ok(key) = <[u8; 33]>::try_from(key) else { return false };
    let (Ok(key), Ok(signature)) = (
        k256::ecdsa::VerifyingKey::from_sec1_bytes(&key),
        k256::ecdsa::Signature::from_slice(signature),
    ) else {
        return false;
    };
    signature.normalize_s() == signature && key.verify_prehash(&sha256(message), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::Signer as _;

    fn signed(seed: u8, message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        (key.verifying_key().to_bytes(), key.sign(message).to_bytes())
    }

    #[test]
    fn the_wrong_signatures_of_a_batch_are_named_and_no_others() {
        let mut signatures = Signatures::new(Ed25519Rules::Zip215);
        for index in 0..300_u32 {
            let message = index.to_be_bytes();
            let (key, mut signature) = signed((index % 7) as u8, &message);
            match index {
                13 | 14 => signature[3] ^= 1,
                200 => signature[63] |= 0xe0,
                _ => {}
            }
            let short = &signature[..if index == 201 { 63 } else { 64 }];
            signatures.push(KeyKind::Ed25519, &key, &message, short, index).unwrap();
        }
        let (checked, mut wrong) = signatures.finish();
        wrong.sort_unstable();
        assert_eq!((checked, wrong), (300, vec![13, 14, 200, 201]));
    }

    #[test]
    fn a_key_that_is_no_point_fails_alone() {
        let mut signatures = Signatures::new(Ed25519Rules::Zip215);
        let (key, signature) = signed(1, b"m");
        let no_point = {
            let mut bytes = [0; 32];
            bytes[0] = 2;
            bytes
        };
        signatures.push(KeyKind::Ed25519, &no_point, b"m", &signature, 1).unwrap();
        signatures.push(KeyKind::Ed25519, &key, b"m", &signature, 2).unwrap();
        assert_eq!(signatures.finish(), (2, vec![1]));
    }

    /// A signature whose R has a component of small order: ZIP-215 takes it, Go doesn't.
    #[test]
    fn the_rules_differ_where_the_libraries_do() {
        // A and R are the point of order 1 in its non-canonical encoding (ZIP-215's own
        // test cases), S is 0: valid for every message by ZIP-215.
        let mut identity = [0xff; 32];
        identity[0] = 0xee;
        identity[31] = 0x7f;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&identity);
        for (rules, wrong) in [(Ed25519Rules::Zip215, vec![]), (Ed25519Rules::Strict, vec![0])] {
            let mut signatures = Signatures::new(rules);
            signatures.push(KeyKind::Ed25519, &identity, b"Zcash", &signature, 0).unwrap();
            assert_eq!(signatures.finish(), (1, wrong), "{rules:?}");
        }
        let (key, signature) = signed(9, b"m");
        for (message, wrong) in [(b"m", vec![]), (b"n", vec![0])] {
            let mut signatures = Signatures::new(Ed25519Rules::Strict);
            signatures.push(KeyKind::Ed25519, &key, message, &signature, 0).unwrap();
            assert_eq!(signatures.finish(), (1, wrong));
        }
    }

    #[test]
    fn secp256k1_takes_the_low_form_only() {
        use k256::ecdsa::signature::hazmat::PrehashSigner as _;
        let key = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let public = key.verifying_key().to_sec1_point(true);
        let signature: k256::ecdsa::Signature = key.sign_prehash(&sha256(b"m")).unwrap();
        let low = signature.normalize_s();
        let high = k256::ecdsa::Signature::from_scalars(*low.r(), -*low.s()).unwrap();
        let mut signatures = Signatures::new(Ed25519Rules::Zip215);
        let public = public.as_bytes();
        signatures.push(KeyKind::Secp256k1, public, b"m", &low.to_bytes(), 1).unwrap();
        signatures.push(KeyKind::Secp256k1, public, b"m", &high.to_bytes(), 2).unwrap();
        signatures.push(KeyKind::Secp256k1, public, b"n", &low.to_bytes(), 3).unwrap();
        signatures.push(KeyKind::Secp256k1, &public[1..], b"m", &low.to_bytes(), 4).unwrap();
        assert_eq!(signatures.push(KeyKind::Other(3), public, b"m", b"", 5), Err(UnknownKey));
        assert_eq!(signatures.finish(), (4, vec![2, 3, 4]));
    }
}
