//! Copy and verification when calls of either side's store go wrong: every call once with every
//! trouble, and many at random. Whatever happens, success is said only of an equal target, the
//! source stays as it was, and going on without faults ends well.

use crate::files::Entries;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::sync::Arc;
use std::time::Duration;
use transload_engine::{
    ChunkLog, CopyJob, Error, Kind, Limits, MemoryLog, Result, VerifyJob, Watch, aligned_ranges,
    copy_database, verify_database,
};
use transload_model::layout::RawLayout;
use transload_model::record::TableName;
use transload_store::layers::{Call, Fault, Schedule, Trouble};
use transload_store::memory::MemoryStore;
use transload_store::{KeyRange, Kind as StoreKind, Scan, Snapshot, Store};

/// One worker, so that the number of a call says which one it is.
const LIMITS: Limits = Limits {
    memory_bytes_max: 1 << 20,
    chunk_bytes: 64 << 10,
    workers: 1,
    batch_bytes_max: 4096,
    ..Limits::DEFAULT
};

const TROUBLES: [Trouble; 7] = [
    Trouble::Fails(StoreKind::Io),
    Trouble::Fails(StoreKind::NoSpace),
    Trouble::Fails(StoreKind::Corrupt),
    Trouble::FailsAfterwards(StoreKind::HelperLost),
    Trouble::Forgets,
    Trouble::FlipsBit,
    Trouble::EndsEarly,
];

fn content() -> Entries {
    (0..240u32).map(|n| (format!("k{n:04}").into_bytes(), vec![n.to_le_bytes()[0]; 900])).collect()
}

fn entries(store: &dyn Store) -> Entries {
    let mut scan = Scan::new(&*store.snapshot().unwrap(), &KeyRange::all()).unwrap();
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next().unwrap() {
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries
}

/// A migration of one database: what is durable, and what is known about it.
struct World {
    source: MemoryStore,
    target: MemoryStore,
    layout: RawLayout,
    ranges: Vec<KeyRange>,
    log: MemoryLog,
}

/// How a run ended, and what its two sides went through.
struct Run {
    ended: Result<()>,
    source_calls: u64,
    target_calls: u64,
    suffered: u64,
}

impl World {
    fn new() -> Self {
        let source = MemoryStore::with(content());
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let ranges =
            aligned_ranges(&*source.snapshot().unwrap(), &layout, LIMITS.chunk_bytes).unwrap();
        assert!(ranges.len() > 2);
        Self { source, target: MemoryStore::new(), layout, ranges, log: MemoryLog::default() }
    }

    /// Copies and verifies what isn't yet.
    fn run(&self, source: Arc<dyn Schedule>, target: Arc<dyn Schedule>) -> Run {
        let source = Fault::new(Box::new(self.source.clone()), source);
        let target = Fault::new(Box::new(self.target.clone()), target);
        let ended = self.copy(&source, &target).and_then(|()| self.verify(&source, &target));
        Run {
            ended,
            source_calls: source.calls(),
            target_calls: target.calls(),
            suffered: source.suffered() + target.suffered(),
        }
    }

    fn copy(&self, source: &Fault, target: &Fault) -> Result<()> {
        let job = CopyJob {
            database: "a.db",
            source: &*view(source)?,
            layout: &self.layout,
            target,
            ranges: &self.ranges,
            rule: None,
            made_by: &[],
            tally: true,
            limits: LIMITS,
        };
        copy_database(job, &self.log, &Watch::default()).map(drop)
    }

    fn verify(&self, source: &Fault, target: &Fault) -> Result<()> {
        let job = VerifyJob {
            database: "a.db",
            source: &*view(source)?,
            target: &*view(target)?,
            layout: &self.layout,
            made_by: &[],
            ranges: &self.ranges,
            limits: LIMITS,
        };
        verify_database(job, &self.log, &Watch::default()).map(drop)
    }

    /// What must hold after any run.
    fn check(&self, run: &Run, what: &str) {
        assert_eq!(entries(&self.source), content(), "{what}: the source has changed");
        match &run.ended {
            Ok(()) => assert_eq!(entries(&self.target), content(), "{what}: a false success"),
            Err(error) => {
                assert!(run.suffered > 0, "{what}: {error}");
                assert!(
                    matches!(error.kind(), Kind::Stopped | Kind::Difference),
                    "{what}: {error}"
                );
            }
        }
    }

    /// Goes on without faults. A run that finds a difference drops the chunk that has it, and the
    /// next run copies that one again.
    fn goes_on_well(&self, what: &str) {
        for _ in 0..=self.ranges.len() {
            let Err(error) = self.run(quiet(), quiet()).ended else {
                assert_eq!(entries(&self.target), content(), "{what}");
                return;
            };
            assert_eq!(error.kind(), Kind::Difference, "{what}: {error}");
            let mut chunks = 0..self.ranges.len() as u64;
            let dropped = chunks.any(|chunk| self.log.copied("a.db", chunk).unwrap().is_none());
            assert!(dropped, "{what}: a difference leaves its chunk in doubt: {error}");
        }
        panic!("{what}: as many runs as chunks didn't mend it");
    }
}

fn view(store: &Fault) -> Result<Arc<dyn Snapshot>> {
    store
        .snapshot()
        .map_err(|error| Error::new(Kind::Stopped, "look at the store", error.to_string()))
}

fn quiet() -> Arc<dyn Schedule> {
    Arc::new(|_: Call, _: u64| None)
}

fn at(wanted: u64, trouble: Trouble) -> Arc<dyn Schedule> {
    Arc::new(move |_: Call, number: u64| (number == wanted).then_some(trouble))
}

#[test]
fn each_call_of_each_side_that_goes_wrong_once_ends_in_an_error_or_an_equal_target() {
    // F1
    let calm = World::new().run(quiet(), quiet());
    assert!(calm.ended.is_ok());
    let mut suffered = 0;
    for (side, calls) in [("source", calm.source_calls), ("target", calm.target_calls)] {
        for number in 0..calls {
            for trouble in TROUBLES {
                let what = format!("{trouble:?} at call {number} of the {side}");
                let world = World::new();
                let run = match side {
                    "source" => world.run(at(number, trouble), quiet()),
                    _ => world.run(quiet(), at(number, trouble)),
                };
                suffered += run.suffered;
                world.check(&run, &what);
                world.goes_on_well(&what);
            }
        }
    }
    assert!(suffered > calm.source_calls + calm.target_calls, "{suffered} troubles struck");
}

#[test]
fn a_store_that_always_fails_for_now_is_not_tried_for_ever() {
    for call in [Call::Next, Call::Put, Call::Commit, Call::Chunk, Call::Cursor] {
        let fails: Arc<dyn Schedule> = Arc::new(move |at: Call, _: u64| {
            (at == call).then_some(Trouble::FailsForNow(StoreKind::Io))
        });
        for (source, target) in [(fails.clone(), quiet()), (quiet(), fails)] {
            let world = World::new();
            let run = world.run(source, target);
            world.check(&run, &format!("{call:?}"));
            assert!(run.suffered <= 3 * world.ranges.len() as u64, "{} tries", run.suffered);
            world.goes_on_well(&format!("{call:?}"));
        }
    }
}

#[test]
fn a_fault_that_passes_is_retried_and_the_migration_succeeds() {
    for number in [1, 2, 3, 50, 100] {
        let world = World::new();
        let run = world.run(quiet(), at(number, Trouble::FailsForNow(StoreKind::HelperLost)));
        assert_eq!(run.suffered, 1);
        world.check(&run, "a passing fault");
        if number > 1 {
            assert!(run.ended.is_ok(), "call {number}: {}", run.ended.unwrap_err());
        }
    }
}

#[test]
fn any_number_of_faults_on_both_sides_never_ends_in_a_false_success() {
    let cases = std::env::var("TRANSLOAD_FAULT_RUNS").ok().and_then(|runs| runs.parse().ok());
    let mut runner = TestRunner::new(Config { cases: cases.unwrap_or(400), ..Config::default() });
    runner
        .run(&(0..u64::MAX, 5..600u64), |(seed, one_in)| {
            let world = World::new();
            let run = world.run(random(seed, one_in), random(seed ^ 1, one_in));
            let what = format!("seed {seed}, one in {one_in}");
            world.check(&run, &what);
            world.goes_on_well(&what);
            Ok::<(), TestCaseError>(())
        })
        .unwrap();
}

/// Troubles at random, the same for the same seed.
fn random(seed: u64, one_in: u64) -> Arc<dyn Schedule> {
    Arc::new(move |call: Call, number: u64| {
        let mut hasher = std::hash::DefaultHasher::new();
        std::hash::Hash::hash(&(seed, call as u8, number), &mut hasher);
        let dice = std::hash::Hasher::finish(&hasher);
        let extra = [Trouble::Skips, Trouble::Delays(Duration::from_micros(1))];
        let pick = usize::try_from(dice >> 32).unwrap() % (TROUBLES.len() + extra.len());
        dice.is_multiple_of(one_in).then(|| *TROUBLES.iter().chain(&extra).nth(pick).unwrap())
    })
}
