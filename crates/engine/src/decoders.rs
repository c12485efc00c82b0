//! Doors for fuzzing: what an operator may have written is edited whole, or refused.

use crate::error::Result;
use crate::swap::edited;
use transload_store::{ConfigEdit, ConfigFile};

/// The text of a config file with one dotted key set from `old`, none where it is absent, to
/// `new`.
///
/// # Errors
/// As the swap's: the file is no TOML, or the key is no text or isn't there.
pub fn set_config_key(text: &str, key: &str, old: Option<&str>, new: &str) -> Result<String> {
    let edit = ConfigEdit {
        file: ConfigFile::Node,
        path: "config.toml".into(),
        key: key.to_owned(),
        old: old.map(str::to_owned),
        guard: "transload-cutover-in-progress".to_owned(),
        new: new.to_owned(),
    };
    edited(text, &edit)
}
