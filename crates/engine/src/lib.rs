//! Carries a home's databases from one engine to another, and back.
//!
//! Invariant: the engine knows no driver and no chain. It is handed
//! [`transload_store::Engines`] and [`transload_store::Profile`]s.

mod compare;
mod error;
mod home;
mod prove;
mod tally;

pub use compare::{Comparison, KeyDifference, TableDifference, compare, compare_keys};
pub use error::{Error, Kind, Result};
pub use home::{OpenDatabase, OpenHome, OpenOptions, find_home};
pub use prove::prove;
pub use tally::{DatabaseTally, TallyOptions, aligned_ranges, tally, tally_range};
