//! Doors for fuzzing: what a helper sends, whatever it is, is read or refused.

use super::connection::{Connection, frame_header};
use super::cursor::{LENGTH_BYTES, entry, receive};
use super::protocol::{self, End, FRAME_BYTES_MAX, Opened, Tally, Values, kind};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use transload_store::{Error, Kind, Result};

/// Nothing of what is read here was not sent before.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a socket takes without a reader.
pub const SENT_BYTES_MAX: usize = 64 << 10;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Whether `payload` is a hello reply.
#[must_use]
pub fn hello_reply(payload: &[u8]) -> bool {
    protocol::decode_hello_reply(payload).is_ok()
}

/// Whether `payload` says what was opened.
#[must_use]
pub fn opened(payload: &[u8]) -> bool {
    Opened::decode(payload).is_ok()
}

/// The end of a stream, encoded again, if `payload` is one.
#[must_use]
pub fn end(payload: &[u8]) -> Option<Vec<u8>> {
    End::decode(payload).ok().map(|end| end.encode())
}

/// The answer to a get of many of `asked` keys, encoded again, if `payload` is one.
#[must_use]
pub fn values(payload: &[u8], asked: usize) -> Option<Vec<u8>> {
    let mut values = Values::new(payload, asked).ok()?;
    let (mut again, mut count) = (vec![0; 4], 0_u32);
    while let Some(value) = values.next().ok()? {
        again.push(u8::from(value.is_some()));
        if let Some(value) = value {
            protocol::put_bytes(&mut again, value);
        }
        count += 1;
    }
    again[..4].copy_from_slice(&count.to_be_bytes());
    Some(again)
}

/// The error that `payload` tells of, or is.
#[must_use]
pub fn error(payload: &[u8]) -> Error {
    protocol::decode_error("scan", payload)
}

/// The bytes of a stream as a helper sends it, a data frame for each list of entries.
///
/// # Errors
/// A frame beyond its limit.
pub fn written(frames: &[Vec<Entry>]) -> Result<Vec<u8>> {
    let (mut sent, mut tally) = (Vec::new(), Tally::default());
    let mut send = |kind, payload: &[u8]| {
        sent.extend(frame_header(kind, payload.len())?);
        sent.extend(payload);
        Ok::<(), Error>(())
    };
    for entries in frames.iter().filter(|entries| !entries.is_empty()) {
        let mut payload = Vec::new();
        for (key, value) in entries {
            protocol::put_bytes(&mut payload, key);
            protocol::put_bytes(&mut payload, value);
            tally.add_entry();
        }
        tally.add_payload(&payload);
        send(kind::DATA, &payload)?;
    }
    send(kind::END, &tally.end().encode())?;
    Ok(sent)
}

/// Reads a stream of at most [`SENT_BYTES_MAX`] from its first frame to its end.
///
/// # Errors
/// What a cursor says of it.
pub fn stream(bytes: &[u8]) -> Result<Vec<Entry>> {
    let failed = |error| Error::io("scan", std::path::Path::new("a pair of sockets"), error);
    let (ours, mut theirs) = UnixStream::pair().map_err(failed)?;
    let mut connection = Connection::new(ours, FRAME_BYTES_MAX, SILENCE_TIMEOUT)?;
    if bytes.len() > SENT_BYTES_MAX {
        return Err(Error::new(Kind::Limit, "scan", "more than a socket takes at once"));
    }
    theirs.write_all(bytes).and_then(|()| theirs.shutdown(Shutdown::Write)).map_err(failed)?;
    let (mut entries, mut tally, mut frame) = (Vec::new(), Tally::default(), Vec::new());
    while receive(&mut connection, "scan", &mut tally, &mut frame)? {
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let (key_bytes, value_bytes) = entry(rest)?;
            let (key, after) = rest[LENGTH_BYTES..].split_at(key_bytes);
            let (value, after) = after[LENGTH_BYTES..].split_at(value_bytes);
            entries.push((key.to_vec(), value.to_vec()));
            tally.add_entry();
            rest = after;
        }
    }
    Ok(entries)
}
