//! Where things are, and how commands are run.

use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// What goes wrong here is told to the person who called.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Prints a line.
pub(crate) fn say(line: &str) {
    // Without a reader there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The root of the checkout that cargo was called in. Clones share compiled code, so what was
/// compiled in says less than what cargo says now.
pub(crate) fn root() -> PathBuf {
    let compiled_in = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled_in, PathBuf::from);
    here.ancestors().nth(2).unwrap_or(&here).to_owned()
}

/// Where compiled code goes: outside the checkout unless somebody said otherwise, so that a
/// fresh clone starts warm.
pub(crate) fn target_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return PathBuf::from(dir);
    }
    cache_dir().join("target")
}

/// Where downloads and built node programs are kept.
pub(crate) fn cache_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(|| root().join("target")).join("transload")
}

/// Where the tests' homes lie: in memory where that has room, because migrations and nodes sync
/// after each step, and a kill, a fault or a forgery shows the same on either. The lane `fixtures`
/// stays on the disk.
pub(crate) fn scratch_dir() -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    const FREE_BYTES_MIN: u64 = 6 << 30;
    const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
    let in_memory = rustix::fs::statfs(MEMORY).is_ok_and(|seen| {
        let free_bytes = seen.f_bavail.saturating_mul(seen.f_bsize.try_into().unwrap_or(0));
        seen.f_type == TMPFS_MAGIC && free_bytes >= FREE_BYTES_MIN
    });
    if in_memory { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}

/// Whether a program can be started.
pub(crate) fn has(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// `cargo` in the checkout, with the shared target folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target_dir())
        .env_remove("RUSTFLAGS")
        .stdin(std::process::Stdio::null());
    command
}

/// What cargo knows about the crates of the workspace.
pub(crate) fn metadata() -> Result<Value> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Runs a command and shows what it prints.
pub(crate) fn run(command: &mut Command) -> Result<bool> {
    command
        .status()
        .map(|status| status.success())
        .map_err(|error| format!("{:?} can't be started: {error}", command.get_program()))
}
