//! The settlement: what becomes of records that are missing or wrong, settled before anything is
//! copied. A file for each attempt beside the journal, which holds its digest
//! (docs/formats/settlement.md).
//!
//! Promises: a settlement is read as the one that the journal knows, or refused; what it says of a
//! value is true of the value's file, or it is refused.

use crate::error::{Error, Kind, Result};
use crate::history::write_durably;
use crate::planning::make_folder;
use crate::watch::Watch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use transload_model::layout::TableClass;
use transload_model::merkle::sha256;
use transload_model::record::TableName;
use transload_model::report::{Finding, decimal};
use transload_store::layers::Changes;

/// The file's schema.
pub const SETTLEMENT_SCHEMA: &str = "transload.settlement.v1";

/// The file's name in its folder.
const FILE: &str = "settlement.json";

/// A settlement's file may not be larger: a thousand records with long reasons have about 1 MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Stored and repaired values of all records together. They are held in memory; 500 parts of
/// blocks have about as much, and more than that is no repair but a sync.
pub(crate) const VALUES_BYTES_MAX: u64 = 32 << 20;

const OPERATION: &str = "read the settlement";

/// What to do with records that are missing or wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRecords {
    /// The first is named, and nothing is copied.
    #[default]
    Stop,
    /// All are listed, exported, and left out of the copy.
    Quarantine,
}

/// What the plan says of records that are missing or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSettlement {
    /// What to do with those that aren't repaired.
    pub policy: BadRecords,
    /// Another home of the same chain, from which records are taken that pass the checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_from: Option<PathBuf>,
}

/// A value that is kept in a file beside the settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptValue {
    /// The file's name.
    pub file: String,
    /// Its length.
    #[serde(with = "decimal")]
    pub bytes: u64,
    /// Its SHA-256, hex.
    pub sha256: String,
}

/// A check that has named a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedBy {
    /// The check.
    pub check: String,
    /// What it said.
    pub reason: String,
}

/// How a record was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Settled {
    /// It is left out.
    Quarantined,
    /// It has this value, taken from the peer.
    Repaired(KeptValue),
}

/// A record that was missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledRecord {
    /// Its database.
    pub database: String,
    /// Its table.
    pub table: TableName,
    /// The table's class.
    pub class: TableClass,
    /// The physical key, hex.
    pub key: String,
    /// The height that it is of, where a check has said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// The checks that have named it.
    pub named_by: Vec<NamedBy>,
    /// What was stored; absent where the record was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<KeptValue>,
    /// How it was settled.
    pub settled: Settled,
}

impl SettledRecord {
    /// Whether it is left out.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.settled == Settled::Quarantined
    }

    /// The record and what is wrong with it, for people.
    #[must_use]
    pub fn about(&self) -> String {
        let height = self.height.map_or_else(String::new, |height| format!(", height {height}"));
        let why = self.named_by.first().map_or("", |named| named.reason.as_str());
        let (table, class, key) = (&self.table, self.class, &self.key);
        format!("{}: {table} ({class}), key {key} in hex{height}: {why}", self.database)
    }
}

/// A settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// [`SETTLEMENT_SCHEMA`].
    pub schema: String,
    /// The attempt whose copy reads through it.
    #[serde(with = "decimal")]
    pub attempt: u64,
    /// The digest of the plan that asked for it.
    pub plan_digest: String,
    /// The home that records were taken from; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PathBuf>,
    /// The records.
    pub records: Vec<SettledRecord>,
    /// What is wrong and is no record of a database that moves: nothing is left out or replaced
    /// for it, and it is found again after the copy.
    pub unsettled: Vec<Finding>,
}

impl Settlement {
    /// How many records are left out.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        self.records.iter().filter(|record| record.is_quarantined()).count()
    }

    /// How many records have another value.
    #[must_use]
    pub fn repaired(&self) -> usize {
        self.records.len() - self.quarantined()
    }
}

/// What the journal holds of an attempt's settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettlementNote {
    /// SHA-256 of the file, hex.
    pub(crate) digest: String,
    #[serde(with = "decimal")]
    pub(crate) quarantined: u64,
    #[serde(with = "decimal")]
    pub(crate) repaired: u64,
}

/// A settlement with the values that it speaks of.
pub(crate) struct Values {
    pub(crate) settlement: Settlement,
    /// By their files' names.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Values {
    /// Gives a value its file.
    pub(crate) fn keep(&mut self, file: String, value: Vec<u8>) -> KeptValue {
        let kept = KeptValue {
            file: file.clone(),
            bytes: value.len() as u64,
            sha256: hex::encode(sha256(&value)),
        };
        self.files.insert(file, value);
        kept
    }

    /// What is read instead of what is stored, by database.
    pub(crate) fn changes(&self) -> Result<BTreeMap<String, Changes>> {
        self.changes_by(|_| true)
    }

    /// The same of the records that were repaired alone.
    pub(crate) fn repairs(&self) -> Result<BTreeMap<String, Changes>> {
        self.changes_by(|record| !record.is_quarantined())
    }

    fn changes_by(
        &self,
        wanted: impl Fn(&SettledRecord) -> bool,
    ) -> Result<BTreeMap<String, Changes>> {
        let mut changes: BTreeMap<String, Changes> = BTreeMap::new();
        for record in self.settlement.records.iter().filter(|record| wanted(record)) {
            let key = hex::decode(&record.key)
                .map_err(|_| refused("a key isn't hex").with("key", record.key.clone()))?;
            let value = match &record.settled {
                Settled::Quarantined => None,
                Settled::Repaired(kept) => {
                    let value = self.files.get(&kept.file).cloned();
                    Some(value.ok_or_else(|| refused("a value's file wasn't read"))?)
                }
            };
            changes.entry(record.database.clone()).or_default().insert(key, value);
        }
        Ok(changes)
    }
}

/// Where an attempt's settlement stands. Not in the attempt's folder, which `finalize` frees: what
/// was left out has no other copy then.
#[must_use]
pub fn settlement_dir(state_dir: &Path, attempt: u64) -> PathBuf {
    state_dir.join("settlements").join(format!("{attempt:04}"))
}

/// An attempt's settlement file.
#[must_use]
pub fn settlement_path(state_dir: &Path, attempt: u64) -> PathBuf {
    settlement_dir(state_dir, attempt).join(FILE)
}

/// Writes a settlement and its values, durably. Returns what the journal is to hold of it.
///
/// # Errors
/// [`Kind::Stopped`] when it can't be written.
pub(crate) fn keep_settlement(
    state_dir: &Path,
    values: &Values,
    watch: &Watch,
) -> Result<SettlementNote> {
    let settlement = &values.settlement;
    let folder = settlement_dir(state_dir, settlement.attempt);
    let failed = |path: &Path, error: std::io::Error| {
        Error::new(Kind::Stopped, "keep the settlement", error.to_string())
            .with("path", path.display().to_string())
            .next("make room there, or mend the cause, then `transload resume HOME`")
            .caused_by(error)
    };
    // One that the journal doesn't know was being written when its process was killed.
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| failed(&folder, error))?;
    }
    make_folder(&folder).map_err(|error| error.into_kind(Kind::Stopped))?;
    for (file, value) in &values.files {
        let path = folder.join(file);
        write_durably(&path, value).map_err(|error| failed(&path, error))?;
    }
    watch.step("settlement: values exported");
    let path = folder.join(FILE);
    let mut bytes = serde_json::to_vec_pretty(settlement)
        .map_err(|error| Error::new(Kind::Stopped, "keep the settlement", error.to_string()))?;
    bytes.push(b'\n');
    write_durably(&path, &bytes).map_err(|error| failed(&path, error))?;
    watch.step("settlement: written");
    Ok(SettlementNote {
        digest: hex::encode(sha256(&bytes)),
        quarantined: settlement.quarantined() as u64,
        repaired: settlement.repaired() as u64,
    })
}

/// Reads the settlement of an attempt, with the values that were taken from a peer.
///
/// # Errors
/// [`Kind::Refused`] when it, or a value, isn't the one that the journal speaks of.
pub(crate) fn read_settlement(state_dir: &Path, attempt: u64, digest: &str) -> Result<Values> {
    let folder = settlement_dir(state_dir, attempt);
    let path = folder.join(FILE);
    let at = |error: Error| error.with("path", path.display().to_string());
    let bytes = read_within(&path, FILE_BYTES_MAX)?;
    if hex::encode(sha256(&bytes)) != digest {
        return Err(at(refused("it is not the one in the journal: it was edited")));
    }
    let settlement: Settlement =
        serde_json::from_slice(&bytes).map_err(|error| at(refused(&error.to_string())))?;
    if settlement.schema != SETTLEMENT_SCHEMA || settlement.attempt != attempt {
        return Err(at(refused("it is of another format or attempt")));
    }
    let (mut files, mut total) = (BTreeMap::new(), 0_u64);
    for record in &settlement.records {
        let Settled::Repaired(kept) = &record.settled else { continue };
        total = total.saturating_add(kept.bytes);
        if kept.file.contains('/') || kept.file.starts_with('.') || total > VALUES_BYTES_MAX {
            return Err(at(refused("a value is none that a settlement holds")));
        }
        let path = folder.join(&kept.file);
        let value = read_within(&path, kept.bytes)?;
        if hex::encode(sha256(&value)) != kept.sha256 {
            return Err(refused("a value is not the one of the settlement: it was edited")
                .with("path", path.display().to_string()));
        }
        files.insert(kept.file.clone(), value);
    }
    Ok(Values { settlement, files })
}

fn read_within(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let at = |message: String| refused(&message).with("path", path.display().to_string());
    let length = fs::metadata(path).map_err(|error| at(error.to_string()))?.len();
    if length > bytes_max {
        return Err(at(format!("the file is larger than {bytes_max} bytes")));
    }
    fs::read(path).map_err(|error| at(error.to_string()))
}

fn refused(what: &str) -> Error {
    Error::new(Kind::Refused, OPERATION, what.to_owned()).next(
        "put it back as it was, or `transload rollback HOME` and make a new plan: the new attempt \
         has a settlement of its own",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let settlement = Settlement {
            schema: SETTLEMENT_SCHEMA.into(),
            attempt: 3,
            plan_digest: "00".into(),
            peer: Some("/peer".into()),
            records: Vec::new(),
            unsettled: Vec::new(),
        };
        let mut values = Values { settlement, files: BTreeMap::new() };
        let stored = Some(values.keep("0001.stored".into(), b"wrong".to_vec()));
        let right = values.keep("0002.repaired".into(), b"right".to_vec());
        let record = |key: &[u8], stored, settled| SettledRecord {
            database: "a.db".into(),
            table: TableName::new("a").unwrap(),
            class: TableClass::Authenticated,
            key: hex::encode(key),
            height: Some(7),
            named_by: vec![NamedBy { check: "c".into(), reason: "r".into() }],
            stored,
            settled,
        };
        let records = [
            record(b"k1", stored, Settled::Quarantined),
            record(b"k2", None, Settled::Repaired(right)),
        ];
        values.settlement.records.extend(records);
        values
    }

    #[test]
    fn a_settlement_reads_back_with_its_changes() {
        let folder = tempfile::tempdir().unwrap();
        let note = keep_settlement(folder.path(), &values(), &Watch::default()).unwrap();
        assert_eq!((note.quarantined, note.repaired), (1, 1));
        let again = read_settlement(folder.path(), 3, &note.digest).unwrap();
        assert_eq!(again.settlement, values().settlement);
        let changes = again.changes().unwrap();
        let expected =
            Changes::from([(b"k1".to_vec(), None), (b"k2".to_vec(), Some(b"right".to_vec()))]);
        assert_eq!(changes, BTreeMap::from([("a.db".to_owned(), expected)]));
        let exported = fs::read(settlement_dir(folder.path(), 3).join("0001.stored")).unwrap();
        assert_eq!(exported, b"wrong");
    }

    #[test]
    fn whatever_was_edited_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let note = keep_settlement(folder.path(), &values(), &Watch::default()).unwrap();
        let path = settlement_path(folder.path(), 3);
        let kind = || read_settlement(folder.path(), 3, &note.digest).err().unwrap().kind();
        let value = settlement_dir(folder.path(), 3).join("0002.repaired");
        for other in [&b"other"[..], b"right and more", b""] {
            fs::write(&value, other).unwrap();
            assert_eq!(kind(), Kind::Refused);
        }
        fs::write(&value, b"right").unwrap();
        read_settlement(folder.path(), 3, &note.digest).unwrap();
        assert!(read_settlement(folder.path(), 4, &note.digest).is_err());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("quarantined", "Quarantined")).unwrap();
        assert_eq!(kind(), Kind::Refused);
        fs::remove_file(&path).unwrap();
        assert_eq!(kind(), Kind::Refused);
    }
}
