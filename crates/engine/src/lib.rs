//! Carries a home's databases from one engine to another, and back.
//!
//! Invariant: the engine knows no driver and no chain. It is handed
//! [`transload_store::Engines`] and [`transload_store::Profile`]s.

mod advance;
#[cfg(test)]
mod chance;
mod chunks;
mod compare;
mod control;
mod convert;
mod copy;
mod cpu_use;
pub mod decoders;
mod error;
mod estimate;
mod fit;
mod history;
mod home;
mod identity;
mod invariant;
mod journal;
mod limits;
mod moves;
mod opening;
mod owner;
mod pacing;
mod peer;
pub mod phase;
mod plan;
mod planning;
mod preflight;
mod prove;
mod pulse;
mod relaid;
mod relayout;
mod report;
mod runner;
mod runs;
mod settlement;
mod status;
mod suspects;
mod swap;
mod tally;
mod transforming;
mod trimming;
mod verify;
mod watch;

pub use chunks::{ChunkLog, CopiedChunk, Made, MemoryLog, VerifiedChunk};
pub use compare::{Comparison, KeyDifference, TableDifference, compare, compare_keys};
pub use control::{Answer, ChangePace, ControlServer, Request, ask};
pub use convert::{Conversion, ConvertRequest, convert, refuse_inside_the_source};
pub use copy::{CopyJob, CopyTotals, copy_database};
pub use error::{Error, Kind, Result};
pub use estimate::{Cadence, OnTheWay, Sample, Sampled, estimate, sample};
pub use fit::{accept_weaker, needs_a_look, refuse_what_does_not_fit};
pub use history::{
    FieldChange, PlanEntry, current_plan, keep_plan, plan_diff, plan_log, plan_path,
};
pub use home::{OpenDatabase, OpenHome, OpenOptions, find_home};
pub use identity::HomeIdentity;
pub use invariant::{Invariant, Observed, read_invariants, violations};
pub use journal::{
    AttemptChunks, AttemptSteps, ChunkSummary, JOURNAL_FORMAT, Journal, JournalEvent, JournalStep,
};
pub use limits::{CHUNK_BYTES_MIN, Limits, WORKERS_MAX};
pub use moves::{
    Fence, Fingerprint, Held, Move, Standing, SwapMethod, SwapPlan, Swapper, Verified,
};
pub use pacing::{PaceChange, Pacing, RATE_BYTES_PER_SECOND_MIN, check_pace};
pub use plan::{
    Assumption, Estimate, Fate, PLAN_FORMAT, Places, Plan, PlannedDatabase, PlannedHome,
    PlannedTable, PlannedTrim, PlannedVerify,
};
pub use planning::{PlanRequest, make_plan, state_dir_of};
pub use preflight::{CheckResult, Ground, Outcome, Preflight, Scope, check_names, preflight};
pub use prove::prove;
pub use pulse::Pulse;
pub use relaid::{RelaidJob, verify_relaid};
pub use report::{
    HeightRange, LeftOutTable, PhaseTime, RUN_SCHEMA, Reach, ReportDatabase, ReportSettlement,
    ReportTable, ReportTrim, RunReport, memory, reach,
};
pub use runner::{Migration, SoakCheck, World};
pub use settlement::{
    BadRecords, KeptValue, NamedBy, PlannedSettlement, SETTLEMENT_SCHEMA, Settled, SettledRecord,
    Settlement, settlement_dir, settlement_path,
};
pub use status::{
    STATUS_SCHEMA, Status, StatusDatabase, StatusFile, StatusPace, StatusProgress,
    StatusSettlement, read_status, status_path,
};
pub use swap::{Disk, FileSwap, RealDisk};
pub use tally::{DatabaseTally, TallyOptions, aligned_ranges, tally, tally_range};
pub use transforming::PlannedTransform;
pub use verify::{VerifiedDatabase, VerifyJob, verify_database};
pub use watch::{Cancel, StepHook, StepLog, Watch};
