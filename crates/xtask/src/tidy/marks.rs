//! Marks of unfinished or hidden work, and traces of the machine that a file was written on.

use super::Repository;

/// Unfinished or hidden, in code.
const UNFINISHED: [&str; 7] =
    ["TODO", "FIXME", "todo!(", "unimplemented!(", "#[ignore", "allow(dead_code", "allow(unused"];

/// Paths of one machine, in any text.
const MACHINE: [&str; 2] = ["/work/", "/root/"];

/// The only place that a locked crate comes from.
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// This file names what it looks for.
const HERE: &str = "crates/xtask/src/tidy/marks.rs";

/// Lines with such marks.
pub(super) fn faults(repository: &Repository) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, text) in repository.texts(&[""]) {
        if file == HERE {
            continue;
        }
        let is_code = file.ends_with(".rs") || file.ends_with(".go");
        for (number, line) in text.lines().enumerate() {
            let found = |mark: &&&str| line.contains(**mark);
            let mark = MACHINE.iter().find(found);
            if let Some(mark) = mark.or_else(|| UNFINISHED.iter().filter(|_| is_code).find(found)) {
                faults.push(format!("{file}:{}: {mark}", number + 1));
            }
            if file == "Cargo.lock" && line.starts_with("source = ") && line != REGISTRY {
                faults.push(format!("{file}:{}: {line}", number + 1));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_found_in_code_and_allowed_in_prose() {
        let repository = Repository::of(&[
            ("a.go", "// TODO later"),
            ("a.md", "a TODO list is fine in prose"),
            ("a.rs", "fn a() {\n    todo!()\n}\n#[ignore = \"slow\"]"),
            ("b.rs", "#[allow(dead_code)]"),
        ]);
        let marks =
            ["a.go:1: TODO", "a.rs:2: todo!(", "a.rs:4: #[ignore", "b.rs:1: allow(dead_code"];
        assert_eq!(faults(&repository), marks);
    }

    #[test]
    fn traces_of_a_machine_are_found_everywhere() {
        let repository =
            Repository::of(&[("a.md", "see /root/x"), ("b.toml", "dir = \"/work/b\"")]);
        assert_eq!(faults(&repository), ["a.md:1: /root/", "b.toml:1: /work/"]);
    }

    #[test]
    fn a_locked_crate_from_elsewhere_is_found() {
        let lock = format!("{REGISTRY}\nsource = \"git+https://example.org/x\"\n");
        assert_eq!(
            faults(&Repository::of(&[("Cargo.lock", &lock)])),
            ["Cargo.lock:2: source = \"git+https://example.org/x\""]
        );
    }
}
