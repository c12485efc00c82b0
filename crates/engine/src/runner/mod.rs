//! Runs a migration: one journal, one state machine, from the plan to the end.
//!
//! Every method leaves the journal telling the truth: a phase is entered in the journal after
//! the work that leads there is durable. A process that is killed anywhere is followed by one
//! that opens the same journal and goes on.
//!
//! Invariant: live paths are touched only by the [`Swapper`], and only in the phases CuttingOver,
//! RollingBack and Finalizing.

mod attempt;
mod build;
mod ending;
mod opened;
mod pace;
mod prove_equal;
mod reforming;
mod settling;
mod soak;
mod survey;
mod trimming;
mod way_back;

pub use soak::SoakCheck;

use opened::{
    home_at_swap, plan_in_force, real_folder, refuse_a_lost_journal, refuse_a_moved_home,
    settle_plan,
};
use pace::PaceKeeper;

use crate::control::ControlServer;
use crate::error::{Error, Kind, Result};
use crate::history::keep_plan;
use crate::identity::HomeIdentity;
use crate::invariant::{Observed, violations};
use crate::journal::{Journal, journal_file};
use crate::moves::{Held, SwapPlan, Swapper, Verified};
use crate::phase::{Event, Phase, State, next};
use crate::plan::Plan;
use crate::planning::{Scratch, discover, make_folder, refuse_what_is_no_text, state_dir_of};
use crate::preflight::{Ground, Preflight, preflight};
use crate::pulse::Pulse;
use crate::report::{PhaseTime, RunReport};
use crate::settlement::settlement_path;
use crate::status::{StatusFile, StatusSettlement};
use crate::watch::Watch;
use redb::{DatabaseError, StorageBackend};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use transload_observe::{Fan, Sink};
use transload_store::{ChainFacts, Engines, Home, Profile};

/// What a migration needs of the world outside the engine.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The chain profiles of this build.
    pub profiles: &'a [&'a dyn Profile],
    /// The engines of this build.
    pub engines: &'a dyn Engines,
    /// What swaps.
    pub swapper: &'a dyn Swapper,
}

/// A home's migration, owned by this process.
pub struct Migration<'a> {
    world: World<'a>,
    watch: Watch,
    journal: Arc<Journal>,
    pace: Arc<PaceKeeper>,
    plan: Option<Plan>,
    profile: &'a dyn Profile,
    home: Home,
    state_dir: PathBuf,
    status: Arc<StatusFile>,
    held: Option<Box<dyn Held>>,
    verified: Option<Verified>,
    _pulse: Pulse,
    // Dropped last but one: it answers as long as the migration is owned.
    _control: ControlServer,
}

/// Names of the journal's notes.
mod notes {
    /// The digest of the plan in force.
    pub(super) const PLAN_DIGEST: &str = "plan_digest";
    /// The attempt whose targets were last given to the swap.
    pub(super) const SWAPPED_ATTEMPT: &str = "swapped_attempt";
    /// The report of the last verification.
    pub(super) const REPORT: &str = "report";
    /// The home before the swap: while it goes on, the home can't be recognised.
    pub(super) const HOME_AT_SWAP: &str = "home_at_swap";
    /// The limits on the pace that somebody has changed.
    pub(super) const PACE: &str = "pace";
    /// The digest of a plan that is being put in force.
    pub(super) const PLAN_COMING: &str = "plan_coming";
    /// The line behind which nobody may go back.
    pub(super) const FENCE: &str = "fence";
    /// What the application's databases that stay were at the swap.
    pub(super) const APP_AT_SWAP: &str = "app_at_swap";
    /// The chain's facts when the home was swapped.
    pub(super) const FACTS_AT_SWAP: &str = "facts_at_swap";
}

impl<'a> Migration<'a> {
    /// Opens the migration of a home, whatever phase it is in, and becomes its owner.
    ///
    /// # Errors
    /// [`Kind::Refused`] when there is no home, another process owns it, or its journal is
    /// another home's or a newer transload's.
    pub fn open(path: &Path, world: World<'a>, watch: &Watch) -> Result<Self> {
        Self::open_on(journal_file, path, world, watch)
    }

    /// As [`Migration::open`], with the journal's file opened by `file`: tests let its calls fail.
    ///
    /// # Errors
    /// As [`Migration::open`].
    pub fn open_on<B: StorageBackend>(
        file: impl FnOnce(&Path) -> std::result::Result<B, DatabaseError>,
        path: &Path,
        world: World<'a>,
        watch: &Watch,
    ) -> Result<Self> {
        let root = real_folder(path)?;
        refuse_what_is_no_text(&root)?;
        let state_dir = state_dir_of(&root);
        if !Journal::path_in(&state_dir).exists() {
            refuse_a_lost_journal(&root, &state_dir)?;
            // Nothing is made in a folder that is no home.
            discover(&root, world.profiles)?;
        }
        make_folder(&state_dir)?;
        watch.step("state folder made");
        let identity = HomeIdentity::of(&root)?;
        let journal = Journal::open_on(file, &state_dir, &identity, Arc::clone(&watch.hook))?;
        let journal = Arc::new(journal);
        let (state, attempt) = (journal.state()?, journal.attempt()?);
        let (profile, home) = match state.phase() {
            Phase::CuttingOver | Phase::RollingBack => home_at_swap(&journal, &root, world)?,
            _ => discover(&root, world.profiles)?,
        };
        let digest = settle_plan(&journal, &state_dir)?;
        let plan = match &digest {
            Some(digest) => Some(plan_in_force(&state_dir, digest, state.phase())?),
            None => None,
        };
        // Where nothing is at stake, a new plan can be made for the new place.
        let is_at_rest =
            matches!(state.phase(), Phase::Planned | Phase::RolledBack | Phase::Finalized);
        if let Some(plan) = plan.as_ref().filter(|_| !is_at_rest) {
            refuse_a_moved_home(plan, &root)?;
        }
        let digest = digest.unwrap_or_default();
        let limits = pace::in_force(&journal, plan.as_ref(), &digest)?;
        let status = StatusFile::new(&state_dir, state, attempt, &digest);
        let status = Arc::new(status.with_hook(Arc::clone(&watch.hook)));
        let file: Arc<dyn Sink> = Arc::clone(&status) as Arc<dyn Sink>;
        let sink = Arc::new(Fan::new(vec![Arc::clone(&watch.sink), file]));
        let watch = Watch::new(sink, watch.cancel.clone(), Arc::clone(&watch.hook));
        let watch = watch.at_pace(limits);
        let pace = Arc::new(PaceKeeper::new(&journal, &watch.pacing));
        let keeper = Arc::clone(&pace);
        let control = ControlServer::start(
            &state_dir,
            watch.cancel.clone(),
            Arc::clone(&status),
            Box::new(move |change| keeper.change(change)),
        )?;
        let pulse = Pulse::start(&watch);
        let this = Self {
            world,
            watch,
            journal,
            pace,
            plan,
            profile,
            home,
            state_dir,
            status,
            held: None,
            verified: None,
            _pulse: pulse,
            _control: control,
        };
        this.sweep()?;
        this.show_journal()?;
        Ok(this)
    }

    /// Removes what processes have left that were killed: only the owner of the journal may.
    fn sweep(&self) -> Result<()> {
        Scratch::sweep(&self.state_dir)?;
        let Some(plan) = &self.plan else { return Ok(()) };
        let live = plan.moving().map(|database| &database.path);
        let edited = plan.config.iter().map(|edit| &edit.path);
        let mut folders: BTreeSet<&Path> = live.chain(edited).filter_map(|p| p.parent()).collect();
        folders.insert(&plan.places.staging_dir);
        for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
            self.world.swapper.sweep(folder)?;
        }
        Ok(())
    }

    /// Where the migration stands.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn state(&self) -> Result<State> {
        self.journal.state()
    }

    /// Whether `event` is possible where the migration stands.
    ///
    /// # Errors
    /// [`Kind::Refused`], saying where it stands and what is possible.
    pub fn allows(&self, event: Event) -> Result<()> {
        next(self.state()?, event).map(drop).map_err(refusal)
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The report of the last verification, once there was one.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the journal can't be read.
    pub fn report(&self) -> Result<Option<RunReport>> {
        let mut report: Option<RunReport> = self.journal.note(notes::REPORT)?;
        if let Some(report) = &mut report {
            // It was made when the verification ended, and phases go on since.
            report.phases = self.phase_times(report.attempt)?;
            report.waits = self.wait_times(report.attempt)?;
        }
        Ok(report)
    }

    /// Puts a plan in force. Possible before anything was copied, or after everything ended.
    ///
    /// # Errors
    /// [`Kind::Refused`] in any other phase, or for a plan of another home.
    pub fn accept(&mut self, plan: Plan) -> Result<()> {
        if plan.home.path != self.home.root {
            return Err(Error::new(Kind::Refused, "accept the plan", "it is for another home")
                .with("plan", plan.home.path.display().to_string())
                .with("home", self.home.root.display().to_string()));
        }
        if plan.places.state_dir != self.state_dir {
            return Err(Error::new(
                Kind::Refused,
                "accept the plan",
                "its state folder isn't this home's",
            )
            .with("plan", plan.places.state_dir.display().to_string()));
        }
        // Checked before the file is replaced: a refused plan leaves the one in force alone.
        let state = self.state()?;
        next(state, Event::PlanMade).map_err(refusal)?;
        self.journal.set_note(notes::PLAN_COMING, &plan.digest()?)?;
        let digest = keep_plan(&self.state_dir, &plan, &self.watch)?;
        self.journal.set_note(notes::PLAN_DIGEST, &digest)?;
        self.pace.begin(&plan);
        self.apply(Event::PlanMade, &format!("plan {digest}"))?;
        self.plan = Some(plan);
        self.show_journal()
    }

    /// Makes every check of the registry for the plan in force.
    ///
    /// # Errors
    /// [`Kind::Refused`] when there is no plan.
    pub fn preflight(&self) -> Result<Preflight> {
        Ok(preflight(&Ground {
            plan: self.planned()?,
            profile: self.profile,
            home: &self.home,
            engines: self.world.engines,
            swapper: self.world.swapper,
            watch: &self.watch,
        }))
    }

    /// Goes on until the target is verified and somebody must say go. Begins when nothing has
    /// begun, and resumes what was halted or killed.
    ///
    /// # Errors
    /// [`Kind::Refused`] before anything was changed; [`Kind::Difference`];
    /// [`Kind::Stopped`] when it can be resumed.
    pub fn run_to_ready(&mut self) -> Result<()> {
        loop {
            let state = self.state()?;
            if let Err(error) = self.watch.go_on("run") {
                return self.settle(Err(error));
            }
            match state {
                State::Halted(
                    Phase::Planned | Phase::Copying | Phase::Verifying | Phase::ReadyToCutOver,
                ) => self.apply(Event::ResumeAsked, "asked to go on")?,
                State::In(Phase::Planned) => {
                    // A refusal leaves the state alone: nothing was changed.
                    let result = self.begin();
                    if result.is_err() {
                        self.held = None;
                    }
                    self.show_error(&result)?;
                    result?;
                }
                State::In(Phase::Copying) => {
                    let result = self.timed(Phase::Copying, Self::copy_phase);
                    self.settle(result)?;
                }
                State::In(Phase::Verifying) => {
                    let result = self.timed(Phase::Verifying, Self::verify_phase);
                    self.settle(result)?;
                }
                // A node may have run since: whoever resumes wants what it made copied too.
                State::In(Phase::ReadyToCutOver) => match self.copy_again_if_changed() {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => return self.settle(Err(error)),
                },
                other => {
                    return Err(Error::new(
                        Kind::Refused,
                        "run",
                        format!("the migration is {other}"),
                    )
                    .next(other.next_step()));
                }
            }
        }
    }

    /// Applies an event: journal first, then everybody else.
    fn apply(&mut self, event: Event, reason: &str) -> Result<()> {
        let from = self.state()?;
        let (to, _effects) = next(from, event).map_err(refusal)?;
        self.journal.change_state(from, to, reason)?;
        self.watch.tell(transload_observe::Event::PhaseChanged {
            from: from.to_string(),
            to: to.to_string(),
            reason: reason.to_owned(),
        });
        self.status.set_state(to, None)
    }

    /// Journals how a phase ended when it failed, and hands the error on.
    fn settle(&mut self, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        // Locks aren't held while nobody works.
        self.held = None;
        let event = match error.kind() {
            Kind::Difference => Event::DifferenceFound,
            Kind::Stopped if self.watch.cancel.is_asked() => Event::HaltAsked,
            Kind::Stopped => Event::Failed,
            Kind::InvariantViolated => Event::InvariantViolated,
            Kind::Usage | Kind::Refused | Kind::OutcomeUnknown => {
                self.show_error(&Err(error.repeat()))?;
                return Err(error);
            }
        };
        if next(self.state()?, event).is_ok() {
            self.apply(event, &error.to_string())?;
        }
        self.show_error(&Err(error.repeat()))?;
        Err(error)
    }

    fn show_error(&self, result: &Result<()>) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.status.set_state(self.state()?, Some(error)),
        }
    }

    fn show_journal(&self) -> Result<()> {
        let attempt = self.journal.attempt()?;
        if let Some(plan) = &self.plan {
            let names: Vec<String> = plan.moving().map(|database| database.name.clone()).collect();
            self.status.take_over(&self.journal, attempt, &plan.digest()?, &names)?;
            self.status.set_settlement(self.settled(attempt)?.map(|note| StatusSettlement {
                quarantined: note.quarantined,
                repaired: note.repaired,
                path: settlement_path(&self.state_dir, attempt),
            }));
        }
        self.status.set_state(self.state()?, None)
    }

    fn planned(&self) -> Result<&Plan> {
        self.plan.as_ref().ok_or_else(|| {
            Error::new(Kind::Refused, "look for the plan", "there is no plan in force")
                .next("`transload plan HOME --to ENGINE` makes one")
        })
    }

    fn swap_plan(&self, attempt: u64) -> Result<SwapPlan> {
        let plan = self.planned()?;
        Ok(SwapPlan {
            moves: plan.moves(attempt),
            edits: plan.config.clone(),
            method: plan.places.swap,
            attempt_dir: plan.attempt_dir(attempt),
            fence: self.journal.note(notes::FENCE)?,
        })
    }

    /// Holds the sources' locks, unless they are held already.
    fn hold_sources(&mut self) -> Result<()> {
        if self.held.is_none() {
            let paths: Vec<PathBuf> =
                self.planned()?.moving().map(|database| database.path.clone()).collect();
            self.held = Some(self.world.swapper.hold(&paths)?);
        }
        Ok(())
    }

    /// Halts when an invariant of the plan doesn't hold.
    fn check_invariants(&self, observed: &Observed, when: &'static str) -> Result<()> {
        let violations = violations(&self.planned()?.invariants, observed);
        let Some(first) = violations.first() else { return Ok(()) };
        let mut error = Error::new(Kind::InvariantViolated, when, first.clone());
        for other in &violations[1..] {
            error = error.with("and", other.clone());
        }
        Err(error.next("find out why; `resume` evaluates the invariants again"))
    }

    /// Runs a phase and adds its time to those of earlier runs.
    fn timed(&mut self, phase: Phase, work: fn(&mut Self) -> Result<()>) -> Result<()> {
        let (began, waited) = (Instant::now(), self.watch.pacing.waited());
        let result = work(self);
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let attempt = self.journal.attempt()?;
        let note = time_note(attempt, phase);
        let before: u64 = self.journal.note(&note)?.unwrap_or(0);
        // A failure to note the time must not hide how the phase ended.
        let noted = self
            .journal
            .set_note(&note, &before.saturating_add(millis))
            .and_then(|()| self.note_waits(attempt, waited));
        result.and(noted)
    }

    fn phase_times(&self, attempt: u64) -> Result<Vec<PhaseTime>> {
        let mut times = Vec::new();
        for phase in Phase::ALL {
            if let Some(millis) = self.journal.note(&time_note(attempt, phase))? {
                times.push(PhaseTime { phase: phase.name().into(), millis });
            }
        }
        Ok(times)
    }

    /// The facts when the home was swapped, once it was.
    fn facts_at_swap(&self) -> Result<Option<ChainFacts>> {
        self.journal.note(notes::FACTS_AT_SWAP)
    }
}

fn time_note(attempt: u64, phase: Phase) -> String {
    format!("millis/{attempt}/{}", phase.name())
}

fn refusal(refused: crate::phase::Refused) -> Error {
    Error::new(Kind::Refused, "change the phase", refused.to_string())
        .next(refused.state.next_step())
}
