//! Sets keys in the node's config files and keeps every other byte: comments, order, spaces.

use super::files::replace;
use crate::error::{Error, Kind, Result};
use crate::moves::SwapPlan;
use std::fs;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Value, value};
use transload_store::{ConfigEdit, ConfigFile};

/// A config file with all its edits.
#[derive(Clone, Debug)]
pub(super) struct EditedFile<'a> {
    pub(super) path: PathBuf,
    pub(super) role: ConfigFile,
    edits: Vec<&'a ConfigEdit>,
}

/// Which of the three values the keys of a file have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// As the node had them.
    Old,
    /// Refused by the node by name.
    Guard,
    /// The target's.
    New,
}

impl EditedFile<'_> {
    /// The setting that the file has now.
    pub(super) fn setting(&self) -> Result<Option<Setting>> {
        let document = self.parse(&self.read()?)?;
        let has = |setting| {
            self.edits.iter().all(|edit| get(&document, &edit.key) == wanted(edit, setting))
        };
        Ok([Setting::Old, Setting::Guard, Setting::New].into_iter().find(|one| has(*one)))
    }

    /// The file's bytes.
    pub(super) fn read(&self) -> Result<String> {
        fs::read_to_string(&self.path).map_err(|error| {
            Error::new(Kind::Stopped, "read a config file", error.to_string())
                .with("file", self.path.display().to_string())
        })
    }

    /// The file's bytes with its keys set.
    pub(super) fn with(&self, text: &str, setting: Setting) -> Result<String> {
        let mut document = self.parse(text)?;
        for edit in &self.edits {
            set(&mut document, &edit.key, wanted(edit, setting)).ok_or_else(|| {
                self.changed("a key that transload sets is no longer where it was")
                    .with("key", edit.key.clone())
            })?;
        }
        Ok(document.to_string())
    }

    /// Writes new bytes over those that `expected` says are there.
    pub(super) fn write(&self, expected: &str, bytes: &str) -> Result<()> {
        if self.read()? != expected {
            return Err(self.changed("the file was changed while transload was at work on it"));
        }
        replace(&self.path, bytes.as_bytes())
    }

    fn parse(&self, text: &str) -> Result<DocumentMut> {
        text.parse().map_err(|error: toml_edit::TomlError| {
            self.changed("the file is no TOML any more").caused_by(error)
        })
    }

    /// Somebody else writes the file: a person must look.
    pub(super) fn changed(&self, what: &str) -> Error {
        Error::new(Kind::Stopped, "set config keys", what)
            .with("file", self.path.display().to_string())
            .next(
                "see who writes this file (a configuration tool?), put it right, then \
                 `transload resume HOME` or `transload rollback HOME`",
            )
    }
}

/// The files of a swap, the application's first: it is guarded first and set last.
pub(super) fn files(swap: &SwapPlan) -> Vec<EditedFile<'_>> {
    let mut files: Vec<EditedFile<'_>> = Vec::new();
    for edit in &swap.edits {
        // Config files are often links; the link stays and its target is written.
        let path = resolved(&edit.path);
        match files.iter_mut().find(|file| file.path == path) {
            Some(file) => file.edits.push(edit),
            None => files.push(EditedFile { path, role: edit.file, edits: vec![edit] }),
        }
    }
    files.sort_by_key(|file| file.role == ConfigFile::Node);
    files
}

fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn wanted(edit: &ConfigEdit, setting: Setting) -> Option<&str> {
    match setting {
        Setting::Old => edit.old.as_deref(),
        Setting::Guard => Some(&edit.guard),
        Setting::New => Some(&edit.new),
    }
}

fn get<'a>(document: &'a DocumentMut, key: &str) -> Option<&'a str> {
    let mut item = document.as_item();
    for part in key.split('.') {
        item = item.get(part)?;
    }
    item.as_str()
}

/// Sets or removes a dotted key; `None` when its table isn't there.
fn set(document: &mut DocumentMut, key: &str, text: Option<&str>) -> Option<()> {
    let (tables, last) = key.rsplit_once('.').map_or((None, key), |(t, last)| (Some(t), last));
    let mut table: &mut Item = document.as_item_mut();
    for part in tables.into_iter().flat_map(|tables| tables.split('.')) {
        table = table.get_mut(part)?;
    }
    let table = table.as_table_like_mut()?;
    match (text, table.get_mut(last)) {
        (None, _) => {
            table.remove(last);
        }
        (Some(text), Some(Item::Value(old))) => {
            let decor = old.decor().clone();
            let mut new = Value::from(text);
            *new.decor_mut() = decor;
            *old = new;
        }
        (Some(text), None) => {
            table.insert(last, value(text));
        }
        (Some(_), Some(_)) => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_changes_and_comments_stay() {
        let text = "# top\ndb_backend = \"goleveldb\" # engine\n\n[storage]\n  x = 1\n";
        let mut document: DocumentMut = text.parse().unwrap();
        assert_eq!(get(&document, "db_backend"), Some("goleveldb"));
        set(&mut document, "db_backend", Some("pebbledb")).unwrap();
        assert_eq!(document.to_string(), text.replace("goleveldb", "pebbledb"));
        set(&mut document, "db_backend", Some("goleveldb")).unwrap();
        assert_eq!(document.to_string(), text);
        assert_eq!(set(&mut document, "absent.key", Some("x")), None);
    }
}
