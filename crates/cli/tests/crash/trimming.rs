//! Kills at the durable steps of a migration that leaves something out: resumed it ends with the
//! root of what is kept and lists the same as gone, rolled back with every byte.

use crate::litter::{Form, litter};
use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::victim::Victim;
use crate::ways::Way;

/// Homes and what is left out of them, with small chunks and two workers.
const THE_WAYS: [(&str, &[&str]); 4] = [
    (
        "cometbft-0.38-kvstore",
        &["--drop", "tx_index", "--yes", "--chunk", "256KiB", "--workers", "2"],
    ),
    (
        "cosmos-simapp-sdk46-pruned",
        &["--keep-heights", "81", "--yes", "--chunk", "64KiB", "--workers", "2"],
    ),
    (
        "cosmos-simapp-sdk46-pruned",
        &["--drop-orphans", "--yes", "--chunk", "64KiB", "--workers", "2"],
    ),
    ("cosmos-simapp", &["--keep-versions", "69", "--yes", "--chunk", "256KiB", "--workers", "2"]),
];

/// Kills of each where nobody has set a number.
const KILLS: u64 = 12;

/// Fewer steps than this in a migration, and the hook isn't called any more.
const STEPS_MIN: u64 = 20;

/// Kills each, and resumes it or, every other time, rolls it back.
pub(crate) fn killed(settings: &Settings) {
    for (home, way) in THE_WAYS {
        let original = Victim::of(home);
        if way.contains(&"--drop-orphans") {
            litter(&original.home(), &[Form::Old, Form::New]);
        }
        let calm = Victim::like(&original);
        let before = calm.contents();
        let steps = calm.unharmed("migrate", way, "nothing");
        assert!(steps.count() >= STEPS_MIN, "fewer steps than expected: {steps:?}");
        let (root, gone) = (calm.root("a calm migration"), left_out(&calm));
        let something = |list: &String| list.contains("records");
        assert!(gone.iter().any(something), "nothing was left out of {home}");
        let way = Way { options: way, steps, before };
        way.killed(
            settings,
            KILLS,
            || Victim::like(&original),
            |victim, went_on, when| {
                if went_on {
                    assert_eq!(
                        stand::of(&victim.home(), when),
                        Stand::Whole("goleveldb"),
                        "{when}"
                    );
                    assert_eq!(victim.root(when), root, "after {when}");
                    assert_eq!(left_out(victim), gone, "after {when}");
                }
            },
        );
    }
}

/// What the report lists as gone: the text of each database's list.
fn left_out(victim: &Victim) -> Vec<String> {
    // Nothing is left to do, so this only shows the report.
    let document = victim.document("resume");
    let databases = document["report"]["databases"].as_array().unwrap();
    let lists = databases.iter().filter(|one| one.get("trim").is_some());
    lists.map(|one| one["trim"]["left_out"].to_string()).collect()
}
