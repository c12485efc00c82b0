//! What no check can notice, byte for byte, and where `docs/chains.md` says so.

use super::campaign::Change;
use transload_chains::cometbft::wire::block::BlockStoreState;
use transload_chains::cometbft::wire::results::TxResult;
use transload_chains::iavl::node::FastNode;
use transload_codec::proto::{Fields, Value};

/// What the docs say of what can't be authenticated.
const DOCS: &str = include_str!("../../../../../docs/chains.md");

/// The words of the docs that cover a change which nobody noticed; `None` where there are none: a
/// hole.
pub(super) fn reason(change: &Change<'_>) -> Option<&'static str> {
    let words = words(change)?;
    assert!(DOCS.contains(words), "docs/chains.md doesn't say: {words}");
    Some(words)
}

/// Of a set of validators, by the numbers that lead to them: what each has gathered towards its
/// turn, the proposer's copy included.
const PRIORITIES: [&[u32]; 2] = [&[1, 4], &[2, 4]];

const ONE_ABOVE: &str = "One record of validators, parameters or results above";

const ORPHANS: &str = "Orphans that are missing, or of a later version than need be";

fn words(change: &Change<'_>) -> Option<&'static str> {
    let held = change.held;
    let is_below = |height: Option<u64>| height.is_some_and(|height| height < held.first);
    let is_above = |height: Option<u64>, by| height.is_some_and(|height| height > held.last + by);
    if let Some((table, height)) = &change.copied_to {
        return match table.as_str() {
            "tx_index/event" | "tx_index/block_event" => Some("Events, logs and the other fields"),
            "evidence/committed" if held.first > 1 => Some("Marks of evidence in blocks that are"),
            "application/iavl_orphan" => Some(ORPHANS),
            "application/unknown"
                if is_said(change, "that no known version writes")
                    || is_said(change, "of no store") =>
            {
                Some("Entries of application.db that no known version")
            }
            "snapshots/metadata" if is_said(change, "that no known version writes") => {
                Some("So are those of snapshots/metadata.db")
            }
            "blockstore/seen_commit" if !change.copied_over || *height == change.height => {
                Some("Which votes a seen commit holds")
            }
            "tx_index/result" | "tx_index/height" | "tx_index/block" if is_above(*height, 0) => {
                Some("Entries of the index of transactions one above")
            }
            "state/validators" if is_above(*height, 2) => Some(ONE_ABOVE),
            "state/params" if is_above(*height, 1) => Some(ONE_ABOVE),
            "state/results" if is_above(*height, 0) => Some(ONE_ABOVE),
            _ if is_below(*height) => Some("below the first block kept"),
            _ => None,
        };
    }
    let below = is_below(change.height);
    match change.table {
        table if table.starts_with("blockstore/") && below => Some("below the first block kept"),
        "blockstore/state" => is_a_later_base(change).then_some("below the first block kept"),
        "state/validators" if same_but_for(change, &inside(&[1])) => Some("Proposer priorities"),
        "state/validators" if below => Some("below the first block kept"),
        "state/state" if same_but_for(change, &inside_all(&[6, 7, 8])) => {
            Some("Proposer priorities")
        }
        "state/state" if same_but_for(change, &[&[1]]) => Some("The versions in the node's state"),
        "state/state" if same_but_for(change, &[&[12], &[13]]) => {
            Some("The application's hash and results after the last block")
        }
        "state/last_results" if change.after.is_none() || same_but_for(change, &[&[2]]) => {
            Some("second copy of the last results")
        }
        "evidence/committed" if held.first > 1 => Some("Marks of evidence in blocks that are"),
        "tx_index/result" if claims_to_be(change, |height| height < held.first) => {
            Some("below the first block kept")
        }
        "tx_index/result" if claims_to_be(change, |height| height == held.last + 1) => {
            Some("Entries of the index of transactions one above")
        }
        "tx_index/height" | "tx_index/block" if change.after.is_none() => {
            Some("What is missing from the index of transactions")
        }
        table if table.starts_with("tx_index/") && below => Some("below the first block kept"),
        "application/commit_info" if same_but_for(change, &[&[3]]) => {
            Some("The time in a CommitInfo")
        }
        "application/commit_info" if is_below(change.height.map(|version| version + 1)) => {
            Some("CommitInfo of versions whose next header")
        }
        "application/iavl_orphan" if change.after.is_none() => Some(ORPHANS),
        "application/iavl_root"
            if change.after.is_none() && is_said(change, "pruning was interrupted there") =>
        {
            Some("The oldest root of a store")
        }
        "snapshots/metadata" if is_said(change, "folders that no record names") => {
            Some("A snapshot that no record names")
        }
        "application/iavl_fast" if is_a_later_version(change) => Some("The version of a fast node"),
        _ => None,
    }
}

/// Whether `verify` says it, though it finds nothing wrong.
fn is_said(change: &Change<'_>, words: &str) -> bool {
    change.notices.iter().any(|notice| notice.contains(words))
}

/// The paths of [`PRIORITIES`] below one that leads to a set.
fn inside(set: &[u32]) -> Vec<Vec<u32>> {
    PRIORITIES.iter().map(|path| [set, path].concat()).collect()
}

fn inside_all(sets: &[u32]) -> Vec<Vec<u32>> {
    sets.iter().flat_map(|set| inside(&[*set])).collect()
}

/// Whether both values say the same but for what lies below these paths.
fn same_but_for<P: AsRef<[u32]>>(change: &Change<'_>, paths: &[P]) -> bool {
    let paths: Vec<&[u32]> = paths.iter().map(AsRef::as_ref).collect();
    let Some(after) = &change.after else { return false };
    let before = without(change.before, &paths);
    before.is_some() && without(after, &paths) == before
}

/// Whether the entry of a transaction now says that it is of such a height, whose block isn't
/// kept: an older entry stays where the same transaction fails later.
fn claims_to_be(change: &Change<'_>, height: impl Fn(u64) -> bool) -> bool {
    let after = change.after.as_deref().map(TxResult::decode);
    let Some(Ok(entry)) = after else { return false };
    u64::try_from(entry.height).is_ok_and(height)
}

/// Whether the store claims to begin later than it does: then nothing below counts as kept.
fn is_a_later_base(change: &Change<'_>) -> bool {
    let Some(after) = &change.after else { return false };
    let range = BlockStoreState::decode(after).ok().and_then(|stored| stored.range());
    range.is_some_and(|(first, last)| first >= change.held.first && last == change.held.last)
}

/// Whether a fast node has the same value and says that it is of a later version.
fn is_a_later_version(change: &Change<'_>) -> bool {
    let after = change.after.as_deref().map(FastNode::decode);
    let before = FastNode::decode(change.before);
    matches!((before, after), (Ok(before), Some(Ok(after)))
        if before.value == after.value && before.version < after.version)
}

/// The fields of a message with their paths, but for those below one of `paths`; `None` for
/// bytes that are no message.
fn without(message: &[u8], paths: &[&[u32]]) -> Option<Vec<(u32, Vec<u8>)>> {
    let (mut kept, mut fields) = (Vec::new(), Fields::new(message));
    while let Some(field) = fields.next().ok()? {
        let below: Vec<&[u32]> =
            paths.iter().filter(|path| path[0] == field.number).map(|path| &path[1..]).collect();
        if below.iter().any(|rest| rest.is_empty()) {
            continue;
        }
        let content = match field.value {
            Value::Bytes(bytes) if !below.is_empty() => {
                let inside = without(bytes, &below)?;
                inside
                    .into_iter()
                    .flat_map(|(number, mut bytes)| {
                        bytes.extend_from_slice(&number.to_be_bytes());
                        bytes
                    })
                    .collect()
            }
            Value::Bytes(bytes) => bytes.to_vec(),
            Value::Varint(value) | Value::Fixed64(value) => value.to_be_bytes().to_vec(),
            Value::Fixed32(value) => value.to_be_bytes().to_vec(),
        };
        kept.push((field.number, content));
    }
    Some(kept)
}
