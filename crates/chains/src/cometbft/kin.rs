//! Whether two homes keep blocks of one chain.
//!
//! A header names the one below it by its hash, so one header that is the same means the same
//! history below. The highest that both keep whole is compared; a fork below it would show there.

use super::database::{self, Reader};
use super::layout::{BlockstoreLayout, blockstore as table};
use super::wire::block::{BlockMeta, BlockStoreState};
use super::wire::commit::Commit;
use transload_model::report::printable_key;
use transload_store::{Error, HomeView, Kind, Result};

/// Heights that are looked at for one that both keep whole: many more than a home with a few bad
/// records takes.
const HEIGHTS_MAX: u64 = 10_000;

/// Why the other home isn't of the same chain; `None` when it is.
///
/// # Errors
/// Those of reading; [`Kind::NotFound`] and [`Kind::Corrupt`] when a home doesn't say what blocks it
/// holds.
pub(super) fn another_chain(own: HomeView<'_>, other: HomeView<'_>) -> Result<Option<String>> {
    let (Some(own), Some(other)) = (database::blockstore(own)?, database::blockstore(other)?)
    else {
        return Ok(Some("one of the homes has no block store".into()));
    };
    let own_range = range(&own, "this home's own block store")?;
    let other_range = range(&other, "the peer's block store")?;
    let (low, high) = (own_range.0.max(other_range.0), own_range.1.min(other_range.1));
    if low > high {
        return Ok(Some(format!(
            "it keeps heights {} to {} and this home {} to {}: no block is in both",
            other_range.0, other_range.1, own_range.0, own_range.1
        )));
    }
    let lowest = low.max(high.saturating_sub(HEIGHTS_MAX - 1));
    for height in (lowest..=high).rev() {
        let Some(mine) = certified(&own, height)? else { continue };
        let Some(theirs) = certified(&other, height)? else { continue };
        return Ok(difference(height, &mine, &theirs));
    }
    Ok(Some(format!("none of the heights {lowest} to {high} has a whole header in both homes")))
}

/// The stored range of heights.
///
/// # Errors
/// Where nothing says it: the two can't be compared then, and that is no other chain.
fn range(blocks: &Reader<BlockstoreLayout>, whose: &str) -> Result<(u64, u64)> {
    let untold = |kind, what: &str| {
        let key = printable_key(table::STATE_KEY);
        Error::new(kind, "compare the chains", format!("{whose} {what}")).with("key", key)
    };
    let Some(stored) = blocks.snapshot.get(table::STATE_KEY)? else {
        return Err(untold(Kind::NotFound, "lacks its state, which says what blocks it holds"));
    };
    let Ok(state) = BlockStoreState::decode(&stored) else {
        let what = "has a state that can't be read, which says what blocks it holds";
        return Err(untold(Kind::Corrupt, what));
    };
    state.range().ok_or_else(|| untold(Kind::NotFound, "holds no block, by its state"))
}

/// What a header is told by.
struct Header {
    hash: Vec<u8>,
    chain_id: Vec<u8>,
}

/// The header of a height: it has its own hash, and one of the height's commits is for it.
fn certified(blocks: &Reader<BlockstoreLayout>, height: u64) -> Result<Option<Header>> {
    let Some(stored) = blocks.at(table::META, height)? else { return Ok(None) };
    let Ok(meta) = BlockMeta::decode(&stored) else { return Ok(None) };
    let hash = meta.header.hash();
    if meta.block_id.hash != hash || u64::try_from(meta.header.height) != Ok(height) {
        return Ok(None);
    }
    for table in [table::COMMIT, table::SEEN_COMMIT, table::EXTENDED_COMMIT] {
        let Some(commit) = blocks.at(table, height)? else { continue };
        if Commit::decode(&commit).is_ok_and(|commit| commit.block_id == meta.block_id) {
            return Ok(Some(Header {
                hash: hash.to_vec(),
                chain_id: meta.header.chain_id.to_vec(),
            }));
        }
    }
    Ok(None)
}

fn difference(height: u64, own: &Header, other: &Header) -> Option<String> {
    if own.chain_id != other.chain_id {
        let (theirs, ours) = (printable_key(&other.chain_id), printable_key(&own.chain_id));
        return Some(format!("its chain is {theirs}, this home's is {ours}"));
    }
    (own.hash != other.hash).then(|| {
        format!(
            "its block {height} has the hash {}, this home's {}",
            hex::encode_upper(&other.hash),
            hex::encode_upper(&own.hash)
        )
    })
}
