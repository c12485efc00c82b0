//! Pages name only what exists, and the map names every room.

use super::Repository;

const MAP: &str = "ARCHITECTURE.md";

/// Links, paths and rooms that don't fit.
pub(super) fn faults(repository: &Repository) -> Vec<String> {
    let mut faults = map(repository);
    faults.extend(links(repository));
    faults.extend(mentions(repository));
    faults
}

/// The map names every crate and Go module, and only what exists.
fn map(repository: &Repository) -> Vec<String> {
    let Some(Some(text)) = repository.files.get(MAP) else {
        return vec![format!("{MAP} is missing")];
    };
    let mut faults = Vec::new();
    for file in repository.files.keys() {
        let room = file.strip_suffix("/Cargo.toml").or_else(|| file.strip_suffix("/go.mod"));
        if let Some(room) = room
            && !text.contains(room)
        {
            faults.push(format!("{MAP} doesn't name {room}"));
        }
    }
    for named in text.split('`').skip(1).step_by(2) {
        let is_path = named.contains('/') && !named.contains([' ', ':', '<', '*']);
        if is_path && !repository.has(named) {
            faults.push(format!("{MAP} names {named}, which doesn't exist"));
        }
    }
    faults
}

/// `[text](path)` in a page leads somewhere.
fn links(repository: &Repository) -> Vec<String> {
    let mut faults = Vec::new();
    for (page, text) in repository.texts(&[".md"]) {
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if beside(page, target).is_none_or(|path| !repository.has(&path)) {
                faults.push(format!("{page} links to {target}, which doesn't exist"));
            }
        }
    }
    faults
}

/// A path relative to a page, from the root; `None` when it leaves the repository.
fn beside(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Every page below `docs/` that code, help texts or other pages send a reader to exists.
fn mentions(repository: &Repository) -> Vec<String> {
    let mut faults = Vec::new();
    for (file, text) in repository.texts(&[".md", ".rs", ".go", ".toml"]) {
        if file == "crates/xtask/src/tidy/pages.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for page in pages_in(line) {
                if !repository.has(page) {
                    faults.push(format!("{file}:{}: {page} doesn't exist", number + 1));
                }
            }
        }
    }
    faults
}

fn pages_in(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("docs/").filter_map(|(at, _)| {
        let rest = line.get(at..)?;
        let is_path = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
        let end = rest.find(|letter| !is_path(letter)).unwrap_or(rest.len());
        let page = rest.get(..end)?.trim_end_matches('.');
        // Part of a longer path or address is somebody else's page.
        let starts = line.get(..at)?.chars().next_back().is_none_or(|before| !is_path(before));
        (starts && page.ends_with(".md")).then_some(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_misses_a_room_or_names_one_that_is_gone() {
        let repository = Repository::of(&[
            (MAP, "`crates/here` and `crates/gone`, `helpers/x/`"),
            ("crates/here/Cargo.toml", ""),
            ("crates/new/Cargo.toml", ""),
            ("helpers/x/go.mod", ""),
        ]);
        assert_eq!(
            map(&repository),
            [
                "ARCHITECTURE.md doesn't name crates/new",
                "ARCHITECTURE.md names crates/gone, which doesn't exist",
            ]
        );
        assert_eq!(map(&Repository::default()), ["ARCHITECTURE.md is missing"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let repository = Repository::of(&[
            ("docs/a.md", "[b](b.md) [up](../README.md#x) [web](https://example.org) [no](c.md)"),
            ("docs/b.md", "[out](../../etc/passwd)"),
            ("README.md", "[docs](docs)"),
        ]);
        assert_eq!(
            links(&repository),
            [
                "docs/a.md links to c.md, which doesn't exist",
                "docs/b.md links to ../../etc/passwd, which doesn't exist",
            ]
        );
    }

    #[test]
    fn a_page_that_code_sends_to_must_exist() {
        let repository = Repository::of(&[
            ("a.rs", "//! See docs/a.md and docs/adr/0001-x.md.\n// cosmos/iavl docs/node.md"),
            ("b.rs", "// https://example.org/docs/c.md"),
            ("docs/a.md", ""),
        ]);
        assert_eq!(
            mentions(&repository),
            ["a.rs:1: docs/adr/0001-x.md doesn't exist", "a.rs:2: docs/node.md doesn't exist"]
        );
    }
}
