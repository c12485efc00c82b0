//! A store's limits on keys and values, checked before anything of a batch is applied.

use transload_store::{Error, Guarantees, Kind, Result, WriteBatch, WriteOp};

/// Refuses a batch that holds a key or a value beyond the limits.
pub(crate) fn check_batch(batch: &WriteBatch, limits: &Guarantees) -> Result<()> {
    batch.ops().iter().try_for_each(|op| match op {
        WriteOp::Put { key, value } => check_entry("write", key, value, limits),
        WriteOp::Delete { key } => check_entry("write", key, b"", limits),
    })
}

/// Refuses a key or a value beyond the limits.
pub(crate) fn check_entry(
    operation: &'static str,
    key: &[u8],
    value: &[u8],
    limits: &Guarantees,
) -> Result<()> {
    let (what, length, limit) = if key.len() > limits.key_bytes_max {
        ("a key", key.len(), limits.key_bytes_max)
    } else if value.len() > limits.value_bytes_max {
        ("a value", value.len(), limits.value_bytes_max)
    } else {
        return Ok(());
    };
    let message = format!("{what} of {length} bytes, the limit is {limit}");
    Err(Error::new(Kind::InvalidInput, operation, message))
}
