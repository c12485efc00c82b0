//! From the verified target to the end: swap, soak, roll back, finalize.

use super::attempt::{Prints, prints_note};
use super::opened::refuse_a_moved_home;
use super::prove_equal::target_prints_note;
use super::trimming::TransformsNow;
use super::{Migration, notes};
use crate::error::{Error, Kind, Result};
use crate::moves::{Fence, Fingerprint, Standing, SwapPlan, Verified};
use crate::phase::{Event, Phase, State};
use crate::planning::{Scratch, discover};
use crate::trimming::planned_trims;
use std::collections::BTreeMap;
use std::fs;
use transload_observe::Stage;
use transload_store::ChainFacts;

impl Migration<'_> {
    /// Swaps. The caller has asked whoever must say go.
    ///
    /// # Errors
    /// [`Kind::Refused`] when nothing is ready; [`Kind::Stopped`] when the source has changed
    /// (run again to copy again) or the swap can be resumed; [`Kind::Difference`] when the
    /// verified target has changed; [`Kind::OutcomeUnknown`] when a person must look.
    pub fn cut_over(&mut self, approved_by: &str) -> Result<()> {
        if self.state()? == State::Halted(Phase::ReadyToCutOver) {
            self.apply(Event::ResumeAsked, "asked to go on")?;
        }
        self.allows(Event::Approved)?;
        // Who asks to stop before the swap is heard; once it has begun it is ended.
        let ready = self.make_ready().and_then(|verified| {
            self.watch.go_on("cut over")?;
            Ok(verified)
        });
        let verified = match ready {
            Ok(verified) => verified,
            Err(error) => return self.settle(Err(error)),
        };
        let attempt = self.journal.attempt()?;
        self.journal.set_note(notes::SWAPPED_ATTEMPT, &attempt)?;
        self.apply(Event::Approved, &format!("approved by {approved_by}"))?;
        self.swap(&verified)
    }

    /// Looks once more at everything that the swap relies on.
    fn make_ready(&mut self) -> Result<Verified> {
        self.hold_sources()?;
        let attempt = self.journal.attempt()?;
        if self.copy_again_if_changed()? {
            return Err(Error::new(
                Kind::Stopped,
                "cut over",
                "the source changed since it was copied: it must be copied again",
            )
            .next("`transload resume HOME` copies again; keep the node stopped"));
        }
        let before: Option<BTreeMap<String, Fingerprint>> =
            self.journal.note(&target_prints_note(attempt))?;
        if before != Some(self.target_prints(attempt)?) {
            return Err(Error::new(
                Kind::Difference,
                "cut over",
                "the verified target is not what it was: somebody has touched it",
            )
            .next("`transload rollback HOME`, then plan and migrate again"));
        }
        let _as_journaled = self.read_settled()?;
        let (facts, transforms) = self.facts_now().map_err(|error| match error.kind() {
            // Everything is copied by now: whatever keeps a disk from being read is a halt.
            Kind::Refused => error.into_kind(Kind::Stopped),
            _ => error,
        })?;
        self.are_as_planned(&transforms)?;
        let fence = Fence::of(&self.home, Some(&facts));
        self.journal.set_note(notes::FENCE, &fence)?;
        self.journal.set_note(notes::FACTS_AT_SWAP, &facts)?;
        self.journal.set_note(notes::HOME_AT_SWAP, &self.home)?;
        self.journal.set_note(notes::APP_AT_SWAP, &self.app_that_stays()?)?;
        self.recall_verified(attempt)
    }

    /// The home's facts and the transforms of this transload, once nobody has come to need what is
    /// left out: databases that stay, and that tell of such needs, may have changed since the copy.
    fn facts_now(&self) -> Result<(ChainFacts, TransformsNow)> {
        let scratch = Scratch::make(&self.state_dir, "facts", &self.watch)?;
        let mut open = self.open_home(&scratch)?;
        let _settlement = self.see_settled(&mut open)?;
        let trims = planned_trims(self.planned()?, self.profile, &open)?;
        Ok((open.facts().clone(), self.transforms_now(&open, &trims)?))
    }

    /// Swaps from wherever the disk says that things stand, and reads the outcome back.
    fn swap(&mut self, verified: &Verified) -> Result<()> {
        self.watch.tell(transload_observe::Event::StageBegan { stage: Stage::CuttingOver });
        let attempt = self.swapped_attempt()?;
        let swap = self.swap_plan(attempt)?;
        let steps = self.journal.steps_of(attempt);
        let result = self.world.swapper.cut_over(&swap, verified, &steps);
        let standing = self.world.swapper.standing(&swap)?;
        self.watch.tell(transload_observe::Event::StageEnded { stage: Stage::CuttingOver });
        self.held = None;
        match (standing, result) {
            (Standing::New, _) => {
                self.look_again()?;
                self.apply(Event::FoundNew, "read back: the home stands on the target")
            }
            (Standing::Old, result) => {
                let error = result.err();
                let why =
                    error.as_ref().map_or_else(|| "for no stated reason".into(), Error::to_string);
                let hint = error.as_ref().and_then(Error::next_step);
                let next = hint.unwrap_or("`transload resume HOME` tries again").to_owned();
                self.apply(Event::FoundOld, &format!("the swap did not happen: {why}"))?;
                Err(Error::new(Kind::Stopped, "cut over", format!("nothing was swapped: {why}"))
                    .next(next))
            }
            (Standing::Between, result) => {
                let why =
                    result.err().map_or_else(|| "it is not finished".into(), |e| e.to_string());
                let error = Error::new(Kind::Stopped, "cut over", why).next(
                    "don't start the node; `transload resume HOME` ends the swap, `transload \
                     rollback HOME` undoes it",
                );
                self.settle(Err(error))
            }
            (Standing::Unknown(what), _) => {
                self.apply(Event::FoundUnknown, &what)?;
                Err(Error::new(Kind::OutcomeUnknown, "cut over", what)
                    .next("don't start the node; a person must look at the paths named"))
            }
        }
    }

    /// Goes on with whatever was begun: copies and verifies up to the approval, or ends a swap,
    /// a rollback or a clean-up that was cut off.
    ///
    /// # Errors
    /// As the method of the phase concerned.
    pub fn resume(&mut self) -> Result<()> {
        let state = self.state()?;
        match state.phase() {
            Phase::Planned | Phase::Copying | Phase::Verifying | Phase::ReadyToCutOver => {
                self.run_to_ready()
            }
            Phase::CuttingOver => {
                self.unhalt()?;
                self.resume_swap()
            }
            Phase::RollingBack => {
                self.unhalt()?;
                self.put_back()
            }
            Phase::Finalizing => {
                self.unhalt()?;
                self.free()
            }
            Phase::Soaking => {
                self.stands_on_the_target()?;
                self.unhalt()
            }
            Phase::Finalized | Phase::RolledBack => {
                Err(Error::new(Kind::Refused, "resume", format!("the migration is {state}"))
                    .next("there is nothing to resume"))
            }
        }
    }

    /// Refuses to go on where somebody has removed or replaced a database since the swap.
    fn stands_on_the_target(&self) -> Result<()> {
        let swap = self.swap_plan(self.swapped_attempt()?)?;
        let unknown = |why: String| Error::new(Kind::OutcomeUnknown, "look where it stands", why);
        match self.world.swapper.standing(&swap)? {
            Standing::New => Ok(()),
            Standing::Old => Err(unknown("the home stands on the old databases".into())
                .next("`transload rollback HOME` brings the journal in line with that")),
            Standing::Between => Err(unknown("a database that was swapped in is gone".into())
                .next("don't start the node; `transload rollback HOME` goes back")),
            Standing::Unknown(why) => {
                Err(unknown(why)
                    .next("don't start the node; a person must look at the paths named"))
            }
        }
    }

    fn unhalt(&mut self) -> Result<()> {
        match self.state()? {
            State::Halted(_) => self.apply(Event::ResumeAsked, "asked to go on"),
            State::In(_) => Ok(()),
        }
    }

    fn resume_swap(&mut self) -> Result<()> {
        let attempt = self.swapped_attempt()?;
        let swap = self.swap_plan(attempt)?;
        match self.world.swapper.standing(&swap)? {
            Standing::Old => {
                // Whoever started the node in between is noticed by the preparation.
                self.apply(Event::FoundOld, "read back: the swap had not begun")?;
                Ok(())
            }
            Standing::New => {
                self.look_again()?;
                self.apply(Event::FoundNew, "read back: the swap was complete")
            }
            Standing::Between => {
                let verified = self.recall_verified(attempt)?;
                self.swap(&verified)
            }
            Standing::Unknown(what) => {
                self.apply(Event::FoundUnknown, &what)?;
                Err(Error::new(Kind::OutcomeUnknown, "resume the swap", what)
                    .next("don't start the node; a person must look at the paths named"))
            }
        }
    }

    /// Goes back to the source.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the phase or the fence forbids it; then as [`Migration::cut_over`].
    pub fn roll_back(&mut self, asked_by: &str) -> Result<()> {
        if self.state()?.phase() == Phase::RollingBack {
            return self.resume();
        }
        self.allows(Event::RollBackAsked)?;
        if self.was_swapped()? {
            self.may_go_back()?;
        }
        self.watch.go_on("roll back")?;
        self.apply(Event::RollBackAsked, &format!("asked by {asked_by}"))?;
        self.put_back()
    }

    /// Whether the swap was ever begun for the attempt at hand.
    fn was_swapped(&self) -> Result<bool> {
        let swapped: Option<u64> = self.journal.note(notes::SWAPPED_ATTEMPT)?;
        Ok(swapped == Some(self.journal.attempt()?))
    }

    fn put_back(&mut self) -> Result<()> {
        self.watch.tell(transload_observe::Event::StageBegan { stage: Stage::RollingBack });
        self.held = None;
        if !self.was_swapped()? {
            return self.apply(Event::FoundOld, "nothing had been swapped");
        }
        let attempt = self.swapped_attempt()?;
        let swap = self.swap_plan(attempt)?;
        let steps = self.journal.steps_of(attempt);
        // From the old side as well: what was staged is swept away.
        let result = self.world.swapper.roll_back(&swap, &steps);
        let standing = match self.world.swapper.standing(&swap)? {
            Standing::Old => self.old_by_its_files(attempt, &swap)?,
            other => other,
        };
        self.watch.tell(transload_observe::Event::StageEnded { stage: Stage::RollingBack });
        match (standing, result) {
            (Standing::Old, _) => {
                self.look_again()?;
                self.apply(Event::FoundOld, "read back: the home stands on the source")
            }
            (Standing::Unknown(what), _) => {
                self.apply(Event::FoundUnknown, &what)?;
                Err(Error::new(Kind::OutcomeUnknown, "roll back", what)
                    .next("don't start the node; a person must look at the paths named"))
            }
            (_, result) => {
                let why =
                    result.err().map_or_else(|| "it is not finished".into(), |e| e.to_string());
                let error = Error::new(Kind::Stopped, "roll back", why)
                    .next("don't start the node; `transload resume HOME` goes on");
                self.settle(Err(error))
            }
        }
    }

    /// Where the engine stays, its sign is the same on both sides: that the old database is live
    /// must follow from a file of it that is as it was when the attempt began (an engine's lock is
    /// never written).
    fn old_by_its_files(&self, attempt: u64, swap: &SwapPlan) -> Result<Standing> {
        let Some(before) = self.journal.note::<Prints>(&prints_note(attempt))? else {
            return Ok(Standing::Old);
        };
        for one in swap.moves.iter().filter(|one| one.from == one.to) {
            let Some(print) = before.get(&one.database).filter(|print| !print.files.is_empty())
            else {
                continue;
            };
            let now = self.world.swapper.fingerprint(&one.live)?;
            if !print.files.iter().any(|(name, line)| now.files.get(name) == Some(line)) {
                return Ok(Standing::Unknown(format!(
                    "{} has no file of the database that stood there before the swap",
                    one.live.display()
                )));
            }
        }
        Ok(Standing::Old)
    }

    /// Frees the copies that the home doesn't stand on: the old databases after a swap, once
    /// the new ones were read through and checked as they are now; the targets after a rollback.
    ///
    /// # Errors
    /// [`Kind::Refused`] in any other phase; [`Kind::Difference`] when the new databases aren't
    /// in order: the migration halts and nothing is freed; [`Kind::Stopped`] when something
    /// can't be removed.
    pub fn finalize(&mut self, asked_by: &str) -> Result<()> {
        if self.state()?.phase() == Phase::Finalizing {
            return self.resume();
        }
        self.allows(Event::FinalizeAsked)?;
        refuse_a_moved_home(self.planned()?, &self.home.root)?;
        self.watch.go_on("finalize")?;
        if self.state()?.phase() == Phase::Soaking {
            self.stands_on_the_target()?;
            self.look_before_freeing()?;
        }
        self.apply(Event::FinalizeAsked, &format!("asked by {asked_by}"))?;
        self.free()
    }

    fn free(&mut self) -> Result<()> {
        self.watch.tell(transload_observe::Event::StageBegan { stage: Stage::Finalizing });
        let result = self.free_all();
        self.watch.tell(transload_observe::Event::StageEnded { stage: Stage::Finalizing });
        match result {
            Ok(()) => self.apply(Event::Freed, "the copies that nobody runs on are gone"),
            Err(error) => self.settle(Err(error)),
        }
    }

    fn free_all(&self) -> Result<()> {
        let swapped: Option<u64> = self.journal.note(notes::SWAPPED_ATTEMPT)?;
        if let Some(attempt) = swapped {
            let swap = self.swap_plan(attempt)?;
            self.world.swapper.free(&swap, &self.journal.steps_of(attempt))?;
        }
        // Attempts that were never swapped in hold nothing but targets.
        let attempts = self.planned()?.places.staging_dir.join("attempts");
        let failed = |path: &std::path::Path, error: std::io::Error| {
            Error::new(Kind::Stopped, "free the attempts", error.to_string())
                .with("path", path.display().to_string())
        };
        let folder = match fs::read_dir(&attempts) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|error| failed(&attempts, error))?,
        };
        for entry in folder {
            let path = entry.map_err(|error| failed(&attempts, error))?.path();
            let kept = path.join("kept");
            if holds_something(&kept) {
                let error = Error::new(
                    Kind::Stopped,
                    "free the attempts",
                    "an old copy that no swap accounts for is left alone",
                );
                return Err(error.with("path", kept.display().to_string()));
            }
            fs::remove_dir_all(&path).map_err(|error| failed(&path, error))?;
            self.watch.step("finalize: attempt freed");
        }
        Ok(())
    }

    pub(super) fn swapped_attempt(&self) -> Result<u64> {
        let swapped: Option<u64> = self.journal.note(notes::SWAPPED_ATTEMPT)?;
        swapped
            .ok_or_else(|| Error::new(Kind::OutcomeUnknown, "read the journal", "no swap is noted"))
    }

    /// The home's files are others after a swap.
    pub(super) fn look_again(&mut self) -> Result<()> {
        let (profile, home) = discover(&self.home.root, self.world.profiles)?;
        self.profile = profile;
        self.home = home;
        Ok(())
    }
}

/// Whether there is anything but empty folders: a guard's parent folder stays behind, an old
/// copy never does.
pub(super) fn holds_something(folder: &std::path::Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.into_iter().any(|entry| match entry.map(|entry| (entry.path(), entry.file_type())) {
        Ok((path, Ok(kind))) if kind.is_dir() => holds_something(&path),
        // What can't be looked at is taken for something.
        _ => true,
    })
}
