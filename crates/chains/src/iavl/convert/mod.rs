//! IAVL 0.x to 1.x: the state of an application in the newer form, without a changed hash.
//!
//! [`prepare`] reads the source and decides for each node of the 0.x form which version and nonce
//! it has in the 1.x form: by pre-order in the version that made it, as the library itself does
//! (docs/formats/iavl-conversion.md). [`Converted`] then is a snapshot of the converted database,
//! in the order of its keys: whoever copies it reads it like any other source.
//!
//! 1. `gather`: one scan a store writes down nodes, questions by hash and groups by version.
//! 2. `number`: each version's new nodes get their nonces.
//! 3. `join`: questions are answered: which version and nonce has the node of this hash?
//! 4. `emit`: a second scan over nodes of the 0.x form writes the new ones, sorted.
//!
//! All of it is sort-merge joins over scratch files, so memory stays within the limit. The same
//! source gives the same result, however often it is prepared.
//!
//! Invariant: a node that isn't what its hash says is refused, not converted.

mod emit;
mod gather;
mod join;
mod number;
mod reach;
mod reform;
mod report;
pub(in crate::iavl) mod view;

pub use reform::{LAYOUT, NAME, ToIavl1, has_old_form};
pub use report::{ConversionReport, ORPHANS_LISTED_MAX, StoreReport, UNREACHABLE_LISTED_MAX};
pub use view::Converted;

use crate::iavl::keys::store_prefix;
use crate::iavl::verify::store_names;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use transload_model::report::{Verdict, printable_key};
use transload_store::sort::{Scratch, Sorter, Spool};
use transload_store::{Error, KeyRange, Kind, Result, Snapshot};

const OPERATION: &str = "convert the application's state to IAVL 1.x";

/// The share of a worker's memory that one sorter gets: at most five are in use at a time.
const SORTER_SHARE: usize = 6;

/// What a spool holds in memory before it writes.
const SPOOL_BYTES_MAX: usize = 64 << 10;

/// What becomes of the fast index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastIndex {
    /// It is carried as it is, with the version that it is for.
    Carry,
    /// It is left out, and so is the version that it is for: a node that wants it builds it anew.
    LeaveOut,
}

/// What becomes of nodes of the 0.x form that no version has and no orphan names. They have no
/// place in any tree, so they have no key in the 1.x form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The conversion is refused, and names them.
    Refuse,
    /// They are left out and listed.
    LeaveOut,
}

/// What to do where a store's versions have gaps. The 1.x library takes versions for a row: it
/// doesn't find those before a gap, and pruning stops or leaves nodes behind there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// The conversion is refused, and names them.
    Refuse,
    /// All versions are converted, and the gaps are listed.
    Keep,
}

/// How to convert.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// An empty folder that is ours, on a disk with room for about twice the nodes of the 0.x
    /// form.
    pub scratch_dir: PathBuf,
    /// Memory for all workers.
    pub memory_bytes_max: u64,
    /// Stores that are prepared at a time.
    pub workers: usize,
    /// The fast index.
    pub fast_index: FastIndex,
    /// Nodes that no version has.
    pub unreachable: Unreachable,
    /// Versions that aren't in a row.
    pub gaps: Gaps,
}

/// Told (bytes looked at, bytes in all, estimated); false asks to stop.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) -> bool + Sync);

/// What all workers share.
struct Work<'a> {
    options: &'a ConvertOptions,
    progress: Progress<'a>,
    bytes_done: AtomicU64,
    bytes_total: u64,
    stop: AtomicBool,
}

impl Work<'_> {
    /// Counts bytes as looked at.
    fn advance(&self, bytes: u64) -> Result<()> {
        let done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.stop.load(Ordering::Relaxed) || !(self.progress)(done, self.bytes_total.max(done)) {
            return Err(Error::new(Kind::Cancelled, OPERATION, "stopped as asked"));
        }
        Ok(())
    }
}

/// One store that is being converted.
struct Tree<'a> {
    source: &'a dyn Snapshot,
    scratch: &'a Scratch,
    work: &'a Work<'a>,
    memory_bytes_max: usize,
    /// For people.
    name: String,
    /// Of its keys.
    prefix: Vec<u8>,
}

impl<'a> Tree<'a> {
    fn sorter(&self) -> Sorter<'a> {
        Sorter::new(self.scratch, self.memory_bytes_max / SORTER_SHARE)
    }

    /// For whole entries, while at most three others are read.
    fn large_sorter(&self) -> Sorter<'a> {
        Sorter::new(self.scratch, self.memory_bytes_max / SORTER_SHARE * 2)
    }

    fn spool(&self) -> Spool<'a> {
        Spool::new(self.scratch, (self.memory_bytes_max / 256).min(SPOOL_BYTES_MAX))
    }

    /// For readers of spools.
    fn buffer_bytes(&self) -> usize {
        self.memory_bytes_max / 64
    }

    /// The store's entries of one kind.
    fn range(&self, kind: u8) -> KeyRange {
        KeyRange::prefix(&self.key(&[kind]))
    }

    /// The physical key of an entry.
    fn key(&self, entry: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), entry].concat()
    }

    /// An error about an entry of the store.
    fn error(&self, entry: &[u8], what: impl std::fmt::Display) -> Error {
        corrupt(&self.name, &self.key(entry), what)
    }
}

/// An error about an entry.
fn corrupt(store: &str, key: &[u8], what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Corrupt, OPERATION, format!("application.db: store {store}: {what}"))
        .with("key", printable_key(key))
}

/// Reads `source` and makes ready what its converted form needs.
///
/// # Errors
/// Those of reading and of the scratch folder; [`Kind::Cancelled`] when `progress` says so.
/// [`Kind::Corrupt`] names store, version and hash of what doesn't fit: an entry that can't be
/// read, a node or root that isn't there, a node that isn't what its hash says, two roots for one
/// version, and, as the options say, nodes that no version has. [`Kind::Unsupported`] for
/// versions that aren't in a row.
pub fn prepare(
    source: Arc<dyn Snapshot>,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<Converted> {
    let names = store_names(&*source, &mut Verdict::nothing())?;
    let mut order = Vec::with_capacity(names.len());
    let mut bytes_total = 0;
    for (index, name) in names.iter().enumerate() {
        let prefix = store_prefix(name);
        let mut bytes = 0;
        for (kind, scans) in [(b'n', 2), (b'o', 1), (b'r', 1)] {
            let range = KeyRange::prefix(&[prefix.as_slice(), &[kind]].concat());
            bytes += scans * source.approximate_bytes(&range)?;
        }
        bytes_total += bytes;
        order.push((std::cmp::Reverse(bytes), index));
    }
    order.sort_unstable();
    let workers = options.workers.clamp(1, names.len().max(1));
    let work = Work {
        options,
        progress,
        bytes_done: AtomicU64::new(0),
        bytes_total,
        stop: AtomicBool::new(false),
    };
    let memory = usize::try_from(options.memory_bytes_max).unwrap_or(usize::MAX) / workers;
    let scratch = Scratch::new(&options.scratch_dir);
    (workers..options.workers).for_each(|_| scratch.lend());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(names.len()));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let each = || {
        while let Some((_, index)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tree = Tree {
                source: &*source,
                scratch: &scratch,
                work: &work,
                memory_bytes_max: memory,
                name: printable_key(&names[*index]),
                prefix: store_prefix(&names[*index]),
            };
            match convert(&tree, &names[*index]) {
                Ok(store) => lock(&done).push((*index, store)),
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    work.stop.store(true, Ordering::Relaxed);
                }
            }
            if work.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    let one = || {
        each();
        scratch.lend();
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(one);
        }
        one();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut done = std::mem::take(&mut *lock(&done));
    done.sort_unstable_by_key(|(index, _)| *index);
    let stores = done.into_iter().map(|(_, store)| store).collect();
    Ok(Converted::new(Arc::clone(&source), stores, options.fast_index))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a lock guards here is pushed to whole, so a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prepares one store.
fn convert(tree: &Tree<'_>, name: &[u8]) -> Result<view::ConvertedStore> {
    let mut report = StoreReport::new(name);
    let Some(gathered) = gather::gather(tree, &mut report)? else {
        return Ok(view::ConvertedStore::untouched(tree.prefix.clone(), report));
    };
    let gather::Gathered { nodes, groups, asks, occupied, roots, roots_by_hash, taken, parents } =
        gathered;
    let nonces = number::number(tree, groups, &nodes, roots_by_hash)?;
    let joined = join::join(tree, &nodes, nonces, &occupied, asks, &mut report)?;
    let reached = if joined.unnamed > 0 { Some(reach::reached(tree)?) } else { None };
    let parts = emit::Parts { nodes, roots, taken, parents };
    let entries = emit::emit(tree, joined, &parts, reached, &mut report)?;
    Ok(view::ConvertedStore::new(tree.prefix.clone(), Arc::new(entries), report))
}
