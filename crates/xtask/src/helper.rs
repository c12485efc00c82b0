//! Builds the Go helper that speaks to Go engines.

use crate::place::{Result, has, root, run, target_dir};
use std::path::PathBuf;
use std::process::Command;

/// Whether Go is at hand.
pub(crate) fn has_go() -> bool {
    has("go", "version")
}

/// Builds the helper beside the transload binary.
pub(crate) fn build() -> Result<PathBuf> {
    if !has_go() {
        return Err("Go is missing: install Go 1.24 or newer, then try again".into());
    }
    let helper = target_dir().join("release").join("transload-gostore");
    let mut build = Command::new("go");
    build
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&helper)
        .arg(".")
        .current_dir(root().join("helpers/gostore"))
        .env("CGO_ENABLED", "0"); // one static program, in a third of the time, without a C compiler
    if run(&mut build)? { Ok(helper) } else { Err("the helper didn't build".into()) }
}
