//! What a chain profile tells the migration engine about a node home.
//!
//! A profile knows tables, layouts, certificates and config keys of one kind of node. It reads
//! through [`Snapshot`]s that somebody else opened, so it knows no engine.

use crate::{DatabaseTrim, Error, Kind, Reform, Result, Snapshot, TrimWish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transload_model::engine::Engine;
use transload_model::layout::Layout;
use transload_model::report::Verdict;

/// A database of a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Name within the home, unique, such as `blockstore.db` or `snapshots/metadata.db`.
    pub name: String,
    /// Where it is; may be a symlink.
    pub path: PathBuf,
    /// What the config says about its engine, where a key governs it.
    pub configured: Option<String>,
    /// The config key that governs it, such as `db_backend` or `app-db-backend`.
    pub governed_by: Option<String>,
    /// Whether the profile has a layout for it; otherwise it is carried as a raw table.
    pub known: bool,
}

/// What becomes of a file of the home that is no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileTreatment {
    /// Stays where it is, untouched.
    Stays,
    /// Stays, and must never be copied or moved back (signer state, consensus WAL).
    Fenced,
    /// One or more keys are set at the swap.
    Edited,
}

/// A file (or folder of files) of the home and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlan {
    /// Path relative to the home.
    pub path: String,
    /// What becomes of it.
    pub treatment: FileTreatment,
    /// What it is.
    pub about: String,
}

/// The signer's last signed height, round and step: the fence that never moves back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignerState {
    /// Height.
    #[serde(with = "transload_model::report::decimal")]
    pub height: u64,
    /// Round.
    pub round: u32,
    /// Step: 1 propose, 2 prevote, 3 precommit.
    pub step: u8,
}

/// Where the application keeps the state that the blocks made. A node catches up an application
/// that is behind its blocks, and doesn't start with one that is ahead of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// In these databases of the home; in none when it is made anew from the blocks at each start.
    Databases(Vec<String>),
    /// In a process of its own at this address: the home doesn't tell.
    Elsewhere(String),
}

impl Default for AppState {
    fn default() -> Self {
        Self::Databases(Vec::new())
    }
}

/// A node home as found, from its names and config files alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The profile's id.
    pub profile: String,
    /// The node software, such as `CometBFT 0.38`, and what tells so.
    pub software: String,
    /// What tells which software it is.
    pub software_evidence: String,
    /// The home.
    pub root: PathBuf,
    /// Where databases are, usually `data` in the home.
    pub data_dir: PathBuf,
    /// The databases, by name.
    pub databases: Vec<Database>,
    /// Names of databases that a node with this config keeps and that aren't there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Where the application's state is.
    #[serde(default)]
    pub app_state: AppState,
    /// Everything else.
    pub files: Vec<FilePlan>,
    /// The signer's state, when it is kept in the home.
    pub signer: Option<SignerState>,
    /// The signer's file, when it is there and can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_unread: Option<PathBuf>,
    /// The address at which a remote signer connects, when one is configured.
    pub remote_signer: Option<String>,
    /// What a person should know (config keys that disagree, leftovers, ...).
    pub notices: Vec<String>,
}

/// A config file that governs engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigFile {
    /// The application's file; guarded first and set last.
    App,
    /// The node's file.
    Node,
}

/// A key to set at the swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEdit {
    /// Which role the file has.
    pub file: ConfigFile,
    /// The file.
    pub path: PathBuf,
    /// Dotted key path, such as `db_backend`.
    pub key: String,
    /// The value found; `None` when the key is absent.
    pub old: Option<String>,
    /// While the swap runs: a value that the node refuses by name.
    pub guard: String,
    /// The target's value.
    pub new: String,
}

/// A share of a chain's voting power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerShare {
    /// The key's own power; 0 for one that is no validator's.
    #[serde(with = "transload_model::report::decimal")]
    pub own: u64,
    /// The power of all validators.
    #[serde(with = "transload_model::report::decimal")]
    pub total: u64,
}

impl PowerShare {
    /// Whether the others can commit blocks without this key: they have more than two thirds.
    #[must_use]
    pub fn others_go_on(&self) -> bool {
        let others = u128::from(self.total.saturating_sub(self.own));
        others * 3 > u128::from(self.total) * 2
    }
}

/// A snapshot of the state that the node offers to others that join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSnapshot {
    /// The height after which the state was taken.
    #[serde(with = "transload_model::report::decimal")]
    pub height: u64,
    /// The format of its contents.
    pub format: u32,
    /// How many files it has.
    #[serde(with = "transload_model::report::decimal")]
    pub chunks: u64,
    /// What they take.
    #[serde(with = "transload_model::report::decimal")]
    pub bytes: u64,
    /// The hash over all of them that is on record, hex.
    pub hash: String,
}

/// What the chain's own data says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainFacts {
    /// The chain's id.
    pub chain_id: Option<String>,
    /// Layout of the main database, such as `v1`.
    pub layout: String,
    /// First height kept.
    pub height_first: Option<u64>,
    /// Last height kept.
    pub height_last: Option<u64>,
    /// App hash after the last height that state knows, hex.
    pub app_hash: Option<String>,
    /// App hash in the last header, hex.
    pub header_app_hash: Option<String>,
    /// Other heights worth comparing, by name: `blockstore`, `state`, `signer`; `upgrade`, the
    /// last one that the software came to; `own_signature`, the highest block at the tip or above
    /// the signer's state whose commit carries a signature of this node's key.
    pub heights: BTreeMap<String, u64>,
    /// The schema id of the dataset.
    pub schema: String,
    /// How much of the chain's voting power this node's own key has; `None` when the home
    /// doesn't tell.
    #[serde(default)]
    pub power: Option<PowerShare>,
    /// Milliseconds between blocks, lately, by the headers' own times.
    #[serde(default)]
    pub block_interval_millis: Option<u64>,
    /// Snapshots of the state, newest first.
    #[serde(default)]
    pub snapshots: Vec<StateSnapshot>,
}

/// Where trust comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustInput {
    /// A header hash that the user trusts, with its height.
    pub anchor: Option<(u64, [u8; 32])>,
}

/// Which state versions to recompute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionChoice {
    /// Every version kept.
    #[default]
    All,
    /// Only the latest.
    Latest,
    /// These.
    Listed(Vec<u64>),
}

/// How to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Where trust comes from.
    pub trust: TrustInput,
    /// Which state versions to recompute.
    pub versions: VersionChoice,
    /// Upper bound for buffers.
    pub memory_bytes_max: u64,
    /// How many threads may work.
    pub workers: usize,
    /// An existing empty folder for external joins.
    pub scratch_dir: PathBuf,
}

/// The home's databases, opened.
pub trait Opener: Send + Sync {
    /// The snapshot of a database by its name; `None` when the home has no such database.
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>>;
}

/// A home together with snapshots of its databases.
#[derive(Clone, Copy)]
pub struct HomeView<'a> {
    /// The home.
    pub home: &'a Home,
    /// Its databases.
    pub databases: &'a dyn Opener,
    /// Whether a node writes to the home meanwhile: files beside the databases may go away.
    pub is_written: bool,
}

/// What becomes of one database when its home goes to a layout.
#[derive(Debug)]
pub enum LayoutWish {
    /// It gets this one, entry by entry.
    Gets(Box<dyn Layout>),
    /// It becomes another one as a whole.
    Becomes(Box<dyn Reform>),
    /// It has it already.
    HasIt,
    /// It keeps its own, for this reason.
    Keeps(&'static str),
}

impl LayoutWish {
    /// The id of the layout that the database gets; `None` where it keeps what it has.
    #[must_use]
    pub fn target_id(&self) -> Option<String> {
        match self {
            Self::Gets(layout) => Some(layout.id().to_owned()),
            Self::Becomes(reform) => Some(reform.transform().to),
            Self::HasIt | Self::Keeps(_) => None,
        }
    }
}

/// What a swap changes, as far as config keys tell of it.
#[derive(Clone, Copy, Debug)]
pub struct SwapChange<'a> {
    /// The databases that go to another engine.
    pub moved: &'a [String],
    /// The engine of all databases that change place, afterwards.
    pub engine: Engine,
    /// The databases that get another layout.
    pub relaid: &'a [String],
    /// That layout's name; `None` where layouts stay.
    pub layout: Option<&'a str>,
    /// The databases of which something is left out.
    pub trimmed: &'a [String],
}

/// Knows one kind of node home.
pub trait Profile: Send + Sync {
    /// The profile's id, such as `cometbft`.
    fn id(&self) -> &'static str;

    /// Looks at names and config files below `root`; opens no database, changes nothing.
    /// `None` when this is no home of this kind.
    ///
    /// # Errors
    /// [`crate::Kind::UnknownFormat`] for a home of this kind that isn't supported (a fork with
    /// another block format), [`crate::Kind::Corrupt`] for config files that can't be read.
    fn recognise(&self, root: &Path) -> Result<Option<Home>>;

    /// The layout of a database; what is stored wins over what is configured.
    ///
    /// # Errors
    /// [`crate::Kind::UnknownFormat`] for a layout version that isn't known.
    fn layout(
        &self,
        home: &Home,
        database: &Database,
        snapshot: &dyn Snapshot,
    ) -> Result<Box<dyn Layout>>;

    /// What becomes of a database, which has the layout `current`, when its home goes to the
    /// layout called `name`.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidInput`] when no layout is called so; [`crate::Kind::Unsupported`]
    /// when the home's software doesn't read it.
    fn layout_wish(
        &self,
        _home: &Home,
        _database: &Database,
        _current: &dyn Layout,
        _snapshot: &dyn Snapshot,
        name: &str,
    ) -> Result<LayoutWish> {
        Err(Error::new(
            Kind::InvalidInput,
            "look for the layout",
            format!("homes of this kind have one layout, and none is called {name:?}"),
        ))
    }

    /// The first and the last version of the application's state that the home keeps; `None` where
    /// it keeps no versions.
    ///
    /// # Errors
    /// Those of reading.
    fn kept_versions(&self, _view: HomeView<'_>) -> Result<Option<(u64, u64)>> {
        Ok(None)
    }

    /// What becomes of each database of which something is to be left out.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidInput`] for a name that the profile doesn't know;
    /// [`crate::Kind::Unsupported`] when something of it is still needed, or may be: by evidence,
    /// by the application, by others that join; those of reading.
    fn trims(&self, _view: HomeView<'_>, _wish: &TrimWish) -> Result<Vec<DatabaseTrim>> {
        Err(Error::unsupported("trim", "nothing can be left out of homes of this kind"))
    }

    /// Why records of `other` are none of the chain of `own`; `None` when the highest block that
    /// both keep whole is the same one.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] when homes of this kind have no blocks to tell by; those of
    /// reading.
    fn another_chain(&self, _own: HomeView<'_>, _other: HomeView<'_>) -> Result<Option<String>> {
        Err(Error::unsupported("compare the chains", "nothing tells whether both are of one chain"))
    }

    /// What a person should know that names and config files alone don't tell.
    ///
    /// # Errors
    /// Those of reading.
    fn notices(&self, _view: HomeView<'_>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Heights, hashes, layout and schema.
    ///
    /// # Errors
    /// Those of reading; what isn't there is `None`.
    fn facts(&self, view: HomeView<'_>) -> Result<ChainFacts>;

    /// Recomputes what consensus signed, from the stored bytes, table by table.
    /// `progress` is told (done, total) of records, now and then; when it answers false the
    /// verification stops with [`crate::Kind::Cancelled`].
    ///
    /// # Errors
    /// Only failures to read; what is wrong with the content is a finding in the verdict.
    fn verify(
        &self,
        view: HomeView<'_>,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Verdict>;

    /// The config keys to set at the swap: all that must agree, or none.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] when the node's version doesn't register that engine, or
    /// doesn't let these databases be configured so.
    fn config_edits(&self, home: &Home, change: &SwapChange<'_>) -> Result<Vec<ConfigEdit>>;
}
