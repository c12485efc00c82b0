//! Keeps the house: arrows between crates go down, files stay rooms, nothing is unfinished, no
//! traces of a machine, and pages name only what exists.
//!
//! Every rule is a function from what the repository holds to a list of faults, and has a test
//! in which it finds one.

mod arrows;
mod failures;
mod marks;
mod pages;
mod rooms;

use crate::place::{Result, metadata, root, say};
use std::collections::BTreeMap;
use std::process::Command;

/// The files that git knows or would add, with their text; `None` for bytes that are no text.
#[derive(Debug, Default)]
struct Repository {
    files: BTreeMap<String, Option<String>>,
}

impl Repository {
    fn read() -> Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .map_err(|error| format!("git: {error}"))?;
        let mut files = BTreeMap::new();
        for name in String::from_utf8_lossy(&output.stdout).split('\0') {
            // A file that is deleted and not yet committed is still listed.
            if let Ok(bytes) = std::fs::read(root().join(name)) {
                files.insert(name.to_owned(), String::from_utf8(bytes).ok());
            }
        }
        if files.is_empty() {
            return Err("git lists no files, so nothing was checked".into());
        }
        Ok(Self { files })
    }

    /// Text files whose name ends in one of these.
    fn texts<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(|(name, _)| endings.iter().any(|ending| name.ends_with(ending)))
            .filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)))
    }

    /// Whether there is such a file, or a folder with files.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&inside))
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), Some((*text).to_owned()));
        Self { files: files.iter().map(owned).collect() }
    }
}

/// Checks everything and prints what is wrong.
pub(crate) fn report() -> Result<bool> {
    let repository = Repository::read()?;
    let mut faults = arrows::faults(&metadata()?);
    faults.extend(rooms::faults(&repository));
    faults.extend(marks::faults(&repository));
    faults.extend(pages::faults(&repository));
    faults.extend(failures::faults(&repository));
    for fault in &faults {
        say(&format!("tidy: {fault}"));
    }
    say(&format!("tidy: {} files, {} faults", repository.files.len(), faults.len()));
    Ok(faults.is_empty())
}
