//! What a node would find in a home: the old databases, the new ones, or a refusal.

use std::path::Path;

/// Databases that the config's key governs.
pub(crate) const GOVERNED: [&str; 4] = ["blockstore.db", "state.db", "tx_index.db", "evidence.db"];

/// Which databases a home stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// All old, or all new, under a config that says so.
    Whole(&'static str),
    /// The node refuses before it opens anything, or at the first path that isn't there.
    Guarded,
}

/// Looks with a node's eyes: its config key, then what lies at each path.
///
/// # Panics
/// The node would open a database with the wrong engine, or make an empty one.
pub(crate) fn of(home: &Path, when: &str) -> Stand {
    let config = std::fs::read_to_string(home.join("config/config.toml")).unwrap();
    let configured = config
        .lines()
        .find_map(|line| line.strip_prefix("db_backend = "))
        .unwrap_or_else(|| panic!("after {when} the config has no db_backend"))
        .trim_matches('"');
    let found = found(home, when);
    if configured.contains("transload") {
        return Stand::Guarded;
    }
    let fits = |engine: &&str| *engine == configured || *engine == GUARD;
    assert!(found.iter().all(fits), "after {when}: {found:?} under {configured}");
    if found.contains(&GUARD) {
        return Stand::Guarded;
    }
    Stand::Whole(if configured == "pebbledb" { "pebbledb" } else { "goleveldb" })
}

const GUARD: &str = "guard";

/// Whose files lie at each path, whatever the config says.
///
/// # Panics
/// Nothing lies there, or something that is neither a database nor a guard.
pub(crate) fn found(home: &Path, when: &str) -> Vec<&'static str> {
    let at = |name: &&str| {
        let path = home.join("data").join(name);
        assert!(path.exists(), "after {when} a node would make {} anew", path.display());
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(text.contains("transload"), "after {when}: {text}");
            return GUARD;
        }
        let is_pebble = std::fs::read_dir(&path)
            .unwrap()
            .any(|file| file.unwrap().file_name().to_string_lossy().starts_with("OPTIONS"));
        if is_pebble { "pebbledb" } else { "goleveldb" }
    };
    GOVERNED.iter().map(at).collect()
}
