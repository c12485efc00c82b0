//! The phase Verifying: reads both sides back, then runs the chain's checks on the target.

use super::{Migration, notes};
use crate::chunks::ChunkLog;
use crate::copy::target_fault;
use crate::error::{Error, Kind, Result};
use crate::home::{OpenDatabase, OpenHome};
use crate::invariant::Observed;
use crate::moves::{Fingerprint, Verified, equal_note};
use crate::owner::adopt;
use crate::phase::{Event, Phase};
use crate::plan::Fate;
use crate::planning::Scratch;
use crate::relaid::{RelaidJob, target_line, verify_relaid};
use crate::relayout::rekey;
use crate::report::{
    Meaning, RUN_SCHEMA, ReportDatabase, ReportTrim, RunReport, memory, reach, report_table,
};
use crate::tally::{TallyOptions, aligned_ranges};
use crate::verify::{VerifiedDatabase, VerifyJob, verify_database};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use transload_model::commitment::{Dataset, TableCommitment};
use transload_model::report::Verdict;
use transload_observe::Stage;
use transload_store::{
    ChainFacts, HomeView, Opener, Recognised, Reshape, Snapshot, Store, TargetOptions,
    VerifyOptions,
};

const RECOGNISE_TARGET: &str = "recognise the target";

/// The home as it will be: targets where databases move, everything else as it is.
struct AfterSwap<'a> {
    targets: BTreeMap<String, Arc<dyn Snapshot>>,
    staying: &'a OpenHome<'a>,
}

/// What the report says of a database beside its comparison.
struct Beside {
    meanings: BTreeMap<String, Meaning>,
    trims: BTreeMap<String, ReportTrim>,
}

impl Opener for AfterSwap<'_> {
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>> {
        self.targets.get(database).map(Arc::clone).or_else(|| self.staying.snapshot(database))
    }
}

impl Migration<'_> {
    /// Reads both sides back, checks the target, and goes to ReadyToCutOver.
    pub(super) fn verify_phase(&mut self) -> Result<()> {
        self.hold_sources()?;
        if self.copy_again_if_changed()? {
            return Ok(());
        }
        let attempt = self.journal.attempt()?;
        let scratch = Scratch::make(&self.state_dir, "verify", &self.watch)?;
        let mut stores: BTreeMap<String, Box<dyn Store>> = BTreeMap::new();
        let settlement;
        let (databases, beside, verdict, dataset, (source_facts, facts)) = {
            let mut open = self.open_home(&scratch)?;
            settlement = self.see_settled(&mut open)?;
            self.trim(&mut open)?;
            self.reform(&mut open, &scratch)?;
            for planned in self.planned()?.moving() {
                stores.insert(planned.name.clone(), self.reopen(attempt, &planned.name)?);
            }
            let mut targets: BTreeMap<String, Arc<dyn Snapshot>> = BTreeMap::new();
            for (name, store) in &stores {
                let snapshot = store
                    .snapshot()
                    .map_err(|error| target_fault("take a snapshot of the target", error))?;
                targets.insert(name.clone(), snapshot);
            }
            self.watch.tell(transload_observe::Event::StageBegan { stage: Stage::Verifying });
            let databases = self.compare_all(attempt, &open, &targets)?;
            let mut trims = BTreeMap::new();
            for source in open.databases() {
                if let Some(trim) = self.left_out(source)? {
                    trims.insert(source.database.name.clone(), trim);
                }
            }
            self.watch.tell(transload_observe::Event::StageEnded { stage: Stage::Verifying });
            let mut meanings = BTreeMap::new();
            for (name, target) in &targets {
                let Some(source) = open.database(name) else { continue };
                if let Some(meaning) = self.compare_meaning(source, &**target, &scratch)? {
                    self.journal.set_note(&equal_note(attempt, name), &true)?;
                    meanings.insert(name.clone(), meaning);
                }
            }
            let dataset = self.dataset(&open, &databases)?;
            let after = AfterSwap { targets, staying: &open };
            let (verdict, facts) = self.certify(&after, &scratch)?;
            let facts = (open.facts().clone(), facts);
            (databases, Beside { meanings, trims }, verdict, dataset, facts)
        };
        for (name, store) in stores {
            store
                .close()
                .map_err(|error| target_fault("close the target", error).with("database", name))?;
        }
        // Opening it again has made files that belong to whom transload runs as.
        for planned in self.planned()?.moving() {
            adopt(&planned.path, &self.planned()?.target_path(attempt, &planned.name))?;
        }
        self.refuse_log_only_targets(attempt, &databases)?;
        let verified = self.judge_settled(
            settlement.as_ref(),
            (&source_facts, &facts),
            Verified::new(attempt, &databases, &verdict),
        )?;
        self.check_invariants(&Observed::dataset(&dataset, facts), "verify")?;
        let mut report = self.make_report(attempt, (&databases, beside), &dataset, verdict)?;
        report.settlement = self.report_settlement(settlement)?;
        self.journal.set_note(&target_prints_note(attempt), &self.target_prints(attempt)?)?;
        self.journal.set_note(notes::REPORT, &report)?;
        self.verified = Some(verified);
        self.apply(Event::Verified, &format!("dataset root {}", report.dataset_root))
    }

    fn recognised_target(&self, path: &Path) -> Result<Recognised> {
        let recognised = self.world.engines.recognise(path);
        recognised.map_err(|error| match error.kind() {
            transload_store::Kind::NotFound => {
                Error::store(Kind::Difference, RECOGNISE_TARGET, error)
            }
            _ => Error::reading(RECOGNISE_TARGET, error),
        })
    }

    fn reopen(&self, attempt: u64, database: &str) -> Result<Box<dyn Store>> {
        let plan = self.planned()?;
        let path = plan.target_path(attempt, database);
        let seen = self.recognised_target(&path)?;
        if seen.engine.told_by_files() != plan.engine.told_by_files() {
            return Err(Error::new(
                Kind::Difference,
                RECOGNISE_TARGET,
                format!("the target is {}, the plan says {}", seen.engine, plan.engine),
            )
            .with("path", path.display().to_string()));
        }
        let options = TargetOptions { space: None, memory_bytes_max: plan.limits.driver_bytes() };
        let driver = self
            .world
            .engines
            .driver(plan.engine)
            .map_err(|error| target_fault("find the target's driver", error))?;
        let target = driver.reopen_target(&path, &options);
        target.map(|store| self.watch.pacing.store(store)).map_err(|error| {
            Error::reading("reopen the target", error).with("path", path.display().to_string())
        })
    }

    fn compare_all(
        &self,
        attempt: u64,
        open: &OpenHome<'_>,
        targets: &BTreeMap<String, Arc<dyn Snapshot>>,
    ) -> Result<Vec<VerifiedDatabase>> {
        let log = self.journal.chunks_of(attempt);
        self.announce_comparisons(attempt, open, targets)?;
        let mut databases = Vec::new();
        for (name, target) in targets {
            let source = open.database(name).ok_or_else(|| {
                Error::new(Kind::Stopped, "verify", "the home has lost a database")
                    .with("database", name.clone())
            })?;
            let ranges = self.journal.ranges(attempt, name)?.unwrap_or_default();
            if let Some(layout) = self.planned_layout(source)? {
                let rule = rekey(&*source.layout, &*layout)?;
                databases.push(self.compare_relaid(attempt, source, &**target, &rule)?);
                continue;
            }
            let made_by = self.made_by(name)?;
            let job = VerifyJob {
                database: name,
                source: &*source.snapshot,
                target: &**target,
                layout: &*source.layout,
                made_by: &made_by,
                ranges: &ranges,
                limits: self.planned()?.limits,
            };
            databases.push(verify_database(job, &log, &self.watch)?);
        }
        Ok(databases)
    }

    /// Compares a database whose layout changed, and notes that its tables are equal.
    fn compare_relaid(
        &self,
        attempt: u64,
        source: &OpenDatabase,
        target: &dyn Snapshot,
        rule: &dyn Reshape,
    ) -> Result<VerifiedDatabase> {
        let (name, limits) = (source.database.name.as_str(), self.planned()?.limits);
        let ranges = self.journal.ranges(attempt, name)?.unwrap_or_default();
        let target_ranges = match self.journal.target_ranges(attempt, name)? {
            Some(ranges) => ranges,
            None => {
                let cut = aligned_ranges(target, rule.target(), limits.chunk_bytes)
                    .map_err(|error| Error::reading("divide", error))?;
                self.journal.set_target_ranges(attempt, name, &cut)?;
                cut
            }
        };
        let made_by = self.made_by(name)?;
        let job = RelaidJob {
            database: name,
            source: &*source.snapshot,
            target,
            rule,
            made_by: &made_by,
            ranges: &ranges,
            target_ranges: &target_ranges,
            limits,
        };
        let verified = verify_relaid(job, &self.journal.chunks_of(attempt), &self.watch)?;
        self.journal.set_note(&equal_note(attempt, name), &true)?;
        Ok(verified)
    }

    /// Says what the stage will come to, as the copy has counted it.
    fn announce_comparisons(
        &self,
        attempt: u64,
        open: &OpenHome<'_>,
        targets: &BTreeMap<String, Arc<dyn Snapshot>>,
    ) -> Result<()> {
        let log = self.journal.chunks_of(attempt);
        for planned in self.planned()?.moving().filter(|one| targets.contains_key(&one.name)) {
            let chunks = self.journal.ranges(attempt, &planned.name)?.map_or(0, |all| all.len());
            let (mut bytes, mut entries) = (0, 0);
            for chunk in 0..chunks as u64 {
                if let Some(copied) = log.copied(&planned.name, chunk)? {
                    bytes += copied.receipt.bytes;
                    entries += copied.receipt.entries;
                }
            }
            let mut lines = vec![planned.name.clone()];
            let converted =
                open.database(&planned.name).is_some_and(|source| source.reformed.is_some());
            if planned.to_layout.is_some() && !converted {
                lines.push(target_line(&planned.name));
            }
            for database in lines {
                self.watch.tell(transload_observe::Event::DatabaseExpected {
                    stage: Stage::Verifying,
                    database,
                    bytes_on_disk: planned.bytes_on_disk,
                    bytes,
                    entries,
                });
            }
        }
        Ok(())
    }

    /// The whole home as it will be: tables read back from the targets, and those of the
    /// databases that stay.
    fn dataset(&self, open: &OpenHome<'_>, databases: &[VerifiedDatabase]) -> Result<Dataset> {
        let limits = self.planned()?.limits;
        let options =
            TallyOptions { workers: limits.workers_that_fit(), chunk_bytes: limits.chunk_bytes };
        let mut tables: Vec<TableCommitment> =
            databases.iter().flat_map(|one| one.tables().iter().cloned()).collect();
        for staying in open.databases() {
            if databases.iter().any(|one| one.name() == staying.database.name) {
                continue;
            }
            let go_on = |_, _| !self.watch.cancel.is_asked();
            let tally = crate::tally::tally(&*staying.snapshot, &*staying.layout, options, &go_on)?;
            tables.extend(tally.tables);
        }
        open.dataset(tables)
    }

    /// Runs the chain's checks on the home as it will be.
    fn certify(&self, after: &AfterSwap<'_>, scratch: &Scratch) -> Result<(Verdict, ChainFacts)> {
        const OPERATION: &str = "check the target";
        let view = HomeView { home: &self.home, databases: after, is_written: false };
        let facts = self.profile.facts(view).map_err(|error| Error::reading(OPERATION, error))?;
        let verdict = self.recompute(view, scratch, OPERATION)?;
        for finding in &verdict.findings {
            let text = format!("on the target: {finding}");
            self.watch.tell(transload_observe::Event::Notice { text });
        }
        Ok((verdict, facts))
    }

    /// Runs the chain's checks, as the plan asks for them, in an empty folder.
    pub(super) fn recompute(
        &self,
        view: HomeView<'_>,
        scratch: &Scratch,
        operation: &'static str,
    ) -> Result<Verdict> {
        let plan = self.planned()?;
        let scratch_dir = scratch.path.join("certify");
        let failed = |error: std::io::Error| {
            Error::new(Kind::Stopped, "make a scratch folder", error.to_string())
                .with("path", scratch_dir.display().to_string())
        };
        if scratch_dir.exists() {
            fs::remove_dir_all(&scratch_dir).map_err(failed)?;
        }
        fs::create_dir_all(&scratch_dir).map_err(failed)?;
        let options = VerifyOptions {
            trust: plan.verify.trust()?,
            versions: plan.verify.versions.clone(),
            memory_bytes_max: plan.limits.driver_bytes(),
            workers: plan.limits.workers_that_fit(),
            scratch_dir: scratch_dir.clone(),
        };
        self.watch.tell(transload_observe::Event::StageBegan { stage: Stage::Certifying });
        let progress = |done, total| {
            self.watch.tell(transload_observe::Event::PartsDone { done, total });
            !self.watch.cancel.is_asked()
        };
        let verdict = self
            .profile
            .verify(view, &options, &progress)
            .map_err(|error| Error::reading(operation, error))?;
        self.watch.tell(transload_observe::Event::StageEnded { stage: Stage::Certifying });
        Ok(verdict)
    }

    /// A target of which only a log exists could be emptied or converted by another engine.
    fn refuse_log_only_targets(&self, attempt: u64, databases: &[VerifiedDatabase]) -> Result<()> {
        for database in databases.iter().filter(|one| one.entries() > 0) {
            let path = self.planned()?.target_path(attempt, database.name());
            let seen = self.recognised_target(&path)?;
            if !seen.has_tables {
                return Err(Error::new(
                    Kind::Difference,
                    "look at the target",
                    "the target has entries but no table file",
                )
                .with("path", path.display().to_string()));
            }
        }
        Ok(())
    }

    fn make_report(
        &self,
        attempt: u64,
        (verified, mut beside): (&[VerifiedDatabase], Beside),
        dataset: &Dataset,
        verdict: Verdict,
    ) -> Result<RunReport> {
        let plan = self.planned()?;
        let mut databases = Vec::new();
        for planned in &plan.databases {
            let compared = verified.iter().find(|one| one.name() == planned.name);
            let tables = dataset
                .tables()
                .iter()
                .filter(|table| planned.tables.iter().any(|own| own.name == table.name))
                .map(|table| report_table(plan, table))
                .collect();
            databases.push(ReportDatabase {
                name: planned.name.clone(),
                from: planned.from,
                to: if planned.moves() { plan.engine } else { planned.from },
                fate: planned.fate,
                to_layout: planned.to_layout.clone(),
                transforms: planned.transforms.clone(),
                meaning: beside.meanings.remove(&planned.name),
                trim: beside.trims.remove(&planned.name),
                entries_compared: compared.map_or(0, VerifiedDatabase::entries),
                bytes_compared: compared.map_or(0, VerifiedDatabase::bytes),
                chunks: compared.map_or(0, VerifiedDatabase::chunks),
                tables,
            });
        }
        let bytes_copied = databases.iter().map(|one| one.bytes_compared).sum::<u64>();
        let phases = self.phase_times(attempt)?;
        let copy_millis = phases
            .iter()
            .find(|time| time.phase == Phase::Copying.name())
            .map_or(0, |time| time.millis);
        let rate = u128::from(bytes_copied) * 1000 / u128::from(copy_millis.max(1));
        let (peak_memory_bytes, anonymous_memory_bytes) = memory();
        Ok(RunReport {
            schema: RUN_SCHEMA.into(),
            attempt,
            plan_digest: plan.digest()?,
            phases,
            waits: self.wait_times(attempt)?,
            records: databases
                .iter()
                .filter(|one| one.fate == Fate::Moves)
                .flat_map(|one| &one.tables)
                .map(|table| table.records)
                .sum(),
            bytes_copied,
            copy_bytes_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            peak_memory_bytes,
            anonymous_memory_bytes,
            dataset_root: hex::encode(dataset.root()),
            reach: reach(&databases, &verdict),
            databases,
            settlement: None,
            verdict,
            estimate: plan.estimate.clone(),
        })
    }

    /// What the verified targets' files are now.
    pub(super) fn target_prints(&self, attempt: u64) -> Result<BTreeMap<String, Fingerprint>> {
        let mut prints = BTreeMap::new();
        for one in self.planned()?.moves(attempt) {
            prints.insert(one.database, self.world.swapper.seal(&one.target)?);
        }
        Ok(prints)
    }

    /// What was verified, remembered from the journal when another process did it.
    pub(super) fn recall_verified(&self, attempt: u64) -> Result<Verified> {
        if let Some(verified) = &self.verified {
            return Ok(verified.clone());
        }
        let missing = || Error::new(Kind::Stopped, "recall the verification", "it is not complete");
        let report: RunReport = self.journal.note(notes::REPORT)?.ok_or_else(missing)?;
        if report.attempt != attempt || report.plan_digest != self.planned()?.digest()? {
            return Err(missing());
        }
        Verified::recall(&self.journal, attempt, self.planned()?, &report.verdict)
    }
}

pub(super) fn target_prints_note(attempt: u64) -> String {
    format!("target_fingerprints/{attempt}")
}
