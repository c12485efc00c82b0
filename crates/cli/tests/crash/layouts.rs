//! Kills at the durable steps of a change of layout: resumed it ends with the same root in the
//! new layout, rolled back with every byte in the old one.

use crate::campaign::YES;
use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::victim::Victim;
use std::sync::atomic::{AtomicU64, Ordering};

/// A node of 1.x on Pebble, in layout v2.
const HOME: &str = "cometbft-1-pebble-v2";

/// Small chunks, so that both sides have many of their own, and two workers, so that they meet.
const THE_WAYS: [&[&str]; 2] = [
    &["--layout", "v1", "--yes", "--chunk", "256KiB", "--workers", "2"],
    &["--layout", "v1", "--to", "goleveldb", "--yes", "--chunk", "256KiB", "--workers", "2"],
];

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
        let chosen = settings.chosen(steps.that_change_something(), KILLS);
        let kills = AtomicU64::new(0);
        settings.each(&chosen, |step| {
            let victim = Victim::of(HOME);
            let run = victim.doomed(step, "migrate", way);
            let when = format!("step {step} ({}) of {way:?}", run.steps.last());
            assert_eq!(run.code, None, "never killed: {when}: {}", run.said);
            kills.fetch_add(1, Ordering::Relaxed);
            stand::of(&victim.home(), &when);
            if step % 2 == 0 {
                goes_on(&victim, way, &when);
                assert_eq!(stand::of(&victim.home(), &when), Stand::Whole(engine), "{when}");
                lies_in("v1", &victim, &when);
                assert_eq!(victim.root(&when), root, "after {when}");
            } else {
                let run = victim.doomed(0, "rollback", &YES);
                let too_early = ["planned", "no migration of this home has begun"];
                let nothing =
                    run.code == Some(3) && too_early.iter().any(|words| run.said.contains(words));
                assert!(run.code == Some(0) || nothing, "rollback after {when}: {}", run.said);
                let differences = before.differences(&victim.contents(), &when);
                assert!(differences.is_empty(), "after {when}: {differences:?}");
                lies_in("v2", &victim, &when);
            }
        });
        let kills = kills.into_inner();
        println!("  {way:?}: killed at {kills} of {} steps", steps.count());
        assert_eq!(kills, chosen.len() as u64, "some kills never came");
    }
}

/// Without a plan there is nothing to resume, and that is said.
fn goes_on(victim: &Victim, way: &[&str], when: &str) {
    let mut run = victim.doomed(0, "resume", &YES);
    if run.code == Some(3) {
        assert!(run.said.contains("plan"), "resume after {when}: {}", run.said);
        run = victim.doomed(0, "migrate", way);
    }
    assert_eq!(run.code, Some(0), "going on after {when}: {}", run.said);
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
