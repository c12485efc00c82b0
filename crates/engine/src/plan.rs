//! The plan: what a migration will do, to what, within which limits, on which assumptions.
//!
//! TOML; unknown fields are refused. Its digest is the SHA-256 of its canonical text (the
//! fields as this module writes them), so a comment may be added and a value may not be changed
//! behind the journal's back.

use crate::error::{Error, Kind, Result};
use crate::invariant::Invariant;
use crate::limits::Limits;
use crate::moves::{Move, SwapMethod};
use crate::settlement::PlannedSettlement;
use crate::transforming::PlannedTransform;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use transload_model::engine::Engine;
use transload_model::layout::TableClass;
use transload_model::merkle::sha256;
use transload_model::record::TableName;
use transload_store::{
    ConfigEdit, FilePlan, Guarantees, StateSnapshot, SwapChange, TrustInput, VersionChoice,
    Weakness,
};

/// The plan's format.
pub const PLAN_FORMAT: u32 = 1;

/// A plan file may not be larger: one with a thousand tables has about 200 KiB.
const PLAN_BYTES_MAX: u64 = 16 << 20;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The plan's format.
    pub format: u32,
    /// The transload that made it.
    pub transload: String,
    /// When it was made, in seconds since 1970.
    pub made_unix_seconds: u64,
    /// The target engine of the databases that move.
    pub engine: Engine,
    /// The layout that was asked for, by its name; absent when layouts stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_layout: Option<String>,
    /// Weaker promises of the target that somebody accepted.
    pub accept_weaker: Vec<Weakness>,
    /// What is taken for granted.
    pub assumptions: Vec<Assumption>,
    /// What was asked to be left out; absent when everything is carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim: Option<PlannedTrim>,
    /// What to do with records that are missing or wrong; absent when the source isn't checked
    /// before it is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_records: Option<PlannedSettlement>,
    /// The home.
    pub home: PlannedHome,
    /// Where things are built and kept.
    pub places: Places,
    /// The limits.
    pub limits: Limits,
    /// How to verify.
    #[serde(default)]
    pub verify: PlannedVerify,
    /// Space and time.
    pub estimate: Estimate,
    /// What must hold at every phase end.
    #[serde(default)]
    pub invariants: Vec<Invariant>,
    /// The databases and what becomes of each.
    pub databases: Vec<PlannedDatabase>,
    /// The config keys that change at the swap.
    #[serde(default)]
    pub config: Vec<ConfigEdit>,
    /// Every other file of the home and what becomes of it.
    #[serde(default)]
    pub files: Vec<FilePlan>,
}

/// What was asked to be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTrim {
    /// Whole databases, by the names that the profile has for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// How many heights are to be kept, the last ones when the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_heights: Option<u64>,
    /// The first of these, below which nothing is carried; absent when there is nothing below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_height: Option<u64>,
    /// How many versions of the application's state are to be kept, the last ones when the plan
    /// was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_versions: Option<u64>,
    /// The first of these, below which nothing is carried; absent when there is nothing below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_version: Option<u64>,
    /// Whether what no version of the application's state reaches is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop_orphans: bool,
}

impl PlannedTrim {
    /// Whether the same was asked.
    #[must_use]
    pub fn asks_for_what(&self, other: &Self) -> bool {
        (&self.drop, self.keep_heights, self.keep_versions, self.drop_orphans)
            == (&other.drop, other.keep_heights, other.keep_versions, other.drop_orphans)
    }
}

/// The home as found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedHome {
    /// Where it is.
    pub path: PathBuf,
    /// The profile that knows it.
    pub profile: String,
    /// The node software.
    pub software: String,
    /// What tells so.
    pub software_evidence: String,
    /// The chain's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<String>,
    /// The last height when the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_last: Option<u64>,
    /// The address of a remote signer, which must be stopped too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_signer: Option<String>,
    /// The node's program, whose build info told what it can open; absent when the version of
    /// the home told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_binary: Option<PathBuf>,
    /// What a person should know.
    pub notices: Vec<String>,
    /// State-sync snapshots when the plan was made. They stay where they are; their records move
    /// with their database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<StateSnapshot>,
}

/// Where things are built and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    /// Journal, plans and status.
    pub state_dir: PathBuf,
    /// Attempts: targets until the swap, old copies after it. On the databases' file system.
    pub staging_dir: PathBuf,
    /// Where targets are built when that is elsewhere; they are taken in before they are
    /// verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_dir: Option<PathBuf>,
    /// How paths change place.
    pub swap: SwapMethod,
}

/// How to verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedVerify {
    /// A height whose header hash is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_height: Option<u64>,
    /// That hash, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_hash: Option<String>,
    /// Which state versions to recompute.
    #[serde(default)]
    pub versions: VersionChoice,
}

impl PlannedVerify {
    /// Where trust comes from.
    ///
    /// # Errors
    /// [`Kind::Refused`] for half an anchor or a hash that isn't 32 bytes of hex.
    pub fn trust(&self) -> Result<TrustInput> {
        let refuse =
            |what: &str| Error::new(Kind::Refused, "read the trust anchor", what.to_owned());
        match (self.trust_height, &self.trust_hash) {
            (None, None) => Ok(TrustInput { anchor: None }),
            (Some(height), Some(text)) => {
                let mut hash = [0; 32];
                hex::decode_to_slice(text.trim(), &mut hash)
                    .map_err(|_| refuse("the trusted hash is not 32 bytes of hex"))?;
                Ok(TrustInput { anchor: Some((height, hash)) })
            }
            _ => Err(refuse("a trusted height and a trusted hash come together")),
        }
    }
}

/// Space and time, and where the figures come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Bytes that the moved databases take now.
    pub source_bytes_on_disk: u64,
    /// Bytes that must be free where staging is, for targets and journal.
    pub staging_bytes_needed: u64,
    /// Bytes that must be free in the other target folder, when there is one.
    pub target_dir_bytes_needed: u64,
    /// Seconds for the copy.
    pub copy_seconds: u64,
    /// Seconds for reading both sides back.
    pub verify_seconds: u64,
    /// Seconds for the chain's checks.
    #[serde(default)]
    pub certify_seconds: u64,
    /// Seconds in which the node can't run: from the copy's begin to the end of the swap.
    pub stop_seconds: u64,
    /// What the stop means in blocks, when the block interval is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_blocks: Option<u64>,
    /// What the stop means for a validator.
    pub stop_note: String,
    /// How the figures came about.
    pub basis: String,
}

/// Something taken for granted, and the check that looks after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumption {
    /// Its name.
    pub name: String,
    /// What is taken for granted.
    pub text: String,
    /// The check by name; empty where none is possible.
    pub check: String,
}

/// What becomes of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It goes to the target engine, to another layout, or both.
    Moves,
    /// It has the target engine already.
    HasTheEngine,
    /// No config key governs its engine, so it stays with its own.
    StaysWithItsEngine,
    /// It was not asked for.
    NotAskedFor,
}

/// A database of the home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDatabase {
    /// Its name.
    pub name: String,
    /// Where the node looks for it; symlinks are resolved.
    pub path: PathBuf,
    /// Its engine, from its own files.
    pub from: Engine,
    /// The engine's version, from its own files.
    pub from_version: String,
    /// What becomes of it.
    pub fate: Fate,
    /// The layout of its entries.
    pub layout: String,
    /// The layout that they get; absent when it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_layout: Option<String>,
    /// Whether something of it is left out.
    #[serde(default, skip_serializing_if = "is_not")]
    pub trimmed: bool,
    /// Whether a profile knows it.
    pub known: bool,
    /// Bytes of its files.
    pub bytes_on_disk: u64,
    /// About how many key and value bytes it has, by a sample; absent when it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_estimate: Option<u64>,
    /// About how many entries it has, by a sample; absent when it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_estimate: Option<u64>,
    /// What the source promises; absent when the database stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_guarantees: Option<Guarantees>,
    /// What the target promises; absent when the database stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_guarantees: Option<Guarantees>,
    /// Which promises become weaker.
    pub weaker: Vec<Weakness>,
    /// What its entries go through on the way, first to last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<PlannedTransform>,
    /// Its tables.
    pub tables: Vec<PlannedTable>,
}

fn is_not(flag: &bool) -> bool {
    !flag
}

/// A table and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTable {
    /// Its name.
    pub name: TableName,
    /// Its class.
    pub class: TableClass,
    /// What becomes of it.
    pub becomes: String,
}

/// What a swap changes, by name.
pub(crate) struct Changes {
    moved: Vec<String>,
    engine: Engine,
    relaid: Vec<String>,
    layout: Option<String>,
    trimmed: Vec<String>,
}

impl Changes {
    /// Of these databases, which go to `engine` and to the layout called so.
    pub(crate) fn of(databases: &[PlannedDatabase], engine: Engine, layout: Option<&str>) -> Self {
        let names = |chosen: &dyn Fn(&PlannedDatabase) -> bool| -> Vec<String> {
            let moving = databases.iter().filter(|one| one.moves() && chosen(one));
            moving.map(|one| one.name.clone()).collect()
        };
        Self {
            moved: names(&|one| one.from != engine),
            engine,
            relaid: names(&|one| one.to_layout.is_some()),
            layout: layout.map(str::to_owned),
            trimmed: names(&|one| one.trimmed),
        }
    }

    /// As profiles take it.
    pub(crate) fn as_swap_change(&self) -> SwapChange<'_> {
        SwapChange {
            moved: &self.moved,
            engine: self.engine,
            relaid: &self.relaid,
            layout: self.layout.as_deref(),
            trimmed: &self.trimmed,
        }
    }
}

impl PlannedDatabase {
    /// Whether it changes place at the swap.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.fate == Fate::Moves
    }

    /// Whether its entries become other ones than they were.
    fn changes_within(&self) -> bool {
        self.to_layout.is_some() || self.trimmed
    }

    /// The names and versions of its transforms.
    pub(crate) fn made_by(&self) -> Vec<String> {
        self.transforms.iter().map(PlannedTransform::label).collect()
    }

    /// Its transforms after which no other leads back.
    #[must_use]
    pub fn one_way(&self) -> Vec<&PlannedTransform> {
        self.transforms.iter().filter(|one| one.consent.is_some()).collect()
    }
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`Kind::Refused`] for text that is no plan, an unknown field, a newer format, or limits
    /// that can't be kept.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |what: String| Error::new(Kind::Refused, "read the plan", what);
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let first: FormatOnly =
            toml::from_str(text).map_err(|error| refuse(error.message().to_owned()))?;
        if first.format != PLAN_FORMAT {
            return Err(refuse(format!(
                "the plan has format {}, this transload knows {PLAN_FORMAT}",
                first.format
            )));
        }
        let plan: Self = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// Reads a plan file.
    ///
    /// # Errors
    /// As [`Plan::parse`], and when the file can't be read.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |what: String| {
            Error::new(Kind::Refused, "read the plan", what)
                .with("path", path.display().to_string())
        };
        let metadata = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
        if metadata.len() > PLAN_BYTES_MAX {
            return Err(refuse(format!("the file is larger than {PLAN_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text).map_err(|error| error.with("path", path.display().to_string()))
    }

    /// The canonical text.
    ///
    /// # Errors
    /// [`Kind::Refused`] when a value has no form in TOML (a path that isn't UTF-8).
    pub fn text(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::new(Kind::Refused, "write the plan", error.to_string()))
    }

    /// SHA-256 of the canonical text, hex.
    ///
    /// # Errors
    /// As [`Plan::text`].
    pub fn digest(&self) -> Result<String> {
        Ok(hex::encode(sha256(self.text()?.as_bytes())))
    }

    /// The databases that move.
    pub fn moving(&self) -> impl Iterator<Item = &PlannedDatabase> {
        self.databases.iter().filter(|database| database.moves())
    }

    /// What the swap changes, as far as config keys tell of it.
    pub(crate) fn changes(&self) -> Changes {
        Changes::of(&self.databases, self.engine, self.to_layout.as_deref())
    }

    /// What the plan does, in a few words.
    #[must_use]
    pub fn aim(&self) -> String {
        let changes_engine = self.moving().any(|one| one.from != self.engine);
        let mut parts = Vec::new();
        let trimmed = self.moving().any(|one| one.trimmed);
        if changes_engine || !(self.to_layout.is_some() || trimmed) {
            parts.push(self.engine.to_string());
        }
        parts.extend(self.to_layout.iter().map(|layout| format!("layout {layout}")));
        if let (true, Some(trim)) = (trimmed, &self.trim) {
            parts.extend(trim.first_height.map(|first| format!("heights from {first}")));
            parts.extend(trim.first_version.map(|first| format!("versions from {first}")));
            parts.extend(trim.drop_orphans.then(|| "no orphans".to_owned()));
            parts.extend(trim.drop.iter().map(|name| format!("no {name}")));
        }
        parts.join(", ")
    }

    /// The folder of an attempt.
    #[must_use]
    pub fn attempt_dir(&self, attempt: u64) -> PathBuf {
        self.places.staging_dir.join("attempts").join(format!("{attempt:04}"))
    }

    /// Where a target is written first.
    #[must_use]
    pub fn build_path(&self, attempt: u64, database: &str) -> PathBuf {
        match &self.places.target_dir {
            Some(folder) => folder.join(format!("transload-{attempt:04}")).join(database),
            None => self.target_path(attempt, database),
        }
    }

    /// Where a target stands when it is verified.
    #[must_use]
    pub fn target_path(&self, attempt: u64, database: &str) -> PathBuf {
        self.attempt_dir(attempt).join("targets").join(database)
    }

    /// What changes place in an attempt, the application's database first.
    #[must_use]
    pub fn moves(&self, attempt: u64) -> Vec<Move> {
        let mut moves: Vec<Move> = self
            .moving()
            .map(|database| Move {
                database: database.name.clone(),
                live: database.path.clone(),
                target: self.target_path(attempt, &database.name),
                kept: self.attempt_dir(attempt).join("kept").join(&database.name),
                from: database.from,
                to: self.engine,
            })
            .collect();
        // An application opens its database before it looks at any config.
        moves.sort_by_key(|one| (one.database != "application.db", one.database.clone()));
        moves
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::new(Kind::Refused, "check the plan", what));
        self.limits.check()?;
        self.verify.trust()?;
        let mut names: Vec<&str> = Vec::new();
        for database in &self.databases {
            if !is_plain_path(&database.name) {
                return refuse(format!("{:?} is no database's name", database.name));
            }
            names.push(&database.name);
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse(format!("two databases are named {}", pair[0]));
        }
        for database in self.moving() {
            if database.from == self.engine && !database.changes_within() {
                return refuse(format!("{} moves to the engine that it has", database.name));
            }
            if let Some(wrong) = database.transforms.iter().find_map(PlannedTransform::wrong) {
                return refuse(format!("{}: {wrong}", database.name));
            }
            if database.to_layout.as_ref() == Some(&database.layout) {
                return refuse(format!("{} goes to the layout that it has", database.name));
            }
        }
        let relaid = |database: &PlannedDatabase| database.to_layout.is_some();
        if let Some(stays) = self.databases.iter().find(|one| one.changes_within() && !one.moves())
        {
            let what = if relaid(stays) { "gets another layout" } else { "loses something" };
            return refuse(format!("{} stays and {what}", stays.name));
        }
        if self.trim.is_none()
            && let Some(database) = self.moving().find(|one| one.trimmed)
        {
            return refuse(format!("{} loses what nobody asked to leave out", database.name));
        }
        if self.to_layout.is_none()
            && let Some(database) = self.moving().find(|one| relaid(one))
        {
            return refuse(format!("{} gets a layout that nobody asked for", database.name));
        }
        Ok(())
    }
}

/// A relative path of ordinary names: it can't lead out of the folder that it is joined to.
fn is_plain_path(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use transload_store::WayBack;

    pub(crate) fn plan() -> Plan {
        let database = |name: &str, fate| PlannedDatabase {
            name: name.into(),
            path: format!("/home/node/data/{name}").into(),
            from: Engine::Goleveldb,
            from_version: String::new(),
            fate,
            layout: "raw".into(),
            to_layout: None,
            trimmed: false,
            known: true,
            bytes_on_disk: 10,
            bytes_estimate: None,
            entries_estimate: None,
            source_guarantees: None,
            target_guarantees: None,
            weaker: Vec::new(),
            transforms: Vec::new(),
            tables: Vec::new(),
        };
        Plan {
            format: PLAN_FORMAT,
            transload: "0.1.0".into(),
            made_unix_seconds: 1,
            engine: Engine::Pebble2,
            to_layout: None,
            accept_weaker: vec![Weakness::OrderedWrites],
            assumptions: Vec::new(),
            trim: None,
            bad_records: None,
            home: PlannedHome {
                path: "/home/node".into(),
                profile: "test".into(),
                software: "test 1".into(),
                software_evidence: "a file".into(),
                chain_id: Some("chain-1".into()),
                height_last: Some(7),
                remote_signer: None,
                node_binary: None,
                notices: Vec::new(),
                snapshots: vec![StateSnapshot {
                    height: 7,
                    format: 3,
                    chunks: 1,
                    bytes: 21_309,
                    hash: "00".into(),
                }],
            },
            places: Places {
                state_dir: "/home/node/.transload".into(),
                staging_dir: "/home/node/.transload".into(),
                target_dir: None,
                swap: SwapMethod::Exchange,
            },
            limits: Limits::default(),
            verify: PlannedVerify {
                versions: VersionChoice::Listed(vec![1, 2]),
                ..PlannedVerify::default()
            },
            estimate: Estimate::default(),
            invariants: vec![Invariant::HeightAtLeast { height: 7 }],
            databases: vec![
                database("blockstore.db", Fate::Moves),
                database("application.db", Fate::Moves),
                database("other.db", Fate::StaysWithItsEngine),
            ],
            config: Vec::new(),
            files: Vec::new(),
        }
    }

    fn refusal(text: &str) -> String {
        let error = Plan::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        error.to_string()
    }

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        let text = plan().text().unwrap();
        let again = Plan::parse(&text).unwrap();
        assert_eq!(again, plan());
        assert_eq!(again.digest().unwrap(), plan().digest().unwrap());
    }

    #[test]
    fn a_comment_keeps_the_digest_and_a_changed_value_does_not() {
        let text = plan().text().unwrap();
        let commented = format!("# reviewed by two people\n{text}");
        assert_eq!(Plan::parse(&commented).unwrap().digest().unwrap(), plan().digest().unwrap());
        let changed = text.replace("workers = 4", "workers = 5");
        assert_ne!(changed, text);
        assert_ne!(Plan::parse(&changed).unwrap().digest().unwrap(), plan().digest().unwrap());
    }

    #[test]
    fn unknown_fields_newer_formats_and_bad_values_are_refused() {
        let text = plan().text().unwrap();
        assert!(refusal(&format!("surprise = 1\n{text}")).contains("surprise"));
        assert!(refusal(&text.replace("workers = 4", "workers = 4\nspeed = 9")).contains("speed"));
        let newer = text.replace("format = 1", "format = 2\nunheard_of = 1");
        assert!(refusal(&newer).contains("format 2"));
        assert!(refusal(&text.replace("workers = 4", "workers = 0")).contains("workers"));
        refusal("");
        refusal("\u{0}\u{1}garbage");
        for name in ["../out", "/etc", "", "a/../b"] {
            let text = text.replace("name = \"blockstore.db\"", &format!("name = {name:?}"));
            assert!(refusal(&text).contains("no database's name"), "{name}");
        }
        let twice = text.replace("name = \"other.db\"", "name = \"blockstore.db\"");
        assert!(refusal(&twice).contains("two databases"));
    }

    #[test]
    fn a_trim_is_in_the_digest_and_none_that_nobody_asked_for_is_taken() {
        let mut trimmed = plan();
        trimmed.databases[0].trimmed = true;
        assert!(refusal(&trimmed.text().unwrap()).contains("nobody asked"));
        let drop = PlannedTransform {
            id: "drop".into(),
            version: 1,
            from: "raw".into(),
            to: "nothing".into(),
            way_back: WayBack::OneWay("it is gone".into()),
            consent: None,
        };
        trimmed.databases[0].transforms = vec![drop.clone()];
        assert!(refusal(&trimmed.text().unwrap()).contains("nobody has agreed"));
        trimmed.databases[0].transforms =
            vec![PlannedTransform { consent: Some("asked".into()), ..drop }];
        assert!(refusal(&trimmed.text().unwrap()).contains("nobody asked"));
        let drop = vec!["tx_index".into()];
        trimmed.trim = Some(PlannedTrim { drop, ..PlannedTrim::default() });
        let again = Plan::parse(&trimmed.text().unwrap()).unwrap();
        assert_eq!((&again, again.aim().as_str()), (&trimmed, "pebble2, no tx_index"));
        let mut other = trimmed.clone();
        other.trim = Some(PlannedTrim::default());
        assert_ne!(other.digest().unwrap(), trimmed.digest().unwrap());
        let mut newer = trimmed.clone();
        newer.databases[0].transforms[0].version = 2;
        assert_ne!(newer.digest().unwrap(), trimmed.digest().unwrap());
        trimmed.databases[2].trimmed = true;
        assert!(refusal(&trimmed.text().unwrap()).contains("other.db stays and loses something"));
    }

    #[test]
    fn half_an_anchor_is_refused() {
        let half = PlannedVerify { trust_height: Some(1), ..PlannedVerify::default() };
        assert!(half.trust().is_err());
        let short = PlannedVerify { trust_hash: Some("00".into()), ..half.clone() };
        assert!(short.trust().is_err());
        let whole = PlannedVerify { trust_hash: Some("00".repeat(32)), ..half };
        assert_eq!(whole.trust().unwrap().anchor, Some((1, [0; 32])));
    }

    #[test]
    fn the_application_changes_place_first_and_each_attempt_has_its_own_paths() {
        let moves = plan().moves(3);
        let names: Vec<&str> = moves.iter().map(|one| one.database.as_str()).collect();
        assert_eq!(names, ["application.db", "blockstore.db"]);
        let expected = "/home/node/.transload/attempts/0003/targets/application.db";
        assert_eq!(moves[0].target, Path::new(expected));
        assert_ne!(plan().moves(4)[0].target, moves[0].target);
    }
}
