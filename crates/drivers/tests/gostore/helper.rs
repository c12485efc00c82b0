//! Where the tests' helper comes from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use transload_drivers::bbolt::Bbolt;
use transload_drivers::gostore::{GostoreConfig, GostoreDriver};
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::engine::Engine;
use transload_store::{SourceOptions, TargetOptions};

/// The engines of the helper that keep a store in a directory.
pub(crate) const ENGINES: [Engine; 3] = [Engine::Goleveldb, Engine::Pebble1, Engine::Pebble2];

/// The helper's configuration; `None`, said on the output, where there is no helper and no Go.
pub(crate) fn config() -> Option<GostoreConfig> {
    static HELPER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let helper = HELPER.get_or_init(|| match std::env::var_os("TRANSLOAD_GOSTORE") {
        Some(path) if Path::new(&path).exists() => Some(PathBuf::from(path)),
        _ => build(),
    });
    if helper.is_none() {
        println!("not run: no gostore helper, and no Go to build it with");
    }
    helper.clone().map(GostoreConfig::new)
}

fn build() -> Option<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helpers/gostore");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gostore");
    Command::new("go").arg("version").output().ok()?;
    let built = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&binary)
        .arg("./")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .output()
        .expect("go build");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(binary)
}

pub(crate) fn driver(engine: Engine, config: &GostoreConfig) -> GostoreDriver {
    GostoreDriver::new(engine, config.clone()).expect("an engine of the helper")
}

/// The engines as the command line has them: goleveldb is read by transload's own reader.
pub(crate) fn built_in(config: &GostoreConfig) -> BuiltIn {
    BuiltIn::new(BuiltInConfig { gostore_helper: Some(config.helper.clone()) })
}

/// The driver of bbolt: read by transload's own reader, written by the helper.
pub(crate) fn bbolt(config: &GostoreConfig) -> Bbolt {
    Bbolt::new(Some(Box::new(driver(Engine::Bbolt, config))))
}

pub(crate) fn target_options() -> TargetOptions {
    TargetOptions { space: None, memory_bytes_max: 64 << 20 }
}

pub(crate) fn source_options(scratch: &Path) -> SourceOptions {
    SourceOptions { scratch_dir: scratch.to_owned(), space: None, memory_bytes_max: 64 << 20 }
}

/// Every name, size, modification time and byte below `dir`.
pub(crate) fn fingerprint(dir: &Path) -> Vec<(PathBuf, std::time::SystemTime, Vec<u8>)> {
    if dir.is_file() {
        let modified = std::fs::metadata(dir).unwrap().modified().unwrap();
        return vec![(dir.to_owned(), modified, std::fs::read(dir).unwrap())];
    }
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let modified = entry.metadata().unwrap().modified().unwrap();
        if entry.file_type().unwrap().is_dir() {
            out.extend(fingerprint(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            out.push((path, modified, bytes));
        }
    }
    let modified = std::fs::metadata(dir).unwrap().modified().unwrap();
    out.push((dir.to_owned(), modified, Vec::new()));
    out.sort();
    out
}
