//! Whether going back is allowed: nothing may be lost that nobody else has, and the signer must
//! never sign twice.
//!
//! The fence is the signer's last height, round and step. It stays where the node has left it,
//! and so does the consensus log; a node that goes back fetches the blocks from its peers again
//! and signs only above the fence. Where nobody else has those blocks, going back would stall
//! the chain and is refused; resetting the signer is never offered.

use super::record::Record;
use super::steps::{kept_is_whole, new_is_untouched, unknown};
use crate::error::{Error, Kind, Result};
use crate::moves::{Fence, SwapPlan};
use transload_store::Home;

const WAY_OUT: &str = "a new verified migration back to the old engine loses nothing: \
    `transload migrate HOME --to OLD-ENGINE`";

/// Refuses to go back where that could lose blocks or sign twice. The home stands on the new
/// databases or between.
///
/// # Errors
/// [`Kind::Refused`] with the reason and what can be done instead.
pub(super) fn may_roll_back(swap: &SwapPlan, home: &Home) -> Result<()> {
    let record = Record::load(swap)?.ok_or_else(|| unknown("the swap's record is gone".into()))?;
    if record.freed {
        return refuse("the old databases were freed: there is nothing to go back to", WAY_OUT);
    }
    kept_is_whole(swap, &record)?;
    let ran = !new_is_untouched(swap, &record)?;
    swap.fence.map_or(Ok(()), |fence| judge(&fence, home, ran))
}

/// `ran` says whether anybody has opened the new databases since they were verified.
pub(super) fn judge(fence: &Fence, home: &Home, ran: bool) -> Result<()> {
    if let (Some(then), Some(now)) = (fence.signer, home.signer)
        && now < then
    {
        return refuse(
            "the signer's state is older than at the swap: somebody has put it back, and the \
             node could sign twice",
            "don't start this node before you know what its key has signed",
        );
    }
    if ran && (fence.remote_signer || home.remote_signer.is_some()) {
        return refuse(
            "the node has run since the swap and its signer is remote, so nobody here knows \
             what it has signed",
            WAY_OUT,
        );
    }
    let signed_since = fence.signer != home.signer;
    if signed_since && (fence.signer.is_none() || home.signer.is_none()) {
        return refuse("the signer's state has appeared or gone since the swap", WAY_OUT);
    }
    if signed_since && fence.only_validator != Some(false) {
        return refuse(
            "the node has signed new blocks since the swap, and as far as its own data tells \
             nobody else has them: going back would stall the chain",
            WAY_OUT,
        );
    }
    Ok(())
}

fn refuse(why: &str, next: &str) -> Result<()> {
    Err(Error::new(Kind::Refused, "roll back", why).next(next.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_store::SignerState;

    fn home(signer: Option<u64>, remote_signer: Option<&str>) -> Home {
        Home {
            profile: String::new(),
            software: String::new(),
            software_evidence: String::new(),
            root: "/home".into(),
            data_dir: "/home/data".into(),
            databases: Vec::new(),
            files: Vec::new(),
            signer: signer.map(|height| SignerState { height, round: 0, step: 3 }),
            remote_signer: remote_signer.map(str::to_owned),
            notices: Vec::new(),
        }
    }

    #[test]
    fn the_fence_refuses_to_go_back_where_blocks_or_signatures_could_be_lost() {
        // Signer at the swap, signer now, remote now, only validator, the node ran; allowed.
        let cases = [
            (Some(5), Some(5), None, Some(true), false, true),
            (Some(5), Some(5), None, Some(true), true, true),
            (Some(5), Some(6), None, Some(true), true, false),
            (Some(5), Some(6), None, None, true, false),
            (Some(5), Some(6), None, Some(false), true, true),
            (Some(5), Some(4), None, Some(false), true, false),
            (Some(5), Some(4), None, Some(false), false, false),
            (Some(5), None, None, Some(false), true, false),
            (None, Some(5), None, Some(false), true, false),
            (None, None, None, None, true, true),
            (None, None, Some("tcp://signer"), Some(false), true, false),
            (None, None, Some("tcp://signer"), Some(false), false, true),
        ];
        for (then, now, remote, only_validator, ran, allowed) in cases {
            let before = home(then, remote);
            let fence =
                Fence { signer: before.signer, remote_signer: remote.is_some(), only_validator };
            let answer = judge(&fence, &home(now, remote), ran);
            let case = format!("{then:?} {now:?} {remote:?} {only_validator:?} {ran}");
            assert_eq!(answer.is_ok(), allowed, "{case}");
            if let Err(error) = answer {
                assert_eq!(error.kind(), Kind::Refused, "{case}");
                assert!(error.next_step().is_some(), "{case}");
            }
        }
    }
}
