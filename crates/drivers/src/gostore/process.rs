//! The helper process: started, greeted, given sockets, ended.
//!
//! Its standard input is the control socket, whose end is the helper's end; requests travel on
//! sockets that are handed over it. Its standard error is kept, the last of it, for messages.

use super::connection::{Connection, frame_header};
use super::protocol::{
    self, CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX, VERSION, breach, decode_hello_reply, kind,
};
use super::{GostoreConfig, HelperInfo};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::collections::VecDeque;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use transload_store::{Error, Kind, Result};

/// How much of the helper's standard error is kept.
const STDERR_BYTES_KEPT: usize = 16 << 10;
/// How much of it goes into a message.
const STDERR_BYTES_SHOWN: usize = 2 << 10;
/// Idle sockets that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long the helper may take to end once its control socket has.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the end is looked for.
const END_POLL: Duration = Duration::from_millis(2);

/// A running helper.
pub(super) struct Process {
    running: Mutex<Option<Running>>,
    ended: Mutex<Option<ExitStatus>>,
    idle: Mutex<Vec<Connection>>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    info: HelperInfo,
    silence_timeout: Duration,
}

struct Running {
    child: Child,
    control: UnixStream,
    reader: JoinHandle<()>,
}

/// No lock here guards anything that a panic could leave half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// Starts the helper and says hello.
    pub(super) fn start(config: &GostoreConfig) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::io("start the helper", &config.helper, error);
            if is_missing {
                error.help(
                    "put transload-gostore, which `cargo xtask build-helper` builds, beside this \
                     program, or name it with --gostore",
                )
            } else {
                error
            }
        };
        let (control, theirs) = UnixStream::pair().map_err(failed)?;
        let mut child = Command::new(&config.helper)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env_clear()
            .current_dir("/")
            .spawn()
            .map_err(failed)?;
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let reader = keep_stderr(child.stderr.take(), Arc::clone(&stderr));
        let greeting = control.try_clone().map_err(failed);
        let mut process = Self {
            running: Mutex::new(Some(Running { child, control, reader })),
            ended: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
            stderr,
            info: HelperInfo { build: String::new(), engines: Vec::new() },
            silence_timeout: config.silence_timeout,
        };
        match greeting.and_then(|stream| greet(stream, config.hello_timeout)) {
            Ok(info) => process.info = info,
            Err(error) => {
                let path = config.helper.display().to_string();
                return Err(process.explain(error).with("helper", path));
            }
        }
        Ok(process)
    }

    pub(super) fn info(&self) -> &HelperInfo {
        &self.info
    }

    /// A request of one frame, answered by one frame of the kind that is `expected`.
    pub(super) fn request(
        &self,
        operation: &'static str,
        kind: u8,
        payload: &[u8],
        expected: u8,
    ) -> Result<Vec<u8>> {
        self.exchange(operation, kind, payload, |connection| {
            connection.answer(operation, expected).map(<[u8]>::to_vec)
        })
    }

    /// Sends a request and lets `answer` read what comes back.
    pub(super) fn exchange<T>(
        &self,
        operation: &'static str,
        kind: u8,
        payload: &[u8],
        answer: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection()?;
        let answered = match connection.send(kind, payload) {
            Ok(()) => answer(&mut connection),
            Err(error) => Err(connection.told(operation, error)),
        };
        match answered {
            Ok(value) => {
                self.give_back(connection);
                Ok(value)
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    /// A socket for requests, from those that are idle or a new one.
    pub(super) fn connection(&self) -> Result<Connection> {
        if let Some(connection) = locked(&self.idle).pop() {
            return Ok(connection);
        }
        self.attach().map_err(|error| self.explain(error))
    }

    /// Takes back a socket whose last answer was read to its end.
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }

    fn attach(&self) -> Result<Connection> {
        const OPERATION: &str = "attach a socket";
        let failed =
            |error: std::io::Error| Error::new(Kind::HelperLost, OPERATION, error.to_string());
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let header = frame_header(kind::ATTACH, 0)?;
        let sent = {
            let running = locked(&self.running);
            let control = match &*running {
                Some(running) => &running.control,
                None => {
                    return Err(Error::new(Kind::HelperLost, OPERATION, "the store is closed"));
                }
            };
            let rights = [theirs.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(&rights)) {
                return Err(breach("no room for a socket"));
            }
            sendmsg(control, &[IoSlice::new(&header)], &mut ancillary, SendFlags::NOSIGNAL)
        };
        match sent {
            Ok(bytes) if bytes == header.len() => {}
            Ok(_) => return Err(breach("the control socket takes no more frames")),
            Err(error) => return Err(failed(error.into())),
        }
        Connection::new(ours, FRAME_BYTES_MAX, self.silence_timeout)
    }

    /// Adds to an error about a lost helper how it ended and what it said last.
    pub(super) fn explain(&self, error: Error) -> Error {
        if !matches!(error.kind(), Kind::HelperLost) {
            return error;
        }
        // Its sockets end just before the process does, and its last words are read by another
        // thread: give both the time.
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut status = *locked(&self.ended);
        while Instant::now() < deadline {
            match &mut *locked(&self.running) {
                Some(running) => {
                    status = running.child.try_wait().ok().flatten();
                    if status.is_some() && running.reader.is_finished() {
                        break;
                    }
                }
                None => break,
            }
            std::thread::sleep(END_POLL);
        }
        let ended = status.map_or_else(|| "it is still running".to_owned(), describe);
        let kept = locked(&self.stderr);
        let shown: Vec<u8> =
            kept.iter().skip(kept.len().saturating_sub(STDERR_BYTES_SHOWN)).copied().collect();
        let error = error.with("helper process", ended);
        if shown.is_empty() {
            return error;
        }
        error.with("helper said", String::from_utf8_lossy(&shown).trim().to_owned())
    }

    /// Ends the helper, if it runs, and waits for it: kindly by its control socket, else by a
    /// kill. Afterwards it holds no lock any more.
    pub(super) fn end(&self) -> Option<ExitStatus> {
        let Some(running) = locked(&self.running).take() else {
            return *locked(&self.ended);
        };
        locked(&self.idle).clear();
        let Running { mut child, control, reader } = running;
        drop(control);
        let deadline = Instant::now() + END_TIMEOUT;
        let mut status = None;
        while status.is_none() && Instant::now() < deadline {
            status = child.try_wait().ok().flatten();
            if status.is_none() {
                std::thread::sleep(END_POLL);
            }
        }
        if status.is_none() {
            // It may have ended in between, and a kill of an ended child fails harmlessly.
            let _ = child.kill();
            status = child.wait().ok();
        }
        let _ = reader.join(); // it reads only, and ends with the process
        *locked(&self.ended) = status;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// What to do about a helper that speaks another version.
const OWN_HELPER: &str = "the helper is another release's: use the transload-gostore that belongs \
    to this transload (`cargo xtask build-helper` builds it, --gostore names it)";

/// Says hello on the control socket.
fn greet(stream: UnixStream, timeout: Duration) -> Result<HelperInfo> {
    let mut control = Connection::new(stream, CONTROL_FRAME_BYTES_MAX, timeout)?;
    // Nothing else of a hello can be unsupported.
    let helped = |error: Error| {
        if error.kind() == Kind::Unsupported { error.help(OWN_HELPER) } else { error }
    };
    if let Err(error) = control.send(kind::HELLO, &protocol::hello(VERSION, VERSION)) {
        return Err(helped(control.told("greet the helper", error)));
    }
    let reply = control.answer("greet the helper", kind::HELLO_REPLY).map_err(helped)?;
    let (version, info) = decode_hello_reply(reply)?;
    if version != VERSION {
        return Err(breach(format!("version {version} was chosen, {VERSION} was offered")));
    }
    // Nothing is read from the control socket any more; a later error there is told by its end.
    control.stream().set_read_timeout(None).map_err(|error| breach(error.to_string()))?;
    Ok(info)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

fn keep_stderr(pipe: Option<ChildStderr>, kept: Arc<Mutex<VecDeque<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let mut kept = locked(&kept);
            kept.extend(&buffer[..count]);
            let excess = kept.len().saturating_sub(STDERR_BYTES_KEPT);
            kept.drain(..excess);
        }
    })
}
