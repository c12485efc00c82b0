//! The status file: what other processes may know of a running migration.
//!
//! Replaced atomically, so a reader sees one state whole. Schema `transload.status.v1`,
//! documented in `docs/formats/status.md`; u64 are strings.

use crate::error::{Error, Kind, Result};
use crate::journal::{Journal, now};
use crate::phase::State;
use crate::watch::StepHook;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use transload_model::report::decimal;
use transload_observe::{Event, PaceLimits, Progress, Sink, Stage, Wait};

/// The schema's name.
pub const STATUS_SCHEMA: &str = "transload.status.v1";

/// The file is written at most this often, besides at changes of phase.
const WRITE_EVERY: Duration = Duration::from_millis(500);

/// A status file may not be larger: a map of a million chunks takes 1 MiB.
const STATUS_BYTES_MAX: u64 = 64 << 20;

/// Notices kept.
const NOTICES_MAX: usize = 50;

/// A chunk is hot when it takes this many times as long as the average, or was tried again.
const HOT_FACTOR: u64 = 4;

/// A chunk that takes less than this is never called slow.
const HOT_MILLIS_MIN: u64 = 1_000;

/// The status of a migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`STATUS_SCHEMA`].
    pub schema: String,
    /// The process that runs the migration, or ran it last.
    pub pid: u32,
    /// The phase.
    pub phase: String,
    /// Whether it waits for a person.
    pub halted: bool,
    /// The attempt.
    #[serde(with = "decimal")]
    pub attempt: u64,
    /// The plan's digest.
    pub plan_digest: String,
    /// When this was written, in seconds since 1970.
    #[serde(with = "decimal")]
    pub updated_unix_seconds: u64,
    /// The stage's progress.
    pub progress: Option<StatusProgress>,
    /// The limits on the pace, and what workers wait for.
    #[serde(default)]
    pub pace: StatusPace,
    /// The databases with their chunk maps.
    pub databases: Vec<StatusDatabase>,
    /// What was settled before the copy; absent where the plan didn't ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<StatusSettlement>,
    /// The last error, when the migration stopped with one.
    pub error: Option<String>,
    /// What a person can do now.
    #[serde(default)]
    pub next: String,
    /// Notices, latest last.
    pub notices: Vec<String>,
}

/// A stage's progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusProgress {
    /// The stage.
    pub stage: Stage,
    /// Entries done in this run.
    #[serde(with = "decimal")]
    pub entries_done: u64,
    /// Bytes done in this run.
    #[serde(with = "decimal")]
    pub bytes_done: u64,
    /// Bytes to do in this run, as far as known.
    #[serde(with = "decimal")]
    pub bytes_total: u64,
    /// From 0 to 1.
    pub fraction: f64,
    /// Bytes a second, lately.
    #[serde(with = "decimal")]
    pub bytes_per_second: u64,
    /// Seconds left; absent while no rate is known.
    pub eta_seconds: Option<u32>,
    /// Chunks tried again in this stage.
    #[serde(with = "decimal")]
    pub retried: u64,
    /// Chunks failed in this stage.
    #[serde(with = "decimal")]
    pub failed: u64,
}

/// The limits on the pace, and what workers wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPace {
    /// The limits in force; in a status nobody runs, those of the last run.
    #[serde(flatten)]
    pub limits: PaceLimits,
    /// What workers wait for, lately; none once nobody works.
    pub waits: Vec<Wait>,
}

/// Records that were missing or wrong in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSettlement {
    /// How many are left out.
    #[serde(with = "decimal")]
    pub quarantined: u64,
    /// How many were taken from a peer.
    #[serde(with = "decimal")]
    pub repaired: u64,
    /// The file that lists them.
    pub path: PathBuf,
}

/// A database's chunk map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusDatabase {
    /// Its name.
    pub name: String,
    /// One letter a chunk: `.` to do, `c` being worked on, `d` copied, `h` copied and hot (slow
    /// or tried again), `v` verified, `x` failed.
    pub map: String,
    /// Chunks copied, the verified ones among them.
    #[serde(with = "decimal")]
    pub done: u64,
    /// Chunks verified.
    #[serde(with = "decimal")]
    pub verified: u64,
    /// Chunks failed.
    #[serde(with = "decimal")]
    pub failed: u64,
    /// Chunks that were slow or tried again.
    #[serde(with = "decimal")]
    pub hot: u64,
    /// Chunks tried again.
    #[serde(with = "decimal")]
    pub retried: u64,
}

/// Where a home's status file is.
#[must_use]
pub fn status_path(state_dir: &Path) -> PathBuf {
    state_dir.join("status.json")
}

/// Reads a home's status.
///
/// # Errors
/// [`Kind::Refused`] when there is none, or it is of another schema.
pub fn read_status(state_dir: &Path) -> Result<Status> {
    let path = status_path(state_dir);
    let refused = |message: String| {
        Error::new(Kind::Refused, "read the status", message)
            .with("path", path.display().to_string())
    };
    let metadata = fs::metadata(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::nothing_begun(state_dir),
        _ => refused(error.to_string()),
    })?;
    if metadata.len() > STATUS_BYTES_MAX {
        return Err(refused(format!("the file is larger than {STATUS_BYTES_MAX} bytes")));
    }
    let bytes = fs::read(&path).map_err(|error| refused(error.to_string()))?;
    let status: Status =
        serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    if status.schema != STATUS_SCHEMA {
        return Err(refused(format!("schema {} is not known here", status.schema)));
    }
    Ok(status)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    state: CellState,
    tries: u32,
    millis: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CellState {
    #[default]
    ToDo,
    Working,
    Copied,
    Verified,
    Failed,
}

struct Inner {
    status: Status,
    progress: Progress,
    cells: BTreeMap<String, Vec<Cell>>,
    began: BTreeMap<(String, u64), Instant>,
    written: Option<Instant>,
}

/// Keeps the status file of a home up to date from events.
pub struct StatusFile {
    path: PathBuf,
    start: Instant,
    inner: Mutex<Inner>,
    hook: StepHook,
}

impl StatusFile {
    /// A status file in `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path, state: State, attempt: u64, plan_digest: &str) -> Self {
        let status = Status {
            schema: STATUS_SCHEMA.into(),
            pid: std::process::id(),
            phase: state.phase().name().into(),
            halted: state.is_halted(),
            attempt,
            plan_digest: plan_digest.to_owned(),
            updated_unix_seconds: now(),
            progress: None,
            pace: StatusPace::default(),
            databases: Vec::new(),
            settlement: None,
            error: None,
            next: state.next_step().into(),
            notices: Vec::new(),
        };
        let inner = Inner {
            status,
            progress: Progress::new(),
            cells: BTreeMap::new(),
            began: BTreeMap::new(),
            written: None,
        };
        let (path, start, inner) = (status_path(state_dir), Instant::now(), Mutex::new(inner));
        Self { path, start, inner, hook: Arc::new(|_| ()) }
    }

    /// Tells `hook` whenever a change of state was written.
    #[must_use]
    pub fn with_hook(mut self, hook: StepHook) -> Self {
        self.hook = hook;
        self
    }

    /// Takes over what the journal knows of an attempt's chunks.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn take_over(
        &self,
        journal: &Journal,
        attempt: u64,
        plan_digest: &str,
        databases: &[String],
    ) -> Result<()> {
        let mut cells = BTreeMap::new();
        for database in databases {
            let chunks = journal.ranges(attempt, database)?.map_or(0, |ranges| ranges.len());
            let mut map = vec![Cell::default(); chunks];
            for one in journal.chunk_map(attempt, database)? {
                let slot = usize::try_from(one.chunk).ok().and_then(|index| map.get_mut(index));
                if let Some(cell) = slot {
                    cell.state = match (one.verified, one.failed) {
                        (true, _) => CellState::Verified,
                        (_, true) => CellState::Failed,
                        _ => CellState::Copied,
                    };
                    cell.tries = one.tries;
                    cell.millis = one.millis;
                }
            }
            cells.insert(database.clone(), map);
        }
        let mut inner = self.lock();
        inner.cells = cells;
        inner.status.attempt = attempt;
        inner.status.plan_digest = plan_digest.to_owned();
        Ok(())
    }

    /// Takes over what was settled before the copy.
    pub(crate) fn set_settlement(&self, settlement: Option<StatusSettlement>) {
        self.lock().status.settlement = settlement;
    }

    /// Says where the migration stands, and with which error it stopped, and writes the file.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the file can't be written.
    pub fn set_state(&self, state: State, error: Option<&Error>) -> Result<()> {
        let mut inner = self.lock();
        inner.status.phase = state.phase().name().into();
        inner.status.halted = state.is_halted();
        if state.is_halted() {
            inner.status.pace.waits.clear();
        }
        inner.status.error = error.map(ToString::to_string);
        let next = error.and_then(Error::next_step).unwrap_or(state.next_step());
        inner.status.next = next.to_owned();
        self.write(&mut inner)?;
        (self.hook)("status replaced");
        Ok(())
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut inner = self.lock();
        self.refresh(&mut inner);
        inner.status.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self, inner: &mut Inner) {
        let view = inner.progress.view(self.start.elapsed());
        inner.status.progress = view.stage.map(|stage| StatusProgress {
            stage,
            entries_done: view.entries_done,
            bytes_done: view.bytes_done,
            bytes_total: view.bytes_total,
            fraction: view.fraction,
            bytes_per_second: view.bytes_per_second,
            eta_seconds: view.eta_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
            retried: view.retried,
            failed: view.failed,
        });
        inner.status.databases =
            inner.cells.iter().map(|(name, cells)| chunk_map(name, cells)).collect();
        inner.status.updated_unix_seconds = now();
    }

    fn write(&self, inner: &mut Inner) -> Result<()> {
        self.refresh(inner);
        inner.written = Some(Instant::now());
        let failed = |message: String| {
            Error::new(Kind::Stopped, "write the status", message)
                .with("path", self.path.display().to_string())
                .next("make room there, or mend the cause, and call the same command again")
        };
        let bytes = serde_json::to_vec(&inner.status).map_err(|error| failed(error.to_string()))?;
        let staged = self.path.with_extension("json.new");
        // A name that leads to nothing after a power cut would tell an operator nothing just then.
        File::create(&staged)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data()))
            .and_then(|()| fs::rename(&staged, &self.path))
            .map_err(|error| failed(error.to_string()))
    }
}

impl Sink for StatusFile {
    fn event(&self, event: &Event) {
        let mut inner = self.lock();
        inner.progress.apply(event, self.start.elapsed());
        match event {
            Event::DatabaseBegan { database, chunks, .. } => {
                let chunks = usize::try_from(*chunks).unwrap_or(0);
                let cells = inner.cells.entry(database.clone()).or_default();
                if cells.len() != chunks {
                    *cells = vec![Cell::default(); chunks];
                }
            }
            Event::Advanced { stage: Stage::Copying, database, chunk, .. } => {
                inner.began.entry((database.clone(), *chunk)).or_insert_with(Instant::now);
                mark(&mut inner, database, *chunk, CellState::Working);
            }
            Event::ChunkDone { stage, database, chunk, .. } => {
                let began = inner.began.remove(&(database.clone(), *chunk));
                let millis = began.map_or(0, |began| {
                    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
                });
                let state = match stage {
                    Stage::Verifying => CellState::Verified,
                    _ => CellState::Copied,
                };
                if let Some(cell) = mark(&mut inner, database, *chunk, state) {
                    cell.millis = cell.millis.max(millis);
                }
            }
            Event::ChunkRetried { database, chunk, .. } => {
                if let Some(cell) = mark(&mut inner, database, *chunk, CellState::Working) {
                    cell.tries += 1;
                }
            }
            Event::ChunkFailed { database, chunk, .. } => {
                mark(&mut inner, database, *chunk, CellState::Failed);
            }
            Event::Notice { text } => {
                if inner.status.notices.len() >= NOTICES_MAX {
                    inner.status.notices.remove(0);
                }
                inner.status.notices.push(text.clone());
            }
            Event::Paced { limits, waits } => {
                inner.status.pace = StatusPace { limits: *limits, waits: waits.clone() };
            }
            Event::PhaseChanged { to, .. } => inner.status.phase.clone_from(to),
            // Between stages nothing runs, so there is no progress to show.
            Event::StageEnded { .. } => inner.progress = Progress::new(),
            _ => {}
        }
        let due = inner.written.is_none_or(|written| written.elapsed() >= WRITE_EVERY);
        if due {
            // A status that can't be written must not stop a copy; the next one is tried again.
            let _ = self.write(&mut inner);
        }
    }
}

fn mark<'a>(
    inner: &'a mut Inner,
    database: &str,
    chunk: u64,
    state: CellState,
) -> Option<&'a mut Cell> {
    let index = usize::try_from(chunk).ok()?;
    let cell = inner.cells.get_mut(database)?.get_mut(index)?;
    cell.state = state;
    Some(cell)
}

fn chunk_map(name: &str, cells: &[Cell]) -> StatusDatabase {
    let copied = |cell: &&Cell| matches!(cell.state, CellState::Copied | CellState::Verified);
    let done = cells.iter().filter(copied).count() as u64;
    let millis: u64 = cells.iter().filter(copied).map(|cell| cell.millis).sum();
    let average = millis / done.max(1);
    let is_hot = |cell: &Cell| {
        cell.tries > 1 || (cell.millis >= HOT_MILLIS_MIN && cell.millis / HOT_FACTOR > average)
    };
    let letter = |cell: &Cell| match cell.state {
        CellState::ToDo => '.',
        CellState::Working => 'c',
        CellState::Copied if is_hot(cell) => 'h',
        CellState::Copied => 'd',
        CellState::Verified => 'v',
        CellState::Failed => 'x',
    };
    let count = |state| cells.iter().filter(|cell| cell.state == state).count() as u64;
    StatusDatabase {
        name: name.to_owned(),
        map: cells.iter().map(letter).collect(),
        done,
        verified: count(CellState::Verified),
        failed: count(CellState::Failed),
        hot: cells.iter().filter(|cell| is_hot(cell)).count() as u64,
        retried: cells.iter().filter(|cell| cell.tries > 1).count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::Phase;

    fn file(folder: &Path) -> StatusFile {
        StatusFile::new(folder, State::In(Phase::Copying), 3, "digest")
    }

    fn tell(file: &StatusFile, chunks: u64) {
        let (stage, database) = (Stage::Copying, "a.db".to_owned());
        file.event(&Event::StageBegan { stage });
        let (chunks_done, bytes_estimate) = (0, 100);
        file.event(&Event::DatabaseBegan { stage, database, chunks, chunks_done, bytes_estimate });
    }

    #[test]
    fn the_map_shows_every_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        tell(&file, 5);
        let (stage, database) = (Stage::Copying, "a.db".to_owned());
        let done = |stage, chunk| {
            let database = "a.db".to_owned();
            Event::ChunkDone { stage, database, chunk, entries: 1, bytes: 20 }
        };
        let why = "no".to_owned();
        file.event(&done(Stage::Copying, 0));
        file.event(&Event::ChunkRetried {
            stage,
            database: database.clone(),
            chunk: 1,
            why: why.clone(),
        });
        file.event(&Event::ChunkRetried {
            stage,
            database: database.clone(),
            chunk: 1,
            why: why.clone(),
        });
        file.event(&done(Stage::Copying, 1));
        file.event(&done(Stage::Verifying, 2));
        file.event(&Event::ChunkFailed { stage, database, chunk: 3, why });
        file.set_state(State::Halted(Phase::Copying), None).unwrap();
        let status = read_status(folder.path()).unwrap();
        let map = &status.databases[0];
        assert_eq!(map.map, "dhvx.");
        assert_eq!((map.done, map.verified, map.failed, map.hot, map.retried), (3, 1, 1, 1, 1));
        assert_eq!((status.phase.as_str(), status.halted, status.attempt), ("copying", true, 3));
        assert_eq!(status.progress.unwrap().bytes_done, 60);
    }

    #[test]
    fn limits_and_waits_are_shown_and_nobody_waits_in_a_halt() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let limits = PaceLimits { write_bytes_per_second_max: 20 << 20, ..PaceLimits::default() };
        let reason = transload_observe::WaitReason::WriteLimit;
        let waits = vec![Wait { reason, percent: 37, window_seconds: 10 }];
        file.event(&Event::Paced { limits, waits: waits.clone() });
        assert_eq!(file.status().pace, StatusPace { limits, waits });
        file.set_state(State::In(Phase::Copying), None).unwrap();
        let text = fs::read_to_string(status_path(folder.path())).unwrap();
        let expected = concat!(
            r#""pace":{"read_bytes_per_second_max":null,"#,
            r#""write_bytes_per_second_max":"20971520","cpu_percent_max":null,"#,
            r#""waits":[{"reason":"write_limit","percent":37,"window_seconds":10}]}"#
        );
        assert!(text.contains(expected), "{text}");
        file.set_state(State::Halted(Phase::Copying), None).unwrap();
        let pace = StatusPace { limits, waits: Vec::new() };
        assert_eq!(read_status(folder.path()).unwrap().pace, pace);
    }

    #[test]
    fn a_status_of_before_there_were_limits_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut status = serde_json::to_value(file(folder.path()).status()).unwrap();
        status.as_object_mut().unwrap().remove("pace").unwrap();
        fs::write(status_path(folder.path()), status.to_string()).unwrap();
        assert_eq!(read_status(folder.path()).unwrap().pace, StatusPace::default());
    }

    #[test]
    fn numbers_of_64_bits_are_strings() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path()).set_state(State::In(Phase::Copying), None).unwrap();
        let text = fs::read_to_string(status_path(folder.path())).unwrap();
        assert!(text.contains(r#""attempt":"3""#), "{text}");
    }

    #[test]
    fn another_schema_and_garbage_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_status(folder.path()).unwrap_err().kind(), Kind::Refused);
        fs::write(status_path(folder.path()), "garbage").unwrap();
        assert_eq!(read_status(folder.path()).unwrap_err().kind(), Kind::Refused);
        let mut status = file(folder.path()).status();
        status.schema = "transload-status/2".into();
        fs::write(status_path(folder.path()), serde_json::to_vec(&status).unwrap()).unwrap();
        assert!(read_status(folder.path()).unwrap_err().to_string().contains("transload-status/2"));
    }
}
