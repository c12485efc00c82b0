//! The README's first command: the main job on a real node home.

use crate::helper;
use crate::place::{Result, cargo, root, run, say, target_dir};
use std::path::PathBuf;
use std::process::Command;

/// The home that the demo migrates: a Cosmos SDK node, goleveldb, 318 heights.
const HOME: &str = "cosmos-simapp";

/// Builds, unpacks a fresh copy of the home and migrates it.
pub(crate) fn show(to: Option<&str>) -> Result<bool> {
    say("building transload (a first build takes some minutes) ...");
    if !run(&mut cargo(&["build", "--release", "--package", "transload"]))? {
        return Err("transload didn't build".into());
    }
    let target = match (to, helper::has_go()) {
        (Some(engine), _) => engine,
        (None, true) => "pebble1",
        (None, false) => {
            say("Go is missing, so the helper for Pebble can't be built: migrating to redb, \
                 which this node could not open, just to show the work");
            "redb"
        }
    };
    if helper::has_go() {
        say("building the Go helper ...");
        helper::build()?;
    }
    let home = unpack()?;
    say(&format!("a fresh copy of a real node home: {}\n", home.display()));
    let mut migrate = Command::new(target_dir().join("release/transload"));
    migrate.arg("migrate").arg(&home).args(["--to", target, "--yes"]);
    run_and_say(&mut migrate)
}

fn run_and_say(command: &mut Command) -> Result<bool> {
    let words: Vec<String> =
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    say(&format!("$ transload {}", words.join(" ")));
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
