//! Kills at the durable steps of a migration whose source has a bad record that a peer mends:
//! resumed it ends with the root of the home before the record went bad, rolled back with every
//! byte, the bad record's among them.

use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::victim::Victim;
use crate::ways::Way;
use std::path::PathBuf;
use transload_chains::cometbft::layout::{BlockstoreLayout, KeyForm, blockstore};
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::layout::Layout as _;
use transload_store::{Durability, Engines as _, TargetOptions, WriteBatch};

/// A node of 1.x on Pebble, in layout v2, and a height of it.
const HOME: &str = "cometbft-1-pebble-v2";
const HEIGHT: u64 = 150;

/// Kills where nobody has set a number.
const KILLS: u64 = 12;

/// Fewer steps than this in a migration, and the hook isn't called any more.
const STEPS_MIN: u64 = 20;

/// Kills it, and resumes it or, every other time, rolls it back.
pub(crate) fn killed(settings: &Settings) {
    let peer = Victim::of(HOME);
    let good = peer.root("nothing");
    let bad = Victim::of(HOME);
    turn_a_byte(&bad);
    let repair_from = format!("--repair-from={}", peer.home().to_str().unwrap());
    let options = ["--to", "goleveldb", "--yes", &repair_from, "--chunk", "256KiB"];
    let calm = Victim::like(&bad);
    let before = calm.contents();
    let steps = calm.unharmed("migrate", &options, "nothing");
    assert!(steps.count() >= STEPS_MIN, "fewer steps than expected: {steps:?}");
    assert_eq!(calm.root("a calm migration"), good);
    let way = Way { options: &options, steps, before };
    way.killed(
        settings,
        KILLS,
        || Victim::like(&bad),
        |victim, went_on, when| {
            if went_on {
                assert_eq!(stand::of(&victim.home(), when), Stand::Whole("goleveldb"), "{when}");
                assert_eq!(victim.root(when), good, "after {when}");
            }
        },
    );
}

/// Turns a byte of a block's part, by the engine's own writer.
fn turn_a_byte(victim: &Victim) {
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    let engines = BuiltIn::new(BuiltInConfig { gostore_helper: helper });
    let path = victim.home().join("data/blockstore.db");
    let engine = engines.recognise(&path).unwrap().engine;
    let options = TargetOptions { space: None, memory_bytes_max: 64 << 20 };
    let store = engines.driver(engine).unwrap().reopen_target(&path, &options).unwrap();
    let (canonical, mut key) = (blockstore::part_key(HEIGHT, 0), Vec::new());
    let layout = BlockstoreLayout::new(KeyForm::V2);
    layout.physical(blockstore::PART, &canonical, &mut key).unwrap();
    let mut value = store.snapshot().unwrap().get(&key).unwrap().expect("a block's part");
    let middle = value.len() / 2;
    value[middle] ^= 1;
    let mut batch = WriteBatch::new();
    batch.put(&key, &value);
    store.write(&batch, Durability::Synced).unwrap();
    store.close().unwrap();
}
