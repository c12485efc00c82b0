//! Somebody, or a full disk, comes between two steps of a migration.

use crate::homes::{Copy, Outcome, changed, helper, imprint, not_checked, set_key, transload};
use crate::refusals::can_mount;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HOME: &str = "cosmos-simapp";

fn call(home: &Path, command: &[&str]) -> Outcome {
    let mut call = command.to_vec();
    call.insert(1, home.to_str().unwrap());
    transload(&call)
}

/// A home whose verified target waits for the swap.
fn ready() -> Copy {
    let copy = Copy::of(HOME);
    let outcome = call(&copy.home(), &["migrate", "--to", "pebble1"]);
    assert!(
        outcome.code == 5 && outcome.said.contains("no terminal to ask on"),
        "{}",
        outcome.said
    );
    copy
}

/// A home that stands on its target.
fn swapped() -> Copy {
    let copy = Copy::of(HOME);
    let outcome = call(&copy.home(), &["migrate", "--to", "pebble1", "--yes"]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    copy
}

const ATTEMPT: &str = ".transload/attempts/0001";

fn a_table(database: &Path, ending: &str) -> PathBuf {
    let mut tables: Vec<PathBuf> = fs::read_dir(database)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .collect();
    tables.sort();
    tables.swap_remove(0)
}

/// Turns a bit and puts the file's time back.
fn turn_a_bit(file: &Path) {
    let time = fs::metadata(file).unwrap().modified().unwrap();
    let mut bytes = fs::read(file).unwrap();
    let place = bytes.len() / 3;
    bytes[place] ^= 1;
    fs::write(file, bytes).unwrap();
    File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_turned_bit_of_a_verified_table_is_noticed_though_the_files_time_was_put_back() {
    if helper().is_none() {
        return;
    }
    let copy = ready();
    let home = copy.home();
    let before = imprint(&home);
    turn_a_bit(&a_table(&home.join(ATTEMPT).join("targets/blockstore.db"), "sst"));
    for _ in 0..2 {
        let outcome = call(&home, &["resume", "--yes"]);
        assert_eq!(outcome.code, 4, "{}", outcome.said);
        assert!(outcome.said.contains("somebody has touched it"), "{}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    assert_eq!(call(&home, &["rollback", "--yes"]).code, 0);
    assert_eq!(call(&home, &["migrate", "--to", "pebble1", "--yes"]).code, 0);
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn old_databases_are_not_freed_while_a_bit_of_the_new_ones_is_turned() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let home = copy.home();
    turn_a_bit(&a_table(&home.join("data/blockstore.db"), "sst"));
    let kept = home.join(ATTEMPT).join("kept");
    let before = imprint(&kept);
    let outcome = call(&home, &["finalize", "--yes"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    assert!(outcome.said.contains("nothing was freed"), "{}", outcome.said);
    assert!(outcome.said.contains("blockstore.db"), "{}", outcome.said);
    let again = call(&home, &["finalize", "--yes"]);
    assert_eq!(again.code, 3, "{}", again.said);
    assert_eq!(changed(&before, &imprint(&kept)), Vec::<PathBuf>::new());
    assert_eq!(call(&home, &["rollback", "--yes"]).code, 0);
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn a_home_that_was_moved_leaves_the_one_in_its_old_place_alone() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let (home, moved) = (copy.home(), copy.beside("moved"));
    fs::rename(&home, &moved).unwrap();
    // Another home, whose old databases are kept at the very same paths.
    let other = swapped();
    fs::rename(other.home(), &home).unwrap();
    let before = [imprint(&home), imprint(&home.join(ATTEMPT)), imprint(&moved.join(ATTEMPT))];
    for command in ["finalize", "rollback", "resume"] {
        let outcome = call(&moved, &[command, "--yes"]);
        assert_eq!(outcome.code, 3, "{command}: {}", outcome.said);
        assert!(outcome.said.contains("was moved"), "{command}: {}", outcome.said);
    }
    let after = [imprint(&home), imprint(&home.join(ATTEMPT)), imprint(&moved.join(ATTEMPT))];
    assert_eq!(before, after);
    fs::rename(&home, copy.beside("aside")).unwrap();
    fs::rename(&moved, &home).unwrap();
    assert_eq!(call(&home, &["rollback", "--yes"]).code, 0);
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn a_database_that_was_removed_after_the_swap_is_missed_and_the_way_back_is_open() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let home = copy.home();
    fs::remove_dir_all(home.join("data/tx_index.db")).unwrap();
    let verified = call(&home, &["verify"]);
    assert_eq!(verified.code, 7, "{}", verified.said);
    for command in ["resume", "finalize"] {
        let outcome = call(&home, &[command, "--yes"]);
        assert_eq!(outcome.code, 6, "{command}: {}", outcome.said);
        assert!(outcome.said.contains("transload rollback"), "{command}: {}", outcome.said);
    }
    let back = call(&home, &["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn a_journal_that_was_lost_after_the_swap_is_named_with_the_databases_that_are_kept() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let home = copy.home();
    fs::remove_file(home.join(".transload/journal.redb")).unwrap();
    let before = imprint(&home.join(ATTEMPT));
    for command in [&["rollback", "--yes"][..], &["migrate", "--to", "goleveldb", "--yes"]] {
        let outcome = call(&home, command);
        assert_eq!(outcome.code, 3, "{}", outcome.said);
        assert!(outcome.said.contains("the journal is gone"), "{}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&home.join(ATTEMPT))), Vec::<PathBuf>::new());
}

#[test]
fn a_target_that_was_exchanged_for_its_own_copy_is_noticed() {
    if helper().is_none() {
        return;
    }
    let copy = ready();
    let target = copy.home().join(ATTEMPT).join("targets/state.db");
    let aside = copy.beside("aside");
    fs::rename(&target, &aside).unwrap();
    assert!(Command::new("cp").arg("-a").arg(&aside).arg(&target).status().unwrap().success());
    let outcome = call(&copy.home(), &["resume", "--yes"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
}

#[test]
fn a_source_that_changed_after_the_plan_is_not_taken_for_the_planned_one() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    assert_eq!(call(&home, &["plan", "--to", "pebble1"]).code, 0);
    fs::remove_dir_all(home.join("data/tx_index.db")).unwrap();
    let outcome = call(&home, &["resume", "--yes"]);
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    assert!(outcome.said.contains("the home has ["), "{}", outcome.said);
}

#[test]
fn a_source_that_was_damaged_after_the_plan_is_a_finding_and_no_mere_refusal() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    assert_eq!(call(&home, &["plan", "--to", "pebble1"]).code, 0);
    let table = a_table(&home.join("data/blockstore.db"), "ldb");
    File::options().write(true).open(&table).unwrap().set_len(1_000).unwrap();
    let outcome = call(&home, &["resume", "--yes"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    let name = table.file_name().unwrap().to_str().unwrap();
    assert!(outcome.said.contains(name), "{}", outcome.said);
}

#[test]
fn an_engine_key_that_was_edited_before_the_swap_stops_it_until_it_is_put_back() {
    if helper().is_none() {
        return;
    }
    let copy = ready();
    let home = copy.home();
    let config = home.join("config/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    set_key(&config, "db_backend", "rocksdb");
    let before = imprint(&home);
    let outcome = call(&home, &["resume", "--yes"]);
    assert_eq!(outcome.code, 5, "{}", outcome.said);
    for words in ["nothing was swapped", "config.toml", "put the old value back"] {
        assert!(outcome.said.contains(words), "{words}: {}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    fs::write(&config, text).unwrap();
    let outcome = call(&home, &["resume", "--yes"]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
}

#[test]
fn other_edits_of_a_config_live_through_swap_and_rollback() {
    if helper().is_none() {
        return;
    }
    let copy = ready();
    let home = copy.home();
    let config = home.join("config/config.toml");
    set_key(&config, "moniker", "before the swap");
    assert_eq!(call(&home, &["resume", "--yes"]).code, 0);
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("before the swap") && text.contains("db_backend = \"pebbledb\""));
    set_key(&config, "moniker", "after the swap");
    let outcome = call(&home, &["rollback", "--yes"]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("after the swap") && text.contains("db_backend = \"goleveldb\""));
}

#[test]
fn of_many_migrations_at_once_one_works_and_the_others_refuse() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_transload"))
            .arg("migrate")
            .arg(&home)
            .args(["--to", "pebble1", "--yes"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let running: Vec<_> = (0..3).map(|_| start()).collect();
    let mut done = 0;
    for one in running {
        let output = one.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            // The others may come when the first has ended: then there is nothing left to do.
            Some(0) => done += 1,
            Some(3) => assert!(said.contains("another transload"), "{said}"),
            other => panic!("exit {other:?}: {said}"),
        }
    }
    assert!(done >= 1, "nobody migrated");
    assert_eq!(call(&home, &["verify"]).code, 0);
    assert_eq!(call(&home, &["rollback", "--yes"]).code, 0);
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn an_old_database_that_was_touched_while_kept_is_not_gone_back_to() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let home = copy.home();
    let table = a_table(&home.join(ATTEMPT).join("kept/blockstore.db"), "ldb");
    let bytes = fs::read(&table).unwrap();
    fs::write(&table, [&bytes[..], b"x"].concat()).unwrap();
    let before = imprint(&home);
    let outcome = call(&home, &["rollback", "--yes"]);
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    for words in ["not what was kept", table.file_name().unwrap().to_str().unwrap()] {
        assert!(outcome.said.contains(words), "{words}: {}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn an_old_database_that_is_gone_leaves_the_outcome_to_a_person_and_the_new_one_alone() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let home = copy.home();
    fs::remove_dir_all(home.join(ATTEMPT).join("kept/blockstore.db")).unwrap();
    let before = imprint(&home);
    let outcome = call(&home, &["rollback", "--yes"]);
    assert_eq!(outcome.code, 6, "{}", outcome.said);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn a_plan_file_that_was_lost_is_no_reason_to_lose_the_way_back() {
    if helper().is_none() {
        return;
    }
    let copy = swapped();
    let home = copy.home();
    fs::remove_file(home.join(".transload/plan.toml")).unwrap();
    let outcome = call(&home, &["rollback", "--yes"]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert_eq!(call(&home, &["verify"]).code, 0);
}

#[test]
fn a_damaged_journal_never_swaps() {
    if helper().is_none() {
        return;
    }
    let good = ready();
    for seed in 1..=4_usize {
        let copy = good.again();
        let home = copy.home();
        let journal = home.join(".transload/journal.redb");
        let mut bytes = fs::read(&journal).unwrap();
        match seed {
            1 => bytes.truncate(8_192),
            2 => bytes[..4_096].fill(0x5a),
            _ => {
                let length = bytes.len();
                let places = (0..400).map(|index| index * 7_919 * seed % length);
                places.for_each(|place| bytes[place] ^= 0x10);
            }
        }
        fs::write(&journal, bytes).unwrap();
        let before = imprint(&home);
        let outcome = call(&home, &["resume", "--yes"]);
        assert!([3, 5, 6].contains(&outcome.code), "{seed}: {}: {}", outcome.code, outcome.said);
        assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new(), "{seed}");
    }
}

/// A tmpfs with the home on it, in a mount namespace; something fills it when the attempt begins,
/// and each command's exit code is told.
const FULL: &str = r#"
set -u
mount -t tmpfs -o size=100m none "$2" && cp -a "$3" "$2/home" || exit 99
call() { timeout -k 5 100 "$1" "${@:2}" >/dev/null 2>"$said"; echo "$2 $?"; cat "$said" >&2; }
said="$2/said"; : > "$said"
timeout 60 sh -c 'until [ -e "$1" ]; do :; done; dd if=/dev/zero of="$2" bs=64k' fill \
    "$2/home/.transload/attempts/0001" "$2/fill" 2>/dev/null &
call "$1" migrate "$2/home" --to pebble1 --yes
wait
call "$1" resume "$2/home" --yes
rm "$2/fill"
call "$1" resume "$2/home" --yes
call "$1" verify "$2/home"
dd if=/dev/zero of="$2/fill" bs=64k 2>/dev/null
call "$1" rollback "$2/home" --yes
rm "$2/fill"
call "$1" rollback "$2/home" --yes
call "$1" verify "$2/home"
"#;

#[test]
fn a_disk_that_fills_stops_the_migration_and_room_lets_it_go_on() {
    if helper().is_none() {
        return;
    }
    if !can_mount() {
        not_checked("a disk that fills: no mount namespace can be made here");
        return;
    }
    let copy = Copy::of(HOME);
    let disk = copy.beside("disk");
    fs::create_dir(&disk).unwrap();
    let output = Command::new("unshare")
        .args(["-m", "bash", "-c", FULL, "full", env!("CARGO_BIN_EXE_transload")])
        .args([&disk, &copy.home()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = "migrate 5\nresume 5\nresume 0\nverify 0\nrollback 5\nrollback 0\nverify 0\n";
    assert_eq!(told, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}
