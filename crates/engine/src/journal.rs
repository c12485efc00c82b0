//! The journal of a home's migrations: `HOME/.transload/journal.redb`.
//!
//! Promises: what a method recorded is durable when it returns (redb, `Durability::Immediate`);
//! one process owns it (redb's lock); a journal of an older transload is read, one of a newer is
//! refused; it belongs to one home and to one plan at a time.
//!
//! Tables: `meta` (text to JSON), `ranges`, `chunks` and `made` (attempt, database, chunk to postcard),
//! `steps` and `events` (number to JSON).

use crate::chunks::{ChunkLog, CopiedChunk, Made, VerifiedChunk, not_copied};
use crate::convert::move_to_where_nothing_is;
use crate::error::{Error, Kind, Result};
use crate::identity::HomeIdentity;
use crate::phase::{Phase, State};
use crate::watch::{StepHook, StepLog};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use transload_store::KeyRange;

/// The journal's format. 1 is the first; a reader takes every format up to its own.
pub const JOURNAL_FORMAT: u32 = 1;

/// Memory for redb's cache: the journal holds small records that are seldom read again.
const CACHE_BYTES: usize = 8 << 20;

type Bytes = &'static [u8];
/// Attempt, database, chunk.
type ChunkKey = (u64, &'static str, u64);

const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
const RANGES: TableDefinition<'_, (u64, &str), Bytes> = TableDefinition::new("ranges");
const CHUNKS: TableDefinition<'_, ChunkKey, Bytes> = TableDefinition::new("chunks");
// The target's own chunks, where its layout is another than the source's. They are made when the
// first is entered: journals of before have none.
const TARGET_RANGES: TableDefinition<'_, (u64, &str), Bytes> =
    TableDefinition::new("target_ranges");
const TARGET_CHUNKS: TableDefinition<'_, ChunkKey, Bytes> = TableDefinition::new("target_chunks");
// What transforms made of a chunk, where there are some; made like the two above.
const MADE: TableDefinition<'_, ChunkKey, Bytes> = TableDefinition::new("made");
const STEPS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("steps");
const EVENTS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("events");

/// What opens the journal's `meta` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    transload: String,
    home: HomeIdentity,
}

/// Something that happened to the migration, kept for ever with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEvent {
    /// Seconds since 1970, by this machine's clock.
    #[serde(with = "transload_model::report::decimal")]
    pub at_unix_seconds: u64,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub reason: String,
}

/// One line of the swap's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStep {
    /// The attempt that the step belongs to.
    pub attempt: u64,
    /// The step's name.
    pub step: String,
    /// Whether it is done; otherwise it was about to be tried.
    pub done: bool,
}

/// What is kept of one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ChunkEntry {
    Copied(CopiedChunk),
    Verified(CopiedChunk, VerifiedChunk),
    Failed(String),
}

/// How far a chunk is, for the chunk map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSummary {
    /// Its number.
    pub chunk: u64,
    /// Whether it was read back and is equal.
    pub verified: bool,
    /// Whether it differs.
    pub failed: bool,
    /// How long the copy took.
    pub millis: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Its bytes.
    pub bytes: u64,
}

/// An open journal.
pub struct Journal {
    db: Database,
    path: PathBuf,
    hook: StepHook,
}

impl Journal {
    /// The journal's path in a state folder.
    #[must_use]
    pub fn path_in(state_dir: &Path) -> PathBuf {
        state_dir.join("journal.redb")
    }

    /// Opens the journal of a home, or makes it.
    ///
    /// # Errors
    /// [`Kind::Refused`] when another process owns it, when a newer transload wrote it, or when
    /// it belongs to another home.
    pub fn open(state_dir: &Path, home: &HomeIdentity, hook: StepHook) -> Result<Self> {
        Self::open_on(journal_file, state_dir, home, hook)
    }

    /// As [`Journal::open`], with the file opened by `file`: tests let its calls fail.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on<B: StorageBackend>(
        file: impl FnOnce(&Path) -> std::result::Result<B, DatabaseError>,
        state_dir: &Path,
        home: &HomeIdentity,
        hook: StepHook,
    ) -> Result<Self> {
        let path = Self::path_in(state_dir);
        let refused = |message: String| {
            Error::new(Kind::Refused, "open the journal", message)
                .with("path", path.display().to_string())
        };
        let unnamed = path.with_extension("new");
        // One process at a time makes the journal; the others find it made, and owned.
        let folder = File::open(state_dir).map_err(|error| refused(error.to_string()))?;
        folder.lock().map_err(|error| refused(error.to_string()))?;
        let is_new = fs::symlink_metadata(&path).is_err();
        if is_new {
            discard(&unnamed).map_err(|error| refused(error.to_string()))?;
        }
        let file = file(if is_new { &unnamed } else { &path });
        let db = file.and_then(whole_database).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                refused("another transload owns this home's journal".into())
                    .next("`transload status HOME` shows it; `transload halt HOME` stops it")
            }
            other => refused(other.to_string()),
        })?;
        let this = Self::on(db, path.clone(), home, hook)?;
        if is_new {
            // A journal has its name only once it is whole: nobody could read one that a full
            // disk or a crash has cut short.
            move_to_where_nothing_is(&unnamed, &this.path)
                .and_then(|()| folder.sync_all())
                .map_err(|error| refused(error.to_string()))?;
            (this.hook)("journal: named");
        }
        Ok(this)
    }

    /// Opens the journal in `db`, or makes it there.
    fn on(db: Database, path: PathBuf, home: &HomeIdentity, hook: StepHook) -> Result<Self> {
        let refused = |message: String| {
            Error::new(Kind::Refused, "open the journal", message)
                .with("path", path.display().to_string())
        };
        let this = Self { db, path: path.clone(), hook };
        (this.hook)("journal: opened");
        match this.header()? {
            None => this.begin(home)?,
            Some(header) if header.format > JOURNAL_FORMAT => {
                return Err(refused(format!(
                    "transload {} wrote this journal in format {}; this one knows formats up to \
                     {JOURNAL_FORMAT}",
                    header.transload, header.format
                ))
                .next("go on with that transload"));
            }
            Some(header) if !header.home.is_same_home(home) => {
                return Err(refused("the journal belongs to another home".into())
                    .with("made for", header.home.path.display().to_string())
                    .next(
                        "a home that was copied, restored, or moved to another file system is \
                         another one: go on in the one that the journal was made for. Where that \
                         is gone, `.transload/attempts` may hold its old databases: keep them, \
                         move `.transload` away, and begin anew",
                    ));
            }
            Some(_) => {}
        }
        Ok(this)
    }

    fn begin(&self, home: &HomeIdentity) -> Result<()> {
        let header = Header {
            format: JOURNAL_FORMAT,
            transload: env!("CARGO_PKG_VERSION").into(),
            home: home.clone(),
        };
        let tx = self.write()?;
        {
            tx.open_table(RANGES).map_err(fault)?;
            tx.open_table(CHUNKS).map_err(fault)?;
            tx.open_table(STEPS).map_err(fault)?;
            tx.open_table(EVENTS).map_err(fault)?;
        }
        put_meta(&tx, "header", &header)?;
        put_meta(&tx, "state", &State::In(Phase::Planned))?;
        put_meta(&tx, "attempt", &0u64)?;
        self.commit(tx, "journal: begun")
    }

    /// Where the migration stands.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn state(&self) -> Result<State> {
        self.note("state")?.ok_or_else(|| damaged("the state is missing"))
    }

    /// Records a change of state with its reason.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be written, or the state isn't `from`.
    pub fn change_state(&self, from: State, to: State, reason: &str) -> Result<()> {
        if self.state()? != from {
            return Err(damaged("the state isn't what it was"));
        }
        let event = JournalEvent { at_unix_seconds: now(), from, to, reason: reason.to_owned() };
        let tx = self.write()?;
        put_meta(&tx, "state", &to)?;
        {
            let mut events = tx.open_table(EVENTS).map_err(fault)?;
            let number = events.last().map_err(fault)?.map_or(0, |(number, _)| number.value() + 1);
            events.insert(number, json(&event)?.as_slice()).map_err(fault)?;
        }
        self.commit(tx, "journal: state changed")
    }

    /// Every change of state so far, oldest first.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn events(&self) -> Result<Vec<JournalEvent>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let events = tx.open_table(EVENTS).map_err(fault)?;
        events.iter().map_err(fault)?.map(|entry| parse(entry.map_err(fault)?.1.value())).collect()
    }

    /// The attempt that runs or ran last; 0 before the first.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn attempt(&self) -> Result<u64> {
        self.note("attempt")?.ok_or_else(|| damaged("the attempt is missing"))
    }

    /// Begins an attempt with a number that was never used, at least `at_least`. Nothing of an
    /// earlier attempt is looked at from now on.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be written.
    pub fn new_attempt(&self, at_least: u64) -> Result<u64> {
        let attempt = (self.attempt()? + 1).max(at_least);
        let tx = self.write()?;
        put_meta(&tx, "attempt", &attempt)?;
        self.commit(tx, "journal: attempt begun")?;
        Ok(attempt)
    }

    /// A value kept under a name.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn note<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let meta = tx.open_table(META).map_err(fault)?;
        let value = meta.get(name).map_err(fault)?;
        value.map(|value| parse(value.value())).transpose()
    }

    /// Keeps a value under a name.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be written.
    pub fn set_note<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let tx = self.write()?;
        put_meta(&tx, name, value)?;
        self.commit(tx, &format!("journal: {name} noted"))
    }

    /// The chunks of a database in this attempt, once they are cut.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn ranges(&self, attempt: u64, database: &str) -> Result<Option<Vec<KeyRange>>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let ranges = tx.open_table(RANGES).map_err(fault)?;
        let value = ranges.get((attempt, database)).map_err(fault)?;
        value.map(|value| unpack(value.value())).transpose()
    }

    /// Fixes the chunks of a database for this attempt.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be written.
    pub fn set_ranges(&self, attempt: u64, database: &str, ranges: &[KeyRange]) -> Result<()> {
        let packed = pack(&ranges)?;
        let tx = self.write()?;
        tx.open_table(RANGES)
            .map_err(fault)?
            .insert((attempt, database), packed.as_slice())
            .map_err(fault)?;
        self.commit(tx, "journal: chunks cut")
    }

    /// The chunks in which a target in another layout is read back, once they are cut.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn target_ranges(&self, attempt: u64, database: &str) -> Result<Option<Vec<KeyRange>>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let Some(ranges) = if_made(tx.open_table(TARGET_RANGES))? else { return Ok(None) };
        let value = ranges.get((attempt, database)).map_err(fault)?;
        value.map(|value| unpack(value.value())).transpose()
    }

    /// Fixes the chunks in which a target in another layout is read back.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be written.
    pub fn set_target_ranges(
        &self,
        attempt: u64,
        database: &str,
        ranges: &[KeyRange],
    ) -> Result<()> {
        let packed = pack(&ranges)?;
        let tx = self.write()?;
        tx.open_table(TARGET_RANGES)
            .map_err(fault)?
            .insert((attempt, database), packed.as_slice())
            .map_err(fault)?;
        self.commit(tx, "journal: the target's chunks cut")
    }

    /// How far every chunk of a database is.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn chunk_map(&self, attempt: u64, database: &str) -> Result<Vec<ChunkSummary>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let chunks = tx.open_table(CHUNKS).map_err(fault)?;
        let mut map = Vec::new();
        for entry in
            chunks.range((attempt, database, 0)..=(attempt, database, u64::MAX)).map_err(fault)?
        {
            let (key, value) = entry.map_err(fault)?;
            let chunk = key.value().2;
            let (copied, verified, failed) = match unpack(value.value())? {
                ChunkEntry::Copied(copied) => (Some(copied), false, false),
                ChunkEntry::Verified(copied, _) => (Some(copied), true, false),
                ChunkEntry::Failed(_) => (None, false, true),
            };
            let (millis, tries, bytes) = copied
                .map_or((0, 0, 0), |copied| (copied.millis, copied.tries, copied.receipt.bytes));
            map.push(ChunkSummary { chunk, verified, failed, millis, tries, bytes });
        }
        Ok(map)
    }

    /// The chunks of one attempt.
    #[must_use]
    pub fn chunks_of(&self, attempt: u64) -> AttemptChunks<'_> {
        AttemptChunks { journal: self, attempt }
    }

    /// The steps of the swap in one attempt.
    #[must_use]
    pub fn steps_of(&self, attempt: u64) -> AttemptSteps<'_> {
        AttemptSteps { journal: self, attempt }
    }

    /// Every line of the step log, oldest first.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn steps(&self) -> Result<Vec<JournalStep>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let steps = tx.open_table(STEPS).map_err(fault)?;
        steps.iter().map_err(fault)?.map(|entry| parse(entry.map_err(fault)?.1.value())).collect()
    }

    /// Where the journal is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn header(&self) -> Result<Option<Header>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let Some(meta) = if_made(tx.open_table(META))? else { return Ok(None) };
        let value = meta.get("header").map_err(fault)?;
        value.map(|value| parse(value.value())).transpose()
    }

    fn write(&self) -> Result<WriteTransaction> {
        let mut tx = self.db.begin_write().map_err(fault)?;
        tx.set_durability(Durability::Immediate).map_err(fault)?;
        Ok(tx)
    }

    fn commit(&self, tx: WriteTransaction, step: &str) -> Result<()> {
        tx.commit().map_err(|error| fault(error).effect_unknown())?;
        (self.hook)(step);
        Ok(())
    }

    fn log_step(&self, attempt: u64, step: &str, done: bool) -> Result<()> {
        let line = JournalStep { attempt, step: step.to_owned(), done };
        let tx = self.write()?;
        {
            let mut steps = tx.open_table(STEPS).map_err(fault)?;
            let number = steps.last().map_err(fault)?.map_or(0, |(number, _)| number.value() + 1);
            steps.insert(number, json(&line)?.as_slice()).map_err(fault)?;
        }
        let word = if done { "done" } else { "begin" };
        self.commit(tx, &format!("{word} {step}"))
    }

    fn chunk(&self, attempt: u64, database: &str, chunk: u64) -> Result<Option<ChunkEntry>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let chunks = tx.open_table(CHUNKS).map_err(fault)?;
        let value = chunks.get((attempt, database, chunk)).map_err(fault)?;
        value.map(|value| unpack(value.value())).transpose()
    }

    fn made(&self, attempt: u64, database: &str, chunk: u64) -> Result<Option<Made>> {
        let tx = self.db.begin_read().map_err(fault)?;
        let Some(made) = if_made(tx.open_table(MADE))? else { return Ok(None) };
        let value = made.get((attempt, database, chunk)).map_err(fault)?;
        value.map(|value| unpack(value.value())).transpose()
    }

    fn set_chunk(
        &self,
        attempt: u64,
        database: &str,
        chunk: u64,
        entry: &ChunkEntry,
    ) -> Result<()> {
        let packed = pack(entry)?;
        let tx = self.write()?;
        if let ChunkEntry::Copied(CopiedChunk { made: Some(made), .. }) = entry {
            tx.open_table(MADE)
                .map_err(fault)?
                .insert((attempt, database, chunk), pack(made)?.as_slice())
                .map_err(fault)?;
        }
        tx.open_table(CHUNKS)
            .map_err(fault)?
            .insert((attempt, database, chunk), packed.as_slice())
            .map_err(fault)?;
        self.commit(tx, "journal: chunk noted")
    }
}

/// A table that was perhaps never written to.
fn if_made<T>(table: std::result::Result<T, redb::TableError>) -> Result<Option<T>> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

/// The chunk log of one attempt.
#[derive(Clone, Copy)]
pub struct AttemptChunks<'a> {
    journal: &'a Journal,
    attempt: u64,
}

impl ChunkLog for AttemptChunks<'_> {
    fn copied(&self, database: &str, chunk: u64) -> Result<Option<CopiedChunk>> {
        Ok(match self.journal.chunk(self.attempt, database, chunk)? {
            Some(ChunkEntry::Copied(copied) | ChunkEntry::Verified(copied, _)) => {
                let made = self.journal.made(self.attempt, database, chunk)?;
                Some(CopiedChunk { made, ..copied })
            }
            Some(ChunkEntry::Failed(_)) | None => None,
        })
    }

    fn verified(&self, database: &str, chunk: u64) -> Result<Option<VerifiedChunk>> {
        Ok(match self.journal.chunk(self.attempt, database, chunk)? {
            Some(ChunkEntry::Verified(_, verified)) => Some(verified),
            _ => None,
        })
    }

    fn record_copied(&self, database: &str, chunk: u64, copied: &CopiedChunk) -> Result<()> {
        let entry = ChunkEntry::Copied(copied.clone());
        self.journal.set_chunk(self.attempt, database, chunk, &entry)
    }

    fn record_verified(&self, database: &str, chunk: u64, verified: &VerifiedChunk) -> Result<()> {
        let copied = self.copied(database, chunk)?.ok_or_else(|| not_copied(database, chunk))?;
        let entry = ChunkEntry::Verified(copied, verified.clone());
        self.journal.set_chunk(self.attempt, database, chunk, &entry)
    }

    fn read_back(&self, database: &str, chunk: u64) -> Result<Option<VerifiedChunk>> {
        let tx = self.journal.db.begin_read().map_err(fault)?;
        let Some(chunks) = if_made(tx.open_table(TARGET_CHUNKS))? else { return Ok(None) };
        let value = chunks.get((self.attempt, database, chunk)).map_err(fault)?;
        value.map(|value| unpack(value.value())).transpose()
    }

    fn record_read_back(&self, database: &str, chunk: u64, read: &VerifiedChunk) -> Result<()> {
        let packed = pack(read)?;
        let tx = self.journal.write()?;
        tx.open_table(TARGET_CHUNKS)
            .map_err(fault)?
            .insert((self.attempt, database, chunk), packed.as_slice())
            .map_err(fault)?;
        self.journal.commit(tx, "journal: chunk of the target noted")
    }

    fn record_failed(&self, database: &str, chunk: u64, why: &str) -> Result<()> {
        let entry = ChunkEntry::Failed(why.to_owned());
        self.journal.set_chunk(self.attempt, database, chunk, &entry)
    }
}

/// The step log of one attempt.
#[derive(Clone, Copy)]
pub struct AttemptSteps<'a> {
    journal: &'a Journal,
    attempt: u64,
}

impl StepLog for AttemptSteps<'_> {
    fn begin(&self, step: &str) -> Result<()> {
        self.journal.log_step(self.attempt, step, false)
    }

    fn done(&self, step: &str) -> Result<()> {
        self.journal.log_step(self.attempt, step, true)
    }

    fn call(&self, call: &str) {
        (self.journal.hook)(call);
    }
}

/// The database in `file`, once every page of it has the checksum that it should have.
fn whole_database<B: StorageBackend>(file: B) -> std::result::Result<Database, DatabaseError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    // redb looks at a page's lengths before its checksum, and panics on bad ones.
    let open = std::panic::AssertUnwindSafe(|| builder.create_with_backend(file));
    std::panic::catch_unwind(open).unwrap_or_else(|_| {
        Err(DatabaseError::Storage(StorageError::Corrupted("a page is damaged".into())))
    })
}

fn discard(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens the journal's file, or makes it.
///
/// # Errors
/// Those of opening a file.
pub(crate) fn journal_file(path: &Path) -> std::result::Result<FileBackend, DatabaseError> {
    let mut options = File::options();
    FileBackend::new(options.read(true).write(true).create(true).truncate(false).open(path)?)
}

fn put_meta<T: Serialize>(tx: &WriteTransaction, name: &str, value: &T) -> Result<()> {
    let value = json(value)?;
    tx.open_table(META).map_err(fault)?.insert(name, value.as_slice()).map_err(fault)?;
    Ok(())
}

fn fault(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    Error::new(Kind::Stopped, "use the journal", error.to_string()).caused_by(error)
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::OutcomeUnknown, "read the journal", what.to_owned())
        .next("a person must look; the databases are where the report says")
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| damaged(&error.to_string()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))
}

fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(|error| damaged(&error.to_string()))
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))
}

/// Seconds since 1970; 0 when the clock stands before.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
