//! The checks that this profile defines, by their stable names and in their fixed order.

/// Stored bytes equal their canonical re-encoding, so that nothing hides in a wrapper.
pub(super) const CANONICAL: &str = "canonical_encoding";
/// Each header hashes to its block's id.
pub(super) const HEADER_HASH: &str = "header_hash";
/// Each header names the block before it.
pub(super) const LAST_BLOCK_ID: &str = "last_block_id";
/// Each part's proof leads to the root in the block's id.
pub(super) const PART_PROOF: &str = "part_proof";
/// The parts together have the root in the block's id.
pub(super) const PART_SET: &str = "part_set";
/// The block in the parts has the header, transactions, evidence, commit and size it should.
pub(super) const BLOCK_CONTENT: &str = "block_content";
/// Each stored commit is the one that the next block carries.
pub(super) const COMMIT_RECORD: &str = "commit_record";
/// Each commit is for its block, by its validators, with more than two thirds of the power.
pub(super) const COMMIT_POWER: &str = "commit_power";
/// Every signature of every commit.
pub(super) const COMMIT_SIGNATURE: &str = "commit_signatures";
/// Every signature of every seen commit.
pub(super) const SEEN_SIGNATURE: &str = "seen_commit_signatures";
/// Every signature of every extended commit, over votes and extensions.
pub(super) const EXTENDED_SIGNATURE: &str = "extended_commit_signatures";
/// Each stored validator set has the hash that headers commit to.
pub(super) const VALIDATORS_HASH: &str = "validators_hash";
/// The set after next follows from the last results' updates.
pub(super) const VALIDATOR_UPDATES: &str = "validator_updates";
/// Each block's proposer had his turn in one of the rounds.
pub(super) const PROPOSER: &str = "proposer";
/// Two consensus parameters have the hash that headers commit to.
pub(super) const CONSENSUS_HASH: &str = "consensus_hash";
/// Each block's results have the root in the next header.
pub(super) const RESULTS_HASH: &str = "results_hash";
/// The application's hash in the results is the next header's.
pub(super) const APP_HASH: &str = "app_hash";
/// Block hashes lead to their heights, and no others do.
pub(super) const HASH_INDEX: &str = "hash_index";
/// Every height between base and height is there.
pub(super) const STORE_STATE: &str = "block_store_state";
/// The state after the last block agrees with blocks and sets.
pub(super) const STATE: &str = "state";
/// The last results kept twice are the same.
pub(super) const LAST_RESULTS: &str = "last_results";
/// The stored genesis document is that of the file.
pub(super) const GENESIS: &str = "genesis";
/// Both signatures of duplicate votes, in blocks and pending.
pub(super) const EVIDENCE_SIGNATURE: &str = "evidence_signatures";
/// Committed evidence is marked, and nothing else is.
pub(super) const EVIDENCE_MARKER: &str = "evidence_markers";
/// Indexed transactions and results are those of the blocks.
pub(super) const TX_RESULT: &str = "tx_index_results";
/// Hashes by height and index are those of the blocks.
pub(super) const TX_HEIGHT: &str = "tx_index_heights";
/// Indexed heights are those of the blocks.
pub(super) const TX_BLOCK: &str = "tx_index_blocks";
/// No record stands where the chain has none.
pub(super) const EXTRA: &str = "extra_records";
/// The signer isn't ahead of the tip.
pub(super) const SIGNER: &str = "signer_height";
/// The header at the trusted height has the trusted hash.
pub(super) const ANCHOR: &str = "trust_anchor";

/// Which check looks at the records of which table.
pub(super) const COVERS: [(&str, &str); 12] = [
    (HEADER_HASH, "blockstore/meta"),
    (PART_SET, "blockstore/part"),
    (COMMIT_SIGNATURE, "blockstore/commit"),
    (HASH_INDEX, "blockstore/hash_index"),
    (STORE_STATE, "blockstore/state"),
    (VALIDATORS_HASH, "state/validators"),
    (STATE, "state/state"),
    (LAST_RESULTS, "state/last_results"),
    (EVIDENCE_MARKER, "evidence/committed"),
    (TX_RESULT, "tx_index/result"),
    (TX_HEIGHT, "tx_index/height"),
    (TX_BLOCK, "tx_index/block"),
];

/// All of them, in the order of a report.
pub(super) const ALL: [&str; 30] = [
    CANONICAL,
    HEADER_HASH,
    LAST_BLOCK_ID,
    PART_PROOF,
    PART_SET,
    BLOCK_CONTENT,
    COMMIT_RECORD,
    COMMIT_POWER,
    COMMIT_SIGNATURE,
    SEEN_SIGNATURE,
    EXTENDED_SIGNATURE,
    VALIDATORS_HASH,
    VALIDATOR_UPDATES,
    PROPOSER,
    CONSENSUS_HASH,
    RESULTS_HASH,
    APP_HASH,
    HASH_INDEX,
    STORE_STATE,
    STATE,
    LAST_RESULTS,
    GENESIS,
    EVIDENCE_SIGNATURE,
    EVIDENCE_MARKER,
    TX_RESULT,
    TX_HEIGHT,
    TX_BLOCK,
    EXTRA,
    SIGNER,
    ANCHOR,
];
