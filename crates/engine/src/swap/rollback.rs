//! Whether going back is allowed: nothing may be lost that nobody else has, and the signer must
//! never sign twice.
//!
//! The fence is the signer's last height, round and step. It stays where the node has left it,
//! and so does the consensus log; a node that goes back fetches the blocks from its peers again
//! and signs only above the fence. Where the others can't have gone on without this node, going
//! back would stall or fork the chain and is refused; resetting the signer is never offered.

use super::record::Record;
use super::steps::{kept_is_whole, new_is_untouched, unknown};
use crate::error::{Error, Kind, Result};
use crate::moves::{Fence, SwapPlan, WAY_OUT};

/// Refuses to go back where that could lose blocks or sign twice. The home stands on the new
/// databases or between.
///
/// # Errors
/// [`Kind::Refused`] with the reason and what can be done instead.
pub(super) fn may_roll_back(swap: &SwapPlan, now: &Fence) -> Result<()> {
    let record = Record::load(swap)?.ok_or_else(|| unknown("the swap's record is gone".into()))?;
    if record.freed {
        return refuse("the old databases were freed: there is nothing to go back to", WAY_OUT);
    }
    kept_is_whole(swap, &record)?;
    let ran = !new_is_untouched(swap, &record)?;
    swap.fence.map_or(Ok(()), |then| judge(&then, now, ran))
}

/// `ran` says whether anybody has opened the new databases since they were verified.
fn judge(then: &Fence, now: &Fence, ran: bool) -> Result<()> {
    if let (Some(then), Some(now)) = (then.signer, now.signer)
        && now < then
    {
        return refuse(
            "the signer's state is older than at the swap: somebody has put it back, and the \
             node could sign twice",
            "don't start this node before you know what its key has signed",
        );
    }
    if let (Some(signature), Some(signer)) = (now.own_signature, now.signer)
        && signature > signer.height
    {
        return refuse(
            "a commit carries a signature of this node's key from above the signer's state: \
             another process signs with the key, or the state was put back",
            "don't start this node before you know what its key has signed",
        );
    }
    if ran && (then.remote_signer || now.remote_signer) {
        return refuse(
            "the node has run since the swap and its signer is remote, so nobody here knows \
             what it has signed",
            WAY_OUT,
        );
    }
    if ran
        && let (Some(upgrade), Some(last)) = (now.upgrade, now.height_last)
        && then.height_last.is_none_or(|before| upgrade > before)
        && upgrade <= last
    {
        return refuse(
            "the chain's software was upgraded since the swap: the old databases end before the \
             upgrade's height, where the new software can't begin",
            WAY_OUT,
        );
    }
    let signed_since = then.signer != now.signer;
    if signed_since && (then.signer.is_none() || now.signer.is_none()) {
        return refuse("the signer's state has appeared or gone since the swap", WAY_OUT);
    }
    if signed_since && !now.power.or(then.power).is_some_and(|power| power.others_go_on()) {
        return refuse(
            "the node has signed since the swap, and as far as its own data tells the other \
             validators can't go on without it: going back could stall or fork the chain",
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
    use transload_store::{PowerShare, SignerState};

    const SMALL: Option<PowerShare> = Some(PowerShare { own: 1, total: 4 });

    fn fence(signer: u64, power: Option<PowerShare>) -> Fence {
        let signer = Some(SignerState { height: signer, round: 0, step: 3 });
        Fence { signer, power, height_last: Some(5), ..Fence::default() }
    }

    fn refusal(then: &Fence, now: &Fence, ran: bool) -> String {
        let error = judge(then, now, ran).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.next_step().is_some());
        error.to_string()
    }

    #[test]
    fn a_home_that_nobody_ran_goes_back_whatever_its_power() {
        for power in [None, SMALL, Some(PowerShare { own: 1, total: 1 })] {
            judge(&fence(5, power), &fence(5, power), false).unwrap();
        }
        let remote = Fence { remote_signer: true, ..Fence::default() };
        judge(&remote, &remote, false).unwrap();
    }

    #[test]
    fn new_blocks_are_given_up_only_where_the_others_went_on_without_this_node() {
        let share = |own, total| Some(PowerShare { own, total });
        let allowed = [share(0, 4), share(1, 4), share(33, 100)];
        let refused = [None, share(1, 1), share(1, 2), share(1, 3), share(34, 100), share(0, 0)];
        for power in allowed {
            judge(&fence(5, power), &fence(6, power), true).unwrap();
        }
        for power in refused {
            refusal(&fence(5, power), &fence(6, power), true);
        }
    }

    #[test]
    fn a_node_that_only_follows_goes_back_after_new_blocks() {
        let then = Fence { height_last: Some(5), ..Fence::default() };
        let now = Fence { height_last: Some(9), ..Fence::default() };
        judge(&then, &now, true).unwrap();
        judge(&fence(0, None), &fence(0, None), true).unwrap();
    }

    #[test]
    fn the_signer_never_goes_back() {
        // F22
        for ran in [false, true] {
            assert!(refusal(&fence(5, SMALL), &fence(4, SMALL), ran).contains("older"));
            let signed = Fence { own_signature: Some(7), ..fence(6, SMALL) };
            assert!(refusal(&fence(5, SMALL), &signed, ran).contains("above the signer"));
        }
        let gone = Fence { signer: None, ..fence(5, SMALL) };
        refusal(&fence(5, SMALL), &gone, true);
        refusal(&gone, &fence(5, SMALL), true);
    }

    #[test]
    fn a_remote_signer_that_may_have_signed_is_no_way_back() {
        let remote = Fence { remote_signer: true, signer: None, ..fence(0, SMALL) };
        assert!(refusal(&remote, &remote, true).contains("remote"));
    }

    #[test]
    fn an_upgrade_that_was_passed_is_no_way_back_and_one_before_or_ahead_is() {
        let now = |upgrade, last| Fence {
            upgrade: Some(upgrade),
            height_last: Some(last),
            ..fence(6, SMALL)
        };
        let then = fence(5, SMALL);
        assert!(refusal(&then, &now(7, 9), true).contains("upgraded"));
        judge(&then, &now(3, 9), true).unwrap();
        judge(&then, &now(20, 9), true).unwrap();
    }
}
