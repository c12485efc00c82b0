//! Kills at the durable steps of a change of layout: resumed it ends with the same root in the
//! new layout, rolled back with every byte in the old one. The key layouts of CometBFT go entry
//! by entry; an application's state goes as a whole, is made ready again after a kill, and has a
//! root for what it means, whose hash is the same on both sides.

use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::victim::Victim;
use crate::ways::Way;
use std::fs::File;
use std::path::PathBuf;
use transload_chains::iavl::logical::logical_root;
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::commitment::TableCommitment;
use transload_model::engine::Engine;
use transload_store::{Engines as _, SourceOptions};

/// A node of 1.x on Pebble, in layout v2.
const HOME: &str = "cometbft-1-pebble-v2";

/// Small chunks, so that both sides have many of their own, and two workers, so that they meet.
const THE_WAYS: [&[&str]; 2] = [
    &["--layout", "v1", "--yes", "--chunk", "256KiB", "--workers", "2"],
    &["--layout", "v1", "--to", "goleveldb", "--yes", "--chunk", "256KiB", "--workers", "2"],
];

/// A node whose application keeps its state in IAVL 0.x, under the config of a release that goes
/// with 1.x.
const OLD_FORM: &str = "cosmos-simapp-sdk46-pruned";
const NEXT_RELEASE: &str = "version = \"0.38.17\"\n";
const CONVERSION: [&str; 7] = ["--layout", "iavl-1", "--yes", "--chunk", "64KiB", "--workers", "2"];

/// For reading the state in this process.
const MEMORY_BYTES: u64 = 64 << 20;

/// Kills where nobody has set a number: the seed, which is another one for each commit, chooses.
const KILLS: u64 = 12;

/// Fewer steps than this in a migration, and the hook isn't called any more.
const STEPS_MIN: u64 = 150;

/// Kills a migration to another layout, alone and with its engine; every other one is rolled back.
pub(crate) fn killed(settings: &Settings) {
    for way in THE_WAYS {
        let calm = Victim::of(HOME);
        let before = calm.contents();
        let root = calm.root("nothing");
        let steps = calm.unharmed("migrate", way, "nothing");
        assert!(steps.count() >= STEPS_MIN, "fewer steps than expected: {steps:?}");
        lies_in("v1", &calm, "a calm migration");
        assert_eq!(calm.root("a calm migration"), root);
        let engine = if way.contains(&"goleveldb") { "goleveldb" } else { "pebbledb" };
        let way = Way { options: way, steps, before };
        way.killed(
            settings,
            KILLS,
            || Victim::of(HOME),
            |victim, went_on, when| {
                if went_on {
                    assert_eq!(stand::of(&victim.home(), when), Stand::Whole(engine), "{when}");
                    assert_eq!(victim.root(when), root, "after {when}");
                }
                lies_in(if went_on { "v1" } else { "v2" }, victim, when);
            },
        );
    }
}

/// The stores are in this layout, and the config says the same.
fn lies_in(layout: &str, victim: &Victim, when: &str) {
    let document = victim.document("inspect");
    for name in ["blockstore.db", "state.db", "evidence.db"] {
        let mut databases = document["databases"].as_array().unwrap().iter();
        let found = databases.find(|one| one["name"] == name).unwrap()["layout"].as_str().unwrap();
        assert!(found.ends_with(layout), "{name} is in {found} after {when}");
    }
    let config = std::fs::read_to_string(victim.home().join("config/config.toml")).unwrap();
    let line = format!("experimental_db_key_layout = \"{layout}\"");
    assert!(config.contains(&line), "the config lacks {line} after {when}");
}

/// Kills a migration to IAVL 1.x; every other one is rolled back.
pub(crate) fn converted(settings: &Settings) {
    let calm = upgraded();
    let (before, meaning) = (calm.contents(), logical(&calm));
    let steps = calm.unharmed("migrate", &CONVERSION, "nothing");
    assert!(steps.count() >= STEPS_MIN, "fewer steps than expected: {steps:?}");
    let root = calm.root("a calm migration");
    is_converted(&calm, true, "a calm migration");
    assert!(logical(&calm) == meaning, "it means something else after a calm migration");
    let way = Way { options: &CONVERSION, steps, before };
    way.killed(settings, KILLS, upgraded, |victim, went_on, when| {
        if went_on {
            assert_eq!(stand::of(&victim.home(), when), Stand::Whole("goleveldb"), "{when}");
            assert_eq!(victim.root(when), root, "after {when}");
            assert!(logical(victim) == meaning, "it means something else after {when}");
        }
        is_converted(victim, went_on, when);
    });
}

/// The home, under the config of its next release.
fn upgraded() -> Victim {
    let victim = Victim::of(OLD_FORM);
    let config = victim.home().join("config/config.toml");
    let time = std::fs::metadata(&config).unwrap().modified().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, [NEXT_RELEASE, &text].concat()).unwrap();
    // Every victim is the same home.
    File::options().write(true).open(&config).unwrap().set_modified(time).unwrap();
    victim
}

/// What the application's state says, however its nodes are kept.
fn logical(victim: &Victim) -> TableCommitment {
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    let engines = BuiltIn::new(BuiltInConfig { gostore_helper: helper });
    let scratch = tempfile::tempdir_in(crate::victims::scratch()).unwrap();
    let options = SourceOptions {
        scratch_dir: scratch.path().to_owned(),
        space: None,
        memory_bytes_max: MEMORY_BYTES,
    };
    let path = victim.home().join("data/application.db");
    let store = engines.driver(Engine::Goleveldb).unwrap().open_source(&path, &options).unwrap();
    let snapshot = store.snapshot().unwrap();
    let own = tempfile::tempdir_in(crate::victims::scratch()).unwrap();
    let logical = logical_root(&*snapshot, own.path(), MEMORY_BYTES, &|_, _| true).unwrap();
    assert_ne!(logical.records, 0, "a state without a leaf");
    drop(snapshot);
    store.close().unwrap();
    logical
}

/// The state has nodes of the new form and none of the old one, or the other way round.
fn is_converted(victim: &Victim, converted: bool, when: &str) {
    let document = victim.document("inspect");
    let has = |table: &str| {
        let mut tables = document["tables"].as_array().unwrap().iter();
        tables.find(|one| one["name"] == table).unwrap()["records"] != "0"
    };
    assert_eq!(has("application/iavl_node"), converted, "after {when}");
    assert_eq!(has("application/iavl_legacy_node"), !converted, "after {when}");
}
