//! Reading: one tree of one state of the file.

use super::page::Tree;
use super::tree::{Environment, TreeWalk, separators};
use super::{EMPTY_KEY, EMPTY_KEY_SUFFIX, KEY_BYTES_MAX};
use heed::{RoTxn, WithoutTls};
use std::sync::{Arc, Mutex, OnceLock};
use transload_store::{Cursor, Error, KeyRange, Kind, Result, Snapshot};

/// Parts that split points are chosen from.
const PARTS_MIN: usize = 4_096;

/// Names of databases looked at and listed when a choice is needed.
const NAMES_MAX: usize = 64;

/// A transaction that keeps LMDB from using a state's pages again.
pub(super) type Pin = Mutex<RoTxn<'static, WithoutTls>>;

/// The state of the entries when the snapshot was taken.
pub(super) struct LmdbSnapshot {
    state: Arc<State>,
    separators: OnceLock<Vec<Vec<u8>>>,
}

struct State {
    environment: Arc<Environment>,
    tree: Tree,
    /// The value of the empty key, kept in a database of its own.
    empty_key_value: Option<Vec<u8>>,
    _pin: Option<Pin>,
}

impl LmdbSnapshot {
    pub(super) fn new(
        environment: Arc<Environment>,
        space: Option<&str>,
        pin: Option<Pin>,
    ) -> Result<Self> {
        let (tree, name) = match space {
            Some(name) => {
                let tree = named(&environment, name.as_bytes())?.ok_or_else(|| {
                    Error::new(Kind::NotFound, "open a database", "no database has this name")
                        .with("space", name)
                })?;
                (tree, Some(name.as_bytes().to_vec()))
            }
            None => only_tree(&environment)?,
        };
        check_order(&tree)?;
        let empty_key_value = match name {
            Some(name) => empty_key_value(&environment, &name)?,
            None => None,
        };
        let state = State { environment, tree, empty_key_value, _pin: pin };
        Ok(Self { state: Arc::new(state), separators: OnceLock::new() })
    }

    fn separators(&self) -> Result<&[Vec<u8>]> {
        if let Some(separators) = self.separators.get() {
            return Ok(separators);
        }
        let found = separators(&self.state.environment, &self.state.tree, PARTS_MIN)?;
        Ok(self.separators.get_or_init(|| found))
    }

    fn separators_in(&self, range: &KeyRange) -> Result<&[Vec<u8>]> {
        let all = self.separators()?;
        let from = all.partition_point(|key| *key < range.start);
        let to = range.end.as_ref().map_or(all.len(), |end| all.partition_point(|key| key < end));
        Ok(all.get(from..to).unwrap_or(&[]))
    }
}

/// The record of a named database.
fn named(environment: &Environment, name: &[u8]) -> Result<Option<Tree>> {
    let mut walk = TreeWalk::new(&environment.main());
    walk.seek(environment, name)?;
    match walk.next(environment)? {
        Some(entry) if entry.key == name && entry.is_database => Tree::decode(entry.value)
            .map(Some)
            .ok_or_else(|| environment.corrupt("the record of a database contradicts itself")),
        _ => Ok(None),
    }
}

/// The main database when it holds entries, else the only named one; and the latter's name.
fn only_tree(environment: &Environment) -> Result<(Tree, Option<Vec<u8>>)> {
    let main = environment.main();
    let mut walk = TreeWalk::new(&main);
    walk.seek(environment, b"")?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    while let Some(entry) = walk.next(environment)? {
        if !entry.is_database || names.len() == NAMES_MAX {
            break;
        }
        names.push(entry.key.to_vec());
    }
    if names.is_empty() {
        return Ok((main, None));
    }
    let is_aid = |name: &[u8]| {
        name.strip_suffix(EMPTY_KEY_SUFFIX.as_bytes())
            .is_some_and(|owner| names.iter().any(|name| name == owner))
    };
    let mut owners = names.iter().filter(|name| !is_aid(name));
    let (Some(only), None) = (owners.next(), owners.next()) else {
        let names: Vec<String> =
            names.iter().map(|name| transload_model::report::printable_key(name)).collect();
        return Err(Error::new(
            Kind::InvalidInput,
            "open a database",
            "the environment has several databases: name one as the space",
        )
        .with("databases", names.join(" ")));
    };
    if main.entries != names.len() as u64 {
        return Err(Error::new(
            Kind::UnknownFormat,
            "open a database",
            "the environment mixes entries and named databases in its main database",
        ));
    }
    let tree = named(environment, only)?
        .ok_or_else(|| environment.corrupt("a database that is listed can't be found"))?;
    Ok((tree, Some(only.clone())))
}

/// Other orders and duplicates are set by flags of the database.
fn check_order(tree: &Tree) -> Result<()> {
    if tree.flags == 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::UnknownFormat,
        "open a database",
        "the database has another key order, or several values a key",
    )
    .with("flags", format!("{:#x}", tree.flags)))
}

fn empty_key_value(environment: &Environment, owner: &[u8]) -> Result<Option<Vec<u8>>> {
    let name = [owner, EMPTY_KEY_SUFFIX.as_bytes()].concat();
    let Some(tree) = named(environment, &name)? else { return Ok(None) };
    let mut walk = TreeWalk::new(&tree);
    walk.seek(environment, EMPTY_KEY)?;
    let value = match walk.next(environment)? {
        Some(entry) if entry.key == EMPTY_KEY => Some(entry.value.to_vec()),
        _ => None,
    };
    Ok(value)
}

impl Snapshot for LmdbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let state = &self.state;
        if key.is_empty() {
            return Ok(state.empty_key_value.clone());
        }
        if key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        let mut walk = TreeWalk::new(&state.tree);
        walk.seek(&state.environment, key)?;
        match walk.next(&state.environment)? {
            Some(entry) if entry.key == key => Ok(Some(entry.value.to_vec())),
            _ => Ok(None),
        }
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let mut walk = TreeWalk::new(&self.state.tree);
        if !range.is_empty() {
            walk.seek(&self.state.environment, &range.start)?;
        }
        let empty_key = range.contains(b"") && self.state.empty_key_value.is_some();
        Ok(Box::new(LmdbCursor {
            state: Arc::clone(&self.state),
            walk,
            range: range.clone(),
            empty_key,
            seen: 0,
            ended: range.is_empty(),
        }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let points = self.separators_in(range)?;
        let bytes = self.approximate_bytes(range)?;
        Ok(crate::separators::chosen(points, &range.start, bytes, chunk_bytes))
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        if range.is_empty() {
            return Ok(0);
        }
        let State { tree, environment, .. } = &*self.state;
        let all = u128::from(tree.pages) * u128::from(environment.page_bytes());
        let parts = self.separators()?.len() as u128 + 1;
        let within = self.separators_in(range)?.len() as u128 + 1;
        Ok(u64::try_from(all * within / parts).unwrap_or(u64::MAX))
    }
}

struct LmdbCursor {
    state: Arc<State>,
    walk: TreeWalk,
    range: KeyRange,
    /// Whether the entry of the empty key is still to come.
    empty_key: bool,
    seen: u64,
    ended: bool,
}

impl Cursor for LmdbCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if std::mem::take(&mut self.empty_key)
            && let Some(value) = &self.state.empty_key_value
        {
            return Ok(Some((b"", value)));
        }
        if self.ended {
            return Ok(None);
        }
        let State { environment, tree, .. } = &*self.state;
        match self.walk.next(environment)? {
            None => {
                self.ended = true;
                // A walk over everything must have met as many entries as the tree claims.
                if self.range == KeyRange::all() && self.seen != tree.entries {
                    return Err(environment
                        .corrupt("the tree has another number of entries than its record says")
                        .with("entries", self.seen.to_string())
                        .with("recorded", tree.entries.to_string()));
                }
                Ok(None)
            }
            Some(entry) if self.range.end.as_deref().is_some_and(|end| entry.key >= end) => {
                self.ended = true;
                Ok(None)
            }
            Some(entry) if entry.is_database => Err(Error::new(
                Kind::UnknownFormat,
                "scan",
                "a named database stands among the entries",
            )),
            Some(entry) => {
                self.seen += 1;
                Ok(Some((entry.key, entry.value)))
            }
        }
    }
}
