//! What the swap is told: which verified target takes whose place, and which keys change.

use crate::error::{Error, Kind, Result};
use crate::verify::VerifiedDatabase;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use transload_model::engine::Engine;
use transload_model::report::Verdict;
use transload_store::ConfigEdit;

/// Findings that an error names; the report has all of them.
const FINDINGS_NAMED_MAX: usize = 10;

/// One database that changes place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Its name in the home, such as `snapshots/metadata.db`.
    pub database: String,
    /// Where the node looks for it; symlinks are resolved.
    pub live: PathBuf,
    /// Where the verified target stands until the swap.
    pub target: PathBuf,
    /// Where the old one is kept from the swap to `finalize`.
    pub kept: PathBuf,
    /// The old one's engine.
    pub from: Engine,
    /// The target's engine.
    pub to: Engine,
}

/// How paths change place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwapMethod {
    /// By atomic exchange: no path is ever absent.
    #[default]
    Exchange,
    /// By two renames, for file systems without exchange: between them the path is absent, and
    /// a node that starts just then makes an empty database.
    Rename,
}

/// Targets that were closed, reopened, read back and found equal to their sources, with the
/// chain's checks passed on them. Only verification makes one, and only it is swapped in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "only what is verified may be swapped in"]
pub struct Verified {
    databases: Vec<VerifiedDatabase>,
}

impl Verified {
    /// Takes databases whose target equals the source, and what the chain's checks said of the
    /// targets.
    ///
    /// # Errors
    /// [`Kind::Difference`] when a check failed; [`Kind::Stopped`] when there is no database.
    pub fn new(databases: Vec<VerifiedDatabase>, on_target: &Verdict) -> Result<Self> {
        if databases.is_empty() {
            return Err(Error::new(Kind::Stopped, "verify", "nothing was verified"));
        }
        if on_target.failed() > 0 {
            let mut error = Error::new(Kind::Difference, "verify", "the chain's checks failed")
                .with("failed", on_target.failed().to_string());
            for finding in on_target.findings.iter().take(FINDINGS_NAMED_MAX) {
                error = error.with("finding", finding.to_string());
            }
            return Err(error);
        }
        Ok(Self { databases })
    }

    /// The databases.
    pub fn databases(&self) -> &[VerifiedDatabase] {
        &self.databases
    }

    /// Whether this database is among them.
    #[must_use]
    pub fn covers(&self, database: &str) -> bool {
        self.databases.iter().any(|verified| verified.name() == database)
    }
}

/// A swap, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapInput {
    /// What changes place, in the order in which paths are guarded: the application's database
    /// first.
    pub moves: Vec<Move>,
    /// The keys that change, of both files or of neither.
    pub edits: Vec<ConfigEdit>,
    /// How.
    pub method: SwapMethod,
    /// The folder of the attempt, on the volume of the home where `kept` lies elsewhere: guards
    /// and prewritten files are staged in it.
    pub attempt_dir: PathBuf,
    /// What was verified.
    pub verified: Verified,
}

#[cfg(test)]
impl Verified {
    /// A verified database for tests of the swap, which looks at names only.
    pub(crate) fn for_test(databases: &[&str]) -> Self {
        let databases = databases.iter().map(|name| VerifiedDatabase::for_test(name)).collect();
        Self { databases }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_model::report::Finding;

    #[test]
    fn a_failed_check_makes_nothing_verified() {
        let databases = Verified::for_test(&["a.db"]);
        assert!(databases.covers("a.db") && !databases.covers("b.db"));
        let mut verdict = Verdict::nothing();
        assert!(Verified::new(databases.databases.clone(), &verdict).is_ok());
        verdict.find(Finding {
            check: "commit_signatures".into(),
            database: "a.db".into(),
            table: None,
            key: String::new(),
            height: Some(7),
            what: "a signature is invalid".into(),
        });
        let error = Verified::new(databases.databases, &verdict).unwrap_err();
        assert_eq!(error.kind(), Kind::Difference);
        assert!(error.to_string().contains("height 7"), "{error}");
        assert!(Verified::new(Vec::new(), &Verdict::nothing()).is_err());
    }
}
