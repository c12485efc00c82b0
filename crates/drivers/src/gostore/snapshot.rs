//! A snapshot that the helper holds.

use super::cursor::{GostoreCursor, Stream};
use super::process::Process;
use super::protocol::{self, Fields, breach, kind};
use std::sync::Arc;
use transload_store::{Cursor, Error, KEY_BYTES_MAX, KeyRange, Kind, Result, Snapshot};

/// A view of a store, given up when it is dropped.
pub(super) struct GostoreSnapshot {
    process: Arc<Process>,
    id: u32,
}

impl GostoreSnapshot {
    pub(super) fn new(process: Arc<Process>, id: u32) -> Self {
        Self { process, id }
    }
}

impl Drop for GostoreSnapshot {
    fn drop(&mut self) {
        // A helper that has ended holds nothing any more.
        let _ = self.process.request("release", kind::RELEASE, &self.id.to_be_bytes(), kind::DONE);
    }
}

/// A key beyond the limit can't be stored, so it is never there; nor can it bound anything that
/// a shorter one doesn't, but a range is refused rather than bent.
fn check_range(operation: &'static str, range: &KeyRange) -> Result<()> {
    let longest = range.start.len().max(range.end.as_ref().map_or(0, Vec::len));
    if longest > KEY_BYTES_MAX {
        return Err(Error::new(
            Kind::InvalidInput,
            operation,
            format!("a bound of {longest} bytes, the limit is {KEY_BYTES_MAX}"),
        ));
    }
    Ok(())
}

impl Snapshot for GostoreSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let payload = protocol::get(self.id, key);
        self.process.exchange("get", kind::GET, &payload, |connection| {
            match connection.receive()? {
                (kind::VALUE, value) => Ok(Some(value.to_vec())),
                (kind::ABSENT, []) => Ok(None),
                (kind::ERROR, payload) => Err(protocol::decode_error("get", payload)),
                (kind, _) => Err(breach(format!("a frame of kind {kind:#04x} answers a get"))),
            }
        })
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        check_range("scan", range)?;
        let payload = protocol::range_of(self.id, range);
        let stream = Stream::begin(Arc::clone(&self.process), "scan", kind::SCAN, &payload)?;
        Ok(Box::new(GostoreCursor::new(stream)))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        check_range("split points", range)?;
        let payload = protocol::split_points(self.id, chunk_bytes, range);
        let process = Arc::clone(&self.process);
        let stream = Stream::begin(process, "split points", kind::SPLIT_POINTS, &payload)?;
        let mut cursor = GostoreCursor::new(stream);
        let mut points = Vec::new();
        while let Some((point, _)) = cursor.next()? {
            if range.contains(point)
                && points.last().is_none_or(|last: &Vec<u8>| last.as_slice() < point)
            {
                points.push(point.to_vec());
            }
        }
        Ok(points)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        check_range("approximate bytes", range)?;
        let request = protocol::range_of(self.id, range);
        let payload = self.process.request(
            "approximate bytes",
            kind::APPROXIMATE_BYTES,
            &request,
            kind::SIZE,
        )?;
        let mut fields = Fields::new(&payload);
        let size = fields.u64()?;
        fields.finish()?;
        Ok(size)
    }
}
