//! The heights below one are left out, as the node's own pruning would leave them out
//! (`PruneBlocks` in `store/store.go`, `PruneStates` in `state/store.go`, of 0.34 to 1.x): nothing
//! of them stays but the set of validators and the parameters that later heights point to.

use super::index;
use super::{OPERATION, height_in, malformed};
use crate::cometbft::database::{self, BLOCKSTORE, Reader, STATE, TX_INDEX};
use crate::cometbft::layout::{
    BlockstoreLayout, StateLayout, TxIndexLayout, blockstore as blocks, state as states, tx_index,
};
use crate::cometbft::wire::state::{HashedParams, ParamsInfo};
use crate::cometbft::wire::validators::ValidatorsInfo;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use transload_codec::proto::put_varint_field;
use transload_model::layout::{Layout, Placement};
use transload_store::{
    DatabaseTrim, Error, HomeView, Judged, Result, Transform, Trim, TrimRule, WayBack,
};

/// What the rules below are called; they have one version together.
const KEEP_HEIGHTS: &str = "keep-heights";

/// What is left of the same entries has changed so often, this one included.
const KEEP_HEIGHTS_VERSION: u32 = 1;

/// Leaves out what is below `first` of a home whose block store ends at `last`.
///
/// # Errors
/// [`transload_store::Kind::Unsupported`] when a record is missing that must stay.
pub(super) fn below(
    view: HomeView<'_>,
    blockstore: Reader<BlockstoreLayout>,
    (before, first, last): (u64, u64, u64),
    with_index: bool,
) -> Result<Vec<DatabaseTrim>> {
    let Some(state) = database::state(view)? else {
        return Err(Error::unsupported(OPERATION, format!("the home has no {STATE}")));
    };
    let kept_share = Some((last - first + 1, last - before + 1));
    let text = format!("heights {first} to {last} are carried, those below are left out");
    let asked = format!("--keep-heights, first_height = {first}");
    let trim = |database: &str, rule: Arc<dyn Trim>, layout: &dyn Layout, tables: Range<usize>| {
        let transform = Transform {
            id: KEEP_HEIGHTS,
            version: KEEP_HEIGHTS_VERSION,
            from: layout.id().to_owned(),
            // Where they end isn't part of it: a node that has run since has more.
            to: format!("{}, heights from {first}", layout.id()),
            way_back: WayBack::OneWay(format!(
                "nothing makes what is of heights below {first} anew"
            )),
        };
        let tables = layout.tables()[tables].iter();
        let becomes: BTreeMap<_, _> =
            tables.map(|table| (table.name.clone(), text.clone())).collect();
        DatabaseTrim {
            database: database.to_owned(),
            rule: TrimRule::Entries(rule),
            transform,
            asked: asked.clone(),
            becomes,
            kept_share,
            notes: Vec::new(),
        }
    };
    let needed = Needed::of(&state, first)?;
    let states = trim(
        STATE,
        Arc::new(StateTrim { layout: StateLayout::new(state.layout.form()), first, needed }),
        &state.layout,
        states::VALIDATORS..states::STATE,
    );
    let mut blocks = trim(
        BLOCKSTORE,
        Arc::new(BlocksTrim {
            layout: BlockstoreLayout::new(blockstore.layout.form()),
            first,
            state: store_state(first, last),
        }),
        &blockstore.layout,
        blocks::META..blocks::STATE,
    );
    blocks.notes = vec![
        format!(
            "the block store says that it begins at height {first}, no longer at {before}: one \
             record (blockStore) has another value than in the source"
        ),
        format!(
            "the node serves no block, result or transaction below height {first} any more, and \
             no trust by signatures since genesis follows from the new databases"
        ),
    ];
    let spec = &blockstore.layout.tables()[blocks::STATE];
    blocks.becomes.insert(spec.name.clone(), format!("says that it begins at height {first}"));
    let mut trims = vec![blocks, states];
    if with_index && view.databases.snapshot(TX_INDEX).is_some() {
        let layout = TxIndexLayout::new();
        let rule = Arc::new(index::IndexTrim { layout: TxIndexLayout::new(), first });
        trims.push(trim(TX_INDEX, rule, &layout, tx_index::RESULT..tx_index::MARKS));
    }
    Ok(trims)
}

/// `BlockStoreState`.
fn store_state(first: u64, last: u64) -> Vec<u8> {
    let mut state = Vec::new();
    put_varint_field(&mut state, 1, first);
    put_varint_field(&mut state, 2, last);
    state
}

/// Records below the first height that later ones point to.
#[derive(Debug)]
struct Needed {
    validators: BTreeSet<u64>,
    params: Option<u64>,
}

impl Needed {
    fn of(state: &Reader<StateLayout>, first: u64) -> Result<Self> {
        let at = |table: usize, height: u64| -> Result<(Vec<u8>, Vec<u8>)> {
            let key = state.physical(table, &height.to_be_bytes()).unwrap_or_default();
            match state.at(table, height)? {
                Some(value) => Ok((key, value)),
                None => Err(missing(state.layout.tables()[table].name.as_str(), height)),
            }
        };
        let mut needed = Self { validators: BTreeSet::new(), params: None };
        let (key, value) = at(states::VALIDATORS, first)?;
        let info = ValidatorsInfo::decode(&value).map_err(|error| malformed(&key, error))?;
        if info.set_raw.is_none() {
            let stored = info.stored_at(first).unwrap_or_default();
            let (key, value) = at(states::VALIDATORS, stored)?;
            let set = ValidatorsInfo::decode(&value).map_err(|error| malformed(&key, error))?;
            if set.set_raw.is_none() {
                return Err(missing("state/validators", stored));
            }
            needed.validators.insert(stored);
            needed.validators.extend(u64::try_from(info.last_height_changed));
        }
        let (key, value) = at(states::PARAMS, first)?;
        let info = ParamsInfo::decode(&value).map_err(|error| malformed(&key, error))?;
        // 0.34 writes its empty groups, later releases nothing at all.
        let params = HashedParams::decode(info.params).map_err(|error| malformed(&key, error))?;
        if params == HashedParams::default() {
            let changed = u64::try_from(info.last_height_changed).unwrap_or_default();
            let _there = at(states::PARAMS, changed)?;
            needed.params = Some(changed);
        }
        Ok(needed)
    }
}

fn missing(table: &str, height: u64) -> Error {
    Error::unsupported(
        OPERATION,
        format!("the record of height {height} in {table}, which must stay, isn't there"),
    )
    .help("`transload verify HOME` shows what else is wrong")
}

fn left_out(table: usize, height: Option<u64>, first: u64) -> Judged {
    match height {
        Some(height) if height < first => Judged::LeftOut { table, height: Some(height) },
        _ => Judged::Kept,
    }
}

#[derive(Debug)]
struct BlocksTrim {
    layout: BlockstoreLayout,
    first: u64,
    state: Vec<u8>,
}

impl Trim for BlocksTrim {
    fn judge(&self, key: &[u8], value: &[u8]) -> Judged {
        let mut canonical = Vec::new();
        let Placement::Record { table, .. } = self.layout.place(key, value, &mut canonical) else {
            return Judged::Kept;
        };
        match table {
            blocks::STATE => Judged::Becomes(self.state.clone()),
            blocks::HASH_INDEX => {
                let height = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                left_out(table, height, self.first)
            }
            blocks::META..blocks::HASH_INDEX => left_out(table, height_in(&canonical), self.first),
            _ => Judged::Kept,
        }
    }
}

#[derive(Debug)]
struct StateTrim {
    layout: StateLayout,
    first: u64,
    needed: Needed,
}

impl Trim for StateTrim {
    fn judge(&self, key: &[u8], value: &[u8]) -> Judged {
        let mut canonical = Vec::new();
        let Placement::Record { table, .. } = self.layout.place(key, value, &mut canonical) else {
            return Judged::Kept;
        };
        let Some(height) = height_in(&canonical) else { return Judged::Kept };
        let is_needed = match table {
            states::VALIDATORS => self.needed.validators.contains(&height),
            states::PARAMS => self.needed.params == Some(height),
            states::RESULTS => false,
            _ => true,
        };
        if is_needed { Judged::Kept } else { left_out(table, Some(height), self.first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cometbft::layout::KeyForm;
    use transload_codec::proto::put_message;
    use transload_store::Store as _;
    use transload_store::memory::MemoryStore;

    const SET: &[u8] = b"a set";

    /// `ValidatorsInfo` and `ConsensusParamsInfo` have one form: what changed, and when.
    fn info(content: Option<&[u8]>, changed: u64) -> Vec<u8> {
        let mut message = Vec::new();
        if let Some(content) = content {
            put_message(&mut message, 1, content);
        }
        put_varint_field(&mut message, 2, changed);
        message
    }

    /// `ConsensusParams` whose largest block is of one byte; what releases from 0.37 on write where
    /// nothing changed; what 0.34 writes there.
    const PARAMS: &[u8] = &[0x0a, 2, 8, 1];
    const SAME_SINCE_037: &[u8] = &[];
    const SAME_IN_034: &[u8] = &[0x0a, 0, 0x12, 2, 0x12, 0, 0x1a, 0, 0x22, 0];

    /// A state store with these records of validators, and parameters that hold since height 5.
    fn state(form: KeyForm, same: &[u8], sets: &[(u64, Vec<u8>)]) -> Reader<StateLayout> {
        let layout = StateLayout::new(form);
        let key = |table: usize, height: u64| {
            let mut key = Vec::new();
            layout.physical(table, &height.to_be_bytes(), &mut key).unwrap();
            key
        };
        let params = [5, 100_004, 100_005].map(|height| {
            let content = if height == 5 { PARAMS } else { same };
            (key(states::PARAMS, height), info(Some(content), 5))
        });
        let sets =
            sets.iter().map(|(height, info)| (key(states::VALIDATORS, *height), info.clone()));
        let results =
            [(key(states::RESULTS, 100_004), vec![1]), (key(states::RESULTS, 5), vec![1])];
        let own = [(states::STATE_KEY.to_vec(), vec![1])];
        let entries = params.into_iter().chain(sets).chain(results).chain(own);
        Reader { snapshot: MemoryStore::with(entries).snapshot().unwrap(), layout }
    }

    #[test]
    fn records_that_later_heights_point_to_stay_and_no_others() {
        for (form, same) in [
            (KeyForm::V1, SAME_IN_034),
            (KeyForm::V1, SAME_SINCE_037),
            (KeyForm::V2, SAME_SINCE_037),
        ] {
            let sets = [
                (7, info(Some(SET), 7)),
                (8, info(None, 7)),
                (100_000, info(Some(SET), 7)),
                (100_004, info(None, 7)),
                (100_005, info(None, 7)),
            ];
            let store = state(form, same, &sets);
            let needed = Needed::of(&store, 100_005).unwrap();
            let trim = StateTrim { layout: StateLayout::new(form), first: 100_005, needed };
            let kept = |table: usize, height: u64| {
                let key = store.physical(table, &height.to_be_bytes()).unwrap();
                trim.judge(&key, b"?") == Judged::Kept
            };
            let heights = [7, 8, 100_000, 100_004, 100_005];
            assert_eq!(
                heights.map(|at| kept(states::VALIDATORS, at)),
                [true, false, true, false, true]
            );
            assert_eq!(
                [5, 100_004, 100_005].map(|at| kept(states::PARAMS, at)),
                [true, false, true]
            );
            assert!(!kept(states::RESULTS, 100_004) && kept(states::RESULTS, 100_005));
            assert_eq!(trim.judge(states::STATE_KEY, b"?"), Judged::Kept);
            assert_eq!(trim.judge(b"version", b"v2"), Judged::Kept);
        }
    }

    #[test]
    fn a_first_height_with_a_set_of_its_own_needs_no_other() {
        let sets = [(7, info(Some(SET), 7)), (100_005, info(Some(SET), 100_005))];
        let needed = Needed::of(&state(KeyForm::V1, SAME_SINCE_037, &sets), 100_005).unwrap();
        assert_eq!(needed.validators, BTreeSet::new());
    }

    #[test]
    fn a_set_that_must_stay_and_is_not_there_is_refused_by_name() {
        let pointer = (100_005, info(None, 7));
        for sets in [
            vec![pointer.clone()],
            vec![pointer.clone(), (7, info(Some(SET), 7))],
            vec![pointer, (100_000, info(None, 7))],
        ] {
            let error =
                Needed::of(&state(KeyForm::V1, SAME_SINCE_037, &sets), 100_005).unwrap_err();
            assert!(error.message().contains("100000 in state/validators"), "{error}");
        }
        let none = Needed::of(&state(KeyForm::V1, SAME_SINCE_037, &[]), 100_005).unwrap_err();
        assert!(none.message().contains("100005"), "{none}");
    }

    #[test]
    fn blocks_below_go_with_all_that_is_theirs_and_the_store_says_where_it_begins() {
        for form in [KeyForm::V1, KeyForm::V2] {
            let layout = BlockstoreLayout::new(form);
            let state = store_state(8, 20);
            let trim = BlocksTrim { layout, first: 8, state: state.clone() };
            let key = |table: usize, canonical: &[u8]| {
                let mut key = Vec::new();
                trim.layout.physical(table, canonical, &mut key).unwrap();
                key
            };
            let out = |table| Judged::LeftOut { table, height: Some(7) };
            for table in
                [blocks::META, blocks::COMMIT, blocks::SEEN_COMMIT, blocks::EXTENDED_COMMIT]
            {
                assert_eq!(trim.judge(&key(table, &7u64.to_be_bytes()), b"?"), out(table));
                assert_eq!(trim.judge(&key(table, &8u64.to_be_bytes()), b"?"), Judged::Kept);
            }
            let part = key(blocks::PART, &blocks::part_key(7, 3));
            assert_eq!(trim.judge(&part, b"?"), out(blocks::PART));
            let hash = key(blocks::HASH_INDEX, &[9; 32]);
            assert_eq!(trim.judge(&hash, b"7"), out(blocks::HASH_INDEX));
            for kept in [&b"8"[..], b"", b"seven"] {
                assert_eq!(trim.judge(&hash, kept), Judged::Kept);
            }
            assert_eq!(trim.judge(blocks::STATE_KEY, b"?"), Judged::Becomes(state));
            assert_eq!(trim.judge(b"who knows", b"?"), Judged::Kept);
        }
    }
}
