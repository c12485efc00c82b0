//! Proves that one record is in a dataset, in a file that anybody can check offline.
//!
//! The database is read twice: once for the roots, once for the leaves of the one segment that
//! the record is in.

use crate::error::{Error, Kind, Result};
use crate::home::OpenHome;
use crate::tally::TallyOptions;
use crate::watch::Watch;
use transload_model::commitment::TableCommitment;
use transload_model::layout::Placement;
use transload_model::merkle::{Hash, inclusion_path};
use transload_model::proof::{Inclusion, RecordProof, segment_of};
use transload_model::record::{RecordHasher, TableName};
use transload_store::{KeyRange, Scan};

/// Proves the record of `table` with canonical key `key`.
///
/// # Errors
/// [`Kind::Usage`] when there is no such table or record; [`Kind::Difference`] when the data
/// can't be read; [`Kind::Stopped`] when the watch asks to stop.
pub fn prove(
    home: &OpenHome<'_>,
    table: &TableName,
    key: &[u8],
    options: TallyOptions,
    watch: &Watch,
) -> Result<RecordProof> {
    let tallies = home.tallies(options, watch)?;
    let tables: Vec<TableCommitment> =
        tallies.into_values().flat_map(|tally| tally.tables).collect();
    let dataset = home.dataset(tables)?;
    let absent = |what: &str| {
        Error::new(Kind::Usage, "prove", what.to_owned())
            .with("table", table.to_string())
            .with("key", hex::encode(key))
            .next("`transload root HOME` lists the tables; a key is given in canonical form")
    };
    let place = dataset
        .tables()
        .iter()
        .position(|other| other.name == *table)
        .ok_or_else(|| absent("the dataset has no such table"))?;
    let commitment = &dataset.tables()[place];
    let index = segment_of(commitment, key).ok_or_else(|| absent("there is no such record"))?;
    let segment = &commitment.segments[index];
    let end = commitment.segments.get(index + 1).map(|next| next.first_key.clone());
    let range = KeyRange { start: segment.first_key.clone(), end };
    let mut records = leaves_in(home, table, &range, key)?;
    records.leaves.sort_unstable();
    let at = records
        .leaves
        .binary_search_by(|(other, _)| other.as_slice().cmp(key))
        .map_err(|_| absent("there is no such record"))?;
    let leaves: Vec<Hash> = records.leaves.iter().map(|(_, leaf)| *leaf).collect();
    let segment_leaves: Vec<Hash> =
        commitment.segments.iter().map(|segment| segment.leaf(table)).collect();
    let in_tree = |leaves: &[Hash], index: usize| {
        let path = inclusion_path(leaves, index).unwrap_or_default();
        Inclusion::new(index as u64, leaves.len() as u64, &path)
    };
    let proof = RecordProof {
        format: RecordProof::FORMAT.into(),
        table: table.clone(),
        key: hex::encode(key),
        value: hex::encode(&records.value),
        in_segment: in_tree(&leaves, at),
        segment_records: segment.records,
        segment_bytes: segment.bytes,
        segment_first_key: hex::encode(&segment.first_key),
        in_table: in_tree(&segment_leaves, index),
        table_records: commitment.records,
        table_bytes: commitment.bytes,
        // Leaf 0 of the dataset is its header.
        in_dataset: in_tree(&dataset.leaves(), place + 1),
        dataset_root: hex::encode(dataset.root()),
    };
    proof.check(&dataset.root()).map_err(|error| {
        Error::new(Kind::Difference, "prove", "the data changed between two readings")
            .caused_by(error)
    })?;
    Ok(proof)
}

struct Leaves {
    leaves: Vec<(Vec<u8>, Hash)>,
    value: Vec<u8>,
}

fn leaves_in(
    home: &OpenHome<'_>,
    table: &TableName,
    range: &KeyRange,
    wanted: &[u8],
) -> Result<Leaves> {
    let read = |error| Error::reading("scan", error);
    let hasher = RecordHasher::new(table);
    let mut found = Leaves { leaves: Vec::new(), value: Vec::new() };
    for open in home.databases() {
        let tables = open.layout.tables();
        let Some(own) = tables.iter().position(|other| other.name == *table) else { continue };
        let mut scan = Scan::new(&*open.snapshot, &KeyRange::all()).map_err(read)?;
        let mut canonical = Vec::new();
        while let Some((key, value)) = scan.next().map_err(read)? {
            match open.layout.place(key, value, &mut canonical) {
                Placement::Record { table, .. } if table == own && range.contains(&canonical) => {}
                _ => continue,
            }
            found.leaves.push((canonical.clone(), hasher.leaf(&canonical, value)));
            if canonical == wanted {
                found.value = value.to_vec();
            }
        }
        let _complete = scan.receipt().map_err(read)?;
    }
    Ok(found)
}
