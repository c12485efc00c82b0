//! Sets keys in the node's config files and keeps every other byte: comments, order, spaces.

use crate::error::{Error, Kind, Result};
use crate::moves::SwapPlan;
use std::fs;
use std::path::{Path, PathBuf};
use toml_edit::{Document, DocumentMut, Item, TomlError, Value, value};
use transload_store::{ConfigEdit, ConfigFile};

/// Larger config files are none: those of today have 30 KB.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// A config file with all its edits.
#[derive(Clone, Debug)]
pub(super) struct EditedFile<'a> {
    pub(super) path: PathBuf,
    pub(super) role: ConfigFile,
    edits: Vec<&'a ConfigEdit>,
}

/// Which of the three values the keys of a file have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting {
    /// As the node had them.
    Old,
    /// Refused by the node by name.
    Guard,
    /// The target's.
    New,
}

impl Setting {
    /// The word for it in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Setting::Old => "its old value",
            Setting::Guard => "the guard",
            Setting::New => "its new value",
        }
    }
}

impl EditedFile<'_> {
    /// Whether the new values are the old ones, so that the file doesn't tell the two apart.
    pub(super) fn changes_nothing(&self) -> bool {
        self.edits.iter().all(|edit| edit.old.as_deref() == Some(&edit.new))
    }

    /// The setting that the file has now.
    pub(super) fn setting(&self, text: &str) -> Result<Option<Setting>> {
        let document = self.parse(text)?;
        let has = |setting| {
            self.edits
                .iter()
                .all(|edit| get(document.as_item(), &edit.key) == wanted(edit, setting))
        };
        Ok([Setting::Old, Setting::Guard, Setting::New].into_iter().find(|one| has(*one)))
    }

    /// The file's bytes.
    pub(super) fn read(&self) -> Result<String> {
        let unreadable = |why: String| {
            Error::new(Kind::Stopped, "read a config file", why)
                .with("file", self.path.display().to_string())
        };
        let metadata = fs::metadata(&self.path).map_err(|error| unreadable(error.to_string()))?;
        if metadata.len() > CONFIG_BYTES_MAX {
            return Err(unreadable(format!("it is larger than {CONFIG_BYTES_MAX} bytes")));
        }
        fs::read_to_string(&self.path).map_err(|error| unreadable(error.to_string()))
    }

    /// The text with its keys set and every other byte kept.
    pub(super) fn with(&self, text: &str, setting: Setting) -> Result<String> {
        let mut text = text.to_owned();
        for edit in &self.edits {
            text = self.set(&text, &edit.key, wanted(edit, setting))?.ok_or_else(|| {
                self.changed("a key that transload sets is no longer where it was")
                    .with("key", edit.key.clone())
            })?;
        }
        match self.setting(&text)? {
            Some(found) if found == setting => Ok(text),
            Some(Setting::Old) if setting == Setting::New && self.changes_nothing() => Ok(text),
            _ => Err(self.changed("the keys can't be told apart after they are set")),
        }
    }

    /// Sets or removes a dotted key; `None` when its table isn't there, or it is no text.
    fn set(&self, text: &str, key: &str, value: Option<&str>) -> Result<Option<String>> {
        let document = self.parse(text)?;
        match (find(document.as_item(), key), value) {
            (None, None) => Ok(Some(text.to_owned())),
            (Some(item), Some(value)) => {
                // The value alone is replaced: spaces, comments and line ends stay.
                let Some(span) = item.as_value().filter(|old| old.is_str()).and_then(Value::span)
                else {
                    return Ok(None);
                };
                let (before, after) = (&text[..span.start], &text[span.end..]);
                Ok(Some(format!("{before}{}{after}", Value::from(value))))
            }
            (_, value) => {
                let mut document: DocumentMut =
                    text.parse().map_err(|error| self.no_toml(error))?;
                Ok(insert_or_remove(&mut document, key, value).map(|()| document.to_string()))
            }
        }
    }

    fn parse<'t>(&self, text: &'t str) -> Result<Document<&'t str>> {
        Document::parse(text).map_err(|error| self.no_toml(error))
    }

    fn no_toml(&self, error: TomlError) -> Error {
        self.changed("the file is no TOML any more").caused_by(error)
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

/// A config file's text with the new value of one edit.
pub(crate) fn edited(text: &str, edit: &ConfigEdit) -> Result<String> {
    EditedFile { path: edit.path.clone(), role: edit.file, edits: vec![edit] }
        .with(text, Setting::New)
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

fn find<'a>(root: &'a Item, key: &str) -> Option<&'a Item> {
    key.split('.').try_fold(root, |item, part| item.get(part))
}

fn get<'a>(root: &'a Item, key: &str) -> Option<&'a str> {
    find(root, key)?.as_str()
}

/// Adds a key that isn't there, or removes one; `None` when its table isn't there.
fn insert_or_remove(document: &mut DocumentMut, key: &str, text: Option<&str>) -> Option<()> {
    let (tables, last) = key.rsplit_once('.').map_or((None, key), |(t, last)| (Some(t), last));
    let mut table: &mut Item = document.as_item_mut();
    for part in tables.into_iter().flat_map(|tables| tables.split('.')) {
        table = table.get_mut(part)?;
    }
    let table = table.as_table_like_mut()?;
    match text {
        None => table.remove(last),
        Some(text) => table.insert(last, value(text)),
    };
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(key: &str, old: Option<&str>) -> ConfigEdit {
        ConfigEdit {
            file: ConfigFile::Node,
            path: "config.toml".into(),
            key: key.into(),
            old: old.map(str::to_owned),
            guard: "guard".into(),
            new: "pebbledb".into(),
        }
    }

    fn file(edit: &ConfigEdit) -> EditedFile<'_> {
        EditedFile { path: edit.path.clone(), role: edit.file, edits: vec![edit] }
    }

    #[test]
    fn only_the_value_changes_and_comments_and_line_ends_stay() {
        let text = "# top\r\n\r\n  db_backend   = 'goleveldb' # engine\r\n[storage]\r\n\tx = 1\r\n";
        let edit = edit("db_backend", Some("goleveldb"));
        let file = file(&edit);
        assert_eq!(file.setting(text).unwrap(), Some(Setting::Old));
        let new = file.with(text, Setting::New).unwrap();
        assert_eq!(new, text.replace("'goleveldb'", "\"pebbledb\""));
        assert_eq!(file.setting(&new).unwrap(), Some(Setting::New));
        let guard = file.with(&new, Setting::Guard).unwrap();
        assert_eq!(guard, text.replace("'goleveldb'", "\"guard\""));
    }

    #[test]
    fn a_key_that_was_absent_goes_again() {
        let text = "# top\na = 1\n\n[storage]\nx = 1 # here\n";
        let edit = edit("db_backend", None);
        let file = file(&edit);
        assert_eq!(file.setting(text).unwrap(), Some(Setting::Old));
        let new = file.with(text, Setting::New).unwrap();
        assert_eq!(new, text.replace("a = 1\n", "a = 1\ndb_backend = \"pebbledb\"\n"));
        assert_eq!(file.with(&new, Setting::Old).unwrap(), text);
    }

    #[test]
    fn dotted_keys_are_found_and_what_is_no_text_is_left_alone() {
        let dotted = edit("storage.engine", Some("a"));
        let text = "[storage]\nengine = \"a\"\n";
        let set = file(&dotted).with(text, Setting::New).unwrap();
        assert_eq!(set, "[storage]\nengine = \"pebbledb\"\n");
        assert!(file(&dotted).with("other = 1\n", Setting::New).is_err());
        assert!(file(&dotted).with("[storage]\nengine = 7\n", Setting::New).is_err());
        assert_eq!(file(&dotted).setting("[storage]\nengine = \"b\"\n").unwrap(), None);
        assert_eq!(file(&dotted).setting("no toml [").unwrap_err().kind(), Kind::Stopped);
    }
}
