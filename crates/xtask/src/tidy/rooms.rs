//! A file is a room: it says what it is, has a name that means something, and isn't too long.

use super::Repository;
use std::path::Path;

/// A file above this many lines has become two rooms.
const FILE_LINES_MAX: usize = 800;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helpers", "misc", "types"];

/// Code files that break this.
pub(super) fn faults(repository: &Repository) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, text) in repository.texts(&[".rs", ".go"]) {
        let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if EMPTY_NAMES.contains(&stem) {
            faults.push(format!("{file}: the name says nothing"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{file}: {lines} lines, at most {FILE_LINES_MAX}"));
        }
        if file.ends_with(".rs") && !text.starts_with("//!") {
            faults.push(format!("{file}: doesn't begin by saying what it is"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_a_nameless_and_a_silent_file_are_faults() {
        let long = "//! Long.\n".repeat(FILE_LINES_MAX + 1);
        let repository = Repository::of(&[
            ("crates/a/src/long.rs", &long),
            ("helpers/a/long.go", &long),
            ("crates/a/src/utils.rs", "//! Says nothing.\n"),
            ("crates/a/src/silent.rs", "fn silent() {}\n"),
        ]);
        assert_eq!(
            faults(&repository),
            [
                "crates/a/src/long.rs: 801 lines, at most 800",
                "crates/a/src/silent.rs: doesn't begin by saying what it is",
                "crates/a/src/utils.rs: the name says nothing",
                "helpers/a/long.go: 801 lines, at most 800",
            ]
        );
    }

    #[test]
    fn a_room_of_the_largest_size_is_fine() {
        let full = "//! Full.\n".repeat(FILE_LINES_MAX);
        assert!(faults(&Repository::of(&[("a.rs", &full), ("b.md", "# utils")])).is_empty());
    }
}
