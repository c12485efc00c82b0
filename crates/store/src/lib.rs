//! The seam between Transload and storage engines.
//!
//! A [`Store`] is one ordered keyspace of bytes. Drivers implement it, layers wrap it, the
//! engine and the chain profiles use it, and the [`contract`] suite holds all of them to the
//! same promises.
//!
//! Invariant: nothing here opens a file of its own accord, prints, or reads the environment.

pub mod contract;
mod driver;
mod error;
mod guarantees;
mod key;
pub mod layers;
pub mod memory;
mod profile;
mod reform;
mod reshape;
mod scan;
pub mod sort;
mod store;
mod transform;
mod trim;

pub use driver::{
    Driver, EngineStatus, Engines, Holder, Recognised, SourceOptions, TargetOptions,
    changes_in_place,
};
pub use error::{Effect, Error, HELP, Kind, Result};
pub use guarantees::{Capabilities, Guarantees, Isolation, Processes, Weakness};
pub use key::{KEY_BYTES_MAX, KeyRange, VALUE_BYTES_MAX};
pub use profile::{
    AppState, ChainFacts, ConfigEdit, ConfigFile, Database, FilePlan, FileTreatment, Home,
    HomeView, LayoutWish, Opener, PowerShare, Profile, SignerState, StateSnapshot, SwapChange,
    TrustInput, VerifyOptions, VersionChoice,
};
pub use reform::{GoneEntries, Reform, ReformOptions, Reformed, Side};
pub use reshape::{PutEntry, Rekey, Reshape, ReshapePass, Run};
pub use scan::{Scan, ScanDigest, ScanReceipt, Walk};
pub use store::{
    BulkLoad, ChunkLoad, Cursor, Durability, Snapshot, Store, TakeValue, WriteBatch, WriteOp,
};
pub use transform::{Transform, WayBack, refuse_another_value};
pub use trim::{DatabaseTrim, Heights, Judged, LeftOut, Trim, TrimRule, TrimWish, Trimmed};
