//! What a survey has come to is settled: written down, put in the source's place for copy and
//! verification, and judged before the swap.

use super::Migration;
use super::survey::{Mended, Survey, see};
use crate::error::{Error, Kind, Result};
use crate::home::OpenHome;
use crate::report::ReportSettlement;
use crate::settlement::{
    SETTLEMENT_SCHEMA, Settled, SettledRecord, Settlement, SettlementNote, Values, keep_settlement,
    read_settlement, settlement_path,
};
use crate::suspects::{RecordKey, Suspect, Taken};
use std::collections::BTreeMap;
use transload_model::layout::TableClass;
use transload_observe::Event;
use transload_store::ChainFacts;

pub(super) const OPERATION: &str = "settle bad records";

/// Records that an error names; the settlement has all of them.
pub(super) const NAMED_MAX: usize = 10;

impl Migration<'_> {
    /// Writes down what a survey came to, and has the journal hold its digest.
    pub(super) fn keep_survey(&self, survey: Option<Survey>) -> Result<()> {
        let Some(survey) = survey else { return Ok(()) };
        let attempt = self.journal.attempt()?;
        let values = self.values_of(survey, attempt)?;
        let note = keep_settlement(&self.state_dir, &values, &self.watch)?;
        self.journal.set_note(&settlement_note(attempt), &note)?;
        self.watch.step("settlement: journaled");
        self.show_journal()
    }

    /// Refuses a survey with which nothing could be swapped. What it came to is written down under
    /// the number of the attempt that would have been, and the journal knows nothing of it.
    pub(super) fn refuse_what_fails(
        &self,
        survey: Option<Survey>,
        attempt: u64,
    ) -> Result<Option<Survey>> {
        let Some(mut survey) = survey else { return Ok(None) };
        let Some(fails) = survey.fails.take() else { return Ok(Some(survey)) };
        let values = self.values_of(survey, attempt)?;
        keep_settlement(&self.state_dir, &values, &self.watch)?;
        Err(self.with_quarantine(fails, &values.settlement))
    }

    fn values_of(&self, survey: Survey, attempt: u64) -> Result<Values> {
        let plan = self.planned()?;
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
        Ok(values)
    }

    /// Settles for an attempt that has no settlement yet, where the plan asks for one.
    pub(super) fn settle_anew(&self) -> Result<()> {
        let attempt = self.journal.attempt()?;
        let asked = self.planned()?.bad_records.is_some();
        if !asked || self.settled(attempt)?.is_some() {
            return Ok(());
        }
        let survey = self.survey().and_then(|survey| self.refuse_what_fails(survey, attempt));
        let survey = survey.map_err(|error| match error.kind() {
            // The plan stands, and it names the peer.
            Kind::Refused | Kind::Difference => error.next(
                "the source has changed and must be settled anew: put right what is said here and \
                 `transload resume HOME`; for another peer, or none, `transload rollback HOME` \
                 and make a new plan",
            ),
            _ => error,
        })?;
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

    /// Puts what is settled in the place of the sources. The home then tells what it tells with
    /// what was repaired: what is left out must change nothing of that, or it isn't swapped.
    pub(super) fn see_settled(&self, open: &mut OpenHome<'_>) -> Result<Option<Settlement>> {
        let Some(values) = self.read_settled()? else { return Ok(None) };
        let repairs = values.repairs()?;
        if !repairs.is_empty() {
            let facts = Mended::new(open, repairs).facts(self.profile)?;
            open.now_tells(facts);
        }
        see(open, values.changes()?);
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
            let mut left_out = settlement.records.iter().filter(|one| one.is_quarantined());
            let authenticated = left_out.any(|one| one.class == TableClass::Authenticated);
            whole_without(authenticated, (source, target)).map(|()| verified)
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
        error.next(advice(settlement))
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

/// What to do about records that were left out and must not be.
fn advice(settlement: &Settlement) -> &'static str {
    let left_out = || settlement.records.iter().filter(|one| one.is_quarantined());
    let equal_only = |one: &SettledRecord| one.class == TableClass::EqualOnly;
    if left_out().next().is_none() {
        return "the home stands as it was; what is wrong is no record that can be left out: \
                `transload verify HOME` shows it";
    }
    match (left_out().any(equal_only), left_out().all(equal_only)) {
        (_, true) => {
            "the home stands as it was; nothing says whose bytes of these records are right, so \
             that no peer can mend them: restore the home from a backup or let the node sync again"
        }
        (true, false) => {
            "the home stands as it was; `transload migrate HOME ... --repair-from PEER` takes what \
             follows from certificates from another home of the chain, and nothing that is equal \
             only"
        }
        (false, false) => {
            "the home stands as it was; `transload migrate HOME ... --repair-from PEER` takes what \
             follows from certificates from another home of the chain"
        }
    }
}

/// Refuses a home without what was left out, whatever its checks say: they ask only for what some
/// record says is there.
pub(super) fn whole_without(
    authenticated: bool,
    (source, target): (&ChainFacts, &ChainFacts),
) -> Result<()> {
    let what = if authenticated {
        "a record that follows from certificates was left out: the home isn't whole"
    } else if tells_less(source, target) {
        "without the records that were left out the home tells other heights or hashes: it isn't \
         the same home"
    } else {
        return Ok(());
    };
    Err(Error::new(Kind::Difference, OPERATION, what))
}

/// Whether a home no longer says what it said before something of it was left out. Checks ask
/// only for what such records say is there.
fn tells_less(source: &ChainFacts, target: &ChainFacts) -> bool {
    let told = |facts: &ChainFacts| {
        (facts.chain_id.clone(), facts.height_last, facts.app_hash.clone(), facts.heights.clone())
    };
    told(source) != told(target)
}

fn settlement_note(attempt: u64) -> String {
    format!("settlement/{attempt}")
}
