//! What to do with records that are missing or wrong.

use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use transload_engine::{BadRecords, PlannedSettlement};

/// What to do with records that are missing or wrong.
#[derive(Clone, Debug, Args)]
pub(crate) struct BadRecordsWish {
    /// Check the source before anything is copied. `stop` names what is wrong and begins nothing;
    /// `quarantine` lists it, exports it to HOME/.transload/settlements and leaves it out, and
    /// swaps only where the home is whole without it [default: without this option, and without
    /// --repair-from, what is wrong is found on the copy, which is then not swapped in]
    #[arg(long, value_enum, value_name = "HOW")]
    bad_records: Option<Policy>,
    /// Check the source before anything is copied, and take what is missing or wrong from this
    /// other home of the same chain: only records of authenticated tables and what is derived from
    /// them, and only where every check then passes; a peer that lies is refused as a whole
    #[arg(long, value_name = "PEER")]
    repair_from: Option<PathBuf>,
}

/// What becomes of records that nothing repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Named, and nothing begins.
    Stop,
    /// Listed, exported, left out.
    Quarantine,
}

impl BadRecordsWish {
    /// What the plan is to say; `None` when nothing was asked.
    pub(crate) fn planned(&self) -> Option<PlannedSettlement> {
        let policy = match (self.bad_records, &self.repair_from) {
            (None, None) => return None,
            (Some(Policy::Quarantine), _) => BadRecords::Quarantine,
            (Some(Policy::Stop) | None, _) => BadRecords::Stop,
        };
        Some(PlannedSettlement { policy, repair_from: self.repair_from.clone() })
    }

    /// Whether the same is asked as a plan says.
    pub(crate) fn is_as_planned(&self, planned: Option<&PlannedSettlement>) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match (self.planned(), planned) {
            (Some(asked), Some(planned)) => {
                let peer = asked.repair_from.as_deref().map(real);
                (asked.policy, &peer) == (planned.policy, &planned.repair_from)
            }
            (asked, planned) => asked.is_none() && planned.is_none(),
        }
    }
}
