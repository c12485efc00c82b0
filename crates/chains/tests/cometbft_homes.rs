//! Recognising homes from names and config files, and the config edits of a swap.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::path::Path;
use tempfile::TempDir;
use transload_chains::cometbft::CometBft;
use transload_chains::cometbft::home::{GUARD, Release};
use transload_chains::cometbft::layout::{
    BlockstoreLayout, EvidenceLayout, KeyForm, LightLayout, StateLayout,
};
use transload_model::engine::Engine;
use transload_model::layout::Layout;
use transload_store::memory::MemoryStore;
use transload_store::{
    AppState, ConfigEdit, ConfigFile, FileTreatment, Home, Kind, LayoutWish, Profile as _,
    Store as _, SwapChange,
};

const NODE_038: &str = "# made by a node\nversion = \"0.38.26\"\nproxy_app = \"kvstore\"\n\
    db_backend = \"goleveldb\"\ndb_dir = \"data\"\npriv_validator_laddr = \"\"\n[consensus]\n";
const NODE_034: &str =
    "proxy_app = \"x\"\nfast_sync = true\ndb_backend = \"goleveldb\"\n[consensus]\n";

/// A home with these config files and databases (empty folders with a CURRENT file).
fn home(config: &str, app: Option<&str>, databases: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("config")).unwrap();
    fs::write(root.path().join("config/config.toml"), config).unwrap();
    if let Some(app) = app {
        fs::write(root.path().join("config/app.toml"), app).unwrap();
    }
    for name in databases {
        let dir = root.path().join("data").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("CURRENT"), "MANIFEST-000000\n").unwrap();
    }
    root
}

fn recognise(root: &Path) -> Home {
    CometBft.recognise(root).unwrap().expect("a home")
}

const NODE_DATABASES: [&str; 4] = ["blockstore.db", "evidence.db", "state.db", "tx_index.db"];
const SDK_DATABASES: [&str; 6] = [
    "application.db",
    "blockstore.db",
    "evidence.db",
    "snapshots/metadata.db",
    "state.db",
    "tx_index.db",
];

/// The databases that have both key layouts.
const LAID_OUT: [&str; 3] = ["blockstore.db", "evidence.db", "state.db"];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn edits_of(
    home: &Home,
    moved: &[&str],
    engine: Engine,
) -> transload_store::Result<Vec<ConfigEdit>> {
    let moved = names(moved);
    CometBft.config_edits(
        home,
        &SwapChange { moved: &moved, engine, relaid: &[], layout: None, trimmed: &[] },
    )
}

/// Key, old and new value of the edits of a change that takes the layout of `relaid` to `layout`.
fn layout_edits(
    home: &Home,
    moved: &[&str],
    engine: Engine,
    relaid: &[&str],
    layout: &str,
) -> transload_store::Result<Vec<(String, Option<String>, String)>> {
    let (moved, relaid) = (names(moved), names(relaid));
    let change =
        SwapChange { moved: &moved, engine, relaid: &relaid, layout: Some(layout), trimmed: &[] };
    let edits = CometBft.config_edits(home, &change)?;
    Ok(edits.into_iter().map(|edit| (edit.key, edit.old, edit.new)).collect())
}

#[test]
fn a_plain_node_home_is_told_with_its_databases_files_and_signer() {
    let root = home(NODE_038, None, &[&NODE_DATABASES[..], &["kvstore.db"]].concat());
    let data = root.path().join("data");
    fs::create_dir_all(data.join("cs.wal")).unwrap();
    fs::write(data.join("cs.wal/wal"), "").unwrap();
    fs::write(
        data.join("priv_validator_state.json"),
        "{\"height\": \"300\", \"round\": 1, \"step\": 3}",
    )
    .unwrap();
    fs::create_dir_all(root.path().join(".transload/staging")).unwrap();
    let home = recognise(root.path());
    assert_eq!(home.software, "CometBFT 0.38.26");
    assert!(home.software_evidence.contains("0.38.26"));
    let databases: Vec<_> = home
        .databases
        .iter()
        .map(|database| (database.name.as_str(), database.governed_by.as_deref(), database.known))
        .collect();
    let node = Some("db_backend");
    assert_eq!(
        databases,
        [
            ("blockstore.db", node, true),
            ("evidence.db", node, true),
            ("kvstore.db", None, false),
            ("state.db", node, true),
            ("tx_index.db", node, true),
        ]
    );
    let signer = home.signer.unwrap();
    assert_eq!((signer.height, signer.round, signer.step), (300, 1, 3));
    let file = |path: &str| home.files.iter().find(|file| file.path == path).map(|f| f.treatment);
    assert_eq!(file("data/cs.wal/"), Some(FileTreatment::Fenced));
    assert_eq!(file("data/priv_validator_state.json"), Some(FileTreatment::Fenced));
    assert_eq!(file("config/config.toml"), Some(FileTreatment::Edited));
    assert!(!home.files.iter().any(|file| file.path.contains(".transload")), "{:?}", home.files);
}

#[test]
fn the_release_is_told_by_what_the_config_says() {
    for (config, release) in [
        (NODE_038, Some(Release::V038)),
        (NODE_034, Some(Release::V034)),
        (&NODE_034.replace("fast_sync", "block_sync"), Some(Release::V037)),
        (&NODE_038.replace("0.38.26", "1.0.1"), Some(Release::V1)),
        (&NODE_034.replace("fast_sync = true", ""), None),
    ] {
        let root = home(config, None, &NODE_DATABASES);
        assert_eq!(Release::of_software(&recognise(root.path()).software), release, "{config}");
    }
}

#[test]
fn folders_that_are_no_home_are_told_apart() {
    let empty = tempfile::tempdir().unwrap();
    assert!(CometBft.recognise(empty.path()).unwrap().is_none());
    assert!(CometBft.recognise(&empty.path().join("nothing")).unwrap().is_none());
    let never_run = home(NODE_038, None, &[]);
    assert_eq!(CometBft.recognise(never_run.path()).unwrap_err().kind(), Kind::NotFound);
    let root = home(NODE_038, None, &NODE_DATABASES);
    let error = CometBft.recognise(&root.path().join("data")).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    let garbage = home("db_backend = [", None, &NODE_DATABASES);
    assert_eq!(CometBft.recognise(garbage.path()).unwrap_err().kind(), Kind::Corrupt);
    fs::remove_file(root.path().join("config/config.toml")).unwrap();
    let bare = recognise(&root.path().join("data"));
    assert_eq!(bare.databases.len(), 4);
    assert!(bare.databases.iter().all(|database| database.governed_by.is_none()));
    assert!(bare.notices.iter().any(|notice| notice.contains("config.toml")));
}

#[test]
fn databases_elsewhere_are_found_and_a_leftover_of_the_same_name_is_said() {
    let root = home(&NODE_038.replace("\"data\"", "\"elsewhere\""), None, &["state.db"]);
    let elsewhere = root.path().join("elsewhere/state.db");
    fs::create_dir_all(&elsewhere).unwrap();
    let home = recognise(root.path());
    assert_eq!(home.data_dir, root.path().join("elsewhere"));
    let found: Vec<_> = home.databases.iter().map(|d| (d.name.as_str(), d.known)).collect();
    assert_eq!(found, [("data/state.db", false), ("state.db", true)]);
    assert!(home.notices.iter().any(|notice| notice.contains("stands beside")));
}

#[test]
fn a_remote_signer_is_told_and_its_file_is_not_read() {
    let config =
        NODE_038.replace("priv_validator_laddr = \"\"", "priv_validator_laddr = \"tcp://1\"");
    let root = home(&config, None, &NODE_DATABASES);
    fs::write(root.path().join("data/priv_validator_state.json"), "{}").unwrap();
    let home = recognise(root.path());
    assert_eq!((home.remote_signer.as_deref(), home.signer), (Some("tcp://1"), None));
}

#[test]
fn the_application_s_state_is_in_its_databases_in_none_or_elsewhere() {
    let databases = |names: &[&str]| AppState::Databases(self::names(names));
    let with_app = [&NODE_DATABASES[..], &["kvstore.db"]].concat();
    let persistent = NODE_038.replace("kvstore", "persistent_kvstore");
    let socket = NODE_038.replace("\"kvstore\"", "\"unix:///run/app.sock\"");
    let silent = NODE_038.replace("proxy_app = \"kvstore\"\n", "");
    let sdk = Some("minimum-gas-prices = \"0stake\"\n");
    for (config, app, found, state) in [
        (NODE_038, None, &NODE_DATABASES[..], databases(&[])),
        (&persistent, None, &with_app, databases(&["kvstore.db"])),
        (&socket, None, &NODE_DATABASES, AppState::Elsewhere("unix:///run/app.sock".into())),
        (&silent, None, &NODE_DATABASES, AppState::Elsewhere("tcp://127.0.0.1:26658".into())),
        // One program with its node, which reads no address.
        (&socket, sdk, &SDK_DATABASES, databases(&["application.db"])),
        (&socket, None, &SDK_DATABASES, databases(&["application.db"])),
    ] {
        let root = home(config, app, found);
        assert_eq!(recognise(root.path()).app_state, state, "{config}");
    }
}

#[test]
fn both_keys_of_an_sdk_home_are_set_or_neither() {
    // F10
    let app = "app-db-backend = \"\"\n";
    let root = home(NODE_038, Some(app), &SDK_DATABASES);
    let home = recognise(root.path());
    let application = home.databases.iter().find(|d| d.name == "application.db").unwrap();
    assert_eq!(application.configured.as_deref(), Some("goleveldb"));
    assert_eq!(application.governed_by.as_deref(), Some("app-db-backend"));
    let edits = edits_of(&home, &SDK_DATABASES, Engine::Pebble1).unwrap();
    let told: Vec<_> = edits
        .iter()
        .map(|edit| (edit.file, edit.key.as_str(), edit.old.as_deref(), edit.new.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (ConfigFile::App, "app-db-backend", Some(""), "pebbledb"),
            (ConfigFile::Node, "db_backend", Some("goleveldb"), "pebbledb"),
        ]
    );
    assert!(edits.iter().all(|edit| edit.guard == GUARD));
    // The node's databases alone: the application's empty key no longer means what it meant.
    let edits = edits_of(&home, &NODE_DATABASES, Engine::Pebble1).unwrap();
    assert_eq!((edits[0].key.as_str(), edits[0].new.as_str()), ("app-db-backend", "goleveldb"));
    assert_eq!((edits[1].key.as_str(), edits[1].new.as_str()), ("db_backend", "pebbledb"));
}

#[test]
fn engines_have_the_names_that_nodes_have_for_them() {
    for (engine, name) in [(Engine::Bbolt, "boltdb"), (Engine::Cleveldb, "cleveldb")] {
        let root = home(NODE_038, None, &NODE_DATABASES);
        let home = recognise(root.path());
        let edits = edits_of(&home, &NODE_DATABASES, engine).unwrap();
        assert_eq!((edits[0].key.as_str(), edits[0].new.as_str()), ("db_backend", name));
    }
}

#[test]
fn a_node_with_badgerdb_keeps_its_databases_in_folders_without_a_suffix() {
    let root = home(&NODE_038.replace("goleveldb", "badgerdb"), None, &["state.db", "app.db"]);
    for name in ["blockstore", "state", "evidence", "tx_index", "other"] {
        let dir = root.path().join("data").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("MANIFEST"), "Bdgr\0\0\0\x08").unwrap();
    }
    let home = recognise(root.path());
    let found: Vec<_> = home.databases.iter().map(|d| (d.name.as_str(), d.known)).collect();
    // An older state.db lies there still; nobody opens it.
    let expected = [
        ("app.db", false),
        ("blockstore.db", true),
        ("data/state.db", false),
        ("evidence.db", true),
        ("other", false),
        ("state.db", true),
        ("tx_index.db", true),
    ];
    assert_eq!(found, expected);
    assert!(home.absent.is_empty(), "{:?}", home.absent);
    assert!(home.databases[1].path.ends_with("data/blockstore"));
    let refusal = edits_of(&home, &NODE_DATABASES, Engine::Goleveldb);
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Unsupported);
    assert!(refusal.to_string().contains("folder without .db"), "{refusal}");
}

#[test]
fn what_the_node_cannot_be_configured_for_is_refused() {
    let refused = |config: &str, app: Option<&str>, moved: &[&str], target| {
        let root = home(config, app, &[&SDK_DATABASES[..], &["kvstore.db"]].concat());
        let home = recognise(root.path());
        edits_of(&home, moved, target).unwrap_err().kind()
    };
    let app = Some("app-db-backend = \"goleveldb\"\n");
    for (config, app, moved, target) in [
        // No release opens them.
        (NODE_038, app, &SDK_DATABASES[..], Engine::Redb),
        (NODE_038, app, &SDK_DATABASES[..], Engine::Pebble2),
        // cosmos-db doesn't know it.
        (NODE_038, app, &SDK_DATABASES[..], Engine::Bbolt),
        // Its folders have other names.
        (NODE_038, app, &NODE_DATABASES[..], Engine::Badgerdb),
        // 0.34 has no Pebble.
        (NODE_034, app, &SDK_DATABASES[..], Engine::Pebble1),
        // One key governs several databases.
        (NODE_038, app, &NODE_DATABASES[1..], Engine::Pebble1),
        // The engine is built into the program.
        (NODE_038, app, &["kvstore.db"][..], Engine::Pebble1),
        (NODE_038, Some("pruning = \"nothing\"\n"), &SDK_DATABASES[..], Engine::Pebble1),
        (NODE_038, app, &["nowhere.db"][..], Engine::Pebble1),
        // The file is made from a template.
        (
            "version = \"0.38.26\"\ndb_backend = \"{{ .engine }}\"\n[consensus]\n",
            app,
            &NODE_DATABASES[..],
            Engine::Pebble1,
        ),
    ] {
        assert_eq!(refused(config, app, moved, target), Kind::Unsupported, "{moved:?}");
    }
}

#[test]
fn keys_that_disagree_are_said() {
    let root = home(NODE_038, Some("app-db-backend = \"pebbledb\"\n"), &SDK_DATABASES);
    let home = recognise(root.path());
    assert!(home.notices.iter().any(|notice| notice.contains("different engines")));
}

const NODE_1: &str = "version = \"1.0.1\"\ndb_backend = \"goleveldb\"\n[consensus]\n[storage]\n\
    experimental_db_key_layout = \"v1\"\n";

#[test]
fn a_new_key_layout_is_set_beside_the_engine() {
    const KEY: &str = "storage.experimental_db_key_layout";
    let told = |config: &str, moved: &[&str], engine, relaid: &[&str], layout| {
        let root = home(config, None, &NODE_DATABASES);
        layout_edits(&recognise(root.path()), moved, engine, relaid, layout)
    };
    let edit = |key: &str, old: Option<&str>, new: &str| {
        (key.to_owned(), old.map(str::to_owned), new.to_owned())
    };
    let (level, pebble) = (Engine::Goleveldb, Engine::Pebble1);
    // The engine's key stays what it is, and is guarded: every node refuses it by name.
    let stays = edit("db_backend", Some("goleveldb"), "goleveldb");
    let alone = told(NODE_1, &[], level, &LAID_OUT, "v2").unwrap();
    assert_eq!(alone, [stays.clone(), edit(KEY, Some("v1"), "v2")]);
    let both = told(NODE_1, &NODE_DATABASES, pebble, &LAID_OUT, "v2").unwrap();
    let moves = edit("db_backend", Some("goleveldb"), "pebbledb");
    assert_eq!(both, [moves.clone(), edit(KEY, Some("v1"), "v2")]);
    // An absent key means v1.
    let absent = NODE_1.replace("experimental_db_key_layout = \"v1\"\n", "");
    let alone = told(&absent, &[], level, &LAID_OUT, "v2").unwrap();
    assert_eq!(alone, [stays, edit(KEY, None, "v2")]);
    // Databases that have the layout move with their engine alone; a setting that speaks of
    // another layout than was asked for is put right.
    let trap = NODE_1.replace("\"v1\"", "\"v2\"");
    let moved = told(NODE_1, &NODE_DATABASES, pebble, &[], "v1").unwrap();
    assert_eq!(moved, std::slice::from_ref(&moves));
    let moved = told(&absent, &NODE_DATABASES, pebble, &[], "v1").unwrap();
    assert_eq!(moved, std::slice::from_ref(&moves));
    let moved = told(&trap, &NODE_DATABASES, pebble, &[], "v1").unwrap();
    assert_eq!(moved, [moves, edit(KEY, Some("v2"), "v1")]);
    // Nothing would tell before from after.
    let refused = told(&trap, &[], level, &LAID_OUT, "v2").unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.to_string().contains("experimental_db_key_layout"), "{refused}");
    // There is no place for the key.
    let bare = absent.replace("[storage]\n", "");
    let refused = told(&bare, &[], level, &LAID_OUT, "v2").unwrap_err();
    assert!(refused.to_string().contains("[storage]"), "{refused}");
}

#[test]
fn only_the_node_s_three_stores_go_to_another_layout_and_only_1_x_reads_it() {
    let v1: [&dyn Layout; 4] = [
        &BlockstoreLayout::new(KeyForm::V1),
        &StateLayout::new(KeyForm::V1),
        &EvidenceLayout::new(KeyForm::V1),
        &LightLayout::new(KeyForm::V1),
    ];
    let wish = |config: &str, name: &str, current: &dyn Layout, layout: &str| {
        let root = home(config, None, &[&NODE_DATABASES[..], &["light-client-db.db"]].concat());
        let home = recognise(root.path());
        let database = home.databases.iter().find(|one| one.name == name).unwrap().clone();
        let empty = MemoryStore::with([]).snapshot().unwrap();
        CometBft.layout_wish(&home, &database, current, &*empty, layout)
    };
    let mut wished = Vec::new();
    for (name, current) in ["blockstore.db", "state.db", "evidence.db"].into_iter().zip(v1) {
        let LayoutWish::Gets(layout) = wish(NODE_1, name, current, "v2").unwrap() else {
            panic!("{name} goes to v2");
        };
        wished.push(layout.id());
        let there = wish(NODE_1, name, &*layout, "v2").unwrap();
        assert!(matches!(there, LayoutWish::HasIt), "{name}: {there:?}");
        let refused = wish(NODE_038, name, current, "v2").unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported);
        assert!(refused.to_string().contains("0.38.26"), "{refused}");
        let unknown = wish(NODE_1, name, current, "v3").unwrap_err();
        assert_eq!(unknown.kind(), Kind::InvalidInput);
    }
    assert_eq!(wished, ["cometbft-blockstore-v2", "cometbft-state-v2", "cometbft-evidence-v2"]);
    for (name, current) in [("tx_index.db", v1[0]), ("light-client-db.db", v1[3])] {
        let keeps = wish(NODE_1, name, current, "v2").unwrap();
        assert!(matches!(keeps, LayoutWish::Keeps(_)), "{name}: {keeps:?}");
    }
}
