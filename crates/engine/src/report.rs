//! The report of a run: what was done in which time, and how far each statement reaches.
//!
//! Schema `transload.run.v1`, documented in `docs/formats/run-report.md`; u64 are strings.

use crate::plan::{Estimate, Fate, Plan};
use crate::settlement::SettledRecord;
use crate::transforming::PlannedTransform;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use transload_model::commitment::TableCommitment;
use transload_model::engine::Engine;
use transload_model::layout::TableClass;
use transload_model::record::TableName;
use transload_model::report::{Verdict, decimal};
use transload_observe::WaitTime;

/// The schema's name.
pub const RUN_SCHEMA: &str = "transload.run.v1";

/// Time spent in a phase, over all runs of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// The phase.
    pub phase: String,
    /// Milliseconds.
    #[serde(with = "decimal")]
    pub millis: u64,
}

/// A table of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportTable {
    /// Its name.
    pub name: TableName,
    /// Its class.
    pub class: TableClass,
    /// Its records.
    #[serde(with = "decimal")]
    pub records: u64,
    /// Key and value bytes.
    #[serde(with = "decimal")]
    pub bytes: u64,
    /// Its root, hex, read back from the target.
    pub root: String,
}

/// What a database that was converted as a whole says, on either side alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meaning {
    /// The table that the profile makes of it.
    pub table: TableName,
    /// Its records.
    #[serde(with = "decimal")]
    pub records: u64,
    /// Its root, hex: computed from the source, and from what was read back of the target.
    pub root: String,
    /// What the new form doesn't have.
    pub notes: Vec<String>,
}

/// The lowest and the highest height of some records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeightRange {
    /// The lowest.
    #[serde(with = "decimal")]
    pub first: u64,
    /// The highest.
    #[serde(with = "decimal")]
    pub last: u64,
}

/// What was left out of a table: read from the source, and nowhere in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutTable {
    /// The table.
    pub name: TableName,
    /// Records that were left out.
    #[serde(with = "decimal")]
    pub records: u64,
    /// Their key and value bytes.
    #[serde(with = "decimal")]
    pub bytes: u64,
    /// The root over them, hex: whoever has the old database can show what they were.
    pub root: String,
    /// The heights that they are of; absent where they are of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heights: Option<HeightRange>,
}

/// What was left out of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportTrim {
    /// Table by table; tables that were carried whole aren't listed.
    pub left_out: Vec<LeftOutTable>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Records that were missing or wrong in the source, and what became of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSettlement {
    /// The settlement's file, beside which the values are.
    pub path: PathBuf,
    /// Its SHA-256, hex, as in the journal.
    pub digest: String,
    /// The home that records were taken from; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PathBuf>,
    /// The records.
    pub records: Vec<SettledRecord>,
}

/// A database of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDatabase {
    /// Its name.
    pub name: String,
    /// Its engine before.
    pub from: Engine,
    /// Its engine after; the same when it stayed.
    pub to: Engine,
    /// What became of it.
    pub fate: Fate,
    /// Its layout after; absent when that is the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_layout: Option<String>,
    /// What its entries went through, first to last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<PlannedTransform>,
    /// What it says that didn't change, where it was changed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Meaning>,
    /// What was left out of it; absent when it was carried whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim: Option<ReportTrim>,
    /// Entries compared between both sides, bookkeeping included; 0 when it stayed.
    #[serde(with = "decimal")]
    pub entries_compared: u64,
    /// Key and value bytes compared.
    #[serde(with = "decimal")]
    pub bytes_compared: u64,
    /// Chunks.
    #[serde(with = "decimal")]
    pub chunks: u64,
    /// Its tables.
    pub tables: Vec<ReportTable>,
}

/// How far the statements of the report reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Tables that follow from what consensus signed, and were recomputed on the target.
    pub authenticated: Vec<String>,
    /// Tables that were recomputed on the target from authenticated ones.
    pub derived: Vec<String>,
    /// Tables that were compared between source and target, byte by byte, and no more.
    pub compared_only: Vec<String>,
    /// What was not looked at.
    pub not_looked_at: Vec<String>,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// The attempt.
    #[serde(with = "decimal")]
    pub attempt: u64,
    /// The plan's digest.
    pub plan_digest: String,
    /// Time in each phase.
    pub phases: Vec<PhaseTime>,
    /// How long workers have waited for what.
    #[serde(default)]
    pub waits: Vec<WaitTime>,
    /// Records in all tables.
    #[serde(with = "decimal")]
    pub records: u64,
    /// Key and value bytes that were copied.
    #[serde(with = "decimal")]
    pub bytes_copied: u64,
    /// Bytes a second of the copy.
    #[serde(with = "decimal")]
    pub copy_bytes_per_second: u64,
    /// The most memory that this process held at once; helper processes come on top.
    #[serde(with = "decimal")]
    pub peak_memory_bytes: u64,
    /// Anonymous memory at the end.
    #[serde(with = "decimal")]
    pub anonymous_memory_bytes: u64,
    /// The dataset's root, hex: of source and target alike, where nothing was converted as a
    /// whole or left out; else of the target.
    pub dataset_root: String,
    /// The databases.
    pub databases: Vec<ReportDatabase>,
    /// What was settled before the copy; absent where the plan didn't ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<ReportSettlement>,
    /// What the chain's checks said of the target.
    pub verdict: Verdict,
    /// How far all this reaches.
    pub reach: Reach,
    /// What the plan had estimated.
    pub estimate: Estimate,
}

impl RunReport {
    /// Whether a record of the source was left out because it was wrong.
    #[must_use]
    pub fn lacks_something(&self) -> bool {
        let records = self.settlement.iter().flat_map(|settlement| &settlement.records);
        records.into_iter().any(SettledRecord::is_quarantined)
    }
}

/// Sorts tables by how far the statements about them reach. A table whose class is
/// *authenticated* counts as such only when a check looked at its records, and no check found
/// anything wrong. A table without records is in none of the lists.
#[must_use]
pub fn reach(databases: &[ReportDatabase], verdict: &Verdict) -> Reach {
    let mut reach = Reach::default();
    for database in databases {
        for table in database.tables.iter().filter(|table| table.records > 0) {
            let name = table.name.to_string();
            let certified = verdict.failed() == 0 && verdict.covered.contains(&table.name);
            match (table.class, database.fate) {
                (TableClass::Authenticated, _) if certified => reach.authenticated.push(name),
                (TableClass::Derived, _) if certified => reach.derived.push(name),
                (_, Fate::Moves) => reach.compared_only.push(name),
                _ => reach.not_looked_at.push(format!("{name} (its database stays as it is)")),
            }
        }
    }
    for check in verdict.checks.iter().filter(|check| check.skipped > 0) {
        reach
            .not_looked_at
            .push(format!("{}: {} skipped, {}", check.name, check.skipped, check.note));
    }
    reach
}

/// A table of the report from its commitment and the plan's class.
pub(crate) fn report_table(plan: &Plan, commitment: &TableCommitment) -> ReportTable {
    let class = plan
        .databases
        .iter()
        .flat_map(|database| &database.tables)
        .find(|table| table.name == commitment.name)
        .map_or(TableClass::EqualOnly, |table| table.class);
    ReportTable {
        name: commitment.name.clone(),
        class,
        records: commitment.records,
        bytes: commitment.bytes,
        root: hex::encode(commitment.root()),
    }
}

/// Memory of this process, from `/proc/self/status`: (peak, anonymous now). Zero where the
/// system doesn't say.
#[must_use]
pub fn memory() -> (u64, u64) {
    let Ok(text) = fs::read_to_string("/proc/self/status") else { return (0, 0) };
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim_start_matches(':').split_whitespace().next())
            .and_then(|kib| kib.parse::<u64>().ok())
            .map_or(0, |kib| kib.saturating_mul(1024))
    };
    (field("VmHWM"), field("RssAnon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(class: TableClass, fate: Fate) -> ReportDatabase {
        let table = ReportTable {
            name: TableName::new("t").unwrap(),
            class,
            records: 1,
            bytes: 1,
            root: String::new(),
        };
        ReportDatabase {
            name: "a.db".into(),
            from: Engine::Goleveldb,
            to: Engine::Pebble2,
            fate,
            to_layout: None,
            transforms: Vec::new(),
            meaning: None,
            trim: None,
            entries_compared: 1,
            bytes_compared: 1,
            chunks: 1,
            tables: vec![table],
        }
    }

    #[test]
    fn nothing_is_called_authenticated_when_no_check_looked_at_anything() {
        // F7
        let databases = [database(TableClass::Authenticated, Fate::Moves)];
        let mut verdict = Verdict::nothing();
        assert_eq!(reach(&databases, &verdict).compared_only, ["t"]);
        verdict.skip("commit_signatures", 3, "no keys");
        let skipped = reach(&databases, &verdict);
        assert_eq!(skipped.authenticated, Vec::<String>::new());
        assert_eq!(skipped.not_looked_at, ["commit_signatures: 3 skipped, no keys"]);
        verdict.count("headers", 7);
        assert_eq!(reach(&databases, &verdict).authenticated, Vec::<String>::new());
        verdict.cover("commit_signatures", TableName::new("t").unwrap());
        assert_eq!(reach(&databases, &verdict).authenticated, Vec::<String>::new());
        verdict.cover("headers", TableName::new("t").unwrap());
        assert_eq!(reach(&databases, &verdict).authenticated, ["t"]);
    }

    #[test]
    fn a_local_table_of_a_database_that_stays_was_not_looked_at() {
        let databases = [database(TableClass::Local, Fate::StaysWithItsEngine)];
        let mut verdict = Verdict::nothing();
        verdict.count("headers", 7);
        let expected = ["t (its database stays as it is)"];
        assert_eq!(reach(&databases, &verdict).not_looked_at, expected);
    }

    #[test]
    fn this_process_has_memory() {
        let (peak, anonymous) = memory();
        assert!(peak > 1 << 20 && anonymous > 0 && anonymous <= peak);
    }
}
