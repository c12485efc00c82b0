//! Python's plyvel, whose wheel has C++ LevelDB in it: the canonical engine that reads what is
//! written for it.

use crate::place::{cache_dir, say};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PACKAGE: &str = "plyvel==1.5.1";

/// The folder that plyvel is in, fetched once where Python and pip are there. Tests that need it
/// say so when it isn't.
pub(crate) fn folder() -> PathBuf {
    let folder = cache_dir().join("tools/plyvel");
    if !folder.join("plyvel").is_dir() {
        say(&format!("fetching {PACKAGE} ..."));
        let pip = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"])
            .arg("--target")
            .arg(&folder)
            .arg(PACKAGE)
            .stdin(Stdio::null())
            .status();
        if !pip.is_ok_and(|status| status.success()) {
            say("plyvel can't be had: what is written for C++ LevelDB isn't read by it");
        }
    }
    folder
}
