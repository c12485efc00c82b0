//! What a home says about its own validator, its snapshots, and about the upgrade that its
//! software waits for.
//!
//! Invariant: of the key's file, only the address leaves this module.

use super::super::database::SNAPSHOTS;
use super::config::Configs;
use serde_json::Value;
use std::path::Path;
use transload_store::{Home, Result};

/// Both files have less than a kilobyte.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The address of the key that this node signs with; `None` where the signer is remote, or the
/// home doesn't tell.
pub(crate) fn own_address(home: &Home) -> Option<Vec<u8>> {
    if home.remote_signer.is_some() {
        return None;
    }
    let configs = Configs::read(&home.root).ok()?;
    let file = configs.node_text("priv_validator_key_file").filter(|file| !file.is_empty());
    let file = file.unwrap_or_else(|| "config/priv_validator_key.json".to_owned());
    let key = read(&home.root.join(file))?;
    hex::decode(key.get("address")?.as_str()?).ok()
}

/// The folder of the application's state-sync snapshots: their records stand in it.
pub(crate) fn snapshots_folder(home: &Home) -> Option<&Path> {
    let records = home.databases.iter().find(|database| database.name == SNAPSHOTS);
    records.and_then(|database| database.path.parent())
}

/// Whether the node's config lets a data companion say which heights it still needs (1.x).
///
/// # Errors
/// Those of reading the config.
pub(crate) fn has_data_companion(home: &Home) -> Result<bool> {
    Ok(Configs::read(&home.root)?.has_data_companion())
}

/// The height of the last software upgrade that the application has come to.
pub(crate) fn upgrade_height(home: &Home) -> Option<u64> {
    match read(&home.root.join("data/upgrade-info.json"))?.get("height")? {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    }
}

fn read(path: &Path) -> Option<Value> {
    if std::fs::metadata(path).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
