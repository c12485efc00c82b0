//! A home under attack, and what it held before.

use crate::program::{Run, run};
use crate::victims::scratch;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The home: four databases that the config governs, goleveldb.
const HOME: &str = "cometbft-0.38-kvstore";

/// Databases that the config's key governs.
pub(crate) const GOVERNED: [&str; 4] = ["blockstore.db", "state.db", "tx_index.db", "evidence.db"];

/// What a trial of the file system is called that couldn't be ended.
const PROBE: &str = ".transload-probe-";

/// A fresh copy of the home.
#[derive(Debug)]
pub(crate) struct Ward(TempDir);

/// Mode, modification time and bytes of each file below a folder, by relative path.
pub(crate) type Files = BTreeMap<PathBuf, (u32, (i64, i64), Vec<u8>)>;

/// Which databases a home stands on, through the eyes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Old, whole.
    Old,
    /// New, whole.
    New,
    /// The node refuses by name.
    Guarded,
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("transload-faults-").tempdir_in(scratch()).unwrap()
}

/// The home as it was archived, unpacked once.
static ARCHIVED: OnceLock<TempDir> = OnceLock::new();

/// Removes it when the program ends: what is static is never dropped.
pub(crate) fn clean_up() {
    if let Some(folder) = ARCHIVED.get() {
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}

fn archived() -> &'static Path {
    ARCHIVED
        .get_or_init(|| {
            let homes = std::env::var_os("TRANSLOAD_HOMES")
                .expect("TRANSLOAD_HOMES is not set: run `cargo xtask test --lane faults`");
            let folder = folder();
            let archive = Path::new(&homes).join(format!("{HOME}.tar.gz"));
            let mut tar = Command::new("tar");
            tar.arg("xzf").arg(archive).arg("-C").arg(folder.path());
            assert!(tar.status().unwrap().success());
            folder
        })
        .path()
}

/// What the home holds before anything happens to it.
pub(crate) fn before() -> &'static Files {
    static BEFORE: OnceLock<Files> = OnceLock::new();
    BEFORE.get_or_init(|| files_below(&archived().join("home")))
}

/// All files below a folder but transload's own, and what a failed trial left.
fn files_below(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == ".transload" || name.starts_with(PROBE) {
                continue;
            }
            let about = std::fs::symlink_metadata(&path).unwrap();
            if about.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(root).unwrap().to_owned();
            let time = (about.mtime(), about.mtime_nsec());
            files.insert(relative, (about.mode(), time, std::fs::read(&path).unwrap()));
        }
    }
    files
}

impl Ward {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(archived().join("home")).arg(folder.path());
        assert!(copy.status().unwrap().success());
        Self(folder)
    }

    /// The home's path.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap().join("home")
    }

    /// A path beside the home.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// Runs a command of the real program on the home; `before` stands before its name.
    pub(crate) fn run(&self, before: &[String], command: &str, options: &[&str]) -> Run {
        let home = self.home();
        let words = [&[command, home.to_str().unwrap()], options].concat();
        self.run_words(before, &words)
    }

    /// As [`Ward::run`], with every word of the command line given.
    pub(crate) fn run_words(&self, before: &[String], words: &[&str]) -> Run {
        let program = env!("CARGO_BIN_EXE_transload");
        let mut command = match before {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        run(command.args(words), self.0.path(), &words.join(" "))
    }

    /// The dataset root of the home or of one database, as the program computes it.
    pub(crate) fn root(&self, of: &Path, what: &str) -> String {
        let run = self.run_words(&[], &["root", of.to_str().unwrap(), "--json"]);
        let document: Value = serde_json::from_str(&run.shown).unwrap_or(Value::Null);
        let root = document["dataset_root"].as_str().map(str::to_owned);
        root.unwrap_or_else(|| panic!("{what}: root: {} {document}", run.in_words()))
    }

    /// How the home differs from what it was; empty when it doesn't.
    pub(crate) fn differences(&self) -> Vec<String> {
        let (before, now) = (before(), files_below(&self.home()));
        let paths = before.keys().chain(now.keys().filter(|path| !before.contains_key(*path)));
        let what = |path: &PathBuf| match (before.get(path), now.get(path)) {
            (Some(one), Some(two)) if one == two => None,
            (Some(_), None) => Some("is gone"),
            (None, _) => Some("is new"),
            (Some(one), Some(two)) if one.2 == two.2 => Some("has another mode or time"),
            (Some(_), Some(_)) => Some("has other bytes"),
        };
        paths.filter_map(|path| Some(format!("{} {}", path.display(), what(path)?))).collect()
    }

    /// Whether each old database is somewhere, in its place or where it is kept, as it was.
    pub(crate) fn old_databases_missing(&self) -> Vec<&'static str> {
        let mut places = vec![self.home().join("data")];
        let attempts = std::fs::read_dir(self.home().join(".transload/attempts"));
        for attempt in attempts.into_iter().flatten() {
            let attempt = attempt.unwrap().path();
            places.extend(["kept", "targets"].map(|folder| attempt.join(folder)));
        }
        let of = |name: &str| -> Vec<_> {
            let inside = |path: &Path| path.strip_prefix(Path::new("data").join(name)).is_ok();
            before().iter().filter(|(path, _)| inside(path)).collect()
        };
        let is_at = |name: &str, place: &Path| {
            of(name).into_iter().all(|(path, (_, _, bytes))| {
                let path = place.join(path.strip_prefix("data").unwrap());
                std::fs::read(path).is_ok_and(|found| found == *bytes)
            })
        };
        let missing = |name: &&str| !places.iter().any(|place| is_at(name, place));
        GOVERNED.into_iter().filter(missing).collect()
    }

    /// Looks with a node's eyes: its config key, then what lies at each path.
    ///
    /// # Panics
    /// The node would open a database with the wrong engine, or make an empty one.
    pub(crate) fn stand(&self, what: &str) -> Stand {
        let config = std::fs::read_to_string(self.home().join("config/config.toml")).unwrap();
        let configured = config
            .lines()
            .find_map(|line| line.strip_prefix("db_backend = "))
            .unwrap_or_else(|| panic!("{what}: the config has no db_backend"))
            .trim_matches('"');
        let found = GOVERNED.map(|name| self.found(name, what));
        if configured.contains("transload") || found.contains(&None) {
            return Stand::Guarded;
        }
        let fits = found.iter().all(|engine| *engine == Some(configured));
        assert!(fits, "{what}: {found:?} under {configured}");
        if configured == "goleveldb" { Stand::Old } else { Stand::New }
    }

    /// Whose files lie at a database's path; `None` for a guard.
    fn found(&self, name: &str, what: &str) -> Option<&'static str> {
        let path = self.home().join("data").join(name);
        assert!(path.exists(), "{what}: a node would make {} anew", path.display());
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(text.contains("transload"), "{what}: {text}");
            return None;
        }
        let is_pebble = std::fs::read_dir(&path)
            .unwrap()
            .any(|file| file.unwrap().file_name().to_string_lossy().starts_with("OPTIONS"));
        Some(if is_pebble { "pebbledb" } else { "goleveldb" })
    }

    /// What killed or failed processes held for themselves and nobody swept away.
    pub(crate) fn litter(&self) -> Vec<String> {
        let home = self.home();
        let folders = ["data", "config", ".transload/scratch"];
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(home.join(folder)));
        entries
            .flatten()
            .map(|entry| entry.unwrap())
            .filter(|entry| {
                entry.path().parent().is_some_and(|parent| parent.ends_with("scratch"))
                    || entry.file_name().to_string_lossy().starts_with(".transload-")
            })
            .map(|entry| entry.path().display().to_string())
            .collect()
    }
}
