//! What others do while the swap goes on, or while the home soaks.

use super::rig::{Fault, GUARD, Rig, Stop};
use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use transload_store::Holder;

/// Lines of the log after which both configs and two databases are guarded.
const MIDDLE: i64 = 10;

fn kind(result: Result<()>) -> Kind {
    result.unwrap_err().kind()
}

#[test]
fn what_the_steps_cannot_leave_is_for_a_person() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward_until(MIDDLE).is_err());
    let stranger = &rig.swap.moves[2].live;
    fs::rename(stranger, rig.home.join("aside")).unwrap();
    fs::create_dir(stranger).unwrap();
    let Standing::Unknown(why) = rig.standing() else { panic!("a stranger is not seen") };
    assert!(why.contains("something unknown") && why.contains("metadata.db"), "{why}");
    assert_eq!(kind(rig.forward()), Kind::OutcomeUnknown);
    assert_eq!(kind(rig.backward()), Kind::OutcomeUnknown);
    fs::remove_dir(stranger).unwrap();
    assert!(matches!(rig.standing(), Standing::Unknown(_)), "an absent path");
    fs::rename(rig.home.join("aside"), stranger).unwrap();
    rig.forward().unwrap();
}

#[test]
fn a_database_of_another_engine_in_an_old_inode_is_for_a_person() {
    let rig = Rig::new(SwapMethod::Exchange);
    rig.forward().unwrap();
    // A node with the wrong engine has taken the directory over.
    fs::write(rig.swap.moves[1].live.join("CURRENT"), "old again").unwrap();
    let Standing::Unknown(why) = rig.standing() else { panic!("the sign is not looked at") };
    assert!(why.contains("goleveldb"), "{why}");
}

#[test]
fn a_lost_record_is_noticed_wherever_the_swap_was() {
    for lines in [6, MIDDLE, 16, i64::MAX] {
        let rig = Rig::new(SwapMethod::Exchange);
        let _ = rig.forward_until(lines);
        fs::remove_file(rig.swap.attempt_dir.join("swap.json")).unwrap();
        assert!(matches!(rig.standing(), Standing::Unknown(_)), "after {lines} lines");
        assert_eq!(kind(rig.forward()), Kind::OutcomeUnknown);
        assert_eq!(kind(rig.backward()), Kind::OutcomeUnknown);
        assert_eq!(kind(rig.swapper().free(&rig.swap, &Stop::never())), Kind::Refused);
    }
}

#[test]
fn a_damaged_record_is_for_a_person() {
    for text in ["", "{}", "{\"format\":\"transload.swap-record.v9\"}", "\u{0}"] {
        let rig = Rig::new(SwapMethod::Exchange);
        assert!(rig.forward_until(MIDDLE).is_err());
        fs::write(rig.swap.attempt_dir.join("swap.json"), text).unwrap();
        let error = rig.swapper().standing(&rig.swap).unwrap_err();
        assert_eq!(error.kind(), Kind::OutcomeUnknown, "{text:?}");
    }
}

#[test]
fn a_node_that_wrote_before_the_guard_is_noticed_and_nothing_is_swapped() {
    // F26
    let rig = Rig::new(SwapMethod::Exchange);
    // The record is written, the configs are guarded, and transload dies.
    assert!(rig.forward_until(6).is_err());
    let live = &rig.swap.moves[0].live;
    fs::write(live.join("000008.log"), "a block").unwrap();
    let before = rig.contents();
    let error = rig.forward().unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped);
    assert!(error.to_string().contains("000008.log"), "{error}");
    // Going back lets the node run on what it wrote.
    rig.backward().unwrap();
    assert_eq!(rig.standing(), Standing::Old);
    assert_eq!(rig.contents()["data/application.db/000008.log"], b"a block");
    assert_eq!(rig.contents().len(), before.len());
}

#[test]
fn a_node_that_wrote_before_the_swap_begins_again_is_noticed() {
    let rig = Rig::new(SwapMethod::Exchange);
    // Recorded, and nothing more.
    assert!(rig.forward_until(2).is_err());
    fs::write(rig.swap.moves[2].live.join("000008.log"), "a block").unwrap();
    assert_eq!(kind(rig.forward()), Kind::Stopped);
    assert_eq!(rig.standing(), Standing::Old);
}

#[test]
fn a_target_that_somebody_opened_is_not_swapped_in() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward_until(MIDDLE).is_err());
    fs::write(rig.swap.moves[1].target.join("LOG"), "opened").unwrap();
    assert_eq!(kind(rig.forward()), Kind::Stopped);
    rig.backward().unwrap();
    assert_eq!(rig.standing(), Standing::Old);
}

#[test]
fn an_old_database_that_changed_while_it_was_kept_is_not_put_back() {
    let rig = Rig::new(SwapMethod::Exchange);
    rig.forward().unwrap();
    fs::write(rig.swap.moves[1].kept.join("000008.log"), "?").unwrap();
    let now = Fence::default();
    assert_eq!(kind(rig.swapper().may_roll_back(&rig.swap, &now)), Kind::Refused);
    assert_eq!(kind(rig.backward()), Kind::Refused);
    assert_eq!(rig.standing(), Standing::New);
}

#[test]
fn a_config_file_rewritten_while_the_swap_goes_on_stops_it() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward_until(MIDDLE).is_err());
    let path = &rig.swap.edits[1].path;
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{text}by_ansible = true\n")).unwrap();
    let error = rig.forward().unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped);
    rig.a_node_started_now_finds_one_side_or_a_guard(false);
    fs::write(path, text).unwrap();
    rig.forward().unwrap();
}

#[test]
fn going_back_keeps_what_was_written_into_a_guarded_config() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward_until(MIDDLE).is_err());
    let path = &rig.swap.edits[1].path;
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{text}by_ansible = true\n")).unwrap();
    rig.backward().unwrap();
    let expected = "# mine\ndb_backend = \"goleveldb\" # here\nother = 1\nby_ansible = true\n";
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}

#[test]
fn a_tool_that_erases_the_guard_meets_the_guarded_paths_and_a_person_is_called() {
    // F24
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward_until(MIDDLE).is_err());
    let path = &rig.swap.edits[1].path;
    let guarded = fs::read_to_string(path).unwrap();
    fs::write(path, guarded.replace(GUARD, "goleveldb")).unwrap();
    assert!(rig.swap.moves[0].live.is_file(), "the path is guarded");
    let Standing::Unknown(why) = rig.standing() else { panic!("an erased guard is not seen") };
    assert!(why.contains("config.toml has its old value"), "{why}");
    assert_eq!(kind(rig.forward()), Kind::OutcomeUnknown);
    fs::write(path, guarded).unwrap();
    rig.forward().unwrap();
}

#[test]
fn keys_that_an_operator_edits_while_soaking_survive_a_rollback() {
    for stop in [0, 1, 2, 3, 4, 5, i64::MAX] {
        let rig = Rig::new(SwapMethod::Exchange);
        rig.forward().unwrap();
        for edit in &rig.swap.edits {
            let text = fs::read_to_string(&edit.path).unwrap().replace("other = 1", "other = 2");
            fs::write(&edit.path, text).unwrap();
        }
        assert_eq!(rig.standing(), Standing::New);
        let _ = rig.backward_until(stop);
        rig.a_node_started_now_finds_one_side_or_a_guard(false);
        rig.backward().unwrap();
        assert_eq!(
            fs::read_to_string(&rig.swap.edits[1].path).unwrap(),
            "# mine\ndb_backend = \"goleveldb\" # here\nother = 2\n"
        );
        let left = fs::read_dir(rig.swap.attempt_dir.join("config")).unwrap().count();
        assert_eq!(left, 0, "staged contents are left");
    }
}

#[test]
fn a_config_edited_before_the_swap_begins_again_is_taken_as_it_is() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward_until(2).is_err());
    let path = &rig.swap.edits[1].path;
    fs::write(path, "db_backend = \"goleveldb\"\nother = 3\n").unwrap();
    rig.forward().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "db_backend = \"pebbledb\"\nother = 3\n");
}

#[test]
fn a_key_with_another_value_than_planned_is_refused() {
    let rig = Rig::new(SwapMethod::Exchange);
    let path = &rig.swap.edits[0].path;
    fs::write(path, "app-db-backend = \"rocksdb\"\n").unwrap();
    let before = rig.tree();
    assert_eq!(kind(rig.forward()), Kind::Refused);
    assert_eq!(rig.tree(), before);
}

#[test]
fn a_linked_config_stays_a_link_and_its_file_is_set() {
    let rig = Rig::new(SwapMethod::Exchange);
    let elsewhere = rig.home.join("etc");
    fs::create_dir(&elsewhere).unwrap();
    let real = elsewhere.join("node.toml");
    let link = rig.swap.edits[1].path.clone();
    fs::rename(&link, &real).unwrap();
    symlink(&real, &link).unwrap();
    let before = rig.tree();
    rig.forward().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("pebbledb"));
    rig.backward().unwrap();
    assert_eq!(rig.tree(), before);
    // A link that is bent meanwhile is for a person.
    assert!(rig.forward_until(MIDDLE).is_err());
    fs::copy(&real, elsewhere.join("other.toml")).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(elsewhere.join("other.toml"), &link).unwrap();
    assert!(matches!(rig.standing(), Standing::Unknown(_)));
}

/// A folder on another file system than the rigs, where there is one.
fn elsewhere() -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt as _;
    let other = tempfile::tempdir().ok()?;
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    let here = device(&Rig::new(SwapMethod::Exchange).home)?;
    (device(other.path())? != here).then_some(other)
}

#[test]
fn a_config_on_another_file_system_is_staged_beside_itself_and_nothing_is_left() {
    let Some(other) = elsewhere() else {
        eprintln!("not run: there is no second file system here");
        return;
    };
    for stop in [0, 1, 5, 9, 20, i64::MAX] {
        let rig = Rig::new(SwapMethod::Exchange);
        let before = rig.tree();
        let path = rig.swap.edits[1].path.clone();
        let real = other.path().join("config.toml");
        fs::copy(&path, &real).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&real, &path).unwrap();
        let _ = rig.forward_until(stop);
        rig.a_node_started_now_finds_one_side_or_a_guard(false);
        rig.forward().unwrap();
        assert!(fs::read_to_string(&real).unwrap().contains("pebbledb"));
        rig.backward().unwrap();
        let names: Vec<_> =
            fs::read_dir(other.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names, [real.as_path()]);
        assert_eq!(fs::read(&real).unwrap(), before["config/config.toml"].3);
    }
}

#[test]
fn a_swap_that_ended_before_its_record_leaves_nothing_beside_a_config_elsewhere() {
    let Some(other) = elsewhere() else {
        eprintln!("not run: there is no second file system here");
        return;
    };
    for calls in 0.. {
        let rig = Rig::new(SwapMethod::Exchange);
        let path = rig.swap.edits[1].path.clone();
        let real = other.path().join("config.toml");
        fs::copy(&path, &real).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&real, &path).unwrap();
        let swapper = rig.failing(calls, Fault::Before);
        let ended = swapper.cut_over(&rig.swap, &rig.verified, &Stop::never()).is_ok();
        rig.backward().unwrap();
        let names: Vec<_> =
            fs::read_dir(other.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names, [real.as_path()], "after a failure of call {calls}");
        if ended {
            assert!(calls > 20, "only {calls} calls were tried");
            break;
        }
    }
}

#[test]
fn databases_on_another_file_system_are_not_touched() {
    let Some(other) = elsewhere() else {
        eprintln!("not run: there is no second file system here");
        return;
    };
    let mut rig = Rig::new(SwapMethod::Exchange);
    // The attempt's folder is on another file system than the databases.
    let attempt_dir = other.path().join("0001");
    for one in &mut rig.swap.moves {
        let target = attempt_dir.join("targets").join(&one.database);
        fs::create_dir_all(&target).unwrap();
        for file in ["CURRENT", "LOCK", "000007.ldb"] {
            fs::copy(one.target.join(file), target.join(file)).unwrap();
        }
        one.target = target;
        one.kept = attempt_dir.join("kept").join(&one.database);
    }
    rig.swap.attempt_dir = attempt_dir;
    let before = rig.contents();
    let swapper = rig.swapper();
    let folder = rig.home.join("data");
    let probed = swapper.probe_exchange(&rig.swap.attempt_dir, &folder, &Watch::default());
    assert_eq!(kind(probed), Kind::Refused);
    assert_eq!(kind(rig.forward()), Kind::Stopped);
    rig.a_node_started_now_finds_one_side_or_a_guard(false);
    rig.backward().unwrap();
    assert_eq!(rig.contents(), before);
}

#[test]
fn a_lock_is_shared_within_a_swapper_and_refused_to_another_with_the_holder_named() {
    let rig = Rig::new(SwapMethod::Exchange);
    let live: Vec<PathBuf> = rig.swap.moves.iter().map(|one| one.live.clone()).collect();
    let before = rig.tree();
    let swapper = rig.swapper();
    let held = swapper.hold(&live).unwrap();
    drop(swapper.hold(&live).unwrap());
    *rig.engines.holder.lock().unwrap() = Some(Holder { pid: 77, command: "simd".into() });
    let other = rig.swapper();
    let refusal = other.hold(&live).err().unwrap();
    assert_eq!(refusal.kind(), Kind::Refused);
    assert!(refusal.to_string().contains("77") && refusal.to_string().contains("simd"));
    assert_eq!(rig.tree(), before, "a lock changes nothing");
    // Whoever holds them swaps, and nobody else.
    assert_eq!(kind(other.cut_over(&rig.swap, &rig.verified, &Stop::never())), Kind::Refused);
    swapper.cut_over(&rig.swap, &rig.verified, &Stop::never()).unwrap();
    assert_eq!(kind(other.roll_back(&rig.swap, &Stop::never())), Kind::Refused);
    drop(held);
    other.roll_back(&rig.swap, &Stop::never()).unwrap();
    assert_eq!(rig.tree(), before);
}

#[test]
fn a_running_node_on_the_new_databases_is_not_rolled_back() {
    let rig = Rig::new(SwapMethod::Exchange);
    rig.forward().unwrap();
    let lock = fs::File::open(rig.swap.moves[1].live.join("LOCK")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(kind(rig.backward()), Kind::Refused);
    assert_eq!(rig.standing(), Standing::New);
    drop(lock);
    rig.backward().unwrap();
}

/// The home without transload's own folder.
fn outside(rig: &Rig) -> BTreeMap<String, Vec<u8>> {
    let mut contents = rig.contents();
    contents.retain(|name, _| !name.contains(".transload"));
    contents
}

#[test]
fn new_databases_that_somebody_removed_leave_the_way_back_open() {
    for method in [SwapMethod::Exchange, SwapMethod::Rename] {
        for lost in [&[0][..], &[1, 2], &[0, 1, 2]] {
            let rig = Rig::new(method);
            let before = outside(&rig);
            rig.forward().unwrap();
            for index in lost {
                fs::remove_dir_all(&rig.swap.moves[*index].live).unwrap();
            }
            assert_eq!(rig.standing(), Standing::Between, "{lost:?}");
            assert_eq!(kind(rig.forward()), Kind::Stopped, "there is nothing to go on with");
            assert_eq!(kind(rig.swapper().free(&rig.swap, &Stop::never())), Kind::Refused);
            rig.swapper().may_roll_back(&rig.swap, &Fence::default()).unwrap();
            rig.backward().unwrap();
            assert_eq!(rig.standing(), Standing::Old, "{lost:?}");
            assert_eq!(outside(&rig), before, "{lost:?}");
        }
    }
}

#[test]
fn going_back_from_a_lost_database_can_be_cut_off_anywhere() {
    let lose = |rig: &Rig| {
        rig.forward().unwrap();
        fs::remove_dir_all(&rig.swap.moves[1].live).unwrap();
    };
    for lines in 0.. {
        let rig = Rig::new(SwapMethod::Exchange);
        let before = outside(&rig);
        lose(&rig);
        let is_over = rig.backward_until(lines).is_ok();
        rig.backward().unwrap();
        assert_eq!(outside(&rig), before, "cut off after {lines} lines");
        if is_over {
            return;
        }
    }
}

#[test]
fn guards_that_somebody_removed_are_made_again_on_the_way_back() {
    let rig = Rig::new(SwapMethod::Exchange);
    let before = outside(&rig);
    rig.forward().unwrap();
    for one in &rig.swap.moves {
        fs::remove_dir_all(one.target.parent().unwrap()).unwrap_or_default();
    }
    assert_eq!(rig.standing(), Standing::New);
    rig.backward().unwrap();
    assert_eq!((rig.standing(), outside(&rig)), (Standing::Old, before));
}
