//! Looks at a home and writes the plan for it. Opens every database read-only; the only thing
//! written below the home is the state folder.

use crate::error::{Error, Kind, Result};
use crate::estimate::{Cadence, OnTheWay, Sampled, estimate, sample};
use crate::home::{OpenDatabase, OpenHome, OpenOptions, find_home};
use crate::invariant::Invariant;
use crate::journal::now;
use crate::limits::Limits;
use crate::moves::SwapMethod;
use crate::peer::Peer;
use crate::plan::{
    Assumption, Changes, Fate, PLAN_FORMAT, Places, Plan, PlannedDatabase, PlannedHome,
    PlannedTable, PlannedTrim, PlannedVerify,
};
use crate::relayout::{
    Wishes, layout_is_there, nothing_moves, refuse_half_a_layout, rekey, target_engine, wishes,
};
use crate::settlement::PlannedSettlement;
use crate::transforming::{PlannedTransform, transforms};
use crate::trimming::trims;
use crate::watch::Watch;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_observe::{Event, Stage};
use transload_store::{
    AppState, Database, DatabaseTrim, Engines, Home, LayoutWish, Profile, Reshape, Transform,
    Weakness,
};

/// What to plan.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The node's home.
    pub home: PathBuf,
    /// The target engine; `None` when every database keeps its own.
    pub engine: Option<Engine>,
    /// The target layout, by its name; `None` when layouts stay.
    pub layout: Option<String>,
    /// What is to be left out; `None` when everything is carried.
    pub trim: Option<PlannedTrim>,
    /// What to do with records that are missing or wrong; `None` when the source isn't to be
    /// checked before it is copied.
    pub bad_records: Option<PlannedSettlement>,
    /// Only these databases; `None` for all that a config key governs.
    pub only: Option<Vec<String>>,
    /// The limits.
    pub limits: Limits,
    /// Another folder to build targets in.
    pub target_dir: Option<PathBuf>,
    /// How paths change place.
    pub swap: SwapMethod,
    /// Weaker promises that somebody accepts.
    pub accept_weaker: Vec<Weakness>,
    /// How to verify.
    pub verify: PlannedVerify,
    /// What must hold at every phase end.
    pub invariants: Vec<Invariant>,
    /// What the stop means to a validator.
    pub cadence: Cadence,
    /// The node's program, where the profile was given one to look into.
    pub node_binary: Option<PathBuf>,
}

impl PlanRequest {
    /// A plan for all of `home`, with the usual limits.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>, engine: impl Into<Option<Engine>>) -> Self {
        Self {
            home: home.into(),
            engine: engine.into(),
            layout: None,
            trim: None,
            bad_records: None,
            only: None,
            limits: Limits::default(),
            target_dir: None,
            swap: SwapMethod::Exchange,
            accept_weaker: Vec::new(),
            verify: PlannedVerify::default(),
            invariants: Vec::new(),
            cadence: Cadence::default(),
            node_binary: None,
        }
    }
}

/// The state folder of a home.
#[must_use]
pub fn state_dir_of(home: &Path) -> PathBuf {
    home.join(".transload")
}

/// Finds the home, its real path and its profile.
///
/// # Errors
/// [`Kind::Refused`] when there is none.
pub(crate) fn discover<'a>(
    path: &Path,
    profiles: &[&'a dyn Profile],
) -> Result<(&'a dyn Profile, Home)> {
    let real = path.canonicalize().map_err(|error| {
        Error::new(Kind::Refused, "look for the home", error.to_string())
            .with("path", path.display().to_string())
            .next("give the node's home, the folder that holds config and data")
    })?;
    let place = real.display().to_string();
    if !real.is_dir() {
        return Err(Error::new(Kind::Refused, "look for the home", "this is no folder")
            .with("path", place)
            .next("give the node's home, the folder that holds config and data"));
    }
    find_home(&real, profiles)?.ok_or_else(|| {
        Error::new(Kind::Refused, "look for the home", "no node home is recognised here")
            .with("path", place)
            .next("give the folder that holds config and data; for a single database there is `transload convert`")
    })
}

/// Plan, journal and configs are text, and name paths.
pub(crate) fn refuse_what_is_no_text(root: &Path) -> Result<()> {
    if root.to_str().is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "look for the home",
        "the path is not UTF-8 text, so plan and journal can't name it",
    )
    .with("path", root.display().to_string())
    .next("rename the folder, or reach it by a mount with another name; reading works as it is"))
}

/// Makes the plan.
///
/// # Errors
/// [`Kind::Refused`] with the reason; [`Kind::Difference`] when a database can't be read.
pub fn make_plan(
    request: &PlanRequest,
    profiles: &[&dyn Profile],
    engines: &dyn Engines,
    watch: &Watch,
) -> Result<Plan> {
    request.limits.check()?;
    let (profile, home) = discover(&request.home, profiles)?;
    refuse_what_is_no_text(&home.root)?;
    let state_dir = state_dir_of(&home.root);
    make_folder(&state_dir)?;
    let scratch = Scratch::make(&state_dir, "plan", watch)?;
    let options = OpenOptions {
        scratch_dir: scratch.path.clone(),
        memory_bytes_max: request.limits.driver_bytes(),
        space: None,
    };
    let open = OpenHome::open_recognised(profile, home.clone(), engines, &options)?;
    let wishes = wishes(request, profile, &open)?;
    let trims = trims(request, profile, &open)?;
    let engine = target_engine(request, &open, &wishes, &trims)?;
    let mut databases = Vec::new();
    for database in open.databases() {
        let name = &database.database.name;
        let change = (wishes.get(name), trims.of(name));
        databases.push(plan_database(request, engine, change, database, engines)?);
    }
    refuse_unknown_names(request, &databases)?;
    refuse_half_a_layout(&databases, &wishes)?;
    trims.refuse_what_stays(&databases)?;
    let moved: Vec<String> = databases
        .iter()
        .filter(|database| database.moves())
        .map(|database| database.name.clone())
        .collect();
    if moved.is_empty() {
        return Err(nothing_moves(request, &wishes, &trims));
    }
    let changes = Changes::of(&databases, engine, request.layout.as_deref());
    let config = profile
        .config_edits(&home, &changes.as_swap_change())
        .map_err(|error| Error::store(Kind::Refused, "look at the config", error))?;
    watch.tell(Event::StageBegan { stage: Stage::Measuring });
    let mut sampled = Vec::new();
    for database in open.databases().filter(|open| moved.contains(&open.database.name)) {
        let name = database.database.name.as_str();
        let rule = match wishes.get(name) {
            Some(LayoutWish::Gets(target)) => Some(rekey(&*database.layout, &**target)?),
            _ => None,
        };
        let way = OnTheWay {
            reshape: rule.as_ref().map(|rule| rule as &dyn Reshape),
            trim: trims.of(name).and_then(|trim| trim.rule.entries()).map(|rule| &**rule),
        };
        let sample = sample(&*database.snapshot, &*database.layout, way, watch)
            .map_err(|error| error.with("database", name))?;
        let share = trims.of(name).and_then(|trim| trim.kept_share);
        let sample = share.map_or(sample, |share| sample.carrying_at_least(share));
        let bytes_on_disk = database.recognised.bytes_on_disk;
        let (entries, bytes) = sample.extrapolated(bytes_on_disk);
        for planned in databases.iter_mut().filter(|planned| planned.name == name) {
            (planned.entries_estimate, planned.bytes_estimate) = (Some(entries), Some(bytes));
        }
        sampled.push(Sampled { name, bytes_on_disk, sample });
    }
    watch.tell(Event::StageEnded { stage: Stage::Measuring });
    let other_volume = request.target_dir.is_some();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores_used = request.limits.workers_that_fit().min(cores) as u64;
    let places = Places {
        staging_dir: staging_dir(&home, &state_dir, &databases)?,
        state_dir,
        target_dir: request.target_dir.clone(),
        swap: request.swap,
    };
    let (facts, seen) = (open.facts(), open.home());
    let cadence = Cadence {
        block_interval_millis: request
            .cadence
            .block_interval_millis
            .or(facts.block_interval_millis),
        ..request.cadence
    };
    Ok(Plan {
        format: PLAN_FORMAT,
        transload: env!("CARGO_PKG_VERSION").into(),
        made_unix_seconds: now(),
        engine,
        to_layout: request.layout.clone(),
        accept_weaker: request.accept_weaker.clone(),
        assumptions: assumptions(&home),
        trim: trims.planned,
        bad_records: planned_settlement(request, profile, engines, &open, &scratch)?,
        home: PlannedHome {
            path: home.root.clone(),
            profile: home.profile.clone(),
            software: home.software.clone(),
            software_evidence: home.software_evidence.clone(),
            chain_id: facts.chain_id.clone(),
            height_last: facts.height_last,
            remote_signer: home.remote_signer.clone(),
            node_binary: request.node_binary.clone(),
            notices: seen
                .notices
                .iter()
                .cloned()
                .chain(no_way_back(&home, &moved))
                .chain(layout_is_there(request, &wishes))
                .chain(one_way(&wishes))
                .chain(cautions(&wishes))
                .chain(trims.notices)
                .chain(request.bad_records.as_ref().map(|_| SURVEY_TAKES.to_owned()))
                .collect(),
            snapshots: facts.snapshots.clone(),
        },
        places,
        limits: request.limits,
        verify: request.verify.clone(),
        estimate: estimate(
            &sampled,
            engine,
            other_volume,
            cadence,
            cores_used,
            request.limits.pace(),
        ),
        invariants: request.invariants.clone(),
        databases,
        config,
        files: home.files.clone(),
    })
}

/// The estimate speaks of the copy and what follows.
const SURVEY_TAKES: &str = "the source is checked before the copy as well: the stop is longer by \
    the time of the chain's checks, and by as much again for each round of repairs from a peer";

/// What was asked for bad records, with the peer where it really is: a home of the same chain.
fn planned_settlement(
    request: &PlanRequest,
    profile: &dyn Profile,
    engines: &dyn Engines,
    open: &OpenHome<'_>,
    scratch: &Scratch,
) -> Result<Option<PlannedSettlement>> {
    let Some(asked) = &request.bad_records else { return Ok(None) };
    let Some(path) = &asked.repair_from else { return Ok(Some(asked.clone())) };
    let scratch_dir = scratch.path.join("peer");
    make_folder(&scratch_dir)?;
    let options =
        OpenOptions { scratch_dir, memory_bytes_max: request.limits.driver_bytes(), space: None };
    let peer = Peer::open(path, open, profile, engines, &options)?;
    refuse_what_is_no_text(&peer.path)?;
    Ok(Some(PlannedSettlement { repair_from: Some(peer.path), ..asked.clone() }))
}

/// What an operator should know before, not when a rollback is refused.
fn no_way_back(home: &Home, moved: &[String]) -> Option<String> {
    let what = match &home.app_state {
        AppState::Elsewhere(address) => {
            format!("the application keeps its state in a process of its own at {address}")
        }
        AppState::Databases(names) => {
            let stays: Vec<&str> =
                names.iter().filter(|name| !moved.contains(name)).map(String::as_str).collect();
            match stays[..] {
                [] => return None,
                [one] => format!("{one} holds the application's state and stays"),
                _ => format!("{} hold the application's state and stay", stays.join(" and ")),
            }
        }
    };
    Some(format!(
        "{what}: once the node has made blocks on the new databases, a rollback would leave the \
         application ahead of the old blocks and is refused"
    ))
}

/// What is known of software that will have a converted database.
fn cautions(wishes: &Wishes) -> Vec<String> {
    let caution = |(name, wish): (&String, &LayoutWish)| match wish {
        LayoutWish::Becomes(reform) => reform.caution().map(|text| format!("{name}: {text}")),
        _ => None,
    };
    wishes.iter().filter_map(caution).collect()
}

/// What is converted as a whole can't be migrated back.
fn one_way(wishes: &Wishes) -> Option<String> {
    let converted = |wish: &LayoutWish| matches!(wish, LayoutWish::Becomes(_));
    let (name, wish) = wishes.iter().find(|(_, wish)| converted(wish))?;
    Some(format!(
        "{name} is converted to {}: no migration leads back from it. `transload rollback` does, as \
         long as it is allowed; so keep the old copy (don't `transload finalize`) until you are \
         sure that the node won't need the old form",
        wish.target_id().unwrap_or_default()
    ))
}

/// What a database goes through, with what somebody has asked for in so many words.
fn planned_transforms(
    request: &PlanRequest,
    open: &OpenDatabase,
    wish: Option<&LayoutWish>,
    trim: Option<&DatabaseTrim>,
) -> Result<Vec<PlannedTransform>> {
    let asked = |transform: &Transform| match (trim, &request.layout) {
        (Some(trim), _) if trim.transform == *transform => trim.asked.clone(),
        (_, layout) => format!("--layout {}", layout.as_deref().unwrap_or_default()),
    };
    let all = transforms(&*open.layout, wish, trim)?;
    Ok(all.into_iter().map(|one| PlannedTransform::of(one.clone(), &asked(&one))).collect())
}

fn plan_database(
    request: &PlanRequest,
    target_engine: Engine,
    (wish, trim): (Option<&LayoutWish>, Option<&DatabaseTrim>),
    open: &OpenDatabase,
    engines: &dyn Engines,
) -> Result<PlannedDatabase> {
    let database = &open.database;
    let from = engine_of(database, open.recognised.engine);
    let to_layout = wish.and_then(LayoutWish::target_id);
    let fate = fate(request, database, from, to_layout.is_some() || trim.is_some());
    let to_layout = to_layout.filter(|_| fate == Fate::Moves);
    let source = open.store().guarantees();
    let (target, weaker) = if fate == Fate::Moves {
        let driver = engines
            .driver(target_engine)
            .map_err(|error| Error::store(Kind::Refused, "find the target's driver", error))?;
        let (_, target) = driver.target_profile();
        (Some(target), source.weaknesses_of(&target))
    } else {
        (None, Vec::new())
    };
    let becomes = match (fate, &to_layout) {
        (Fate::Moves, Some(layout)) if matches!(wish, Some(LayoutWish::Becomes(_))) => {
            format!("converted to {layout} in {target_engine}, what it says unchanged")
        }
        (Fate::Moves, None) => format!("carried to {target_engine} unchanged"),
        (Fate::Moves, Some(layout)) if from == target_engine => {
            format!("carried to {layout}, values unchanged")
        }
        (Fate::Moves, Some(layout)) => {
            format!("carried to {target_engine} and {layout}, values unchanged")
        }
        _ => "stays as it is".into(),
    };
    let path = database.path.canonicalize().map_err(|error| {
        Error::new(Kind::Refused, "resolve the path", error.to_string())
            .with("path", database.path.display().to_string())
    })?;
    Ok(PlannedDatabase {
        name: database.name.clone(),
        path,
        from,
        from_version: open.recognised.version.clone(),
        fate,
        layout: open.layout.id().to_owned(),
        to_layout,
        trimmed: trim.is_some(),
        transforms: if fate == Fate::Moves {
            planned_transforms(request, open, wish, trim)?
        } else {
            Vec::new()
        },
        known: database.known,
        bytes_on_disk: open.recognised.bytes_on_disk,
        bytes_estimate: None,
        entries_estimate: None,
        source_guarantees: target.is_some().then_some(source),
        target_guarantees: target,
        weaker,
        tables: open
            .layout
            .tables()
            .iter()
            .map(|table| PlannedTable {
                name: table.name.clone(),
                class: table.class,
                becomes: trim
                    .and_then(|trim| trim.becomes.get(&table.name))
                    .unwrap_or(&becomes)
                    .clone(),
            })
            .collect(),
    })
}

/// Of two engines that write one format, the config says which the node has.
pub(crate) fn engine_of(database: &Database, recognised: Engine) -> Engine {
    let configured = database.configured.as_deref().and_then(|name| name.parse::<Engine>().ok());
    configured
        .filter(|configured| configured.told_by_files() == recognised.told_by_files())
        .unwrap_or(recognised)
}

fn fate(request: &PlanRequest, database: &Database, engine: Engine, changes: bool) -> Fate {
    let changes_engine = request.engine.is_some_and(|wanted| wanted != engine);
    if !is_asked_for(request, &database.name) || (request.engine.is_none() && !changes) {
        Fate::NotAskedFor
    } else if !changes_engine && !changes {
        Fate::HasTheEngine
    } else if database.governed_by.is_none() {
        Fate::StaysWithItsEngine
    } else {
        Fate::Moves
    }
}

fn is_asked_for(request: &PlanRequest, database: &str) -> bool {
    request.only.as_ref().is_none_or(|only| only.iter().any(|name| name == database))
}

fn refuse_unknown_names(request: &PlanRequest, databases: &[PlannedDatabase]) -> Result<()> {
    for name in request.only.iter().flatten() {
        let known = |database: &PlannedDatabase| database.name == *name;
        if !databases.iter().any(known) {
            return Err(Error::new(
                Kind::Refused,
                "make the plan",
                "the home has no such database",
            )
            .with("database", name.clone())
            .next("transload inspect HOME lists them"));
        }
    }
    Ok(())
}

/// `HOME/.transload` when the databases are on its mount; otherwise a folder beside them.
fn staging_dir(home: &Home, state_dir: &Path, databases: &[PlannedDatabase]) -> Result<PathBuf> {
    let moving = || databases.iter().filter(|database| database.fate == Fate::Moves);
    let all_on = |wanted: (u64, u64)| -> Result<bool> {
        for database in moving() {
            if mount_of(&database.path)? != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if all_on(mount_of(state_dir)?)? {
        return Ok(state_dir.to_owned());
    }
    let data_dir = home.data_dir.canonicalize().unwrap_or_else(|_| home.data_dir.clone());
    if all_on(mount_of(&data_dir)?)? {
        return Ok(data_dir.join(".transload"));
    }
    let mut error = Error::new(
        Kind::Refused,
        "choose the staging folder",
        "the databases are on several file systems or mounts, so they can't change place together",
    );
    let data_mount = mount_of(&data_dir)?;
    for database in moving() {
        if mount_of(&database.path)? != data_mount {
            error = error.with("database on another mount", database.path.display().to_string());
        }
    }
    Err(error.next(
        "mount the volume one folder higher, or move one file system's databases at a time with \
         --only",
    ))
}

/// The file system and the mount of a path: paths of one file system that is mounted twice can't
/// change place across the mounts. Kernels that don't tell mounts apart say 0 for all.
fn mount_of(path: &Path) -> Result<(u64, u64)> {
    let refused = |error: std::io::Error| {
        Error::new(Kind::Refused, "look at the file system", error.to_string())
            .with("path", path.display().to_string())
    };
    let device = fs::metadata(path).map_err(refused)?.dev();
    let stat = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)
        .map_err(|error| refused(error.into()))?;
    let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok((device, if known { stat.stx_mnt_id } else { 0 }))
}

/// What every migration takes for granted. The checks named are the profile's or preflight's.
fn assumptions(home: &Home) -> Vec<Assumption> {
    let assumption = |name: &str, text: &str, check: &str| Assumption {
        name: name.into(),
        text: text.into(),
        check: check.into(),
    };
    vec![
        assumption(
            "node-stopped",
            "no node writes the databases from the copy's begin to the end of the swap",
            "no_node_runs",
        ),
        assumption(
            "signer-state",
            if home.remote_signer.is_some() {
                "a remote signer keeps its own state; nothing here sees it"
            } else {
                "the signer's state and the consensus log stay where they are and are never copied"
            },
            if home.remote_signer.is_some() { "" } else { "signer_state_fenced" },
        ),
        assumption(
            "timestamps",
            "no stored value depends on the clock of this machine; values are carried as bytes",
            "target_equals_source",
        ),
        assumption(
            "nonces",
            "IAVL node keys carry version and nonce; they are carried as bytes and node hashes \
             are recomputed where the chain has them",
            "target_equals_source",
        ),
        assumption(
            "randomness",
            "nothing in the databases is drawn at random when it is read; no check is possible \
             beyond the equality of all bytes",
            "",
        ),
        assumption(
            "one-writer",
            "nobody but transload writes below the state folder",
            "source_unchanged",
        ),
    ]
}

/// Makes a folder that only its owner may enter, with the owner of the folder above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, chown};
    let refused = |error: std::io::Error| {
        Error::new(Kind::Refused, "make the state folder", error.to_string())
            .with("path", path.display().to_string())
            .next("the file system must be writable for transload's own notes")
            .caused_by(error)
    };
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(refused(error));
        }
        _ => {}
    }
    if let Some(parent) = path.parent() {
        let (above, own) =
            (fs::metadata(parent).map_err(refused)?, fs::metadata(path).map_err(refused)?);
        if (above.uid(), above.gid()) != (own.uid(), own.gid()) && own.uid() == 0 {
            chown(path, Some(above.uid()), Some(above.gid())).map_err(refused)?;
        }
        // What is durable below a folder is lost with the folder's name.
        fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(refused)?;
    }
    Ok(())
}

/// Whether a process of this number runs.
pub(crate) fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// A scratch folder that is emptied when it is dropped.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    /// A fresh folder in the state folder.
    pub(crate) fn make(state_dir: &Path, purpose: &str, watch: &Watch) -> Result<Self> {
        let path = state_dir.join("scratch").join(format!("{purpose}-{}", std::process::id()));
        let refused = |error: std::io::Error| {
            Error::new(Kind::Refused, "make a scratch folder", error.to_string())
                .with("path", path.display().to_string())
        };
        if path.exists() {
            fs::remove_dir_all(&path).map_err(refused)?;
        }
        fs::create_dir_all(&path).map_err(refused)?;
        watch.step("scratch folder made");
        Ok(Self { path })
    }

    /// Removes what killed processes left. The links in it would keep the space of an old
    /// database that was freed long ago.
    pub(crate) fn sweep(state_dir: &Path) -> Result<()> {
        let folder = state_dir.join("scratch");
        let failed = |error: std::io::Error| {
            Error::new(Kind::Refused, "remove what killed processes left", error.to_string())
                .with("path", folder.display().to_string())
        };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let process = path
                .file_name()
                .and_then(|name| name.to_str()?.rsplit_once('-')?.1.parse::<u32>().ok());
            if process.is_some_and(|process| !is_alive(process)) {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next process that owns the journal.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_process_s_scratch_is_swept_away_and_a_living_one_s_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mine = Scratch::make(folder.path(), "copy", &Watch::default()).unwrap();
        let scratch = folder.path().join("scratch");
        // No process has this number: it is above the kernel's limit.
        let dead = scratch.join(format!("verify-{}", u32::MAX));
        let foreign = scratch.join("an operator's folder");
        for path in [&dead, &foreign] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("000001.ldb"), "a link").unwrap();
        }
        Scratch::sweep(folder.path()).unwrap();
        assert!(mine.path.is_dir() && foreign.is_dir() && !dead.exists());
        drop(mine);
        assert_eq!(fs::read_dir(scratch).unwrap().count(), 1);
    }

    #[test]
    fn every_folder_on_the_way_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attempts/0001/targets");
        make_folder(&path).unwrap();
        for made in path.ancestors().take(3) {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
