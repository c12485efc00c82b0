//! Whole migrations, rollbacks and finalizes of a small home while any call of source, target,
//! journal and the swap's disk goes wrong: each call once, some at random, all from one on.
//!
//! Whatever happens: success is said only of an equal target, a node never starts on a mixture,
//! the source is unchanged until the swap, nobody tries for ever, and afterwards the migration
//! goes on to the end or back.
//!
//! `TRANSLOAD_FAULT_RUNS` sets the number of runs, `TRANSLOAD_SEED` the seed of the first.

use crate::ailing::{AilingDisk, AilingEngines, AilingFile};
use crate::chain::{TestProfile, blocks, config, tree, write_home};
use crate::files::{FileEngines, read_database};
use crate::luck::{Dice, Luck, PLACES, Plague};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use transload_engine::phase::{Phase, State};
use transload_engine::{
    Error, FileSwap, Kind, Limits, Migration, PlanRequest, Result, Watch, World, make_plan,
};
use transload_model::engine::Engine;
use transload_store::Profile;

const HEIGHTS: u64 = 120;

/// Runs where nobody has set a number.
const RUNS: u64 = 150;

/// Tries under faults before they end.
const TRIES_MAX: u64 = 3;

/// Calm rounds until the end: a difference or a refusal leaves the next round less to do.
const ROUNDS_MAX: u32 = 8;

/// What is attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// To the new databases.
    Migrate,
    /// Back to the old ones, from wherever things stand.
    RollBack,
    /// The old ones freed.
    Finalize,
}

const GOALS: [Goal; 3] = [Goal::Migrate, Goal::RollBack, Goal::Finalize];

struct Bench {
    _folder: tempfile::TempDir,
    home: PathBuf,
    engines: Arc<FileEngines>,
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

impl Bench {
    fn new() -> Self {
        // In memory where the machine offers it: thousands of homes are written.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let home = folder.path().canonicalize().unwrap().join("node");
        write_home(&home, Engine::Goleveldb, HEIGHTS);
        Self { _folder: folder, home, engines: Arc::new(FileEngines::new()) }
    }

    /// A home that was migrated without faults.
    fn soaking() -> Self {
        let bench = Self::new();
        let luck = Arc::new(Luck::new(0, Plague::Calm));
        bench.attempt(Goal::Migrate, &luck).unwrap();
        bench
    }

    fn attempt(&self, goal: Goal, luck: &Arc<Luck>) -> Result<()> {
        let engines = Arc::new(AilingEngines::new(&self.engines, luck));
        let swapper = FileSwap::on(Box::new(AilingDisk(Arc::clone(luck))), engines.clone());
        let profiles: [&dyn Profile; 1] = [&TestProfile];
        let world = World { profiles: &profiles, engines: &*engines, swapper: &swapper };
        let watch = Watch::default();
        let mut migration =
            Migration::open_on(|path| AilingFile::open(path, luck), &self.home, world, &watch)?;
        match goal {
            Goal::Migrate => self.migrate(&mut migration, world, &watch),
            Goal::RollBack => match migration.state()? {
                // Nothing has begun, or nothing is left to undo.
                State::In(Phase::Planned | Phase::RolledBack) | State::Halted(Phase::Planned) => {
                    Ok(())
                }
                _ => migration.roll_back("the campaign"),
            },
            Goal::Finalize => {
                if migration.state()? == State::Halted(Phase::Soaking) {
                    migration.resume()?;
                }
                match migration.state()? {
                    State::In(Phase::Finalized) => Ok(()),
                    _ => migration.finalize("the campaign"),
                }
            }
        }
    }

    fn migrate(
        &self,
        migration: &mut Migration<'_>,
        world: World<'_>,
        watch: &Watch,
    ) -> Result<()> {
        if migration.plan().is_none() {
            let limits = Limits {
                memory_bytes_max: 8 << 20,
                chunk_bytes: 64 << 10,
                workers: 1,
                batch_bytes_max: 8 << 10,
                ..Limits::DEFAULT
            };
            let target = Engine::Pebble2;
            let request = PlanRequest { limits, ..PlanRequest::new(self.home.clone(), target) };
            migration.accept(make_plan(&request, world.profiles, world.engines, watch)?)?;
        }
        for _ in 0..ROUNDS_MAX {
            match migration.state()?.phase() {
                Phase::Soaking => return Ok(()),
                Phase::ReadyToCutOver => migration.cut_over("the campaign")?,
                _ => migration.resume()?,
            }
        }
        panic!("no end after {ROUNDS_MAX} rounds: {}", migration.state()?);
    }

    /// Which side a node finds: old whole, new whole, or a guard.
    fn stand(&self, what: &str) -> Stand {
        let engines: Vec<String> = ["blocks.db", "state.db"]
            .iter()
            .map(|name| {
                let path = self.home.join("data").join(name);
                assert!(path.exists(), "{what}: {} is absent", path.display());
                fs::read_to_string(path.join("ENGINE")).unwrap_or_else(|_| "guard".into())
            })
            .collect();
        let text = fs::read_to_string(self.home.join("config/node.toml")).unwrap();
        let configured = text.trim().trim_start_matches("db_backend = ").trim_matches('"');
        if configured.starts_with("transload") || engines.iter().any(|engine| engine == "guard") {
            return Stand::Guarded;
        }
        assert!(
            engines.iter().all(|engine| engine == configured),
            "{what}: {engines:?} under {configured}"
        );
        if configured == "goleveldb" { Stand::Old } else { Stand::New }
    }

    fn stands_on_the_target(&self, what: &str) {
        assert_eq!(self.stand(what), Stand::New, "{what}");
        let database = |name: &str| read_database(&self.home.join("data").join(name)).unwrap();
        assert!(database("blocks.db") == blocks(HEIGHTS), "{what}: a false success");
        assert!(database("state.db") == state(), "{what}: a false success");
        let config_now = fs::read_to_string(self.home.join("config/node.toml")).unwrap();
        assert_eq!(config_now, config("pebble2"), "{what}");
    }

    fn files(&self) -> Files {
        let strip = |path: PathBuf| path.strip_prefix(&self.home).unwrap().to_owned();
        tree(&self.home).into_iter().map(|(path, (bytes, _))| (strip(path), bytes)).collect()
    }

    /// Nothing but what is in `before`; while a swap is under way, apart from what it has staged
    /// beside a config file.
    fn is_as(&self, before: &Files, is_over: bool, what: &str) {
        let mut now = self.files();
        now.retain(|path, _| is_over || !path.to_string_lossy().contains(".transload-"));
        assert!(now == *before, "{what}: the old home was changed: {:?}", now.keys());
    }

    fn is_whole(&self, goal: Goal, before: &Files, what: &str) {
        match goal {
            Goal::Migrate => self.stands_on_the_target(what),
            Goal::RollBack => {
                assert_eq!(self.stand(what), Stand::Old, "{what}");
                self.is_as(before, true, what);
            }
            Goal::Finalize => {
                self.stands_on_the_target(what);
                let attempts = self.home.join(".transload/attempts");
                assert_eq!(fs::read_dir(attempts).map_or(0, Iterator::count), 0, "{what}");
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Old,
    New,
    Guarded,
}

fn state() -> crate::files::Entries {
    static STATE: OnceLock<crate::files::Entries> = OnceLock::new();
    let read = || read_database(&Bench::new().home.join("data/state.db")).unwrap();
    STATE.get_or_init(read).clone()
}

/// How many calls each place sees while a goal is reached without faults.
fn calm_calls(goal: Goal) -> [u64; PLACES.len()] {
    static CALLS: OnceLock<[[u64; PLACES.len()]; GOALS.len()]> = OnceLock::new();
    let count = |goal: Goal| {
        let bench = if goal == Goal::Migrate { Bench::new() } else { Bench::soaking() };
        let luck = Arc::new(Luck::new(0, Plague::Calm));
        bench.attempt(goal, &luck).unwrap();
        PLACES.map(|place| luck.calls(place))
    };
    CALLS.get_or_init(|| GOALS.map(count))[goal as usize]
}

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    tries: u64,
    struck: u64,
    succeeded: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.tries += other.tries;
        self.struck += other.struck;
        self.succeeded += other.succeeded;
    }
}

/// One home, its goal tried under each of these plagues, and then without any.
fn run(goal: Goal, plagues: impl IntoIterator<Item = Plague>, mut dice: Dice, name: &str) -> Tally {
    let bench = if goal == Goal::Migrate { Bench::new() } else { Bench::soaking() };
    let before = Bench::new().files();
    let mut tally = Tally::default();
    let (mut lied, mut journal_lied) = (false, false);
    for plague in plagues {
        let what = format!("{name}, {goal:?} under {plague:?}");
        let luck = Arc::new(Luck::new(dice.roll(u64::MAX), plague));
        let ended = bench.attempt(goal, &luck);
        // What was copied from a lie is found out later.
        lied |= luck.lied();
        journal_lied |= luck.journal_lied();
        tally.add(&Tally { tries: 1, struck: luck.struck(), succeeded: u64::from(ended.is_ok()) });
        match &ended {
            Ok(()) => bench.is_whole(goal, &before, &what),
            Err(error) => failed_well(error, lied, journal_lied, &what),
        }
        if bench.stand(&what) == Stand::Old {
            bench.is_as(&before, false, &what);
        }
    }
    ends_well(&bench, goal, &before, journal_lied, &mut dice, &format!("{name}, {goal:?}"));
    tally
}

/// A run whose goal and plagues come from its seed.
fn random_run(seed: u64) -> Tally {
    let mut dice = Dice(seed);
    let goal = GOALS[[0, 0, 1, 2][usize::try_from(dice.roll(4)).unwrap()]];
    let calls = calm_calls(goal);
    let plagues: Vec<Plague> = (0..=dice.roll(TRIES_MAX))
        .map(|_| {
            let place = PLACES[usize::try_from(dice.roll(PLACES.len() as u64)).unwrap()];
            let number = dice.roll(calls[place as usize].max(1));
            match dice.roll(4) {
                0 | 1 => Plague::Once(place, number),
                2 => Plague::Often(40 << dice.roll(6)),
                _ => Plague::From(place, number),
            }
        })
        .collect();
    run(goal, plagues, dice, &format!("seed {seed}"))
}

fn failed_well(error: &Error, lied: bool, journal_lied: bool, what: &str) {
    let text = error.to_string();
    match error.kind() {
        Kind::Refused | Kind::Stopped => {}
        // A store that says that its bytes are damaged, or that lied, differs.
        Kind::Difference => assert!(lied || text.contains("injected"), "{what}: {text}"),
        // The source was copied as it never was.
        Kind::InvariantViolated => assert!(lied, "{what}: {text}"),
        Kind::OutcomeUnknown => assert!(journal_lied, "{what}: {text}"),
        Kind::Usage => panic!("{what}: {text}"),
    }
}

/// Without faults it comes to its end, or back.
fn ends_well(
    bench: &Bench,
    goal: Goal,
    before: &Files,
    journal_lied: bool,
    dice: &mut Dice,
    what: &str,
) {
    let back = goal == Goal::Migrate && dice.roll(2) == 0;
    let goal = if back { Goal::RollBack } else { goal };
    let luck = Arc::new(Luck::new(0, Plague::Calm));
    let mut said = Vec::new();
    for _ in 0..ROUNDS_MAX {
        match bench.attempt(goal, &luck) {
            Ok(()) => {
                bench.is_whole(goal, before, &format!("{what}, calm again"));
                return;
            }
            Err(error) => said.push(error.to_string()),
        }
    }
    // A journal that kept what nobody wrote may need a person; both sides are there for them.
    assert!(journal_lied, "{what}: {said:#?}");
}

/// Runs and first seed, as they are set.
fn length() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let runs = number("TRANSLOAD_FAULT_RUNS").unwrap_or(RUNS);
    (runs.max(2 * CASES), number("TRANSLOAD_SEED").unwrap_or(1))
}

/// Goals times places.
const CASES: u64 = (GOALS.len() * PLACES.len()) as u64;

#[test]
fn whatever_goes_wrong_at_random_the_home_stays_whole_and_the_migration_ends() {
    let (runs, first) = length();
    let mut sum = Tally::default();
    for seed in first..first + runs / 2 {
        sum.add(&random_run(seed));
    }
    println!("  {} homes from seed {first} on: {sum:?}", runs / 2);
    assert!(sum.struck > 0 && sum.succeeded < sum.tries, "{sum:?}");
}

#[test]
fn each_call_of_each_place_that_goes_wrong_once_is_survived() {
    let (runs, seed) = length();
    let each = runs / 2 / CASES;
    for goal in GOALS {
        for (place, calls) in PLACES.into_iter().zip(calm_calls(goal)) {
            // Spread evenly where not all can be tried; another seed tries others.
            let tried = each.min(calls);
            let mut sum = Tally::default();
            for index in 0..tried {
                let number = (seed + index * calls / tried) % calls;
                let plague = Plague::Once(place, number);
                sum.add(&run(goal, [plague], Dice(seed ^ number), "once"));
            }
            println!("  {goal:?}, {place:?}: {tried} of {calls} calls: {sum:?}");
            assert_eq!(sum.struck, tried, "{goal:?} {place:?}: some calls never came");
        }
    }
}
