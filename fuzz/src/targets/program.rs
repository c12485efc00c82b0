//! Go's build info in a node's program.

use super::files::with_file;
use transload_chains::cometbft::home::{DbLibrary, NodeBuild};
use transload_model::engine::Engine;

const MAGIC: &[u8] = b"\xff Go buildinf:\x08\x02";
const MARK: [u8; 16] = [7; 16];

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    transload_codec::varint::put_uvarint(&mut out, bytes.len() as u64);
    out.extend(bytes);
    out
}

fn program(info: &[u8]) -> Vec<u8> {
    let marked = [&MARK, info, b"\n", &MARK].concat();
    [MAGIC, &[0; 16], &string(b"go1.26"), &string(&marked)].concat()
}

fn ask(build: &NodeBuild) {
    for engine in Engine::ALL {
        for library in [DbLibrary::Node, DbLibrary::App] {
            if let Err(why) = build.opens(engine, library) {
                assert!(!why.is_empty());
            }
        }
    }
}

/// A file as it is, and one with the input as its module info.
pub(crate) fn build_info(bytes: &[u8]) {
    if let Ok(build) = with_file(bytes, NodeBuild::of) {
        ask(&build);
    }
    match with_file(&program(bytes), NodeBuild::of) {
        Ok(build) => ask(&build),
        Err(_) => assert!(std::str::from_utf8(bytes).is_err(), "build info is found"),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let info = b"path\tgithub.com/cometbft/cometbft\nmod\tgithub.com/cometbft/cometbft\tv0.38.26\n\
        dep\tgithub.com/cometbft/cometbft-db\tv0.14.1\nbuild\t-tags=pebbledb,rocksdb";
    let replaced = b"dep\tgithub.com/cosmos/cosmos-db\tv1.1.1\n=>\texample.org/x\tv9.0.0\n";
    vec![program(info), info.to_vec(), replaced.to_vec()]
}
