//! The README's first command: the main job on a real node home.

use crate::helper;
use crate::place::{Result, cargo, root, run, say, target_dir};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The home that the demo migrates: one of four validators of a CometBFT 0.38 network, goleveldb,
/// 300 heights with transactions, validator changes and evidence.
const HOME: &str = "cometbft-0.38-kvstore";

/// What is converted where Go is missing: every database of that home.
const DATABASES: [&str; 5] =
    ["blockstore.db", "state.db", "tx_index.db", "evidence.db", "kvstore.db"];

/// Builds, unpacks a fresh copy of the home and migrates it.
pub(crate) fn show(to: Option<&str>) -> Result<bool> {
    say("building transload (a first build takes some minutes) ...");
    if !run(&mut cargo(&["build", "--release", "--package", "transload"]))? {
        return Err("transload didn't build".into());
    }
    if helper::has_go() {
        say("building the Go helper ...");
        helper::build()?;
    }
    let home = unpack()?;
    say(&format!("a fresh copy of a real node home: {}", home.display()));
    if to.is_some() || helper::has_go() {
        return migrate(&home, to.unwrap_or("pebble1"));
    }
    say(
        "Go is missing, so the helper that writes Pebble can't be built. Instead every database is \
         converted to redb, an embedded engine that no node opens: the copy and its proof are the \
         same, the swap is left out.",
    );
    convert_all(&home)
}

fn migrate(home: &Path, engine: &str) -> Result<bool> {
    let mut migrate = transload(&["migrate".as_ref(), home.as_os_str()]);
    migrate.args(["--to", engine, "--yes"]);
    Ok(run_and_say(&mut migrate)?
        && run_and_say(&mut transload(&["status".as_ref(), home.as_os_str()]))?)
}

fn convert_all(home: &Path) -> Result<bool> {
    let mut good = run_and_say(&mut transload(&["verify".as_ref(), home.as_os_str()]))?;
    for database in DATABASES {
        let mut convert =
            transload(&["convert".as_ref(), home.join("data").join(database).as_os_str()]);
        convert.args(["--to", "redb"]).arg(home.with_file_name(database).with_extension("redb"));
        good &= run_and_say(&mut convert)?;
    }
    Ok(good)
}

fn transload(arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(target_dir().join("release/transload"));
    command.args(arguments);
    command
}

fn run_and_say(command: &mut Command) -> Result<bool> {
    let words: Vec<String> =
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    say(&format!("\n$ transload {}", words.join(" ")));
    run(command)
}

fn unpack() -> Result<PathBuf> {
    let dir = target_dir().join("demo");
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(failed)?;
    }
    std::fs::create_dir_all(&dir).map_err(failed)?;
    let archive = root().join("testdata/homes").join(format!("{HOME}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(&archive).arg("-C").arg(&dir);
    if run(&mut tar)? {
        Ok(dir.join("home"))
    } else {
        Err(format!("{} can't be unpacked", archive.display()))
    }
}
