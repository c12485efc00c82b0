//! A crash after every durable step, in the process: the hook panics, the next process (the
//! same one, with everything opened anew) goes on. The same with a real SIGKILL is in
//! `crates/cli/tests`.

use crate::chain::{TestProfile, blocks, config, tree, write_home};
use crate::files::{FileEngines, read_database};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_engine::phase::{Phase, State};
use transload_engine::{FileSwap, Limits, Migration, PlanRequest, Result, Watch, World, make_plan};
use transload_model::engine::Engine;
use transload_store::Profile;

const HEIGHTS: u64 = 250;

/// A panic at the `n`-th durable step, and the name of that step.
struct Bomb {
    left: AtomicU64,
    at: std::sync::Mutex<String>,
}

impl Bomb {
    fn after(steps: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(steps), at: std::sync::Mutex::default() })
    }

    fn watch(self: &Arc<Self>) -> Watch {
        let bomb = Arc::clone(self);
        let hook = move |step: &str| {
            // Once it went off, the process is gone: nothing counts any more.
            if bomb.left.load(Ordering::SeqCst) == 0 {
                std::panic::resume_unwind(Box::new("crash"));
            }
            if bomb.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                *bomb.at.lock().unwrap() = step.to_owned();
                std::panic::resume_unwind(Box::new("crash"));
            }
        };
        Watch { hook: Arc::new(hook), ..Watch::default() }
    }

    fn went_off(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    home: PathBuf,
    engines: Arc<FileEngines>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap().join("node");
        write_home(&home, Engine::Goleveldb, HEIGHTS);
        Self { _folder: folder, home, engines: Arc::new(FileEngines::new()) }
    }

    fn with<T>(
        &self,
        watch: &Watch,
        work: impl FnOnce(&mut Migration<'_>) -> Result<T>,
    ) -> Result<T> {
        let profiles: [&dyn Profile; 1] = [&TestProfile];
        let swapper = FileSwap::new(self.engines.clone());
        let world = World { profiles: &profiles, engines: &*self.engines, swapper: &swapper };
        let mut migration = Migration::open(&self.home, world, watch)?;
        work(&mut migration)
    }

    /// Goes on from wherever things stand, until the home soaks.
    fn migrate(&self, watch: &Watch) -> Result<()> {
        let limits = Limits {
            memory_bytes_max: 8 << 20,
            chunk_bytes: 64 << 10,
            workers: 1,
            batch_bytes_max: 8 << 10,
            ..Limits::DEFAULT
        };
        let request =
            PlanRequest { limits, ..PlanRequest::new(self.home.clone(), Engine::Pebble2) };
        let (has_plan, state) =
            self.with(watch, |migration| Ok((migration.plan().is_some(), migration.state()?)))?;
        if !has_plan {
            assert_eq!(state, State::In(Phase::Planned));
            let profiles: [&dyn Profile; 1] = [&TestProfile];
            let plan = make_plan(&request, &profiles, &*self.engines, watch)?;
            self.with(watch, |migration| migration.accept(plan))?;
        }
        self.with(watch, |migration| {
            for _ in 0..5 {
                match migration.state()?.phase() {
                    Phase::Soaking => return Ok(()),
                    Phase::ReadyToCutOver => migration.cut_over("the test")?,
                    _ => migration.resume()?,
                }
            }
            panic!("no end after five rounds: {}", migration.state()?);
        })
    }

    fn roll_back(&self, watch: &Watch) -> Result<()> {
        self.with(watch, |migration| match migration.state()? {
            State::In(Phase::RolledBack) => Ok(()),
            _ => migration.roll_back("the test"),
        })
    }

    fn finalize(&self, watch: &Watch) -> Result<()> {
        self.with(watch, |migration| match migration.state()? {
            State::In(Phase::Finalized) => Ok(()),
            _ => migration.finalize("the test"),
        })
    }

    fn root(&self) -> String {
        let report = self.with(&Watch::default(), |migration| migration.report());
        report.unwrap().unwrap().dataset_root
    }

    /// Old whole, new whole, or a guard at a database or in the config: never a mixture that a
    /// node would start on.
    fn never_mixed(&self, step: &str) {
        let engines: Vec<String> = ["blocks.db", "state.db"]
            .iter()
            .map(|name| {
                let path = self.home.join("data").join(name);
                assert!(path.exists(), "{} is absent after {step}", path.display());
                fs::read_to_string(path.join("ENGINE")).unwrap_or_else(|_| "guard".into())
            })
            .collect();
        let text = fs::read_to_string(self.home.join("config/node.toml")).unwrap();
        let configured = text.trim().trim_start_matches("db_backend = ").trim_matches('"');
        let starts = engines.iter().all(|engine| engine == configured);
        let guarded =
            configured.starts_with("transload") || engines.iter().any(|engine| engine == "guard");
        assert!(starts || guarded, "after {step}: {engines:?} under {configured}");
    }
}

fn stands_on(home: &Path, engine: &str) {
    assert_eq!(read_database(&home.join("data/blocks.db")).unwrap(), blocks(HEIGHTS));
    for name in ["blocks.db", "state.db"] {
        let found = fs::read_to_string(home.join("data").join(name).join("ENGINE")).unwrap();
        assert_eq!(found, engine);
    }
    assert_eq!(fs::read_to_string(home.join("config/node.toml")).unwrap(), config(engine));
}

/// Crashes `work` after each of its durable steps in turn, in a world that `prepare` makes anew,
/// and goes on. Answers how many steps there were.
fn crash_everywhere(
    prepare: impl Fn() -> Bench,
    work: impl Fn(&Bench, &Watch) -> Result<()>,
    check: impl Fn(&Bench, &str),
) -> u64 {
    for steps in 1.. {
        let bench = prepare();
        let bomb = Bomb::after(steps);
        let watch = bomb.watch();
        let crashed = catch_unwind(AssertUnwindSafe(|| work(&bench, &watch)));
        if !bomb.went_off() {
            crashed.unwrap().unwrap();
            check(&bench, "no crash at all");
            return steps;
        }
        let step = format!("step {steps} ({})", bomb.at.lock().unwrap());
        bench.never_mixed(&step);
        if let Err(error) = work(&bench, &Watch::default()) {
            panic!("going on after {step}: {error}");
        }
        check(&bench, &step);
    }
    unreachable!("a range without end")
}

#[test]
fn a_crash_after_any_step_of_a_migration_loses_nothing() {
    // F2
    let calm = Bench::new();
    calm.migrate(&Watch::default()).unwrap();
    let root = calm.root();
    let steps = crash_everywhere(Bench::new, Bench::migrate, |bench, step| {
        stands_on(&bench.home, "pebble2");
        assert_eq!(bench.root(), root, "after {step}");
    });
    assert!(steps > 40, "there are fewer steps than expected: {steps}");
}

#[test]
fn a_crash_after_any_step_of_a_rollback_returns_the_home_byte_for_byte() {
    let contents = |home: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let strip = |path: PathBuf| path.strip_prefix(home).unwrap().to_owned();
        tree(home).into_iter().map(|(path, (bytes, _))| (strip(path), bytes)).collect()
    };
    let before = contents(&Bench::new().home);
    let prepare = || {
        let bench = Bench::new();
        bench.migrate(&Watch::default()).unwrap();
        bench
    };
    let steps = crash_everywhere(prepare, Bench::roll_back, |bench, step| {
        assert!(contents(&bench.home) == before, "after {step}");
    });
    assert!(steps > 10, "there are fewer steps than expected: {steps}");
}

#[test]
fn a_crash_after_any_step_of_finalize_ends_with_the_target_alone() {
    let prepare = || {
        let bench = Bench::new();
        bench.migrate(&Watch::default()).unwrap();
        bench
    };
    let steps = crash_everywhere(prepare, Bench::finalize, |bench, step| {
        stands_on(&bench.home, "pebble2");
        let attempts = bench.home.join(".transload/attempts");
        assert_eq!(fs::read_dir(attempts).map_or(0, Iterator::count), 0, "after {step}");
    });
    assert!(steps > 4, "there are fewer steps than expected: {steps}");
}
