//! What the swap must recognise after a crash: the inodes of both directories of each database,
//! and the digests of the config files, old, guarded and new. Everything that the steps need is
//! written, durably, before the first step: a full disk can't stop the swap halfway.

use super::config::{EditedFile, Setting, files};
use super::disk::{Disk, beside, is_absence, is_there, parent, replace, seen, stopped};
use super::{attributes, fingerprint, guard};
use crate::error::{Error, Kind, Result};
use crate::moves::{Fingerprint, Move, SwapPlan};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use transload_model::merkle::sha256;

/// The format of the record's file.
const FORMAT: &str = "transload.swap-record.v1";

/// The record's file in the attempt's folder.
const FILE: &str = "swap.json";

/// The fingerprints' file in the attempt's folder.
const PRINTS_FILE: &str = "swap-prints.json";

/// One database's two directories, by inode. Device numbers may change with a restart of the
/// machine, so they aren't compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    pub(super) old: u64,
    pub(super) new: u64,
}

/// What both directories of a database were when the swap began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prints {
    pub(super) old: Fingerprint,
    pub(super) new: Fingerprint,
}

/// The two staging places of a config file, and the SHA-256 of its three contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slots {
    /// The guarded content before the swap; then the old one.
    pub(super) kept: PathBuf,
    /// The new content before the swap; then the guarded one.
    pub(super) staged: PathBuf,
    old: String,
    guard: String,
    new: String,
    /// Counts how often an operator's edits were taken over.
    generation: u32,
}

impl Slots {
    pub(super) fn digest(&self, setting: Setting) -> &str {
        match setting {
            Setting::Old => &self.old,
            Setting::Guard => &self.guard,
            Setting::New => &self.new,
        }
    }

    /// Whether all three contents stand where they do when the live one has `setting`.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the disk can't tell.
    pub(super) fn are_whole(&self, live: &Path, setting: Setting) -> Result<bool> {
        let [kept, staged] = match setting {
            Setting::Old => [Setting::Guard, Setting::New],
            Setting::Guard => [Setting::Old, Setting::New],
            Setting::New => [Setting::Old, Setting::Guard],
        };
        let has = |path: &Path, setting| match fs::read(path) {
            Ok(bytes) => Ok(digest_of(&bytes) == self.digest(setting)),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(stopped("read a config file", path, error)),
        };
        Ok(has(live, setting)? && has(&self.kept, kept)? && has(&self.staged, staged)?)
    }
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: String,
    pub(super) databases: BTreeMap<String, Pair>,
    pub(super) configs: BTreeMap<PathBuf, Slots>,
    /// Contents staged before an operator's edits were taken over.
    pub(super) retired: Vec<PathBuf>,
    /// When the folders of live paths were last changed before the swap.
    pub(super) folders: BTreeMap<PathBuf, SystemTime>,
    /// Whether the copies that the home doesn't stand on are being removed, or are gone.
    pub(super) freed: bool,
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// The inode at `path`; `None` when nothing is there.
///
/// # Errors
/// [`Kind::Stopped`] when the disk can't tell.
pub(super) fn inode(path: &Path) -> Result<Option<u64>> {
    Ok(seen(path)?.map(|metadata| metadata.ino()))
}

impl Record {
    /// The record of a swap that has begun; `None` before that.
    pub(super) fn load(swap: &SwapPlan) -> Result<Option<Self>> {
        let Some(record) = read::<Self>(&swap.attempt_dir.join(FILE))? else { return Ok(None) };
        if record.format == FORMAT {
            return Ok(Some(record));
        }
        Err(unreadable(&swap.attempt_dir.join(FILE), format!("its format is {:?}", record.format)))
    }

    /// Stages guards and config contents, and records how things stand before the first step.
    pub(super) fn make(disk: &dyn Disk, swap: &SwapPlan) -> Result<Self> {
        let mut record = Self {
            format: FORMAT.into(),
            databases: BTreeMap::new(),
            configs: BTreeMap::new(),
            retired: Vec::new(),
            folders: BTreeMap::new(),
            freed: false,
        };
        let mut prints = BTreeMap::new();
        for one in &swap.moves {
            let (pair, print) = look_at(one)?;
            record.databases.insert(one.database.clone(), pair);
            prints.insert(one.database.clone(), print);
            record.note_folder(&one.live)?;
            guard::stage(disk, &one.kept, swap)?;
        }
        for file in files(swap) {
            record.note_folder(&file.path)?;
            let text = file.read()?;
            if file.setting(&text)? != Some(Setting::Old) {
                return Err(Error::new(
                    Kind::Refused,
                    "begin the swap",
                    "a config key has another value than when the plan was made",
                )
                .with("file", file.path.display().to_string())
                .next(
                    "put the old value back and `transload resume HOME`, or `transload rollback \
                     HOME` and make a new plan",
                ));
            }
            let slots = stage(disk, swap, &file, Setting::Old, 0)?;
            record.configs.insert(file.path.clone(), slots);
        }
        write(disk, &swap.attempt_dir.join(PRINTS_FILE), &prints)?;
        record.save(disk, swap)?;
        Ok(record)
    }

    /// Writes the record over the one before.
    pub(super) fn save(&self, disk: &dyn Disk, swap: &SwapPlan) -> Result<()> {
        write(disk, &swap.attempt_dir.join(FILE), self)
    }

    /// Takes over what somebody else has written into a config file: the other two contents are
    /// made from it anew. The live file stays as it is, and the ones staged before are kept.
    pub(super) fn take_over(
        &mut self,
        disk: &dyn Disk,
        swap: &SwapPlan,
        file: &EditedFile<'_>,
        setting: Setting,
    ) -> Result<()> {
        let generation = self.configs.get(&file.path).map_or(0, |slots| slots.generation);
        let slots = stage(disk, swap, file, setting, generation.saturating_add(1))?;
        if let Some(before) = self.configs.insert(file.path.clone(), slots) {
            self.retired.extend([before.kept, before.staged]);
        }
        self.save(disk, swap)
    }

    /// What the databases were when the swap began.
    pub(super) fn prints(swap: &SwapPlan) -> Result<BTreeMap<String, Prints>> {
        let path = swap.attempt_dir.join(PRINTS_FILE);
        read(&path)?.ok_or_else(|| unreadable(&path, "it is gone".into()))
    }

    /// Removes the record: from then on, nothing of this swap stands in the home.
    pub(super) fn remove(disk: &dyn Disk, swap: &SwapPlan) -> Result<()> {
        super::disk::discard(disk, &swap.attempt_dir.join(FILE))
    }

    fn note_folder(&mut self, live: &Path) -> Result<()> {
        let folder = parent(live);
        let modified = fs::metadata(folder)
            .and_then(|metadata| metadata.modified())
            .map_err(|error| stopped("look at a folder", folder, error))?;
        self.folders.entry(folder.to_owned()).or_insert(modified);
        Ok(())
    }
}

/// Both directories of a database, fit to be exchanged.
fn look_at(one: &Move) -> Result<(Pair, Prints)> {
    let refuse = |what: &str, path: &Path| {
        Error::new(Kind::Refused, "begin the swap", what)
            .with("database", one.database.clone())
            .with("path", path.display().to_string())
    };
    let look =
        |path: &Path| seen(path)?.ok_or_else(|| refuse("a database isn't where it was", path));
    let (old, new) = (look(&one.live)?, look(&one.target)?);
    if old.is_symlink() {
        return Err(refuse("the path has become a link since the plan was made", &one.live));
    }
    if new.is_symlink() {
        return Err(refuse("the target is a link, so it could be changed elsewhere", &one.target));
    }
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        let owners = format!("{}:{} and {}:{}", old.uid(), old.gid(), new.uid(), new.gid());
        return Err(refuse("the target has another owner than the database", &one.target)
            .with("owners", owners)
            .next("run transload as the databases' owner, or as root"));
    }
    attributes::copy_label(&one.live, &one.target)
        .map_err(|error| stopped("keep the security label", &one.target, error))?;
    let prints = Prints { old: fingerprint::of(&one.live)?, new: fingerprint::of(&one.target)? };
    Ok((Pair { old: old.ino(), new: new.ino() }, prints))
}

/// Stages the two contents that a config file doesn't have now.
fn stage(
    disk: &dyn Disk,
    swap: &SwapPlan,
    file: &EditedFile<'_>,
    setting: Setting,
    generation: u32,
) -> Result<Slots> {
    let text = file.read()?;
    let content = |wanted| {
        if wanted == setting { Ok(text.clone()) } else { file.with(&text, wanted) }
    };
    let (old, guard, new) =
        (content(Setting::Old)?, content(Setting::Guard)?, content(Setting::New)?);
    let (at_kept, at_staged) = match setting {
        Setting::Old => (&guard, &new),
        Setting::Guard => (&old, &new),
        Setting::New => (&old, &guard),
    };
    let (kept, staged) = slot_paths(disk, swap, file, generation)?;
    for (path, bytes) in [(&kept, at_kept), (&staged, at_staged)] {
        replace(disk, path, bytes.as_bytes(), Some(&file.path))?;
    }
    if file.read()? != text {
        return Err(file.changed("the file was changed while transload was reading it"));
    }
    let [old, guard, new] = [old, guard, new].map(|text| digest_of(text.as_bytes()));
    Ok(Slots { kept, staged, old, guard, new, generation })
}

/// In the attempt's folder when a config file can be exchanged with one there, else beside it. A
/// disk that fails puts nothing beside a config file.
fn slot_paths(
    disk: &dyn Disk,
    swap: &SwapPlan,
    file: &EditedFile<'_>,
    generation: u32,
) -> Result<(PathBuf, PathBuf)> {
    let folder = parent(&file.path);
    let mut name = staged_name(swap, file);
    name.push(generation.to_string());
    let base = if super::exchange::can_exchange(disk, &swap.attempt_dir, folder)? {
        swap.attempt_dir.join("config").join(name)
    } else {
        folder.join(name)
    };
    Ok((beside(&base, "-kept"), beside(&base, "-staged")))
}

/// Removes what the swap staged and no longer needs; never anything but its own files.
pub(super) fn sweep(disk: &dyn Disk, swap: &SwapPlan, record: &Record) -> Result<()> {
    for one in &swap.moves {
        for path in [&one.kept, &one.target] {
            if guard::is_any_at(path)? {
                super::disk::discard(disk, path)?;
            }
        }
    }
    let slots = record.configs.values().flat_map(|slots| [&slots.kept, &slots.staged]);
    for path in slots.chain(&record.retired) {
        if is_there(path)? {
            super::disk::discard(disk, path)?;
        }
    }
    sweep_beside_configs(disk, swap)
}

/// Removes what a disk that failed has left of this attempt beside config files, in no record.
pub(super) fn sweep_beside_configs(disk: &dyn Disk, swap: &SwapPlan) -> Result<()> {
    for file in files(swap) {
        let folder = parent(&file.path);
        super::exchange::sweep_probes(folder)
            .map_err(|error| stopped("remove what a probe left", folder, error))?;
        let failed = |error| stopped("look for staged config files", folder, error);
        let start = staged_name(swap, &file);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if name.starts_with(start.as_encoded_bytes()) {
                super::disk::discard(disk, &path)?;
            }
        }
    }
    Ok(())
}

/// What the names of a config file's staged contents begin with.
fn staged_name(swap: &SwapPlan, file: &EditedFile<'_>) -> OsString {
    let attempt = swap.attempt_dir.file_name().unwrap_or_default().to_string_lossy();
    let mut name = file.path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".transload-{attempt}-"));
    name
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(stopped("read the swap's record", path, error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(path, error.to_string()))
}

fn write<T: Serialize>(disk: &dyn Disk, path: &Path, value: &T) -> Result<()> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(Kind::Stopped, "write the swap's record", error.to_string()))?;
    replace(disk, path, &json, None)
}

fn unreadable(path: &Path, why: String) -> Error {
    Error::new(Kind::OutcomeUnknown, "read the swap's record", why)
        .with("path", path.display().to_string())
}
