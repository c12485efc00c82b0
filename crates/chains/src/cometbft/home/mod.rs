//! What a node home is, told from names and config files alone.
//!
//! No database is opened and nothing is changed here. Where the node and its application keep
//! their databases, which config key governs each, what every other file is and what becomes of
//! it, where the signer's state is.

mod app_state;
mod config;
mod edits;
mod inventory;
mod node_binary;
mod own;
mod software;

pub use edits::{GUARD, config_edits};
pub use node_binary::{DbLibrary, NodeBuild};
pub(crate) use own::{has_data_companion, own_address, snapshots_folder, upgrade_height};
pub use software::Release;

use super::database::{APPLICATION, BLOCKSTORE, EVIDENCE, STATE, TX_INDEX};
use config::Configs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use transload_store::{Error, Home, Kind, Result, SignerState};

/// This profile's id.
pub const PROFILE_ID: &str = "cometbft";

/// The config key that governs the node's databases.
pub(crate) const NODE_KEY: &str = "db_backend";
/// The config key that governs the application's databases.
pub(crate) const APP_KEY: &str = "app-db-backend";
/// The config key for the layout of keys in new databases of a 1.x node.
pub(crate) const LAYOUT_KEY: &str = "storage.experimental_db_key_layout";

const OPERATION: &str = "recognise a CometBFT home";

/// A signer's state has half a kilobyte.
const SIGNER_BYTES_MAX: u64 = 64 << 10;

/// Looks at `root`; `None` when it is no home of this kind.
///
/// # Errors
/// [`Kind::Corrupt`] for a config file that can't be read, [`Kind::NotFound`] for a home whose
/// node has never run, [`Kind::InvalidInput`] for the data folder of a home.
pub fn recognise(root: &Path) -> Result<Option<Home>> {
    if !root.is_dir() {
        return Ok(None);
    }
    let configs = Configs::read(root)?;
    let Some(node_data) = find_node_data(root, &configs)? else {
        return Ok(None);
    };
    let (software, software_evidence) = software::of_config(&configs);
    let mut notices = Vec::new();
    if configs.node.is_none() {
        notices.push(
            "there is no config/config.toml: the home can be read and verified, but no engine \
             can be switched in it"
                .to_owned(),
        );
    }
    let inventory = inventory::take(root, &node_data, &configs, &mut notices)?;
    let remote_signer = configs.node_text("priv_validator_laddr").filter(|laddr| !laddr.is_empty());
    let signer = match remote_signer {
        Some(_) => None,
        None => read_signer(&signer_path(root, &configs), &mut notices),
    };
    let signer_file = signer_path(root, &configs);
    let signer_unread = (remote_signer.is_none() && signer.is_none())
        .then_some(signer_file)
        .filter(|file| file.symlink_metadata().is_ok());
    compare_keys(&configs, &mut notices);
    let absent = absent(&configs, &inventory.databases);
    for name in &absent {
        notices.push(format!(
            "there is no {name}, which a node with this config keeps: nothing in it can be checked"
        ));
    }
    let app_state = app_state::find(&configs, &inventory.databases);
    Ok(Some(Home {
        profile: PROFILE_ID.to_owned(),
        software,
        software_evidence,
        root: root.to_owned(),
        data_dir: node_data,
        databases: inventory.databases,
        absent,
        app_state,
        files: inventory.files,
        signer,
        signer_unread,
        remote_signer,
        notices,
    }))
}

/// The databases that a node with this config makes when it starts, less those that are there.
fn absent(configs: &Configs, found: &[transload_store::Database]) -> Vec<String> {
    if !configs.is_cometbft() {
        return Vec::new();
    }
    let mut expected = vec![BLOCKSTORE, STATE, EVIDENCE];
    // Other indexers keep nothing in the home.
    if configs.indexer() == "kv" {
        expected.push(TX_INDEX);
    }
    if configs.is_sdk() {
        expected.push(APPLICATION);
    }
    expected.retain(|name| found.iter().all(|database| database.name != **name));
    expected.into_iter().map(str::to_owned).collect()
}

/// The folder with the node's databases.
fn find_node_data(root: &Path, configs: &Configs) -> Result<Option<PathBuf>> {
    let data = configs.node_data_dir(root);
    if has_blocks(&data)? {
        return Ok(Some(data));
    }
    if configs.is_cometbft() {
        return Err(Error::new(
            Kind::NotFound,
            OPERATION,
            "the home has a node's config but neither a block store nor a state store: its node \
             has never run, or db_dir points elsewhere",
        )
        .with("looked in", data.display().to_string()));
    }
    if !has_blocks(root)? {
        return Ok(None);
    }
    let parent = root.parent().filter(|parent| parent.join("config/config.toml").is_file());
    match parent {
        Some(parent) => Err(Error::new(
            Kind::InvalidInput,
            OPERATION,
            "this is the data folder of a home, without the config that names its engines",
        )
        .with("give the home", parent.display().to_string())),
        None => Ok(Some(root.to_owned())),
    }
}

/// Whether a folder holds a node's databases. One that can't be looked into isn't taken for empty.
fn has_blocks(dir: &Path) -> Result<bool> {
    // Without `.db` it is a folder of BadgerDB's.
    for name in ["blockstore.db", "state.db", "blockstore/MANIFEST", "state/MANIFEST"] {
        let path = dir.join(name);
        match path.symlink_metadata() {
            Ok(_) => return Ok(true),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Error::io(OPERATION, &path, error)),
        }
    }
    Ok(false)
}

/// What the node's config sets as the layout of its keys; `None` where it sets nothing.
///
/// # Errors
/// As [`recognise`], for a config file that can't be read.
pub(crate) fn configured_layout(root: &Path) -> Result<Option<String>> {
    Ok(Configs::read(root)?.key_layout())
}

/// Whether the application's config switches the fast index of IAVL off.
///
/// # Errors
/// As [`recognise`], for a config file that can't be read.
pub(crate) fn fast_index_is_off(root: &Path) -> Result<bool> {
    Ok(Configs::read(root)?.app_flag("iavl-disable-fastnode"))
}

/// Where the home's genesis document is.
///
/// # Errors
/// As [`recognise`], for a config file that can't be read.
pub(crate) fn genesis_path(root: &Path) -> Result<PathBuf> {
    let file = Configs::read(root)?.node_text("genesis_file").filter(|file| !file.is_empty());
    Ok(root.join(file.unwrap_or_else(|| "config/genesis.json".to_owned())))
}

fn signer_path(root: &Path, configs: &Configs) -> PathBuf {
    let file = configs.node_text("priv_validator_state_file").filter(|file| !file.is_empty());
    root.join(file.unwrap_or_else(|| "data/priv_validator_state.json".to_owned()))
}

/// A signer's file that can't be read is no reason to refuse reading the home, but is said.
fn read_signer(path: &Path, notices: &mut Vec<String>) -> Option<SignerState> {
    // Reading a pipe would wait for its writer for ever.
    let metadata = path.metadata();
    if metadata.as_ref().is_ok_and(|metadata| !metadata.is_file()) {
        notices.push(format!("the signer's state {} is no regular file", path.display()));
        return None;
    }
    if let Ok(bytes) = metadata.map(|metadata| metadata.len())
        && bytes > SIGNER_BYTES_MAX
    {
        notices.push(format!(
            "the signer's state {} has {bytes} bytes, more than {SIGNER_BYTES_MAX}: it isn't read",
            path.display()
        ));
        return None;
    }
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            notices.push(format!("the signer's state {} can't be read: {error}", path.display()));
            return None;
        }
    };
    let signer = parse_signer(&text);
    if signer.is_none() {
        notices.push(format!(
            "{} is not a signer's state: its height can't be compared with the tip",
            path.display()
        ));
    }
    signer
}

fn parse_signer(text: &[u8]) -> Option<SignerState> {
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let height = match json.get("height")? {
        serde_json::Value::String(text) => text.parse().ok()?,
        number => number.as_u64()?,
    };
    let round = u32::try_from(json.get("round")?.as_u64()?).ok()?;
    let step = u8::try_from(json.get("step")?.as_u64()?).ok()?;
    Some(SignerState { height, round, step })
}

fn compare_keys(configs: &Configs, notices: &mut Vec<String>) {
    let (Some(node), Some(app)) = (configs.node_text(NODE_KEY), configs.app_text(APP_KEY)) else {
        return;
    };
    if !app.is_empty() && app != node {
        notices.push(format!(
            "two config keys name different engines: {NODE_KEY} = {node:?} in config.toml, \
             {APP_KEY} = {app:?} in app.toml"
        ));
    }
}
