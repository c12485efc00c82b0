//! One socket to the helper: frames out, frames in, and never a wait without an end.

use super::protocol::{self, breach, kind};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use transload_store::{Error, Kind, Result};

const HEADER_BYTES: usize = 5;

/// How much memory a frame may claim before its bytes have arrived.
const READ_STEP_BYTES: usize = 4 << 20;

/// Memory that a connection keeps between frames; more was for one large entry.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Read at a time where a frame begins: most answers are shorter, and need one call.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// Up to where a frame's header and payload are put together, so that one call sends them.
const SENT_WHOLE_BYTES: usize = 64 << 10;

/// How long the helper may leave our bytes unread. It reads while it works, so only a stopped
/// process or a disk that doesn't answer takes so long.
const SEND_TIMEOUT: Duration = Duration::from_secs(600);

/// A socket on which one request is under way at most.
pub(super) struct Connection {
    /// Whatever waits here is a frame's: nothing is read but through it.
    stream: BufReader<UnixStream>,
    frame_bytes_max: usize,
    payload: Vec<u8>,
}

impl Connection {
    /// Takes a connected socket. `silence_timeout` bounds the wait for every frame.
    pub(super) fn new(
        stream: UnixStream,
        frame_bytes_max: usize,
        silence_timeout: Duration,
    ) -> Result<Self> {
        stream
            .set_read_timeout(Some(silence_timeout))
            .and_then(|()| stream.set_write_timeout(Some(SEND_TIMEOUT)))
            .map_err(|error| lost("attach a socket", &error))?;
        let stream = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
        Ok(Self { stream, frame_bytes_max, payload: Vec::new() })
    }

    pub(super) fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, kind: u8, payload: &[u8]) -> Result<()> {
        let header = frame_header(kind, payload.len())?;
        let mut stream = self.stream.get_ref();
        let sent = if payload.len() <= SENT_WHOLE_BYTES {
            stream.write_all(&[&header[..], payload].concat())
        } else {
            stream.write_all(&header).and_then(|()| stream.write_all(payload))
        };
        sent.map_err(|error| lost("send to the helper", &error))
    }

    /// Receives the next frame that isn't a sign of life: its kind, and its payload until the
    /// next call.
    pub(super) fn receive(&mut self) -> Result<(u8, &[u8])> {
        loop {
            let kind = self.receive_frame()?;
            if kind != kind::WORKING {
                return Ok((kind, &self.payload));
            }
        }
    }

    /// Receives the answer to a request of one frame, which must be of the kind that is
    /// `expected`, or an error.
    pub(super) fn answer(&mut self, operation: &'static str, expected: u8) -> Result<&[u8]> {
        match self.receive()? {
            (kind, payload) if kind == expected => Ok(payload),
            (kind::ERROR, payload) => Err(protocol::decode_error(operation, payload)),
            (kind, _) => {
                Err(breach(format!("a frame of kind {kind:#04x}, expected {expected:#04x}")))
            }
        }
    }

    /// What the helper said before it stopped reading: its error, or its breach of the protocol;
    /// `otherwise` when it said nothing.
    pub(super) fn told(&mut self, operation: &'static str, otherwise: Error) -> Error {
        match self.receive() {
            Ok((kind::ERROR, payload)) => protocol::decode_error(operation, payload),
            Ok((kind, _)) => breach(format!("a frame of kind {kind:#04x} before its time")),
            Err(error) if error.kind() == Kind::Protocol => error,
            Err(_) => otherwise,
        }
    }

    /// Moves the payload of the last frame out and gives `spare` memory for the next one.
    pub(super) fn swap_payload(&mut self, spare: &mut Vec<u8>) {
        std::mem::swap(&mut self.payload, spare);
    }

    fn receive_frame(&mut self) -> Result<u8> {
        let mut header = [0; HEADER_BYTES];
        fill(&mut self.stream, &mut header)?;
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length > self.frame_bytes_max {
            return Err(breach(format!(
                "a frame of {length} bytes, the limit is {}",
                self.frame_bytes_max
            )));
        }
        if self.payload.capacity() > KEPT_BYTES_MAX && length < KEPT_BYTES_MAX {
            self.payload = Vec::new();
        }
        let mut filled = 0;
        while filled < length {
            let end = length.min(filled + READ_STEP_BYTES);
            // What is there of the last frame is overwritten; zeroes cost time.
            if self.payload.len() < end {
                self.payload.resize(end, 0);
            }
            fill(&mut self.stream, &mut self.payload[filled..end])?;
            filled = end;
        }
        self.payload.truncate(length);
        Ok(header[4])
    }
}

fn fill(stream: &mut BufReader<UnixStream>, to: &mut [u8]) -> Result<()> {
    stream.read_exact(to).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => cut(),
        _ => lost("receive from the helper", &error),
    })
}

/// The header of a frame.
pub(super) fn frame_header(kind: u8, length: usize) -> Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(length)
        .ok()
        .filter(|length| *length as usize <= protocol::FRAME_BYTES_MAX)
        .ok_or_else(|| {
            Error::new(Kind::Limit, "send to the helper", format!("a frame of {length} bytes"))
        })?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([a, b, c, d, kind])
}

fn cut() -> Error {
    Error::new(Kind::HelperLost, "receive from the helper", "the helper's stream broke off")
}

fn lost(operation: &'static str, error: &std::io::Error) -> Error {
    let message = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "the helper gives no sign of life".to_owned()
        }
        _ => error.to_string(),
    };
    Error::new(Kind::HelperLost, operation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        (Connection::new(ours, 1 << 20, SHORT).expect("a connection"), theirs)
    }

    #[test]
    fn a_silent_helper_is_an_error_and_not_a_hang() {
        let (mut connection, _theirs) = pair();
        assert_eq!(connection.receive().expect_err("silence").kind(), Kind::HelperLost);
    }

    #[test]
    fn a_sign_of_life_is_waited_through() {
        let (mut connection, mut theirs) = pair();
        for _ in 0..3 {
            theirs.write_all(&frame_header(kind::WORKING, 0).expect("small")).expect("sent");
        }
        theirs.write_all(&frame_header(kind::DONE, 0).expect("small")).expect("sent");
        assert!(connection.answer("close", kind::DONE).expect("an answer").is_empty());
    }

    #[test]
    fn a_stream_that_breaks_off_anywhere_is_lost() {
        let whole = [0, 0, 0, 3, kind::VALUE, b'o', b'n', b'e'];
        for cut in 0..whole.len() {
            let (mut connection, mut theirs) = pair();
            theirs.write_all(&whole[..cut]).expect("sent");
            drop(theirs);
            let error = connection.receive().expect_err("cut");
            assert_eq!(error.kind(), Kind::HelperLost, "cut to {cut} bytes");
        }
    }

    #[test]
    fn frames_that_arrive_together_or_in_pieces_are_the_same_frames() {
        let payloads = [&b"one"[..], b"", &[7; 40_000], b"four"];
        let mut sent = Vec::new();
        for payload in payloads {
            sent.extend(frame_header(kind::VALUE, payload.len()).expect("small"));
            sent.extend_from_slice(payload);
        }
        for piece in [sent.len(), 1, 3, 16_384] {
            let (mut connection, mut theirs) = pair();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for bytes in sent.chunks(piece) {
                        theirs.write_all(bytes).expect("sent");
                    }
                });
                for payload in payloads {
                    let received = connection.answer("get", kind::VALUE).expect("a frame");
                    assert_eq!(received, payload, "in pieces of {piece}");
                }
            });
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_before_memory_is_claimed() {
        let (mut connection, mut theirs) = pair();
        theirs.write_all(&[0xff, 0xff, 0xff, 0xff, kind::DATA]).expect("sent");
        assert_eq!(connection.receive().expect_err("too long").kind(), Kind::Protocol);
        assert_eq!(connection.payload.capacity(), 0);
    }

    #[test]
    fn an_answer_of_another_kind_is_a_breach() {
        let (mut connection, mut theirs) = pair();
        theirs.write_all(&frame_header(kind::ABSENT, 0).expect("small")).expect("sent");
        let error = connection.answer("close", kind::DONE).expect_err("another kind");
        assert_eq!(error.kind(), Kind::Protocol);
    }
}
