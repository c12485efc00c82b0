//! Transforms of a whole migration: another version doesn't go on, one that flips a coin is found,
//! and what is under a certificate isn't touched. Nothing is swapped then.

use crate::chain::{TestProfile, tree};
use crate::run::Bench;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_engine::phase::{Phase, State};
use transload_engine::{
    ChunkLog as _, Kind, Migration, Plan, PlanRequest, PlannedTrim, Result, Watch, World, make_plan,
};
use transload_model::layout::Layout;
use transload_model::report::Verdict;
use transload_store::{
    ChainFacts, ConfigEdit, Database, DatabaseTrim, Home, HomeView, Judged, Profile, Snapshot,
    SwapChange, Transform, Trim, TrimRule, TrimWish, VerifyOptions, WayBack,
};

/// What is done to which database.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Every other record of the state is left out.
    Halves,
    /// A record of the state is left out or not, as the coin falls.
    FlipsACoin,
    /// A signed block gets another value.
    TouchesBlocks,
    /// A record of the state gets one byte more each time.
    GrowsWithoutEnd,
}

/// How often the coin was tossed, by any rule: another series of tosses each time.
static TOSSED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Rule {
    way: Way,
}

impl Trim for Rule {
    fn judge(&self, key: &[u8], value: &[u8]) -> Judged {
        let left_out = |is_so: bool| {
            if is_so { Judged::LeftOut { table: 0, height: None } } else { Judged::Kept }
        };
        match self.way {
            Way::Halves => left_out(key.last().is_some_and(|last| last % 2 == 1)),
            Way::FlipsACoin => {
                let tossed = TOSSED.fetch_add(1, Ordering::Relaxed);
                left_out(tossed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1)
            }
            Way::TouchesBlocks | Way::GrowsWithoutEnd => Judged::Becomes([value, b"!"].concat()),
        }
    }
}

/// The test's profile with something to leave out.
struct Transforming {
    way: Way,
    version: u32,
}

impl Profile for Transforming {
    fn id(&self) -> &'static str {
        TestProfile.id()
    }

    fn recognise(&self, root: &Path) -> transload_store::Result<Option<Home>> {
        TestProfile.recognise(root)
    }

    fn layout(
        &self,
        home: &Home,
        database: &Database,
        snapshot: &dyn Snapshot,
    ) -> transload_store::Result<Box<dyn Layout>> {
        TestProfile.layout(home, database, snapshot)
    }

    fn trims(
        &self,
        _view: HomeView<'_>,
        _wish: &TrimWish,
    ) -> transload_store::Result<Vec<DatabaseTrim>> {
        let database = match self.way {
            Way::TouchesBlocks => "blocks.db",
            _ => "state.db",
        };
        Ok(vec![DatabaseTrim {
            database: database.into(),
            rule: TrimRule::Entries(Arc::new(Rule { way: self.way })),
            transform: Transform {
                id: "less",
                version: self.version,
                from: "test".into(),
                to: "test, less".into(),
                way_back: WayBack::OneWay("what is gone is gone".into()),
            },
            asked: "--less".into(),
            becomes: BTreeMap::new(),
            kept_share: None,
            notes: Vec::new(),
        }])
    }

    fn facts(&self, view: HomeView<'_>) -> transload_store::Result<ChainFacts> {
        TestProfile.facts(view)
    }

    fn verify(
        &self,
        view: HomeView<'_>,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> transload_store::Result<Verdict> {
        TestProfile.verify(view, options, progress)
    }

    fn config_edits(
        &self,
        home: &Home,
        change: &SwapChange<'_>,
    ) -> transload_store::Result<Vec<ConfigEdit>> {
        TestProfile.config_edits(home, change)
    }
}

impl Transforming {
    fn plan(&self, bench: &Bench) -> Result<Plan> {
        let trim = PlannedTrim { drop: vec!["some".into()], ..PlannedTrim::default() };
        let request = PlanRequest { trim: Some(trim), ..bench.request() };
        make_plan(&request, &[self as &dyn Profile], &bench.engines, &bench.watch)
    }

    fn open<T>(
        &self,
        bench: &Bench,
        watch: &Watch,
        work: impl FnOnce(&mut Migration<'_>) -> T,
    ) -> T {
        let profiles: [&dyn Profile; 1] = [self];
        let world = World { profiles: &profiles, engines: &bench.engines, swapper: &bench.swapper };
        work(&mut Migration::open(&bench.home(), world, watch).unwrap())
    }
}

#[test]
fn the_plan_names_the_transform_with_consent_and_the_journal_has_it_for_each_chunk() {
    let bench = Bench::new();
    let first = Transforming { way: Way::Halves, version: 1 };
    let plan = first.plan(&bench).unwrap();
    let state = plan.databases.iter().find(|one| one.name == "state.db").unwrap();
    assert_eq!(state.transforms[0].consent.as_deref(), Some("asked for with --less"));
    let of_version_2 = Transforming { version: 2, ..first }.plan(&bench).unwrap();
    assert_ne!(plan.digest().unwrap(), of_version_2.digest().unwrap());
    let first = Transforming { way: Way::Halves, version: 1 };
    first.open(&bench, &bench.watch, |migration| {
        migration.accept(plan).unwrap();
        migration.run_to_ready().unwrap();
        let log = migration.journal().chunks_of(1);
        let mut entries = 0;
        for chunk in 0.. {
            let Some(copied) = log.copied("state.db", chunk).unwrap() else { break };
            let made = copied.made.unwrap();
            assert_eq!(made.by, ["less 1"]);
            entries += made.entries;
        }
        assert_eq!(entries, 200, "every other one of 400");
        assert_eq!(log.copied("blocks.db", 0).unwrap().unwrap().made, None);
        migration.cut_over("the test").unwrap();
    });
}

#[test]
fn another_version_of_a_transform_goes_on_with_nothing_and_may_only_go_back() {
    let bench = Bench::new();
    let before = tree(&bench.home());
    let [first, second] = [1, 2].map(|version| Transforming { way: Way::Halves, version });
    let cancel = bench.watch.cancel.clone();
    let hook = move |step: &str| {
        if step == "copy: chunk recorded" {
            cancel.ask();
        }
    };
    let stops = Watch { hook: Arc::new(hook), ..bench.watch.clone() };
    let plan = first.plan(&bench).unwrap();
    first.open(&bench, &stops, |migration| {
        migration.accept(plan).unwrap();
        assert_eq!(migration.run_to_ready().unwrap_err().kind(), Kind::Stopped);
    });
    let refused = |work: &dyn Fn(&mut Migration<'_>) -> Result<()>| {
        let error = second.open(&bench, &Watch::default(), work).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        let text = error.to_string();
        assert!(text.contains("transform less in version 2"), "{text}");
        assert!(text.contains("made with version 1"), "{text}");
        assert!(tree(&bench.home()) == before, "the home was changed");
    };
    refused(&|migration| migration.run_to_ready());
    first.open(&bench, &Watch::default(), |migration| migration.run_to_ready().unwrap());
    refused(&|migration| migration.cut_over("the test"));
    second.open(&bench, &Watch::default(), |migration| {
        assert_eq!(migration.state().unwrap(), State::In(Phase::ReadyToCutOver));
        migration.roll_back("the test").unwrap();
    });
    assert!(tree(&bench.home()) == before, "the home was changed");
}

#[test]
fn a_plan_of_before_transforms_had_names_is_read_and_a_new_one_goes_on() {
    let bench = Bench::new();
    let before = tree(&bench.home());
    let halves = Transforming { way: Way::Halves, version: 1 };
    let mut plan = halves.plan(&bench).unwrap();
    for database in &mut plan.databases {
        database.transforms.clear();
    }
    assert_eq!(Plan::parse(&plan.text().unwrap()).unwrap(), plan);
    halves.open(&bench, &bench.watch, |migration| {
        migration.accept(plan).unwrap();
        let error = migration.run_to_ready().unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains("doesn't name transform less 1"), "{error}");
        assert_eq!(migration.state().unwrap(), State::In(Phase::Planned), "nothing was begun");
    });
    assert!(tree(&bench.home()) == before, "the home was changed");
    let plan = halves.plan(&bench).unwrap();
    halves.open(&bench, &bench.watch, |migration| {
        migration.accept(plan).unwrap();
        migration.run_to_ready().unwrap();
    });
}

#[test]
fn a_transform_that_flips_a_coin_is_found_before_anything_is_swapped() {
    let bench = Bench::new();
    let before = tree(&bench.home());
    let coin = Transforming { way: Way::FlipsACoin, version: 1 };
    let plan = coin.plan(&bench).unwrap();
    coin.open(&bench, &bench.watch, |migration| {
        migration.accept(plan).unwrap();
        let error = migration.run_to_ready().unwrap_err();
        assert_eq!(error.kind(), Kind::Difference, "{error}");
        let text = error.to_string();
        assert!(text.contains("less 1") && text.contains("isn't deterministic"), "{text}");
        assert!(migration.cut_over("the test").is_err());
        assert_eq!(migration.state().unwrap(), State::Halted(Phase::Planned));
    });
    assert!(tree(&bench.home()) == before, "the home was changed");
}

#[test]
fn a_transform_of_a_value_under_a_certificate_is_refused_when_the_plan_is_made() {
    let bench = Bench::new();
    let error = Transforming { way: Way::TouchesBlocks, version: 1 }.plan(&bench).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    let text = error.to_string();
    assert!(text.contains("under a certificate") && text.contains("blocks"), "{text}");
}

#[test]
fn a_transform_that_makes_more_of_what_it_has_made_is_refused() {
    let bench = Bench::new();
    let before = tree(&bench.home());
    let grows = Transforming { way: Way::GrowsWithoutEnd, version: 1 };
    let plan = grows.plan(&bench).unwrap();
    grows.open(&bench, &bench.watch, |migration| {
        migration.accept(plan).unwrap();
        let error = migration.run_to_ready().unwrap_err();
        assert_eq!(error.kind(), Kind::Difference, "{error}");
        assert!(error.to_string().contains("something else of what it has made"), "{error}");
    });
    assert!(tree(&bench.home()) == before, "the home was changed");
}
