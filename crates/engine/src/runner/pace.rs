//! The limits on the pace in force: those of the plan, until somebody changes them while the
//! migration runs. A change is kept in the journal, so that a later run goes on with it.

use super::{Migration, notes};
use crate::error::{Error, Kind, Result};
use crate::journal::Journal;
use crate::pacing::{PaceChange, Pacing};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use transload_observe::{PaceLimits, WaitReason, WaitTime};

/// Limits that somebody has changed. Another plan has limits of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    plan_digest: String,
    limits: PaceLimits,
}

/// The limits in force for the plan in force.
pub(super) fn in_force(journal: &Journal, plan: Option<&Plan>, digest: &str) -> Result<PaceLimits> {
    let kept: Option<Kept> = journal.note(notes::PACE)?;
    let kept = kept.filter(|kept| kept.plan_digest == digest).map(|kept| kept.limits);
    Ok(kept.or_else(|| plan.map(|plan| plan.limits.pace())).unwrap_or_default())
}

/// Changes limits, one change after the other.
pub(super) struct PaceKeeper {
    journal: Arc<Journal>,
    pacing: Pacing,
    changing: Mutex<()>,
}

impl PaceKeeper {
    pub(super) fn new(journal: &Arc<Journal>, pacing: &Pacing) -> Self {
        let (journal, pacing) = (Arc::clone(journal), pacing.clone());
        Self { journal, pacing, changing: Mutex::default() }
    }

    /// Changes the limits, in the journal first, and tells those in force then.
    pub(super) fn change(&self, change: PaceChange) -> Result<PaceLimits> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.pacing.limits();
        let limits = change.of(now)?;
        if limits == now {
            return Ok(now);
        }
        let plan_digest: Option<String> = self.journal.note(notes::PLAN_DIGEST)?;
        let plan_digest = plan_digest.ok_or_else(|| {
            Error::new(Kind::Refused, "change the limits", "there is no plan in force yet")
                .next("ask again once the plan is made")
        })?;
        self.journal.set_note(notes::PACE, &Kept { plan_digest, limits })?;
        self.pacing.set(limits);
        Ok(limits)
    }

    /// Puts the limits of a plan in force that was just accepted.
    pub(super) fn begin(&self, plan: &Plan) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.pacing.set(plan.limits.pace());
    }
}

impl Migration<'_> {
    /// Changes the limits on the pace, for this run and later ones, and tells those in force then.
    ///
    /// # Errors
    /// [`Kind::Refused`] for limits that make no sense; [`Kind::Stopped`] when the journal can't
    /// be written.
    pub fn change_pace(&self, change: PaceChange) -> Result<PaceLimits> {
        self.pace.change(change)
    }

    /// Adds what was waited since `before` to what earlier runs of the attempt have waited.
    pub(super) fn note_waits(
        &self,
        attempt: u64,
        before: [Duration; WaitReason::ALL.len()],
    ) -> Result<()> {
        let mut times = self.wait_times(attempt)?;
        let mut waited = false;
        let now = self.watch.pacing.waited();
        for (reason, (before, now)) in WaitReason::ALL.into_iter().zip(before.into_iter().zip(now))
        {
            let millis = now.saturating_sub(before).as_millis();
            let millis = u64::try_from(millis).unwrap_or(u64::MAX);
            if millis == 0 {
                continue;
            }
            waited = true;
            match times.iter_mut().find(|time| time.reason == reason) {
                Some(time) => time.waited_millis = time.waited_millis.saturating_add(millis),
                None => times.push(WaitTime { reason, waited_millis: millis }),
            }
        }
        if waited { self.journal.set_note(&waits_note(attempt), &times) } else { Ok(()) }
    }

    /// How long workers have waited for what, over all runs of an attempt.
    pub(super) fn wait_times(&self, attempt: u64) -> Result<Vec<WaitTime>> {
        Ok(self.journal.note(&waits_note(attempt))?.unwrap_or_default())
    }
}

fn waits_note(attempt: u64) -> String {
    format!("waits/{attempt}")
}
