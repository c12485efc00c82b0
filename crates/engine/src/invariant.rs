//! Invariants that an operator declares in the plan: a fixed set of predicates over counts,
//! heights, roots and tables. They are evaluated at every phase end; a violation halts.

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use transload_model::commitment::{Dataset, TableCommitment};
use transload_model::merkle::Hash;
use transload_model::record::TableName;
use transload_store::ChainFacts;

/// One predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "predicate", deny_unknown_fields)]
pub enum Invariant {
    /// The table exists.
    TableExists {
        /// The table.
        table: TableName,
    },
    /// The table has exactly this many records.
    RecordsAre {
        /// The table.
        table: TableName,
        /// How many.
        records: u64,
    },
    /// The table has at least this many records.
    RecordsAtLeast {
        /// The table.
        table: TableName,
        /// How many.
        records: u64,
    },
    /// Two tables have as many records as each other.
    SameRecords {
        /// One table.
        table: TableName,
        /// The other.
        other: TableName,
    },
    /// The table's root, hex.
    RootIs {
        /// The table.
        table: TableName,
        /// Its root.
        root: String,
    },
    /// The dataset's root, hex.
    DatasetRootIs {
        /// The root.
        root: String,
    },
    /// The last height kept.
    HeightIs {
        /// The height.
        height: u64,
    },
    /// The last height kept isn't below this.
    HeightAtLeast {
        /// The height.
        height: u64,
    },
    /// The first height kept isn't above this.
    FirstHeightAtMost {
        /// The height.
        height: u64,
    },
    /// The app hash, hex.
    AppHashIs {
        /// The hash.
        app_hash: String,
    },
}

impl Invariant {
    /// Whether it is about tables, which are known only after they were read whole; the others
    /// are about heights and hashes.
    #[must_use]
    pub fn speaks_of_tables(&self) -> bool {
        match self {
            Self::TableExists { .. }
            | Self::RecordsAre { .. }
            | Self::RecordsAtLeast { .. }
            | Self::SameRecords { .. }
            | Self::RootIs { .. } => true,
            Self::DatasetRootIs { .. }
            | Self::HeightIs { .. }
            | Self::HeightAtLeast { .. }
            | Self::FirstHeightAtMost { .. }
            | Self::AppHashIs { .. } => false,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invariant::TableExists { table } => write!(f, "table {table} exists"),
            Invariant::RecordsAre { table, records } => {
                write!(f, "table {table} has {records} records")
            }
            Invariant::RecordsAtLeast { table, records } => {
                write!(f, "table {table} has at least {records} records")
            }
            Invariant::SameRecords { table, other } => {
                write!(f, "tables {table} and {other} have as many records")
            }
            Invariant::RootIs { table, root } => write!(f, "table {table} has root {root}"),
            Invariant::DatasetRootIs { root } => write!(f, "the dataset has root {root}"),
            Invariant::HeightIs { height } => write!(f, "the last height is {height}"),
            Invariant::HeightAtLeast { height } => {
                write!(f, "the last height is at least {height}")
            }
            Invariant::FirstHeightAtMost { height } => {
                write!(f, "the first height is at most {height}")
            }
            Invariant::AppHashIs { app_hash } => write!(f, "the app hash is {app_hash}"),
        }
    }
}

/// A file of invariants may not be larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a TOML file of `[[invariants]]`.
///
/// # Errors
/// [`Kind::Refused`] when it can't be read, or has an unknown field or predicate.
pub fn read_invariants(path: &Path) -> Result<Vec<Invariant>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        invariants: Vec<Invariant>,
    }
    let refused = |message: String| {
        Error::new(Kind::Refused, "read the invariants", message)
            .with("path", path.display().to_string())
    };
    let metadata = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(refused(format!("the file is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Ok(file.invariants)
}

/// What the predicates are evaluated on.
#[derive(Clone, Debug)]
pub struct Observed {
    tables: BTreeMap<TableName, (u64, Hash)>,
    dataset_root: Option<Hash>,
    facts: ChainFacts,
}

/// Why a predicate can't be said to hold.
enum Doubt {
    /// It doesn't; this was found.
    Violated(String),
    /// What it speaks of wasn't read yet: the end of a later phase will tell.
    NotReadYet,
}

impl Observed {
    /// What is known before anything was read whole: heights and hashes.
    #[must_use]
    pub fn facts_only(facts: ChainFacts) -> Self {
        Self { tables: BTreeMap::new(), dataset_root: None, facts }
    }

    /// Some tables, read whole, before the others were read.
    #[must_use]
    pub fn some_tables(tables: &[TableCommitment], facts: ChainFacts) -> Self {
        let entry = |table: &TableCommitment| (table.name.clone(), (table.records, table.root()));
        Self { tables: tables.iter().map(entry).collect(), dataset_root: None, facts }
    }

    /// A dataset that was read whole, with its facts.
    #[must_use]
    pub fn dataset(dataset: &Dataset, facts: ChainFacts) -> Self {
        let entry = |table: &TableCommitment| (table.name.clone(), (table.records, table.root()));
        Self {
            tables: dataset.tables().iter().map(entry).collect(),
            dataset_root: Some(dataset.root()),
            facts,
        }
    }
}

/// The invariants that don't hold, each with what was found instead. One that speaks of a table
/// that wasn't read yet is left to the end of a later phase.
#[must_use]
pub fn violations(invariants: &[Invariant], observed: &Observed) -> Vec<String> {
    let mut violations = Vec::new();
    for invariant in invariants {
        if let Err(Doubt::Violated(found)) = holds(invariant, observed) {
            violations.push(format!("{invariant}, but {found}"));
        }
    }
    violations
}

fn holds(invariant: &Invariant, observed: &Observed) -> std::result::Result<(), Doubt> {
    let find = |table: &TableName| match observed.tables.get(table) {
        Some(found) => Ok(*found),
        None if observed.dataset_root.is_none() => Err(Doubt::NotReadYet),
        None => Err(Doubt::Violated(format!("there is no table {table}"))),
    };
    let expect =
        |good: bool, found: String| if good { Ok(()) } else { Err(Doubt::Violated(found)) };
    match invariant {
        Invariant::TableExists { table } => find(table).map(|_| ()),
        Invariant::RecordsAre { table, records } => {
            let (found, _) = find(table)?;
            expect(found == *records, format!("it has {found}"))
        }
        Invariant::RecordsAtLeast { table, records } => {
            let (found, _) = find(table)?;
            expect(found >= *records, format!("it has {found}"))
        }
        Invariant::SameRecords { table, other } => {
            let ((a, _), (b, _)) = (find(table)?, find(other)?);
            expect(a == b, format!("they have {a} and {b}"))
        }
        Invariant::RootIs { table, root } => {
            let found = hex::encode(find(table)?.1);
            expect(found.eq_ignore_ascii_case(root), format!("it has {found}"))
        }
        Invariant::DatasetRootIs { root } => {
            let found = hex::encode(observed.dataset_root.ok_or(Doubt::NotReadYet)?);
            expect(found.eq_ignore_ascii_case(root), format!("it has {found}"))
        }
        Invariant::HeightIs { height } => {
            let found = observed.facts.height_last;
            expect(found == Some(*height), said(found))
        }
        Invariant::HeightAtLeast { height } => {
            let found = observed.facts.height_last;
            expect(found.is_some_and(|found| found >= *height), said(found))
        }
        Invariant::FirstHeightAtMost { height } => {
            let found = observed.facts.height_first;
            expect(found.is_some_and(|found| found <= *height), said(found))
        }
        Invariant::AppHashIs { app_hash } => {
            let found = observed.facts.app_hash.as_deref();
            let good = found.is_some_and(|found| found.eq_ignore_ascii_case(app_hash));
            expect(good, found.map_or("there is none".into(), |found| format!("it is {found}")))
        }
    }
}

fn said(height: Option<u64>) -> String {
    height.map_or("there is no height".into(), |height| format!("it is {height}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableName {
        TableName::new(name).unwrap()
    }

    fn observed() -> Observed {
        let mut meta = TableCommitment::empty(table("meta"));
        meta.records = 7;
        let dataset =
            Dataset::new("test.v1", vec![meta, TableCommitment::empty(table("empty"))]).unwrap();
        let facts = ChainFacts {
            height_first: Some(1),
            height_last: Some(7),
            app_hash: Some("AB".into()),
            ..ChainFacts::default()
        };
        Observed::dataset(&dataset, facts)
    }

    #[test]
    fn every_predicate_can_hold_and_can_fail() {
        let observed = observed();
        let root = hex::encode(observed.tables[&table("meta")].1);
        let whole = hex::encode(observed.dataset_root.unwrap());
        let good = [
            Invariant::TableExists { table: table("empty") },
            Invariant::RecordsAre { table: table("meta"), records: 7 },
            Invariant::RecordsAtLeast { table: table("meta"), records: 7 },
            Invariant::SameRecords { table: table("meta"), other: table("meta") },
            Invariant::RootIs { table: table("meta"), root },
            Invariant::DatasetRootIs { root: whole },
            Invariant::HeightIs { height: 7 },
            Invariant::HeightAtLeast { height: 7 },
            Invariant::FirstHeightAtMost { height: 1 },
            Invariant::AppHashIs { app_hash: "ab".into() },
        ];
        assert_eq!(violations(&good, &observed), Vec::<String>::new());
        let bad = [
            Invariant::TableExists { table: table("other") },
            Invariant::RecordsAre { table: table("meta"), records: 6 },
            Invariant::RecordsAtLeast { table: table("meta"), records: 8 },
            Invariant::SameRecords { table: table("meta"), other: table("empty") },
            Invariant::RootIs { table: table("meta"), root: "00".into() },
            Invariant::DatasetRootIs { root: "00".into() },
            Invariant::HeightIs { height: 6 },
            Invariant::HeightAtLeast { height: 8 },
            Invariant::FirstHeightAtMost { height: 0 },
            Invariant::AppHashIs { app_hash: "ac".into() },
        ];
        assert_eq!(violations(&bad, &observed).len(), bad.len());
    }

    #[test]
    fn a_file_of_invariants_is_read_and_what_is_unknown_in_it_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invariants.toml");
        let text = "[[invariants]]\npredicate = \"height_at_least\"\nheight = 7\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(read_invariants(&path).unwrap(), [Invariant::HeightAtLeast { height: 7 }]);
        for bad in [
            format!("{text}depth = 8\n"),
            text.replace("height_at_least", "feels_right"),
            format!("surprise = 1\n{text}"),
            String::new(),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read_invariants(&path).unwrap_err().kind(), Kind::Refused);
        }
    }

    #[test]
    fn a_violation_says_what_was_found() {
        let invariant = Invariant::RecordsAre { table: table("meta"), records: 6 };
        let expected = ["table meta has 6 records, but it has 7"];
        assert_eq!(violations(&[invariant], &observed()), expected);
    }

    #[test]
    fn a_table_that_was_not_read_yet_is_left_for_later() {
        let invariant = Invariant::RecordsAre { table: table("other"), records: 6 };
        let mut meta = TableCommitment::empty(table("meta"));
        meta.records = 7;
        let some = Observed::some_tables(&[meta], ChainFacts::default());
        assert_eq!(violations(std::slice::from_ref(&invariant), &some), Vec::<String>::new());
        assert_eq!(violations(&[invariant], &observed()).len(), 1);
        let read = Invariant::RecordsAre { table: table("meta"), records: 6 };
        assert_eq!(violations(&[read], &some).len(), 1);
    }

    #[test]
    fn a_missing_height_is_never_high_enough() {
        let observed = Observed::facts_only(ChainFacts::default());
        assert_eq!(violations(&[Invariant::HeightAtLeast { height: 0 }], &observed).len(), 1);
    }
}
