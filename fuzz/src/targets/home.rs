//! A node home's own files: its configs, its signer's state, its genesis document.

use crate::input::Input;
use std::fs;
use std::path::{Path, PathBuf};
use transload_chains::cometbft::decoders::{first_validators, genesis_differences};
use transload_chains::cometbft::home::{config_edits, recognise};
use transload_engine::decoders::set_config_key;
use transload_model::engine::Engine;
use transload_store::SwapChange;

/// What a home is found to be, in a folder whose files are these.
struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        // In memory where the system has such a folder.
        let shared = Path::new("/dev/shm");
        let root = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        let root = root.expect("a folder");
        for folder in ["config", "data/blockstore.db", "data/application.db", "data/snapshots"] {
            fs::create_dir_all(root.path().join(folder)).expect("folders are made");
        }
        Self { root }
    }

    fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.root.path().join(name);
        fs::write(&path, text).expect("it is written");
        path
    }
}

thread_local! {
    static FOLDER: Folder = Folder::new();
}

/// The files of a home: every edit that the home asks for can be made in its file.
pub(crate) fn files(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let parts: [&[u8]; 3] = std::array::from_fn(|_| {
        let length = usize::from(input.u16());
        input.take(length)
    });
    let [node, app, signer] = parts;
    FOLDER.with(|folder| {
        folder.write("config/config.toml", node);
        let app_path = folder.write("config/app.toml", app);
        if app.is_empty() {
            fs::remove_file(app_path).expect("it is there");
        }
        folder.write("data/priv_validator_state.json", signer);
        folder.write("data/upgrade-info.json", signer);
        match recognise(folder.root.path()) {
            Ok(home) => {
                // The config may name another folder for the databases.
                let Some(home) = home else { return };
                let moved: Vec<String> = home
                    .databases
                    .iter()
                    .filter(|database| database.governed_by.is_some())
                    .map(|database| database.name.clone())
                    .collect();
                let change = SwapChange {
                    moved: &moved,
                    engine: Engine::Pebble1,
                    relaid: &[],
                    layout: None,
                    trimmed: &[],
                };
                let Ok(edits) = config_edits(&home, &change, None) else { return };
                for edit in edits {
                    let text = fs::read_to_string(&edit.path).expect("it was read before");
                    set_config_key(&text, &edit.key, edit.old.as_deref(), &edit.new)
                        .unwrap_or_else(|error| panic!("{edit:?}: {error}"));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

fn seed(node: &str, app: &str, signer: &str) -> Vec<u8> {
    let mut seed = Vec::new();
    for part in [node, app, signer] {
        seed.extend(u16::try_from(part.len()).expect("short").to_le_bytes());
        seed.extend(part.as_bytes());
    }
    seed
}

pub(crate) fn files_seeds() -> Vec<Vec<u8>> {
    let node = include_str!("../../testdata/config.toml");
    let app = include_str!("../../testdata/app.toml");
    let signer = include_str!("../../testdata/priv_validator_state.json");
    vec![
        seed(node, app, signer),
        seed(node, "", signer),
        seed("db_backend = \"goleveldb\"\nfast_sync = true\n[consensus]\n", "", ""),
        seed(
            "version = \"0.38.26\"\ndb_backend = 'x'\n[tx_index]\nindexer = \"null\"",
            "a = 1",
            "",
        ),
    ]
}

/// Two genesis documents, the stored one and the file. One that is compared with itself says
/// nothing else.
pub(crate) fn genesis(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let length = usize::from(input.u16());
    let (stored, file) = (input.take(length), input.rest());
    for document in [stored, file] {
        if let Some(found) = genesis_differences(document, document) {
            assert!(found.is_empty(), "{found:?}");
        }
        let _ = first_validators(document);
    }
    if let Some(found) = genesis_differences(stored, file) {
        assert!(found.iter().all(|what| !what.is_empty()));
    }
}

pub(crate) fn genesis_seeds() -> Vec<Vec<u8>> {
    let stored = include_str!("../../testdata/genesis.stored.json");
    let file = include_str!("../../testdata/genesis.json");
    let mut seed = u16::try_from(stored.len()).expect("short").to_le_bytes().to_vec();
    seed.extend(stored.as_bytes());
    seed.extend(file.as_bytes());
    vec![seed, [&[2, 0][..], b"{}{\"chain_id\":\"c\",\"initial_height\":\"1\"}"].concat()]
}
