//! Heights, hashes and layout of a home, from the few records that say them.

use super::database::{self, Reader};
use super::home::{own_address, snapshots_folder, upgrade_height};
use super::layout::{BlockstoreLayout, blockstore as blockstore_table, state as state_table};
use super::wire::block::{BlockMeta, BlockStoreState};
use super::wire::commit::{Commit, CommitSig, Flag};
use super::wire::seconds_and_nanos;
use super::wire::state::State;
use super::wire::validators::ValidatorSet;
use crate::iavl;
use crate::snapshots;
use std::collections::BTreeMap;
use transload_codec::Malformed;
use transload_model::report::printable_key;
use transload_store::{ChainFacts, Error, HomeView, Kind, PowerShare, Result};

/// The schema id of a dataset of this profile: table names and canonical keys as in
/// `docs/formats/cometbft-tables.md`.
pub(crate) const SCHEMA: &str = "cometbft.v1";

/// Over so many blocks the mean interval is taken.
const INTERVAL_BLOCKS: u64 = 100;

/// So many blocks below the tip are looked at for a signature of this node's own key: enough for
/// a signer's state that was put back from a backup, and bounded for a key that never signs.
const OWN_SIGNATURE_BLOCKS: u64 = 1_000;

const OPERATION: &str = "read the chain's facts";

pub(crate) fn facts(view: HomeView<'_>) -> Result<ChainFacts> {
    let mut facts = ChainFacts { schema: SCHEMA.to_owned(), ..ChainFacts::default() };
    let mut heights = BTreeMap::new();
    let own = own_address(view.home);
    if let Some(blockstore) = database::blockstore(view)? {
        facts.layout = blockstore.layout.form().name().to_owned();
        let state = blockstore.snapshot.get(blockstore_table::STATE_KEY)?;
        let state = state.as_deref().map(BlockStoreState::decode).transpose();
        let state = state.map_err(|error| malformed(blockstore_table::STATE_KEY, error))?;
        if let Some((first, last)) = state.and_then(|state| state.range()) {
            facts.height_first = Some(first);
            facts.height_last = Some(last);
            heights.insert("blockstore".to_owned(), last);
            if let Some(value) = blockstore.at(blockstore_table::META, last)? {
                let key = blockstore.physical(blockstore_table::META, &last.to_be_bytes());
                let meta = BlockMeta::decode(&value)
                    .map_err(|error| malformed(&key.unwrap_or_default(), error))?;
                facts.header_app_hash = Some(hex::encode(meta.header.app_hash));
                facts.chain_id = text(meta.header.chain_id);
                facts.block_interval_millis =
                    block_interval_millis(&blockstore, first, last, meta.header.time)?;
            }
            if let Some(own) = &own {
                let signer = view.home.signer.map(|signer| signer.height);
                if let Some(height) = own_signature(&blockstore, own, (first, last), signer)? {
                    heights.insert("own_signature".to_owned(), height);
                }
            }
        }
    }
    if let Some(state) = database::state(view)? {
        if facts.layout.is_empty() {
            facts.layout = state.layout.form().name().to_owned();
        }
        if let Some(value) = state.snapshot.get(state_table::STATE_KEY)? {
            let decoded =
                State::decode(&value).map_err(|error| malformed(state_table::STATE_KEY, error))?;
            facts.app_hash = Some(hex::encode(decoded.app_hash));
            facts.chain_id = text(decoded.chain_id).or(facts.chain_id);
            if let Ok(height) = u64::try_from(decoded.last_block_height) {
                heights.insert("state".to_owned(), height);
            }
            if let (Some(own), Some(validators)) = (&own, decoded.validators) {
                let set = ValidatorSet::decode(validators)
                    .map_err(|error| malformed(state_table::STATE_KEY, error))?;
                facts.power = Some(power_share(&set, own));
            }
        }
    }
    if let Some(application) = view.databases.snapshot(database::APPLICATION)
        && database::holds_multistore(&*application)?
        && let Some((version, _)) = iavl::tip(&*application)?
    {
        heights.insert("app".to_owned(), version);
    }
    if let Some(metadata) = view.databases.snapshot(database::SNAPSHOTS)
        && let Some(folder) = snapshots_folder(view.home)
    {
        facts.snapshots = snapshots::listed(&*metadata, folder)?;
    }
    if let Some(height) = upgrade_height(view.home) {
        heights.insert("upgrade".to_owned(), height);
    }
    if let Some(signer) = view.home.signer {
        heights.insert("signer".to_owned(), signer.height);
    }
    facts.heights = heights;
    Ok(facts)
}

/// The highest block whose commits carry a signature of this key, for the block or for nil: of
/// the tip and of the blocks above the signer's state, where none must be. A tip's commit may
/// lack a vote that came late, so one block alone doesn't tell.
fn own_signature(
    blockstore: &Reader<BlockstoreLayout>,
    own: &[u8],
    (first, last): (u64, u64),
    signer: Option<u64>,
) -> Result<Option<u64>> {
    let above_signer = signer.map_or(last, |height| height.saturating_add(1));
    let lowest = above_signer.max(last.saturating_sub(OWN_SIGNATURE_BLOCKS)).clamp(first, last);
    for height in (lowest..=last).rev() {
        for table in [blockstore_table::SEEN_COMMIT, blockstore_table::COMMIT] {
            let Some(value) = blockstore.at(table, height)? else { continue };
            let commit = Commit::decode(&value).map_err(|error| {
                let key = blockstore.physical(table, &height.to_be_bytes());
                malformed(&key.unwrap_or_default(), error)
            })?;
            let ours = |sig: &CommitSig<'_>| {
                matches!(sig.flag, Flag::Commit | Flag::Nil) && sig.validator_address == own
            };
            if commit.signatures.iter().any(ours) {
                return Ok(Some(height));
            }
        }
    }
    Ok(None)
}

/// The power of the key with this address; negative powers, which no chain has, count as none.
fn power_share(set: &ValidatorSet<'_>, own: &[u8]) -> PowerShare {
    let sum = |ours: bool| {
        set.validators
            .iter()
            .filter(|validator| !ours || validator.address == own)
            .fold(0u64, |sum, one| sum.saturating_add(u64::try_from(one.power).unwrap_or(0)))
    };
    PowerShare { own: sum(true), total: sum(false) }
}

/// The mean over the last blocks, by the headers' own times.
fn block_interval_millis(
    blockstore: &Reader<BlockstoreLayout>,
    first: u64,
    last: u64,
    last_time: &[u8],
) -> Result<Option<u64>> {
    let earlier = last.saturating_sub(INTERVAL_BLOCKS).max(first);
    if earlier == last {
        return Ok(None);
    }
    let Some(value) = blockstore.at(blockstore_table::META, earlier)? else { return Ok(None) };
    let key = blockstore.physical(blockstore_table::META, &earlier.to_be_bytes());
    let fault = |error| malformed(&key.clone().unwrap_or_default(), error);
    let meta = BlockMeta::decode(&value).map_err(fault)?;
    let begin = unix_millis(meta.header.time).map_err(fault)?;
    let end = unix_millis(last_time).map_err(fault)?;
    Ok(end
        .checked_sub(begin)
        .and_then(|millis| u64::try_from(millis).ok())
        .map(|millis| millis / (last - earlier)))
}

/// Milliseconds since 1970 of a `google.protobuf.Timestamp`.
fn unix_millis(timestamp: &[u8]) -> std::result::Result<i64, Malformed> {
    let (seconds, nanos) = seconds_and_nanos(timestamp)?;
    Ok(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn malformed(key: &[u8], error: Malformed) -> Error {
    Error::new(Kind::Corrupt, OPERATION, error.to_string())
        .with("key", printable_key(key))
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cometbft::layout::KeyForm;
    use crate::cometbft::wire::validators::{KeyKind, PublicKey, Validator};
    use transload_codec::proto::{put_bytes, put_message, put_varint_field};
    use transload_store::Store as _;
    use transload_store::memory::MemoryStore;

    #[test]
    fn the_power_of_a_key_is_its_share_of_the_set() {
        let validator = |address: &'static [u8], power| Validator {
            address,
            key: PublicKey { kind: KeyKind::Ed25519, bytes: &[] },
            power,
            priority: 0,
        };
        let validators = vec![validator(b"a", 1), validator(b"b", 3), validator(b"c", -5)];
        let set = ValidatorSet { validators, ..ValidatorSet::default() };
        assert_eq!(power_share(&set, b"b"), PowerShare { own: 3, total: 4 });
        assert_eq!(power_share(&set, b"z"), PowerShare { own: 0, total: 4 });
        assert!(power_share(&set, b"a").others_go_on() && !power_share(&set, b"b").others_go_on());
    }

    #[test]
    fn a_signature_above_the_signer_is_found_though_the_tip_lacks_it() {
        const OWN: &[u8] = b"own";
        let commit = |flag, address: &[u8]| {
            let (mut sig, mut commit) = (Vec::new(), Vec::new());
            put_varint_field(&mut sig, 1, flag);
            put_bytes(&mut sig, 2, address);
            put_message(&mut commit, 4, &sig);
            commit
        };
        let [for_block, for_nil] = [2, 3];
        let found = |signed: &[(&str, u64, &[u8])], signer| {
            let entries =
                signed.iter().map(|(key, flag, who)| (key.as_bytes().to_vec(), commit(*flag, who)));
            let snapshot = MemoryStore::with(entries).snapshot().unwrap();
            let blockstore = Reader { snapshot, layout: BlockstoreLayout::new(KeyForm::V1) };
            own_signature(&blockstore, OWN, (3, 2_000), signer).unwrap()
        };
        assert_eq!(found(&[("SC:2000", for_block, OWN)], Some(2_000)), Some(2_000));
        assert_eq!(found(&[("SC:2000", for_block, b"other")], Some(2_000)), None);
        for key in ["SC:1990", "C:1990"] {
            for flag in [for_block, for_nil] {
                assert_eq!(found(&[(key, flag, OWN)], Some(1_980)), Some(1_990), "{key}");
            }
            // Where it may be: at the signer's height and below.
            assert_eq!(found(&[(key, for_block, OWN)], Some(1_990)), None, "{key}");
        }
        assert_eq!(found(&[("SC:999", for_block, OWN)], Some(0)), None, "the look is bounded");
        assert_eq!(found(&[("SC:1000", for_block, OWN)], Some(0)), Some(1_000));
        assert_eq!(found(&[("SC:2000", for_block, OWN)], None), Some(2_000));
    }

    #[test]
    fn times_are_read_and_damaged_ones_named() {
        // 1 second and 500,000,000 nanoseconds.
        let time = [0x08, 0x01, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
        assert_eq!(unix_millis(&time).unwrap(), 1_500);
        assert_eq!(unix_millis(&[]).unwrap(), 0);
        assert!(unix_millis(&[0x08]).is_err());
    }
}
