//! Every signature of one validator that its chain knows of: in the commits that nodes answer
//! with, in the commits that their databases keep, and in their consensus logs, where every
//! vote is that a node has received, also those that no block has.

use crate::home::NodeHome;
use crate::rpc::{Rpc, number};
use crate::signer::Point;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use transload_chains::cometbft::wire::BlockId;
use transload_chains::cometbft::wire::commit::{Commit, Flag, Vote};
use transload_codec::proto::Fields;
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_store::{Engines as _, KeyRange, Scan, SourceOptions};

const PRECOMMIT: u64 = 3;

/// The signatures of a validator.
#[derive(Debug)]
pub(crate) struct Signatures {
    address: Vec<u8>,
    ballots: BTreeMap<Point, Ballot>,
    /// How many were looked at, the same ones in several places included.
    pub(crate) looked_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ballot {
    /// Hash and parts of the block that was voted for; empty for nil.
    block: (Vec<u8>, Vec<u8>),
    signature: Vec<u8>,
}

impl Signatures {
    /// None yet, of the validator with this address (in hex).
    pub(crate) fn of(address: &str) -> Self {
        let address = hex::decode(address).unwrap();
        Self { address, ballots: BTreeMap::new(), looked_at: 0 }
    }

    /// How many different points were signed for.
    pub(crate) fn points(&self) -> usize {
        self.ballots.len()
    }

    /// Fails when the validator has signed something else for the same point.
    fn note(&mut self, point: Point, block: (Vec<u8>, Vec<u8>), signature: &[u8], whence: &str) {
        let ballot = Ballot { block, signature: signature.to_vec() };
        let first = self.ballots.entry(point).or_insert_with(|| ballot.clone());
        assert_eq!(*first, ballot, "two signatures for {point:?}, the second in {whence}");
        self.looked_at += 1;
    }

    /// The commits that a node answers with, of every height up to its tip.
    pub(crate) fn answered(&mut self, rpc: Rpc) {
        for height in 1..=rpc.height().unwrap() {
            let answer = rpc.call("commit", &json!({"height": height.to_string()})).unwrap();
            let commit = &answer["signed_header"]["commit"];
            let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
            for sig in commit["signatures"].as_array().unwrap() {
                if bytes(&sig["validator_address"]) != self.address {
                    continue;
                }
                let id = &commit["block_id"];
                let for_block = sig["block_id_flag"] == 2;
                let block = (bytes(&id["hash"]), bytes(&id["parts"]["hash"]));
                let signature = BASE64_STANDARD.decode(sig["signature"].as_str().unwrap()).unwrap();
                let point = Point {
                    height: number(&commit["height"]).unwrap(),
                    round: commit["round"].as_u64().unwrap(),
                    step: PRECOMMIT,
                };
                let block = if for_block { block } else { Default::default() };
                self.note(point, block, &signature, "an answer");
            }
        }
    }

    /// The commits that a home's block store keeps, the node's own of every height included.
    pub(crate) fn kept(&mut self, home: &NodeHome) {
        for (key, value) in entries(home, "blockstore.db") {
            if !key.starts_with(b"C:") && !key.starts_with(b"SC:") {
                continue;
            }
            let commit = Commit::decode(&value).unwrap();
            for sig in &commit.signatures {
                if sig.validator_address != self.address {
                    continue;
                }
                let for_block = sig.flag == Flag::Commit;
                let block = if for_block { plain(commit.block_id) } else { Default::default() };
                let point = point(commit.height, commit.round, PRECOMMIT);
                self.note(point, block, sig.signature, &String::from_utf8_lossy(&key));
            }
        }
    }

    /// The votes in a home's consensus log, whoever they came from.
    pub(crate) fn logged(&mut self, home: &NodeHome) {
        let mut found = Vec::new();
        each_logged(home, |logged, _| {
            if let Logged::Vote(vote) = logged
                && vote.validator_address == self.address
            {
                let point = point(vote.height, vote.round, vote.kind + 1);
                found.push((point, plain(vote.block_id), vote.signature.to_vec()));
            }
        });
        for (point, block, signature) in found {
            self.note(point, block, &signature, "a consensus log");
        }
    }
}

/// What a node has signed itself, in the order in which it did.
pub(crate) fn signed_by(home: &NodeHome) -> Vec<Point> {
    let mut points = Vec::new();
    each_logged(home, |logged, peer| {
        // What comes from no peer is the node's own.
        if peer.is_empty() {
            points.push(match logged {
                Logged::Vote(vote) => point(vote.height, vote.round, vote.kind + 1),
                Logged::Proposal { height, round } => point(height, round, 1),
            });
        }
    });
    points
}

/// How many misbehaviours a home's evidence database knows of, pending and committed.
pub(crate) fn evidence(home: &NodeHome) -> usize {
    entries(home, "evidence.db").iter().filter(|(key, _)| key != b"version").count()
}

fn point(height: i64, round: i32, step: u64) -> Point {
    Point { height: height.try_into().unwrap(), round: round.try_into().unwrap(), step }
}

fn plain(id: BlockId<'_>) -> (Vec<u8>, Vec<u8>) {
    (id.hash.to_vec(), id.parts.hash.to_vec())
}

/// Every entry of a database of a home, whatever its engine.
fn entries(home: &NodeHome, database: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let path = home.path().join("data").join(database);
    let helper = std::env::var_os("TRANSLOAD_GOSTORE").map(PathBuf::from);
    let engines = BuiltIn::new(BuiltInConfig { gostore_helper: helper });
    let engine = engines.recognise(&path).unwrap().engine;
    let scratch = tempfile::tempdir().unwrap();
    let options = SourceOptions {
        scratch_dir: scratch.path().to_owned(),
        memory_bytes_max: 64 << 20,
        space: None,
    };
    let store = engines.driver(engine).unwrap().open_source(&path, &options).unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
    let mut entries = Vec::new();
    while let Some((key, value)) = scan.next().unwrap() {
        entries.push((key.to_vec(), value.to_vec()));
    }
    entries
}

enum Logged<'a> {
    Vote(Vote<'a>),
    Proposal { height: i64, round: i32 },
}

/// Walks the votes and proposals of a consensus log, each with the peer that sent it.
///
/// Records of CRC-32 and length (4 bytes each, big endian) and a `TimedWALMessage`; the log goes
/// on from `wal.000` to the highest number and to `wal`.
fn each_logged(home: &NodeHome, mut each: impl FnMut(Logged<'_>, &[u8])) {
    let folder = home.path().join("data/cs.wal");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| (path.extension().is_none(), path.clone()));
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let mut rest = &bytes[..];
        while let Some((head, after)) = rest.split_first_chunk::<8>() {
            let length = u32::from_be_bytes(*head.last_chunk::<4>().unwrap());
            let (record, after) = after.split_at(usize::try_from(length).unwrap());
            rest = after;
            let Some(info) = within(record, &[2, 2]) else { continue };
            let peer = within(info, &[2]).unwrap_or_default();
            if let Some(vote) = within(info, &[1, 6, 1]) {
                each(Logged::Vote(Vote::decode(vote).unwrap()), peer);
            } else if let Some(proposal) = within(info, &[1, 3, 1]) {
                let (height, round) = height_and_round(proposal);
                each(Logged::Proposal { height, round }, peer);
            }
        }
        assert!(rest.is_empty(), "{} ends in the middle of a record", file.display());
    }
}

/// Of a `Proposal`; protobuf leaves out a round of 0.
fn height_and_round(proposal: &[u8]) -> (i64, i32) {
    let (mut height, mut round) = (0, 0);
    let mut fields = Fields::new(proposal);
    while let Some(field) = fields.next().unwrap() {
        match field.number {
            2 => height = field.int64().unwrap(),
            3 => round = field.int32().unwrap(),
            _ => {}
        }
    }
    (height, round)
}

/// The message at a path of field numbers.
fn within<'a>(message: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
    let Some((number, path)) = path.split_first() else { return Some(message) };
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next().unwrap() {
        if field.number == *number {
            return within(field.bytes().ok()?, path);
        }
    }
    None
}
