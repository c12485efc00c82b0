//! Real homes cut to a few heights (`testdata/cometbft`), in memory, to verify and to forge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use transload_chains::cometbft::CometBft;
use transload_chains::cometbft::layout::{BlockstoreLayout, EvidenceLayout, KeyForm};
use transload_model::layout::Layout as _;
use transload_model::report::{Finding, Verdict, printable_key};
use transload_store::memory::MemoryStore;
use transload_store::{
    Home, HomeView, Opener, Profile as _, Snapshot, Store as _, TrustInput, VerifyOptions,
    VersionChoice,
};

pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A sample home.
pub(crate) struct Sample {
    root: TempDir,
    databases: BTreeMap<String, Entries>,
    signer_height: Option<u64>,
}

struct Opened(BTreeMap<String, Arc<dyn Snapshot>>);

impl Opener for Opened {
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>> {
        self.0.get(database).map(Arc::clone)
    }
}

impl Sample {
    /// The sample of this name.
    pub(crate) fn load(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cometbft").join(name);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("config")).unwrap();
        fs::copy(from.join("config/genesis.json"), root.path().join("config/genesis.json"))
            .unwrap();
        let version = match &name[..4] {
            "v0.3" if name == "v0.34" => "fast_sync = true",
            "v0.3" => "version = \"0.38.26\"",
            _ => "version = \"1.0.1\"",
        };
        let config = format!("{version}\ndb_backend = \"goleveldb\"\n[consensus]\n");
        fs::write(root.path().join("config/config.toml"), config).unwrap();
        let mut databases = BTreeMap::new();
        for stem in ["blockstore", "state", "evidence", "tx_index"] {
            let entries = read(&fs::read(from.join(format!("{stem}.kv"))).unwrap());
            fs::create_dir_all(root.path().join(format!("data/{stem}.db"))).unwrap();
            databases.insert(format!("{stem}.db"), entries);
        }
        Self { root, databases, signer_height: None }
    }

    /// The entries of a database.
    pub(crate) fn database(&mut self, name: &str) -> &mut Entries {
        self.databases.get_mut(name).unwrap()
    }

    /// The value of a key.
    pub(crate) fn value(&mut self, database: &str, key: &[u8]) -> &mut Vec<u8> {
        self.database(database).get_mut(key).unwrap_or_else(|| panic!("{}", printable_key(key)))
    }

    /// Says at which height the signer has signed.
    pub(crate) fn signed_at(&mut self, height: u64) {
        self.signer_height = Some(height);
    }

    /// Drops a whole database.
    pub(crate) fn drop_database(&mut self, name: &str) {
        self.databases.remove(name);
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn home(&self) -> Home {
        if let Some(height) = self.signer_height {
            let state = format!("{{\"height\": \"{height}\", \"round\": 0, \"step\": 3}}");
            fs::write(self.root.path().join("data/priv_validator_state.json"), state).unwrap();
        }
        CometBft.recognise(self.root.path()).unwrap().unwrap()
    }

    pub(crate) fn verify(&self) -> Verdict {
        self.verify_with(TrustInput::default(), 2)
    }

    pub(crate) fn verify_with(&self, trust: TrustInput, workers: usize) -> Verdict {
        let home = self.home();
        let opened = self.databases.iter().map(|(name, entries)| {
            let store = MemoryStore::with(entries.clone());
            (name.clone(), store.snapshot().unwrap())
        });
        let opened = Opened(opened.collect());
        let options = VerifyOptions {
            trust,
            versions: VersionChoice::All,
            memory_bytes_max: 64 << 20,
            workers,
            scratch_dir: self.root.path().to_owned(),
        };
        let view = HomeView { home: &home, databases: &opened, is_written: false };
        CometBft.verify(view, &options, &|_, _| true).unwrap()
    }
}

/// `v1` key of a record of the block store.
pub(crate) fn block_key(table: usize, canonical: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    BlockstoreLayout::new(KeyForm::V1).physical(table, canonical, &mut key).unwrap();
    key
}

/// `v1` key of a record of the evidence database.
pub(crate) fn evidence_key(table: usize, canonical: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    EvidenceLayout::new(KeyForm::V1).physical(table, canonical, &mut key).unwrap();
    key
}

/// Whether one of the findings has this check, table and key.
pub(crate) fn names(verdict: &Verdict, check: &str, table: &str, key: &[u8]) -> bool {
    let key = printable_key(key);
    let is_it = |finding: &&Finding| {
        finding.check == check
            && finding.key == key
            && finding.table.as_ref().is_some_and(|name| name.as_str() == table)
    };
    verdict.findings.iter().any(|finding| is_it(&finding))
}

/// Where `needle` stands in `hay`, for the first time.
pub(crate) fn position(hay: &[u8], needle: &[u8]) -> usize {
    hay.windows(needle.len()).position(|window| window == needle).expect("it is in there")
}

fn read(mut bytes: &[u8]) -> Entries {
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (taken, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        bytes = rest;
        Some(taken.to_vec())
    };
    let mut entries = Entries::new();
    while let Some(key) = next() {
        entries.insert(key, next().unwrap());
    }
    entries
}
