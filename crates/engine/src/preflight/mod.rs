//! What is looked at before anything is changed: a registry of named checks.
//!
//! Every check runs, also after one has failed, so that a person sees all reasons at once. A
//! check that could not be made is *skipped*, never passed.

mod place;
mod source;
mod target;

use crate::error::{Error, Kind, Result};
use crate::moves::Swapper;
use crate::plan::Plan;
use crate::watch::Watch;
use serde::{Deserialize, Serialize};
use std::fmt;
use transload_store::{Engines, Home, Profile};

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The home and its databases.
    Source,
    /// The engine and the place of the targets.
    Target,
    /// The paths that change place.
    Swap,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing stands in the way.
    Passed,
    /// The run is refused.
    Failed,
    /// A person should know, and the run may begin.
    Warning,
    /// It could not be made.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Warning => "warning",
            Outcome::Skipped => "skipped",
        })
    }
}

/// A check's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's stable name.
    pub name: String,
    /// What it looks at.
    pub scope: Scope,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub text: String,
    /// What to do; absent when it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The results of all checks, in the registry's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// The results.
    pub results: Vec<CheckResult>,
}

impl Preflight {
    /// Whether the run may begin.
    #[must_use]
    pub fn may_begin(&self) -> bool {
        self.results.iter().all(|result| result.outcome != Outcome::Failed)
    }

    /// Refuses when a check failed, with the reasons of all that did.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub fn into_result(self) -> Result<Self> {
        let failed = || self.results.iter().filter(|result| result.outcome == Outcome::Failed);
        let Some(first) = failed().next() else { return Ok(self) };
        let mut error = Error::new(Kind::Refused, "preflight", first.text.clone());
        for other in failed() {
            error = error.with("check", other.name.clone());
        }
        for other in failed().skip(1) {
            error = error.with("and", other.text.clone());
        }
        Err(match &first.next {
            Some(next) => error.next(next.clone()),
            None => error,
        })
    }
}

/// What the checks may look at.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The profile that recognised the home just now.
    pub profile: &'a dyn Profile,
    /// The home as it is just now.
    pub home: &'a Home,
    /// The engines of this build.
    pub engines: &'a dyn Engines,
    /// What swaps.
    pub swapper: &'a dyn Swapper,
    /// Stop flag and sink.
    pub watch: &'a Watch,
}

/// How one check answers.
struct Answer {
    outcome: Outcome,
    text: String,
    next: Option<String>,
}

impl Answer {
    fn passed(text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, text: text.into(), next: None }
    }

    fn failed(text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, text: text.into(), next: Some(next.into()) }
    }

    fn warning(text: impl Into<String>, next: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, text: text.into(), next: Some(next.into()) }
    }

    fn skipped(text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, text: text.into(), next: None }
    }

    /// A failure that carries its own next step.
    fn from_error(error: &Error, otherwise: &str) -> Self {
        Self::failed(error.to_string(), error.next_step().unwrap_or(otherwise))
    }
}

type Check = fn(&Ground<'_>) -> Answer;

const CHECKS: &[(&str, Scope, Check)] = &[
    ("home_is_the_plan_s", Scope::Source, source::home_is_the_plan_s),
    ("databases_recognised", Scope::Source, source::databases_recognised),
    ("databases_present", Scope::Source, source::databases_present),
    ("config_agrees_with_files", Scope::Source, source::config_agrees_with_files),
    ("no_node_runs", Scope::Source, source::no_node_runs),
    ("remote_signer", Scope::Source, source::remote_signer),
    ("signer_state_fenced", Scope::Source, source::signer_state_fenced),
    ("engine_built_in", Scope::Target, target::engine_built_in),
    ("node_knows_the_engine", Scope::Target, target::node_knows_the_engine),
    ("guarantees", Scope::Target, target::guarantees),
    ("keys_fit", Scope::Target, target::keys_fit),
    ("staging_writable", Scope::Target, target::staging_writable),
    ("space", Scope::Target, target::space),
    ("target_empty", Scope::Target, target::target_empty),
    ("owner", Scope::Swap, place::owner),
    ("mounts_and_links", Scope::Swap, place::mounts_and_links),
    ("exchange", Scope::Swap, place::exchange),
];

/// The names of all checks, in order.
#[must_use]
pub fn check_names() -> Vec<&'static str> {
    CHECKS.iter().map(|(name, ..)| *name).collect()
}

/// Makes every check.
#[must_use]
pub fn preflight(ground: &Ground<'_>) -> Preflight {
    let result = |(name, scope, check): &(&str, Scope, Check)| {
        let Answer { outcome, text, next } = check(ground);
        CheckResult { name: (*name).to_owned(), scope: *scope, outcome, text, next }
    };
    Preflight { results: CHECKS.iter().map(result).collect() }
}
