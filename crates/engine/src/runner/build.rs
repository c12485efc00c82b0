//! The phase Copying: builds every target, closes it, takes it in and gives it its owner.

use super::Migration;
use crate::copy::{CopyJob, copy_database, target_fault};
use crate::error::{Error, Kind, Result};
use crate::home::OpenDatabase;
use crate::invariant::{Invariant, Observed};
use crate::owner::adopt;
use crate::pacing::Pacing;
use crate::phase::Event;
use crate::plan::{Plan, PlannedDatabase};
use crate::planning::{Scratch, make_folder};
use crate::relayout::{planned_wish, rekey};
use crate::tally::{aligned_ranges, disorder};
use crate::watch::Watch;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use transload_model::commitment::TableCommitment;
use transload_model::layout::Layout;
use transload_model::walk::Assembly;
use transload_observe::Stage;
use transload_store::{KeyRange, LayoutWish, Reshape, Store, TargetOptions};

/// Folders of a database aren't nested deeper; a loop must not run for ever.
const DEPTH_MAX: usize = 32;

/// A file that arrives from another volume is held to the pace after this much.
const PIECE_BYTES: u64 = 1 << 20;

impl Migration<'_> {
    /// Copies what the journal doesn't know, and goes to Verifying.
    pub(super) fn copy_phase(&mut self) -> Result<()> {
        self.hold_sources()?;
        if self.copy_again_if_changed()? {
            return Ok(());
        }
        // An attempt that follows on a changed source has another source to settle.
        self.settle_anew()?;
        let attempt = self.journal.attempt()?;
        let scratch = Scratch::make(&self.state_dir, "copy", &self.watch)?;
        let mut tables = Vec::new();
        let facts;
        {
            let mut open = self.open_home(&scratch)?;
            let _settlement = self.see_settled(&mut open)?;
            self.trim(&mut open)?;
            self.reform(&mut open, &scratch)?;
            self.watch.tell(transload_observe::Event::StageBegan { stage: Stage::Copying });
            facts = open.facts().clone();
            self.announce_copies(attempt)?;
            for planned in self.planned()?.moving() {
                let source = open.database(&planned.name).ok_or_else(|| {
                    Error::new(Kind::Refused, "copy", "the home has lost a database")
                        .with("database", planned.name.clone())
                })?;
                self.build_target(attempt, source)
                    .map_err(|error| error.with("database", planned.name.clone()))?;
                if self.tallies_while_copying()? {
                    tables.extend(self.copied_tables(attempt, source)?);
                }
            }
        }
        self.watch.tell(transload_observe::Event::StageEnded { stage: Stage::Copying });
        self.check_invariants(&Observed::some_tables(&tables, facts), "copy")?;
        self.apply(Event::Copied, "every chunk is durable in the target")
    }

    /// Says what the stage will come to, so that progress knows the whole from the beginning.
    fn announce_copies(&self, attempt: u64) -> Result<()> {
        for planned in self.planned()?.moving() {
            let estimates = planned.bytes_estimate.zip(planned.entries_estimate);
            let closed = self.journal.note::<bool>(&closed_note(attempt, &planned.name))?;
            if let (Some((bytes, entries)), None) = (estimates, closed) {
                self.watch.tell(transload_observe::Event::DatabaseExpected {
                    stage: Stage::Copying,
                    database: planned.name.clone(),
                    bytes_on_disk: planned.bytes_on_disk,
                    bytes,
                    entries,
                });
            }
        }
        Ok(())
    }

    fn build_target(&self, attempt: u64, source: &OpenDatabase) -> Result<()> {
        let plan = self.planned()?;
        let name = source.database.name.as_str();
        let note = closed_note(attempt, name);
        let target_path = plan.target_path(attempt, name);
        if self.journal.note::<bool>(&note)? == Some(true) {
            return if target_path.exists() { Ok(()) } else { Err(lost(&target_path)) };
        }
        let build_path = plan.build_path(attempt, name);
        let ranges = match self.journal.ranges(attempt, name)? {
            // Killed between the taking in and its note: what stands there has arrived whole.
            Some(_) if build_path != target_path && target_path.exists() => {
                return self.finish_target(attempt, source, &build_path, &target_path);
            }
            Some(_) if !build_path.exists() => return Err(lost(&build_path)),
            Some(ranges) => {
                let target = self.open_target(plan, &build_path, false)?;
                self.fill(attempt, source, target, &ranges)?;
                return self.finish_target(attempt, source, &build_path, &target_path);
            }
            None => aligned_ranges(&*source.snapshot, &*source.layout, plan.limits.chunk_bytes)
                .map_err(|error| Error::reading("divide", error))?,
        };
        // Made before, and killed before its chunks were journaled: nothing in it counts.
        remove(&build_path)?;
        if let Some(parent) = build_path.parent() {
            make_folder(parent)?;
        }
        self.watch.step("copy: place for the target made");
        let target = self.open_target(plan, &build_path, true)?;
        self.watch.step("copy: target made");
        self.journal.set_ranges(attempt, name, &ranges)?;
        self.fill(attempt, source, target, &ranges)?;
        self.finish_target(attempt, source, &build_path, &target_path)
    }

    fn open_target(&self, plan: &Plan, path: &Path, new: bool) -> Result<Box<dyn Store>> {
        let driver = self
            .world
            .engines
            .driver(plan.engine)
            .map_err(|error| target_fault("find the target's driver", error))?;
        let options = TargetOptions { space: None, memory_bytes_max: plan.limits.driver_bytes() };
        if new {
            return driver
                .create_target(path, &options)
                .map(|store| self.watch.pacing.store(store))
                .map_err(|error| target_fault("make the target", error));
        }
        let target = driver.reopen_target(path, &options);
        target.map(|store| self.watch.pacing.store(store)).map_err(|error| {
            // A target that can't be opened after a crash is not repaired: a new attempt.
            let kind = match error.kind() {
                transload_store::Kind::Corrupt | transload_store::Kind::UnknownFormat => {
                    Kind::Difference
                }
                _ => Kind::Stopped,
            };
            Error::store(kind, "reopen the target", error)
        })
    }

    fn fill(
        &self,
        attempt: u64,
        source: &OpenDatabase,
        target: Box<dyn Store>,
        ranges: &[KeyRange],
    ) -> Result<()> {
        let new_layout = self.planned_layout(source)?;
        let rule = match &new_layout {
            Some(layout) => Some(rekey(&*source.layout, &**layout)?),
            None => None,
        };
        let made_by = self.made_by(&source.database.name)?;
        let job = CopyJob {
            database: &source.database.name,
            source: &*source.snapshot,
            layout: &*source.layout,
            rule: rule.as_ref().map(|rule| rule as &dyn Reshape),
            made_by: &made_by,
            target: &*target,
            ranges,
            tally: self.tallies_while_copying()?,
            limits: self.planned()?.limits,
        };
        let _totals = copy_database(job, &self.journal.chunks_of(attempt), &self.watch)?;
        target.close().map_err(|error| target_fault("close the target", error))?;
        self.watch.step("copy: target closed");
        Ok(())
    }

    /// The transforms that a database's entries go through.
    pub(super) fn made_by(&self, database: &str) -> Result<Vec<String>> {
        let mut planned = self.planned()?.moving().filter(|one| one.name == database);
        Ok(planned.next().map(PlannedDatabase::made_by).unwrap_or_default())
    }

    /// The layout that a database gets entry by entry; `None` where it keeps its own, or has been
    /// put in the place of what it was.
    pub(super) fn planned_layout(&self, source: &OpenDatabase) -> Result<Option<Box<dyn Layout>>> {
        if source.reformed.is_some() {
            return Ok(None);
        }
        Ok(match planned_wish(self.planned()?, self.profile, &self.home, source)? {
            Some(LayoutWish::Gets(layout)) => Some(layout),
            _ => None,
        })
    }

    /// Takes the closed target in, gives it its owner, and notes that it is whole.
    fn finish_target(
        &self,
        attempt: u64,
        source: &OpenDatabase,
        build_path: &Path,
        target_path: &Path,
    ) -> Result<()> {
        if build_path != target_path {
            if target_path.exists() {
                remove(build_path)?;
            } else {
                take_in(build_path, target_path, &self.watch)?;
            }
            self.watch.step("copy: target taken in");
        }
        adopt(&source.database.path, target_path)?;
        self.watch.step("copy: owner given");
        self.journal.set_note(&closed_note(attempt, &source.database.name), &true)
    }

    /// Whether the plan has an invariant that speaks of tables, which then must be known when the
    /// copy ends.
    fn tallies_while_copying(&self) -> Result<bool> {
        Ok(self.planned()?.invariants.iter().any(Invariant::speaks_of_tables))
    }

    /// The tables of a copied database, from the journal.
    fn copied_tables(&self, attempt: u64, source: &OpenDatabase) -> Result<Vec<TableCommitment>> {
        let name = source.database.name.as_str();
        let chunks = self.journal.ranges(attempt, name)?.map_or(0, |ranges| ranges.len() as u64);
        let log = self.journal.chunks_of(attempt);
        let mut assembly = Assembly::new(&*source.layout);
        for chunk in 0..chunks {
            let copied = crate::chunks::ChunkLog::copied(&log, name, chunk)?.ok_or_else(|| {
                Error::new(Kind::Stopped, "copy", "a chunk is missing in the journal")
            })?;
            match copied.tally {
                Some(tally) => assembly.push(tally).map_err(disorder)?,
                None if copied.receipt.entries == 0 => {}
                None => {
                    let what = "a chunk was copied without laying out its records";
                    return Err(Error::new(Kind::Stopped, "copy", what)
                        .with("database", name.to_owned())
                        .with("chunk", chunk.to_string()));
                }
            }
        }
        assembly.finish().map_err(disorder)
    }
}

pub(super) fn closed_note(attempt: u64, database: &str) -> String {
    format!("closed/{attempt}/{database}")
}

fn lost(path: &Path) -> Error {
    Error::new(Kind::Difference, "look for the target", "a target that was being built is gone")
        .with("path", path.display().to_string())
        .next("`transload resume HOME` begins a new attempt")
}

fn io(operation: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Stopped, operation, error.to_string())
        .with("path", path.display().to_string())
        .caused_by(error)
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| io("remove what a killed run left", path, error))
}

/// Moves a closed target to the staging folder: by renaming, or by a durable copy when it is on
/// another volume. The verification reads what arrived.
fn take_in(from: &Path, to: &Path, watch: &Watch) -> Result<()> {
    let failed = |error| io("take the target in", to, error);
    if let Some(parent) = to.parent() {
        make_folder(parent)?;
    }
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let mut name = to.file_name().unwrap_or_default().to_os_string();
            name.push(".arriving");
            let arriving = to.with_file_name(name);
            remove(&arriving)?;
            copy_durably(from, &arriving, 0, &watch.pacing).map_err(failed)?;
            watch.step("copy: target arriving");
            fs::rename(&arriving, to).map_err(failed)?;
            sync_parent(to).map_err(failed)?;
            watch.step("copy: target arrived");
            return remove(from);
        }
        Err(error) => return Err(failed(error)),
    }
    sync_parent(to).map_err(failed)
}

fn copy_durably(from: &Path, to: &Path, depth: usize, pacing: &Pacing) -> std::io::Result<()> {
    if depth >= DEPTH_MAX {
        return Err(std::io::Error::other(format!("folders are deeper than {DEPTH_MAX}")));
    }
    if fs::symlink_metadata(from)?.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_durably(&entry.path(), &to.join(entry.file_name()), depth + 1, pacing)?;
        }
    } else {
        copy_file(from, to, pacing)?;
    }
    File::open(to)?.sync_all()
}

fn copy_file(from: &Path, to: &Path, pacing: &Pacing) -> std::io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create_new(to)?;
    loop {
        let bytes = std::io::copy(&mut (&mut source).take(PIECE_BYTES), &mut target)?;
        if bytes == 0 {
            return fs::set_permissions(to, fs::metadata(from)?.permissions());
        }
        pacing.carry(bytes);
    }
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
