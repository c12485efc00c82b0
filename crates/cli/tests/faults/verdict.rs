//! What must hold after any run.

use crate::injection::by_the_loader;
use crate::program::Run;
use crate::shared::Dice;
use crate::ward::{Stand, Ward};
use std::sync::OnceLock;

/// Small chunks, so that a small home has many.
pub(crate) const MIGRATE: [&str; 7] =
    ["--to", "pebble1", "--yes", "--chunk", "1MiB", "--workers", "2"];
pub(crate) const YES: [&str; 1] = ["--yes"];

/// Commands without faults until the end: a difference that is found leaves the next less to do.
const ROUNDS_MAX: u32 = 4;

/// The dataset root of the home, which every migration must keep.
pub(crate) fn root() -> &'static str {
    static ROOT: OnceLock<String> = OnceLock::new();
    ROOT.get_or_init(|| {
        let ward = Ward::new();
        ward.root(&ward.home(), "before anything")
    })
}

/// After a command under faults. `lies`: something answered otherwise than it was.
///
/// # Panics
/// It said success over something else, panicked, said nothing, left a mixture, or changed the
/// old home while that is the one that a node starts on.
pub(crate) fn after_faults(ward: &Ward, run: &Run, goal: Stand, lies: bool, what: &str) {
    let ended = run.in_words();
    match run.code {
        Some(0) => stands(ward, goal, what),
        Some(3 | 5) => {}
        // Differences, and journals that contradict themselves, come from lies alone.
        Some(4 | 6) => assert!(lies, "{what}: {ended}"),
        _ => assert!(by_the_loader(run), "{what}: {ended}"),
    }
    if run.code != Some(0) {
        assert!(!run.said.trim().is_empty(), "{what}: it failed without a word: {ended}");
    }
    if ward.stand(&format!("{what}: {ended}")) == Stand::Old {
        let differences = ward.differences();
        assert!(differences.is_empty(), "{what}: {ended}: the old home: {differences:?}");
    }
}

/// The home stands on one side, whole.
pub(crate) fn stands(ward: &Ward, on: Stand, what: &str) {
    assert_eq!(ward.stand(what), on, "{what}");
    assert_eq!(ward.root(&ward.home(), what), root(), "{what}");
    if on == Stand::Old {
        let differences = ward.differences();
        assert!(differences.is_empty(), "{what}: {differences:?}");
    }
}

/// Goes on without faults, to the end or back as the dice have it.
///
/// # Panics
/// It doesn't get there. After a lie a person may have to look: then the old databases are there
/// for them.
pub(crate) fn ends_well(ward: &Ward, dice: &mut Dice, lies: bool, what: &str) {
    let back = dice.roll(2) == 0;
    let what = format!("{what}, then {}", if back { "rollback" } else { "resume" });
    let mut heard = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let mut run = ward.run(&[], if back { "rollback" } else { "resume" }, &YES);
        if run.code == Some(3) && ward.stand(&what) == Stand::Old {
            if back {
                // Nothing has begun, or all is rolled back already.
                return ended(ward, Stand::Old, &what);
            }
            run = ward.run(&[], "migrate", &MIGRATE);
        }
        if run.code == Some(0) {
            return ended(ward, if back { Stand::Old } else { Stand::New }, &what);
        }
        heard.push(run.in_words());
    }
    assert!(lies, "{what}: {heard:#?}");
    assert!(heard.iter().all(|said| !said.contains("panicked")), "{what}: {heard:#?}");
    let missing = ward.old_databases_missing();
    assert!(missing.is_empty(), "{what}: {missing:?} are lost: {heard:#?}");
}

fn ended(ward: &Ward, on: Stand, what: &str) {
    stands(ward, on, what);
    let litter = ward.litter();
    assert!(litter.is_empty(), "{what}: left behind: {litter:?}");
}
