//! A snapshot in which some keys have other values, or aren't there.
//!
//! Promises: a key that isn't among the changes is read as it is below, by whichever call; the
//! changes are those that it was made with.

use crate::{Cursor, KeyRange, Result, Snapshot, TakeValue};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What is read of some keys instead of what is stored: a value, or none.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A snapshot, seen with changes.
pub struct Overlay {
    inner: Arc<dyn Snapshot>,
    changes: Arc<Changes>,
}

impl Overlay {
    /// `inner` with these changes.
    #[must_use]
    pub fn new(inner: Arc<dyn Snapshot>, changes: Changes) -> Self {
        Self { inner, changes: Arc::new(changes) }
    }
}

impl Snapshot for Overlay {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.inner.get(key),
        }
    }

    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        self.inner.get_many(keys, &mut |place, value| {
            let value = self.changes.get(&keys[place]).cloned().unwrap_or(value);
            take(place, value)
        })
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        let mut cursor = OverlayCursor {
            inner: self.inner.cursor(range)?,
            stored: Stored::Unread,
            key: Vec::new(),
            value: Vec::new(),
            changes: Arc::clone(&self.changes),
            end: range.end.clone(),
            change: None,
            lent: (Vec::new(), Vec::new()),
        };
        cursor.look_for_change(&Bound::Included(range.start.clone()));
        Ok(Box::new(cursor))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.inner.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.inner.approximate_bytes(range)
    }
}

/// What is known of the entry below that comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Unread,
    Held,
    Ended,
}

struct OverlayCursor {
    inner: Box<dyn Cursor>,
    stored: Stored,
    // What the inner cursor lends can't be lent on from within a loop.
    key: Vec<u8>,
    value: Vec<u8>,
    changes: Arc<Changes>,
    end: Option<Vec<u8>>,
    /// The change that comes next.
    change: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// The change that is lent.
    lent: (Vec<u8>, Vec<u8>),
}

impl OverlayCursor {
    fn look_for_change(&mut self, from: &Bound<Vec<u8>>) {
        let mut rest = self.changes.range((from.clone(), Bound::Unbounded));
        let within = |key: &Vec<u8>| self.end.as_ref().is_none_or(|end| key < end);
        let next = rest.next().filter(|(key, _)| within(key));
        self.change = next.map(|(key, value)| (key.clone(), value.clone()));
    }

    fn change_is_next(&self) -> bool {
        let held = self.stored == Stored::Held;
        self.change.as_ref().is_some_and(|(key, _)| !held || *key <= self.key)
    }
}

impl Cursor for OverlayCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            if self.stored == Stored::Unread {
                self.stored = match self.inner.next()? {
                    Some((key, value)) => {
                        self.key.clear();
                        self.key.extend_from_slice(key);
                        self.value.clear();
                        self.value.extend_from_slice(value);
                        Stored::Held
                    }
                    None => Stored::Ended,
                };
            }
            if !self.change_is_next() {
                if self.stored == Stored::Ended {
                    return Ok(None);
                }
                self.stored = Stored::Unread;
                return Ok(Some((&self.key, &self.value)));
            }
            let Some((key, value)) = self.change.take() else { continue };
            if self.stored == Stored::Held && key == self.key {
                self.stored = Stored::Unread;
            }
            self.look_for_change(&Bound::Excluded(key.clone()));
            if let Some(value) = value {
                self.lent = (key, value);
                return Ok(Some((&self.lent.0, &self.lent.1)));
            }
        }
    }
}
