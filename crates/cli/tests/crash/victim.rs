//! A home that is migrated by processes which are killed.

use crate::contents::Contents;
use crate::steps::Steps;
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpgid, waitpid,
};
use serde_json::Value;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The home: four databases that the config governs, goleveldb.
const HOME: &str = "cometbft-0.38-kvstore";

/// A process that its parent has left behind must be gone by then.
const SURVIVORS_GONE: Duration = Duration::from_secs(30);

/// A stopped process that hasn't ended by then when it may go on doesn't end.
const ENDED: Duration = Duration::from_secs(120);

/// A fresh copy of the home, and a folder for what is written about it.
#[derive(Debug)]
pub(crate) struct Victim(TempDir, TempDir);

/// A process that has stopped at a step and holds what it holds.
#[derive(Debug)]
pub(crate) struct Stopped {
    child: Child,
    process: Pid,
}

/// How a watched process ended, and the steps that it took before.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; `None` when it was killed.
    pub(crate) code: Option<i32>,
    /// Its steps.
    pub(crate) steps: Steps,
    /// What it said on standard error.
    pub(crate) said: String,
}

/// Makes the helpers of killed processes our children, so that they can be waited for.
pub(crate) fn adopt_orphans() {
    set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

impl Victim {
    /// Unpacks the home.
    pub(crate) fn new() -> Self {
        Self::on(&crate::victims::scratch())
    }

    /// Unpacks the home below a folder.
    pub(crate) fn on(disk: &Path) -> Self {
        Self::unpacked(HOME, disk)
    }

    /// Unpacks another home than the usual one.
    pub(crate) fn of(name: &str) -> Self {
        Self::unpacked(name, &crate::victims::scratch())
    }

    fn unpacked(name: &str, disk: &Path) -> Self {
        let homes = std::env::var_os("TRANSLOAD_HOMES")
            .expect("TRANSLOAD_HOMES is not set: run `cargo xtask test --lane crash`");
        let folder = tempfile::Builder::new().prefix("transload-crash-").tempdir_in(disk).unwrap();
        let archive = Path::new(&homes).join(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(archive).arg("-C").arg(folder.path());
        assert!(tar.status().unwrap().success());
        Self(folder, tempfile::tempdir_in(crate::victims::scratch()).unwrap())
    }

    /// A home that is, byte by byte and time by time, another one's.
    pub(crate) fn like(other: &Self) -> Self {
        let scratch = crate::victims::scratch();
        let folder =
            tempfile::Builder::new().prefix("transload-crash-").tempdir_in(&scratch).unwrap();
        let copied = Command::new("cp").arg("-a").arg(other.home()).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        Self(folder, tempfile::tempdir_in(scratch).unwrap())
    }

    /// The home's path.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap().join("home")
    }

    /// What a command of the real program prints for a person.
    pub(crate) fn text(&self, command: &str) -> String {
        let mut program = Command::new(env!("CARGO_BIN_EXE_transload"));
        program.arg(command).arg(self.home()).stdin(Stdio::null());
        String::from_utf8_lossy(&program.output().unwrap().stdout).into_owned()
    }

    /// A copy of the home beside it, in the place of the last one.
    pub(crate) fn copied(&self) -> PathBuf {
        let copy = self.0.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let copied = Command::new("cp").arg("-a").arg(self.home()).arg(&copy).status().unwrap();
        assert!(copied.success());
        copy
    }

    /// What is in the home.
    pub(crate) fn contents(&self) -> Contents {
        Contents::of(&self.home())
    }

    /// Runs a command in a process that kills itself at the `step`-th durable step; 0 for never.
    pub(crate) fn doomed(&self, step: u64, command: &str, options: &[&str]) -> Run {
        self.signalled(Signal::KILL, step, command, options)
    }

    /// Runs a command in a process that sends itself a signal at the `step`-th durable step.
    pub(crate) fn signalled(
        &self,
        signal: Signal,
        step: u64,
        command: &str,
        options: &[&str],
    ) -> Run {
        let home = self.home();
        let words = [&[command, home.to_str().unwrap()], options].concat();
        self.signalled_words(signal, step, &words)
    }

    /// Starts a command in a process that stops at the `step`-th durable step, and waits for
    /// that; `None` when it has come to its end before.
    pub(crate) fn stopped(&self, step: u64, command: &str, options: &[&str]) -> Option<Stopped> {
        let home = self.home();
        let words = [&[command, home.to_str().unwrap()], options].concat();
        let child = self.spawn(&mut self.signalled_command(Signal::STOP, step, &words));
        let process = Pid::from_child(&child);
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED).unwrap().expect("a status");
        status.stopped().then_some(Stopped { child, process })
    }

    /// Lets a stopped process go on to its end.
    pub(crate) fn goes_on(&self, stopped: Stopped) -> Run {
        let Stopped { mut child, process } = stopped;
        kill_process(process, Signal::CONT).unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > ENDED {
                // Whatever it waits for doesn't come.
                child.kill().unwrap();
                panic!("it doesn't end: {}", std::fs::read_to_string(self.words()).unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let steps = self.steps();
        Run { steps, ..self.ended(child) }
    }

    /// As [`Victim::doomed`], with every word of the command line given.
    pub(crate) fn doomed_words(&self, step: u64, words: &[&str]) -> Run {
        self.signalled_words(Signal::KILL, step, words)
    }

    /// What this process and its victims write beside the home, on a disk that is never full.
    fn beside(&self, name: &str) -> PathBuf {
        self.1.path().join(name)
    }

    fn steps(&self) -> Steps {
        Steps::read(&std::fs::read_to_string(self.beside("steps")).unwrap_or_default())
    }

    fn signalled_command(&self, signal: Signal, step: u64, words: &[&str]) -> Command {
        let names = self.beside("steps");
        // What an earlier process wrote doesn't count.
        let _ = std::fs::remove_file(&names);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([crate::doomed::MARK, &signal.as_raw().to_string(), &step.to_string()])
            .arg(&names)
            .args(words);
        command
    }

    fn signalled_words(&self, signal: Signal, step: u64, words: &[&str]) -> Run {
        let (status, said) = self.run(&mut self.signalled_command(signal, step, words));
        let steps = self.steps();
        if status.code().is_none() {
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{words:?}: {said}");
        }
        Run { code: status.code(), steps, said }
    }

    /// Runs a command in a process that nobody kills and that must do its work.
    pub(crate) fn unharmed(&self, command: &str, options: &[&str], when: &str) -> Steps {
        let run = self.doomed(0, command, options);
        assert_eq!(run.code, Some(0), "{command} after {when}: {}", run.said);
        run.steps
    }

    /// The dataset root, as the real program computes it.
    pub(crate) fn root(&self, when: &str) -> String {
        let document = self.document("root");
        let root = document["dataset_root"].as_str();
        root.unwrap_or_else(|| panic!("root after {when}: {document}")).to_owned()
    }

    /// The document that a command of the real program prints.
    pub(crate) fn document(&self, command: &str) -> Value {
        let mut program = Command::new(env!("CARGO_BIN_EXE_transload"));
        program.arg(command).arg(self.home()).arg("--json").stdin(Stdio::null());
        serde_json::from_slice(&program.output().unwrap().stdout).unwrap_or(Value::Null)
    }

    /// Runs a process to its end, in a group of its own, and checks that nobody of the group
    /// lives on.
    fn run(&self, command: &mut Command) -> (ExitStatus, String) {
        let child = self.spawn(command);
        self.end(child)
    }

    fn spawn(&self, command: &mut Command) -> Child {
        // Files, not pipes: a helper that lives on would hold a pipe open.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.words()).unwrap())
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn end(&self, mut child: Child) -> (ExitStatus, String) {
        let group = Pid::from_child(&child);
        let status = child.wait().unwrap();
        nobody_survives(group);
        let said = std::fs::read(self.words()).unwrap();
        (status, String::from_utf8_lossy(&said).into_owned())
    }

    fn words(&self) -> PathBuf {
        self.beside("words")
    }

    /// Starts a command of the real program, in a process group of its own.
    pub(crate) fn start(&self, command: &str, options: &[&str]) -> Child {
        let mut program = Command::new(env!("CARGO_BIN_EXE_transload"));
        self.spawn(program.arg(command).arg(self.home()).args(options))
    }

    /// Waits for the end of a started command and of its helpers.
    pub(crate) fn ended(&self, child: Child) -> Run {
        let (status, said) = self.end(child);
        Run { code: status.code(), steps: Steps::default(), said }
    }

    /// Runs a command of the real program to its end.
    pub(crate) fn real(&self, command: &str, options: &[&str]) -> Run {
        self.ended(self.start(command, options))
    }
}

/// Waits for the end of whoever is left in a process group whose leader is gone.
fn nobody_survives(group: Pid) {
    let began = Instant::now();
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Err(rustix::io::Errno::CHILD) => return,
            Ok(Some(_)) => {}
            Ok(None) => {
                assert!(began.elapsed() < SURVIVORS_GONE, "a helper outlives its transload");
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("waiting for helpers: {error}"),
        }
    }
}
