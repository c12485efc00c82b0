//! The phases of a migration and every step between them, as one table.
//!
//! Pure: no I/O, no clock. The runner performs the effects and journals the phase; what the
//! table doesn't list is refused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A phase in which something is done or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A plan is written; nothing was copied.
    Planned,
    /// Chunks go to the target.
    Copying,
    /// Both sides are read back, and the chain's checks run on the target.
    Verifying,
    /// The target is verified; somebody must say go.
    ReadyToCutOver,
    /// The swap is going on.
    CuttingOver,
    /// The node runs on the target; the source is kept whole.
    Soaking,
    /// Old copies are being freed.
    Finalizing,
    /// Nothing is left to do.
    Finalized,
    /// The source is being put back.
    RollingBack,
    /// The node runs on the source again; the target is kept.
    RolledBack,
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at", content = "resume_to")]
pub enum State {
    /// In a phase.
    In(Phase),
    /// Waits for a person; `resume` goes on in this phase.
    Halted(Phase),
}

/// Something that happened or was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A (new) plan was made.
    PlanMade,
    /// Preflight passed and the run begins.
    Begun,
    /// Every chunk is durable in the target.
    Copied,
    /// Both sides are equal, and the chain's checks found nothing wrong.
    Verified,
    /// A difference or an invalid certificate was found.
    DifferenceFound,
    /// The source isn't what it was when it was copied.
    SourceChanged,
    /// An invariant of the plan doesn't hold.
    InvariantViolated,
    /// Somebody said go.
    Approved,
    /// Read back from the disk: the home stands on the target, whole.
    FoundNew,
    /// Read back from the disk: the home stands on the source, whole.
    FoundOld,
    /// Read back from the disk: neither is recognised.
    FoundUnknown,
    /// Somebody asked to stop.
    HaltAsked,
    /// Something failed that may succeed later.
    Failed,
    /// Somebody asked to go on.
    ResumeAsked,
    /// Somebody asked to go back.
    RollBackAsked,
    /// Somebody said that the old copies can go.
    FinalizeAsked,
    /// The old copies are gone.
    Freed,
}

/// What the runner has to do on the way into the new phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Give the attempt a new id and path; nothing of the old one is trusted.
    NewAttempt,
    /// Copy the chunks that the journal doesn't know.
    Copy,
    /// Close and reopen the targets, read both sides back, run the chain's checks.
    Verify,
    /// Ask for approval.
    AskApproval,
    /// Swap, from wherever the disk says that it stands.
    Swap,
    /// Put the source back, from wherever the disk says that things stand.
    PutBack,
    /// Free the copies that nobody runs on.
    Free,
    /// Tell a person that only they can go on.
    CallAPerson,
}

/// An event that doesn't belong to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not possible while {state}")]
pub struct Refused {
    /// The state.
    pub state: State,
    /// The event.
    pub event: Event,
}

use Effect as Fx;
use Event as Ev;
use Phase as Ph;

/// Where a row leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Phase(Phase),
    Halt(Phase),
}

type Row = (Phase, Event, To, &'static [Effect]);

/// Every step out of a phase. Halting and resuming are the two rules of [`next`].
const TABLE: &[Row] = &[
    (Ph::Planned, Ev::PlanMade, To::Phase(Ph::Planned), &[]),
    (Ph::Planned, Ev::Begun, To::Phase(Ph::Copying), &[Fx::NewAttempt, Fx::Copy]),
    (Ph::Copying, Ev::Copied, To::Phase(Ph::Verifying), &[Fx::Verify]),
    (Ph::Copying, Ev::SourceChanged, To::Phase(Ph::Copying), &[Fx::NewAttempt, Fx::Copy]),
    (Ph::Copying, Ev::DifferenceFound, To::Halt(Ph::Planned), &[]),
    (Ph::Copying, Ev::InvariantViolated, To::Halt(Ph::Copying), &[]),
    (Ph::Copying, Ev::HaltAsked, To::Halt(Ph::Copying), &[]),
    (Ph::Copying, Ev::Failed, To::Halt(Ph::Copying), &[]),
    (Ph::Copying, Ev::RollBackAsked, To::Phase(Ph::RollingBack), &[Fx::PutBack]),
    (Ph::Verifying, Ev::Verified, To::Phase(Ph::ReadyToCutOver), &[Fx::AskApproval]),
    (Ph::Verifying, Ev::SourceChanged, To::Phase(Ph::Copying), &[Fx::NewAttempt, Fx::Copy]),
    (Ph::Verifying, Ev::DifferenceFound, To::Halt(Ph::Planned), &[]),
    (Ph::Verifying, Ev::InvariantViolated, To::Halt(Ph::Verifying), &[]),
    (Ph::Verifying, Ev::HaltAsked, To::Halt(Ph::Verifying), &[]),
    (Ph::Verifying, Ev::Failed, To::Halt(Ph::Verifying), &[]),
    (Ph::Verifying, Ev::RollBackAsked, To::Phase(Ph::RollingBack), &[Fx::PutBack]),
    (Ph::ReadyToCutOver, Ev::Approved, To::Phase(Ph::CuttingOver), &[Fx::Swap]),
    (Ph::ReadyToCutOver, Ev::SourceChanged, To::Phase(Ph::Copying), &[Fx::NewAttempt, Fx::Copy]),
    (Ph::ReadyToCutOver, Ev::InvariantViolated, To::Halt(Ph::ReadyToCutOver), &[]),
    (Ph::ReadyToCutOver, Ev::HaltAsked, To::Halt(Ph::ReadyToCutOver), &[]),
    (Ph::ReadyToCutOver, Ev::Failed, To::Halt(Ph::ReadyToCutOver), &[]),
    (Ph::ReadyToCutOver, Ev::RollBackAsked, To::Phase(Ph::RollingBack), &[Fx::PutBack]),
    // The swap takes moments: who asks to stop waits for its end, and only a failure halts it.
    (Ph::CuttingOver, Ev::FoundNew, To::Phase(Ph::Soaking), &[]),
    (Ph::CuttingOver, Ev::FoundOld, To::Phase(Ph::ReadyToCutOver), &[Fx::AskApproval]),
    (Ph::CuttingOver, Ev::FoundUnknown, To::Halt(Ph::CuttingOver), &[Fx::CallAPerson]),
    (Ph::CuttingOver, Ev::Failed, To::Halt(Ph::CuttingOver), &[]),
    (Ph::CuttingOver, Ev::RollBackAsked, To::Phase(Ph::RollingBack), &[Fx::PutBack]),
    (Ph::Soaking, Ev::InvariantViolated, To::Halt(Ph::Soaking), &[Fx::CallAPerson]),
    (Ph::Soaking, Ev::DifferenceFound, To::Halt(Ph::Soaking), &[Fx::CallAPerson]),
    (Ph::Soaking, Ev::FinalizeAsked, To::Phase(Ph::Finalizing), &[Fx::Free]),
    (Ph::Soaking, Ev::RollBackAsked, To::Phase(Ph::RollingBack), &[Fx::PutBack]),
    (Ph::RollingBack, Ev::FoundOld, To::Phase(Ph::RolledBack), &[]),
    (Ph::RollingBack, Ev::FoundUnknown, To::Halt(Ph::RollingBack), &[Fx::CallAPerson]),
    (Ph::RollingBack, Ev::Failed, To::Halt(Ph::RollingBack), &[]),
    (Ph::RolledBack, Ev::PlanMade, To::Phase(Ph::Planned), &[]),
    (Ph::RolledBack, Ev::FinalizeAsked, To::Phase(Ph::Finalizing), &[Fx::Free]),
    (Ph::Finalizing, Ev::Freed, To::Phase(Ph::Finalized), &[]),
    (Ph::Finalizing, Ev::Failed, To::Halt(Ph::Finalizing), &[]),
    (Ph::Finalized, Ev::PlanMade, To::Phase(Ph::Planned), &[]),
];

/// The state after `event`, and what has to be done for it.
///
/// # Errors
/// [`Refused`] for an event that doesn't belong to the state; the state stays.
pub fn next(state: State, event: Event) -> Result<(State, &'static [Effect]), Refused> {
    let refused = Refused { state, event };
    let row = |phase: Phase| {
        TABLE
            .iter()
            .find(|(from, on, ..)| *from == phase && *on == event)
            .map(|(_, _, to, effects)| match to {
                To::Phase(phase) => (State::In(*phase), *effects),
                To::Halt(phase) => (State::Halted(*phase), *effects),
            })
            .ok_or(refused)
    };
    match (state, event) {
        (State::In(phase), _) => row(phase),
        (State::Halted(phase), Event::ResumeAsked) => Ok((State::In(phase), entry(phase))),
        // A halted migration can go back or be replanned as from its phase. Nothing is freed
        // while something is known to be wrong.
        (State::Halted(phase), Event::RollBackAsked | Event::PlanMade) => row(phase),
        (State::Halted(_), _) => Err(refused),
    }
}

/// What has to be done on entering `phase` again.
#[must_use]
pub fn entry(phase: Phase) -> &'static [Effect] {
    match phase {
        Phase::Copying => &[Effect::Copy],
        Phase::Verifying => &[Effect::Verify],
        Phase::ReadyToCutOver => &[Effect::AskApproval],
        Phase::CuttingOver => &[Effect::Swap],
        Phase::RollingBack => &[Effect::PutBack],
        Phase::Finalizing => &[Effect::Free],
        Phase::Planned | Phase::Soaking | Phase::Finalized | Phase::RolledBack => &[],
    }
}

impl Phase {
    /// All phases, in the order of a migration that succeeds, then the way back.
    pub const ALL: [Phase; 10] = [
        Phase::Planned,
        Phase::Copying,
        Phase::Verifying,
        Phase::ReadyToCutOver,
        Phase::CuttingOver,
        Phase::Soaking,
        Phase::Finalizing,
        Phase::Finalized,
        Phase::RollingBack,
        Phase::RolledBack,
    ];

    /// The phase's name in lines and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Planned => "planned",
            Phase::Copying => "copying",
            Phase::Verifying => "verifying",
            Phase::ReadyToCutOver => "ready to cut over",
            Phase::CuttingOver => "cutting over",
            Phase::Soaking => "soaking",
            Phase::Finalizing => "finalizing",
            Phase::Finalized => "finalized",
            Phase::RollingBack => "rolling back",
            Phase::RolledBack => "rolled back",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl State {
    /// What a person can do in this state.
    #[must_use]
    pub fn next_step(self) -> &'static str {
        match self {
            State::Halted(Phase::Soaking) => {
                "`transload status HOME` says what was found; `transload rollback HOME` goes back, \
             `transload resume HOME` lets the soak go on"
            }
            State::Halted(Phase::Planned) => {
                "`transload resume HOME` begins anew, once that is mended"
            }
            State::Halted(_) => {
                "`transload resume HOME` goes on, `transload rollback HOME` goes back"
            }
            State::In(phase) => match phase {
                Phase::Planned => "`transload migrate HOME --to ENGINE` begins",
                Phase::Copying | Phase::Verifying => "`transload resume HOME` goes on",
                Phase::ReadyToCutOver => "`transload resume HOME` cuts over",
                Phase::CuttingOver | Phase::RollingBack => {
                    "`transload resume HOME` ends what was begun; don't start the node before"
                }
                Phase::Soaking => {
                    "start the node; `transload finalize HOME` frees the old copy, `transload \
                 rollback HOME` goes back to it"
                }
                Phase::Finalizing => "`transload finalize HOME` ends what was begun",
                Phase::Finalized => "`transload migrate HOME --to ENGINE` begins another migration",
                Phase::RolledBack => {
                    "`transload migrate HOME --to ENGINE` begins another migration, `transload \
                 finalize HOME` frees the copy"
                }
            },
        }
    }

    /// The phase that it is in, or goes on in.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            State::In(phase) | State::Halted(phase) => phase,
        }
    }

    /// Whether it waits for a person.
    #[must_use]
    pub fn is_halted(self) -> bool {
        matches!(self, State::Halted(_))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::In(phase) => write!(f, "{phase}"),
            State::Halted(phase) => write!(f, "halted (resumes to {phase})"),
        }
    }
}

impl Event {
    /// All events.
    pub const ALL: [Event; 17] = [
        Event::PlanMade,
        Event::Begun,
        Event::Copied,
        Event::Verified,
        Event::DifferenceFound,
        Event::SourceChanged,
        Event::InvariantViolated,
        Event::Approved,
        Event::FoundNew,
        Event::FoundOld,
        Event::FoundUnknown,
        Event::HaltAsked,
        Event::Failed,
        Event::ResumeAsked,
        Event::RollBackAsked,
        Event::FinalizeAsked,
        Event::Freed,
    ];
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::PlanMade => "a new plan",
            Event::Begun => "a beginning",
            Event::Copied => "the end of the copy",
            Event::Verified => "the end of the verification",
            Event::DifferenceFound => "a difference",
            Event::SourceChanged => "a changed source",
            Event::InvariantViolated => "a violated invariant",
            Event::Approved => "an approval",
            Event::FoundNew => "a home on the target",
            Event::FoundOld => "a home on the source",
            Event::FoundUnknown => "a home in an unknown state",
            Event::HaltAsked => "a halt",
            Event::Failed => "a failure",
            Event::ResumeAsked => "a resume",
            Event::RollBackAsked => "a rollback",
            Event::FinalizeAsked => "a finalize",
            Event::Freed => "the end of the clean-up",
        })
    }
}

#[cfg(test)]
mod tests;
