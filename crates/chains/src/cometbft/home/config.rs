//! Reads `config/config.toml` and `config/app.toml`.

use super::LAYOUT_KEY;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};
use transload_store::{Error, Kind, Result};

/// A config file larger than this is none: those of today have 30 KB.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// A config file, parsed.
pub(super) struct Config {
    pub(super) path: PathBuf,
    pub(super) document: DocumentMut,
}

/// Both config files, where they exist.
pub(super) struct Configs {
    pub(super) node: Option<Config>,
    pub(super) app: Option<Config>,
}

impl Configs {
    pub(super) fn read(root: &Path) -> Result<Self> {
        Ok(Self {
            node: read_config(&root.join("config/config.toml"))?,
            app: read_config(&root.join("config/app.toml"))?,
        })
    }

    /// A text of the node's file, by its key at the top level.
    pub(super) fn node_text(&self, key: &str) -> Option<String> {
        text(self.node.as_ref()?.document.get(key)?)
    }

    /// A text of the application's file, by its key at the top level.
    pub(super) fn app_text(&self, key: &str) -> Option<String> {
        text(self.app.as_ref()?.document.get(key)?)
    }

    /// Whether a switch of the application's file, by its key at the top level, is on.
    pub(super) fn app_flag(&self, key: &str) -> bool {
        let item = self.app.as_ref().and_then(|config| config.document.get(key));
        item.and_then(Item::as_bool).unwrap_or(false)
    }

    /// The node's setting for the layout of its keys.
    pub(super) fn key_layout(&self) -> Option<String> {
        let (section, key) = LAYOUT_KEY.split_once('.')?;
        text(self.node.as_ref()?.document.get(section)?.get(key)?)
    }

    /// Whether the node's file has a key or section of this name.
    pub(super) fn node_has(&self, key: &str) -> bool {
        self.node.as_ref().is_some_and(|config| config.document.contains_key(key))
    }

    /// Whether a data companion may keep the node from pruning (1.x).
    pub(super) fn has_data_companion(&self) -> bool {
        let keys = ["storage", "pruning", "data_companion", "enabled"];
        let root = self.node.as_ref().map(|config| config.document.as_item());
        let found = keys.iter().try_fold(root, |item, key| Some(item?.get(key)));
        found.flatten().and_then(Item::as_bool).unwrap_or(false)
    }

    /// Whether the node's file is one that CometBFT or Tendermint reads.
    pub(super) fn is_cometbft(&self) -> bool {
        self.node_has("db_backend") && self.node_has("consensus")
    }

    /// Whether there is a config of a Cosmos SDK application, which demands this key.
    pub(super) fn is_sdk(&self) -> bool {
        self.app.as_ref().is_some_and(|config| config.document.contains_key("minimum-gas-prices"))
    }

    /// What indexes transactions; `kv` unless the file says otherwise.
    pub(super) fn indexer(&self) -> String {
        let section = self.node.as_ref().and_then(|config| config.document.get("tx_index"));
        let name = section.and_then(|section| text(section.get("indexer")?));
        name.unwrap_or_else(|| "kv".to_owned())
    }

    pub(super) fn node_data_dir(&self, root: &Path) -> PathBuf {
        let dir = self.node_text("db_dir").filter(|dir| !dir.is_empty());
        root.join(dir.unwrap_or_else(|| "data".to_owned()))
    }
}

fn text(item: &Item) -> Option<String> {
    item.as_str().map(str::to_owned)
}

fn read_config(path: &Path) -> Result<Option<Config>> {
    const OPERATION: &str = "read a config file";
    let bytes = match std::fs::metadata(path) {
        // Reading a pipe would wait for its writer for ever.
        Ok(metadata) if !metadata.is_file() => {
            return Err(corrupt(path, "it is no regular file".to_owned()));
        }
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(OPERATION, path, error)),
    };
    if bytes > CONFIG_BYTES_MAX {
        return Err(Error::new(
            Kind::Limit,
            OPERATION,
            format!("it has {bytes} bytes, more than {CONFIG_BYTES_MAX}"),
        )
        .with("path", path.display().to_string()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidData {
            corrupt(path, "it is not UTF-8 text".to_owned())
        } else {
            Error::io(OPERATION, path, error)
        }
    })?;
    let document = text.parse::<DocumentMut>().map_err(|error| {
        let line = error.message().to_owned();
        corrupt(path, format!("it is not TOML: {line}")).caused_by(error)
    })?;
    Ok(Some(Config { path: path.to_owned(), document }))
}

fn corrupt(path: &Path, what: String) -> Error {
    Error::new(Kind::Corrupt, "read a config file", what).with("path", path.display().to_string())
}
