//! Commits: whose they are, for which block, with which power, and every signature.

use super::height::Heights;
use super::sets::Set;
use super::{Signed, checks};
use crate::cometbft::database;
use crate::cometbft::layout::blockstore as table;
use crate::cometbft::wire::BlockId;
use crate::cometbft::wire::commit::{Commit, Flag, PRECOMMIT, SignBytes};
use transload_codec::proto::Shape;

/// One of the three places where a commit of a height is kept.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) table: usize,
    pub(super) signature_check: &'static str,
    pub(super) shape: &'static Shape,
    pub(super) has_extensions: bool,
}

pub(super) const CANONICAL: Place = Place {
    table: table::COMMIT,
    signature_check: checks::COMMIT_SIGNATURE,
    shape: &crate::cometbft::wire::shapes::COMMIT,
    has_extensions: false,
};
pub(super) const SEEN: Place = Place {
    table: table::SEEN_COMMIT,
    signature_check: checks::SEEN_SIGNATURE,
    shape: &crate::cometbft::wire::shapes::COMMIT,
    has_extensions: false,
};
pub(super) const EXTENDED: Place = Place {
    table: table::EXTENDED_COMMIT,
    signature_check: checks::EXTENDED_SIGNATURE,
    shape: &crate::cometbft::wire::shapes::EXTENDED_COMMIT,
    has_extensions: true,
};

impl Heights<'_, '_> {
    /// Checks one stored commit of `height`. `twin` is the height's canonical commit: signatures
    /// that stand there byte for byte are verified there.
    pub(super) fn check_commit(
        &mut self,
        place: Place,
        height: u64,
        commit: &Commit<'_>,
        block_id: &BlockId<'_>,
        set: &Set,
        twin: Option<&Commit<'_>>,
    ) {
        self.count(checks::COMMIT_POWER, 1);
        let wrong = |this: &mut Self, what: String| {
            this.blockstore_finding(checks::COMMIT_POWER, place.table, height, what);
        };
        if u64::try_from(commit.height) != Ok(height) {
            wrong(self, format!("the commit is of height {}", commit.height));
        }
        if commit.block_id != *block_id {
            wrong(self, "the commit is for another block than the one kept".to_owned());
        }
        if commit.signatures.len() != set.members.len() {
            wrong(
                self,
                format!(
                    "the commit has {} signatures and the height has {} validators",
                    commit.signatures.len(),
                    set.members.len()
                ),
            );
            return;
        }
        let same_votes = twin.filter(|twin| {
            twin.height == commit.height
                && twin.round == commit.round
                && twin.block_id == commit.block_id
        });
        let signed = SignBytes {
            kind: PRECOMMIT,
            height: commit.height,
            round: commit.round,
            chain_id: self.ctx.chain_id.as_slice(),
        };
        let mut power = 0_u64;
        for (index, (sig, member)) in commit.signatures.iter().zip(&set.members).enumerate() {
            let voted = match sig.flag {
                Flag::Absent => {
                    if !sig.signature.is_empty() || !sig.validator_address.is_empty() {
                        wrong(self, format!("signature {index} is marked absent and isn't empty"));
                    }
                    continue;
                }
                Flag::Commit => Some(&commit.block_id),
                Flag::Nil => None,
                Flag::Unknown => {
                    wrong(self, format!("signature {index} has a flag that doesn't exist"));
                    continue;
                }
            };
            if sig.validator_address != member.address {
                wrong(self, format!("signature {index} is by another validator than the set's"));
            }
            if voted.is_some() {
                power = power.saturating_add(u64::try_from(member.power).unwrap_or(0));
            }
            let tag = Signed::Commit {
                table: place.table,
                check: place.signature_check,
                height,
                index,
                extension: false,
            };
            let twin_sig = same_votes.and_then(|twin| twin.signatures.get(index));
            if twin_sig.is_some_and(|twin| {
                (twin.flag, twin.validator_address, twin.timestamp, twin.signature)
                    == (sig.flag, sig.validator_address, sig.timestamp, sig.signature)
            }) {
                self.count(place.signature_check, 1);
            } else {
                let message = signed.vote(voted, sig.timestamp);
                self.queue_signature(member, &message, sig.signature, tag);
            }
            if place.has_extensions && voted.is_some() {
                let tag = Signed::Commit {
                    table: place.table,
                    check: place.signature_check,
                    height,
                    index,
                    extension: true,
                };
                let message = signed.extension(sig.extension);
                self.queue_signature(member, &message, sig.extension_signature, tag);
            }
        }
        let enough = set.total.is_some_and(|total| u128::from(power) > u128::from(total) * 2 / 3);
        if !enough {
            let total = set.total.map_or_else(|| "no valid total".to_owned(), |t| t.to_string());
            wrong(self, format!("votes for the block have power {power} of {total}"));
        }
    }

    /// A finding about a record of the block store under one height.
    pub(super) fn blockstore_finding(
        &mut self,
        check: &'static str,
        table: usize,
        height: u64,
        what: String,
    ) {
        let key = self.ctx.blocks.physical(table, &height.to_be_bytes()).unwrap_or_default();
        let name = self.ctx.block_table(table);
        self.find(check, database::BLOCKSTORE, Some(name), &key, Some(height), what);
    }
}
