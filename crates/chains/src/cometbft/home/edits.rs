//! The config keys to set at the swap: all that must agree, or none.

use super::config::{Config, Configs};
use super::inventory::{is_app_database, is_node_database};
use super::node_binary::{DbLibrary, NodeBuild};
use super::software::registers;
use super::{APP_KEY, LAYOUT_KEY, NODE_KEY};
use crate::cometbft::layout::KeyForm;
use toml_edit::Item;
use transload_model::engine::Engine;
use transload_store::{ConfigEdit, ConfigFile, Error, Home, Kind, Result, SwapChange};

/// The engine name that stands in the config while a swap runs. Every node of this kind refuses
/// it by name before it opens a database.
pub const GUARD: &str = "transload-cutover-in-progress";

const OPERATION: &str = "find the config keys to set";

/// The name that the node's config has for an engine.
fn config_name(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Goleveldb => Some("goleveldb"),
        Engine::Pebble1 => Some("pebbledb"),
        Engine::Rocksdb => Some("rocksdb"),
        Engine::Bbolt => Some("boltdb"),
        Engine::Cleveldb => Some("cleveldb"),
        _ => None,
    }
}

/// The edits for a change.
///
/// # Errors
/// [`Kind::Unsupported`] when the node can't be configured so.
pub fn config_edits(
    home: &Home,
    change: &SwapChange<'_>,
    node: Option<&NodeBuild>,
) -> Result<Vec<ConfigEdit>> {
    let refuse = |what: String| Error::new(Kind::Unsupported, OPERATION, what);
    let SwapChange { moved, engine: target, relaid, trimmed, .. } = *change;
    let in_place: Vec<String> = moved.iter().chain(relaid).chain(trimmed).cloned().collect();
    refuse_other_places(home, &in_place, target)?;
    let name = match node {
        Some(build) => built_in_name(build, moved, target)?,
        None => registered_name(home, moved, target)?,
    };
    let configs = Configs::read(&home.root)?;
    let Some(node) = &configs.node else {
        return Err(refuse("the home has no config/config.toml to set db_backend in".to_owned()));
    };
    for name in moved {
        let database = home.databases.iter().find(|database| database.name == *name);
        if database.is_none_or(|database| database.governed_by.is_none()) {
            return Err(refuse(format!(
                "no config key governs the engine of {name}: the program that opens it has it \
                 built in, so it stays as it is"
            )));
        }
    }
    let whole = |belongs: fn(&str) -> bool, key: &str| -> Result<bool> {
        let governed =
            home.databases.iter().filter(|d| belongs(&d.name) && d.governed_by.is_some());
        let (with, without): (Vec<_>, Vec<_>) =
            governed.map(|database| &database.name).partition(|name| moved.contains(name));
        if !with.is_empty() && !without.is_empty() {
            let without: Vec<_> = without.into_iter().map(String::as_str).collect();
            return Err(refuse(format!(
                "{key} governs {} as well: these move together",
                without.join(", ")
            )));
        }
        Ok(!with.is_empty())
    };
    let node_moves = whole(is_node_database, NODE_KEY)?;
    let app_moves = whole(is_app_database, APP_KEY)?;
    let mut edits = Vec::new();
    if let Some(app) = &configs.app
        && let Some(old) = configs.app_text(APP_KEY)
    {
        let node_old = configs.node_text(NODE_KEY);
        let app_changes = relaid.iter().chain(trimmed).any(|name| is_app_database(name));
        if app_moves {
            edits.push(edit(ConfigFile::App, app, APP_KEY, Some(old), name)?);
        } else if app_changes && !old.is_empty() {
            // It stays what it is, and the application refuses the guard by name meanwhile.
            edits.push(edit(ConfigFile::App, app, APP_KEY, Some(old.clone()), &old)?);
        } else if node_moves && old.is_empty() {
            // Empty means "as the node": it is pinned to what the application has now.
            let pinned = node_old.unwrap_or_else(|| "goleveldb".to_owned());
            edits.push(edit(ConfigFile::App, app, APP_KEY, Some(old), &pinned)?);
        }
    }
    let engine_now = configs.node_text(NODE_KEY);
    if node_moves {
        edits.push(edit(ConfigFile::Node, node, NODE_KEY, engine_now, name)?);
    } else if let (false, Some(now)) = (relaid.is_empty() && trimmed.is_empty(), engine_now) {
        // It stays what it is, and is the one that every node refuses by name meanwhile.
        edits.push(edit(ConfigFile::Node, node, NODE_KEY, Some(now.clone()), &now)?);
    }
    edits.extend(layout_edit(&configs, node, change, node_moves)?);
    Ok(edits)
}

/// The edit of the key for the layout of keys. A node goes by a database's own stamp; the key is
/// for databases that it makes anew, and must not speak of another layout than they have.
fn layout_edit(
    configs: &Configs,
    node: &Config,
    change: &SwapChange<'_>,
    node_moves: bool,
) -> Result<Option<ConfigEdit>> {
    let refuse = |what: String| Error::new(Kind::Unsupported, OPERATION, what);
    // An application's layout has no key.
    let Some(layout) = change.layout.filter(|name| KeyForm::of_name(name).is_some()) else {
        return Ok(None);
    };
    let old = configs.key_layout();
    if change.relaid.is_empty() {
        let says_so = old.as_deref().unwrap_or(KeyForm::V1.name()) == layout;
        if says_so || !node_moves {
            return Ok(None);
        }
    } else if old.as_deref() == Some(layout) && !node_moves {
        let other = if layout == KeyForm::V1.name() { KeyForm::V2 } else { KeyForm::V1 }.name();
        return Err(refuse(format!(
            "config.toml sets {LAYOUT_KEY} = {layout:?} already, which isn't what the databases \
             have: nothing in it would tell the swap done from the swap undone"
        ))
        .help(format!("set the key to {other:?}, which the databases have, and call again")));
    }
    let has_section = LAYOUT_KEY
        .split_once('.')
        .and_then(|(section, _)| node.document.get(section))
        .is_some_and(Item::is_table_like);
    if !has_section {
        return Err(refuse(format!("config.toml has no section [storage] to set {LAYOUT_KEY} in"))
            .help("add the line [storage] to config.toml, and call again"));
    }
    edit(ConfigFile::Node, node, LAYOUT_KEY, old, layout).map(Some)
}

/// A node keeps BadgerDB's folders under names without `.db`. The swap exchanges what stands at
/// one path: docs/adr/0004-badgerdb-homes-stay.md.
fn refuse_other_places(home: &Home, moved: &[String], target: Engine) -> Result<()> {
    let stands_elsewhere = |name: &&String| {
        let database = home.databases.iter().find(|database| database.name == **name);
        database.is_some_and(|database| !database.path.ends_with(name))
    };
    let elsewhere = moved.iter().find(stands_elsewhere);
    let what = match elsewhere {
        Some(name) => format!(
            "this node keeps {name} in a folder without .db, as all do with BadgerDB, and other \
             engines look for it under its own name"
        ),
        None if target == Engine::Badgerdb => "a node with BadgerDB looks for its databases in \
             folders without .db (data/blockstore for blockstore.db), and the swap leaves names as \
             they are"
            .to_owned(),
        None => return Ok(()),
    };
    let error = Error::new(Kind::Unsupported, OPERATION, what);
    Err(error.help(
        "`transload convert` carries the databases one by one, with the node stopped; then set \
         the config's key",
    ))
}

/// Tells whether a database belongs to a group, by its name.
type Belongs = fn(&str) -> bool;

/// Which library opens which databases.
const LIBRARIES: [(Belongs, DbLibrary); 2] =
    [(is_node_database, DbLibrary::Node), (is_app_database, DbLibrary::App)];

/// What the node's own build info says, which no version number can gainsay.
fn built_in_name(build: &NodeBuild, moved: &[String], target: Engine) -> Result<&'static str> {
    let refuse = |what: String| Error::new(Kind::Unsupported, OPERATION, what);
    let name = config_name(target)
        .ok_or_else(|| refuse(format!("no node of this kind has a name for {target}")))?;
    for (belongs, library) in LIBRARIES {
        if moved.iter().any(|name| belongs(name)) {
            build.opens(target, library).map_err(|why| refuse(format!("{build}: {why}")))?;
        }
    }
    Ok(name)
}

fn registered_name(home: &Home, moved: &[String], target: Engine) -> Result<&'static str> {
    let refuse = |what: String| Error::new(Kind::Unsupported, OPERATION, what);
    let Some(name) = config_name(target) else {
        return Err(refuse(format!("no node of this kind has a name for {target}")));
    };
    for (belongs, library) in LIBRARIES {
        let concerned = moved.iter().any(|name| belongs(name));
        match registers(&home.software, library, target) {
            // goleveldb is in every build of every release.
            _ if !concerned || target == Engine::Goleveldb => {}
            Some(true) => {}
            Some(false) => {
                return Err(refuse(format!(
                    "{} doesn't register {target} ({}); it can open {}",
                    home.software,
                    home.software_evidence,
                    opened(&home.software, moved)
                ))
                .help(
                    "where the node was built with newer libraries than its release names, \
                     give its program: --node-binary PATH",
                ));
            }
            None => {
                return Err(refuse(format!(
                    "the release of the node isn't known ({}), so whether it opens {target} \
                     isn't either",
                    home.software_evidence
                ))
                .help("give the node's program, which tells: --node-binary PATH"));
            }
        }
    }
    Ok(name)
}

/// The engines that all of the databases to be moved can go to.
fn opened(software: &str, moved: &[String]) -> String {
    let opens = |engine: &Engine| {
        LIBRARIES
            .iter()
            .filter(|(belongs, _)| moved.iter().any(|name| belongs(name)))
            .all(|(_, library)| registers(software, *library, *engine) == Some(true))
    };
    let names = Engine::ALL.into_iter().filter(opens).map(Engine::name);
    names.collect::<Vec<&str>>().join(", ")
}

fn edit(
    file: ConfigFile,
    config: &Config,
    key: &str,
    old: Option<String>,
    new: &str,
) -> Result<ConfigEdit> {
    if let Some(old) = &old
        && old.contains(['{', '$', '<', '%'])
    {
        return Err(Error::new(
            Kind::Unsupported,
            OPERATION,
            format!("{key} = {old:?} is a template: set the engine where the file is made from"),
        )
        .with("path", config.path.display().to_string()));
    }
    Ok(ConfigEdit {
        file,
        path: config.path.clone(),
        key: key.to_owned(),
        old,
        guard: GUARD.to_owned(),
        new: new.to_owned(),
    })
}
