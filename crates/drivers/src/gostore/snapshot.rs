//! A snapshot that the helper holds.

use super::cursor::{GostoreCursor, Stream};
use super::process::Process;
use super::protocol::{self, Fields, Values, breach, kind};
use std::ops::ControlFlow;
use std::sync::Arc;
use transload_store::{Cursor, Error, KEY_BYTES_MAX, KeyRange, Kind, Result, Snapshot, TakeValue};

/// A view of a store, given up when it is dropped.
pub(super) struct GostoreSnapshot {
    process: Arc<Process>,
    id: u32,
}

impl GostoreSnapshot {
    pub(super) fn new(process: Arc<Process>, id: u32) -> Self {
        Self { process, id }
    }

    /// Hands on what one answer has of the values of `keys`, the first of which has the place
    /// `from`; the place after the last one, or nothing once `take` has enough.
    fn get_some(
        &self,
        keys: &[Vec<u8>],
        from: usize,
        take: &mut TakeValue<'_>,
    ) -> Result<Option<usize>> {
        let payload = protocol::get_many(self.id, keys);
        self.process.exchange("get", kind::GET_MANY, &payload, |connection| {
            let mut values = Values::new(connection.answer("get", kind::VALUES)?, keys.len())?;
            let mut place = from;
            while let Some(value) = values.next()? {
                if take(place, value.map(<[u8]>::to_vec)).is_break() {
                    return Ok(None);
                }
                place += 1;
            }
            Ok(Some(place))
        })
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

    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        let mut from = 0;
        while let Some(rest) = keys.get(from..).filter(|rest| !rest.is_empty()) {
            let asked = protocol::keys_of_one_get(rest);
            let next = if asked == 0 {
                // Too long to be stored.
                let taken = take(from, None);
                (taken == ControlFlow::Continue(())).then_some(from + 1)
            } else {
                self.get_some(&rest[..asked], from, take)?
            };
            let Some(next) = next else { break };
            from = next;
        }
        Ok(())
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
