//! What becomes of a database's entries on their way to another layout.
//!
//! A change of layout is a rule from one source entry to target entries. Copying, reading back
//! and comparing know only the rule, so that a new kind of change is one implementation more.
//!
//! Promises of every rule: it is deterministic (a chunk that is copied again gives the same
//! entries), two source entries never give one target key, and an entry for which that can't be
//! promised is refused by name.

use crate::{Error, Kind, Result, Transform, WayBack};
use transload_model::layout::{Layout, Placement};
use transload_model::report::printable_key;

const OPERATION: &str = "change the layout";

/// Which entries of the target stand close together: those of one run that come from
/// neighbouring entries of the source do, with hardly any of another stretch between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The table.
    pub table: usize,
    /// The stream of the source, see [`Placement::Record::stream`].
    pub source_stream: u32,
    /// The stream of the target.
    pub target_stream: u32,
}

/// Where a rule puts target entries.
pub type PutEntry<'a> = dyn FnMut(Run, &[u8], &[u8]) -> Result<()> + 'a;

/// A change of a database's layout.
pub trait Reshape: Send + Sync {
    /// What it is, and in which version.
    fn transform(&self) -> Transform;

    /// The layout of what is read.
    fn source(&self) -> &dyn Layout;

    /// The layout of what is written.
    fn target(&self) -> &dyn Layout;

    /// Begins a pass over a stretch of the source; each worker has one of its own.
    fn pass(&self) -> Box<dyn ReshapePass + '_>;

    /// Gives the entries that follow from no single source entry. They are written once all
    /// others are durable.
    ///
    /// # Errors
    /// Those of `put`.
    fn finish(&self, put: &mut PutEntry<'_>) -> Result<()> {
        let mut all = self.target().bookkeeping().iter();
        all.try_for_each(|(key, value)| put(Run::default(), key, value))
    }
}

/// One pass over a stretch of the source.
pub trait ReshapePass {
    /// Gives the target's entries for an entry of the source, possibly none.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] for an entry that can't be carried to the other layout, with its
    /// key; those of `put`.
    fn entry(&mut self, key: &[u8], value: &[u8], put: &mut PutEntry<'_>) -> Result<()>;
}

/// What the rule between two layouts is called.
const REKEY: &str = "rekey";

/// What follows for the same entries has changed so often, this one included.
const REKEY_VERSION: u32 = 1;

/// Both layouts have the same tables and canonical keys: every record keeps its value and gets
/// the key that it has in the other layout.
#[derive(Clone, Copy, Debug)]
pub struct Rekey<'a> {
    source: &'a dyn Layout,
    target: &'a dyn Layout,
}

impl<'a> Rekey<'a> {
    /// The rule between two layouts.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] when their tables aren't the same.
    pub fn new(source: &'a dyn Layout, target: &'a dyn Layout) -> Result<Self> {
        let names = |layout: &'a dyn Layout| layout.tables().iter().map(|table| &table.name);
        if names(source).eq(names(target)) {
            return Ok(Self { source, target });
        }
        Err(Error::unsupported(
            OPERATION,
            format!("{} and {} don't have the same tables", source.id(), target.id()),
        ))
    }
}

impl Reshape for Rekey<'_> {
    fn transform(&self) -> Transform {
        Transform {
            id: REKEY,
            version: REKEY_VERSION,
            from: self.source.id().to_owned(),
            to: self.target.id().to_owned(),
            way_back: WayBack::Inverse(REKEY.to_owned()),
        }
    }

    fn source(&self) -> &dyn Layout {
        self.source
    }

    fn target(&self) -> &dyn Layout {
        self.target
    }

    fn pass(&self) -> Box<dyn ReshapePass + '_> {
        Box::new(RekeyPass {
            rule: self,
            canonical: Vec::new(),
            physical: Vec::new(),
            again: Vec::new(),
        })
    }
}

struct RekeyPass<'a> {
    rule: &'a Rekey<'a>,
    canonical: Vec<u8>,
    physical: Vec<u8>,
    again: Vec<u8>,
}

impl RekeyPass<'_> {
    fn refused(&self, table: usize, key: &[u8], why: String) -> Error {
        let table = &self.rule.source.tables()[table].name;
        Error::new(Kind::InvalidInput, OPERATION, why)
            .with("table", table.to_string())
            .with("key", printable_key(key))
            .help(
                "this database can't go to that layout; `transload migrate HOME --to ENGINE` \
                 carries it as it is",
            )
    }
}

impl ReshapePass for RekeyPass<'_> {
    fn entry(&mut self, key: &[u8], value: &[u8], put: &mut PutEntry<'_>) -> Result<()> {
        let (source, target) = (self.rule.source, self.rule.target);
        let Placement::Record { table, stream: source_stream, .. } =
            source.place(key, value, &mut self.canonical)
        else {
            return Ok(());
        };
        if let Err(none) = target.physical(table, &self.canonical, &mut self.physical) {
            return Err(self.refused(table, key, none.to_string()));
        }
        // An unknown key keeps its bytes, and may be a known one's in the other layout: the node
        // would take it for that record.
        let meaning = match target.place(&self.physical, value, &mut self.again) {
            Placement::Record { table: other, stream: target_stream, .. } => {
                if other == table && self.again == self.canonical {
                    let run = Run { table, source_stream, target_stream };
                    return put(run, &self.physical, value);
                }
                target.tables()[other].name.as_str()
            }
            Placement::Bookkeeping => "the layout itself",
        };
        let why = format!(
            "the key would have another meaning in {}: there it belongs to {meaning}",
            target.id()
        );
        Err(self.refused(table, key, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_model::layout::{BookkeepingEntry, NoPhysicalForm, TableClass, TableSpec};
    use transload_model::record::TableName;

    /// Known keys begin with a letter of the layout; canonical keys lack it.
    #[derive(Debug)]
    struct Lettered {
        letter: u8,
        tables: [TableSpec; 2],
    }

    impl Lettered {
        fn new(letter: u8, known: &str) -> Self {
            let table = |name: &str| TableSpec {
                name: TableName::new(name).unwrap(),
                class: TableClass::EqualOnly,
                about: "of the test",
            };
            Self { letter, tables: [table(known), table("unknown")] }
        }
    }

    impl Layout for Lettered {
        fn id(&self) -> &'static str {
            "lettered"
        }

        fn tables(&self) -> &[TableSpec] {
            &self.tables
        }

        fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
            canonical.clear();
            if key == b"version" {
                return Placement::Bookkeeping;
            }
            let known = key.strip_prefix(&[self.letter]).filter(|rest| !rest.is_empty());
            canonical.extend_from_slice(known.unwrap_or(key));
            let table = usize::from(known.is_none());
            Placement::Record { table, stream: 0, ordered_prefix_bytes: None }
        }

        fn physical(
            &self,
            table: usize,
            canonical: &[u8],
            physical: &mut Vec<u8>,
        ) -> std::result::Result<(), NoPhysicalForm> {
            physical.clear();
            if table == 0 {
                physical.push(self.letter);
            }
            physical.extend_from_slice(canonical);
            if canonical != b"none" {
                return Ok(());
            }
            let table = self.tables[table].name.clone();
            Err(NoPhysicalForm { layout: "lettered", table, key: String::new(), reason: "none" })
        }

        fn bookkeeping(&self) -> &'static [BookkeepingEntry] {
            &[(b"version", b"2")]
        }
    }

    #[test]
    fn records_get_their_other_key_and_nothing_else_changes() {
        let (old, new) = (Lettered::new(b'o', "t"), Lettered::new(b'n', "t"));
        let rule = Rekey::new(&old, &new).unwrap();
        let mut written = Vec::new();
        let mut put = |_, key: &[u8], value: &[u8]| {
            written.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        let mut pass = rule.pass();
        pass.entry(b"o1", b"x", &mut put).unwrap();
        pass.entry(b"odd", b"y", &mut put).unwrap();
        pass.entry(b"else", b"z", &mut put).unwrap();
        // What the layout says of itself is the target's own.
        pass.entry(b"version", b"1", &mut put).unwrap();
        rule.finish(&mut put).unwrap();
        let expected = [("n1", "x"), ("ndd", "y"), ("else", "z"), ("version", "2")];
        let expected: Vec<_> =
            expected.map(|(key, value)| (key.as_bytes().to_vec(), value.into())).into();
        assert_eq!(written, expected);
    }

    #[test]
    fn an_unknown_key_that_the_other_layout_knows_is_refused_by_name() {
        let (old, new) = (Lettered::new(b'o', "t"), Lettered::new(b'n', "t"));
        let rule = Rekey::new(&old, &new).unwrap();
        for key in [&b"n1"[..], b"onone"] {
            let error = rule.pass().entry(key, b"", &mut |_, _, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput);
            assert!(error.to_string().contains(&printable_key(key)), "{error}");
        }
    }

    #[test]
    fn layouts_with_other_tables_have_no_rule() {
        let (old, new) = (Lettered::new(b'o', "t"), Lettered::new(b'n', "u"));
        assert_eq!(Rekey::new(&old, &new).unwrap_err().kind(), Kind::Unsupported);
    }
}
