//! A stream of entries from the helper, which ends only with its sender's count and digest.

use super::connection::Connection;
use super::process::Process;
use super::protocol::{self, End, Fields, Tally, VALUE_BYTES_MAX, breach, kind};
use std::sync::Arc;
use transload_store::{Cursor, Error, KEY_BYTES_MAX, Result};

/// Data frames on their way in.
pub(super) struct Stream {
    process: Arc<Process>,
    operation: &'static str,
    /// Gone once the stream has ended or failed.
    connection: Option<Connection>,
    tally: Tally,
}

impl Stream {
    pub(super) fn begin(
        process: Arc<Process>,
        operation: &'static str,
        kind: u8,
        payload: &[u8],
    ) -> Result<Self> {
        let mut connection = process.connection()?;
        if let Err(error) = connection.send(kind, payload) {
            let told = connection.told(operation, error);
            return Err(process.explain(told));
        }
        Ok(Self { process, operation, connection: Some(connection), tally: Tally::default() })
    }

    /// Puts the next data frame's payload into `frame`; false at the end of the stream.
    fn next_frame(&mut self, frame: &mut Vec<u8>) -> Result<bool> {
        let Some(mut connection) = self.connection.take() else {
            return Ok(false);
        };
        match receive(&mut connection, self.operation, &mut self.tally, frame) {
            Ok(true) => {
                self.connection = Some(connection);
                Ok(true)
            }
            Ok(false) => {
                self.process.give_back(connection);
                Ok(false)
            }
            Err(error) => Err(self.process.explain(error)),
        }
    }
}

/// Puts the next data frame's payload into `frame`; false at an end that agrees with what
/// arrived.
pub(super) fn receive(
    connection: &mut Connection,
    operation: &'static str,
    tally: &mut Tally,
    frame: &mut Vec<u8>,
) -> Result<bool> {
    match connection.receive()? {
        (kind::DATA, payload) => {
            if payload.is_empty() {
                return Err(breach("a data frame without an entry"));
            }
            tally.add_payload(payload);
            connection.swap_payload(frame);
            Ok(true)
        }
        (kind::END, payload) => {
            let (sent, arrived) = (End::decode(payload)?, tally.end());
            if sent != arrived {
                return Err(breach(format!(
                    "the stream's end announces {} entries in {} bytes, {} in {} arrived, or \
                     their digest differs",
                    sent.entries, sent.payload_bytes, arrived.entries, arrived.payload_bytes
                )));
            }
            Ok(false)
        }
        (kind::ERROR, payload) => Err(protocol::decode_error(operation, payload)),
        (kind, _) => Err(breach(format!("a frame of kind {kind:#04x} in a stream"))),
    }
}

/// The lengths of the key and the value of the entry at the front of a data frame's rest.
pub(super) fn entry(rest: &[u8]) -> Result<(usize, usize)> {
    let mut fields = Fields::new(rest);
    let key_bytes = fields.bytes(KEY_BYTES_MAX)?.len();
    Ok((key_bytes, fields.bytes(VALUE_BYTES_MAX)?.len()))
}

/// Walks the entries of a stream.
pub(super) struct GostoreCursor {
    stream: Stream,
    frame: Vec<u8>,
    position: usize,
    failed: Option<Error>,
}

impl GostoreCursor {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, frame: Vec::new(), position: 0, failed: None }
    }

    /// Moves to the next entry; gives where its key and its value end, or nothing at the end.
    fn advance(&mut self) -> Result<Option<(usize, usize)>> {
        if let Some(error) = &self.failed {
            return Err(error.repeat());
        }
        if self.position == self.frame.len() {
            self.position = 0;
            if !self.stream.next_frame(&mut self.frame)? {
                self.frame.clear();
                return Ok(None);
            }
        }
        let lengths = entry(&self.frame[self.position..])?;
        self.stream.tally.add_entry();
        Ok(Some(lengths))
    }
}

/// Bytes of the length before a key or value.
pub(super) const LENGTH_BYTES: usize = 4;

impl Cursor for GostoreCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match self.advance() {
            Ok(Some((key_bytes, value_bytes))) => {
                let key_start = self.position + LENGTH_BYTES;
                let value_start = key_start + key_bytes + LENGTH_BYTES;
                self.position = value_start + value_bytes;
                Ok(Some((
                    &self.frame[key_start..key_start + key_bytes],
                    &self.frame[value_start..self.position],
                )))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                if self.failed.is_none() {
                    self.failed = Some(error.repeat());
                }
                self.stream.connection = None;
                Err(error)
            }
        }
    }
}
