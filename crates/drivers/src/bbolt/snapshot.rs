//! Reading: one bucket of one state of the file.

use super::BUCKET;
use super::file::BboltFile;
use super::page;
use super::tree::{Root, TreeWalk, separators};
use std::sync::{Arc, OnceLock};
use transload_model::report::printable_key;
use transload_store::{Cursor, Error, KeyRange, Kind, Result, Snapshot};

/// Parts that split points are chosen from.
const PARTS_MIN: usize = 4_096;

/// Names of buckets looked at and listed when a choice is needed.
const NAMES_MAX: usize = 64;

/// The state of the bucket when the file was opened.
pub(super) struct BboltSnapshot {
    state: Arc<State>,
    separators: OnceLock<Vec<Vec<u8>>>,
}

struct State {
    file: BboltFile,
    root: Root,
}

impl BboltSnapshot {
    pub(super) fn new(file: BboltFile, space: Option<&str>) -> Result<Self> {
        let root = match space {
            Some(name) => bucket(&file, name.as_bytes())?.ok_or_else(|| {
                Error::new(Kind::NotFound, "open a bucket", "no bucket has this name")
                    .with("path", file.path().display().to_string())
                    .with("space", name)
            })?,
            None => only_bucket(&file)?,
        };
        Ok(Self { state: Arc::new(State { file, root }), separators: OnceLock::new() })
    }

    fn separators(&self) -> Result<&[Vec<u8>]> {
        if let Some(separators) = self.separators.get() {
            return Ok(separators);
        }
        let found = separators(&self.state.file, &self.state.root, PARTS_MIN)?;
        Ok(self.separators.get_or_init(|| found))
    }

    fn separators_in(&self, range: &KeyRange) -> Result<&[Vec<u8>]> {
        let all = self.separators()?;
        let from = all.partition_point(|key| *key < range.start);
        let to = range.end.as_ref().map_or(all.len(), |end| all.partition_point(|key| key < end));
        Ok(all.get(from..to).unwrap_or(&[]))
    }
}

/// The bucket of this name.
fn bucket(file: &BboltFile, name: &[u8]) -> Result<Option<Root>> {
    let mut walk = TreeWalk::new(&Root::Page(file.root()));
    walk.seek(file, name)?;
    match walk.next(file)? {
        Some(element) if element.key == name && element.is_bucket => page::bucket(element.value)
            .map(|bucket| Some(Root::of(bucket)))
            .ok_or_else(|| file.corrupt("a bucket's record contradicts itself")),
        _ => Ok(None),
    }
}

/// The only bucket. A file that a node has just made, and that was killed before it made its
/// bucket, has none and is empty.
fn only_bucket(file: &BboltFile) -> Result<Root> {
    let mut walk = TreeWalk::new(&Root::Page(file.root()));
    walk.seek(file, b"")?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    while let Some(element) = walk.next(file)? {
        if names.len() == NAMES_MAX {
            break;
        }
        if !element.is_bucket {
            return Err(file.corrupt("an entry stands among the buckets"));
        }
        names.push(element.key.to_vec());
    }
    match names.as_slice() {
        [] => Ok(Root::Page(file.root())),
        [only] => bucket(file, only)?
            .ok_or_else(|| file.corrupt("a bucket that is listed can't be found")),
        several => {
            let names: Vec<String> = several.iter().map(|name| printable_key(name)).collect();
            Err(Error::new(
                Kind::InvalidInput,
                "open a bucket",
                format!("the file has several buckets, a node's has only {BUCKET:?}: name one as the space"),
            )
            .with("path", file.path().display().to_string())
            .with("buckets", names.join(" ")))
        }
    }
}

impl Snapshot for BboltSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let State { file, root } = &*self.state;
        let mut walk = TreeWalk::new(root);
        walk.seek(file, key)?;
        match walk.next(file)? {
            Some(element) if element.key == key && !element.is_bucket => {
                Ok(Some(element.value.to_vec()))
            }
            _ => Ok(None),
        }
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let mut walk = TreeWalk::new(&self.state.root);
        if !range.is_empty() {
            walk.seek(&self.state.file, &range.start)?;
        }
        Ok(Box::new(BboltCursor {
            state: Arc::clone(&self.state),
            walk,
            end: range.end.clone(),
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
        let parts = self.separators()?.len() as u128 + 1;
        let within = self.separators_in(range)?.len() as u128 + 1;
        let all = u128::from(self.state.file.bytes());
        Ok(u64::try_from(all * within / parts).unwrap_or(u64::MAX))
    }
}

struct BboltCursor {
    state: Arc<State>,
    walk: TreeWalk,
    end: Option<Vec<u8>>,
    ended: bool,
}

impl Cursor for BboltCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.ended {
            return Ok(None);
        }
        match self.walk.next(&self.state.file)? {
            None => {
                self.ended = true;
                Ok(None)
            }
            Some(element) if self.end.as_deref().is_some_and(|end| element.key >= end) => {
                self.ended = true;
                Ok(None)
            }
            Some(element) if element.is_bucket => Err(Error::new(
                Kind::UnknownFormat,
                "scan",
                "a bucket stands among the entries, which a record can't",
            )
            .with("path", self.state.file.path().display().to_string())
            .with("bucket", printable_key(element.key))),
            Some(element) => Ok(Some((element.key, element.value))),
        }
    }
}
