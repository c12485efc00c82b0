//! Homes for real nodes: unpacked from an archive or made new, always in a folder that goes away.

use crate::node::Software;
use crate::rpc::free_ports;
use serde_json::Value;
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

    /// Lets a home in the folder `home` of `folder` listen on free loopback ports, with nobody to
    /// talk to.
    pub(crate) fn alone(folder: TempDir, software: Software) -> Self {
        let [rpc_port, p2p_port, grpc_port] = free_ports();
        let home = Self { folder, software, rpc_port, grpc_port };
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

    /// Changes `config/config.toml`, keeping everything else in it.
    pub(crate) fn edit_config(&self, change: impl FnOnce(&mut DocumentMut)) {
        let path = self.path().join("config/config.toml");
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

fn homes_folder() -> PathBuf {
    folder_named_by("TRANSLOAD_HOMES")
}

/// A folder that the lane names in the environment.
pub(crate) fn folder_named_by(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test --lane real`"));
    Path::new(&folder).to_owned()
}
