//! The canonical shape of each stored message: fields, types, and when they are written.
//!
//! `Always` stands for gogoproto's `nullable = false` messages, `WhenSet` for pointers and
//! members of a oneof.

use transload_codec::proto::FieldKind::{Bytes, Int32, Int64, Message, Uint32};
use transload_codec::proto::Presence::{Always, NotDefault, Repeated, WhenSet};
use transload_codec::proto::{FieldKind, Presence, Shape, Spec};

const fn field(number: u32, name: &'static str, kind: FieldKind, presence: Presence) -> Spec {
    Spec { number, name, kind, presence }
}

const fn scalar(number: u32, name: &'static str, kind: FieldKind) -> Spec {
    field(number, name, kind, NotDefault)
}

const fn always(number: u32, name: &'static str, shape: &'static Shape) -> Spec {
    field(number, name, Message(shape), Always)
}

const fn when_set(number: u32, name: &'static str, shape: &'static Shape) -> Spec {
    field(number, name, Message(shape), WhenSet)
}

const fn repeated(number: u32, name: &'static str, shape: &'static Shape) -> Spec {
    field(number, name, Message(shape), Repeated)
}

static TIMESTAMP: Shape =
    Shape { name: "Timestamp", fields: &[scalar(1, "seconds", Int64), scalar(2, "nanos", Int32)] };

static CONSENSUS_VERSION: Shape =
    Shape { name: "Consensus", fields: &[scalar(1, "block", Int64), scalar(2, "app", Int64)] };

static PART_SET_HEADER: Shape = Shape {
    name: "PartSetHeader",
    fields: &[scalar(1, "total", Uint32), scalar(2, "hash", Bytes)],
};

static BLOCK_ID: Shape = Shape {
    name: "BlockID",
    fields: &[scalar(1, "hash", Bytes), always(2, "part_set_header", &PART_SET_HEADER)],
};

static HEADER: Shape = Shape {
    name: "Header",
    fields: &[
        always(1, "version", &CONSENSUS_VERSION),
        scalar(2, "chain_id", Bytes),
        scalar(3, "height", Int64),
        always(4, "time", &TIMESTAMP),
        always(5, "last_block_id", &BLOCK_ID),
        scalar(6, "last_commit_hash", Bytes),
        scalar(7, "data_hash", Bytes),
        scalar(8, "validators_hash", Bytes),
        scalar(9, "next_validators_hash", Bytes),
        scalar(10, "consensus_hash", Bytes),
        scalar(11, "app_hash", Bytes),
        scalar(12, "last_results_hash", Bytes),
        scalar(13, "evidence_hash", Bytes),
        scalar(14, "proposer_address", Bytes),
    ],
};

/// `BlockMeta`.
pub static BLOCK_META: Shape = Shape {
    name: "BlockMeta",
    fields: &[
        always(1, "block_id", &BLOCK_ID),
        scalar(2, "block_size", Int64),
        always(3, "header", &HEADER),
        scalar(4, "num_txs", Int64),
    ],
};

static PROOF: Shape = Shape {
    name: "Proof",
    fields: &[
        scalar(1, "total", Int64),
        scalar(2, "index", Int64),
        scalar(3, "leaf_hash", Bytes),
        field(4, "aunts", Bytes, Repeated),
    ],
};

/// `Part`.
pub static PART: Shape = Shape {
    name: "Part",
    fields: &[scalar(1, "index", Uint32), scalar(2, "bytes", Bytes), always(3, "proof", &PROOF)],
};

static COMMIT_SIG: Shape = Shape {
    name: "CommitSig",
    fields: &[
        scalar(1, "block_id_flag", Int32),
        scalar(2, "validator_address", Bytes),
        always(3, "timestamp", &TIMESTAMP),
        scalar(4, "signature", Bytes),
    ],
};

/// `Commit`.
pub static COMMIT: Shape = Shape {
    name: "Commit",
    fields: &[
        scalar(1, "height", Int64),
        scalar(2, "round", Int32),
        always(3, "block_id", &BLOCK_ID),
        repeated(4, "signatures", &COMMIT_SIG),
    ],
};

static EXTENDED_COMMIT_SIG: Shape = Shape {
    name: "ExtendedCommitSig",
    fields: &[
        scalar(1, "block_id_flag", Int32),
        scalar(2, "validator_address", Bytes),
        always(3, "timestamp", &TIMESTAMP),
        scalar(4, "signature", Bytes),
        scalar(5, "extension", Bytes),
        scalar(6, "extension_signature", Bytes),
    ],
};

/// `ExtendedCommit`.
pub static EXTENDED_COMMIT: Shape = Shape {
    name: "ExtendedCommit",
    fields: &[
        scalar(1, "height", Int64),
        scalar(2, "round", Int32),
        always(3, "block_id", &BLOCK_ID),
        repeated(4, "extended_signatures", &EXTENDED_COMMIT_SIG),
    ],
};

/// `BlockStoreState`.
pub static BLOCK_STORE_STATE: Shape = Shape {
    name: "BlockStoreState",
    fields: &[scalar(1, "base", Int64), scalar(2, "height", Int64)],
};

static PUBLIC_KEY: Shape = Shape {
    name: "PublicKey",
    fields: &[
        field(1, "ed25519", Bytes, WhenSet),
        field(2, "secp256k1", Bytes, WhenSet),
        field(3, "bls12381", Bytes, WhenSet),
    ],
};

static VALIDATOR: Shape = Shape {
    name: "Validator",
    fields: &[
        scalar(1, "address", Bytes),
        // Not nullable before 1.0, absent since.
        when_set(2, "pub_key", &PUBLIC_KEY),
        scalar(3, "voting_power", Int64),
        scalar(4, "proposer_priority", Int64),
        scalar(5, "pub_key_bytes", Bytes),
        scalar(6, "pub_key_type", Bytes),
    ],
};

static VALIDATOR_SET: Shape = Shape {
    name: "ValidatorSet",
    fields: &[
        repeated(1, "validators", &VALIDATOR),
        when_set(2, "proposer", &VALIDATOR),
        scalar(3, "total_voting_power", Int64),
    ],
};

/// `ValidatorsInfo`.
pub static VALIDATORS_INFO: Shape = Shape {
    name: "ValidatorsInfo",
    fields: &[
        when_set(1, "validator_set", &VALIDATOR_SET),
        scalar(2, "last_height_changed", Int64),
    ],
};

static DURATION: Shape =
    Shape { name: "Duration", fields: &[scalar(1, "seconds", Int64), scalar(2, "nanos", Int32)] };

static INT64_VALUE: Shape = Shape { name: "Int64Value", fields: &[scalar(1, "value", Int64)] };

static CONSENSUS_PARAMS: Shape = Shape {
    name: "ConsensusParams",
    fields: &[
        when_set(
            1,
            "block",
            &Shape {
                name: "BlockParams",
                fields: &[
                    scalar(1, "max_bytes", Int64),
                    scalar(2, "max_gas", Int64),
                    // 0.34 only.
                    scalar(3, "time_iota_ms", Int64),
                ],
            },
        ),
        when_set(
            2,
            "evidence",
            &Shape {
                name: "EvidenceParams",
                fields: &[
                    scalar(1, "max_age_num_blocks", Int64),
                    always(2, "max_age_duration", &DURATION),
                    scalar(3, "max_bytes", Int64),
                ],
            },
        ),
        when_set(
            3,
            "validator",
            &Shape {
                name: "ValidatorParams",
                fields: &[field(1, "pub_key_types", Bytes, Repeated)],
            },
        ),
        when_set(
            4,
            "version",
            &Shape { name: "VersionParams", fields: &[scalar(1, "app", Int64)] },
        ),
        when_set(
            5,
            "abci",
            &Shape {
                name: "ABCIParams",
                fields: &[scalar(1, "vote_extensions_enable_height", Int64)],
            },
        ),
        when_set(
            6,
            "synchrony",
            &Shape {
                name: "SynchronyParams",
                fields: &[
                    when_set(1, "precision", &DURATION),
                    when_set(2, "message_delay", &DURATION),
                ],
            },
        ),
        when_set(
            7,
            "feature",
            &Shape {
                name: "FeatureParams",
                fields: &[
                    when_set(1, "vote_extensions_enable_height", &INT64_VALUE),
                    when_set(2, "pbts_enable_height", &INT64_VALUE),
                ],
            },
        ),
    ],
};

/// `ConsensusParamsInfo`.
pub static PARAMS_INFO: Shape = Shape {
    name: "ConsensusParamsInfo",
    fields: &[
        always(1, "consensus_params", &CONSENSUS_PARAMS),
        scalar(2, "last_height_changed", Int64),
    ],
};

/// `State`.
pub static STATE: Shape = Shape {
    name: "State",
    fields: &[
        always(
            1,
            "version",
            &Shape {
                name: "Version",
                fields: &[always(1, "consensus", &CONSENSUS_VERSION), scalar(2, "software", Bytes)],
            },
        ),
        scalar(2, "chain_id", Bytes),
        scalar(3, "last_block_height", Int64),
        always(4, "last_block_id", &BLOCK_ID),
        always(5, "last_block_time", &TIMESTAMP),
        when_set(6, "next_validators", &VALIDATOR_SET),
        when_set(7, "validators", &VALIDATOR_SET),
        when_set(8, "last_validators", &VALIDATOR_SET),
        scalar(9, "last_height_validators_changed", Int64),
        always(10, "consensus_params", &CONSENSUS_PARAMS),
        scalar(11, "last_height_consensus_params_changed", Int64),
        scalar(12, "last_results_hash", Bytes),
        scalar(13, "app_hash", Bytes),
        scalar(14, "initial_height", Int64),
        // 1.1 and later.
        when_set(15, "next_block_delay", &DURATION),
    ],
};

static VOTE: Shape = Shape {
    name: "Vote",
    fields: &[
        scalar(1, "type", Int32),
        scalar(2, "height", Int64),
        scalar(3, "round", Int32),
        always(4, "block_id", &BLOCK_ID),
        always(5, "timestamp", &TIMESTAMP),
        scalar(6, "validator_address", Bytes),
        scalar(7, "validator_index", Int32),
        scalar(8, "signature", Bytes),
        scalar(9, "extension", Bytes),
        scalar(10, "extension_signature", Bytes),
    ],
};

static DUPLICATE_VOTE: Shape = Shape {
    name: "DuplicateVoteEvidence",
    fields: &[
        when_set(1, "vote_a", &VOTE),
        when_set(2, "vote_b", &VOTE),
        scalar(3, "total_voting_power", Int64),
        scalar(4, "validator_power", Int64),
        always(5, "timestamp", &TIMESTAMP),
    ],
};

static SIGNED_HEADER: Shape = Shape {
    name: "SignedHeader",
    fields: &[when_set(1, "header", &HEADER), when_set(2, "commit", &COMMIT)],
};

static LIGHT_BLOCK: Shape = Shape {
    name: "LightBlock",
    fields: &[
        when_set(1, "signed_header", &SIGNED_HEADER),
        when_set(2, "validator_set", &VALIDATOR_SET),
    ],
};

static LIGHT_CLIENT_ATTACK: Shape = Shape {
    name: "LightClientAttackEvidence",
    fields: &[
        when_set(1, "conflicting_block", &LIGHT_BLOCK),
        scalar(2, "common_height", Int64),
        repeated(3, "byzantine_validators", &VALIDATOR),
        scalar(4, "total_voting_power", Int64),
        always(5, "timestamp", &TIMESTAMP),
    ],
};

/// `Evidence`.
pub static EVIDENCE: Shape = Shape {
    name: "Evidence",
    fields: &[
        when_set(1, "duplicate_vote_evidence", &DUPLICATE_VOTE),
        when_set(2, "light_client_attack_evidence", &LIGHT_CLIENT_ATTACK),
    ],
};

/// `Block`.
pub static BLOCK: Shape = Shape {
    name: "Block",
    fields: &[
        always(1, "header", &HEADER),
        always(2, "data", &Shape { name: "Data", fields: &[field(1, "txs", Bytes, Repeated)] }),
        always(
            3,
            "evidence",
            &Shape { name: "EvidenceList", fields: &[repeated(1, "evidence", &EVIDENCE)] },
        ),
        when_set(4, "last_commit", &COMMIT),
    ],
};
