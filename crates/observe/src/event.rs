//! The closed set of things that a migration tells about itself.

use crate::{PaceLimits, Wait};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A stretch of work with a bar of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading a sample of the source to estimate the time.
    Measuring,
    /// Making ready what a database will be that is converted as a whole, and comparing what it
    /// says.
    Converting,
    /// Source to target.
    Copying,
    /// Reading both sides back and comparing them.
    Verifying,
    /// Recomputing what consensus signed.
    Certifying,
    /// Putting the target in the source's place.
    CuttingOver,
    /// Putting the source back.
    RollingBack,
    /// Freeing the old copies.
    Finalizing,
}

impl Stage {
    /// The stage's name in lines and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Measuring => "measure",
            Stage::Converting => "convert",
            Stage::Copying => "copy",
            Stage::Verifying => "verify",
            Stage::Certifying => "certify",
            Stage::CuttingOver => "cut over",
            Stage::RollingBack => "roll back",
            Stage::Finalizing => "finalize",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The migration entered another phase.
    PhaseChanged {
        /// The phase before.
        from: String,
        /// The phase now.
        to: String,
        /// Why.
        reason: String,
    },
    /// A stage began.
    StageBegan {
        /// Which.
        stage: Stage,
    },
    /// A stage ended.
    StageEnded {
        /// Which.
        stage: Stage,
    },
    /// The stage will come to this database. What is said of all of them before the first begins
    /// makes the whole known.
    DatabaseExpected {
        /// The stage.
        stage: Stage,
        /// The database.
        database: String,
        /// Bytes of its files.
        bytes_on_disk: u64,
        /// About how many key and value bytes it has.
        bytes: u64,
        /// About how many entries it has.
        entries: u64,
    },
    /// Work on a database was laid out in chunks.
    DatabaseBegan {
        /// The stage.
        stage: Stage,
        /// The database.
        database: String,
        /// How many chunks it has.
        chunks: u64,
        /// How many of them were done in an earlier run.
        chunks_done: u64,
        /// About how many bytes are still to do.
        bytes_estimate: u64,
    },
    /// A chunk that is being worked on got further.
    Advanced {
        /// The stage.
        stage: Stage,
        /// The database.
        database: String,
        /// The chunk's index.
        chunk: u64,
        /// Entries of this chunk so far.
        entries: u64,
        /// Bytes of this chunk so far.
        bytes: u64,
    },
    /// A chunk is done and durable.
    ChunkDone {
        /// The stage.
        stage: Stage,
        /// The database.
        database: String,
        /// The chunk's index.
        chunk: u64,
        /// Its entries.
        entries: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// A chunk is tried again.
    ChunkRetried {
        /// The stage.
        stage: Stage,
        /// The database.
        database: String,
        /// The chunk's index.
        chunk: u64,
        /// What went wrong.
        why: String,
    },
    /// A chunk failed for good.
    ChunkFailed {
        /// The stage.
        stage: Stage,
        /// The database.
        database: String,
        /// The chunk's index.
        chunk: u64,
        /// What went wrong.
        why: String,
    },
    /// How far a stage is that isn't divided into chunks, in parts that take about equally long.
    PartsDone {
        /// So far.
        done: u64,
        /// In all, as far as known.
        total: u64,
    },
    /// The limits on the pace were changed, or workers wait for others than before.
    Paced {
        /// The limits in force.
        limits: PaceLimits,
        /// What workers wait for, lately.
        waits: Vec<Wait>,
    },
    /// A durable step of the swap is done.
    StepDone {
        /// Its name.
        step: String,
    },
    /// Something that a person should know.
    Notice {
        /// One line.
        text: String,
    },
}
