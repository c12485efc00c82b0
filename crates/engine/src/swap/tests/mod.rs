//! The swap is stopped at every line of its log and at every call of the disk, in both
//! directions, and goes on to either side.

mod faults;
mod meanwhile;
mod power_cut;
mod rig;

use super::*;
use crate::moves::SwapMethod;
use rig::{DATABASES, METHODS, Rig, Stop};
use std::fs;

#[test]
fn there_and_back_returns_every_byte_and_time() {
    // F22
    for method in METHODS {
        let rig = Rig::new(method);
        let before = rig.tree();
        assert_eq!(rig.standing(), Standing::Old);
        rig.forward().unwrap();
        assert_eq!(rig.standing(), Standing::New);
        let after = rig.contents();
        assert!(after["data/snapshots/metadata.db/CURRENT"].starts_with(b"new"));
        let app = String::from_utf8(after["config/app.toml"].clone()).unwrap();
        assert!(app.contains("# mine\napp-db-backend = \"pebbledb\" # here"));
        rig.backward().unwrap();
        assert_eq!(rig.tree(), before);
        assert_eq!(rig.standing(), Standing::Old);
        rig.forward().unwrap();
        assert_eq!(rig.contents(), after, "it can be swapped in again");
        rig.the_signer_is_untouched();
    }
}

/// A layout changes and the engine stays: the config says the same before and after.
#[test]
fn where_the_keys_keep_their_values_the_databases_tell_the_sides_apart() {
    const LINES_MAX: i64 = 60;
    for method in METHODS {
        let keeping = || {
            let mut rig = Rig::new(method);
            for edit in &mut rig.swap.edits {
                edit.new = edit.old.clone().unwrap();
            }
            rig
        };
        let rig = keeping();
        let before = rig.tree();
        rig.forward().unwrap();
        assert_eq!(rig.standing(), Standing::New);
        let config = String::from_utf8(rig.contents()["config/app.toml"].clone()).unwrap();
        assert!(config.contains("\"goleveldb\" # here"), "{config}");
        rig.backward().unwrap();
        assert_eq!(rig.standing(), Standing::Old);
        assert_eq!(rig.tree(), before);
        let mut whole = false;
        for stop in 0..LINES_MAX {
            let rig = keeping();
            let before = rig.contents();
            whole = rig.forward_until(stop).is_ok();
            rig.forward().unwrap();
            assert_eq!(rig.standing(), Standing::New, "{method:?} {stop}");
            let _ = rig.backward_until(stop);
            rig.backward().unwrap();
            assert_eq!(rig.contents(), before, "{method:?} {stop}");
            if whole {
                break;
            }
        }
        assert!(whole, "a swap has more than {LINES_MAX} lines");
    }
}

#[test]
fn both_directions_can_be_asked_for_twice() {
    let rig = Rig::new(SwapMethod::Exchange);
    rig.backward().unwrap();
    rig.forward().unwrap();
    rig.forward().unwrap();
    assert_eq!(rig.standing(), Standing::New);
    rig.backward().unwrap();
    rig.backward().unwrap();
    assert_eq!(rig.standing(), Standing::Old);
}

#[test]
fn the_order_is_application_first_and_every_step_is_logged() {
    let rig = Rig::new(SwapMethod::Exchange);
    let log = Stop::never();
    rig.swapper().cut_over(&rig.swap, &rig.verified, &log).unwrap();
    let lines = log.lines.into_inner().unwrap();
    let begun: Vec<String> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("begin "))
        .map(|line| line.replace(&rig.home.display().to_string(), "HOME"))
        .collect();
    let expected = [
        "record the swap",
        "set HOME/config/app.toml to the guard",
        "set HOME/config/config.toml to the guard",
        "guard application.db",
        "guard blockstore.db",
        "guard snapshots/metadata.db",
        "put in snapshots/metadata.db",
        "put in blockstore.db",
        "put in application.db",
        "set HOME/config/config.toml to its new value",
        "set HOME/config/app.toml to its new value",
    ];
    assert_eq!(begun, expected);
    assert_eq!(lines.len(), 2 * expected.len());
}

#[test]
fn only_verified_databases_are_swapped_in() {
    let rig = Rig::new(SwapMethod::Exchange);
    let some = Verified::for_test(&DATABASES[..2]);
    let error = rig.swapper().cut_over(&rig.swap, &some, &Stop::never()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(rig.standing(), Standing::Old);
}

#[test]
fn a_target_that_has_only_a_log_is_not_swapped_in() {
    let rig = Rig::new(SwapMethod::Exchange);
    let before = rig.tree();
    fs::write(rig.swap.moves[1].target.join("CURRENT"), "new log").unwrap();
    assert_eq!(rig.forward().unwrap_err().kind(), Kind::Refused);
    assert_eq!(rig.tree(), before);
}

#[test]
fn freeing_removes_only_what_the_home_does_not_stand_on() {
    for method in METHODS {
        let rig = Rig::new(method);
        assert!(rig.forward_until(8).is_err());
        let free = |rig: &Rig| rig.swapper().free(&rig.swap, &Stop::never());
        assert_eq!(free(&rig).unwrap_err().kind(), Kind::Refused);
        rig.forward().unwrap();
        let after = rig.tree();
        free(&rig).unwrap();
        assert_eq!(rig.tree(), after);
        assert!(!rig.swap.attempt_dir.join("kept").exists());
        assert!(!rig.swap.attempt_dir.join("targets").exists());
        assert_eq!(rig.standing(), Standing::New);
        free(&rig).unwrap();
        let error = rig.backward().unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
}

#[test]
fn after_a_rollback_the_targets_are_freed_and_the_source_stays() {
    let rig = Rig::new(SwapMethod::Exchange);
    let before = rig.tree();
    rig.forward().unwrap();
    rig.backward().unwrap();
    rig.swapper().free(&rig.swap, &Stop::never()).unwrap();
    assert_eq!(rig.tree(), before);
    assert!(!rig.swap.attempt_dir.join("targets").exists());
}

#[test]
fn the_reason_is_logged_before_anything_is_freed() {
    for stop in [0, 1, 2] {
        let rig = Rig::new(SwapMethod::Exchange);
        rig.forward().unwrap();
        let log = Stop::after(stop);
        assert!(rig.swapper().free(&rig.swap, &log).is_err());
        assert!(rig.swap.moves.iter().all(|one| one.kept.is_dir()), "freed after {stop} lines");
    }
    let rig = Rig::new(SwapMethod::Exchange);
    rig.forward().unwrap();
    let log = Stop::never();
    rig.swapper().free(&rig.swap, &log).unwrap();
    let lines = log.lines.into_inner().unwrap();
    assert!(lines.iter().any(|line| line.contains("the home stands on the new databases")));
}

#[test]
fn freeing_follows_no_link() {
    let rig = Rig::new(SwapMethod::Exchange);
    rig.forward().unwrap();
    let after = rig.tree();
    let live = rig.home.join("data");
    std::os::unix::fs::symlink(&live, rig.swap.moves[0].kept.join("link")).unwrap();
    rig.swapper().free(&rig.swap, &Stop::never()).unwrap();
    assert_eq!(rig.tree(), after);
}
