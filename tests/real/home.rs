//! Homes for real nodes: unpacked from an archive or made new, always in a folder that goes away.

use crate::node::Software;
use crate::rpc::free_ports;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use toml_edit::DocumentMut;

/// A home that a node can be started on, alone.
#[derive(Debug)]
pub(crate) struct NodeHome {
    folder: TempDir,
    /// The software that wrote it.
    pub(crate) software: Software,
    /// Where its node answers.
    pub(crate) rpc_port: u16,
    /// Where it talks to its peers.
    p2p_port: u16,
    /// Where an SDK app serves gRPC.
    pub(crate) grpc_port: u16,
}

impl NodeHome {
    /// Unpacks a fresh copy of an archive.
    pub(crate) fn unpack(name: &str, software: Software) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = homes_folder().join(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(&archive).arg("-C").arg(folder.path());
        assert!(tar.status().unwrap().success(), "{} can't be unpacked", archive.display());
        Self::alone(folder, software)
    }

    /// Has the node software make a new home with one validator.
    pub(crate) fn create(software: Software) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let mut init = Command::new(software.program());
        init.args(["init", "--home"]).arg(&home);
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::alone(folder, software)
    }

    /// Has the node software make the homes of a new network, one validator in each.
    ///
    /// They know each other's addresses and make blocks as fast as they can.
    pub(crate) fn network(software: Software, validators: usize) -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut testnet = Command::new(software.program());
        testnet.args(["testnet", "--v", &validators.to_string(), "--o"]).arg(folder.path());
        let made = testnet.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let identities = identities(&folder.path().join("node0/config/config.toml"));
        let homes: Vec<Self> = (0..validators)
            .map(|number| {
                let own = tempfile::tempdir().unwrap();
                let (from, to) = (format!("node{number}"), own.path().join("home"));
                std::fs::rename(folder.path().join(from), to).unwrap();
                Self::alone(own, software)
            })
            .collect();
        let addresses = homes.iter().map(|home| format!("127.0.0.1:{}", home.p2p_port));
        let peers: Vec<String> =
            identities.iter().zip(addresses).map(|(id, at)| format!("{id}@{at}")).collect();
        for (number, home) in homes.iter().enumerate() {
            let others: Vec<&str> =
                (0..validators).filter(|it| *it != number).map(|it| peers[it].as_str()).collect();
            home.edit_config(|config| {
                config["p2p"]["persistent_peers"] = toml_edit::value(others.join(","));
                config["p2p"]["pex"] = toml_edit::value(false);
                config["p2p"]["flush_throttle_timeout"] = toml_edit::value("5ms");
                config["consensus"]["timeout_commit"] = toml_edit::value("30ms");
                config["consensus"]["peer_gossip_sleep_duration"] = toml_edit::value("5ms");
            });
        }
        homes
    }

    /// Lets a home in the folder `home` of `folder` listen on free loopback ports, with nobody to
    /// talk to.
    pub(crate) fn alone(folder: TempDir, software: Software) -> Self {
        let [rpc_port, p2p_port, grpc_port] = free_ports();
        let home = Self { folder, software, rpc_port, p2p_port, grpc_port };
        home.edit_config(|config| {
            config["rpc"]["laddr"] = toml_edit::value(format!("tcp://127.0.0.1:{rpc_port}"));
            config["rpc"]["pprof_laddr"] = toml_edit::value("");
            config["p2p"]["laddr"] = toml_edit::value(format!("tcp://127.0.0.1:{p2p_port}"));
            config["p2p"]["persistent_peers"] = toml_edit::value("");
            config["p2p"]["seeds"] = toml_edit::value("");
        });
        home
    }

    /// The home itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Where the node's output goes: beside the home, never in it.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("node.log")
    }

    /// Every file of the home but transload's own.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    contents.insert(path.clone(), std::fs::read(&path).unwrap());
                } else if !path.ends_with(".transload") {
                    folders.push(path);
                }
            }
        }
        contents
    }

    /// Changes `config/config.toml`, keeping everything else in it.
    pub(crate) fn edit_config(&self, change: impl FnOnce(&mut DocumentMut)) {
        self.edit("config.toml", change);
    }

    /// Changes `config/app.toml`, keeping everything else in it.
    pub(crate) fn edit_app_config(&self, change: impl FnOnce(&mut DocumentMut)) {
        self.edit("app.toml", change);
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut DocumentMut)) {
        let path = self.path().join("config").join(name);
        let mut config: DocumentMut = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
    }
}

/// What the node that wrote a home answered about it.
pub(crate) fn known_answers(name: &str) -> Value {
    let path = homes_folder().join(format!("{name}.answers.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The network identities in a config's list of peers, `ID@HOST:PORT,...`.
fn identities(config: &Path) -> Vec<String> {
    let config: DocumentMut = std::fs::read_to_string(config).unwrap().parse().unwrap();
    let peers = config["p2p"]["persistent_peers"].as_str().unwrap();
    peers.split(',').map(|peer| peer.split('@').next().unwrap().to_owned()).collect()
}

/// The archives whose names begin like this, which are some.
pub(crate) fn archives(beginning: &str) -> Vec<String> {
    let entries = std::fs::read_dir(homes_folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let archives = names.filter_map(|name| name.strip_suffix(".tar.gz").map(str::to_owned));
    let found: Vec<String> = archives.filter(|name| name.starts_with(beginning)).collect();
    assert!(!found.is_empty(), "no archive is called {beginning}...");
    found
}

fn homes_folder() -> PathBuf {
    folder_named_by("TRANSLOAD_HOMES")
}

/// A folder that the lane names in the environment.
pub(crate) fn folder_named_by(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test --lane real`"));
    Path::new(&folder).to_owned()
}
