//! The bytes of the driver protocol: kinds, limits, payloads.
//!
//! Tables and reasons: `docs/formats/driver-protocol.md`. The vectors in
//! `helpers/gostore/testdata/frames.json` are tested here and in Go.

use super::{HelperEngine, HelperInfo};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use transload_model::engine::Engine;
use transload_store::{Error, KEY_BYTES_MAX, KeyRange, Kind, Result, WriteBatch, WriteOp};

/// The only version that is spoken. A new kind of frame or another field is a new version: an
/// older helper would call it a broken frame.
pub(super) const VERSION: u16 = 3;
const MAGIC: &[u8] = b"TLGSTORE";

/// Longest value that a frame carries: the largest seen in a node's database has 16 MiB.
pub(super) const VALUE_BYTES_MAX: usize = 256 << 20;
/// Longest payload: a largest key and value, and room for what stands around them.
pub(super) const FRAME_BYTES_MAX: usize = KEY_BYTES_MAX + VALUE_BYTES_MAX + (32 << 20);
/// Longest payload on the control socket.
pub(super) const CONTROL_FRAME_BYTES_MAX: usize = 64 << 10;
/// Where a data frame is sent; a single larger entry makes a larger frame.
pub(super) const DATA_FRAME_BYTES_TARGET: usize = 1 << 20;
/// Most keys in one get of many.
pub(super) const GET_KEYS_MAX: usize = 4096;
/// Longest path.
const PATH_BYTES_MAX: usize = 4096;
/// Most changes in one batch.
const BATCH_OPS_MAX: usize = 16 << 20;

/// Kinds of frames.
pub(super) mod kind {
    pub(in crate::gostore) const HELLO: u8 = 0x01;
    pub(in crate::gostore) const ATTACH: u8 = 0x02;
    pub(in crate::gostore) const OPEN: u8 = 0x10;
    pub(in crate::gostore) const SNAPSHOT: u8 = 0x11;
    pub(in crate::gostore) const RELEASE: u8 = 0x12;
    pub(in crate::gostore) const GET: u8 = 0x13;
    pub(in crate::gostore) const SCAN: u8 = 0x14;
    pub(in crate::gostore) const SPLIT_POINTS: u8 = 0x15;
    pub(in crate::gostore) const APPROXIMATE_BYTES: u8 = 0x16;
    pub(in crate::gostore) const WRITE: u8 = 0x17;
    pub(in crate::gostore) const BULK: u8 = 0x18;
    pub(in crate::gostore) const CLOSE: u8 = 0x19;
    pub(in crate::gostore) const TAKE_IN: u8 = 0x1a;
    pub(in crate::gostore) const GET_MANY: u8 = 0x1b;
    pub(in crate::gostore) const HELLO_REPLY: u8 = 0x81;
    pub(in crate::gostore) const OPENED: u8 = 0x82;
    pub(in crate::gostore) const SNAPSHOT_MADE: u8 = 0x83;
    pub(in crate::gostore) const VALUE: u8 = 0x84;
    pub(in crate::gostore) const ABSENT: u8 = 0x85;
    pub(in crate::gostore) const SIZE: u8 = 0x86;
    pub(in crate::gostore) const DONE: u8 = 0x87;
    pub(in crate::gostore) const VALUES: u8 = 0x88;
    pub(in crate::gostore) const DATA: u8 = 0x90;
    pub(in crate::gostore) const END: u8 = 0x91;
    pub(in crate::gostore) const WORKING: u8 = 0xa0;
    pub(in crate::gostore) const ERROR: u8 = 0xff;
}

/// The number of an engine, for those that the helper has.
pub(super) fn engine_number(engine: Engine) -> Option<u8> {
    match engine {
        Engine::Goleveldb => Some(1),
        Engine::Pebble1 => Some(2),
        Engine::Pebble2 => Some(3),
        Engine::Bbolt => Some(4),
        Engine::Badgerdb => Some(5),
        _ => None,
    }
}

fn engine_of_number(number: u8) -> Option<Engine> {
    Engine::ALL.into_iter().find(|engine| engine_number(*engine) == Some(number))
}

/// How a directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    ReadOnly = 1,
    Create = 2,
    Reopen = 3,
}

/// A helper that broke the protocol.
pub(super) fn breach(message: impl Into<String>) -> Error {
    Error::new(Kind::Protocol, "read the helper's answer", message)
}

/// Appends `bytes`: u32 length and the bytes. Every caller has checked the length.
pub(super) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

fn put_range(to: &mut Vec<u8>, range: &KeyRange) {
    put_bytes(to, &range.start);
    match &range.end {
        None => to.push(0),
        Some(end) => {
            to.push(1);
            put_bytes(to, end);
        }
    }
}

/// Reads a payload from front to back.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| {
            breach(format!("a field needs {length} bytes, {} are left", self.rest.len()))
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn bytes(&mut self, limit: usize) -> Result<&'a [u8]> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(breach(format!("a field of {length} bytes, the limit is {limit}")));
        }
        self.take(length)
    }

    fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes(CONTROL_FRAME_BYTES_MAX)?).into_owned())
    }

    fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(breach(format!("a flag is {other}"))),
        }
    }

    pub(super) fn finish(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(breach(format!("{} bytes after the last field", self.rest.len())))
    }
}

/// The first frame's payload.
pub(super) fn hello(version_min: u16, version_max: u16) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&version_min.to_be_bytes());
    out.extend_from_slice(&version_max.to_be_bytes());
    out
}

/// Reads a hello reply: the version, and what the helper says about itself.
pub(super) fn decode_hello_reply(payload: &[u8]) -> Result<(u16, HelperInfo)> {
    let mut fields = Fields::new(payload);
    let version = fields.u16()?;
    let build = fields.text()?;
    let count = fields.u8()?;
    let mut engines = Vec::new();
    for _ in 0..count {
        engines.push(HelperEngine {
            engine: engine_of_number(fields.u8()?),
            capabilities: fields.u32()?,
            module: fields.text()?,
            format_min: fields.u32()?,
            format_max: fields.u32()?,
            format_new: fields.u32()?,
        });
    }
    fields.finish()?;
    Ok((version, HelperInfo { build, engines }))
}

/// Asks for the one store of a helper.
pub(super) struct OpenRequest {
    pub(super) engine: Engine,
    pub(super) mode: Mode,
    pub(super) memory_bytes_max: u64,
    pub(super) path: PathBuf,
}

impl OpenRequest {
    /// Gives the payload; refuses a path that is too long.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let path = self.path.as_os_str().as_bytes();
        if path.len() > PATH_BYTES_MAX {
            return Err(Error::new(
                Kind::InvalidInput,
                "open",
                format!("a path of {} bytes, the limit is {PATH_BYTES_MAX}", path.len()),
            ));
        }
        let engine = engine_number(self.engine)
            .ok_or_else(|| Error::unsupported("open", format!("gostore has no {}", self.engine)))?;
        let mut out = vec![engine, self.mode as u8];
        out.extend_from_slice(&self.memory_bytes_max.to_be_bytes());
        put_bytes(&mut out, path);
        Ok(out)
    }
}

/// What was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The format version, 0 where the engine has none.
    pub(super) format: u32,
    /// Its text for reports.
    pub(super) version: String,
}

impl Opened {
    pub(super) fn decode(payload: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(payload);
        let opened = Self { format: fields.u32()?, version: fields.text()? };
        fields.finish()?;
        Ok(opened)
    }
}

/// A get's payload.
pub(super) fn get(snapshot: u32, key: &[u8]) -> Vec<u8> {
    let mut out = snapshot.to_be_bytes().to_vec();
    put_bytes(&mut out, key);
    out
}

/// How many of the first keys go into one get of many: one at least, unless the first one is too
/// long for any.
pub(super) fn keys_of_one_get(keys: &[Vec<u8>]) -> usize {
    let mut payload_bytes = 0;
    let fits = |key: &&Vec<u8>| {
        payload_bytes += 4 + key.len();
        key.len() <= KEY_BYTES_MAX
            && (payload_bytes <= DATA_FRAME_BYTES_TARGET || payload_bytes == 4 + key.len())
    };
    keys.iter().take(GET_KEYS_MAX).take_while(fits).count()
}

/// The payload of a get of many.
pub(super) fn get_many(snapshot: u32, keys: &[Vec<u8>]) -> Vec<u8> {
    let mut out = snapshot.to_be_bytes().to_vec();
    out.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
    for key in keys {
        put_bytes(&mut out, key);
    }
    out
}

/// Reads the answer to a get of many: the values of the first of its keys, at least one of them
/// and at most `asked`, in their order.
pub(super) struct Values<'a> {
    fields: Fields<'a>,
    left: usize,
}

impl<'a> Values<'a> {
    pub(super) fn new(payload: &'a [u8], asked: usize) -> Result<Self> {
        let mut fields = Fields::new(payload);
        let left = fields.u32()? as usize;
        if left == 0 || left > asked {
            return Err(breach(format!("{left} values answer a get of {asked} keys")));
        }
        Ok(Self { fields, left })
    }

    /// The next value, `None` inside for an absent key; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Option<&'a [u8]>>> {
        if self.left == 0 {
            return self.fields.finish().map(|()| None);
        }
        self.left -= 1;
        let present = self.fields.flag()?;
        let value = present.then(|| self.fields.bytes(VALUE_BYTES_MAX)).transpose()?;
        Ok(Some(value))
    }
}

/// A scan's payload, and that of a question for a range's size.
pub(super) fn range_of(snapshot: u32, range: &KeyRange) -> Vec<u8> {
    let mut out = snapshot.to_be_bytes().to_vec();
    put_range(&mut out, range);
    out
}

/// The payload of a question for split points.
pub(super) fn split_points(snapshot: u32, chunk_bytes: u64, range: &KeyRange) -> Vec<u8> {
    let mut out = snapshot.to_be_bytes().to_vec();
    out.extend_from_slice(&chunk_bytes.to_be_bytes());
    put_range(&mut out, range);
    out
}

/// The payload that begins a chunk.
pub(super) fn bulk(range: &KeyRange) -> Vec<u8> {
    let mut out = Vec::new();
    put_range(&mut out, range);
    out
}

/// The payload that has tables taken in: their names in the staging folder, and their sizes.
pub(super) fn take_in(tables: &[(String, u64)]) -> Vec<u8> {
    let mut out = u32::try_from(tables.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    for (name, file_bytes) in tables {
        put_bytes(&mut out, name.as_bytes());
        out.extend_from_slice(&file_bytes.to_be_bytes());
    }
    out
}

/// Refuses a key or value that doesn't fit, before anything is sent.
pub(super) fn check_sizes(operation: &'static str, key: &[u8], value: &[u8]) -> Result<()> {
    for (what, length, limit) in
        [("key", key.len(), KEY_BYTES_MAX), ("value", value.len(), VALUE_BYTES_MAX)]
    {
        if length > limit {
            return Err(Error::new(
                Kind::InvalidInput,
                operation,
                format!("a {what} of {length} bytes, the limit is {limit}"),
            )
            .with("key", transload_model::report::printable_key(key)));
        }
    }
    Ok(())
}

/// A batch's payload; refuses one that doesn't fit, whole.
pub(super) fn write(batch: &WriteBatch, synced: bool) -> Result<Vec<u8>> {
    let too_large = || {
        Error::new(
            Kind::InvalidInput,
            "write",
            format!(
                "a batch of {} changes and {} bytes; the limits are {BATCH_OPS_MAX} and \
                 {FRAME_BYTES_MAX}",
                batch.ops().len(),
                batch.bytes()
            ),
        )
    };
    let count = u32::try_from(batch.ops().len())
        .ok()
        .filter(|count| *count as usize <= BATCH_OPS_MAX)
        .ok_or_else(too_large)?;
    let mut out = vec![u8::from(synced)];
    out.extend_from_slice(&count.to_be_bytes());
    for op in batch.ops() {
        match op {
            WriteOp::Put { key, value } => {
                check_sizes("write", key, value)?;
                out.push(1);
                put_bytes(&mut out, key);
                put_bytes(&mut out, value);
            }
            WriteOp::Delete { key } => {
                check_sizes("write", key, &[])?;
                out.push(2);
                put_bytes(&mut out, key);
            }
        }
        if out.len() > FRAME_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(out)
}

/// The end of a stream: what its sender sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) entries: u64,
    pub(super) payload_bytes: u64,
    pub(super) digest: [u8; 32],
}

impl End {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.entries.to_be_bytes().to_vec();
        out.extend_from_slice(&self.payload_bytes.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(payload);
        let end =
            Self { entries: fields.u64()?, payload_bytes: fields.u64()?, digest: fields.array()? };
        fields.finish()?;
        Ok(end)
    }
}

/// Counts and digests the payloads of a stream's data frames.
#[derive(Default)]
pub(super) struct Tally {
    entries: u64,
    payload_bytes: u64,
    hasher: blake3::Hasher,
}

impl Tally {
    pub(super) fn add_payload(&mut self, payload: &[u8]) {
        self.payload_bytes += payload.len() as u64;
        self.hasher.update(payload);
    }

    pub(super) fn add_entry(&mut self) {
        self.entries += 1;
    }

    pub(super) fn end(&self) -> End {
        End {
            entries: self.entries,
            payload_bytes: self.payload_bytes,
            digest: self.hasher.finalize().into(),
        }
    }
}

/// Turns an error frame into an error of `operation`.
pub(super) fn decode_error(operation: &'static str, payload: &[u8]) -> Error {
    let mut fields = Fields::new(payload);
    let decoded = (|| {
        let parts = (fields.u8()?, fields.flag()?, fields.text()?, fields.text()?);
        fields.finish()?;
        Ok::<_, Error>(parts)
    })();
    let (number, unknown, step, message) = match decoded {
        Ok(parts) => parts,
        Err(error) => return error,
    };
    let kind = match number {
        1 => Kind::NotFound,
        2 => Kind::Corrupt,
        3 => Kind::UnknownFormat,
        4 | 11 => Kind::Unsupported,
        5 => Kind::Io,
        6 => Kind::NoSpace,
        7 => Kind::Busy,
        8 => Kind::InvalidInput,
        10 => Kind::Limit,
        12 => Kind::HelperLost,
        _ => Kind::Protocol,
    };
    let error = Error::new(kind, operation, message).with("helper step", step);
    let error = if kind == Kind::Busy { error.retryable() } else { error };
    if unknown { error.effect_unknown() } else { error }
}
