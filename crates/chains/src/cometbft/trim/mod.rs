//! What can be left out of a home, what becomes of the rest, and who still needs it.

mod index;

use super::database::{self, TX_INDEX};
use super::layout::{blockstore as blockstore_table, state as state_table};
use super::wire::block::BlockStoreState;
use transload_codec::Malformed;
use transload_model::report::printable_key;
use transload_store::{DatabaseTrim, Error, HomeView, Kind, Result, TrimWish};

const OPERATION: &str = "look for what can be left out";

/// What `--drop` calls the index of transactions.
const TX_INDEX_NAME: &str = "tx_index";

/// What becomes of each database of which something is left out.
///
/// # Errors
/// [`Kind::InvalidInput`] for a name that nothing has; [`Kind::Unsupported`] for what isn't there
/// or is still needed; those of reading.
pub(crate) fn trims(view: HomeView<'_>, wish: &TrimWish) -> Result<Vec<DatabaseTrim>> {
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
    Ok(trims)
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

fn malformed(key: &[u8], error: Malformed) -> Error {
    Error::new(Kind::Corrupt, OPERATION, error.to_string())
        .with("key", printable_key(key))
        .caused_by(error)
}
