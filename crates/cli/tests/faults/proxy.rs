//! A helper that stands before the real one and spoils one frame (docs/formats/driver-protocol.md).
//!
//! It is started as the helper: its standard input is the control socket, over which it is handed
//! the others. For each of them it makes a pair, hands the real helper one end, and passes frames
//! on between the two.

use crate::shared::Dice;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// First argument of a proxy; then follow the real helper, the folder for its notes, and what it
/// spoils.
pub(crate) const MARK: &str = "--proxy";

const HEADER_BYTES: usize = 5;
const KIND_AT: usize = 4;
const ATTACH: u8 = 0x02;
const ERROR: u8 = 0xff;
/// How late a frame may come.
const LATE: Duration = Duration::from_millis(300);

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToHelper,
    FromHelper,
}

/// What happens to the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// One bit of kind or payload is flipped.
    Flips,
    /// Its payload is something else.
    IsGarbage,
    /// It comes twice.
    Repeats,
    /// Its first half comes, and then the socket's end.
    BreaksOff,
    /// An error comes instead.
    IsError,
    /// The helper is killed.
    Kills,
    /// It comes late.
    Delays,
    /// It never comes.
    Vanishes,
    /// It says that it is longer than it is.
    Grows,
    /// Nothing ever comes again.
    Hangs,
}

/// Those that are noticed at once, and those that are noticed by a silence.
pub(crate) const LOUD: [Trouble; 7] = [
    Trouble::Flips,
    Trouble::IsGarbage,
    Trouble::Repeats,
    Trouble::BreaksOff,
    Trouble::IsError,
    Trouble::Kills,
    Trouble::Delays,
];
pub(crate) const SILENT: [Trouble; 3] = [Trouble::Vanishes, Trouble::Grows, Trouble::Hangs];

/// One frame of one helper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoil {
    /// The helper, counted from 0 in the order in which they are started.
    pub(crate) helper: u64,
    pub(crate) way: Way,
    /// The frame, counted from 0 over all its sockets.
    pub(crate) frame: u64,
    pub(crate) trouble: Trouble,
    pub(crate) seed: u64,
}

impl Spoil {
    pub(crate) fn in_words(&self) -> String {
        let Self { helper, way, frame, trouble, seed } = self;
        format!("{helper} {way:?} {frame} {trouble:?} {seed}")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next();
        let helper = word()?.parse().ok()?;
        let way = [Way::ToHelper, Way::FromHelper];
        let named = word()?;
        let way = way.into_iter().find(|way| format!("{way:?}") == named)?;
        let frame = word()?.parse().ok()?;
        let named = word()?;
        let mut troubles = LOUD.into_iter().chain(SILENT);
        let trouble = troubles.find(|trouble| format!("{trouble:?}") == named)?;
        Some(Self { helper, way, frame, trouble, seed: word()?.parse().ok()? })
    }
}

/// Frames that a helper got and gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    pub(crate) to_helper: u64,
    pub(crate) from_helper: u64,
}

/// What the helpers of a run without spoils have noted, one after the other.
pub(crate) fn census(notes: &Path) -> Vec<Frames> {
    (0..)
        .map_while(|helper| std::fs::read_to_string(notes.join(format!("frames-{helper}"))).ok())
        .map(|text| {
            let mut counts = text.split(' ').map(|word| word.parse().unwrap());
            Frames { to_helper: counts.next().unwrap(), from_helper: counts.next().unwrap() }
        })
        .collect()
}

/// Whether a frame was spoiled.
pub(crate) fn was_hit(notes: &Path) -> bool {
    notes.join("hit").exists()
}

struct Proxy {
    spoil: Option<Spoil>,
    notes: std::path::PathBuf,
    child: Mutex<Child>,
    counts: [AtomicU64; 2],
}

/// Runs the proxy until its standard input ends.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [helper, notes, spoil] = arguments else { return ExitCode::FAILURE };
    let notes = Path::new(notes).to_owned();
    // Whose number is free is the next helper.
    let number = (0..u64::MAX)
        .find(|number| File::create_new(notes.join(format!("started-{number}"))).is_ok())
        .unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(helper).stdin(OwnedFd::from(theirs)).spawn().unwrap();
    let proxy = Arc::new(Proxy {
        spoil: Spoil::parse(spoil).filter(|spoil| spoil.helper == number),
        notes,
        child: Mutex::new(child),
        counts: Default::default(),
    });
    let stdin = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    {
        let (proxy, from, to) =
            (Arc::clone(&proxy), ours.try_clone().unwrap(), stdin.try_clone().unwrap());
        std::thread::spawn(move || proxy.pump(from, to, Way::FromHelper));
    }
    proxy.control(&stdin, &ours);
    let _ = ours.shutdown(Shutdown::Both);
    let status = proxy.child.lock().unwrap().wait().unwrap();
    let [to_helper, from_helper] = &proxy.counts;
    let counts = [to_helper, from_helper].map(|count| count.load(Ordering::SeqCst).to_string());
    std::fs::write(proxy.notes.join(format!("frames-{number}")), counts.join(" ")).unwrap();
    ExitCode::from(u8::try_from(status.code().unwrap_or(9)).unwrap_or(9))
}

impl Proxy {
    /// Passes on what comes over the control socket, until it ends.
    fn control(self: &Arc<Self>, from: &UnixStream, to: &UnixStream) {
        let mut sockets: Vec<OwnedFd> = Vec::new();
        let mut bytes = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(
                from,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            let count = match received {
                Ok(received) if received.bytes > 0 => received.bytes,
                _ => return,
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    sockets.extend(rights);
                }
            }
            bytes.extend_from_slice(&buffer[..count]);
            while let Some(frame) = take_frame(&mut bytes) {
                if frame[KIND_AT] == ATTACH && !sockets.is_empty() {
                    self.attach(UnixStream::from(sockets.remove(0)), &frame, to);
                } else {
                    self.pass(frame, &mut &*to, Way::ToHelper);
                }
            }
        }
    }

    /// Makes a pair for an attached socket.
    fn attach(self: &Arc<Self>, theirs: UnixStream, frame: &[u8], control: &UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let rights = [far.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&rights)));
        // A helper that is gone takes no socket; whoever waits on it sees its end.
        let sent = sendmsg(control, &[IoSlice::new(frame)], &mut ancillary, SendFlags::NOSIGNAL);
        if sent.is_err() {
            let _ = theirs.shutdown(Shutdown::Both);
            return;
        }
        for (from, to, way) in [(&theirs, &near, Way::ToHelper), (&near, &theirs, Way::FromHelper)]
        {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let proxy = Arc::clone(self);
            std::thread::spawn(move || proxy.pump(from, to, way));
        }
    }

    /// Passes on frames until their end.
    fn pump(&self, mut from: UnixStream, mut to: UnixStream, way: Way) {
        while let Some(frame) = read_frame(&mut from) {
            if !self.pass(frame, &mut to, way) {
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Passes on one frame; `false` when no more may follow.
    fn pass(&self, mut frame: Vec<u8>, to: &mut impl Write, way: Way) -> bool {
        let number = self.counts[way as usize].fetch_add(1, Ordering::SeqCst);
        let hit = |spoil: &&Spoil| spoil.way == way && spoil.frame == number;
        let Some(spoil) = self.spoil.as_ref().filter(hit) else {
            return to.write_all(&frame).is_ok();
        };
        File::create(self.notes.join("hit")).unwrap();
        let mut dice = Dice(spoil.seed);
        match spoil.trouble {
            Trouble::Flips => {
                let bits = (frame.len() - KIND_AT) as u64 * 8;
                let bit = usize::try_from(dice.roll(bits)).unwrap();
                frame[KIND_AT + bit / 8] ^= 1 << (bit % 8);
            }
            Trouble::IsGarbage => {
                let payload = &mut frame[HEADER_BYTES..];
                payload.fill_with(|| u8::try_from(dice.roll(256)).unwrap());
            }
            Trouble::Repeats => frame.extend(frame.clone()),
            Trouble::BreaksOff => {
                let _ = to.write_all(&frame[..frame.len() / 2]);
                return false;
            }
            Trouble::IsError => frame = error_frame(&mut dice),
            Trouble::Kills => {
                let _ = self.child.lock().unwrap().kill();
                std::process::exit(9);
            }
            Trouble::Delays => std::thread::sleep(LATE),
            Trouble::Vanishes => return true,
            Trouble::Grows => {
                let claimed = u32::try_from(frame.len()).unwrap() + 1000;
                frame[..KIND_AT].copy_from_slice(&claimed.to_be_bytes());
            }
            Trouble::Hangs => loop {
                std::thread::park();
            },
        }
        to.write_all(&frame).is_ok()
    }
}

/// An error of any kind, by which the helper says that something was or may have been done.
fn error_frame(dice: &mut Dice) -> Vec<u8> {
    let mut payload =
        vec![u8::try_from(dice.roll(13)).unwrap(), u8::try_from(dice.roll(2)).unwrap()];
    for text in ["work", "an error that nobody made"] {
        payload.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        payload.extend(text.as_bytes());
    }
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.push(ERROR);
    frame.extend(payload);
    frame
}

fn frame_bytes(header: &[u8]) -> usize {
    let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    HEADER_BYTES + usize::try_from(length).unwrap()
}

/// The first whole frame.
fn take_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = frame_bytes(bytes.get(..HEADER_BYTES)?);
    (bytes.len() >= length).then(|| bytes.drain(..length).collect())
}

fn read_frame(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    from.read_exact(&mut frame).ok()?;
    frame.resize(frame_bytes(&frame), 0);
    from.read_exact(&mut frame[HEADER_BYTES..]).ok()?;
    Some(frame)
}
