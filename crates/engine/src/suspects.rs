//! Records that the chain's checks have named, with everything that is needed to settle them.

use crate::error::{Error, Kind, Result};
use crate::home::OpenHome;
use crate::peer::Peer;
use crate::plan::Plan;
use crate::settlement::{NamedBy, VALUES_BYTES_MAX};
use std::collections::BTreeMap;
use transload_model::layout::{Placement, TableClass};
use transload_model::record::TableName;
use transload_model::report::{Finding, Verdict, key_of_printable};

const OPERATION: &str = "look for bad records";

/// A record by its database and physical key.
pub(crate) type RecordKey = (String, Vec<u8>);

/// A record that a check has named.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) table: TableName,
    pub(crate) class: TableClass,
    canonical: Vec<u8>,
    pub(crate) height: Option<u64>,
    pub(crate) named_by: Vec<NamedBy>,
    /// What is stored; `None` where the record is missing.
    pub(crate) stored: Option<Vec<u8>>,
    /// Whether checks have named it only as one of several that may be wrong. It may be taken from
    /// a peer, and is never left out.
    pub(crate) perhaps: bool,
}

/// What a verdict names.
pub(crate) struct Suspects {
    pub(crate) records: BTreeMap<RecordKey, Suspect>,
    /// What is no record of a database that moves.
    pub(crate) others: Vec<Finding>,
}

impl Suspects {
    /// The records that `verdict` names.
    ///
    /// # Errors
    /// [`Kind::Difference`] when there are more findings than a verdict holds, or more bytes than
    /// a settlement does; those of reading.
    pub(crate) fn of(verdict: &Verdict, open: &OpenHome<'_>, plan: &Plan) -> Result<Self> {
        if verdict.failed() > verdict.findings.len() as u64 {
            let what = format!(
                "{} things are wrong, more than the {} that can be named and settled one by one",
                verdict.failed(),
                verdict.findings.len()
            );
            return Err(too_much(what));
        }
        let mut this = Self { records: BTreeMap::new(), others: Vec::new() };
        let mut bytes = 0;
        for finding in &verdict.findings {
            let Some(key) = key_of_printable(&finding.key).filter(|key| !key.is_empty()) else {
                this.others.push(finding.clone());
                continue;
            };
            let named = NamedBy { check: finding.check.clone(), reason: finding.what.clone() };
            let others = finding.perhaps.iter().filter_map(|key| key_of_printable(key));
            let keys = std::iter::once((key, false)).chain(others.map(|key| (key, true)));
            for (key, perhaps) in keys {
                let place = (finding.database.clone(), key);
                if let Some(known) = this.records.get_mut(&place) {
                    known.perhaps &= perhaps;
                    if !known.named_by.contains(&named) {
                        known.named_by.push(named.clone());
                    }
                    continue;
                }
                match suspect(finding, &place.1, named.clone(), open, plan)? {
                    Some(suspect) => {
                        bytes += suspect.stored.as_ref().map_or(0, |value| value.len() as u64);
                        this.records.insert(place, Suspect { perhaps, ..suspect });
                    }
                    None if perhaps => {}
                    None => this.others.push(finding.clone()),
                }
            }
        }
        if bytes > VALUES_BYTES_MAX {
            return Err(too_much(format!("bad records of {bytes} bytes are stored")));
        }
        Ok(this)
    }
}

fn suspect(
    finding: &Finding,
    key: &[u8],
    named: NamedBy,
    open: &OpenHome<'_>,
    plan: &Plan,
) -> Result<Option<Suspect>> {
    let moves = plan.moving().any(|one| one.name == finding.database);
    let Some(database) = open.database(&finding.database).filter(|_| moves) else {
        return Ok(None);
    };
    let stored = database.snapshot.get(key).map_err(|error| {
        Error::reading(OPERATION, error).with("database", finding.database.clone())
    })?;
    let mut canonical = Vec::new();
    let value = stored.as_deref().unwrap_or_default();
    let Placement::Record { table, .. } = database.layout.place(key, value, &mut canonical) else {
        return Ok(None);
    };
    let spec = &database.layout.tables()[table];
    Ok(Some(Suspect {
        table: spec.name.clone(),
        class: spec.class,
        canonical,
        height: finding.height,
        named_by: vec![named],
        stored,
        perhaps: false,
    }))
}

fn too_much(what: String) -> Error {
    Error::new(Kind::Difference, OPERATION, what).next(
        "so much is no matter of single records: restore the home from a backup or let the node \
         sync again; `transload verify HOME` lists what is wrong",
    )
}

/// A record that a peer has otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) suspect: Suspect,
    pub(crate) value: Vec<u8>,
}

/// Records with the values that a peer has for them.
pub(crate) type TakenRecords = BTreeMap<RecordKey, Taken>;

/// What `peer` has otherwise of the suspects of one class that aren't among `known`.
///
/// # Errors
/// [`Kind::Refused`] when the peer can't be read; [`Kind::Difference`] when it is too much.
pub(crate) fn taken_from(
    peer: &Peer<'_>,
    suspects: &Suspects,
    class: TableClass,
    known: &TakenRecords,
) -> Result<TakenRecords> {
    let mut taken = TakenRecords::new();
    let mut bytes: u64 = known.values().map(|one| one.value.len() as u64).sum();
    for (place, suspect) in &suspects.records {
        if suspect.class != class || known.contains_key(place) {
            continue;
        }
        let value = peer.value(&place.0, &suspect.table, &suspect.canonical)?;
        let Some(value) = value.filter(|value| suspect.stored.as_ref() != Some(value)) else {
            continue;
        };
        bytes += value.len() as u64;
        if bytes > VALUES_BYTES_MAX {
            return Err(too_much(format!("the peer has {bytes} bytes for bad records")));
        }
        taken.insert(place.clone(), Taken { suspect: suspect.clone(), value });
    }
    Ok(taken)
}
