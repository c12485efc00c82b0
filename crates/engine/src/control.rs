//! The control socket of a running migration: `.transload/control.sock`, mode 0600, JSON lines.
//!
//! A request is one line, `{"command":"halt"}`, `{"command":"status"}` or
//! `{"command":"throttle", ...}` with the limits to change; the answer is one line. The socket is
//! reached through its folder's descriptor, so that a home with a long path doesn't exceed the
//! 108 bytes of a socket address.

use crate::error::{Error, Kind, Result};
use crate::pacing::PaceChange;
use crate::status::{Status, StatusFile, StatusPace};
use crate::watch::Cancel;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use transload_observe::PaceLimits;

/// A request may not be longer.
const REQUEST_BYTES_MAX: u64 = 4 << 10;

/// An answer may not be longer: the status with its chunk maps.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Who doesn't speak for this long is hung up on.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long the server rests when a connection can't be taken: every descriptor is in use.
const REST: Duration = Duration::from_millis(50);

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command", deny_unknown_fields)]
pub enum Request {
    /// Stop at the next good place.
    Halt,
    /// Tell the status.
    Status,
    /// Change the limits on the pace; without any, only tell them.
    Throttle(PaceChange),
}

/// Changes the limits on the pace for good, and tells those in force then.
pub type ChangePace = Box<dyn Fn(PaceChange) -> Result<PaceLimits> + Send>;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// The migration will stop; a swap that is going on is ended first.
    Halting,
    /// The status.
    Status {
        /// It.
        status: Box<Status>,
    },
    /// The limits in force, and what workers wait for.
    Throttle(StatusPace),
    /// The request was understood, and nothing was changed.
    Refused {
        /// Why.
        why: String,
    },
    /// The request was not understood.
    NotUnderstood {
        /// Why.
        why: String,
    },
}

/// The socket's name in the state folder.
const SOCKET: &str = "control.sock";

/// A path to the socket that is short whatever the folder's is, valid while the file is open.
fn short_path(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

/// Serves the control socket until it is dropped.
pub struct ControlServer {
    path: PathBuf,
    /// The server ends when this end of a pair is closed.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Starts serving. The caller owns the journal, so a socket that is there already is a dead
    /// process's and is replaced.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the socket can't be made.
    pub fn start(
        state_dir: &Path,
        cancel: Cancel,
        status: Arc<StatusFile>,
        change_pace: ChangePace,
    ) -> Result<Self> {
        let path = state_dir.join(SOCKET);
        let refused = |error: std::io::Error| {
            Error::new(Kind::Refused, "open the control socket", error.to_string())
                .with("path", path.display().to_string())
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(refused(error));
            }
            _ => {}
        }
        let folder = File::open(state_dir).map_err(refused)?;
        let listener = UnixListener::bind(short_path(&folder)).map_err(refused)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let (wake, end) = UnixStream::pair().map_err(refused)?;
        let thread = std::thread::spawn(move || {
            while is_called(&listener, &end) {
                match listener.accept() {
                    // One request after another: they are few and small.
                    Ok((stream, _)) => {
                        let _ = answer(&stream, &cancel, &status, &change_pace);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => std::thread::sleep(REST),
                }
            }
        });
        Ok(Self { path, wake: Some(wake), thread: Some(thread) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits for somebody who calls; whether the server goes on.
fn is_called(listener: &UnixListener, end: &UnixStream) -> bool {
    let mut both = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN),
    ];
    if poll(&mut both, None).is_err() {
        std::thread::sleep(REST);
    }
    both[1].revents().is_empty()
}

fn answer(
    stream: &UnixStream,
    cancel: &Cancel,
    status: &StatusFile,
    change_pace: &ChangePace,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Halt) => {
            cancel.ask();
            Answer::Halting
        }
        Ok(Request::Status) => Answer::Status { status: Box::new(status.status()) },
        Ok(Request::Throttle(change)) => match change_pace(change) {
            Ok(limits) => Answer::Throttle(StatusPace { limits, ..status.status().pace }),
            Err(error) => Answer::Refused { why: error.to_string() },
        },
        Err(error) => Answer::NotUnderstood { why: error.to_string() },
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    let mut stream = stream;
    stream.write_all(&bytes)
}

/// Asks the process that runs the migration of a home.
///
/// # Errors
/// [`Kind::Refused`] when no process runs it, or it gives no answer.
pub fn ask(state_dir: &Path, request: Request) -> Result<Answer> {
    let refused = |message: String| {
        Error::new(Kind::Refused, "ask the running transload", message)
            .with("path", state_dir.display().to_string())
            .next("`transload status HOME` shows where the migration stands")
    };
    let silent = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            refused("no transload runs on this home".into())
        }
        _ => refused(error.to_string()),
    };
    let folder = File::open(state_dir).map_err(silent)?;
    let mut stream = UnixStream::connect(short_path(&folder)).map_err(silent)?;
    let io = |error: std::io::Error| refused(error.to_string());
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(io)?;
    stream.set_write_timeout(Some(SILENCE_MAX)).map_err(io)?;
    let mut line = serde_json::to_vec(&request).map_err(|error| refused(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(io)?;
    let mut text = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut text).map_err(io)?;
    serde_json::from_str(&text).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacing::Pacing;
    use crate::phase::{Phase, State};

    /// Nothing has a pace here.
    fn no_change() -> ChangePace {
        Box::new(|_| Ok(PaceLimits::default()))
    }

    fn status(folder: &Path) -> Arc<StatusFile> {
        Arc::new(StatusFile::new(folder, State::In(Phase::Copying), 1, "digest"))
    }

    #[test]
    fn a_halt_reaches_the_running_process_also_below_a_long_path() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let cancel = Cancel::new();
        let server = ControlServer::start(&long, cancel.clone(), status(&long), no_change());
        let server = server.unwrap();
        let mode = fs::metadata(long.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        match ask(&long, Request::Status).unwrap() {
            Answer::Status { status } => assert_eq!(status.phase, "copying"),
            other => panic!("{other:?}"),
        }
        assert!(!cancel.is_asked());
        assert_eq!(ask(&long, Request::Halt).unwrap(), Answer::Halting);
        assert!(cancel.is_asked());
        drop(server);
        assert_eq!(ask(&long, Request::Halt).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn garbage_is_answered_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let status = status(folder.path());
        let deaf: ChangePace = Box::new(|change| panic!("{change:?}"));
        let _server = ControlServer::start(folder.path(), cancel.clone(), status, deaf).unwrap();
        for garbage in [
            "\n",
            "{\"command\":\"explode\"}\n",
            "{\"command\":\"throttle\",\"speed\":\"9\"}\n",
            "{\"command\":\"throttle\",\"read_bytes_per_second_max\":\"-9\"}\n",
            &format!("{}\n", "x".repeat(9_000)),
        ] {
            let mut stream = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
            let _ = stream.write_all(garbage.as_bytes());
            let mut text = String::new();
            let _ = BufReader::new(&stream).read_line(&mut text);
            assert!(text.is_empty() || text.contains("not_understood"), "{text}");
        }
        assert!(!cancel.is_asked());
        assert!(matches!(ask(folder.path(), Request::Status), Ok(Answer::Status { .. })));
    }

    #[test]
    fn limits_are_changed_and_a_refusal_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let pacing = Pacing::default();
        let paced = pacing.clone();
        let change: ChangePace = Box::new(move |change| {
            let limits = change.of(paced.limits())?;
            paced.set(limits);
            Ok(limits)
        });
        let status = status(folder.path());
        let _server = ControlServer::start(folder.path(), Cancel::new(), status, change).unwrap();
        let wish = PaceChange { read_bytes_per_second_max: Some(1 << 20), ..PaceChange::default() };
        let limits = PaceLimits { read_bytes_per_second_max: 1 << 20, ..PaceLimits::default() };
        let told = Answer::Throttle(StatusPace { limits, waits: Vec::new() });
        for request in [wish, PaceChange::default()] {
            assert_eq!(ask(folder.path(), Request::Throttle(request)).unwrap(), told);
        }
        let nonsense = PaceChange { cpu_percent_max: Some(101), ..PaceChange::default() };
        match ask(folder.path(), Request::Throttle(nonsense)).unwrap() {
            Answer::Refused { why } => assert!(why.contains("cpu_percent_max"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(pacing.limits(), limits);
    }
}
