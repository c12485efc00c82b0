//! The phase Soaking: what the node makes on the new databases is looked at, and everything once
//! more before the old ones go.

use super::Migration;
use crate::error::{Error, Kind, Result};
use crate::invariant::{Invariant, Observed, violations};
use crate::phase::{Phase, State};
use crate::planning::Scratch;
use crate::tally::TallyOptions;
use transload_model::report::Verdict;
use transload_observe::{Event, Stage};
use transload_store::{ChainFacts, VerifyOptions, VersionChoice};

/// Findings that an error names; the verdict has more.
const FINDINGS_NAMED_MAX: usize = 10;

/// What a look at the soaking home showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoakCheck {
    /// The last height when the home was swapped.
    pub height_at_swap: Option<u64>,
    /// The last height now.
    pub height_now: Option<u64>,
    /// What the chain's checks say; `None` while the node has made no new header.
    pub verdict: Option<Verdict>,
}

impl SoakCheck {
    /// Whether the node has made a header on the target, and it is in order.
    #[must_use]
    pub fn has_proven_itself(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.failed() == 0)
    }
}

/// How far a look goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The chain's checks on the latest state, once there is a new header.
    NewHeader,
    /// Every record of the databases that moved, and the chain's checks as the plan has them.
    Everything,
}

impl Migration<'_> {
    /// Checks the first header that the node makes on the target, with the node running or not.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the home doesn't soak; [`Kind::Difference`] when a check fails:
    /// the migration halts.
    pub fn check_soak(&mut self) -> Result<SoakCheck> {
        self.look(Reach::NewHeader, "look at the soak")
    }

    /// The old databases go only after every record of the new ones was read and checked.
    pub(super) fn look_before_freeing(&mut self) -> Result<()> {
        let text = "before the old databases go, the new ones are read through and checked".into();
        self.watch.tell(Event::Notice { text });
        let check = self.look(Reach::Everything, "look before freeing")?;
        if check.height_now == check.height_at_swap {
            let text = "no block was made on the new databases yet".into();
            self.watch.tell(Event::Notice { text });
        }
        Ok(())
    }

    fn look(&mut self, reach: Reach, operation: &'static str) -> Result<SoakCheck> {
        if self.state()? != State::In(Phase::Soaking) {
            return Err(Error::new(Kind::Refused, operation, "the home doesn't soak")
                .next(self.state()?.next_step()));
        }
        self.look_again()?;
        let failed = match self.look_now(reach, operation) {
            Ok(check) => return Ok(check),
            Err(error) => error,
        };
        if !matches!(failed.kind(), Kind::Difference | Kind::InvariantViolated) {
            return Err(failed);
        }
        let failed = failed.next(
            "nothing was freed: stop the node, and `transload rollback HOME` goes back to the old \
             databases",
        );
        self.settle(Err(failed.repeat()))?;
        Err(failed)
    }

    fn look_now(&self, reach: Reach, operation: &'static str) -> Result<SoakCheck> {
        let scratch = Scratch::make(&self.state_dir, "soak", &self.watch)?;
        let open = self.open_home(&scratch)?;
        let facts = open.facts().clone();
        let at_swap = self.facts_at_swap()?.unwrap_or_default().height_last;
        let mut check =
            SoakCheck { height_at_swap: at_swap, height_now: facts.height_last, verdict: None };
        if facts.height_last < at_swap {
            return Err(Error::new(
                Kind::Difference,
                operation,
                "the home has fewer blocks than when it was swapped",
            )
            .with("now", shown(facts.height_last))
            .with("at the swap", shown(at_swap)));
        }
        if reach == Reach::NewHeader && facts.height_last == at_swap {
            return Ok(check);
        }
        let plan = self.planned()?;
        let limits = plan.limits;
        if reach == Reach::Everything {
            let workers = limits.workers_that_fit();
            let options = TallyOptions { workers, chunk_bytes: limits.chunk_bytes };
            open.tallies(options, &self.watch)?;
        }
        let options = VerifyOptions {
            trust: plan.verify.trust()?,
            versions: match reach {
                Reach::NewHeader => VersionChoice::Latest,
                Reach::Everything => plan.verify.versions.clone(),
            },
            memory_bytes_max: limits.driver_bytes(),
            workers: limits.workers_that_fit(),
            scratch_dir: scratch.path.clone(),
        };
        self.watch.tell(Event::StageBegan { stage: Stage::Certifying });
        let verdict = open.verify(&options, &|done, total| {
            self.watch.tell(Event::PartsDone { done, total });
            !self.watch.cancel.is_asked()
        });
        self.watch.tell(Event::StageEnded { stage: Stage::Certifying });
        let verdict = verdict?;
        if verdict.failed() > 0 {
            let error =
                Error::new(Kind::Difference, operation, "the chain's checks failed on the home");
            return Err(verdict
                .findings
                .iter()
                .take(FINDINGS_NAMED_MAX)
                .fold(error, |error, finding| error.with("finding", finding.to_string())));
        }
        check.verdict = Some(verdict);
        // The chain has grown, so invariants on exact heights and counts ended with the swap.
        self.check_growth_invariants(facts, operation)?;
        Ok(check)
    }

    fn check_growth_invariants(&self, facts: ChainFacts, operation: &'static str) -> Result<()> {
        let lasting: Vec<Invariant> = self
            .planned()?
            .invariants
            .iter()
            .filter(|one| {
                matches!(one, Invariant::HeightAtLeast { .. } | Invariant::FirstHeightAtMost { .. })
            })
            .cloned()
            .collect();
        match violations(&lasting, &Observed::facts_only(facts)).first() {
            None => Ok(()),
            Some(first) => Err(Error::new(Kind::InvariantViolated, operation, first.clone())),
        }
    }
}

fn shown(height: Option<u64>) -> String {
    height.map_or_else(|| "none".into(), |height| height.to_string())
}
