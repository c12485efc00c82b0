//! What the swap must recognise after a crash: the inodes of both directories of each database,
//! and the bytes of the config files. Written, durably, before the first step.

use super::config::{Setting, files};
use super::files::{parent, replace, stopped};
use crate::error::{Error, Kind, Result};
use crate::moves::SwapPlan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The format of the record's file.
const FORMAT: &str = "transload.swap-record.v1";

/// The record's file in the attempt's folder.
const FILE: &str = "swap.json";

/// A directory (or file) by what the file system knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// What stands at `path`; `None` when nothing does.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// One database's two directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) old: Identity,
    pub(super) new: Identity,
}

/// A config file before the swap, and as the swap writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Texts {
    pub(super) old: String,
    pub(super) guard: String,
    pub(super) new: String,
    modified: SystemTime,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: String,
    pub(super) databases: BTreeMap<String, Pair>,
    pub(super) configs: BTreeMap<PathBuf, Texts>,
}

impl Record {
    /// The record of a swap that has begun; `None` before that.
    pub(super) fn load(swap: &SwapPlan) -> Result<Option<Self>> {
        let path = swap.attempt_dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(stopped("read the swap's record", &path, error)),
        };
        let unreadable = |why: String| {
            Error::new(Kind::OutcomeUnknown, "read the swap's record", why)
                .with("path", path.display().to_string())
        };
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.format == FORMAT {
            Ok(Some(record))
        } else {
            Err(unreadable(format!("its format is {:?}", record.format)))
        }
    }

    /// Records how things stand before the first step.
    pub(super) fn make(swap: &SwapPlan) -> Result<Self> {
        let mut databases = BTreeMap::new();
        for one in &swap.moves {
            let identity = |path: &Path| {
                Identity::at(path).ok_or_else(|| {
                    Error::new(Kind::Refused, "begin the swap", "a database isn't where it was")
                        .with("database", one.database.clone())
                        .with("path", path.display().to_string())
                })
            };
            let pair = Pair { old: identity(&one.live)?, new: identity(&one.target)? };
            databases.insert(one.database.clone(), pair);
        }
        let mut configs = BTreeMap::new();
        for file in files(swap) {
            if file.setting()? != Some(Setting::Old) {
                return Err(Error::new(
                    Kind::Refused,
                    "begin the swap",
                    "a config key has another value than when the plan was made",
                )
                .with("file", file.path.display().to_string())
                .next("make a new plan"));
            }
            let old = file.read()?;
            let modified = fs::metadata(&file.path)
                .and_then(|metadata| metadata.modified())
                .map_err(|error| stopped("read a config file", &file.path, error))?;
            let guard = file.with(&old, Setting::Guard)?;
            let new = file.with(&old, Setting::New)?;
            configs.insert(file.path.clone(), Texts { old, guard, new, modified });
        }
        let record = Self { format: FORMAT.into(), databases, configs };
        let json = serde_json::to_vec_pretty(&record).map_err(|error| {
            Error::new(Kind::Stopped, "write the swap's record", error.to_string())
        })?;
        replace(&swap.attempt_dir.join(FILE), &json)?;
        Ok(record)
    }

    /// Gives a restored config file its old time back.
    pub(super) fn restore_time(&self, path: &Path) -> Result<()> {
        let Some(texts) = self.configs.get(path) else { return Ok(()) };
        fs::File::open(path)
            .and_then(|file| file.set_modified(texts.modified))
            .map_err(|error| stopped("restore a file's time", path, error))
    }

    /// Forgets the swap, once the home stands on the old side again.
    pub(super) fn remove(swap: &SwapPlan) -> Result<()> {
        let path = swap.attempt_dir.join(FILE);
        super::files::remove(&path)?;
        super::files::sync_dir(parent(&path))
    }
}
