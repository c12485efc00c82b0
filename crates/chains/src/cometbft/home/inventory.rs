//! Every database of a home and every other file, with what becomes of it.

use super::config::Configs;
use super::{APP_KEY, NODE_KEY};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use transload_store::{Database, Error, FilePlan, FileTreatment, Result};

/// How deep below a data folder databases are looked for: the deepest known is
/// `snapshots/metadata.db`, at two.
const DEPTH_MAX: usize = 4;

/// Transload's own folder, in the home or in its data folder.
const OWN_FOLDER: &str = ".transload";

const NODE_DATABASES: [&str; 4] = ["blockstore.db", "state.db", "evidence.db", "tx_index.db"];
const APP_DATABASES: [&str; 2] = ["application.db", "snapshots/metadata.db"];
const LIGHT_DATABASE: &str = "light-client-db.db";

pub(super) struct Inventory {
    pub(super) databases: Vec<Database>,
    pub(super) files: Vec<FilePlan>,
}

/// Whether this profile has a layout for a database of this name.
pub(crate) fn is_known(name: &str) -> bool {
    NODE_DATABASES.contains(&name) || APP_DATABASES.contains(&name) || name == LIGHT_DATABASE
}

pub(crate) fn is_node_database(name: &str) -> bool {
    NODE_DATABASES.contains(&name)
}

pub(crate) fn is_app_database(name: &str) -> bool {
    APP_DATABASES.contains(&name)
}

pub(super) fn take(
    root: &Path,
    node_data: &Path,
    configs: &Configs,
    notices: &mut Vec<String>,
) -> Result<Inventory> {
    let mut taking = Taking { root, configs, databases: Vec::new(), files: Vec::new() };
    taking.data_dir(node_data, notices)?;
    // The application keeps its databases below `data`, wherever db_dir points.
    let app_data = root.join("data");
    if app_data != *node_data && app_data.is_dir() && node_data != root {
        taking.data_dir(&app_data, notices)?;
    }
    let data_dirs = BTreeSet::from([node_data.to_owned(), app_data]);
    if node_data != root {
        taking.rest_of_home(&data_dirs)?;
    }
    taking.databases.sort_by(|a, b| a.name.cmp(&b.name));
    taking.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Inventory { databases: taking.databases, files: taking.files })
}

struct Taking<'a> {
    root: &'a Path,
    configs: &'a Configs,
    databases: Vec<Database>,
    files: Vec<FilePlan>,
}

impl Taking<'_> {
    fn data_dir(&mut self, dir: &Path, notices: &mut Vec<String>) -> Result<()> {
        let first = self.databases.len();
        self.walk(dir, dir, 1)?;
        // A leftover of the same name in the other folder keeps its folder's name.
        for index in first..self.databases.len() {
            let name = self.databases[index].name.clone();
            if self.databases[..first].iter().any(|other| other.name == name) {
                let database = &mut self.databases[index];
                database.name = format!("{}/{name}", folder_name(dir));
                database.known = false;
                database.governed_by = None;
                database.configured = None;
                notices.push(format!(
                    "{} stands beside the database that the config points to; it is carried as \
                     it is",
                    database.path.display()
                ));
            }
        }
        Ok(())
    }

    fn walk(&mut self, top: &Path, dir: &Path, depth: usize) -> Result<bool> {
        let mut found = false;
        let mut others = Vec::new();
        for (name, path) in entries(dir)? {
            if name == OWN_FOLDER {
                continue;
            }
            if is_database(&name, &path)? {
                self.add_database(top, &path);
                found = true;
            } else if depth < DEPTH_MAX && path.is_dir() && name != "cs.wal" {
                if self.walk(top, &path, depth + 1)? {
                    found = true;
                } else {
                    others.push(path);
                }
            } else {
                others.push(path);
            }
        }
        // A folder without databases is listed as one by whoever walks its parent.
        if found || depth == 1 {
            for path in others {
                self.add_file(&path);
            }
        }
        Ok(found)
    }

    fn rest_of_home(&mut self, data_dirs: &BTreeSet<PathBuf>) -> Result<()> {
        for (name, path) in entries(self.root)? {
            if name == OWN_FOLDER || data_dirs.contains(&path) {
                continue;
            }
            if name == "config" && path.is_dir() {
                for (_, path) in entries(&path)? {
                    self.add_file(&path);
                }
            } else {
                self.add_file(&path);
            }
        }
        Ok(())
    }

    fn add_database(&mut self, top: &Path, path: &Path) {
        let found = slashed(path.strip_prefix(top).unwrap_or(path));
        let with_suffix = format!("{found}.db");
        let name = if self.has_badger(&with_suffix) {
            with_suffix
        } else if self.has_badger(&found) && path.with_extension("").is_dir() {
            // Left from before: its node looks for the folder beside it.
            format!("{}/{found}", folder_name(top))
        } else {
            found
        };
        let (governed_by, configured) = self.governed(&name);
        self.databases.push(Database {
            known: is_known(&name),
            name,
            path: path.to_owned(),
            configured,
            governed_by: governed_by.map(str::to_owned),
        });
    }

    /// The config key that names the database's engine, and the name.
    fn governed(&self, name: &str) -> (Option<&'static str>, Option<String>) {
        let node = self.configs.node_text(NODE_KEY);
        if is_node_database(name) && node.is_some() {
            (Some(NODE_KEY), node)
        } else if is_app_database(name) {
            match self.configs.app_text(APP_KEY) {
                // Empty: the application falls back to the node's key.
                Some(app) if app.is_empty() => (Some(APP_KEY), node),
                Some(app) => (Some(APP_KEY), Some(app)),
                None => (None, None),
            }
        } else {
            (None, None)
        }
    }

    /// Whether the node keeps this database in BadgerDB: in a folder of its name without `.db`.
    fn has_badger(&self, name: &str) -> bool {
        self.governed(name).1.as_deref() == Some("badgerdb")
    }

    fn add_file(&mut self, path: &Path) {
        let (treatment, about) = describe(self.root, path, self.configs);
        let mut shown = match path.strip_prefix(self.root) {
            Ok(relative) => slashed(relative),
            Err(_) => path.display().to_string(),
        };
        if path.is_dir() {
            shown.push('/');
        }
        self.files.push(FilePlan { path: shown, treatment, about: about.to_owned() });
    }
}

fn describe(root: &Path, path: &Path, configs: &Configs) -> (FileTreatment, &'static str) {
    use FileTreatment::{Edited, Fenced, Stays};
    let named = |key: &str, usual: &str| {
        let file = configs.node_text(key).filter(|file| !file.is_empty());
        path == root.join(file.unwrap_or_else(|| usual.to_owned()))
    };
    if named("priv_validator_state_file", "data/priv_validator_state.json") {
        return (Fenced, "the signer's last signed height: never copied, never moved back");
    }
    if named("priv_validator_key_file", "config/priv_validator_key.json") {
        return (Fenced, "the validator's private key: never copied");
    }
    if named("genesis_file", "config/genesis.json") {
        return (Stays, "the genesis document");
    }
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    match &*name {
        "cs.wal" => (Fenced, "the consensus write-ahead log: never copied, never moved back"),
        "config.toml" => (Edited, "the node's config: db_backend is set at the swap"),
        "app.toml" => (Edited, "the application's config: app-db-backend is set at the swap"),
        "node_key.json" => (Stays, "the node's network identity"),
        "addrbook.json" => (Stays, "known peers"),
        "client.toml" => (Stays, "settings of the command line client"),
        "gentx" => (Stays, "genesis transactions"),
        "wasm" => (Stays, "contract code outside the databases"),
        "upgrade-info.json" => (Stays, "the upgrade that the node waits for"),
        name if name.starts_with("write-file-atomic-") => {
            (Stays, "a leftover of an atomic write that was broken off")
        }
        name if name.starts_with("keyring-") => (Stays, "the operator's keys"),
        name if path.parent().is_some_and(|parent| parent.ends_with("snapshots"))
            && name.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (Stays, "chunks of a state-sync snapshot")
        }
        _ => (Stays, "not known to this profile"),
    }
}

/// Told by its name, or by the files that every engine's directory has.
fn is_database(name: &str, path: &Path) -> Result<bool> {
    if name.ends_with(".db") {
        return Ok(true);
    }
    if !path.is_dir() {
        return Ok(false);
    }
    Ok(entries(path)?.iter().any(|(name, path)| {
        name == "CURRENT"
            || name == "data.mdb"
            || (name == "MANIFEST" && is_badger(path))
            || name.starts_with("MANIFEST-")
            || name.starts_with("marker.manifest.")
    }))
}

/// What BadgerDB's manifest begins with.
fn is_badger(manifest: &Path) -> bool {
    let mut start = [0; 4];
    let read = std::fs::File::open(manifest).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"Bdgr"
}

fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    const OPERATION: &str = "list a folder of the home";
    let io = |error| Error::io(OPERATION, dir, error);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    entries.sort();
    Ok(entries)
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> =
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/")
}

fn folder_name(dir: &Path) -> String {
    dir.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned())
}
