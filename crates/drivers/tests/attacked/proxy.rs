//! A store that lives in another process, which can be killed.

use crate::victim;
use crate::wire::{BUFFERED, CHUNK, DONE, SYNCED, put_entries};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid,
};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use transload_model::engine::Engine;
use transload_store::contract::Entries;
use transload_store::{
    BulkLoad, Capabilities, ChunkLoad, Durability, Error, Guarantees, KeyRange, Kind, Result,
    Snapshot, Store, WriteBatch, WriteOp,
};

/// Whoever was killed must be gone by then.
const GONE: Duration = Duration::from_secs(30);

/// Makes the helpers of killed processes our children, so that they can be waited for.
pub(crate) fn adopt_orphans() {
    set_child_subreaper(Some(getpid())).unwrap();
}

/// The process that holds the store, and its helper if it has one.
pub(crate) struct Process(Child);

impl Process {
    /// Starts one that makes a store at `path`, and waits until it stands.
    pub(crate) fn start(engine: Engine, path: &Path) -> (Self, Connection) {
        let program = std::env::current_exe().unwrap();
        Self::start_under(&mut Command::new(program), engine, path)
    }

    /// As [`Process::start`], by a command that ends in this program.
    pub(crate) fn start_under(
        command: &mut Command,
        engine: Engine,
        path: &Path,
    ) -> (Self, Connection) {
        let mut child = command
            .args([victim::MARK, engine.name()])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its complaints about being told nothing more are not ours.
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut connection = Connection { input, output };
        connection.answer("open").unwrap();
        (Self(child), connection)
    }

    /// Kills it and its helper, and waits until they are gone.
    pub(crate) fn kill(self) {
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).unwrap();
        self.gone();
    }

    /// Waits until it and its helper are gone.
    pub(crate) fn gone(mut self) {
        let group = Pid::from_child(&self.0);
        self.0.wait().unwrap();
        let began = Instant::now();
        loop {
            match waitpgid(group, WaitOptions::NOHANG) {
                Err(rustix::io::Errno::CHILD) => return,
                Ok(Some(_)) => {}
                Ok(None) => {
                    assert!(began.elapsed() < GONE, "a killed process lives on");
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("waiting for a helper: {error}"),
            }
        }
    }
}

/// What the process is told, and what it answers.
pub(crate) struct Connection {
    input: ChildStdin,
    output: ChildStdout,
}

impl Connection {
    pub(crate) fn tell(&mut self, what: u8, entries: Option<&Entries>) -> Result<()> {
        let mut message = vec![what];
        if let Some(entries) = entries {
            put_entries(&mut message, entries).unwrap();
        }
        self.input.write_all(&message).map_err(|error| gone("write", error))?;
        self.answer("write")
    }

    fn answer(&mut self, operation: &'static str) -> Result<()> {
        let mut answer = [0];
        self.output.read_exact(&mut answer).map_err(|error| gone(operation, error))?;
        assert_eq!(answer[0], DONE);
        Ok(())
    }
}

fn gone(operation: &'static str, error: std::io::Error) -> Error {
    Error::new(Kind::HelperLost, operation, error.to_string()).effect_unknown()
}

/// The store as this process sees it: it takes writes and gives nothing back.
pub(crate) struct Proxy {
    engine: Engine,
    capabilities: Capabilities,
    guarantees: Guarantees,
    connection: Arc<Mutex<Connection>>,
}

impl Proxy {
    pub(crate) fn new(
        engine: Engine,
        capabilities: Capabilities,
        guarantees: Guarantees,
        connection: Connection,
    ) -> Self {
        let connection = Arc::new(Mutex::new(connection));
        Self { engine, capabilities, guarantees, connection }
    }
}

impl Store for Proxy {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn engine_version(&self) -> String {
        "in another process".into()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Err(Error::unsupported("snapshot", "the store is in another process"))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        let put = |op: &WriteOp| match op {
            WriteOp::Put { key, value } => (key.clone(), value.clone()),
            WriteOp::Delete { .. } => panic!("the attack deletes nothing"),
        };
        let entries: Entries = batch.ops().iter().map(put).collect();
        let what = if durability == Durability::Synced { SYNCED } else { BUFFERED };
        self.connection.lock().unwrap().tell(what, Some(&entries))
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        Ok(Arc::new(ProxyLoad(Arc::clone(&self.connection))))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Err(Error::unsupported("close", "the store is in another process"))
    }
}

struct ProxyLoad(Arc<Mutex<Connection>>);

impl BulkLoad for ProxyLoad {
    fn chunk(&self, _range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        Ok(Box::new(ProxyChunk { connection: Arc::clone(&self.0), entries: Entries::new() }))
    }
}

struct ProxyChunk {
    connection: Arc<Mutex<Connection>>,
    entries: Entries,
}

impl ChunkLoad for ProxyChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        self.connection.lock().unwrap().tell(CHUNK, Some(&self.entries))
    }
}
