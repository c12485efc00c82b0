//! Everything in a home but transload's own folder.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How a kill is named that may have come at any moment.
pub(crate) const ANY_MOMENT: &str = "some moment";

/// What a trial of the file system is called.
const PROBE: &str = ".transload-probe-";
const FOLDER_TIME: &str = "(a folder) has another time";

/// Mode, owner, modification time and bytes of a file or folder, by relative path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents(BTreeMap<PathBuf, Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    is_dir: bool,
    bytes: Vec<u8>,
}

impl Contents {
    /// Reads the home.
    pub(crate) fn of(home: &Path) -> Self {
        let mut contents = BTreeMap::new();
        let mut folders = vec![home.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let relative = path.strip_prefix(home).unwrap().to_owned();
                // The data folder has one where it is a volume of its own.
                if relative.ends_with(".transload") {
                    continue;
                }
                let about = std::fs::symlink_metadata(&path).unwrap();
                let bytes =
                    if about.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
                let entry = Entry {
                    mode: about.mode(),
                    owner: (about.uid(), about.gid()),
                    modified: (about.mtime(), about.mtime_nsec()),
                    is_dir: about.is_dir(),
                    bytes,
                };
                contents.insert(relative, entry);
                if about.is_dir() {
                    folders.push(path);
                }
            }
        }
        Self(contents)
    }

    /// What differs after a kill, one line a path; empty when nothing does.
    ///
    /// Whether the file system exchanges is tried out in the very folders. Killed meanwhile, a
    /// trial leaves a file of its own, which the next process removes, and its time on the
    /// folder, which nobody remembers.
    pub(crate) fn differences(&self, other: &Self, when: &str) -> Vec<String> {
        let tried_out = when.contains(PROBE) || when.contains(ANY_MOMENT);
        self.all_differences(other)
            .into_iter()
            .filter(|line| {
                let of_trial = line.contains(PROBE) || line.ends_with(FOLDER_TIME);
                !(tried_out && of_trial)
            })
            .collect()
    }

    fn all_differences(&self, other: &Self) -> Vec<String> {
        let paths = self.0.keys().chain(other.0.keys().filter(|path| !self.0.contains_key(*path)));
        paths
            .filter_map(|path| {
                let what = match (self.0.get(path), other.0.get(path)) {
                    (Some(one), Some(two)) if one == two => return None,
                    (Some(_), None) => "is gone",
                    (None, _) => "is new",
                    (Some(one), Some(two)) if one.bytes != two.bytes => "has other bytes",
                    (Some(one), Some(two)) if one.modified != two.modified && one.is_dir => {
                        FOLDER_TIME
                    }
                    (Some(one), Some(two)) if one.modified != two.modified => "has another time",
                    (Some(_), Some(_)) => "has another mode or owner",
                };
                Some(format!("{} {what}", path.display()))
            })
            .collect()
    }
}
