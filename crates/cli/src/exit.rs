//! Exit codes: what a script can rely on.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The command line is wrong.
    Usage,
    /// Refused before anything was changed.
    Refused,
    /// A difference or an invalid certificate was found.
    Difference,
    /// Stopped midway; resumable.
    Stopped,
    /// The outcome is unknown: a person must look.
    OutcomeUnknown,
    /// Nothing wrong was found, but a check was skipped, or a bad record was left out.
    Skipped,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Difference => 4,
            Exit::Stopped => 5,
            Exit::OutcomeUnknown => 6,
            Exit::Skipped => 7,
        }
    }

    /// The exit of an engine error.
    #[must_use]
    pub fn of(kind: transload_engine::Kind) -> Self {
        match kind {
            transload_engine::Kind::Usage => Exit::Usage,
            transload_engine::Kind::Refused => Exit::Refused,
            transload_engine::Kind::Difference | transload_engine::Kind::InvariantViolated => {
                Exit::Difference
            }
            transload_engine::Kind::Stopped => Exit::Stopped,
            transload_engine::Kind::OutcomeUnknown => Exit::OutcomeUnknown,
        }
    }
}
