//! Converting IAVL 0.x to 1.x, and leaving versions and orphans out: against the libraries' own work, and
//! against a model.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

mod dropping;
mod golden;
mod model;
mod pruning;
mod refusals;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use transload_chains::iavl;
use transload_chains::iavl::convert::{
    ConvertOptions, Converted, FastIndex, Gaps, Unreachable, prepare,
};
use transload_model::report::Verdict;
use transload_store::memory::MemoryStore;
use transload_store::{
    Error, KeyRange, Result, Scan, Snapshot, Store as _, TrustInput, VerifyOptions, VersionChoice,
};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn snapshot(entries: &Entries) -> Arc<dyn Snapshot> {
    MemoryStore::with(entries.clone()).snapshot().unwrap()
}

/// Options that refuse whatever needs consent.
fn strict(folder: &tempfile::TempDir) -> ConvertOptions {
    ConvertOptions {
        scratch_dir: folder.path().to_owned(),
        memory_bytes_max: 64 << 20,
        workers: 2,
        fast_index: FastIndex::Carry,
        unreachable: Unreachable::Refuse,
        gaps: Gaps::Refuse,
    }
}

fn convert_with(
    entries: &Entries,
    change: impl FnOnce(&mut ConvertOptions),
) -> Result<(Converted, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let mut options = strict(&folder);
    change(&mut options);
    Ok((prepare(snapshot(entries), &options, &|_, _| true)?, folder))
}

fn convert(entries: &Entries) -> Entries {
    let (converted, _folder) = convert_with(entries, |_| {}).unwrap();
    read(&converted)
}

fn refusal(entries: &Entries) -> Error {
    convert_with(entries, |_| {}).unwrap_err()
}

fn read(snapshot: &dyn Snapshot) -> Entries {
    read_range(snapshot, &KeyRange::all())
}

fn read_range(snapshot: &dyn Snapshot, range: &KeyRange) -> Entries {
    let mut scan = Scan::new(snapshot, range).unwrap();
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next().unwrap() {
        entries.insert(key.to_vec(), value.to_vec());
    }
    let _receipt = scan.receipt().unwrap();
    entries
}

fn logical_root(entries: &Entries) -> [u8; 32] {
    logical_root_or_error(entries).unwrap()
}

fn logical_root_or_error(entries: &Entries) -> Result<[u8; 32]> {
    let folder = tempfile::tempdir().unwrap();
    let table =
        iavl::logical::logical_root(&*snapshot(entries), folder.path(), 1 << 20, &|_, _| true);
    table.map(|table| table.root())
}

fn verify(entries: &Entries) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let options = VerifyOptions {
        versions: VersionChoice::All,
        workers: 1,
        memory_bytes_max: 16 << 20,
        scratch_dir: folder.path().to_owned(),
        trust: TrustInput::default(),
    };
    iavl::verify(&*snapshot(entries), &options, &|_| Ok(None), &|_, _| true).unwrap()
}
