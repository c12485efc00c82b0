//! Leaving entries out while a database is copied.
//!
//! A trim judges each entry by itself. The database without what is left out is a [`Snapshot`] in
//! the source's place ([`Trimmed`]), so that copying, comparing and resuming stay what they are;
//! what is left out is another ([`LeftOut`]), so that it can be counted and hashed.
//!
//! Promises of every trim: it is deterministic and idempotent (what it keeps, it keeps again as it
//! is); an entry that it doesn't understand is kept; it changes no value under a certificate.

use crate::{
    Cursor, Error, KeyRange, Kind, Reform, Result, Snapshot, TakeValue, Transform,
    refuse_another_value,
};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use transload_model::layout::Layout;
use transload_model::record::TableName;
use transload_model::report::printable_key;

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is carried as it is.
    Kept,
    /// It keeps its key and gets this value, because it speaks of what is left out.
    Becomes(Vec<u8>),
    /// It isn't carried.
    LeftOut {
        /// Its table in the layout.
        table: usize,
        /// The height that it is of, where it is of one.
        height: Option<u64>,
    },
}

/// Says what becomes of each entry of a database.
pub trait Trim: Send + Sync + fmt::Debug {
    /// What becomes of an entry.
    fn judge(&self, key: &[u8], value: &[u8]) -> Judged;

    /// Whether every entry is left out: then nobody has to read any to know.
    fn keeps_nothing(&self) -> bool {
        false
    }
}

/// How something is left out of a database.
#[derive(Clone, Debug)]
pub enum TrimRule {
    /// Each entry is judged by itself.
    Entries(Arc<dyn Trim>),
    /// What is left follows from the whole database, once it has become another layout.
    Whole(Arc<dyn Reform>),
    /// What is left follows from the whole database, before it becomes another layout.
    WholeFirst(Arc<dyn Reform>),
}

impl TrimRule {
    /// The rule for single entries, where it is one.
    #[must_use]
    pub fn entries(&self) -> Option<&Arc<dyn Trim>> {
        match self {
            Self::Entries(rule) => Some(rule),
            Self::Whole(_) | Self::WholeFirst(_) => None,
        }
    }
}

/// What is to be left out of a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrimWish {
    /// Whole databases, by the names that the profile has for them.
    pub drop: Vec<String>,
    /// Nothing of the heights below this one is kept.
    pub first_height: Option<u64>,
    /// No version of the application's state below this one is kept.
    pub first_version: Option<u64>,
    /// What no version of the application's state reaches is left out.
    pub drop_orphans: bool,
    /// The height whose header somebody trusts: it must stay.
    pub trust_height: Option<u64>,
    /// Versions of the state that somebody wants checked: they must stay.
    pub versions: Vec<u64>,
    /// The layout that the home goes to at the same time, by its name.
    pub layout: Option<String>,
}

/// What is left out of one database.
#[derive(Clone, Debug)]
pub struct DatabaseTrim {
    /// The database.
    pub database: String,
    /// What becomes of its entries.
    pub rule: TrimRule,
    /// What the rule is, and in which version.
    pub transform: Transform,
    /// The words in which somebody has asked for it.
    pub asked: String,
    /// What becomes of the tables that aren't carried whole, in words.
    pub becomes: BTreeMap<TableName, String>,
    /// About which share of the database is carried, as (part, whole), where the rule tells: a
    /// sample may miss what is rare.
    pub kept_share: Option<(u64, u64)>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// A database without what is left out.
pub struct Trimmed {
    source: Arc<dyn Snapshot>,
    rule: Arc<Checked>,
}

/// A rule that is held to its promises.
struct Checked {
    rule: Arc<dyn Trim>,
    layout: Arc<dyn Layout>,
}

impl Checked {
    /// What becomes of an entry.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] for another value where the entry's own is under a certificate, or
    /// where the rule would make yet another one of it.
    fn judge(&self, key: &[u8], value: &[u8]) -> Result<Judged> {
        let judged = self.rule.judge(key, value);
        if let Judged::Becomes(other) = &judged {
            refuse_another_value(&*self.layout, (key, value), other)?;
            let again = self.rule.judge(key, other);
            let is_same = match &again {
                Judged::Kept => true,
                Judged::Becomes(again) => again == other,
                Judged::LeftOut { .. } => false,
            };
            if !is_same {
                let what = "the rule makes something else of what it has made itself";
                return Err(Error::new(Kind::InvalidInput, "transform an entry", what)
                    .with("key", printable_key(key)));
            }
        }
        Ok(judged)
    }
}

impl Trimmed {
    /// What `rule` keeps of `source`, whose entries are laid out so.
    #[must_use]
    pub fn new(source: Arc<dyn Snapshot>, rule: Arc<dyn Trim>, layout: Arc<dyn Layout>) -> Self {
        Self { source, rule: Arc::new(Checked { rule, layout }) }
    }

    fn keeps_nothing(&self) -> bool {
        self.rule.rule.keeps_nothing()
    }

    fn kept(&self, key: &[u8], value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let Some(value) = value else { return Ok(None) };
        Ok(match self.rule.judge(key, &value)? {
            Judged::Kept => Some(value),
            Judged::Becomes(other) => Some(other),
            Judged::LeftOut { .. } => None,
        })
    }
}

impl Snapshot for Trimmed {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.kept(key, self.source.get(key)?)
    }

    fn get_many(&self, keys: &[Vec<u8>], take: &mut TakeValue<'_>) -> Result<()> {
        let mut broken = None;
        self.source.get_many(keys, &mut |place, value| match self.kept(&keys[place], value) {
            Ok(kept) => take(place, kept),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        })?;
        broken.map_or(Ok(()), Err)
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        if self.keeps_nothing() {
            return Ok(Box::new(Nothing));
        }
        Ok(Box::new(KeptCursor {
            inner: self.source.cursor(range)?,
            rule: Arc::clone(&self.rule),
            key: Vec::new(),
            value: Vec::new(),
        }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        if self.keeps_nothing() {
            return Ok(Vec::new());
        }
        self.source.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        if self.keeps_nothing() {
            return Ok(0);
        }
        self.source.approximate_bytes(range)
    }
}

struct Nothing;

impl Cursor for Nothing {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        Ok(None)
    }
}

struct KeptCursor {
    inner: Box<dyn Cursor>,
    rule: Arc<Checked>,
    // What the inner cursor lends can't be lent on from within a loop.
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Cursor for KeptCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            let Some((key, value)) = self.inner.next()? else { return Ok(None) };
            match self.rule.judge(key, value)? {
                Judged::Kept => self.value.clear(),
                Judged::Becomes(other) => {
                    fill(&mut self.key, key);
                    self.value = other;
                    break;
                }
                Judged::LeftOut { .. } => continue,
            }
            fill(&mut self.key, key);
            fill(&mut self.value, value);
            break;
        }
        Ok(Some((&self.key, &self.value)))
    }
}

fn fill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

/// The lowest and the highest height that entries are of.
pub type Heights = (u64, u64);

/// What is left out of a database, and nothing else.
pub struct LeftOut {
    source: Arc<dyn Snapshot>,
    rule: Arc<dyn Trim>,
    heights: Arc<Mutex<BTreeMap<usize, Heights>>>,
}

impl LeftOut {
    /// What `rule` leaves out of `source`.
    #[must_use]
    pub fn new(source: Arc<dyn Snapshot>, rule: Arc<dyn Trim>) -> Self {
        Self { source, rule, heights: Arc::default() }
    }

    /// The heights of each table, as far as cursors have come.
    #[must_use]
    pub fn heights(&self) -> BTreeMap<usize, Heights> {
        lock(&self.heights).clone()
    }

    fn is_left_out(&self, key: &[u8], value: &[u8]) -> bool {
        matches!(self.rule.judge(key, value), Judged::LeftOut { .. })
    }
}

impl Snapshot for LeftOut {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.source.get(key)?.filter(|value| self.is_left_out(key, value)))
    }

    fn cursor(&self, range: &KeyRange) -> Result<Box<dyn Cursor>> {
        Ok(Box::new(LeftOutCursor {
            inner: self.source.cursor(range)?,
            rule: Arc::clone(&self.rule),
            seen: BTreeMap::new(),
            heights: Arc::clone(&self.heights),
            key: Vec::new(),
            value: Vec::new(),
        }))
    }

    fn split_points(&self, range: &KeyRange, chunk_bytes: u64) -> Result<Vec<Vec<u8>>> {
        self.source.split_points(range, chunk_bytes)
    }

    fn approximate_bytes(&self, range: &KeyRange) -> Result<u64> {
        self.source.approximate_bytes(range)
    }
}

struct LeftOutCursor {
    inner: Box<dyn Cursor>,
    rule: Arc<dyn Trim>,
    seen: BTreeMap<usize, Heights>,
    heights: Arc<Mutex<BTreeMap<usize, Heights>>>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Cursor for LeftOutCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            let Some((key, value)) = self.inner.next()? else {
                // Told once, at the end: workers would wait for each other at every entry.
                let mut heights = lock(&self.heights);
                for (table, (low, high)) in std::mem::take(&mut self.seen) {
                    widen(&mut heights, table, low);
                    widen(&mut heights, table, high);
                }
                return Ok(None);
            };
            let Judged::LeftOut { table, height } = self.rule.judge(key, value) else { continue };
            if let Some(height) = height {
                widen(&mut self.seen, table, height);
            }
            fill(&mut self.key, key);
            fill(&mut self.value, value);
            return Ok(Some((&self.key, &self.value)));
        }
    }
}

fn widen(heights: &mut BTreeMap<usize, Heights>, table: usize, height: u64) {
    let (low, high) = heights.entry(table).or_insert((height, height));
    (*low, *high) = ((*low).min(height), (*high).max(height));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::{Scan, Store as _};
    use transload_model::layout::{NoPhysicalForm, Placement, RawLayout, TableClass, TableSpec};

    /// Keys are a table's letter and a height; `a` below the limit is left out.
    #[derive(Debug)]
    struct Below(u8);

    impl Trim for Below {
        fn judge(&self, key: &[u8], _value: &[u8]) -> Judged {
            match key {
                [b'a', height] if *height < self.0 => {
                    Judged::LeftOut { table: 0, height: Some(u64::from(*height)) }
                }
                b"first" => Judged::Becomes(vec![self.0]),
                _ => Judged::Kept,
            }
        }

        fn keeps_nothing(&self) -> bool {
            self.0 == u8::MAX
        }
    }

    fn raw() -> Arc<dyn Layout> {
        Arc::new(RawLayout::new(TableName::new("raw").unwrap()))
    }

    fn source() -> Arc<dyn Snapshot> {
        let heights = (1..=9).map(|height| (vec![b'a', height], vec![height; 3]));
        let others = [(b"first".to_vec(), vec![1]), (b"?".to_vec(), vec![])];
        MemoryStore::with(heights.chain(others)).snapshot().unwrap()
    }

    fn all(snapshot: &dyn Snapshot) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut scan = Scan::new(snapshot, &KeyRange::all()).unwrap();
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = scan.next().unwrap() {
            entries.insert(key.to_vec(), value.to_vec());
        }
        let _receipt = scan.receipt().unwrap();
        entries
    }

    #[test]
    fn what_is_kept_and_what_is_left_out_are_the_whole_and_no_entry_is_in_both() {
        let rule: Arc<dyn Trim> = Arc::new(Below(6));
        let kept = all(&Trimmed::new(source(), Arc::clone(&rule), raw()));
        let out = LeftOut::new(source(), rule);
        let gone = all(&out);
        assert_eq!((kept.len(), gone.len()), (6, 5));
        assert_eq!(kept[&b"first"[..]], [6], "it speaks of what is left out");
        for (key, value) in all(&*source()) {
            let in_kept = kept.get(&key);
            assert_ne!(in_kept.is_some(), gone.contains_key(&key), "{key:?}");
            if key != b"first" {
                assert_eq!(in_kept.or_else(|| gone.get(&key)), Some(&value));
            }
        }
        assert_eq!(out.heights(), BTreeMap::from([(0, (1, 5))]));
    }

    #[test]
    fn single_keys_are_answered_as_cursors_answer_them() {
        let view = Trimmed::new(source(), Arc::new(Below(6)), raw());
        let keys = [vec![b'a', 5], vec![b'a', 6], b"first".to_vec(), b"none".to_vec()];
        let expected = [None, Some(vec![6; 3]), Some(vec![6]), None];
        let mut many = Vec::new();
        let mut take = |_, value| {
            many.push(value);
            ControlFlow::Continue(())
        };
        view.get_many(&keys, &mut take).unwrap();
        assert_eq!(many, expected);
        for (key, value) in keys.iter().zip(expected) {
            assert_eq!(view.get(key).unwrap(), value);
        }
        let out = LeftOut::new(source(), Arc::new(Below(6)));
        assert_eq!(out.get(&keys[0]).unwrap(), Some(vec![5; 3]));
        assert_eq!(out.get(&keys[1]).unwrap(), None);
    }

    #[test]
    fn a_database_of_which_nothing_is_kept_is_not_read() {
        struct Unreadable;
        impl Snapshot for Unreadable {
            fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
                Ok(None)
            }
            fn cursor(&self, _: &KeyRange) -> Result<Box<dyn Cursor>> {
                Err(crate::Error::new(crate::Kind::Io, "read", "nobody may"))
            }
            fn split_points(&self, _: &KeyRange, _: u64) -> Result<Vec<Vec<u8>>> {
                Ok(vec![vec![1]])
            }
            fn approximate_bytes(&self, _: &KeyRange) -> Result<u64> {
                Ok(1)
            }
        }
        let view = Trimmed::new(Arc::new(Unreadable), Arc::new(Below(u8::MAX)), raw());
        assert!(all(&view).is_empty());
        assert!(view.split_points(&KeyRange::all(), 1).unwrap().is_empty());
        assert_eq!(view.approximate_bytes(&KeyRange::all()).unwrap(), 0);
        let view = Trimmed::new(Arc::new(Unreadable), Arc::new(Below(6)), raw());
        assert!(view.cursor(&KeyRange::all()).is_err());
    }

    #[derive(Debug)]
    struct Signed {
        tables: [TableSpec; 1],
    }

    impl Layout for Signed {
        fn id(&self) -> &'static str {
            "signed"
        }

        fn tables(&self) -> &[TableSpec] {
            &self.tables
        }

        fn place(&self, key: &[u8], _: &[u8], canonical: &mut Vec<u8>) -> Placement {
            canonical.clear();
            canonical.extend_from_slice(key);
            Placement::Record { table: 0, stream: 0, ordered_prefix_bytes: None }
        }

        fn physical(
            &self,
            _: usize,
            canonical: &[u8],
            physical: &mut Vec<u8>,
        ) -> std::result::Result<(), NoPhysicalForm> {
            physical.clear();
            physical.extend_from_slice(canonical);
            Ok(())
        }
    }

    #[test]
    fn a_value_under_a_certificate_is_never_given_another_one() {
        let name = TableName::new("signed").unwrap();
        let spec = |class| TableSpec { name: name.clone(), class, about: "of the test" };
        let view = |class| {
            let layout = Arc::new(Signed { tables: [spec(class)] });
            Trimmed::new(source(), Arc::new(Below(6)), layout)
        };
        let signed = view(TableClass::Authenticated);
        let mut cursor = signed.cursor(&KeyRange::all()).unwrap();
        let refused = loop {
            match cursor.next() {
                Ok(entry) => assert!(entry.is_some(), "nothing was refused"),
                Err(error) => break error,
            }
        };
        let alone = signed.get(b"first").unwrap_err();
        let many = signed.get_many(&[b"first".to_vec()], &mut |_, _| ControlFlow::Continue(()));
        for error in [refused, alone, many.unwrap_err()] {
            assert_eq!(error.kind(), Kind::InvalidInput);
            assert!(error.to_string().contains("under a certificate"), "{error}");
        }
        // What is left out keeps no value, and what is as it was may stay.
        assert_eq!(signed.get(&[b'a', 5]).unwrap(), None);
        assert_eq!(signed.get(&[b'a', 6]).unwrap(), Some(vec![6; 3]));
        assert_eq!(view(TableClass::Derived).get(b"first").unwrap(), Some(vec![6]));
    }
}
