//! Every bad input that an operator may give, and what transload answers: the exit code, the
//! words that tell what is wrong, and a home of which nothing has changed.

use crate::homes::{Copy, Outcome, changed, finished, helper, imprint, not_checked, transload};
use crate::rows::{BUILTIN_ROWS, HELPER_ROWS, MOUNT_ROWS, Row};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

/// The home that rows are made of: a Cosmos SDK node with two engine keys.
pub(crate) const HOME: &str = "cosmos-simapp";

/// A row's command line with the paths of its copy in place.
fn filled(argument: &str, copy: &Copy) -> String {
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    argument.replace("HOME", &path(copy.home())).replace("BESIDE", &path(copy.beside("")))
}

/// Whether a mount namespace of our own can be had.
pub(crate) fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Whether a program of this test's build can be run as a user who owns nothing.
fn can_be_nobody() -> bool {
    let tried = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args([env!("CARGO_BIN_EXE_transload"), "--version"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}

/// Runs a row on a fresh copy; the faults that it shows.
fn faults(row: &Row) -> Vec<String> {
    let copy = Copy::of(HOME);
    (row.arrange)(&copy);
    let before = imprint(copy.home().parent().unwrap());
    let arguments: Vec<String> = row.call.iter().map(|it| filled(it, &copy)).collect();
    let outcome = match row.mounts {
        None if row.nobody => finished(
            Command::new("setpriv")
                .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
                .arg(env!("CARGO_BIN_EXE_transload"))
                .args(&arguments),
        ),
        None => transload(&arguments),
        Some(mounts) => finished(
            Command::new("unshare")
                .args([
                    "-m",
                    "sh",
                    "-c",
                    &format!("{} && exec \"$@\"", filled(mounts, &copy)),
                    "sh",
                ])
                .arg(env!("CARGO_BIN_EXE_transload"))
                .args(&arguments),
        ),
    };
    let mut faults = Vec::new();
    let works = row.code == 0;
    if outcome.code != row.code {
        faults.push(format!("exit {} instead of {}", outcome.code, row.code));
    }
    for words in row.says {
        if !outcome.said.contains(words) {
            faults.push(format!("doesn't say {words:?}"));
        }
    }
    if !faults.is_empty() {
        faults.push(format!("it said: {}", outcome.said));
    }
    let after = imprint(copy.home().parent().unwrap());
    for path in changed(&before, &after).into_iter().filter(|_| !works) {
        // Making .transload, or trying whether a folder can be written, changes its time.
        let tried = [copy.home(), copy.beside("empty")];
        if !tried.contains(&path) {
            faults.push(format!("{} changed", path.display()));
        }
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", row.what)).collect()
}

fn check(rows: &[Row]) {
    let can_be_nobody = can_be_nobody();
    let (rows, left): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| can_be_nobody || !row.nobody);
    for row in left {
        not_checked(&format!("{}: this test can't run a program as another user", row.what));
    }
    let faults: Vec<String> = rows.into_iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_bad_input_is_refused_in_words_and_changes_nothing() {
    check(BUILTIN_ROWS);
    if helper().is_some() {
        check(HELPER_ROWS);
    }
}

#[test]
fn file_systems_that_can_t_carry_the_migration_are_refused() {
    // F15
    if !can_mount() {
        for row in MOUNT_ROWS {
            not_checked(&format!("{}: no mount namespace can be made here", row.what));
        }
        return;
    }
    if helper().is_some() {
        check(MOUNT_ROWS);
    }
}

/// Runs the program on a kernel that knows no exchange, as far as it can tell.
fn without_exchange(arguments: &[&str]) -> Outcome {
    finished(
        Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2"])
            .args(["-e", "inject=renameat2:error=EINVAL"])
            .arg(env!("CARGO_BIN_EXE_transload"))
            .args(arguments),
    )
}

#[test]
fn a_file_system_without_exchange_is_refused_unless_renames_are_asked_for() {
    if helper().is_none() {
        return;
    }
    if !Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|it| it.success())
    {
        not_checked("a file system without exchange: strace isn't here or may not trace");
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    let before = imprint(&home);
    let migrate = ["migrate", home.to_str().unwrap(), "--to", "pebble1", "--yes"];
    let refused = without_exchange(&migrate);
    assert_eq!(refused.code, 3, "{}", refused.said);
    for words in ["can't exchange two paths in one step", "--swap rename"] {
        assert!(refused.said.contains(words), "{words}: {}", refused.said);
    }
    assert_eq!(changed(&before, &imprint(&home)), Vec::<std::path::PathBuf>::new());
    let done = without_exchange(&[&migrate[..], &["--swap", "rename"]].concat());
    assert_eq!(done.code, 0, "{}", done.said);
    let verified = transload(&["verify", home.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}", verified.said);
    let back = without_exchange(&["rollback", home.to_str().unwrap(), "--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    let changed = changed(&before, &imprint(&home));
    assert_eq!(changed, Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_home_whose_path_is_no_text_is_read_and_not_migrated() {
    let copy = Copy::of(HOME);
    let home = copy.beside("").join(OsStr::from_bytes(b"h\xff\xfeme"));
    std::fs::rename(copy.home(), &home).unwrap();
    let before = imprint(&home);
    let call = |words: &[&str]| {
        let mut call: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        call.insert(1, home.as_os_str());
        transload(&call)
    };
    for read in ["inspect", "verify", "root"] {
        let outcome = call(&[read]);
        assert_eq!(outcome.code, 0, "{read}: {}", outcome.said);
    }
    let to = &["--to", "pebble1"][..];
    let writing: [&[&str]; 6] = [
        &[&["plan"], to].concat(),
        &[&["migrate"], to, &["--yes"]].concat(),
        &["resume"],
        &["rollback"],
        &["finalize"],
        &["status"],
    ];
    for words in writing {
        let outcome = call(words);
        assert_eq!(outcome.code, 3, "{words:?}: {}", outcome.said);
        assert!(!outcome.said.contains("panicked"), "{words:?}: {}", outcome.said);
    }
    assert!(!home.join(".transload").exists());
    assert_eq!(changed(&before, &imprint(&home)), Vec::<std::path::PathBuf>::new());
}

/// User and group of every path below a folder, and its mode.
fn owners(folder: &Path) -> Vec<(std::path::PathBuf, u32, u32, u32)> {
    let mut owners = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = std::fs::symlink_metadata(&path).unwrap();
        owners.push((path.clone(), about.uid(), about.gid(), about.mode() & 0o777));
        if about.is_dir() {
            owners.extend(self::owners(&path));
        }
    }
    owners
}

#[test]
fn root_migrates_for_a_service_user_and_another_file_system_and_a_link_work() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = copy.home();
    let is_root = std::fs::metadata(copy.beside("")).unwrap().uid() == 0;
    let (user, group) = (4_711, 4_712);
    if is_root {
        for (path, ..) in owners(&home) {
            chown(path, Some(user), Some(group)).unwrap();
        }
        chown(&home, Some(user), Some(group)).unwrap();
    } else {
        not_checked("root for a service user: this test doesn't run as root");
    }
    let data = copy.beside("volume");
    std::fs::rename(home.join("data"), &data).unwrap();
    std::os::unix::fs::symlink(&data, home.join("data")).unwrap();
    let shown = |name: &str| std::fs::metadata(data.join(name)).unwrap();
    let before = shown("blockstore.db");
    let home_text = home.to_str().unwrap();
    let outcome = transload(&["migrate", home_text, "--to", "pebble1", "--yes"]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(home.join("data").is_symlink(), "the link to the data was replaced");
    let after = shown("blockstore.db");
    assert_ne!(before.ino(), after.ino(), "nothing was swapped");
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
    if is_root {
        for name in ["blockstore.db", "application.db"] {
            for (path, uid, gid, _) in owners(&data.join(name)) {
                assert_eq!((uid, gid), (user, group), "{}", path.display());
            }
        }
        for name in ["config.toml", "app.toml"] {
            let about = std::fs::metadata(home.join("config").join(name)).unwrap();
            assert_eq!((about.uid(), about.gid()), (user, group), "{name}");
        }
    }
    let back = transload(&["rollback", home_text, "--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    assert_eq!(shown("blockstore.db").ino(), before.ino(), "the old folder didn't come back");
}
