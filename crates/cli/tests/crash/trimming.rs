//! Kills at the durable steps of a migration that leaves something out: resumed it ends with the
//! root of what is kept and lists the same as gone, rolled back with every byte.

use crate::campaign::YES;
use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::victim::Victim;
use std::sync::atomic::{AtomicU64, Ordering};

/// Homes and what is left out of them, with small chunks and two workers.
const THE_WAYS: [(&str, &[&str]); 2] = [
    (
        "cometbft-0.38-kvstore",
        &["--drop", "tx_index", "--yes", "--chunk", "256KiB", "--workers", "2"],
    ),
    (
        "cosmos-simapp-sdk46-pruned",
        &["--keep-heights", "81", "--yes", "--chunk", "64KiB", "--workers", "2"],
    ),
];

/// Kills of each where nobody has set a number.
const KILLS: u64 = 12;

/// Fewer steps than this in a migration, and the hook isn't called any more.
const STEPS_MIN: u64 = 20;

/// Kills each, and resumes it or, every other time, rolls it back.
pub(crate) fn killed(settings: &Settings) {
    for (home, way) in THE_WAYS {
        let calm = Victim::of(home);
        let before = calm.contents();
        let steps = calm.unharmed("migrate", way, "nothing");
        assert!(steps.count() >= STEPS_MIN, "fewer steps than expected: {steps:?}");
        let (root, gone) = (calm.root("a calm migration"), left_out(&calm));
        assert!(!gone.is_empty(), "nothing was left out of {home}");
        let chosen = settings.chosen(steps.that_change_something(), KILLS);
        let kills = AtomicU64::new(0);
        settings.each(&chosen, |step| {
            let victim = Victim::of(home);
            let run = victim.doomed(step, "migrate", way);
            let when = format!("step {step} ({}) of {way:?}", run.steps.last());
            assert_eq!(run.code, None, "never killed: {when}: {}", run.said);
            kills.fetch_add(1, Ordering::Relaxed);
            stand::of(&victim.home(), &when);
            if step % 2 == 0 {
                goes_on(&victim, way, &when);
                assert_eq!(stand::of(&victim.home(), &when), Stand::Whole("goleveldb"), "{when}");
                assert_eq!(victim.root(&when), root, "after {when}");
                assert_eq!(left_out(&victim), gone, "after {when}");
            } else {
                let run = victim.doomed(0, "rollback", &YES);
                let too_early = ["planned", "no migration of this home has begun"];
                let nothing =
                    run.code == Some(3) && too_early.iter().any(|words| run.said.contains(words));
                assert!(run.code == Some(0) || nothing, "rollback after {when}: {}", run.said);
                let differences = before.differences(&victim.contents(), &when);
                assert!(differences.is_empty(), "after {when}: {differences:?}");
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

/// What the report lists as gone: the text of each database's list.
fn left_out(victim: &Victim) -> Vec<String> {
    // Nothing is left to do, so this only shows the report.
    let document = victim.document("resume");
    let databases = document["report"]["databases"].as_array().unwrap();
    let lists = databases.iter().filter(|one| one.get("trim").is_some());
    lists.map(|one| one["trim"]["left_out"].to_string()).collect()
}
