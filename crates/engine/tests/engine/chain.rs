//! A small chain for tests: a profile whose node keeps three databases and signs every block
//! with its hash.
//!
//! `data/blocks.db`: keys `b/<height, 8 digits>`, values `<payload><sha256 of payload>`.
//! `data/state.db`: anything. `data/local.db`: governed by no config key.
//! `config/node.toml`: `db_backend = "<engine>"`.

use crate::files::{Entries, write_database};
use sha2_lite::digest;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_model::layout::{Layout, NoPhysicalForm, Placement, TableClass, TableSpec};
use transload_model::record::TableName;
use transload_model::report::{Finding, Trust, Verdict, printable_key};
use transload_store::{
    AppState, ChainFacts, ConfigEdit, ConfigFile, Database, Error, FilePlan, FileTreatment, Home,
    HomeView, KeyRange, Kind, Profile, Result, Scan, SignerState, Snapshot, SwapChange,
    VerifyOptions,
};

mod sha2_lite {
    pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
        transload_model::merkle::sha256(bytes)
    }
}

/// A block's record.
pub(crate) fn block(height: u64) -> (Vec<u8>, Vec<u8>) {
    let payload = format!("block {height} {}", "x".repeat(100)).into_bytes();
    let mut value = payload.clone();
    value.extend(digest(&payload));
    (format!("b/{height:08}").into_bytes(), value)
}

pub(crate) fn blocks(count: u64) -> Entries {
    (1..=count).map(block).collect()
}

/// Writes a home with `heights` blocks in databases of `engine`.
pub(crate) fn write_home(root: &Path, engine: Engine, heights: u64) {
    let data = root.join("data");
    fs::create_dir_all(root.join("config")).unwrap();
    write_database(&data.join("blocks.db"), engine, &blocks(heights));
    let state: Entries =
        (0..400u32).map(|n| (format!("s{n:05}").into_bytes(), vec![7; 300])).collect();
    write_database(&data.join("state.db"), engine, &state);
    let local = Entries::from([(b"l".to_vec(), b"1".to_vec())]);
    write_database(&data.join("local.db"), Engine::Lmdb, &local);
    fs::write(root.join("config/node.toml"), config(engine.name())).unwrap();
    fs::write(data.join("signer.json"), "7/0/3").unwrap();
}

pub(crate) fn config(engine: &str) -> String {
    format!("db_backend = \"{engine}\"\n")
}

#[derive(Debug)]
struct TestLayout {
    tables: [TableSpec; 1],
}

impl Layout for TestLayout {
    fn id(&self) -> &'static str {
        "test"
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        canonical.clear();
        canonical.extend_from_slice(key);
        Placement::Record { table: 0, stream: 0, ordered_prefix_bytes: None }
    }

    fn physical(
        &self,
        _table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> std::result::Result<(), NoPhysicalForm> {
        physical.clear();
        physical.extend_from_slice(canonical);
        Ok(())
    }
}

pub(crate) struct TestProfile;

fn configured(root: &Path) -> Result<Option<String>> {
    let path = root.join("config/node.toml");
    match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .strip_prefix("db_backend = \"")
            .and_then(|rest| rest.strip_suffix('"'))
            .map(|name| Some(name.to_owned()))
            .ok_or_else(|| Error::new(Kind::Corrupt, "read the config", "garbage")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read the config", &path, error)),
    }
}

impl Profile for TestProfile {
    fn id(&self) -> &'static str {
        "test"
    }

    fn recognise(&self, root: &Path) -> Result<Option<Home>> {
        let Some(engine) = configured(root)? else { return Ok(None) };
        let database = |name: &str, governed: bool| Database {
            name: name.into(),
            path: root.join("data").join(name),
            configured: governed.then(|| engine.clone()),
            governed_by: governed.then(|| "db_backend".to_owned()),
            known: true,
        };
        let file = |path: &str, treatment| FilePlan {
            path: path.into(),
            treatment,
            about: "of the test".into(),
        };
        Ok(Some(Home {
            profile: "test".into(),
            software: "Test 1".into(),
            software_evidence: "config/node.toml".into(),
            root: root.to_owned(),
            data_dir: root.join("data"),
            databases: vec![
                database("blocks.db", true),
                database("local.db", false),
                database("state.db", true),
            ],
            absent: Vec::new(),
            app_state: AppState::Databases(vec!["local.db".into()]),
            files: vec![
                file("config/node.toml", FileTreatment::Edited),
                file("data/signer.json", FileTreatment::Fenced),
            ],
            signer: Some(SignerState { height: 7, round: 0, step: 3 }),
            signer_unread: None,
            remote_signer: None,
            notices: Vec::new(),
        }))
    }

    fn layout(
        &self,
        _home: &Home,
        database: &Database,
        _snapshot: &dyn Snapshot,
    ) -> Result<Box<dyn Layout>> {
        let name = database.name.trim_end_matches(".db");
        let class = match name {
            "blocks" => TableClass::Authenticated,
            "state" => TableClass::EqualOnly,
            _ => TableClass::Local,
        };
        let name = TableName::new(name).unwrap();
        Ok(Box::new(TestLayout { tables: [TableSpec { name, class, about: "of the test" }] }))
    }

    fn facts(&self, view: HomeView<'_>) -> Result<ChainFacts> {
        let snapshot = view.databases.snapshot("blocks.db").unwrap();
        let mut scan = Scan::new(&*snapshot, &KeyRange::prefix(b"b/"))?;
        let mut heights = Vec::new();
        while let Some((key, _)) = scan.next()? {
            let text = String::from_utf8_lossy(&key[2..]).into_owned();
            heights.extend(text.parse::<u64>());
        }
        Ok(ChainFacts {
            chain_id: Some("test-1".into()),
            layout: "test".into(),
            height_first: heights.first().copied(),
            height_last: heights.last().copied(),
            heights: BTreeMap::new(),
            schema: "test.v1".into(),
            ..ChainFacts::default()
        })
    }

    fn verify(
        &self,
        view: HomeView<'_>,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Verdict> {
        assert!(options.scratch_dir.is_dir(), "a scratch folder is promised");
        let mut verdict = Verdict { trust: Trust::SelfConsistent, ..Verdict::nothing() };
        let snapshot = view.databases.snapshot("blocks.db").unwrap();
        let mut scan = Scan::new(&*snapshot, &KeyRange::all())?;
        let mut done = 0;
        while let Some((key, value)) = scan.next()? {
            done += 1;
            if !progress(done, done) {
                return Err(Error::new(Kind::Cancelled, "verify", "asked to stop"));
            }
            verdict.count("block_hashes", 1);
            let good = value
                .split_last_chunk::<32>()
                .is_some_and(|(payload, hash)| digest(payload) == *hash);
            if !good {
                verdict.find(Finding {
                    check: "block_hashes".into(),
                    database: "blocks.db".into(),
                    table: TableName::new("blocks").ok(),
                    key: printable_key(key),
                    perhaps: Vec::new(),
                    height: None,
                    what: "the block doesn't have its hash".into(),
                });
            }
        }
        verdict.cover("block_hashes", TableName::new("blocks").unwrap());
        verdict.limits.push("nothing covers state".into());
        Ok(verdict)
    }

    fn config_edits(&self, home: &Home, change: &SwapChange<'_>) -> Result<Vec<ConfigEdit>> {
        if change.engine == Engine::Sqlite {
            return Err(Error::unsupported("look at the node", "Test 1 doesn't register sqlite"));
        }
        Ok(vec![ConfigEdit {
            file: ConfigFile::Node,
            path: home.root.join("config/node.toml"),
            key: "db_backend".into(),
            old: configured(&home.root)?,
            guard: "transload-cutover-in-progress".into(),
            new: change.engine.name().into(),
        }])
    }
}

/// Every file below `root` except transload's own, with its content and time of modification.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if path.file_name().is_some_and(|name| name == ".transload") {
                continue;
            }
            if metadata.is_dir() {
                found.insert(path.clone(), (Vec::new(), metadata.modified().unwrap()));
                todo.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path, (content, metadata.modified().unwrap()));
            }
        }
    }
    found
}
