//! A small home, engines that are told by a word, a disk that fails when told to, and a look at
//! the home through the eyes of a node.

use super::super::disk::{Disk, RealDisk};
use super::super::*;
use crate::moves::{Move, SwapMethod};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use transload_model::engine::Engine;
use transload_store::{
    ConfigEdit, ConfigFile, Driver, EngineStatus, Holder, Recognised, Result as StoreResult,
};

pub(super) const DATABASES: [&str; 3] =
    ["application.db", "blockstore.db", "snapshots/metadata.db"];
pub(super) const METHODS: [SwapMethod; 2] = [SwapMethod::Exchange, SwapMethod::Rename];
pub(super) const GUARD: &str = "transload-cutover-in-progress";

/// `CURRENT` begins with `old` (goleveldb) or `new` (Pebble); `log` in it stands for no tables.
#[derive(Default)]
pub(super) struct WordEngines {
    pub(super) holder: Mutex<Option<Holder>>,
}

impl Engines for WordEngines {
    fn recognise(&self, path: &Path) -> StoreResult<Recognised> {
        let unknown = || {
            transload_store::Error::new(
                transload_store::Kind::UnknownFormat,
                "recognise",
                "no engine's files",
            )
        };
        let text = fs::read_to_string(path.join("CURRENT")).map_err(|_| unknown())?;
        let engine = match text.get(..3) {
            Some("old") => Engine::Goleveldb,
            Some("new") => Engine::Pebble1,
            _ => return Err(unknown()),
        };
        Ok(Recognised {
            engine,
            version: String::new(),
            evidence: "CURRENT".into(),
            has_tables: !text.contains("log"),
            bytes_on_disk: 0,
        })
    }

    fn driver(&self, _engine: Engine) -> StoreResult<&dyn Driver> {
        Err(transload_store::Error::unsupported("driver", "the swap opens nothing"))
    }

    fn status(&self) -> Vec<EngineStatus> {
        Vec::new()
    }

    fn holder(&self, _path: &Path) -> StoreResult<Option<Holder>> {
        Ok(self.holder.lock().unwrap().clone())
    }
}

/// How a call of the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It isn't done.
    Before,
    /// It is done, and then reported as failed.
    After,
}

/// Fails at one call and at every later one, as a disk does that went read-only.
pub(super) struct FailingDisk {
    left: AtomicI64,
    fault: Fault,
}

impl FailingDisk {
    pub(super) fn after(calls: i64, fault: Fault) -> Box<Self> {
        Box::new(Self { left: AtomicI64::new(calls), fault })
    }

    fn call(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        let failure = || io::Error::from(io::ErrorKind::StorageFull);
        match (left, self.fault) {
            (1.., _) => act(),
            (0, Fault::After) => act().and_then(|()| Err(failure())),
            _ => Err(failure()),
        }
    }
}

impl Disk for FailingDisk {
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.call(|| RealDisk.exchange(one, other))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.rename(from, to))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.link(from, to))
    }
    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
        self.call(|| RealDisk.write(path, bytes, like))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove_file(path))
    }
    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(|| RealDisk.create_dir(folder))
    }
    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove_dir(folder))
    }
    fn set_modified(&self, folder: &Path, modified: std::time::SystemTime) -> io::Result<()> {
        self.call(|| RealDisk.set_modified(folder, modified))
    }
    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(|| RealDisk.sync_dir(folder))
    }
}

/// Stops at the n-th line of the log.
pub(super) struct Stop {
    left: AtomicI64,
    pub(super) lines: Mutex<Vec<String>>,
}

impl Stop {
    pub(super) fn after(lines: i64) -> Self {
        Self { left: AtomicI64::new(lines), lines: Mutex::default() }
    }

    pub(super) fn never() -> Self {
        Self::after(i64::MAX)
    }

    fn line(&self, line: String) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Error::new(Kind::Stopped, "test", "killed"));
        }
        self.lines.lock().unwrap().push(line);
        Ok(())
    }
}

impl StepLog for Stop {
    fn begin(&self, step: &str) -> Result<()> {
        self.line(format!("begin {step}"))
    }
    fn done(&self, step: &str) -> Result<()> {
        self.line(format!("done {step}"))
    }
    fn call(&self, _call: &str) {}
}

/// Kind, mode, time and content of everything in the home but transload's own folder.
pub(super) type Tree = BTreeMap<String, (u32, i64, i64, Vec<u8>)>;

pub(super) struct Rig {
    _folder: tempfile::TempDir,
    pub(super) home: PathBuf,
    pub(super) swap: SwapPlan,
    pub(super) verified: Verified,
    pub(super) engines: Arc<WordEngines>,
}

impl Rig {
    pub(super) fn new(method: SwapMethod) -> Self {
        // In memory where that is possible: there are thousands of syncs.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let home = folder.path().canonicalize().unwrap().join("node");
        let attempt_dir = home.join(".transload/attempts/0001");
        for folder in ["config", "data/snapshots", ".transload/attempts/0001/targets/snapshots"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        let mut moves = Vec::new();
        for database in DATABASES {
            let live = home.join("data").join(database);
            let target = attempt_dir.join("targets").join(database);
            for (path, word) in [(&live, "old"), (&target, "new")] {
                fs::create_dir(path).unwrap();
                fs::write(path.join("CURRENT"), format!("{word} {database}")).unwrap();
                fs::write(path.join("LOCK"), "").unwrap();
                fs::write(path.join("000007.ldb"), [7; 100]).unwrap();
            }
            moves.push(Move {
                database: database.into(),
                live,
                target,
                kept: attempt_dir.join("kept").join(database),
                from: Engine::Goleveldb,
                to: Engine::Pebble1,
            });
        }
        fs::write(home.join("data/priv_validator_state.json"), "{}").unwrap();
        let mut edits = Vec::new();
        for (file, name, key) in [
            (ConfigFile::App, "app.toml", "app-db-backend"),
            (ConfigFile::Node, "config.toml", "db_backend"),
        ] {
            let path = home.join("config").join(name);
            fs::write(&path, format!("# mine\n{key} = \"goleveldb\" # here\nother = 1\n")).unwrap();
            edits.push(ConfigEdit {
                file,
                path,
                key: key.into(),
                old: Some("goleveldb".into()),
                guard: GUARD.into(),
                new: "pebbledb".into(),
            });
        }
        let swap = SwapPlan { moves, edits, method, attempt_dir, fence: None };
        Self {
            _folder: folder,
            home,
            swap,
            verified: Verified::for_test(&DATABASES),
            engines: Arc::default(),
        }
    }

    pub(super) fn swapper(&self) -> FileSwap {
        FileSwap::new(self.engines.clone())
    }

    pub(super) fn failing(&self, calls: i64, fault: Fault) -> FileSwap {
        FileSwap::on(FailingDisk::after(calls, fault), self.engines.clone())
    }

    pub(super) fn forward(&self) -> Result<()> {
        self.swapper().cut_over(&self.swap, &self.verified, &Stop::never())
    }

    pub(super) fn backward(&self) -> Result<()> {
        self.swapper().roll_back(&self.swap, &Stop::never())
    }

    pub(super) fn forward_until(&self, lines: i64) -> Result<()> {
        self.swapper().cut_over(&self.swap, &self.verified, &Stop::after(lines))
    }

    pub(super) fn backward_until(&self, lines: i64) -> Result<()> {
        self.swapper().roll_back(&self.swap, &Stop::after(lines))
    }

    pub(super) fn standing(&self) -> Standing {
        self.swapper().standing(&self.swap).unwrap()
    }

    pub(super) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut open = vec![self.home.clone()];
        while let Some(path) = open.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(&self.home).unwrap().display().to_string();
            let content = if metadata.is_dir() {
                let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
                open.extend(entries.filter(|path| !path.ends_with(".transload")));
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let line = (metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), content);
            tree.insert(name, line);
        }
        tree
    }

    /// The content alone: a swapped home has other times of folders.
    pub(super) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.tree().into_iter().map(|(name, (.., content))| (name, content)).collect()
    }

    /// What a node that starts at this moment finds: one side whole, or a refusal that names
    /// transload. `torn` allows one absent path under guarded configs, as `--swap rename` says.
    pub(super) fn a_node_started_now_finds_one_side_or_a_guard(&self, torn: bool) {
        let configs: Vec<String> =
            self.swap.edits.iter().map(|edit| fs::read_to_string(&edit.path).unwrap()).collect();
        let guarded = configs.iter().filter(|text| text.contains(GUARD)).count();
        let mut words = Vec::new();
        for one in &self.swap.moves {
            let Ok(metadata) = fs::symlink_metadata(&one.live) else {
                assert!(torn && guarded == configs.len(), "{} is absent", one.live.display());
                continue;
            };
            if metadata.is_file() {
                assert!(fs::read_to_string(&one.live).unwrap().contains("transload"));
                assert_eq!(guarded, configs.len(), "a path is guarded and a config isn't");
            } else {
                let text = fs::read_to_string(one.live.join("CURRENT")).unwrap();
                words.push(text[..3].to_owned());
            }
        }
        words.sort();
        words.dedup();
        assert!(words.len() <= 1, "old and new stand side by side");
        if guarded == 0 {
            let engine = if words == ["old"] { "goleveldb" } else { "pebbledb" };
            assert!(configs.iter().all(|text| text.contains(engine)), "{words:?} {configs:?}");
        }
    }

    /// The signer's file is the same whatever happens.
    pub(super) fn the_signer_is_untouched(&self) {
        let state = self.home.join("data/priv_validator_state.json");
        assert_eq!(fs::read_to_string(state).unwrap(), "{}");
    }
}
