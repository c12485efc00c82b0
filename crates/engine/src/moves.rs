//! What the swap is told: which verified target takes whose place, and which keys change.

use crate::chunks::ChunkLog as _;
use crate::error::{Error, Kind, Result};
use crate::journal::Journal;
use crate::plan::Plan;
use crate::verify::VerifiedDatabase;
use crate::watch::{StepLog, Watch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_model::report::Verdict;
use transload_store::{ChainFacts, ConfigEdit, Home, PowerShare, SignerState};

/// Findings that an error names; the report has all of them.
const FINDINGS_NAMED_MAX: usize = 10;

/// What to do where the old databases may not come back.
pub(crate) const WAY_OUT: &str = "a new verified migration back to the old engine or key layout \
    loses nothing: `transload finalize HOME`, then `transload migrate HOME` to what it was. Not \
    where a database was converted as a whole (IAVL): nothing leads back from that, so keep the \
    old copy and don't finalize";

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

/// What was verified of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTarget {
    /// The database's name.
    pub database: String,
    /// Entries compared, bookkeeping included.
    pub entries: u64,
    /// Chunks compared.
    pub chunks: u64,
}

/// Targets that were closed, reopened, read back and found equal to their sources, with the
/// chain's checks passed on them. Only verification makes one, or the journal of one, and only
/// it is swapped in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "only what is verified may be swapped in"]
pub struct Verified {
    attempt: u64,
    databases: Vec<VerifiedTarget>,
}

impl Verified {
    /// Takes databases whose target equals the source, and what the chain's checks said of the
    /// targets.
    ///
    /// # Errors
    /// [`Kind::Difference`] when a check failed; [`Kind::Stopped`] when there is no database.
    pub fn new(attempt: u64, databases: &[VerifiedDatabase], on_target: &Verdict) -> Result<Self> {
        let summary = |one: &VerifiedDatabase| VerifiedTarget {
            database: one.name().to_owned(),
            entries: one.entries(),
            chunks: one.chunks(),
        };
        Self::checked(attempt, databases.iter().map(summary).collect(), on_target)
    }

    /// Remembers, from the journal alone, what another process verified in this attempt: every
    /// chunk of every database of the plan that moves, with both sides' receipts equal, or with
    /// the tables of both compared where the layout changed.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when a chunk lacks its verification; as [`Verified::new`].
    pub fn recall(
        journal: &Journal,
        attempt: u64,
        plan: &Plan,
        on_target: &Verdict,
    ) -> Result<Self> {
        let log = journal.chunks_of(attempt);
        let mut targets = Vec::new();
        for planned in plan.moving() {
            let database = planned.name.as_str();
            let incomplete = |chunk: u64| {
                Error::new(Kind::Stopped, "recall the verification", "it is not complete")
                    .with("database", database.to_owned())
                    .with("chunk", chunk.to_string())
            };
            let ranges = journal.ranges(attempt, database)?.unwrap_or_default();
            let mut chunks = ranges.len() as u64;
            if chunks == 0 {
                return Err(incomplete(0));
            }
            let mut entries = 0;
            for chunk in 0..chunks {
                let copied = log.copied(database, chunk)?.ok_or_else(|| incomplete(chunk))?;
                let verified = log.verified(database, chunk)?.ok_or_else(|| incomplete(chunk))?;
                if !copied.is_equal_to(&verified) {
                    return Err(incomplete(chunk));
                }
                entries += verified.receipt.entries;
            }
            if planned.to_layout.is_some() {
                // That both sides say the same was noted after they were read whole.
                if journal.note::<bool>(&equal_note(attempt, database))? != Some(true) {
                    return Err(incomplete(0));
                }
                // One that was converted as a whole is compared chunk by chunk, as any other.
                if let Some(ranges) = journal.target_ranges(attempt, database)? {
                    (entries, chunks) = (0, ranges.len() as u64);
                    if chunks == 0 {
                        return Err(incomplete(0));
                    }
                    for chunk in 0..chunks {
                        let read = log.read_back(database, chunk)?;
                        entries += read.ok_or_else(|| incomplete(chunk))?.receipt.entries;
                    }
                }
            }
            targets.push(VerifiedTarget { database: database.to_owned(), entries, chunks });
        }
        Self::checked(attempt, targets, on_target)
    }

    fn checked(attempt: u64, databases: Vec<VerifiedTarget>, on_target: &Verdict) -> Result<Self> {
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
        Ok(Self { attempt, databases })
    }

    /// The attempt that was verified.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The databases.
    #[must_use]
    pub fn databases(&self) -> &[VerifiedTarget] {
        &self.databases
    }

    /// Whether this database is among them.
    #[must_use]
    pub fn covers(&self, database: &str) -> bool {
        self.entries_of(database).is_some()
    }

    /// How many entries of this database were compared; `None` when it is not among them.
    #[must_use]
    pub fn entries_of(&self, database: &str) -> Option<u64> {
        let mut found = self.databases.iter().filter(|verified| verified.database == database);
        found.next().map(|verified| verified.entries)
    }
}

/// The note that says that a target in another layout has the source's records.
pub(crate) fn equal_note(attempt: u64, database: &str) -> String {
    format!("equal/{attempt}/{database}")
}

/// A swap, whole: the same value tells how to do it, how far it is, and how to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapPlan {
    /// What changes place, in the order in which paths are guarded: the application's database
    /// first.
    pub moves: Vec<Move>,
    /// The keys that change, of both files or of neither.
    pub edits: Vec<ConfigEdit>,
    /// How.
    pub method: SwapMethod,
    /// The folder of the attempt, on the file system of the databases: guards and prewritten
    /// files are staged in it.
    pub attempt_dir: PathBuf,
    /// What the signer had signed when the swap was planned; `None` for a home without one.
    #[serde(default)]
    pub fence: Option<Fence>,
}

/// The line behind which nobody may go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// The signer's state, when it is kept in the home.
    pub signer: Option<SignerState>,
    /// Whether the signer is remote.
    pub remote_signer: bool,
    /// How much of the voting power the node's own key has; `None` when that isn't known.
    pub power: Option<PowerShare>,
    /// The last height, when it is known.
    pub height_last: Option<u64>,
    /// The last height that is known to carry a signature of the node's own key.
    pub own_signature: Option<u64>,
    /// The height of the last upgrade that the node's software came to.
    pub upgrade: Option<u64>,
}

impl Fence {
    /// What a home and its databases say. Databases that can't be read say nothing, and then
    /// less is allowed.
    #[must_use]
    pub fn of(home: &Home, facts: Option<&ChainFacts>) -> Self {
        let height = |name: &str| facts.and_then(|facts| facts.heights.get(name).copied());
        Self {
            signer: home.signer,
            remote_signer: home.remote_signer.is_some(),
            power: facts.and_then(|facts| facts.power),
            height_last: facts.and_then(|facts| facts.height_last),
            own_signature: height("own_signature"),
            upgrade: height("upgrade"),
        }
    }
}

/// What the files of a database (or a config file) were at one moment: relative path to size,
/// inode and the like. Equal prints mean that nobody has written in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// One line a file.
    pub files: BTreeMap<String, String>,
}

/// Where a home stands, recomputed from the disk alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On the old databases and config, whole.
    Old,
    /// On the new databases and config, whole.
    New,
    /// In the middle of a swap or rollback that we know: it can go on in either direction.
    Between,
    /// Something stands there that neither side left: a person must look.
    Unknown(String),
}

/// Locks that are held until this is dropped.
pub trait Held: Send + Sync {}

/// Swaps, and everything about it that touches live paths. `crate::swap` has the real one; the
/// runner's tests have a plain one.
pub trait Swapper: Send + Sync {
    /// Whether a path in `folder` can be exchanged with one in `staging_dir`: tried out on a
    /// scratch file in each. Names and modification times are as before when it returns.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] when they can't.
    fn probe_exchange(&self, staging_dir: &Path, folder: &Path, watch: &Watch) -> Result<()>;

    /// Whether a database itself could leave its place, which a folder that was made now doesn't
    /// tell on a stacked file system. Nothing moves, and the times are as before.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] when it can't.
    fn probe_move(&self, staging_dir: &Path, database: &Path, watch: &Watch) -> Result<()>;

    /// Removes what a probe that was killed has left in a folder.
    ///
    /// # Errors
    /// [`crate::Kind::Stopped`] when it can't be removed.
    fn sweep(&self, folder: &Path) -> Result<()>;

    /// Takes both kinds of lock that engines know on every one of these databases.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`], naming the holder, when somebody has one.
    fn hold(&self, databases: &[PathBuf]) -> Result<Box<dyn Held>>;

    /// What the files below `path` are now.
    ///
    /// # Errors
    /// [`crate::Kind::Stopped`] when they can't be read.
    fn fingerprint(&self, path: &Path) -> Result<Fingerprint>;

    /// As [`Swapper::fingerprint`], of what nobody but us has reason to touch: a write whose time
    /// was put back is noticed as well.
    ///
    /// # Errors
    /// As [`Swapper::fingerprint`].
    fn seal(&self, path: &Path) -> Result<Fingerprint>;

    /// Where the home stands.
    ///
    /// # Errors
    /// [`crate::Kind::Stopped`] when the disk can't be read.
    fn standing(&self, swap: &SwapPlan) -> Result<Standing>;

    /// Swaps what is verified, from wherever the disk says that things stand. Only then is it
    /// `Ok` when the home stands on the new databases, whole and durable.
    ///
    /// # Errors
    /// [`crate::Kind::Stopped`] when it can be resumed, [`crate::Kind::OutcomeUnknown`] when a
    /// person must look; guards stay in both cases.
    fn cut_over(&self, swap: &SwapPlan, verified: &Verified, log: &dyn StepLog) -> Result<()>;

    /// Whether going back is allowed, as the home is `now`: the fence, the lost heights, the old
    /// source's state.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] with the reason and what can be done instead.
    fn may_roll_back(&self, swap: &SwapPlan, now: &Fence) -> Result<()>;

    /// Puts the old databases and config back, from wherever the disk says that things stand.
    /// Signer state and consensus log are not touched.
    ///
    /// # Errors
    /// As [`Swapper::cut_over`].
    fn roll_back(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()>;

    /// Removes the copies that the home doesn't stand on.
    ///
    /// # Errors
    /// [`crate::Kind::Refused`] when the home stands on neither side whole;
    /// [`crate::Kind::Stopped`] when something can't be removed.
    fn free(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()>;
}

#[cfg(test)]
impl Verified {
    /// Verified databases for tests of the swap, which looks at names only.
    pub(crate) fn for_test(databases: &[&str]) -> Self {
        let target =
            |name: &&str| VerifiedTarget { database: (*name).to_owned(), entries: 1, chunks: 1 };
        Self { attempt: 1, databases: databases.iter().map(target).collect() }
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
        assert!(Verified::checked(1, databases.databases.clone(), &verdict).is_ok());
        verdict.find(Finding {
            check: "commit_signatures".into(),
            database: "a.db".into(),
            table: None,
            key: String::new(),
            perhaps: Vec::new(),
            height: Some(7),
            what: "a signature is invalid".into(),
        });
        let error = Verified::checked(1, databases.databases, &verdict).unwrap_err();
        assert_eq!(error.kind(), Kind::Difference);
        assert!(error.to_string().contains("height 7"), "{error}");
        assert!(Verified::new(1, &[], &Verdict::nothing()).is_err());
    }
}
