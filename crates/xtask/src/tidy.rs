//! Keeps the house: arrows between crates go down, files stay rooms, nothing unfinished, no
//! traces of a machine, and ARCHITECTURE.md names what exists.

use crate::place::{Result, metadata, root, say};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The layer of every crate; an arrow goes to a lower layer only.
const LAYERS: &[(&str, u8)] = &[
    ("transload-model", 0),
    ("transload-store", 1),
    ("transload-codec", 1),
    ("transload-observe", 1),
    ("transload-drivers", 2),
    ("transload-chains", 2),
    ("transload-engine", 3),
    ("transload", 5),
    ("xtask", 6),
    ("transload-bench", 6),
];

/// Arrows that go down and are forbidden all the same: the engine is handed drivers and
/// profiles, so that it can't depend on one.
const FORBIDDEN: &[(&str, &str)] =
    &[("transload-engine", "transload-drivers"), ("transload-engine", "transload-chains")];

/// A file above this many lines has become two rooms.
const FILE_LINES_MAX: usize = 800;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "helpers", "misc", "types"];

/// Checks everything and prints what is wrong.
pub(crate) fn report() -> Result<bool> {
    let mut faults = arrows()?;
    let files = tracked()?;
    for file in &files {
        faults.extend(faults_of(file));
    }
    faults.extend(architecture(&files)?);
    for fault in &faults {
        say(&format!("tidy: {fault}"));
    }
    say(&format!("tidy: {} files, {} faults", files.len(), faults.len()));
    Ok(faults.is_empty() && !files.is_empty())
}

fn arrows() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(layer) = layers.get(name) else {
            faults.push(format!("crate {name} has no layer in crates/xtask/src/tidy.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let Some(below) = layers.get(to) else { continue };
            if below >= layer || FORBIDDEN.contains(&(name, to)) {
                faults.push(format!("crate {name} (layer {layer}) must not use {to} ({below})"));
            }
        }
    }
    Ok(faults)
}

fn tracked() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .map_err(|error| error.to_string())?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn faults_of(file: &str) -> Vec<String> {
    let path = Path::new(file);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_code = matches!(path.extension().and_then(|e| e.to_str()), Some("rs" | "go"));
    let Ok(text) = std::fs::read_to_string(root().join(file)) else { return Vec::new() };
    let mut faults = Vec::new();
    if is_code {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{file}: {lines} lines, at most {FILE_LINES_MAX}"));
        }
        if EMPTY_NAMES.contains(&stem) {
            faults.push(format!("{file}: the name says nothing"));
        }
        if file.ends_with(".rs") && !text.starts_with("//!") {
            faults.push(format!("{file}: doesn't begin by saying what it is"));
        }
    }
    // This file names what it looks for.
    if file != "crates/xtask/src/tidy.rs" {
        faults.extend(marks(file, &text, is_code));
    }
    faults
}

/// Marks of unfinished work and traces of the machine that a file was written on.
fn marks(file: &str, text: &str, is_code: bool) -> Vec<String> {
    let unfinished = [
        "TODO",
        "FIXME",
        "todo!(",
        "unimplemented!(",
        "#[ignore",
        "allow(dead_code",
        "allow(unused",
    ];
    let traces = ["/work/", "/root/", "TRANSLOAD-INTERNAL"];
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let found = |mark: &&&str| line.contains(**mark);
        let in_code = unfinished.iter().filter(|_| is_code).find(found);
        if let Some(mark) = in_code.or_else(|| traces.iter().find(found)) {
            faults.push(format!("{file}:{}: {mark}", number + 1));
        }
    }
    faults
}

/// ARCHITECTURE.md names every crate, and every `path` it names in code type exists.
fn architecture(files: &[String]) -> Result<Vec<String>> {
    let page = "ARCHITECTURE.md";
    let text = std::fs::read_to_string(root().join(page)).map_err(|e| format!("{page}: {e}"))?;
    let mut faults = Vec::new();
    for file in files {
        let Some(name) = file.strip_prefix("crates/").and_then(|f| f.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        if !text.contains(&format!("crates/{name}")) {
            faults.push(format!("{page} doesn't name crates/{name}"));
        }
    }
    for named in text.split('`').skip(1).step_by(2) {
        let is_path = named.contains('/') && !named.contains([' ', ':', '<', '*']);
        if is_path && !root().join(named).exists() {
            faults.push(format!("{page} names {named}, which doesn't exist"));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_and_machine_paths_are_found() {
        assert_eq!(marks("a.rs", "fn a() {\n    todo!()\n}", true), ["a.rs:2: todo!("]);
        assert_eq!(marks("a.md", "see /root/x", false), ["a.md:1: /root/"]);
        assert!(marks("a.md", "a TODO list is fine in prose", false).is_empty());
    }

    #[test]
    fn every_layer_is_named_once() {
        let names: std::collections::BTreeSet<_> = LAYERS.iter().map(|layer| layer.0).collect();
        assert_eq!(names.len(), LAYERS.len());
    }
}
