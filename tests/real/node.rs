//! A running node process: started, asked, and ended by its own id.

use crate::home::{NodeHome, folder_named_by};
use crate::rpc::Rpc;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A node that isn't at the height within this time is given up. Starting takes a second or
/// two; the rest is for machines that build something beside.
const HEIGHT_SECONDS_MAX: u64 = 180;

/// A node that doesn't stop within this time after SIGTERM is killed, and the test fails.
const STOP_SECONDS_MAX: u64 = 60;

/// How often a starting node is asked.
const PAUSE_MILLISECONDS: u64 = 100;

/// The node software that the lane builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Software {
    /// CometBFT 0.38 with its key-value app.
    CometBft038,
    /// CometBFT 1 with its key-value app.
    CometBft1,
    /// The Cosmos SDK app of ibc-go.
    Simapp,
    /// What follows simapp of SDK 0.46 after an upgrade: SDK 0.50, IAVL 1 and CometBFT 0.38.
    Successor,
}

impl Software {
    /// The program.
    pub(crate) fn program(self) -> PathBuf {
        let name = match self {
            Self::CometBft038 => "cometbft038",
            Self::CometBft1 => "cometbft1",
            Self::Simapp => "simapp",
            Self::Successor => "successor",
        };
        let program = folder_named_by("TRANSLOAD_NODES").join(name);
        assert!(program.is_file(), "{} isn't built", program.display());
        program
    }

    fn start_arguments(self, home: &NodeHome) -> Vec<String> {
        match self {
            Self::CometBft038 | Self::CometBft1 => vec!["start".into()],
            Self::Simapp => [
                "start",
                "--grpc.address",
                &format!("127.0.0.1:{}", home.grpc_port),
                "--api.enable=false",
                "--grpc-web.enable=false",
            ]
            .map(str::to_owned)
            .to_vec(),
            // It answers over the node's RPC alone.
            Self::Successor => {
                ["start", "--grpc.enable=false", "--api.enable=false", "--grpc-web.enable=false"]
                    .map(str::to_owned)
                    .to_vec()
            }
        }
    }
}

/// A node that runs; it is killed if a test ends without stopping it.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    log: PathBuf,
    /// Where it answers.
    pub(crate) rpc: Rpc,
}

impl Node {
    /// Starts the home's own software on it.
    pub(crate) fn start(home: &NodeHome) -> Self {
        Self::start_with(home, &[], &[])
    }

    /// As [`Node::start`], with further words on the command line and variables.
    pub(crate) fn start_with(home: &NodeHome, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = File::options().create(true).append(true).open(home.log()).unwrap();
        let child = Command::new(home.software.program())
            .args(home.software.start_arguments(home))
            .arg("--home")
            .arg(home.path())
            .args(words)
            .envs(variables.iter().copied())
            // The app looks for a folder in the user's home, and leaves one among temporary files.
            .env("HOME", home.path().parent().unwrap())
            .env("TMPDIR", home.path().parent().unwrap())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, log: home.log(), rpc: Rpc { port: home.rpc_port } }
    }

    /// Waits until the node has reached a height.
    pub(crate) fn wait_for_height(&mut self, height: u64) -> u64 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended ({status}) before height {height}: {}", self.last_words());
            }
            let seen = self.rpc.height();
            if let Ok(reached) = seen
                && reached >= height
            {
                return reached;
            }
            assert!(
                began.elapsed() < Duration::from_secs(HEIGHT_SECONDS_MAX),
                "height {height} not reached ({seen:?}): {}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(PAUSE_MILLISECONDS));
        }
    }

    /// The process that holds the home's databases.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the node to stop and waits for its end.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.wait_for_end();
        assert!(status.success(), "the node stopped with {status}: {}", self.last_words());
    }

    /// The node ends by itself, and badly, without having served.
    pub(crate) fn ends_refused(mut self) {
        let status = self.wait_for_end();
        assert!(!status.success(), "the node ended as if all were well: {}", self.last_words());
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            let waited = began.elapsed();
            assert!(
                waited < Duration::from_secs(STOP_SECONDS_MAX),
                "the node goes on: {}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(PAUSE_MILLISECONDS));
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(4000);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
