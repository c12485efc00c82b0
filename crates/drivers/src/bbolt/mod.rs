//! bbolt: read by positioned reads of our own, written by bbolt itself in the Go helper.
//!
//! bbolt locks the file that it opens, for reading too, and trusts every page of its memory map:
//! a file that is cut off or forged kills the process that reads it. So sources are read here
//! (modules `page`, `file`, `tree`): each page is checked before it is followed, and the file is
//! neither mapped nor locked. It changes in place, so a file that somebody writes isn't read.
//!
//! Layout: the entries of one bucket, `tm` in a node's file (cometbft-db `boltdb.go`); another is
//! named as the space.

mod file;
mod page;
mod snapshot;
mod tree;

use crate::registry::how_to_get;
use file::BboltFile;
use snapshot::BboltSnapshot;
use std::path::Path;
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Driver, Error, Guarantees, Isolation, Kind, Processes, Result, Snapshot,
    SourceOptions, Store, TargetOptions,
};

/// A node's bucket.
const BUCKET: &str = "tm";

/// bbolt's `MaxKeySize`.
const KEY_BYTES_MAX: usize = 32_768;

/// Longest value that the helper carries; bbolt itself takes 2 GiB.
const VALUE_BYTES_MAX: usize = 256 << 20;

/// The driver.
pub struct Bbolt {
    writer: Option<Box<dyn Driver>>,
}

impl Bbolt {
    /// A driver that writes through `writer`, or not at all.
    #[must_use]
    pub fn new(writer: Option<Box<dyn Driver>>) -> Self {
        Self { writer }
    }

    fn writer(&self) -> Result<&dyn Driver> {
        self.writer.as_deref().ok_or_else(|| {
            Error::new(Kind::Unsupported, "find a driver", "bbolt can only be read here")
                .help(how_to_get(Engine::Bbolt))
        })
    }
}

impl Driver for Bbolt {
    fn engine(&self) -> Engine {
        Engine::Bbolt
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        self.writer.as_ref().map_or_else(
            || (Capabilities::default(), guarantees()),
            |writer| writer.target_profile(),
        )
    }

    fn refuses_key(&self, key: &[u8]) -> Option<&'static str> {
        refuses_key(key)
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        let snapshot = BboltSnapshot::new(BboltFile::open(path)?, options.space.as_deref())?;
        Ok(Box::new(BboltSource { snapshot: Arc::new(snapshot) }))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        self.writer()?.create_target(path, options)
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        self.writer()?.reopen_target(path, options)
    }
}

/// What bbolt promises. It syncs each batch; its pages carry no checksums.
#[must_use]
pub fn guarantees() -> Guarantees {
    Guarantees {
        atomic_batch: true,
        durable_sync: true,
        ordered_writes: true,
        checksummed: false,
        isolation: Isolation::Snapshot,
        processes: Processes::One,
        key_bytes_max: KEY_BYTES_MAX,
        value_bytes_max: VALUE_BYTES_MAX,
    }
}

/// Keys of any length that bbolt doesn't take.
pub(crate) fn refuses_key(key: &[u8]) -> Option<&'static str> {
    key.is_empty().then_some("bbolt takes no empty key")
}

/// A file that nobody writes; all that it holds is its one snapshot.
struct BboltSource {
    snapshot: Arc<BboltSnapshot>,
}

impl Store for BboltSource {
    fn engine(&self) -> Engine {
        Engine::Bbolt
    }

    fn engine_version(&self) -> String {
        VERSION.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn guarantees(&self) -> Guarantees {
        guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::clone(&self.snapshot) as Arc<dyn Snapshot>)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// The only format that there is.
const VERSION: &str = "format 2";
