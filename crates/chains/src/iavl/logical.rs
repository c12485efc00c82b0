//! The logical root of an application's state: what all kept versions hold, in either form.
//!
//! One table with a record for each leaf that a kept version reaches: store, key, and the version
//! that set it, and the value (docs/formats/logical-root.md). Neither the form of the nodes nor
//! their keys enter, so converting a database leaves it as it is.

use crate::iavl::fields::Take;
use crate::iavl::keys::store_prefix;
use crate::iavl::node::Node;
use crate::iavl::reached::{Trees, Visitor};
use crate::iavl::verify::{Progress, store_names};
use std::path::Path;
use transload_codec::{key, ordered};
use transload_model::commitment::TableCommitment;
use transload_model::record::{TableName, record_bytes};
use transload_model::report::{Verdict, printable_key};
use transload_model::tree::{RunBuilder, TableAssembler};
use transload_store::sort::{Scratch, Sequence, Sorter};
use transload_store::{Error, KeyRange, Kind, Result, Snapshot};

const OPERATION: &str = "compute the logical root of the application's state";

/// The table's name.
pub const TABLE: &str = "application/leaf";

/// What follows the canonical key in a scratch record: the record's bytes (u64) and its leaf.
const TAIL_BYTES: usize = 8 + 32;

struct Leaves<'a> {
    /// The store's name, encoded.
    store: Vec<u8>,
    builder: &'a RunBuilder,
    sorter: Sorter<'a>,
    progress: Progress<'a>,
    done: u64,
    total: u64,
}

impl Visitor for Leaves<'_> {
    fn leaf(&mut self, node: &Node<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let begin = out.len();
        out.extend_from_slice(&self.store);
        ordered::put_string(out, node.key);
        key::put_u64(out, node.version);
        let bytes = record_bytes(&out[begin..], value);
        let leaf = self.builder.leaf(&out[begin..], value);
        out.extend_from_slice(&bytes.to_be_bytes());
        out.extend_from_slice(&leaf);
        Ok(())
    }

    fn reached(&mut self, _: u64, leaf: Option<&[u8]>) -> Result<()> {
        leaf.map_or(Ok(()), |leaf| self.sorter.push(leaf))
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if (self.progress)(self.done, self.total.max(self.done)) {
            return Ok(());
        }
        Err(Error::new(Kind::Cancelled, OPERATION, "stopped as asked"))
    }
}

/// Computes the logical root of the state in `snapshot`, with scratch files in `scratch_dir`.
///
/// # Errors
/// Those of reading and of the scratch folder; [`Kind::Cancelled`] when `progress` says so;
/// [`Kind::Corrupt`] for a node or root that can't be read or isn't there, and for two reachable
/// leaves of one store, key and version whose values differ.
pub fn logical_root(
    snapshot: &dyn Snapshot,
    scratch_dir: &Path,
    memory_bytes_max: u64,
    progress: Progress<'_>,
) -> Result<TableCommitment> {
    logical_root_from(snapshot, &|_| 0, (scratch_dir, memory_bytes_max), progress)
}

/// As [`logical_root`], of the versions of each store from the one on that `first_version` says.
pub(super) fn logical_root_from(
    snapshot: &dyn Snapshot,
    first_version: &dyn Fn(&[u8]) -> u64,
    (scratch_dir, memory_bytes_max): (&Path, u64),
    progress: Progress<'_>,
) -> Result<TableCommitment> {
    let table = TableName::new(TABLE)
        .map_err(|error| Error::new(Kind::InvalidInput, OPERATION, error.to_string()))?;
    let mut stores = store_names(snapshot, &mut Verdict::nothing())?;
    // The keys' order is another where one name is the beginning of another.
    stores.sort_unstable();
    let scratch = Scratch::new(scratch_dir);
    let memory = usize::try_from(memory_bytes_max).unwrap_or(usize::MAX);
    let total = snapshot.approximate_bytes(&KeyRange::all())?;
    let mut assembler = TableAssembler::new(table.clone());
    let mut done = 0;
    for name in &stores {
        let builder = RunBuilder::new(&table);
        let mut store = Vec::new();
        ordered::put_string(&mut store, name);
        let sorter = Sorter::new(&scratch, memory / 4);
        let mut leaves = Leaves { store, builder: &builder, sorter, progress, done, total };
        let printable = printable_key(name);
        let trees = Trees {
            source: snapshot,
            scratch: &scratch,
            memory_bytes_max: memory / 2,
            name: &printable,
            prefix: &store_prefix(name),
            new_form_stays: false,
            stays_above: u64::MAX,
            first_version: first_version(name),
        };
        trees.visit(&mut leaves)?;
        done = leaves.done;
        let run = run(&table, leaves.sorter, &printable)?;
        assembler.append(run).map_err(|error| disorder(&printable, &error))?;
    }
    Ok(assembler.finish())
}

fn run(table: &TableName, sorter: Sorter<'_>, store: &str) -> Result<transload_model::tree::Run> {
    let mut builder = RunBuilder::new(table);
    let mut sorted = sorter.finish()?;
    let mut last = Vec::new();
    while let Some(record) = sorted.current() {
        // Pruning moves a root and may leave it where it was for a while: the same leaf twice.
        if record != last.as_slice() {
            let mut tail = Take(record);
            tail.skip_to_last(TAIL_BYTES)?;
            let (bytes, leaf) = (tail.u64()?, tail.array()?);
            let key = &record[..record.len() - TAIL_BYTES];
            builder.push_leaf(key, bytes, leaf).map_err(|error| disorder(store, &error))?;
            last.clear();
            last.extend_from_slice(record);
        }
        sorted.advance()?;
    }
    Ok(builder.finish())
}

fn disorder(store: &str, error: &transload_model::tree::Disorder) -> Error {
    let what =
        format!("application.db: store {store} has two values for one key and version: {error}");
    Error::new(Kind::Corrupt, OPERATION, what)
}
