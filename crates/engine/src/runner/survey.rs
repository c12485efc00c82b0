//! The survey: the source is checked by the chain's own checks before the copy, and what they name
//! is taken from a peer where the checks then pass. What is left is settled by `settling`.

use super::Migration;
use super::settling::{NAMED_MAX, OPERATION, whole_without};
use crate::error::{Error, Kind, Result};
use crate::home::{OpenHome, OpenOptions};
use crate::peer::Peer;
use crate::planning::Scratch;
use crate::settlement::BadRecords;
use crate::suspects::{RecordKey, Suspect, Suspects, TakenRecords, taken_from};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transload_model::layout::TableClass;
use transload_model::report::Verdict;
use transload_store::layers::{Changes, Overlay};
use transload_store::{ChainFacts, HomeView, Judged, Opener, Profile, Snapshot, TrimRule};

/// Times that a home is checked again because a repair let the checks see more. A block's meta
/// comes before its parts, a set of validators before the commits, and a node of a tree before its
/// children: an IAVL tree of 2^40 leaves is less than 64 deep.
const ROUNDS_MAX: usize = 64;

/// What a survey came to.
pub(super) struct Survey {
    /// The home that records were taken from.
    pub(super) peer: Option<PathBuf>,
    pub(super) repaired: TakenRecords,
    pub(super) left: Suspects,
    /// What the home tells with what was repaired.
    pub(super) facts: ChainFacts,
    /// Why the home can't be swapped as it would be.
    pub(super) fails: Option<Error>,
}

/// What a peer came to.
struct Mending {
    taken: TakenRecords,
    /// What the checks say with that.
    verdict: Verdict,
    /// Of what the peer has another value that makes nothing better.
    of_no_use: Vec<RecordKey>,
}

/// A home with other records than are stored.
pub(super) struct Mended<'a> {
    open: &'a OpenHome<'a>,
    changed: BTreeMap<String, Arc<dyn Snapshot>>,
}

impl Opener for Mended<'_> {
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>> {
        self.changed.get(database).map(Arc::clone).or_else(|| self.open.snapshot(database))
    }
}

impl<'a> Mended<'a> {
    pub(super) fn new(open: &'a OpenHome<'a>, changes: BTreeMap<String, Changes>) -> Self {
        let mut changed: BTreeMap<String, Arc<dyn Snapshot>> = BTreeMap::new();
        for (database, changes) in changes {
            if let Some(below) = open.snapshot(&database) {
                changed.insert(database, Arc::new(Overlay::new(below, changes)));
            }
        }
        Self { open, changed }
    }

    /// What the home tells so.
    pub(super) fn facts(&self, profile: &dyn Profile) -> Result<ChainFacts> {
        let view = HomeView { databases: self, ..self.open.view() };
        profile.facts(view).map_err(|error| {
            Error::reading("read the facts of the home with what was repaired", error)
        })
    }
}

fn changes_of(taken: &TakenRecords) -> BTreeMap<String, Changes> {
    let mut changes: BTreeMap<String, Changes> = BTreeMap::new();
    for ((database, key), one) in taken {
        let changes = changes.entry(database.clone()).or_default();
        changes.insert(key.clone(), Some(one.value.clone()));
    }
    changes
}

/// What is repaired and what is left out.
fn all_changes(repaired: &TakenRecords, left: &Suspects) -> BTreeMap<String, Changes> {
    let mut changes = changes_of(repaired);
    for ((database, key), _) in left.records.iter().filter(|(_, suspect)| !suspect.perhaps) {
        changes.entry(database.clone()).or_default().insert(key.clone(), None);
    }
    changes
}

/// Puts changes in the place of what is stored.
pub(super) fn see(open: &mut OpenHome<'_>, mut changes: BTreeMap<String, Changes>) {
    for one in open.databases_mut() {
        if let Some(changes) = changes.remove(&one.database.name) {
            one.snapshot = Arc::new(Overlay::new(Arc::clone(&one.snapshot), changes));
        }
    }
}

impl Migration<'_> {
    /// Checks the source as the plan asks, and decides what becomes of each bad record. `None`
    /// where the plan doesn't ask.
    ///
    /// # Errors
    /// [`Kind::Difference`] naming the first bad record, where none is to be left out;
    /// [`Kind::Refused`] for a peer that is none; those of reading.
    pub(super) fn survey(&self) -> Result<Option<Survey>> {
        let plan = self.planned()?;
        let Some(wanted) = &plan.bad_records else { return Ok(None) };
        let scratch = Scratch::make(&self.state_dir, "survey", &self.watch)?;
        let mut open = self.open_home(&scratch)?;
        let peer = match &wanted.repair_from {
            Some(path) => Some(self.open_peer(path, &open, &scratch)?),
            None => None,
        };
        let mut verdict = self.check_with(&open, &TakenRecords::new(), &scratch)?;
        let (mut repaired, mut of_no_use) = (TakenRecords::new(), Vec::new());
        if let (true, Some(peer)) = (verdict.failed() > 0, &peer) {
            let mending = self.mend(&open, peer, verdict, &scratch)?;
            (repaired, verdict, of_no_use) = (mending.taken, mending.verdict, mending.of_no_use);
        }
        if verdict.failed() > 0 && wanted.policy == BadRecords::Stop {
            return Err(match &peer {
                Some(peer) => unmended(&verdict, peer, &of_no_use),
                None => unasked(&verdict, Suspects::of(&verdict, &open, plan).ok().as_ref()),
            });
        }
        let mut left = Suspects::of(&verdict, &open, plan)?;
        let facts = Mended::new(&open, changes_of(&repaired)).facts(self.profile)?;
        let peer = peer.map(|peer| peer.path).filter(|_| !repaired.is_empty());
        let fails = if verdict.failed() > 0 {
            let changes = all_changes(&repaired, &left);
            self.judge_survey(&mut open, changes, (&mut left, &facts), &scratch)?
        } else {
            None
        };
        Ok(Some(Survey { peer, repaired, left, facts, fails }))
    }

    /// What the swap would be refused for, as far as the source tells: nobody has to copy first to
    /// learn it. What a trim leaves out anyway is forgotten.
    fn judge_survey(
        &self,
        open: &mut OpenHome<'_>,
        changes: BTreeMap<String, Changes>,
        (left, facts): (&mut Suspects, &ChainFacts),
        scratch: &Scratch,
    ) -> Result<Option<Error>> {
        see(open, changes);
        self.trim(open)?;
        let trims = || open.databases().filter_map(|one| one.trimmed.as_ref());
        // What is left then is known only once the database is converted.
        if trims().any(|one| matches!(one.trim.rule, TrimRule::Whole(_))) {
            return Ok(None);
        }
        left.records.retain(|(database, key), suspect| {
            let trim = open.database(database).and_then(|one| one.trimmed.as_ref());
            let rule = trim.and_then(|one| one.trim.rule.entries());
            let value = suspect.stored.as_deref().unwrap_or_default();
            !rule.is_some_and(|rule| matches!(rule.judge(key, value), Judged::LeftOut { .. }))
        });
        let view = HomeView { is_written: false, ..open.view() };
        let verdict = self.recompute(view, scratch, "check the source without what is left out")?;
        if verdict.failed() > 0 {
            return Ok(Some(findings_of(&verdict)));
        }
        let mut left_out = left.records.values().filter(|one| !one.perhaps).peekable();
        if left_out.peek().is_none() {
            return Ok(None);
        }
        let authenticated = left_out.any(|one| one.class == TableClass::Authenticated);
        let without = self
            .profile
            .facts(view)
            .map_err(|error| Error::reading("read the facts without what is left out", error))?;
        Ok(whole_without(authenticated, (facts, &without)).err())
    }

    fn open_peer<'p>(
        &'p self,
        path: &Path,
        own: &OpenHome<'_>,
        scratch: &Scratch,
    ) -> Result<Peer<'p>> {
        let scratch_dir = scratch.path.join("peer");
        make_scratch(&scratch_dir)?;
        let memory_bytes_max = self.planned()?.limits.driver_bytes();
        let options = OpenOptions { scratch_dir, memory_bytes_max, space: None };
        Peer::open(path, own, self.profile, self.world.engines, &options)
    }

    /// What the chain's checks say of the source with these records.
    fn check_with(
        &self,
        open: &OpenHome<'_>,
        taken: &TakenRecords,
        scratch: &Scratch,
    ) -> Result<Verdict> {
        let mended = Mended::new(open, changes_of(taken));
        let view = HomeView { home: &self.home, databases: &mended, is_written: false };
        self.recompute(view, scratch, "check the source")
    }

    /// Takes from a peer what then passes every check. First what follows from certificates, as
    /// often as that lets the checks see more; then what follows from that.
    fn mend(
        &self,
        open: &OpenHome<'_>,
        peer: &Peer<'_>,
        mut verdict: Verdict,
        scratch: &Scratch,
    ) -> Result<Mending> {
        let plan = self.planned()?;
        let mut taken = TakenRecords::new();
        let skipped = verdict.skipped();
        for _ in 0..ROUNDS_MAX {
            let suspects = Suspects::of(&verdict, open, plan)?;
            let more = taken_from(peer, &suspects, TableClass::Authenticated, &taken)?;
            if more.is_empty() {
                break;
            }
            taken.extend(more);
            verdict = self.check_with(open, &taken, scratch)?;
            // Each round is one for the better: what was named and taken is named no more.
            let suspects = Suspects::of(&verdict, open, plan)?;
            let lie = suspects.records.iter().find(|(place, _)| taken.contains_key(*place));
            if let Some((place, suspect)) = lie {
                return Err(lies(peer, place, suspect));
            }
        }
        // A check that no longer looks has not passed. In between it may well look at less, until
        // what it comes upon next is taken too.
        if verdict.skipped() > skipped {
            return Err(blinds(peer, &verdict));
        }
        let suspects = Suspects::of(&verdict, open, plan)?;
        let derived = taken_from(peer, &suspects, TableClass::Derived, &taken)?;
        let of_no_use: Vec<RecordKey> = derived.keys().cloned().collect();
        let with = |derived: &TakenRecords| {
            let mut all = taken.clone();
            all.extend(derived.clone());
            all
        };
        // A peer at another height has other records of its own tip: that is no lie, and what
        // doesn't make things better is left.
        let mut holds = derived;
        for _ in 0..2 {
            if holds.is_empty() {
                break;
            }
            let after = self.check_with(open, &with(&holds), scratch)?;
            let named = Suspects::of(&after, open, plan)?.records;
            let upset = named.keys().any(|place| taken.contains_key(place));
            let better = after.failed() < verdict.failed() && after.skipped() <= verdict.skipped();
            if better && !upset && !named.keys().any(|place| holds.contains_key(place)) {
                let of_no_use =
                    of_no_use.into_iter().filter(|place| !holds.contains_key(place)).collect();
                return Ok(Mending { taken: with(&holds), verdict: after, of_no_use });
            }
            holds.retain(|place, _| !named.contains_key(place));
        }
        Ok(Mending { taken, verdict, of_no_use })
    }
}

fn make_scratch(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Error::new(Kind::Stopped, "make a scratch folder", error.to_string())
            .with("path", folder.display().to_string())
    })
}

/// Something is wrong, and nobody has asked for more than to be told.
fn unasked(verdict: &Verdict, suspects: Option<&Suspects>) -> Error {
    let mendable = suspects.is_some_and(|suspects| {
        suspects.records.values().any(|one| one.class != TableClass::EqualOnly)
    });
    let by_a_peer = if mendable {
        "with --repair-from PEER what follows from certificates is taken from another home of the \
         chain, "
    } else {
        ""
    };
    findings_of(verdict).next(format!(
        "`transload verify HOME` shows the extent; {by_a_peer}with --bad-records quarantine what \
         is wrong is listed, exported and left out"
    ))
}

/// Something is wrong still, with all that the peer could give.
fn unmended(verdict: &Verdict, peer: &Peer<'_>, of_no_use: &[RecordKey]) -> Error {
    let mut error = findings_of(verdict).with("peer", peer.path.display().to_string());
    for (database, key) in of_no_use.iter().take(NAMED_MAX) {
        let key = hex::encode(key);
        error = error.with(
            "the peer has another value, with which the checks pass no better",
            format!("{database}: key {key} in hex"),
        );
    }
    let why = if of_no_use.is_empty() {
        "the peer lacks it, has the same, or nothing says whose is right"
    } else {
        "of the rest the peer lacks it, has the same, or nothing says whose is right"
    };
    error.next(format!(
        "{why}; with --bad-records quarantine as well it is listed, exported and left out"
    ))
}

/// What the checks have found, for people.
fn findings_of(verdict: &Verdict) -> Error {
    let first = verdict.findings.first().map_or_else(String::new, ToString::to_string);
    let mut error =
        Error::new(Kind::Difference, OPERATION, first).with("failed", verdict.failed().to_string());
    for finding in verdict.findings.iter().skip(1).take(NAMED_MAX - 1) {
        error = error.with("and", finding.to_string());
    }
    error
}

fn lies(peer: &Peer<'_>, (database, key): &RecordKey, suspect: &Suspect) -> Error {
    let why = suspect.named_by.first().map_or("", |named| named.reason.as_str());
    Error::new(
        Kind::Difference,
        OPERATION,
        "the peer lies: what it has for a bad record doesn't pass the check either; nothing of it \
         is used",
    )
    .with("peer", peer.path.display().to_string())
    .with("database", database.clone())
    .with("table", suspect.table.to_string())
    .with("key", hex::encode(key))
    .with("because", why.to_owned())
    .next("name another peer; `transload verify PEER` shows what is wrong with this one")
}

fn blinds(peer: &Peer<'_>, verdict: &Verdict) -> Error {
    let mut error = Error::new(
        Kind::Difference,
        OPERATION,
        "with what the peer has for bad records fewer checks can be made; nothing of it is used",
    )
    .with("peer", peer.path.display().to_string());
    for check in verdict.checks.iter().filter(|check| check.skipped > 0).take(NAMED_MAX) {
        error =
            error.with("skipped", format!("{} of {}: {}", check.skipped, check.name, check.note));
    }
    error.next("name another peer; `transload verify PEER` shows what is wrong with this one")
}
