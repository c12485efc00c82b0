//! What every chunk holds its entries to, whichever way they go.

use crate::limits::check_entry;
use transload_store::{Error, Guarantees, KEY_BYTES_MAX, KeyRange, Kind, Result};

/// The operation of a chunk's errors.
pub(super) const BULK: &str = "bulk load";

/// Keys strictly increase, lie in the chunk's range and, with their values, fit.
pub(super) struct Order {
    range: KeyRange,
    limits: Guarantees,
    last_key: Option<Vec<u8>>,
}

impl Order {
    /// The order of a chunk of `range`, for an engine with these limits.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] for a bound that no key can have.
    pub(super) fn new(range: &KeyRange, limits: &Guarantees) -> Result<Self> {
        let longest = range.start.len().max(range.end.as_ref().map_or(0, Vec::len));
        if longest > KEY_BYTES_MAX {
            let message = format!("a bound of {longest} bytes, the limit is {KEY_BYTES_MAX}");
            return Err(Error::new(Kind::InvalidInput, BULK, message));
        }
        Ok(Self { range: range.clone(), limits: *limits, last_key: None })
    }

    /// Checks the next entry.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`], naming the key.
    pub(super) fn next(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_entry(BULK, key, value, &self.limits)?;
        let fault = if self.last_key.as_deref().is_some_and(|last| last >= key) {
            "a key doesn't follow the one before it"
        } else if !self.range.contains(key) {
            "a key lies outside the chunk's range"
        } else {
            let last = self.last_key.get_or_insert_with(Vec::new);
            last.clear();
            last.extend_from_slice(key);
            return Ok(());
        };
        Err(Error::new(Kind::InvalidInput, BULK, fault)
            .with("key", transload_model::report::printable_key(key)))
    }
}
