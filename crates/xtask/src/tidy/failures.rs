//! The failures seen elsewhere, as `docs/reliability.md` lists them, each have a test: one that
//! exists, and that says which failure it is there for.

use super::Repository;
use std::collections::BTreeMap;

/// The page and the heading over its table.
const PAGE: &str = "docs/reliability.md";
const HEADING: &str = "## Failures seen elsewhere";

/// This file writes marks to look for.
const HERE: &str = "crates/xtask/src/tidy/failures.rs";

/// Every failure that a migration of a stopped node can meet.
const NUMBERS: [u32; 22] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 18, 20, 21, 22, 23, 24, 25, 26];

/// Lines after a test's name in which its mark stands.
const MARK_LINES: usize = 3;

/// Rows and tests that don't fit.
pub(super) fn faults(repository: &Repository) -> Vec<String> {
    let Some(Some(page)) = repository.files.get(PAGE) else {
        return vec![format!("{PAGE} is missing")];
    };
    let rows = rows(page);
    let mut faults = Vec::new();
    for number in NUMBERS.iter().filter(|number| !rows.contains_key(number)) {
        faults.push(format!("{PAGE} doesn't list F{number}"));
    }
    let tests = tests(repository);
    for (number, names) in &rows {
        if names.is_empty() {
            faults.push(format!("{PAGE}: F{number} has no test"));
        }
        for name in names {
            match tests.get(name.as_str()) {
                None => faults.push(format!("{PAGE}: F{number} names {name}, which doesn't exist")),
                Some(marks) if !marks.contains(number) => {
                    faults.push(format!("{name} doesn't say // F{number}, as {PAGE} has it"));
                }
                Some(_) => {}
            }
        }
    }
    for (name, marks) in tests {
        for number in marks {
            if !rows.get(&number).is_some_and(|names| names.iter().any(|named| named == name)) {
                faults.push(format!("{name} says // F{number}, and {PAGE} doesn't name it there"));
            }
        }
    }
    faults
}

/// The tests that each row of the table names.
fn rows(page: &str) -> BTreeMap<u32, Vec<String>> {
    let section = page.split_once(HEADING).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = BTreeMap::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, tests, _] = cells[..] else { continue };
        let Some(number) = number.strip_prefix('F').and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        let names = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        rows.insert(number, names);
    }
    rows
}

/// Functions of our code, with the failures that their first lines name.
fn tests(repository: &Repository) -> BTreeMap<&str, Vec<u32>> {
    let mut tests = BTreeMap::new();
    let others = repository.texts(&[".rs", ".go"]).filter(|(file, _)| *file != HERE);
    for (_, text) in others {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            let first = lines.iter().skip(index).take(MARK_LINES);
            let marks: Vec<u32> = first.flat_map(|line| numbers(line)).collect();
            let known: &mut Vec<u32> = tests.entry(name).or_default();
            known.extend(marks);
        }
    }
    tests
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("func "))?;
    rest.split('(').next().filter(|name| !name.is_empty())
}

/// The failures that a comment names: `// F4, F14: why`.
fn numbers(line: &str) -> Vec<u32> {
    let Some((_, comment)) = line.split_once("// F") else { return Vec::new() };
    let list = comment.split(':').next().unwrap_or_default();
    let mut words = list.split(", ");
    let first = words.next().and_then(|digits| digits.parse().ok());
    let others = words.filter_map(|word| word.strip_prefix('F')?.parse().ok());
    first.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with a row for every number, and a test for each but the last.
    fn with(last: &str) -> Vec<String> {
        let mut page = format!("# x\n\n{HEADING}\n\n| # | what | test |\n|---|---|---|\n");
        let mut code = String::new();
        for number in NUMBERS.iter().filter(|number| **number != 26) {
            page += &format!("| F{number} | words | `test_{number}` |\n");
            code += &format!("fn test_{number}() {{\n    // F{number}: why\n}}\n");
        }
        page += last;
        code += "fn unmarked() {}\nfn elsewhere() {}\n";
        faults(&Repository::of(&[(PAGE, &page), ("a.rs", &code)]))
    }

    #[test]
    fn a_failure_without_a_row_a_test_or_a_mark_is_found() {
        assert_eq!(with(""), ["docs/reliability.md doesn't list F26"]);
        assert_eq!(with("| F26 | words | |\n"), ["docs/reliability.md: F26 has no test"]);
        assert_eq!(
            with("| F26 | words | `gone` |\n"),
            ["docs/reliability.md: F26 names gone, which doesn't exist"]
        );
        assert_eq!(
            with("| F26 | words | `unmarked` |\n"),
            ["unmarked doesn't say // F26, as docs/reliability.md has it"]
        );
        assert_eq!(faults(&Repository::default()), ["docs/reliability.md is missing"]);
    }

    #[test]
    fn a_mark_that_no_row_names_is_found() {
        let page = format!("{HEADING}\n");
        let code = "func TestIt(t *testing.T) { // F4, F14\n";
        let found = faults(&Repository::of(&[(PAGE, &page), ("a.go", code)]));
        let said: Vec<&String> =
            found.iter().filter(|fault| fault.starts_with("TestIt says")).collect();
        assert_eq!(said.len(), 2, "{found:?}");
    }
}
