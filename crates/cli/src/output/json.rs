//! The JSON documents of the read-only commands. Every u64 is a decimal string.

use serde::Serialize;
use std::collections::BTreeMap;
use transload_engine::{DatabaseTally, OpenHome};
use transload_model::commitment::Dataset;
use transload_model::layout::TableClass;
use transload_model::report::{CheckCount, Finding, Trust, Verdict};
use transload_store::{FilePlan, Holder, StateSnapshot};

/// What `inspect`, `root` and `verify` print.
#[derive(Debug, Serialize)]
pub(crate) struct HomeDocument {
    /// `transload.inspect.v1`, `transload.root.v1` or `transload.verify.v1`.
    pub schema: String,
    /// The home or database.
    pub path: String,
    /// The engine of all databases, or `mixed`.
    pub engine: String,
    /// Its version as the files say; of the first database where they differ.
    pub engine_version: String,
    /// The chain profile, `raw` for a single database.
    pub profile: String,
    /// The node software.
    pub software: String,
    /// The key layout.
    pub layout: String,
    /// The chain's id.
    pub chain_id: Option<String>,
    /// First height kept.
    pub height_first: Option<String>,
    /// Last height kept.
    pub height_last: Option<String>,
    /// App hash that state holds, hex.
    pub app_hash: Option<String>,
    /// App hash in the last header, hex.
    pub header_app_hash: Option<String>,
    /// Heights of the stores, by name.
    pub heights: BTreeMap<String, String>,
    /// State-sync snapshots, newest first.
    pub snapshots: Vec<StateSnapshot>,
    /// The dataset's schema id.
    pub dataset_schema: String,
    /// The dataset's root; null when the databases were not read through.
    pub dataset_root: Option<String>,
    /// The databases.
    pub databases: Vec<DatabaseDocument>,
    /// The tables of all databases, by name.
    pub tables: Vec<TableDocument>,
    /// How far trust reaches; null when nothing was verified.
    pub trust: Option<Trust>,
    /// The checks made, with counts; empty when nothing was verified.
    pub checks: Vec<CheckCount>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What can never be authenticated here.
    pub limits: Vec<String>,
    /// What deserves a look.
    pub notices: Vec<String>,
    /// Files that are no databases.
    pub files: Vec<FilePlan>,
}

/// One database.
#[derive(Debug, Serialize)]
pub(crate) struct DatabaseDocument {
    /// Its name.
    pub name: String,
    /// Its engine, from its own files.
    pub engine: String,
    /// The engine's version.
    pub engine_version: String,
    /// What told so.
    pub evidence: String,
    /// What the config says.
    pub configured: Option<String>,
    /// Its layout.
    pub layout: String,
    /// Bytes on disk.
    pub disk_bytes: String,
    /// Entries, when it was read through.
    pub entries: Option<String>,
    /// Key and value bytes, when it was read through.
    pub bytes: Option<String>,
    /// The process that has it open.
    pub holder: Option<Holder>,
}

/// One table.
#[derive(Debug, Serialize)]
pub(crate) struct TableDocument {
    /// Its name.
    pub name: String,
    /// Its database.
    pub database: String,
    /// Its class.
    pub class: TableClass,
    /// Records; null when not read through.
    pub records: Option<String>,
    /// Key and value bytes; null when not read through.
    pub bytes: Option<String>,
    /// Root; null when not read through.
    pub root: Option<String>,
}

impl HomeDocument {
    /// The document of a home; with `tallies` and `dataset` when it was read through, with
    /// `verdict` when it was verified.
    #[must_use]
    pub(crate) fn new(
        command: &str,
        open: &OpenHome<'_>,
        tallies: &BTreeMap<String, DatabaseTally>,
        dataset: Option<&Dataset>,
        verdict: Option<&Verdict>,
    ) -> Self {
        let (home, facts) = (open.home(), open.facts());
        let databases: Vec<DatabaseDocument> = open
            .databases()
            .map(|database| {
                let tally = tallies.get(&database.database.name);
                DatabaseDocument {
                    name: database.database.name.clone(),
                    engine: database.recognised.engine.to_string(),
                    engine_version: database.store().engine_version(),
                    evidence: database.recognised.evidence.clone(),
                    configured: database.database.configured.clone(),
                    layout: database.layout.id().to_owned(),
                    disk_bytes: database.recognised.bytes_on_disk.to_string(),
                    entries: tally.map(|tally| tally.entries.to_string()),
                    bytes: tally.map(|tally| tally.bytes.to_string()),
                    holder: database.holder.clone(),
                }
            })
            .collect();
        let mut engines: Vec<&str> =
            databases.iter().map(|database| database.engine.as_str()).collect();
        engines.dedup();
        let mut notices = home.notices.clone();
        notices.extend(verdict.into_iter().flat_map(|verdict| verdict.notices.clone()));
        Self {
            schema: format!("transload.{command}.v1"),
            path: home.root.display().to_string(),
            engine: match engines.as_slice() {
                [engine] => (*engine).to_owned(),
                _ => "mixed".to_owned(),
            },
            engine_version: databases
                .first()
                .map(|database| database.engine_version.clone())
                .unwrap_or_default(),
            profile: home.profile.clone(),
            software: home.software.clone(),
            layout: facts.layout.clone(),
            chain_id: facts.chain_id.clone(),
            height_first: facts.height_first.map(|height| height.to_string()),
            height_last: facts.height_last.map(|height| height.to_string()),
            app_hash: facts.app_hash.clone(),
            header_app_hash: facts.header_app_hash.clone(),
            heights: facts
                .heights
                .iter()
                .map(|(name, height)| (name.clone(), height.to_string()))
                .collect(),
            snapshots: facts.snapshots.clone(),
            dataset_schema: facts.schema.clone(),
            dataset_root: dataset.map(|dataset| hex::encode(dataset.root())),
            tables: table_documents(open, tallies),
            databases,
            trust: verdict.map(|verdict| verdict.trust.clone()),
            checks: verdict.map(|verdict| verdict.checks.clone()).unwrap_or_default(),
            findings: verdict.map(|verdict| verdict.findings.clone()).unwrap_or_default(),
            limits: verdict.map(|verdict| verdict.limits.clone()).unwrap_or_default(),
            notices,
            files: home.files.clone(),
        }
    }
}

fn table_documents(
    open: &OpenHome<'_>,
    tallies: &BTreeMap<String, DatabaseTally>,
) -> Vec<TableDocument> {
    let mut tables = Vec::new();
    for database in open.databases() {
        let tally = tallies.get(&database.database.name);
        for (index, spec) in database.layout.tables().iter().enumerate() {
            let commitment = tally.and_then(|tally| tally.tables.get(index));
            tables.push(TableDocument {
                name: spec.name.to_string(),
                database: database.database.name.clone(),
                class: spec.class,
                records: commitment.map(|table| table.records.to_string()),
                bytes: commitment.map(|table| table.bytes.to_string()),
                root: commitment.map(|table| hex::encode(table.root())),
            });
        }
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    tables
}
