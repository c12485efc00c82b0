//! Whole migrations of small homes, through every phase and every way out of it.

use crate::chain::{TestProfile, block, blocks, config, tree, write_home};
use crate::files::{Entries, FileEngines, read_database, write_database};
use crate::plain_swap::PlainSwapper;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_engine::phase::{Phase, State};
use transload_engine::{
    Error, Invariant, Kind, Limits, Migration, Outcome, Plan, PlanRequest, Result, Watch, World,
    make_plan, plan_path, read_status,
};
use transload_model::engine::Engine;
use transload_store::{Holder, Profile};

const HEIGHTS: u64 = 3_000;

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) engines: FileEngines,
    pub(crate) swapper: PlainSwapper,
    pub(crate) watch: Watch,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self {
            folder,
            engines: FileEngines::new(),
            swapper: PlainSwapper::default(),
            watch: Watch::default(),
        };
        write_home(&this.home(), Engine::Goleveldb, HEIGHTS);
        this
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("node")
    }

    fn database(&self, name: &str) -> PathBuf {
        self.home().join("data").join(name)
    }

    pub(crate) fn request(&self) -> PlanRequest {
        let limits = Limits {
            memory_bytes_max: 8 << 20,
            chunk_bytes: 64 << 10,
            workers: 2,
            batch_bytes_max: 8 << 10,
            ..Limits::DEFAULT
        };
        PlanRequest { limits, ..PlanRequest::new(self.home(), Engine::Pebble2) }
    }

    pub(crate) fn plan(&self, request: &PlanRequest) -> Result<Plan> {
        make_plan(request, &[&TestProfile as &dyn Profile], &self.engines, &self.watch)
    }

    pub(crate) fn open<T>(&self, work: impl FnOnce(&mut Migration<'_>) -> T) -> Result<T> {
        let profiles: [&dyn Profile; 1] = [&TestProfile];
        let world = World { profiles: &profiles, engines: &self.engines, swapper: &self.swapper };
        let mut migration = Migration::open(&self.home(), world, &self.watch)?;
        Ok(work(&mut migration))
    }

    fn accept(&self, request: &PlanRequest) {
        let plan = self.plan(request).unwrap();
        self.open(|migration| migration.accept(plan)).unwrap().unwrap();
    }

    fn state(&self) -> State {
        self.open(|migration| migration.state()).unwrap().unwrap()
    }

    /// Plan, run and swap.
    pub(crate) fn migrate(&self) -> Result<()> {
        let plan = self.plan(&self.request())?;
        self.open(|migration| {
            migration.accept(plan)?;
            migration.run_to_ready()?;
            migration.cut_over("the test")
        })?
    }
}

fn stands_on_the_target(bench: &Bench) {
    assert_eq!(read_database(&bench.database("blocks.db")).unwrap(), blocks(HEIGHTS));
    for name in ["blocks.db", "state.db"] {
        let engine = fs::read_to_string(bench.database(name).join("ENGINE")).unwrap();
        assert_eq!(engine, "pebble2");
    }
    let engine = fs::read_to_string(bench.database("local.db").join("ENGINE")).unwrap();
    assert_eq!(engine, "lmdb", "what no key governs stays");
    assert_eq!(
        fs::read_to_string(bench.home().join("config/node.toml")).unwrap(),
        config("pebble2")
    );
}

#[test]
fn a_home_goes_to_the_target_whole_and_soaks() {
    let bench = Bench::new();
    bench.migrate().unwrap();
    stands_on_the_target(&bench);
    assert_eq!(bench.state(), State::In(Phase::Soaking));
    let report = bench.open(|migration| migration.report()).unwrap().unwrap().unwrap();
    assert_eq!(report.records, HEIGHTS + 400, "what stays where it was is not counted");
    assert_eq!(report.reach.authenticated, ["blocks"]);
    assert_eq!(report.reach.compared_only, ["state"]);
    assert_eq!(report.verdict.limits, ["nothing covers state"]);
    assert!(report.phases.iter().any(|time| time.phase == "copying"));
}

#[test]
fn the_plan_says_disk_and_time_and_the_report_what_they_came_to() {
    // F20
    let bench = Bench::new();
    let plan = bench.plan(&bench.request()).unwrap();
    let estimate = plan.estimate.clone();
    assert!(estimate.staging_bytes_needed > 0 && estimate.copy_seconds > 0);
    bench.migrate().unwrap();
    let report = bench.open(|migration| migration.report()).unwrap().unwrap().unwrap();
    assert_eq!(report.estimate.source_bytes_on_disk, estimate.source_bytes_on_disk);
    assert!(report.estimate.staging_bytes_needed > 0 && report.bytes_copied > 0);
    for phase in ["copying", "verifying"] {
        assert!(report.phases.iter().any(|time| time.phase == phase), "{:?}", report.phases);
    }
}

#[test]
fn nothing_of_the_source_changes_before_the_swap() {
    let bench = Bench::new();
    let before = tree(&bench.home());
    let plan = bench.plan(&bench.request()).unwrap();
    assert!(tree(&bench.home()) == before, "the plan leaves the source alone");
    bench
        .open(|migration| {
            migration.accept(plan).unwrap();
            migration.run_to_ready().unwrap();
        })
        .unwrap();
    assert!(tree(&bench.home()) == before, "copy and verification leave the source alone");
}

#[test]
fn going_back_returns_the_home_to_what_it_was() {
    let bench = Bench::new();
    let content = |bench: &Bench| -> Vec<(PathBuf, Vec<u8>)> {
        tree(&bench.home()).into_iter().map(|(path, (bytes, _))| (path, bytes)).collect()
    };
    let before = content(&bench);
    bench.migrate().unwrap();
    bench.open(|migration| migration.roll_back("the test")).unwrap().unwrap();
    assert_eq!(content(&bench), before);
    assert_eq!(bench.state(), State::In(Phase::RolledBack));
    // And forth again, with an attempt of its own.
    bench.migrate().unwrap();
    stands_on_the_target(&bench);
    let attempt = bench.open(|migration| migration.journal().attempt()).unwrap().unwrap();
    assert_eq!(attempt, 2);
}

#[test]
fn a_rollback_before_any_swap_ends_the_attempt() {
    let bench = Bench::new();
    bench.accept(&bench.request());
    bench
        .open(|migration| {
            migration.run_to_ready().unwrap();
            migration.roll_back("the test").unwrap();
            assert_eq!(migration.state().unwrap(), State::In(Phase::RolledBack));
        })
        .unwrap();
}

#[test]
fn finalize_frees_the_old_copy_and_nothing_before_it_does() {
    // F3
    let bench = Bench::new();
    bench.migrate().unwrap();
    let kept = bench.home().join(".transload/attempts/0001/kept/blocks.db");
    assert_eq!(read_database(&kept).unwrap(), blocks(HEIGHTS));
    bench.open(|migration| migration.finalize("the test")).unwrap().unwrap();
    assert!(!kept.exists());
    stands_on_the_target(&bench);
    assert_eq!(bench.state(), State::In(Phase::Finalized));
    let again = bench.open(|migration| migration.finalize("the test")).unwrap().unwrap_err();
    assert_eq!(again.kind(), Kind::Refused);
}

fn replace_blocks(bench: &Bench, entries: &Entries) {
    fs::remove_dir_all(bench.database("blocks.db")).unwrap();
    write_database(&bench.database("blocks.db"), Engine::Pebble2, entries);
}

#[test]
fn finalize_frees_nothing_while_the_new_databases_are_not_in_order() {
    type Spoil = fn(&Bench);
    let spoils: [(&str, Spoil); 3] = [
        ("b/00000700", |bench| {
            let mut forged = blocks(HEIGHTS);
            forged.get_mut(b"b/00000700".as_slice()).unwrap()[3] ^= 1;
            replace_blocks(bench, &forged);
        }),
        ("fewer blocks", |bench| replace_blocks(bench, &blocks(HEIGHTS - 1))),
        // No check of the chain looks at this database: only reading it through finds it out.
        ("state.db", |bench| {
            let folder = bench.database("state.db");
            let mut runs: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            runs.sort();
            let run = runs.iter().find(|run| run.extension().is_some()).unwrap();
            let bytes = fs::read(run).unwrap();
            fs::write(run, &bytes[..bytes.len() - 7]).unwrap();
        }),
    ];
    for (words, spoil) in spoils {
        let bench = Bench::new();
        bench.migrate().unwrap();
        let kept = bench.home().join(".transload/attempts/0001/kept/blocks.db");
        spoil(&bench);
        let finalize =
            || bench.open(|migration| migration.finalize("the test")).unwrap().unwrap_err();
        let error = finalize();
        assert_eq!(error.kind(), Kind::Difference, "{words}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(bench.state(), State::Halted(Phase::Soaking), "{words}");
        assert_eq!(finalize().kind(), Kind::Refused, "{words}: a person has to look first");
        bench.open(|migration| migration.resume()).unwrap().unwrap();
        assert_eq!(finalize().kind(), Kind::Difference, "{words}");
        assert_eq!(read_database(&kept).unwrap(), blocks(HEIGHTS), "{words}");
        bench.open(|migration| migration.roll_back("the test")).unwrap().unwrap();
        assert_eq!(read_database(&bench.database("blocks.db")).unwrap(), blocks(HEIGHTS));
    }
}

#[test]
fn a_source_that_changes_after_the_copy_is_copied_again_before_the_swap() {
    // F26
    let bench = Bench::new();
    bench.accept(&bench.request());
    bench.open(|migration| migration.run_to_ready()).unwrap().unwrap();
    let (key, value) = block(HEIGHTS + 1);
    let mut grown = blocks(HEIGHTS);
    grown.insert(key, value);
    write_database(&bench.database("blocks.db"), Engine::Goleveldb, &grown);
    let error = bench.open(|migration| migration.cut_over("the test")).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped, "{error}");
    bench
        .open(|migration| {
            migration.resume().unwrap();
            migration.cut_over("the test").unwrap();
        })
        .unwrap();
    assert_eq!(read_database(&bench.database("blocks.db")).unwrap(), grown);
}

#[test]
fn a_target_that_somebody_touched_after_the_verification_is_not_swapped_in() {
    let bench = Bench::new();
    bench.accept(&bench.request());
    bench.open(|migration| migration.run_to_ready()).unwrap().unwrap();
    let target = bench.home().join(".transload/attempts/0001/targets/blocks.db/ENGINE");
    fs::write(target, "pebble2\n").unwrap();
    let error = bench.open(|migration| migration.cut_over("the test")).unwrap().unwrap_err();
    assert!(error.to_string().contains("somebody has touched it"), "{error}");
    let engine = fs::read_to_string(bench.database("blocks.db").join("ENGINE")).unwrap();
    assert_eq!(engine, "goleveldb");
}

#[test]
fn a_block_that_does_not_have_its_hash_is_named_and_never_swapped_in() {
    let bench = Bench::new();
    let mut forged = blocks(HEIGHTS);
    forged.get_mut(b"b/00001234".as_slice()).unwrap()[3] ^= 1;
    write_database(&bench.database("blocks.db"), Engine::Goleveldb, &forged);
    let error = bench.migrate().unwrap_err();
    assert_eq!(error.kind(), Kind::Difference);
    assert!(error.to_string().contains("b/00001234"), "{error}");
    assert_eq!(bench.state(), State::Halted(Phase::Planned));
}

#[test]
fn a_truncated_source_is_a_difference_and_no_smaller_database() {
    let bench = Bench::new();
    let file = bench.database("blocks.db").join("000001.run");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    assert_eq!(bench.migrate().unwrap_err().kind(), Kind::Difference);
}

#[test]
fn a_target_damaged_on_disk_after_the_copy_is_found_and_replaced_by_a_new_attempt() {
    // F4, F14
    let bench = Bench::new();
    bench.accept(&bench.request());
    let damage = || {
        let folder = bench.home().join(".transload/attempts/0001/targets/state.db");
        let mut runs: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        let run = runs.iter().find(|run| run.extension().is_some()).unwrap();
        let mut bytes = fs::read(run).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(run, bytes).unwrap();
    };
    let profiles: [&dyn Profile; 1] = [&TestProfile];
    let world = World { profiles: &profiles, engines: &bench.engines, swapper: &bench.swapper };
    // Both targets get built, then one is damaged before it is read back.
    let stop = Watch::default();
    let cancel = stop.cancel.clone();
    let stop = Watch {
        hook: Arc::new(move |step| {
            if step.starts_with("journal: closed/1/state.db") {
                cancel.ask();
            }
        }),
        ..stop
    };
    {
        let mut migration = Migration::open(&bench.home(), world, &stop).unwrap();
        assert_eq!(migration.run_to_ready().unwrap_err().kind(), Kind::Stopped);
        assert_eq!(migration.state().unwrap(), State::Halted(Phase::Verifying));
    }
    damage();
    let error = bench.open(|migration| migration.resume()).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Difference, "{error}");
    assert!(error.to_string().contains("the values differ"), "{error}");
    bench
        .open(|migration| {
            migration.resume().unwrap();
            migration.cut_over("the test").unwrap();
            assert_eq!(migration.journal().attempt().unwrap(), 2);
        })
        .unwrap();
    stands_on_the_target(&bench);
}

#[test]
fn a_halt_stops_the_copy_and_resume_does_not_redo_finished_chunks() {
    // F8
    let bench = Bench::new();
    bench.accept(&bench.request());
    let profiles: [&dyn Profile; 1] = [&TestProfile];
    let world = World { profiles: &profiles, engines: &bench.engines, swapper: &bench.swapper };
    let count = |copies: &Arc<AtomicU64>, cancel_at: u64| {
        let watch = Watch::default();
        let (copies, cancel) = (Arc::clone(copies), watch.cancel.clone());
        let hook = move |step: &str| {
            if step == "copy: chunk recorded"
                && copies.fetch_add(1, Ordering::SeqCst) + 1 == cancel_at
            {
                cancel.ask();
            }
        };
        Watch { hook: Arc::new(hook), ..watch }
    };
    let copies = Arc::new(AtomicU64::new(0));
    {
        let watch = count(&copies, 3);
        let mut migration = Migration::open(&bench.home(), world, &watch).unwrap();
        let error = migration.run_to_ready().unwrap_err();
        assert_eq!(error.kind(), Kind::Stopped);
        assert_eq!(migration.state().unwrap(), State::Halted(Phase::Copying));
    }
    let status = read_status(&bench.home().join(".transload")).unwrap();
    assert!(status.halted && status.error.is_some());
    let before = copies.load(Ordering::SeqCst);
    let map = &status.databases[0];
    assert_eq!(map.map.matches(['d', 'h']).count() as u64, before, "{}", map.map);
    let watch = count(&copies, u64::MAX);
    let mut migration = Migration::open(&bench.home(), world, &watch).unwrap();
    migration.resume().unwrap();
    let chunks: u64 =
        migration.report().unwrap().unwrap().databases.iter().map(|database| database.chunks).sum();
    assert_eq!(copies.load(Ordering::SeqCst), chunks, "every chunk was copied once");
}

#[test]
fn a_full_disk_halts_and_the_rest_follows_when_there_is_room() {
    // F18
    let bench = Bench::new();
    bench.accept(&bench.request());
    bench.engines.faults.target_put.light(1_500);
    let error = bench.open(|migration| migration.run_to_ready()).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped);
    assert_eq!(bench.state(), State::Halted(Phase::Copying));
    bench
        .open(|migration| {
            migration.resume().unwrap();
            migration.cut_over("the test").unwrap();
        })
        .unwrap();
    stands_on_the_target(&bench);
}

#[test]
fn a_swap_that_fails_midway_is_resumed_or_undone() {
    for undo in [false, true] {
        let bench = Bench::new();
        *bench.swapper.fail_before.lock().unwrap() = Some("state.db".into());
        let error = bench.migrate().unwrap_err();
        assert_eq!(error.kind(), Kind::Stopped, "{error}");
        assert_eq!(bench.state(), State::Halted(Phase::CuttingOver));
        if undo {
            bench.open(|migration| migration.roll_back("the test")).unwrap().unwrap();
            assert_eq!(bench.state(), State::In(Phase::RolledBack));
            let engine = fs::read_to_string(bench.database("blocks.db").join("ENGINE")).unwrap();
            assert_eq!(engine, "goleveldb");
        } else {
            bench.open(|migration| migration.resume()).unwrap().unwrap();
            assert_eq!(bench.state(), State::In(Phase::Soaking));
            stands_on_the_target(&bench);
        }
    }
}

#[test]
fn an_outcome_that_is_not_recognised_calls_a_person_and_is_never_retried() {
    // F16
    let bench = Bench::new();
    bench.accept(&bench.request());
    bench.open(|migration| migration.run_to_ready()).unwrap().unwrap();
    *bench.swapper.say_unknown.lock().unwrap() = Some("a strange file".into());
    let error = bench.open(|migration| migration.cut_over("the test")).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
    assert_eq!(bench.state(), State::Halted(Phase::CuttingOver));
    let error = bench.open(|migration| migration.resume()).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
}

#[test]
fn a_fence_that_forbids_the_way_back_leaves_the_home_soaking() {
    let bench = Bench::new();
    bench.migrate().unwrap();
    *bench.swapper.forbid_back.lock().unwrap() = Some("the signer stands above".into());
    let error = bench.open(|migration| migration.roll_back("the test")).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(bench.state(), State::In(Phase::Soaking));
}

#[test]
fn an_application_that_stays_and_has_gone_on_with_the_blocks_is_no_way_back() {
    let bench = Bench::new();
    let plan = bench.plan(&bench.request()).unwrap();
    let stays = "local.db holds the application's state and stays";
    assert!(plan.home.notices.iter().any(|notice| notice.contains(stays)), "{plan:?}");
    bench.migrate().unwrap();
    let local = Entries::from([(b"l".to_vec(), b"2".to_vec())]);
    write_database(&bench.database("local.db"), Engine::Lmdb, &local);
    write_database(&bench.database("blocks.db"), Engine::Pebble2, &blocks(HEIGHTS + 1));
    let before = tree(&bench.home());
    let error = bench.open(|migration| migration.roll_back("the test")).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(error.to_string().contains("local.db"), "{error}");
    assert!(tree(&bench.home()) == before, "a refusal changes nothing");
    assert_eq!(bench.state(), State::In(Phase::Soaking));
    // Without new blocks it has gone nowhere, whoever touched it.
    write_database(&bench.database("blocks.db"), Engine::Pebble2, &blocks(HEIGHTS));
    bench.open(|migration| migration.roll_back("the test")).unwrap().unwrap();
}

#[test]
fn the_soak_looks_at_the_first_new_block() {
    let bench = Bench::new();
    bench.migrate().unwrap();
    let check = |bench: &Bench| bench.open(|migration| migration.check_soak()).unwrap();
    let quiet = check(&bench).unwrap();
    assert!(!quiet.has_proven_itself() && quiet.verdict.is_none());
    let mut grown = blocks(HEIGHTS + 1);
    write_database(&bench.database("blocks.db"), Engine::Pebble2, &grown);
    assert!(check(&bench).unwrap().has_proven_itself());
    grown.get_mut(format!("b/{:08}", HEIGHTS + 1).as_bytes()).unwrap()[0] ^= 1;
    write_database(&bench.database("blocks.db"), Engine::Pebble2, &grown);
    assert_eq!(check(&bench).unwrap_err().kind(), Kind::Difference);
    assert_eq!(bench.state(), State::Halted(Phase::Soaking));
}

#[test]
fn an_invariant_that_does_not_hold_refuses_or_halts() {
    let bench = Bench::new();
    let mut request = bench.request();
    request.invariants = vec![Invariant::HeightIs { height: HEIGHTS + 1 }];
    bench.accept(&request);
    let error = bench.open(|migration| migration.run_to_ready()).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "heights are known before anything is changed");
    assert_eq!(bench.state(), State::In(Phase::Planned));

    let table = transload_model::record::TableName::new("local").unwrap();
    request.invariants = vec![Invariant::RecordsAre { table, records: 2 }];
    bench.accept(&request);
    let error = bench.open(|migration| migration.run_to_ready()).unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::InvariantViolated, "{error}");
    assert_eq!(bench.state(), State::Halted(Phase::Verifying));
}

fn refused(bench: &Bench, error: &Error, words: &str) {
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    let attempts = bench.home().join(".transload/attempts");
    assert!(!attempts.exists(), "nothing was begun");
}

#[test]
fn what_can_be_refused_is_refused_before_anything_is_made() {
    type Spoil = fn(&Bench, &mut PlanRequest);
    let cases: [(&str, Spoil); 8] = [
        ("two engines have touched it", |bench, _| {
            fs::write(bench.database("state.db").join("ENGINE"), "pebble2 and goleveldb").unwrap();
        }),
        ("no engine's files", |bench, _| {
            fs::remove_file(bench.database("state.db").join("ENGINE")).unwrap();
        }),
        ("nothing is there", |bench, _| {
            fs::remove_dir_all(bench.database("state.db")).unwrap();
        }),
        ("doesn't register sqlite", |_, request| request.engine = Some(Engine::Sqlite)),
        ("garbage", |bench, _| {
            fs::write(bench.home().join("config/node.toml"), "\u{0}garbage").unwrap();
        }),
        ("no such database", |_, request| request.only = Some(vec!["other.db".into()])),
        ("no database of this home moves", |_, request| request.engine = Some(Engine::Goleveldb)),
        ("workers", |_, request| request.limits.workers = 0),
    ];
    for (words, spoil) in cases {
        let bench = Bench::new();
        let mut request = bench.request();
        spoil(&bench, &mut request);
        refused(&bench, &bench.plan(&request).unwrap_err(), words);
    }
}

#[test]
fn what_changed_since_the_plan_is_refused_by_preflight() {
    type Spoil = fn(&Bench);
    let cases: [(&str, Spoil); 5] = [
        ("held by process 4711 (noded)", |bench| {
            let holder = Holder { pid: 4711, command: "noded".into() };
            *bench.engines.holder.lock().unwrap() = Some(holder);
        }),
        ("the plan says goleveldb", |bench| {
            fs::write(bench.database("state.db").join("ENGINE"), "rocksdb").unwrap();
        }),
        ("db_backend says rocksdb", |bench| {
            fs::write(bench.home().join("config/node.toml"), config("rocksdb")).unwrap();
        }),
        ("the plan is not the one in the journal", |bench| {
            let path = plan_path(&bench.home().join(".transload"));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("workers = 2", "workers = 3")).unwrap();
        }),
        ("unknown field", |bench| {
            let path = plan_path(&bench.home().join(".transload"));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, format!("surprise = 1\n{text}")).unwrap();
        }),
    ];
    for (words, spoil) in cases {
        let bench = Bench::new();
        bench.accept(&bench.request());
        spoil(&bench);
        let result = bench.open(|migration| migration.run_to_ready());
        let error = result.and_then(|inner| inner).unwrap_err();
        refused(&bench, &error, words);
    }
}

#[test]
fn weaker_promises_and_a_full_target_folder_are_refused() {
    let bench = Bench::new();
    let request = PlanRequest { engine: Some(Engine::Redb), ..bench.request() };
    bench.accept(&request);
    let error = bench.open(|migration| migration.run_to_ready()).unwrap().unwrap_err();
    refused(&bench, &error, "promises less");

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "").unwrap();
    let target_dir = Some(folder.path().to_owned());
    bench.accept(&PlanRequest { target_dir, ..bench.request() });
    let error = bench.open(|migration| migration.run_to_ready()).unwrap().unwrap_err();
    refused(&bench, &error, "is not empty");
}

#[test]
fn too_little_space_is_refused_with_both_figures() {
    // F20
    let bench = Bench::new();
    let mut plan = bench.plan(&bench.request()).unwrap();
    plan.estimate.staging_bytes_needed = u64::MAX / 2;
    bench.open(|migration| migration.accept(plan)).unwrap().unwrap();
    let error = bench.open(|migration| migration.run_to_ready()).unwrap().unwrap_err();
    refused(&bench, &error, "bytes free");
}

#[test]
fn a_home_that_was_copied_with_its_journal_is_another_home() {
    let bench = Bench::new();
    bench.accept(&bench.request());
    let copy = bench.folder.path().canonicalize().unwrap().join("copy");
    let done = std::process::Command::new("cp").arg("-a").arg(bench.home()).arg(&copy).status();
    assert!(done.unwrap().success());
    let profiles: [&dyn Profile; 1] = [&TestProfile];
    let world = World { profiles: &profiles, engines: &bench.engines, swapper: &bench.swapper };
    let error = Migration::open(&copy, world, &bench.watch).err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("another home"), "{error}");
}

#[test]
fn a_folder_that_is_no_home_gets_no_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    let profiles: [&dyn Profile; 1] = [&TestProfile];
    let world = World { profiles: &profiles, engines: &bench.engines, swapper: &bench.swapper };
    for path in [
        folder.path().to_owned(),
        folder.path().join("missing"),
        bench.database("local.db").join("ENGINE"),
    ] {
        let error = Migration::open(&path, world, &bench.watch).err().unwrap();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn targets_built_in_another_folder_are_taken_in_and_verified_there() {
    let bench = Bench::new();
    let other = tempfile::tempdir().unwrap();
    let target_dir = Some(other.path().join("targets"));
    bench.accept(&PlanRequest { target_dir, ..bench.request() });
    bench
        .open(|migration| {
            migration.run_to_ready().unwrap();
            migration.cut_over("the test").unwrap();
        })
        .unwrap();
    stands_on_the_target(&bench);
    let left: Vec<_> = walk(other.path());
    assert_eq!(left, Vec::<PathBuf>::new());
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { todo.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn every_check_of_preflight_answers_on_a_good_home() {
    let bench = Bench::new();
    bench.accept(&bench.request());
    let report = bench.open(|migration| migration.preflight()).unwrap().unwrap();
    assert!(report.may_begin());
    let names: Vec<&str> = report.results.iter().map(|result| result.name.as_str()).collect();
    assert_eq!(names, transload_engine::check_names());
    let not_passed: Vec<_> =
        report.results.iter().filter(|result| result.outcome != Outcome::Passed).collect();
    assert!(not_passed.is_empty(), "{not_passed:?}");
}

#[test]
fn two_owners_at_once_are_refused() {
    let bench = Bench::new();
    let inner = bench.open(|_| bench.open(|_| ())).unwrap();
    assert_eq!(inner.unwrap_err().kind(), Kind::Refused);
}
