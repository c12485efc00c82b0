//! What no version of an application's state reaches, put into a home by its database's own
//! engine.

use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use transload_chains::iavl::keys::{NodeId, store_prefix};
use transload_chains::iavl::node::leaf_hash;
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_model::engine::Engine;
use transload_store::{Durability, Engines as _, TargetOptions, WriteBatch};

/// The version that made the nodes; the homes keep it.
const MADE_IN: u64 = 165;

/// Which form the litter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Two nodes of IAVL 0.x, one of which an orphan names, and an orphan of a node that isn't
    /// there.
    Old,
    /// A node of IAVL 1.x.
    New,
}

/// Litters the store `bank` of a home in goleveldb. Answers the names of the nodes.
pub(crate) fn litter(home: &Path, forms: &[Form]) -> Vec<String> {
    let path = home.join("data/application.db");
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    let engines = BuiltIn::new(BuiltInConfig { gostore_helper: helper });
    let options = TargetOptions { space: None, memory_bytes_max: 64 << 20 };
    let store = engines.driver(Engine::Goleveldb).unwrap().reopen_target(&path, &options).unwrap();
    let at = |entry: &[u8]| [store_prefix(b"bank").as_slice(), entry].concat();
    let (mut batch, mut names) = (WriteBatch::new(), Vec::new());
    let orphan = |batch: &mut WriteBatch, hash: &[u8; 32]| {
        let versions = [MADE_IN + 1, MADE_IN].map(u64::to_be_bytes).concat();
        batch.put(&at(&[b"o".as_slice(), &versions, hash].concat()), hash);
    };
    for form in forms {
        match form {
            Form::Old => {
                for key in [b"litter 1", b"litter 2"] {
                    let hash = leaf_hash(MADE_IN, key, &Sha256::digest(b"v").into());
                    // Height 0, size 1, version, key, value.
                    let node = [&[0, 2, 0xca, 2, 8][..], key, b"\x01v"].concat();
                    let id = NodeId::legacy(hash);
                    batch.put(&at(id.bytes()), &node);
                    names.push(id.to_string());
                    if key.ends_with(b"2") {
                        orphan(&mut batch, &hash);
                    }
                }
                orphan(&mut batch, &[0xee; 32]);
            }
            Form::New => {
                let id = NodeId::new(MADE_IN, 900);
                batch.put(&at(id.bytes()), b"\0\x02\x06litter\x01v");
                names.push(id.to_string());
            }
        }
    }
    store.write(&batch, Durability::Synced).unwrap();
    store.close().unwrap();
    names
}
