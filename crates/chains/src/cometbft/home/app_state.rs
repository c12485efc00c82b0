//! Where the application of a node keeps its state.

use super::APPLICATION;
use super::config::Configs;
use transload_store::{AppState, Database};

/// Applications that are built into the node's program, by what `proxy_app` says. They keep
/// nothing, or a database in the data folder.
const BUILT_IN: [&str; 6] =
    ["kvstore", "persistent_kvstore", "noop", "counter", "counter_serial", "e2e"];

/// What a node takes where the file doesn't say.
const USUAL_ADDRESS: &str = "tcp://127.0.0.1:26658";

/// A database that this profile doesn't know may be the application's, whatever its name.
pub(super) fn find(configs: &Configs, databases: &[Database]) -> AppState {
    let is_apps = |database: &&Database| database.name == APPLICATION || !database.known;
    let names: Vec<String> =
        databases.iter().filter(is_apps).map(|database| database.name.clone()).collect();
    // An application that is one program with its node leaves `proxy_app` as it finds it.
    let is_within = configs.is_sdk() || names.iter().any(|name| name == APPLICATION);
    let address = configs.node_text("proxy_app").filter(|address| !address.is_empty());
    let address = address.unwrap_or_else(|| USUAL_ADDRESS.to_owned());
    if is_within || !configs.is_cometbft() || BUILT_IN.contains(&address.as_str()) {
        return AppState::Databases(names);
    }
    AppState::Elsewhere(address)
}
