//! Reads the records that external joins keep in scratch files: fixed fields from the front.
//!
//! They live in scratch files of this process only. A record that can't be read again is an
//! error of the scratch disk, not a finding.

use crate::iavl::keys::NodeId;
use transload_store::{Error, Kind, Result};

/// Takes fields from the front of a record.
pub(super) struct Take<'a>(pub(super) &'a [u8]);

fn torn() -> Error {
    Error::new(Kind::Corrupt, "join tree nodes", "a scratch record has the wrong length")
}

impl Take<'_> {
    pub(super) fn id(&mut self) -> Result<NodeId> {
        let (id, rest) = NodeId::split(self.0).ok_or_else(torn)?;
        self.0 = rest;
        Ok(id)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or_else(torn)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Leaves the last `count` bytes.
    pub(super) fn skip_to_last(&mut self, count: usize) -> Result<()> {
        let at = self.0.len().checked_sub(count).ok_or_else(torn)?;
        self.0 = &self.0[at..];
        Ok(())
    }
}
