//! An open store of the helper.

use super::bulk::GostoreBulk;
use super::process::Process;
use super::protocol::{self, Fields, kind};
use super::snapshot::GostoreSnapshot;
use super::table::TableFormat;
use super::taken_in::TableBulk;
use crate::limits::check_batch;
use crate::linked::LinkedSnapshot;
use std::path::PathBuf;
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_store::{
    BulkLoad, Capabilities, Durability, Error, Guarantees, Kind, Result, Snapshot, Store,
    WriteBatch, WriteOp,
};

/// A store, and the process that has it open.
pub(super) struct GostoreStore {
    engine: Engine,
    version: String,
    process: Arc<Process>,
    writable: bool,
    check_on_close: bool,
    /// Where it lies and which tables it takes in; `None` for an engine that takes entries.
    tables: Option<(PathBuf, TableFormat)>,
    /// Where a source is read; removed when the helper has ended.
    linked: Option<LinkedSnapshot>,
}

impl GostoreStore {
    pub(super) fn source(
        engine: Engine,
        version: String,
        process: Arc<Process>,
        linked: LinkedSnapshot,
    ) -> Self {
        Self {
            engine,
            version,
            process,
            writable: false,
            check_on_close: false,
            tables: None,
            linked: Some(linked),
        }
    }

    pub(super) fn target(
        engine: Engine,
        version: String,
        process: Arc<Process>,
        tables: Option<(PathBuf, TableFormat)>,
        check_on_close: bool,
    ) -> Self {
        Self { engine, version, process, writable: true, check_on_close, tables, linked: None }
    }

    fn end(&mut self) {
        // Cursors and snapshots that are still held fail from here on.
        self.process.end();
        self.linked = None;
    }
}

impl Drop for GostoreStore {
    fn drop(&mut self) {
        self.end();
    }
}

impl Store for GostoreStore {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn engine_version(&self) -> String {
        self.version.clone()
    }

    fn capabilities(&self) -> Capabilities {
        if self.writable { super::capabilities(self.engine) } else { Capabilities::default() }
    }

    fn guarantees(&self) -> Guarantees {
        super::guarantees(self.engine)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let payload = self.process.request("snapshot", kind::SNAPSHOT, &[], kind::SNAPSHOT_MADE)?;
        let mut fields = Fields::new(&payload);
        let id = fields.u32()?;
        fields.finish()?;
        Ok(Arc::new(GostoreSnapshot::new(Arc::clone(&self.process), id)))
    }

    fn write(&self, batch: &WriteBatch, durability: Durability) -> Result<()> {
        if !self.writable {
            return Err(Error::unsupported("write", "the store was opened for reading"));
        }
        check_batch(batch, &self.guarantees())?;
        for op in batch.ops() {
            let (WriteOp::Put { key, .. } | WriteOp::Delete { key }) = op;
            if let Some(why) = super::refuses_key(self.engine, key) {
                return Err(Error::new(Kind::InvalidInput, "write", why));
            }
        }
        let payload = protocol::write(batch, durability == Durability::Synced)?;
        self.process
            .request("write", kind::WRITE, &payload, kind::DONE)
            .map(|_| ())
            .map_err(maybe_applied)
    }

    fn bulk_load(&self) -> Result<Arc<dyn BulkLoad>> {
        if !self.writable {
            return Err(Error::unsupported("bulk load", "the store was opened for reading"));
        }
        if !self.capabilities().bulk_load {
            let message = format!("{} has no bulk path", self.engine);
            return Err(Error::unsupported("bulk load", message));
        }
        let (process, limits) = (Arc::clone(&self.process), self.guarantees());
        match &self.tables {
            Some((path, format)) => Ok(Arc::new(TableBulk::new(process, path, *format, limits)?)),
            None => Ok(Arc::new(GostoreBulk::new(process, limits))),
        }
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        let check = [u8::from(self.check_on_close)];
        let closed = self.process.request("close", kind::CLOSE, &check, kind::DONE);
        let status = self.process.end();
        self.end();
        closed.map_err(maybe_applied)?;
        match status {
            Some(status) if status.success() => Ok(()),
            // The store was closed and reopened by then: what went wrong is the process.
            status => Err(Error::new(
                Kind::HelperLost,
                "close",
                format!("the helper ended badly after it closed the store: {status:?}"),
            )),
        }
    }
}

/// A helper that was lost in the middle of a change may have made it.
pub(super) fn maybe_applied(error: Error) -> Error {
    match error.kind() {
        Kind::HelperLost | Kind::Protocol => error.effect_unknown(),
        _ => error,
    }
}
