//! Limits on the pace of a migration: taken from the plan, changed while it runs, kept by later
//! runs, told in status and report.

use crate::chain::{TestProfile, write_home};
use crate::files::FileEngines;
use crate::run::Bench;
use std::path::Path;
use std::sync::{Arc, Mutex};
use transload_engine::phase::{Phase, State};
use transload_engine::{
    Answer, ConvertRequest, Kind, Limits, Migration, PaceChange, PlanRequest, Request, StatusPace,
    Watch, World, ask, convert, read_status, state_dir_of,
};
use transload_model::engine::Engine;
use transload_observe::{PaceLimits, WaitReason};
use transload_store::Profile;

/// The home's databases have about half a MiB, so that a migration takes some seconds. What passes
/// at once is more than what is saved up at this rate: there is a wait on the slowest machine.
const RATE: u64 = 512 << 10;

fn slow(request: PlanRequest) -> PlanRequest {
    let limits = Limits {
        chunk_bytes: 256 << 10,
        batch_bytes_max: 64 << 10,
        read_bytes_per_second_max: RATE,
        write_bytes_per_second_max: RATE,
        ..request.limits
    };
    PlanRequest { limits, ..request }
}

fn told(home: &Path, request: PaceChange) -> StatusPace {
    match ask(&state_dir_of(home), Request::Throttle(request)).unwrap() {
        Answer::Throttle(pace) => pace,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_limits_of_the_plan_are_kept_and_the_report_says_how_long_was_waited_for_them() {
    let bench = Bench::new();
    let plan = bench.plan(&slow(bench.request())).unwrap();
    let limits = plan.limits.pace();
    let report = bench
        .open(|migration| {
            migration.accept(plan).unwrap();
            assert_eq!(told(&bench.home(), PaceChange::default()).limits, limits);
            migration.run_to_ready().unwrap();
            migration.report().unwrap().unwrap()
        })
        .unwrap();
    let waited: Vec<WaitReason> = report.waits.iter().map(|time| time.reason).collect();
    assert_eq!(waited, [WaitReason::ReadLimit, WaitReason::WriteLimit]);
    assert!(report.waits.iter().all(|time| time.waited_millis > 0));
    let status = read_status(&state_dir_of(&bench.home())).unwrap();
    assert_eq!(status.pace.limits, limits);
}

#[test]
fn a_change_while_it_copies_holds_at_once_and_for_later_runs_and_not_for_another_plan() {
    let bench = Bench::new();
    let profiles: [&dyn Profile; 1] = [&TestProfile];
    let world = World { profiles: &profiles, engines: &bench.engines, swapper: &bench.swapper };
    let plan = bench.plan(&slow(bench.request())).unwrap();
    let planned = plan.limits.pace();
    bench.open(|migration| migration.accept(plan)).unwrap().unwrap();

    let change = PaceChange {
        write_bytes_per_second_max: Some(0),
        cpu_percent_max: Some(90),
        ..PaceChange::default()
    };
    let changed = PaceLimits { write_bytes_per_second_max: 0, cpu_percent_max: 90, ..planned };
    let answers: Arc<Mutex<Vec<StatusPace>>> = Arc::default();
    let stop = Watch::default();
    let (cancel, kept, home) = (stop.cancel.clone(), Arc::clone(&answers), bench.home());
    let hook = move |step: &str| {
        // The other worker may come here too; once is enough.
        if step == "copy: chunk recorded" && !cancel.is_asked() {
            kept.lock().unwrap().push(told(&home, change));
            cancel.ask();
        }
    };
    let stop = Watch { hook: Arc::new(hook), ..stop };
    {
        let mut migration = Migration::open(&bench.home(), world, &stop).unwrap();
        assert_eq!(migration.run_to_ready().unwrap_err().kind(), Kind::Stopped);
        assert_eq!(migration.state().unwrap(), State::Halted(Phase::Copying));
        assert_eq!(told(&bench.home(), PaceChange::default()).limits, changed);
    }
    assert!(answers.lock().unwrap().iter().all(|pace| pace.limits == changed));
    assert!(!answers.lock().unwrap().is_empty());

    bench
        .open(|migration| {
            assert_eq!(told(&bench.home(), PaceChange::default()).limits, changed);
            migration.resume().unwrap();
            migration.run_to_ready().unwrap();
            assert_eq!(migration.plan().unwrap().limits.pace(), planned, "the plan stays");
            migration.roll_back("the test").unwrap();
        })
        .unwrap();

    let plan = bench.plan(&bench.request()).unwrap();
    bench.open(|migration| migration.accept(plan)).unwrap().unwrap();
    bench
        .open(|_| {
            let limits = told(&bench.home(), PaceChange::default()).limits;
            assert_eq!(limits, PaceLimits::default());
        })
        .unwrap();
}

#[test]
fn a_change_that_makes_no_sense_or_comes_before_the_plan_changes_nothing() {
    let bench = Bench::new();
    bench
        .open(|migration| {
            let some = PaceChange { cpu_percent_max: Some(50), ..PaceChange::default() };
            let error = migration.change_pace(some).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.to_string().contains("no plan"), "{error}");
            let plan = bench.plan(&slow(bench.request())).unwrap();
            let planned = plan.limits.pace();
            migration.accept(plan).unwrap();
            let slow = PaceChange { read_bytes_per_second_max: Some(7), ..some };
            let asked = ask(&state_dir_of(&bench.home()), Request::Throttle(slow)).unwrap();
            assert!(matches!(asked, Answer::Refused { .. }), "{asked:?}");
            assert_eq!(told(&bench.home(), PaceChange::default()).limits, planned);
        })
        .unwrap();
}

#[test]
fn a_conversion_keeps_its_limits_and_says_how_long_was_waited() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("node");
    write_home(&home, Engine::Goleveldb, 3_000);
    let request = ConvertRequest {
        source: home.join("data/blocks.db"),
        source_space: None,
        engine: Engine::Sqlite,
        target: folder.path().join("target.db"),
        target_space: None,
        limits: Limits {
            chunk_bytes: 256 << 10,
            batch_bytes_max: 64 << 10,
            write_bytes_per_second_max: RATE,
            ..Limits::DEFAULT
        },
        accepted: Vec::new(),
        scratch_dir: None,
    };
    let conversion = convert(&request, &FileEngines::new(), &Watch::default()).unwrap();
    let reasons: Vec<WaitReason> = conversion.waits.iter().map(|time| time.reason).collect();
    assert_eq!(reasons, [WaitReason::WriteLimit]);
    let nonsense = Limits { cpu_percent_max: 900, ..request.limits };
    let request = ConvertRequest { limits: nonsense, ..request };
    let error = convert(&request, &FileEngines::new(), &Watch::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
}
