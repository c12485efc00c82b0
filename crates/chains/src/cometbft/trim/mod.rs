//! What can be left out of a home, what becomes of the rest, and who still needs it.

mod heights;
mod index;
mod orphans;
mod versions;
mod window;

pub(crate) use versions::kept_versions;

use super::database::{self, TX_INDEX};
use super::home::NodeBuild;
use super::layout::{blockstore as blockstore_table, state as state_table};
use super::wire::block::BlockStoreState;
use transload_codec::Malformed;
use transload_model::report::printable_key;
use transload_store::{DatabaseTrim, Error, HomeView, Kind, Result, TrimWish};
use window::Need;

const OPERATION: &str = "look for what can be left out";

/// What `--drop` calls the index of transactions.
const TX_INDEX_NAME: &str = "tx_index";

/// What becomes of each database of which something is left out.
///
/// # Errors
/// [`Kind::InvalidInput`] for a name that nothing has; [`Kind::Unsupported`] for what isn't there
/// or is still needed; those of reading.
pub(crate) fn trims(
    view: HomeView<'_>,
    wish: &TrimWish,
    node: Option<&NodeBuild>,
) -> Result<Vec<DatabaseTrim>> {
    let mut trims = Vec::new();
    for name in &wish.drop {
        if name != TX_INDEX_NAME {
            return Err(Error::new(
                Kind::InvalidInput,
                OPERATION,
                format!("nothing that is called {name:?} can be dropped; there is {TX_INDEX_NAME}"),
            ));
        }
    }
    if !wish.drop.is_empty() {
        if view.databases.snapshot(TX_INDEX).is_none() {
            let what = format!("the home has no {TX_INDEX}");
            return Err(Error::unsupported(OPERATION, what)
                .help(format!("leave --drop {TX_INDEX_NAME} away")));
        }
        trims.push(index::dropped(unindexable(view)?));
    }
    if let Some(first) = wish.first_height {
        trims.extend(below(view, first, wish)?);
    }
    if let Some(first) = wish.first_version {
        trims.extend(versions::below(view, first, wish, node)?);
    }
    if wish.drop_orphans {
        trims.push(orphans::dropped(view, wish)?);
    }
    Ok(trims)
}

/// What becomes of the databases when nothing below `first` is kept; nothing where they begin
/// there anyway.
fn below(view: HomeView<'_>, first: u64, wish: &TrimWish) -> Result<Vec<DatabaseTrim>> {
    let (Some(blockstore), Some((before, last))) =
        (database::blockstore(view)?, kept_heights(view)?)
    else {
        return Err(Error::unsupported(
            OPERATION,
            "the home has no block store that keeps heights",
        ));
    };
    if first <= before {
        return Ok(Vec::new());
    }
    let mut needs = window::needs(view, &blockstore, (before, last), wish)?;
    needs.retain(|need| need.height < first);
    if first > last || !needs.is_empty() {
        return Err(needed(&needs, (before, first, last)));
    }
    heights::below(view, blockstore, (before, first, last), wish.drop.is_empty())
}

fn needed(needs: &[Need], (before, first, last): (u64, u64, u64)) -> Error {
    let what = format!("the heights below {first} can't be left out");
    let mut error = Error::unsupported(OPERATION, what);
    for need in needs {
        error = error.with("needed", format!("height {}: {}", need.height, need.why));
    }
    let lowest = needs.iter().map(|need| need.height).min().unwrap_or(last).max(before);
    error.help(match lowest > before {
        true => format!(
            "the least that can be kept now is --keep-heights {}",
            last.saturating_sub(lowest) + 1
        ),
        false => "nothing can be left out now: leave --keep-heights away".to_owned(),
    })
}

/// The first height of the block store, when its results aren't kept: an index can't be made from
/// there.
fn unindexable(view: HomeView<'_>) -> Result<Option<u64>> {
    let (Some(state), Some((first, _))) = (database::state(view)?, kept_heights(view)?) else {
        return Ok(None);
    };
    Ok(state.at(state_table::RESULTS, first)?.is_none().then_some(first))
}

/// The heights that the block store says it has.
fn kept_heights(view: HomeView<'_>) -> Result<Option<(u64, u64)>> {
    let Some(blockstore) = database::blockstore(view)? else { return Ok(None) };
    let key = blockstore_table::STATE_KEY;
    let Some(value) = blockstore.snapshot.get(key)? else { return Ok(None) };
    let state = BlockStoreState::decode(&value).map_err(|error| malformed(key, error))?;
    Ok(state.range())
}

/// The height that a canonical key begins with.
fn height_in(canonical: &[u8]) -> Option<u64> {
    canonical.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn malformed(key: &[u8], error: Malformed) -> Error {
    Error::new(Kind::Corrupt, OPERATION, error.to_string())
        .with("key", printable_key(key))
        .caused_by(error)
}
