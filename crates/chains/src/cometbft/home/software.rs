//! Which release of the node software wrote a home, and what its builds can open.

use super::config::Configs;
use super::node_binary::DbLibrary;
use transload_model::engine::Engine;

/// A release line, as far as formats and rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// Tendermint and CometBFT 0.34.
    V034,
    /// 0.37.
    V037,
    /// 0.38.
    V038,
    /// 1.x.
    V1,
}

impl Release {
    /// The release line of a version such as `0.38.26` or `v1.0.1`.
    #[must_use]
    pub fn of_version(version: &str) -> Option<Self> {
        let version = version.strip_prefix('v').unwrap_or(version);
        let mut parts = version.split(['.', '-', '+']);
        match (parts.next()?, parts.next()?) {
            ("0", "34") => Some(Release::V034),
            ("0", "37") => Some(Release::V037),
            ("0", "38") => Some(Release::V038),
            ("1", _) => Some(Release::V1),
            _ => None,
        }
    }

    /// The release line that [`transload_store::Home::software`] names.
    #[must_use]
    pub fn of_software(software: &str) -> Option<Self> {
        Self::of_version(software.rsplit(' ').next()?)
    }

    /// Whether Ed25519 signatures follow ZIP-215; earlier releases used Go's stricter library.
    #[must_use]
    pub fn uses_zip215(self) -> bool {
        self >= Release::V038
    }
}

/// The first 0.38 whose cometbft-db (0.11) has Pebble: `go.mod` of 0.38.0 to 0.38.11 names 0.7.
const PEBBLE_SINCE_038_PATCH: u32 = 12;

/// Whether a build of the release that `software` names (such as `CometBFT 0.38.26`), with the
/// right build tags, can open `engine` with this library; `None` when the release isn't known.
///
/// cometbft-db knows Pebble since 0.10; tm-db never did; cosmos-db, the application's library of
/// the SDK that goes with 0.38, always did. RocksDB, bbolt and C++ LevelDB need a build tag
/// everywhere; cosmos-db has neither of the latter two. No build opens the other engines that Transload writes. An application can be built with newer libraries
/// than its release names: then only its build info ([`super::NodeBuild`]) tells.
#[must_use]
pub(super) fn registers(software: &str, library: DbLibrary, engine: Engine) -> Option<bool> {
    let version = software.rsplit(' ').next()?;
    let release = Release::of_version(version)?;
    let patch = version.split(['.', '-', '+']).nth(2).and_then(|patch| patch.parse::<u32>().ok());
    Some(match (engine, library) {
        (Engine::Goleveldb | Engine::Rocksdb, _) => true,
        (Engine::Bbolt | Engine::Cleveldb, DbLibrary::Node) => true,
        (Engine::Bbolt | Engine::Cleveldb, DbLibrary::App) => release < Release::V038,
        (Engine::Pebble1, DbLibrary::App) => release >= Release::V038,
        (Engine::Pebble1, DbLibrary::Node) if release == Release::V038 => {
            patch.is_some_and(|patch| patch >= PEBBLE_SINCE_038_PATCH)
        }
        (Engine::Pebble1, DbLibrary::Node) => release > Release::V038,
        _ => false,
    })
}

/// Name of the software and what tells so, from the node's config file.
pub(super) fn of_config(configs: &Configs) -> (String, String) {
    if let Some(version) = configs.node_text("version").filter(|version| !version.is_empty()) {
        let evidence = format!("config.toml says version = {version:?}");
        return (format!("CometBFT {version}"), evidence);
    }
    let told_by = |line: &str, key: &str| {
        (format!("CometBFT {line}"), format!("config.toml has {key}, as {line} writes it"))
    };
    if configs.node_has("fast_sync") || configs.node_has("fastsync") {
        told_by("0.34", "fast_sync")
    } else if configs.node_has("block_sync") {
        told_by("0.37", "block_sync")
    } else if configs.node.is_some() {
        ("CometBFT".to_owned(), "config.toml has no key that tells the version".to_owned())
    } else {
        ("CometBFT".to_owned(), "there is no config.toml".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart_by_release_line() {
        for (version, release) in [
            ("0.34.29", Some(Release::V034)),
            ("0.37.15", Some(Release::V037)),
            ("v0.38.26", Some(Release::V038)),
            ("0.38.0-rc3", Some(Release::V038)),
            ("1.0.1", Some(Release::V1)),
            ("1.1.0-dev", Some(Release::V1)),
            ("0.35.9", None),
            ("2.0.0", None),
            ("", None),
        ] {
            assert_eq!(Release::of_version(version), release, "{version}");
        }
        assert_eq!(Release::of_software("CometBFT 0.38.26"), Some(Release::V038));
        assert_eq!(Release::of_software("CometBFT"), None);
    }

    #[test]
    fn the_release_tells_which_engines_each_library_opens() {
        use DbLibrary::{App, Node};
        for (software, library, engine, opens) in [
            ("CometBFT 0.34.29", Node, Engine::Goleveldb, Some(true)),
            ("CometBFT 0.37.15", Node, Engine::Pebble1, Some(false)),
            ("CometBFT 0.37.15", App, Engine::Pebble1, Some(false)),
            ("CometBFT 0.38", Node, Engine::Pebble1, Some(false)),
            ("CometBFT 0.38.11", Node, Engine::Pebble1, Some(false)),
            ("CometBFT 0.38.11", App, Engine::Pebble1, Some(true)),
            ("CometBFT 0.38.12", Node, Engine::Pebble1, Some(true)),
            ("CometBFT 1.0.1", Node, Engine::Pebble1, Some(true)),
            ("CometBFT 0.34.29", App, Engine::Bbolt, Some(true)),
            ("CometBFT 0.38.0", Node, Engine::Bbolt, Some(true)),
            ("CometBFT 0.38.26", App, Engine::Bbolt, Some(false)),
            ("CometBFT 1.0.1", Node, Engine::Bbolt, Some(true)),
            ("CometBFT 1.0.1", Node, Engine::Pebble2, Some(false)),
            ("CometBFT 1.0.1", Node, Engine::Redb, Some(false)),
            ("CometBFT", Node, Engine::Goleveldb, None),
        ] {
            assert_eq!(registers(software, library, engine), opens, "{software} {engine}");
        }
    }
}
