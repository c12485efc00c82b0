//! Doors for fuzzing: documents of a home that the verifier compares.

use super::verify::genesis;
use transload_model::merkle::Hash;

/// What the stored genesis document says otherwise than the file; `None` when one isn't JSON.
#[must_use]
pub fn genesis_differences(stored: &[u8], file: &[u8]) -> Option<Vec<String>> {
    let document = |bytes| serde_json::from_slice(bytes).ok();
    Some(genesis::differences(&document(stored)?, &document(file)?))
}

/// The hash of the validators that a genesis document lists, if they can be read.
#[must_use]
pub fn first_validators(document: &[u8]) -> Option<Hash> {
    genesis::validators_hash(&serde_json::from_slice(document).ok()?)
}
