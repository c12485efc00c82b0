//! Builds the real node programs that the lane `real` starts on what transload wrote.
//!
//! Each is an ordinary Go module under `tests/real/nodes`, pinned by its go.sum. Building is
//! skipped while the module's files, the tags and the Go release are the ones of the last build.

use crate::place::{Result, cache_dir, root, run, say};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Module folder (and name of the program), package to build, build tags.
const PROGRAMS: &[(&str, &str, &str)] = &[
    // Without the tags, a node before 1.0 refuses `pebbledb`, and every node the other two, by name.
    ("cometbft038", "github.com/cometbft/cometbft/cmd/cometbft", "pebbledb,boltdb,badgerdb"),
    ("cometbft1", "github.com/cometbft/cometbft/cmd/cometbft", ""),
    ("simapp", "github.com/cosmos/ibc-go/v8/testing/simapp/simd", "pebbledb"),
    // The module's own.
    ("successor", ".", "pebbledb"),
];

/// Builds what isn't built yet and answers the folder of the programs.
pub(crate) fn build() -> Result<PathBuf> {
    let programs = cache_dir().join("nodes");
    let failed = |error: std::io::Error| format!("{}: {error}", programs.display());
    std::fs::create_dir_all(&programs).map_err(failed)?;
    for (name, package, tags) in PROGRAMS {
        let module = root().join("tests/real/nodes").join(name);
        let made_from = fingerprint(&module)? + tags;
        let stamp = programs.join(format!("{name}.made-from"));
        let program = programs.join(name);
        if program.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|was| was == made_from) {
            continue;
        }
        say(&format!("building the node program {name} (some minutes the first time) ..."));
        let mut build = Command::new("go");
        build
            .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags", tags, "-o"])
            .arg(&program)
            .arg(package)
            .current_dir(&module)
            .stdin(Stdio::null());
        if !run(&mut build)? {
            return Err(format!("the node program {name} didn't build"));
        }
        std::fs::write(&stamp, made_from).map_err(failed)?;
    }
    Ok(programs)
}

/// What a program is made from: the module's files and the Go release.
fn fingerprint(module: &Path) -> Result<String> {
    let failed = |error: std::io::Error| format!("{}: {error}", module.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(module).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort_unstable();
    let mut text = String::new();
    for path in files {
        text += &std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let go = Command::new("go").arg("version").stdin(Stdio::null()).output();
    let go = go.map_err(|error| format!("go: {error}"))?;
    Ok(text + &String::from_utf8_lossy(&go.stdout))
}
