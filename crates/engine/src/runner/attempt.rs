//! Begins an attempt: preflight, a number never used, a folder of its own, locks, fingerprints.

use super::Migration;
use crate::error::{Error, Kind, Result};
use crate::home::{OpenHome, OpenOptions};
use crate::invariant::Observed;
use crate::moves::Fingerprint;
use crate::phase::Event;
use crate::planning::{Scratch, make_folder};
use crate::settlement::settlement_dir;
use crate::trimming::planned_trims;
use std::collections::BTreeMap;
use std::fs;

/// What the sources were when the copy began, by database.
pub(super) type Prints = BTreeMap<String, Fingerprint>;

impl Migration<'_> {
    /// From Planned to Copying. Everything that can be refused is refused before the attempt's
    /// folder is made.
    pub(super) fn begin(&mut self) -> Result<()> {
        let report = self.preflight()?;
        for result in &report.results {
            if result.outcome == crate::preflight::Outcome::Warning {
                let text = format!("{}: {}", result.name, result.text);
                self.watch.tell(transload_observe::Event::Notice { text });
            }
        }
        if !report.may_begin() {
            self.tell_damage()?;
        }
        report.into_result()?;
        self.hold_sources()?;
        let facts = {
            let scratch = Scratch::make(&self.state_dir, "facts", &self.watch)?;
            let open = self.open_home(&scratch)?;
            let trims = planned_trims(self.planned()?, self.profile, &open)?;
            self.are_as_planned(&self.transforms_now(&open, &trims)?)?;
            open.facts().clone()
        };
        // What it refuses is refused before anything is made.
        let survey = self.refuse_what_fails(self.survey()?, self.free_number()?)?;
        let facts = survey.as_ref().map_or(facts, |survey| survey.facts.clone());
        // Nothing was changed yet, so this is a refusal and no halt.
        self.check_invariants(&Observed::facts_only(facts), "check the invariants")
            .map_err(|error| error.into_kind(Kind::Refused))?;
        self.new_attempt()?;
        self.keep_survey(survey)?;
        self.apply(Event::Begun, "preflight passed")
    }

    /// A damaged source is a finding; what else preflight has against it comes after that.
    fn tell_damage(&self) -> Result<()> {
        let scratch = Scratch::make(&self.state_dir, "facts", &self.watch)?;
        match self.open_home(&scratch) {
            Err(error) if error.kind() == Kind::Difference => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes an attempt whose number and folder were never used before. The journal's state
    /// changes afterwards, so that a crash here only wastes a number.
    pub(super) fn new_attempt(&mut self) -> Result<()> {
        let (plan, attempt) = (self.planned()?, self.free_number()?);
        make_folder(&plan.places.staging_dir)?;
        let folder = plan.attempt_dir(attempt);
        make_folder(&folder.join("targets"))?;
        self.watch.step("attempt's folder made");
        if let Some(target_dir) = &plan.places.target_dir {
            fs::create_dir_all(target_dir).map_err(|error| {
                Error::new(Kind::Refused, "make the target folder", error.to_string())
                    .with("path", target_dir.display().to_string())
            })?;
        }
        let attempt = self.journal.new_attempt(attempt)?;
        let prints = self.fingerprints()?;
        self.journal.set_note(&prints_note(attempt), &prints)?;
        self.verified = None;
        self.show_journal()
    }

    /// The next number that no attempt has had, and no settlement that was refused.
    fn free_number(&self) -> Result<u64> {
        let plan = self.planned()?;
        let mut attempt = self.journal.attempt()? + 1;
        while plan.attempt_dir(attempt).exists()
            || plan.build_path(attempt, "").exists()
            || settlement_dir(&self.state_dir, attempt).exists()
        {
            attempt += 1;
        }
        Ok(attempt)
    }

    /// What the sources are now.
    pub(super) fn fingerprints(&self) -> Result<Prints> {
        let mut prints = Prints::new();
        for database in self.planned()?.moving() {
            let print = self.world.swapper.fingerprint(&database.path)?;
            prints.insert(database.name.clone(), print);
        }
        Ok(prints)
    }

    /// The first file of a source that isn't what it was when the attempt began.
    pub(super) fn changed_source(&self) -> Result<Option<String>> {
        let attempt = self.journal.attempt()?;
        let before: Option<Prints> = self.journal.note(&prints_note(attempt))?;
        let Some(before) = before else {
            return Ok(Some("the attempt has no fingerprints of its sources".into()));
        };
        let now = self.fingerprints()?;
        if before == now {
            return Ok(None);
        }
        let none = Fingerprint::default();
        for (database, print) in &before {
            let other = now.get(database).unwrap_or(&none);
            let names = print.files.keys().chain(other.files.keys());
            for name in names {
                if print.files.get(name) != other.files.get(name) {
                    return Ok(Some(format!("{database}: {name}")));
                }
            }
        }
        Ok(Some("the list of databases".into()))
    }

    /// Goes back to Copying with a new attempt when a source has changed. Answers whether it
    /// did.
    pub(super) fn copy_again_if_changed(&mut self) -> Result<bool> {
        let Some(what) = self.changed_source()? else { return Ok(false) };
        let reason = format!("the source changed since it was copied ({what}): copied again");
        self.watch.tell(transload_observe::Event::Notice { text: reason.clone() });
        // In this order: killed between the two, the old attempt is Copying and its source has
        // changed, which is seen again. The other way round the new one would pass for verified.
        self.apply(Event::SourceChanged, &reason)?;
        self.watch.step("source changed: to be copied again");
        self.new_attempt()?;
        Ok(true)
    }

    /// Opens every database of the home as it stands now.
    pub(super) fn open_home(&self, scratch: &Scratch) -> Result<OpenHome<'_>> {
        let options = OpenOptions {
            scratch_dir: scratch.path.clone(),
            memory_bytes_max: self.planned()?.limits.driver_bytes(),
            space: None,
        };
        let (home, engines) = (self.home.clone(), self.world.engines);
        OpenHome::open_recognised(self.profile, home, engines, &options)
            .map(|open| open.at_pace(&self.watch.pacing))
    }
}

pub(super) fn prints_note(attempt: u64) -> String {
    format!("fingerprints/{attempt}")
}
