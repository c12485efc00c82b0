//! Sorted chunks on their way to the helper, for engines that take entries and no tables.

use super::connection::Connection;
use super::order::{BULK, Order};
use super::process::Process;
use super::protocol::{self, DATA_FRAME_BYTES_TARGET, Tally, kind, put_bytes};
use super::store::maybe_applied;
use std::sync::Arc;
use transload_store::{BulkLoad, ChunkLoad, Error, Guarantees, KeyRange, Result};

pub(super) struct GostoreBulk {
    process: Arc<Process>,
    limits: Guarantees,
}

impl GostoreBulk {
    /// Chunks for an engine with these limits.
    pub(super) fn new(process: Arc<Process>, limits: Guarantees) -> Self {
        Self { process, limits }
    }
}

impl BulkLoad for GostoreBulk {
    fn chunk(&self, range: &KeyRange) -> Result<Box<dyn ChunkLoad>> {
        let order = Order::new(range, &self.limits)?;
        let mut connection = self.process.connection()?;
        if let Err(error) = connection.send(kind::BULK, &protocol::bulk(range)) {
            let told = connection.told(BULK, error);
            return Err(self.process.explain(told));
        }
        Ok(Box::new(GostoreChunk {
            process: Arc::clone(&self.process),
            connection,
            order,
            frame: Vec::new(),
            tally: Tally::default(),
            failed: None,
        }))
    }
}

/// A chunk; the helper gives it up when its socket ends before a commit.
struct GostoreChunk {
    process: Arc<Process>,
    connection: Connection,
    order: Order,
    frame: Vec<u8>,
    tally: Tally,
    failed: Option<Error>,
}

impl GostoreChunk {
    fn send_frame(&mut self) -> Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        self.tally.add_payload(&self.frame);
        let sent = self.connection.send(kind::DATA, &self.frame);
        self.frame.clear();
        if self.frame.capacity() > 4 * DATA_FRAME_BYTES_TARGET {
            self.frame = Vec::new(); // one large entry must not hold its memory for ever
        }
        sent.map_err(|error| self.process.explain(self.connection.told(BULK, error)))
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.order.next(key, value)?;
        if self.frame.len() + key.len() + value.len() > DATA_FRAME_BYTES_TARGET {
            self.send_frame()?;
        }
        put_bytes(&mut self.frame, key);
        put_bytes(&mut self.frame, value);
        self.tally.add_entry();
        Ok(())
    }
}

impl ChunkLoad for GostoreChunk {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.repeat());
        }
        self.take(key, value).inspect_err(|error| self.failed = Some(error.repeat()))
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.send_frame()?;
        let end = self.tally.end().encode();
        if let Err(error) = self.connection.send(kind::END, &end) {
            let told = self.connection.told(BULK, error);
            return Err(maybe_applied(self.process.explain(told)));
        }
        let Self { process, mut connection, .. } = *self;
        match connection.answer(BULK, kind::DONE) {
            Ok(_) => {
                process.give_back(connection);
                Ok(())
            }
            Err(error) => Err(maybe_applied(process.explain(error))),
        }
    }
}
