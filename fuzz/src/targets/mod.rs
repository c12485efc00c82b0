//! The targets, by what they decode.

mod bbolt;
mod cometbft;
mod config;
mod conversion;
mod files;
mod frames;
mod home;
mod iavl;
mod keys;
mod layouts;
mod leveldb;
mod lmdb;
mod operator;
mod program;
mod proof;
mod recognise;
mod samples;
mod shape;
mod snapshots;

use crate::Target;

const fn target(
    name: &'static str,
    bytes_max: usize,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
) -> Target {
    Target { name, bytes_max, run, seeds }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("codec-ordered", 64, keys::ordered, keys::ordered_seeds),
    target("codec-decimal", 64, keys::decimal, keys::decimal_seeds),
    target("codec-proto", 512, shape::proto, samples::block_metas),
    target("cometbft-block-meta", 1024, cometbft::block_meta, samples::block_metas),
    target("cometbft-part", 1024, cometbft::part, samples::parts),
    target("cometbft-block", 2048, cometbft::block, samples::blocks),
    target("cometbft-commit", 1024, cometbft::commit, samples::commits),
    target("cometbft-validators", 1024, cometbft::validators, samples::validators),
    target("cometbft-state", 2048, cometbft::state, samples::states),
    target("cometbft-results", 1024, cometbft::results, samples::results),
    target("cometbft-evidence", 2048, cometbft::evidence, samples::evidence),
    target("cometbft-layouts", 256, layouts::cometbft, samples::keys),
    target("iavl-key", 128, iavl::key, iavl::key_seeds),
    target("iavl-node", 256, iavl::node, iavl::node_seeds),
    target("iavl-commit-info", 512, iavl::commit_info, iavl::commit_info_seeds),
    target("iavl-convert", 512, conversion::convert, conversion::seeds),
    target("snapshot-record", 256, snapshots::record, snapshots::record_seeds),
    target("snapshot-stream", 512, snapshots::stream, snapshots::stream_seeds),
    target("leveldb-log", 2048, leveldb::log, leveldb::log_seeds),
    target("leveldb-batches", 1024, leveldb::batches, leveldb::batch_seeds),
    target("leveldb-manifest", 1024, leveldb::manifest, leveldb::manifest_seeds),
    target("leveldb-block", 512, leveldb::block, leveldb::block_seeds),
    target("leveldb-table", 2048, leveldb::table, leveldb::table_seeds),
    target("gostore-answers", 512, frames::answers, frames::answer_seeds),
    target("gostore-stream", 512, frames::stream, frames::stream_seeds),
    target("lmdb-tree", 4096, lmdb::tree, lmdb::tree_seeds),
    target("bbolt-tree", 4096, bbolt::tree, bbolt::tree_seeds),
    target("recognise-file", 320, recognise::file, recognise::file_seeds),
    target("recognise-directory", 1024, recognise::directory, recognise::directory_seeds),
    target("recognise-badger", 64, recognise::badger, recognise::badger_seeds),
    target("node-program", 1024, program::build_info, program::seeds),
    target("config-edit", 512, config::edit, config::seeds),
    target("home-files", 2048, home::files, home::files_seeds),
    target("genesis", 2048, home::genesis, home::genesis_seeds),
    target("plan", 4096, operator::plan, operator::plan_seeds),
    target("control", 512, operator::control, operator::control_seeds),
    target("record-proof", 4096, proof::document, proof::document_seeds),
    target("merkle-path", 1024, proof::path, proof::path_seeds),
];
