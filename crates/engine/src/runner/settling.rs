//! Records that are missing or wrong are settled before the copy: the source is surveyed by the
//! chain's own checks, what they name is taken from a peer where the checks then pass, or left
//! out; copy and verification see the source through that.

use super::Migration;
use crate::error::{Error, Kind, Result};
use crate::home::{OpenHome, OpenOptions};
use crate::peer::Peer;
use crate::planning::Scratch;
use crate::report::ReportSettlement;
use crate::settlement::{
    BadRecords, SETTLEMENT_SCHEMA, Settled, SettledRecord, Settlement, SettlementNote, Values,
    keep_settlement, read_settlement, settlement_path,
};
use crate::suspects::{RecordKey, Suspect, Suspects, Taken, TakenRecords, taken_from};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use transload_model::layout::TableClass;
use transload_model::report::Verdict;
use transload_observe::Event;
use transload_store::layers::{Changes, Overlay};
use transload_store::{ChainFacts, HomeView, Opener, Snapshot};

const OPERATION: &str = "settle bad records";

/// Records that an error names; the settlement has all of them.
const NAMED_MAX: usize = 10;

/// Times that a home is checked again because a repair let the checks see more. A block's meta
/// comes before its parts, and a set of validators before the commits; nothing is deeper.
const ROUNDS_MAX: usize = 4;

/// What a survey came to.
pub(super) struct Survey {
    peer: Option<std::path::PathBuf>,
    repaired: TakenRecords,
    left: Suspects,
}

/// A home with some records taken from a peer.
struct Mended<'a> {
    open: &'a OpenHome<'a>,
    changed: BTreeMap<String, Arc<dyn Snapshot>>,
}

impl Opener for Mended<'_> {
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>> {
        self.changed.get(database).map(Arc::clone).or_else(|| self.open.snapshot(database))
    }
}

impl<'a> Mended<'a> {
    fn new(open: &'a OpenHome<'a>, taken: &TakenRecords) -> Self {
        let mut changes: BTreeMap<&str, Changes> = BTreeMap::new();
        for ((database, key), one) in taken {
            let changes = changes.entry(database).or_default();
            changes.insert(key.clone(), Some(one.value.clone()));
        }
        let mut changed: BTreeMap<String, Arc<dyn Snapshot>> = BTreeMap::new();
        for (database, changes) in changes {
            if let Some(below) = open.snapshot(database) {
                changed.insert(database.to_owned(), Arc::new(Overlay::new(below, changes)));
            }
        }
        Self { open, changed }
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
        let open = self.open_home(&scratch)?;
        let peer = match &wanted.repair_from {
            Some(path) => Some(self.open_peer(path, &open, &scratch)?),
            None => None,
        };
        let mut verdict = self.check_with(&open, &TakenRecords::new(), &scratch)?;
        let mut repaired = TakenRecords::new();
        if verdict.failed() > 0 {
            if let Some(peer) = &peer {
                (repaired, verdict) = self.mend(&open, peer, verdict, &scratch)?;
            } else if wanted.policy == BadRecords::Stop {
                return Err(stop(&verdict, None));
            }
        }
        if verdict.failed() > 0 && wanted.policy == BadRecords::Stop {
            return Err(stop(&verdict, peer.as_ref()));
        }
        let left = Suspects::of(&verdict, &open, plan)?;
        let peer = peer.map(|peer| peer.path).filter(|_| !repaired.is_empty());
        Ok(Some(Survey { peer, repaired, left }))
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
        let mended = Mended::new(open, taken);
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
    ) -> Result<(TakenRecords, Verdict)> {
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
            let suspects = Suspects::of(&verdict, open, plan)?;
            let lie = suspects.records.iter().find(|(place, _)| taken.contains_key(*place));
            if let Some((place, suspect)) = lie {
                return Err(lies(peer, place, suspect));
            }
            // A check that no longer looks has not passed.
            if verdict.skipped() > skipped {
                return Err(blinds(peer, &verdict));
            }
        }
        let suspects = Suspects::of(&verdict, open, plan)?;
        let derived = taken_from(peer, &suspects, TableClass::Derived, &taken)?;
        if derived.is_empty() {
            return Ok((taken, verdict));
        }
        let with = |derived: &TakenRecords| {
            let mut all = taken.clone();
            all.extend(derived.clone());
            all
        };
        // A peer at another height has other records of its own tip: that is no lie, and what
        // doesn't make things better is left.
        let mut holds = derived;
        for _ in 0..2 {
            let after = self.check_with(open, &with(&holds), scratch)?;
            let named = Suspects::of(&after, open, plan)?.records;
            let upset = named.keys().any(|place| taken.contains_key(place));
            let better = after.failed() < verdict.failed() && after.skipped() <= verdict.skipped();
            if better && !upset && !named.keys().any(|place| holds.contains_key(place)) {
                return Ok((with(&holds), after));
            }
            holds.retain(|place, _| !named.contains_key(place));
            if holds.is_empty() {
                break;
            }
        }
        Ok((taken, verdict))
    }

    /// Writes down what a survey came to, and has the journal hold its digest.
    pub(super) fn keep_survey(&self, survey: Option<Survey>) -> Result<()> {
        let Some(survey) = survey else { return Ok(()) };
        let (attempt, plan) = (self.journal.attempt()?, self.planned()?);
        let settlement = Settlement {
            schema: SETTLEMENT_SCHEMA.into(),
            attempt,
            plan_digest: plan.digest()?,
            peer: survey.peer,
            records: Vec::new(),
            unsettled: survey.left.others,
        };
        let mut values = Values { settlement, files: BTreeMap::new() };
        let repaired = survey.repaired.into_iter();
        let repaired =
            repaired.map(|(place, Taken { suspect, value })| (place, suspect, Some(value)));
        let left = survey.left.records.into_iter().filter(|(_, suspect)| !suspect.perhaps);
        let left = left.map(|(place, suspect)| (place, suspect, None));
        for (number, (place, suspect, value)) in repaired.chain(left).enumerate() {
            let record = settled_record(&mut values, number + 1, place, suspect, value);
            let what = if record.is_quarantined() { "left out" } else { "taken from the peer" };
            let text = format!("{what}: {}", record.about());
            self.watch.tell(Event::Notice { text });
            values.settlement.records.push(record);
        }
        let note = keep_settlement(&self.state_dir, &values, &self.watch)?;
        self.journal.set_note(&settlement_note(attempt), &note)?;
        self.watch.step("settlement: journaled");
        self.show_journal()
    }

    /// Settles for an attempt that has no settlement yet, where the plan asks for one.
    pub(super) fn settle_anew(&self) -> Result<()> {
        let attempt = self.journal.attempt()?;
        let asked = self.planned()?.bad_records.is_some();
        if !asked || self.settled(attempt)?.is_some() {
            return Ok(());
        }
        let survey = self.survey()?;
        self.keep_survey(survey)
    }

    /// What the journal holds of an attempt's settlement.
    pub(super) fn settled(&self, attempt: u64) -> Result<Option<SettlementNote>> {
        self.journal.note(&settlement_note(attempt))
    }

    /// The attempt's settlement, as the journal knows it; `None` where nothing was to be settled.
    ///
    /// # Errors
    /// [`Kind::Refused`] when it was edited.
    pub(super) fn read_settled(&self) -> Result<Option<Values>> {
        if self.planned()?.bad_records.is_none() {
            return Ok(None);
        }
        let attempt = self.journal.attempt()?;
        let note = self.settled(attempt)?.ok_or_else(|| {
            Error::new(Kind::Stopped, OPERATION, "the attempt has no settlement")
                .next("`transload rollback HOME`, then migrate again")
        })?;
        read_settlement(&self.state_dir, attempt, &note.digest).map(Some)
    }

    /// Puts what is settled in the place of the sources.
    pub(super) fn see_settled(&self, open: &mut OpenHome<'_>) -> Result<Option<Settlement>> {
        let Some(values) = self.read_settled()? else { return Ok(None) };
        let mut changes = values.changes()?;
        for one in open.databases_mut() {
            if let Some(changes) = changes.remove(&one.database.name) {
                one.snapshot = Arc::new(Overlay::new(Arc::clone(&one.snapshot), changes));
            }
        }
        Ok(Some(values.settlement))
    }

    /// Refuses to swap in what lacks a record that must not be lacking, and names what was left
    /// out in whatever else is wrong.
    pub(super) fn judge_settled<T>(
        &self,
        settlement: Option<&Settlement>,
        (source, target): (&ChainFacts, &ChainFacts),
        verified: Result<T>,
    ) -> Result<T> {
        let Some(settlement) = settlement.filter(|one| one.quarantined() > 0) else {
            return verified;
        };
        let judged = verified.and_then(|verified| {
            let left_out = || settlement.records.iter().filter(|one| one.is_quarantined());
            if left_out().any(|one| one.class == TableClass::Authenticated) {
                return Err(Error::new(
                    Kind::Difference,
                    OPERATION,
                    "a record that follows from certificates was left out: the home isn't whole",
                ));
            }
            if tells_less(source, target) {
                return Err(Error::new(
                    Kind::Difference,
                    OPERATION,
                    "without the records that were left out the home tells other heights or \
                     hashes: it isn't the same home",
                ));
            }
            Ok(verified)
        });
        judged.map_err(|error| self.with_quarantine(error, settlement))
    }

    fn with_quarantine(&self, mut error: Error, settlement: &Settlement) -> Error {
        let left_out = settlement.records.iter().filter(|one| one.is_quarantined());
        for record in left_out.take(NAMED_MAX) {
            error = error.with("left out", record.about());
        }
        let path = settlement_path(&self.state_dir, settlement.attempt);
        error = error.with("all of them are in", path.display().to_string());
        if error.kind() != Kind::Difference {
            return error;
        }
        error.next(
            "the home stands as it was; `transload migrate HOME ... --repair-from PEER` takes what \
             is missing from another home of the chain",
        )
    }

    /// What the report says of the settlement.
    pub(super) fn report_settlement(
        &self,
        settlement: Option<Settlement>,
    ) -> Result<Option<ReportSettlement>> {
        let Some(settlement) = settlement else { return Ok(None) };
        let note = self.settled(settlement.attempt)?;
        Ok(Some(ReportSettlement {
            path: settlement_path(&self.state_dir, settlement.attempt),
            digest: note.map(|note| note.digest).unwrap_or_default(),
            peer: settlement.peer,
            records: settlement.records,
        }))
    }
}

fn settled_record(
    values: &mut Values,
    number: usize,
    (database, key): RecordKey,
    suspect: Suspect,
    value: Option<Vec<u8>>,
) -> SettledRecord {
    let stored = suspect.stored.map(|stored| values.keep(format!("{number:04}.stored"), stored));
    let settled = match value {
        Some(value) => Settled::Repaired(values.keep(format!("{number:04}.repaired"), value)),
        None => Settled::Quarantined,
    };
    SettledRecord {
        database,
        table: suspect.table,
        class: suspect.class,
        key: hex::encode(key),
        height: suspect.height,
        named_by: suspect.named_by,
        stored,
        settled,
    }
}

/// Whether a home no longer says what it said before something of it was left out. Checks ask
/// only for what such records say is there.
fn tells_less(source: &ChainFacts, target: &ChainFacts) -> bool {
    let told = |facts: &ChainFacts| {
        (facts.chain_id.clone(), facts.height_last, facts.app_hash.clone(), facts.heights.clone())
    };
    told(source) != told(target)
}

fn make_scratch(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Error::new(Kind::Stopped, "make a scratch folder", error.to_string())
            .with("path", folder.display().to_string())
    })
}

fn stop(verdict: &Verdict, peer: Option<&Peer<'_>>) -> Error {
    let first = verdict.findings.first().map_or_else(String::new, ToString::to_string);
    let mut error =
        Error::new(Kind::Difference, OPERATION, first).with("failed", verdict.failed().to_string());
    for finding in verdict.findings.iter().skip(1).take(NAMED_MAX - 1) {
        error = error.with("and", finding.to_string());
    }
    match peer {
        None => error.next(
            "`transload verify HOME` shows the extent; with --repair-from PEER what follows from \
             certificates is taken from another home of the chain, with --bad-records quarantine \
             what is wrong is listed, exported and left out",
        ),
        Some(peer) => error.with("peer", peer.path.display().to_string()).next(
            "the peer lacks it, has the same, or nothing says whose is right; with --bad-records \
             quarantine as well it is listed, exported and left out",
        ),
    }
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

fn settlement_note(attempt: u64) -> String {
    format!("settlement/{attempt}")
}
