//! Copies of the homes in `testdata/homes`, the program, and the Go helper.
//!
//! `TRANSLOAD_HOMES` names another folder of homes. Without `TRANSLOAD_GOSTORE` nothing can be
//! written to goleveldb or Pebble; a test that needs it says `not checked` and returns.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A fresh copy of a home, in a folder that goes away.
#[derive(Debug)]
pub(crate) struct Copy(TempDir);

impl Copy {
    /// Unpacks the home `name`.
    pub(crate) fn of(name: &str) -> Self {
        let folder = std::env::var_os("TRANSLOAD_HOMES").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/homes"),
            PathBuf::from,
        );
        let archive = folder.join(format!("{name}.tar.gz"));
        let copy = tempfile::tempdir().unwrap();
        let status =
            Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(copy.path()).status();
        assert!(status.unwrap().success(), "{} can't be unpacked", archive.display());
        let copy = Self(copy);
        copy.upgrade();
        copy
    }

    /// A home cut to a few heights (`crates/chains/testdata/cometbft`), without its databases,
    /// and what belongs into those.
    pub(crate) fn of_sample_in_memory(name: &str) -> (Self, BTreeMap<String, Entries>) {
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains/testdata/cometbft").join(name);
        let copy = Self(tempfile::tempdir().unwrap());
        let config = copy.home().join("config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::copy(from.join("config/genesis.json"), config.join("genesis.json")).unwrap();
        let version = match name {
            "v0.34" => "fast_sync = true",
            _ if name.starts_with("v0.38") => "version = \"0.38.26\"",
            _ => "version = \"1.0.1\"",
        };
        let text = format!("{version}\ndb_backend = \"goleveldb\"\n[consensus]\n");
        std::fs::write(config.join("config.toml"), text).unwrap();
        let mut databases = BTreeMap::new();
        for stem in ["blockstore", "state", "evidence", "tx_index"] {
            let name = format!("{stem}.db");
            std::fs::create_dir_all(copy.home().join("data").join(&name)).unwrap();
            databases.insert(name, pairs(&std::fs::read(from.join(format!("{stem}.kv"))).unwrap()));
        }
        (copy, databases)
    }

    /// As [`Copy::of_sample_in_memory`], with goleveldb databases.
    pub(crate) fn of_sample(name: &str) -> Self {
        let (copy, databases) = Self::of_sample_in_memory(name);
        for (name, entries) in databases {
            let path = copy.home().join("data").join(name);
            crate::holding::create(transload_model::engine::Engine::Goleveldb, &path, &entries);
        }
        copy
    }

    /// The node that made one of the homes (0.38.11) has no Pebble; the one it is upgraded to has.
    fn upgrade(&self) {
        let path = self.home().join("config/config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace("version = \"0.38.11\"", "version = \"0.38.12\""))
            .unwrap();
    }

    /// A copy of this copy as it is now.
    pub(crate) fn again(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        let status = Command::new("cp").arg("-a").arg(self.home()).arg(copy.path()).status();
        assert!(status.unwrap().success());
        Self(copy)
    }

    /// The home itself.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// A path beside the home.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Entries of a database in memory.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Length-prefixed keys and values, one after another.
fn pairs(mut bytes: &[u8]) -> Entries {
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (taken, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        bytes = rest;
        Some(taken.to_vec())
    };
    let mut entries = Entries::new();
    while let Some(key) = next() {
        entries.insert(key, next().unwrap());
    }
    entries
}

/// What one call came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) shown: String,
    /// Standard error.
    pub(crate) said: String,
}

impl Outcome {
    /// The JSON document, null where there was none.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.shown).unwrap_or(Value::Null)
    }
}

/// Calls the program with nobody to ask on its standard input.
pub(crate) fn transload<I: AsRef<OsStr>>(arguments: &[I]) -> Outcome {
    finished(Command::new(env!("CARGO_BIN_EXE_transload")).args(arguments))
}

/// Calls a command on a home.
pub(crate) fn call(command: &str, copy: &Copy, more: &[&str]) -> Outcome {
    transload(&[&[command, copy.home().to_str().unwrap()], more].concat())
}

/// A call that must be refused with these words and leave every byte alone.
pub(crate) fn refuses(copy: &Copy, more: &[&str], code: i32, words: &[&str]) {
    let before = imprint(&copy.home());
    for command in ["plan", "migrate"] {
        let outcome = call(command, copy, more);
        assert_eq!(outcome.code, code, "{command} {more:?}: {}", outcome.said);
        for word in words {
            assert!(outcome.said.contains(word), "{command} doesn't say {word}: {}", outcome.said);
        }
    }
    assert!(!copy.home().join(".transload/attempts").exists(), "{more:?}: an attempt was begun");
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new(), "{more:?}");
}

/// Runs a command to its end.
pub(crate) fn finished(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Outcome {
        code: output.status.code().expect("ended by a signal"),
        shown: String::from_utf8_lossy(&output.stdout).into_owned(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Says what a test did not do. Not through `println!`, whose words a passing test swallows.
pub(crate) fn not_checked(what: &str) {
    let mut output = std::io::stdout().lock();
    // Nobody listening is no reason to fail.
    let _ = output.write_all(format!("\nnot checked: {what}\n").as_bytes());
}

/// The Go helper; `None`, said on the output, where it isn't there.
pub(crate) fn helper() -> Option<PathBuf> {
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    let found = helper.filter(|path| path.is_file());
    if found.is_none() {
        not_checked("Go: TRANSLOAD_GOSTORE names no helper");
    }
    found
}

/// What must not change below a folder: names, sizes, times, modes, owners and bytes. Nothing
/// below `.transload` counts, nor the time of the folder that holds it.
pub(crate) fn imprint(folder: &Path) -> BTreeMap<PathBuf, String> {
    try_imprint(folder).unwrap()
}

/// As [`imprint`], of a folder that somebody may be writing.
///
/// # Errors
/// A file went away in the meantime.
pub(crate) fn try_imprint(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, String>> {
    let mut imprints = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.file_name() == Some(".transload".as_ref()) {
                continue;
            }
            let about = std::fs::symlink_metadata(&path)?;
            let mut imprint = format!(
                "{:o} {}:{} {} {}.{} ",
                about.mode(),
                about.uid(),
                about.gid(),
                about.size(),
                about.mtime(),
                about.mtime_nsec()
            );
            if about.is_dir() {
                folders.push(path.clone());
            } else if about.is_file() {
                imprint += &hex::encode(Sha256::digest(std::fs::read(&path)?));
            }
            imprints.insert(path, imprint);
        }
    }
    Ok(imprints)
}

/// Names of what differs between two imprints.
pub(crate) fn changed(
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
) -> Vec<PathBuf> {
    let names = before.keys().chain(after.keys());
    let mut changed: Vec<PathBuf> =
        names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
    changed.sort();
    changed.dedup();
    changed
}

/// Sets a top-level key of a config file that has it.
pub(crate) fn set_key(file: &Path, key: &str, value: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut document: toml_edit::DocumentMut = text.parse().unwrap();
    assert!(document.contains_key(key), "{} has no {key}", file.display());
    document[key] = toml_edit::value(value);
    std::fs::write(file, document.to_string()).unwrap();
}
