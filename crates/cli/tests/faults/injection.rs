//! System calls that fail or lie, by `strace`: it lets the n-th call of a name in a thread, of
//! transload or of its helper, answer something without being made.

use crate::program::Run;
use crate::settings::pick;
use crate::shared::Dice;
use crate::ward::Ward;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A call, the errors that a bad disk or a full one gives it, and the lies that it can tell.
struct Call {
    name: &'static str,
    errors: &'static [&'static str],
    /// Return values without the deed: bytes that weren't read or written, a sync that wasn't
    /// made, a folder that ends early.
    lies: &'static [&'static str],
}

const fn call(
    name: &'static str,
    errors: &'static [&'static str],
    lies: &'static [&'static str],
) -> Call {
    Call { name, errors, lies }
}

const READS: &[&str] = &["EIO", "EINTR", "ENOMEM"];
const WRITES: &[&str] = &["EIO", "ENOSPC", "EROFS", "EDQUOT", "EINTR"];
const NAMES: &[&str] = &["EIO", "ENOSPC", "EROFS", "EACCES"];
const SOCKETS: &[&str] = &["ECONNRESET", "EPIPE", "EINTR"];
/// No call is asked for less than one byte; an answer of more than it was asked for is no lie but
/// a broken kernel.
const SHORT: &[&str] = &["0", "1"];

/// `close` isn't among them: Rust's library takes an error of closing a folder for a bug.
const CALLS: &[Call] = &[
    call("openat", &["EIO", "EACCES", "EMFILE", "ENOSPC", "EROFS"], &[]),
    call("read", READS, SHORT),
    call("pread64", READS, SHORT),
    call("statx", &["EIO", "EACCES"], &[]),
    call("newfstatat", &["EIO"], &[]),
    call("fstat", &["EIO"], &[]),
    call("getdents64", &["EIO"], &["0"]),
    call("readlink", &["EIO"], &[]),
    call("readlinkat", &["EIO"], &[]),
    call("lseek", &["EIO"], &[]),
    call("write", WRITES, SHORT),
    call("writev", WRITES, SHORT),
    call("pwrite64", WRITES, SHORT),
    call("fsync", &["EIO", "ENOSPC", "EROFS"], &["0"]),
    call("fdatasync", &["EIO", "ENOSPC", "EROFS"], &["0"]),
    call("sync_file_range", &["EIO"], &["0"]),
    call("ftruncate", &["EIO", "ENOSPC", "EROFS"], &[]),
    call("fallocate", &["EIO", "ENOSPC", "EOPNOTSUPP"], &[]),
    call("copy_file_range", &["EIO", "ENOSPC"], &[]),
    call("rename", NAMES, &[]),
    call("renameat", NAMES, &[]),
    call("renameat2", NAMES, &[]),
    call("link", NAMES, &[]),
    call("linkat", NAMES, &[]),
    call("mkdir", NAMES, &[]),
    call("mkdirat", NAMES, &[]),
    call("unlink", NAMES, &[]),
    call("unlinkat", NAMES, &[]),
    call("rmdir", NAMES, &[]),
    call("chmod", NAMES, &[]),
    call("fchmod", NAMES, &[]),
    call("fchmodat", NAMES, &[]),
    call("fchown", NAMES, &[]),
    call("utimensat", NAMES, &[]),
    call("fsetxattr", NAMES, &[]),
    call("flistxattr", &["EIO"], &[]),
    call("flock", &["EIO", "ENOLCK"], &[]),
    call("fcntl", &["EMFILE", "ENOLCK", "EIO"], &[]),
    call("statfs", &["EIO"], &[]),
    call("sendto", SOCKETS, SHORT),
    call("recvfrom", SOCKETS, SHORT),
    call("sendmsg", SOCKETS, &[]),
    call("recvmsg", SOCKETS, &[]),
];

/// How often a thread makes each call, at most, in a run without faults.
#[derive(Debug)]
pub(crate) struct Census(BTreeMap<&'static str, u64>);

impl Census {
    /// Counts the calls of a command.
    pub(crate) fn of(ward: &Ward, command: &str, options: &[&str]) -> Self {
        let home = ward.home();
        let words = [&[command, home.to_str().unwrap()], options].concat();
        Self::of_words(ward, &words)
    }

    /// As [`Census::of`], with every word of the command line given.
    pub(crate) fn of_words(ward: &Ward, words: &[&str]) -> Self {
        let log = ward.beside("calls");
        let names: Vec<String> = CALLS.iter().map(|call| format!("?{}", call.name)).collect();
        let run = ward.run_words(&strace(&log, &[format!("trace={}", names.join(","))]), words);
        assert_eq!(run.code, Some(0), "{words:?} without faults: {}", run.in_words());
        let mut counts: HashMap<(&str, &str), u64> = HashMap::new();
        let text = std::fs::read_to_string(&log).unwrap();
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
            *counts.entry((thread, name)).or_default() += 1;
        }
        let most = |name: &str| {
            counts.iter().filter(|((_, other), _)| *other == name).map(|(_, count)| *count).max()
        };
        Self(CALLS.iter().filter_map(|call| Some((call.name, most(call.name)?))).collect())
    }

    /// In words.
    pub(crate) fn in_words(&self) -> String {
        let calls: Vec<String> =
            self.0.iter().map(|(name, count)| format!("{name} {count}")).collect();
        calls.join(", ")
    }
}

/// What one run suffers.
#[derive(Debug)]
pub(crate) struct Injection {
    /// As `strace` is told.
    pub(crate) text: String,
    name: &'static str,
    /// Whether a call says something else than what happened.
    pub(crate) lies: bool,
}

impl Injection {
    /// One of those that the calls of a census can suffer.
    pub(crate) fn roll(census: &Census, dice: &mut Dice) -> Self {
        let calls: Vec<&Call> =
            CALLS.iter().filter(|call| census.0.contains_key(call.name)).collect();
        let call = pick(dice, &calls);
        let number = 1 + dice.roll(census.0[call.name]);
        let lies = !call.lies.is_empty() && dice.roll(3) == 0;
        let (fault, can_last) = if lies {
            (format!("retval={}", pick(dice, call.lies)), false)
        } else if dice.roll(20) == 0 {
            ("delay_enter=200ms".to_owned(), false)
        } else {
            let error = *pick(dice, call.errors);
            // A call that is always interrupted is always tried again, as it should be.
            (format!("error={error}"), error != "EINTR")
        };
        // On a disk that died all later calls fail too.
        let from_then_on = if can_last && dice.roll(3) == 0 { "+" } else { "" };
        let text = format!("{}:{fault}:when={number}{from_then_on}", call.name);
        Self { text, name: call.name, lies }
    }

    /// The words before the program's name.
    pub(crate) fn words(&self, log: &Path) -> Vec<String> {
        strace(log, &[format!("trace={}", self.name), format!("inject={}", self.text)])
    }

    /// How many calls suffered.
    pub(crate) fn struck(log: &Path) -> u64 {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"))
            .count() as u64
    }
}

fn strace(log: &Path, expressions: &[String]) -> Vec<String> {
    let log = log.display().to_string();
    let mut words: Vec<String> =
        ["strace", "-qq", "-f", "--seccomp-bpf", "-e", "signal=none", "-s", "0", "-o", &log]
            .map(str::to_owned)
            .into();
    for expression in expressions {
        words.extend(["-e".to_owned(), expression.clone()]);
    }
    words.push("--".to_owned());
    words
}

/// Whether a process was stopped by its loader, before transload itself had begun.
pub(crate) fn by_the_loader(run: &Run) -> bool {
    run.code == Some(127) && run.said.contains("shared librar")
}
