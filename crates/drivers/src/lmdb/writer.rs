//! Writing, by LMDB itself.

use super::snapshot::LmdbSnapshot;
use super::tree::Environment;
use super::{EMPTY_KEY, EMPTY_KEY_SUFFIX, VERSION, data_file, guarantees};
use crate::limits::check_batch;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, MdbError, WithoutTls};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use transload_model::engine::Engine;
use transload_store::{
    Capabilities, Durability, Error, Guarantees, Kind, Result, Snapshot, Store, WriteBatch, WriteOp,
};

/// Address space, not disk or memory: the file grows to this at most.
const MAP_BYTES: usize = 1 << 40;

/// Snapshots at the same time.
const READERS_MAX: u32 = 1024;

/// Named databases of one environment.
const DATABASES_MAX: u32 = 64;

type Entries = Database<'static, Bytes, Bytes>;

pub(super) struct LmdbStore {
    environment: Env<WithoutTls>,
    entries: Entries,
    empty_key: Entries,
    folder: PathBuf,
    space: String,
    /// Snapshots begin between batches, so that LMDB's state and ours are the same one.
    turn: Mutex<()>,
}

impl LmdbStore {
    /// Opens the environment and makes the databases that aren't there yet.
    pub(super) fn open(folder: &Path, space: &str) -> Result<Self> {
        let failed = |error| fault("open", folder, error);
        let environment = map(folder).map_err(failed)?;
        let aid = format!("{space}{EMPTY_KEY_SUFFIX}");
        let transaction = environment.write_txn().map_err(failed)?;
        let made = environment
            .create_databases_and_commit(transaction, |opener, transaction| {
                let entries = opener.create_database::<Bytes, Bytes>(transaction, Some(space))?;
                let empty_key = opener.create_database::<Bytes, Bytes>(transaction, Some(&aid))?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((entries, empty_key)))
            })
            .map_err(failed)?;
        let (entries, empty_key) = made.commit().ok_or_else(|| {
            Error::new(Kind::Io, "open", "the databases were not made")
                .with("path", folder.display().to_string())
        })?;
        Ok(Self {
            environment,
            entries,
            empty_key,
            folder: folder.to_owned(),
            space: space.to_owned(),
            turn: Mutex::new(()),
        })
    }
}

/// Opens the environment, with locks and a map of its file.
#[allow(unsafe_code, reason = "heed marks every open as unsafe, and there is no other way in")]
fn map(folder: &Path) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_readers(READERS_MAX).max_dbs(DATABASES_MAX);
    // SAFETY: the file may be changed only through LMDB while it is mapped. It is a target in a
    // folder that transload made for itself; LMDB's lock file, which we leave on, keeps other
    // users of LMDB apart, and heed refuses a second open of it in this process.
    unsafe { options.open(folder) }
}

impl Store for LmdbStore {
    fn engine(&self) -> Engine {
        Engine::Lmdb
    }

    fn engine_version(&self) -> String {
        VERSION.into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, bulk_load: false }
    }

    fn guarantees(&self) -> Guarantees {
        guarantees()
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = self
            .environment
            .clone()
            .static_read_txn()
            .map_err(|error| fault("snapshot", &self.folder, error))?;
        let file = Environment::open(&data_file(&self.folder))?;
        if file.transaction() != pin.id() as u64 {
            return Err(Error::new(
                Kind::Busy,
                "snapshot",
                "another process writes to the environment",
            )
            .with("path", self.folder.display().to_string())
            .retryable());
        }
        let pin = Some(Mutex::new(pin));
        Ok(Arc::new(LmdbSnapshot::new(Arc::new(file), Some(&self.space), pin)?))
    }

    /// LMDB syncs each commit; a buffered one is durable all the same.
    fn write(&self, batch: &WriteBatch, _: Durability) -> Result<()> {
        check_batch(batch, &guarantees())?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| fault("write", &self.folder, error);
        let mut transaction = self.environment.write_txn().map_err(failed)?;
        for op in batch.ops() {
            let (WriteOp::Put { key, .. } | WriteOp::Delete { key }) = op;
            let (database, key) = match key.as_slice() {
                [] => (&self.empty_key, EMPTY_KEY),
                key => (&self.entries, key),
            };
            match op {
                WriteOp::Put { value, .. } => database.put(&mut transaction, key, value),
                WriteOp::Delete { .. } => database.delete(&mut transaction, key).map(drop),
            }
            .map_err(failed)?;
        }
        transaction.commit().map_err(|error| failed(error).effect_unknown())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { environment, folder, .. } = *self;
        environment
            .force_sync()
            .map_err(|error| fault("close", &folder, error).effect_unknown())?;
        if environment.prepare_for_closing().wait_timeout(std::time::Duration::ZERO) {
            return Ok(());
        }
        Err(Error::new(Kind::Busy, "close", "a snapshot of the store is still held")
            .with("path", folder.display().to_string()))
    }
}

/// Translates an error of heed.
fn fault(operation: &'static str, folder: &Path, error: heed::Error) -> Error {
    let kind = match error {
        heed::Error::Io(error) => return Error::io(operation, folder, error),
        heed::Error::Mdb(MdbError::Other(code)) => {
            return Error::io(operation, folder, std::io::Error::from_raw_os_error(code));
        }
        heed::Error::Mdb(
            MdbError::Corrupted | MdbError::PageNotFound | MdbError::Invalid | MdbError::Panic,
        ) => Kind::Corrupt,
        heed::Error::Mdb(MdbError::VersionMismatch | MdbError::Incompatible) => Kind::UnknownFormat,
        heed::Error::Mdb(MdbError::MapFull | MdbError::ReadersFull | MdbError::DbsFull) => {
            Kind::Limit
        }
        heed::Error::Mdb(MdbError::BadValSize) => Kind::InvalidInput,
        heed::Error::EnvAlreadyOpened => Kind::Busy,
        _ => Kind::Io,
    };
    Error::new(kind, operation, error.to_string())
        .with("path", folder.display().to_string())
        .caused_by(error)
}
