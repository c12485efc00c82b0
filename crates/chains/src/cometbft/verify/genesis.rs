//! The genesis document: the stored one overrides the file at the node's start, so both must
//! say the same.

use super::{checks, finding};
use crate::cometbft::database::{self, Reader};
use crate::cometbft::home;
use crate::cometbft::layout::{StateLayout, state as table};
use crate::cometbft::wire::validators::{KeyKind, PublicKey, Validator, ValidatorSet};
use base64::Engine as _;
use serde_json::Value;
use transload_model::layout::Layout as _;
use transload_model::merkle::{Hash, sha256};
use transload_model::report::Verdict;
use transload_store::{Error, HomeView, Result};

/// A genesis document larger than this isn't read: the largest known have some 500 MB.
const GENESIS_BYTES_MAX: u64 = 2 << 30;

/// What the genesis file says that other checks want.
#[derive(Debug, Default)]
pub(super) struct Genesis {
    /// The height at which the chain began; `None` when the file isn't there or doesn't say.
    pub(super) initial_height: Option<u64>,
    /// Hash of the validators that it lists; `None` when it lists none, or one that can't be read.
    pub(super) validators_hash: Option<Hash>,
}

impl Genesis {
    /// Reads the file, once, and holds what the state stores of it against it.
    pub(super) fn check(
        view: HomeView<'_>,
        state: Option<&Reader<StateLayout>>,
        verdict: &mut Verdict,
    ) -> Result<Self> {
        let file = read_file(view)?;
        if let Some(state) = state {
            check_stored(state, file.as_deref(), verdict)?;
        }
        let parsed = file.as_deref().map(serde_json::from_slice::<Said>);
        let Some(Ok(said)) = parsed else { return Ok(Self::default()) };
        let listed = said.validators.filter(|listed| !says_nothing(listed));
        let listed = listed.or_else(|| said.consensus?.get("validators").cloned());
        Ok(Self {
            initial_height: first_height(said.initial_height.as_ref()),
            validators_hash: listed.and_then(|listed| hash_of_listed(&listed)),
        })
    }
}

/// All that [`Genesis`] wants of a document that may be large.
#[derive(serde::Deserialize)]
struct Said {
    initial_height: Option<Value>,
    validators: Option<Value>,
    consensus: Option<Value>,
}

fn check_stored(
    state: &Reader<StateLayout>,
    file: Option<&[u8]>,
    verdict: &mut Verdict,
) -> Result<()> {
    let stored = state.snapshot.get(table::GENESIS_KEY)?;
    let digest = state.snapshot.get(table::GENESIS_HASH_KEY)?;
    if stored.is_none() && digest.is_none() {
        return Ok(());
    }
    let Some(file) = file else {
        verdict.skip(checks::GENESIS, 1, "the home has no readable genesis file");
        return Ok(());
    };
    let name = state.layout.tables()[table::GENESIS].name.clone();
    let mut wrong = |key: &[u8], what: String| {
        let table = Some(name.clone());
        verdict.find(finding(checks::GENESIS, database::STATE, table, key, None, what));
    };
    let mut checked = 0;
    if let Some(digest) = digest {
        checked += 1;
        if digest != sha256(file) {
            let what = "the genesis file doesn't have the hash that is stored".to_owned();
            wrong(table::GENESIS_HASH_KEY, what);
        }
    }
    if let Some(stored) = stored {
        checked += 1;
        let parsed = (serde_json::from_slice(&stored), serde_json::from_slice(file));
        match parsed {
            (Ok(stored), Ok(file)) => {
                for what in differences(&stored, &file) {
                    wrong(table::GENESIS_KEY, what);
                }
            }
            (Err(error), _) => {
                wrong(table::GENESIS_KEY, format!("the stored document isn't JSON: {error}"));
            }
            (_, Err(error)) => {
                wrong(table::GENESIS_KEY, format!("the genesis file isn't JSON: {error}"));
            }
        }
    }
    verdict.count(checks::GENESIS, checked);
    Ok(())
}

fn read_file(view: HomeView<'_>) -> Result<Option<Vec<u8>>> {
    const OPERATION: &str = "read the genesis file";
    let path = home::genesis_path(&view.home.root)?;
    match std::fs::metadata(&path) {
        // Reading a pipe would wait for its writer for ever.
        Ok(metadata) if !metadata.is_file() => return Ok(None),
        Ok(metadata) if metadata.len() <= GENESIS_BYTES_MAX => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(OPERATION, &path, error)),
    }
    std::fs::read(&path).map(Some).map_err(|error| Error::io(OPERATION, &path, error))
}

/// What the stored document says otherwise than the file. The node fills in defaults before it
/// stores: those alone may be new.
pub(in crate::cometbft) fn differences(stored: &Value, file: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |key: &str, equal: bool| {
        if !equal {
            found.push(format!(
                "the stored genesis document has another {key} than the genesis file, and the \
                 node starts with the stored one"
            ));
        }
    };
    let both = |key: &str| (given(stored, key), given(file, key));
    for key in ["chain_id", "app_hash", "app_state"] {
        let (stored, file) = both(key);
        compare(key, stored == file);
    }
    let (stored_time, file_time) = both("genesis_time");
    compare("genesis_time", instant(stored_time) == instant(file_time));
    let (stored_height, file_height) = both("initial_height");
    compare("initial_height", first_height(stored_height) == first_height(file_height));
    let hash = |document: &Value| validators_hash(document);
    let lists = |document| given(document, "validators").is_some();
    compare("validators", hash(stored) == hash(file) && lists(stored) == lists(file));
    let consensus = |document: &'_ Value| {
        given(document, "consensus_params").or(document.pointer("/consensus/params")).cloned()
    };
    if let Some(file) = consensus(file) {
        let stored = consensus(stored).unwrap_or(Value::Null);
        compare("consensus_params", contains(&stored, &file));
    }
    found
}

/// A member that says something: null, empty text, list and object say nothing.
fn given<'v>(document: &'v Value, key: &str) -> Option<&'v Value> {
    document.get(key).filter(|value| !says_nothing(value))
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// A time in the form that the node stores: UTC, without trailing zeros. A time of another zone
/// stays as it is written.
fn instant(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    let Some(utc) = text.strip_suffix('Z').or(text.strip_suffix("+00:00")) else {
        return Some(text.to_owned());
    };
    let utc = if utc.contains('.') { utc.trim_end_matches('0').trim_end_matches('.') } else { utc };
    Some(format!("{utc}Z"))
}

fn first_height(value: Option<&Value>) -> Option<u64> {
    let height = match value {
        None => 0,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(number) => number.as_u64()?,
    };
    Some(height.max(1))
}

/// Whether everything that `part` says, `whole` says too.
fn contains(whole: &Value, part: &Value) -> bool {
    if is_default(part) {
        return is_default(whole);
    }
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(key, part)| {
            contains(whole.get(key).unwrap_or(&Value::Null), part) || is_retired(key)
        }),
        (whole, part) => whole == part,
    }
}

/// Nothing, zero, or an object of nothing else.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().all(is_default),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Number(number) => number.as_i64() == Some(0),
        value => says_nothing(value),
    }
}

/// A parameter of 0.34 that later releases drop when they store the document.
fn is_retired(key: &str) -> bool {
    key == "time_iota_ms"
}

/// Hash of the validators that a genesis document lists; `None` when it lists none, or one that
/// can't be read.
pub(in crate::cometbft) fn validators_hash(document: &Value) -> Option<Hash> {
    hash_of_listed(given(document, "validators").or(document.pointer("/consensus/validators"))?)
}

fn hash_of_listed(listed: &Value) -> Option<Hash> {
    let listed = listed.as_array().filter(|listed| !listed.is_empty())?;
    let mut read = Vec::new();
    for validator in listed {
        let key = validator.get("pub_key")?;
        let kind = match key.get("type")?.as_str()? {
            "tendermint/PubKeyEd25519" => KeyKind::Ed25519,
            "tendermint/PubKeySecp256k1" => KeyKind::Secp256k1,
            _ => return None,
        };
        let base64 = base64::engine::general_purpose::STANDARD;
        let bytes = base64.decode(key.get("value")?.as_str()?).ok()?;
        let power = match validator.get("power")? {
            Value::String(text) => text.parse::<i64>().ok()?,
            number => number.as_i64()?,
        };
        read.push((kind, bytes, power));
    }
    let mut addresses = Vec::new();
    for (kind, bytes, _) in &read {
        addresses.push(PublicKey { kind: *kind, bytes }.address()?);
    }
    let mut validators: Vec<Validator<'_>> = read
        .iter()
        .zip(&addresses)
        .map(|((kind, bytes, power), address)| Validator {
            address,
            key: PublicKey { kind: *kind, bytes },
            power: *power,
            priority: 0,
        })
        .collect();
    validators.sort_by(|a, b| b.power.cmp(&a.power).then_with(|| a.address.cmp(b.address)));
    Some(ValidatorSet { validators, ..ValidatorSet::default() }.hash())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_that_the_node_fills_in_are_no_difference() {
        let file = json!({"chain_id": "c", "initial_height": "0", "app_hash": "",
            "genesis_time": "2024-01-01T00:00:00.500000Z",
            "consensus_params": {"block": {"max_bytes": "1", "time_iota_ms": "1000"},
                "version": {}},
            "app_state": {"a": 1}});
        let stored = json!({"chain_id": "c", "initial_height": "1", "validators": null,
            "genesis_time": "2024-01-01T00:00:00.5Z",
            "consensus_params": {"block": {"max_bytes": "1"}, "abci": {"x": "0"},
                "version": {"app": "0"}},
            "app_state": {"a": 1}});
        assert_eq!(differences(&stored, &file), Vec::<String>::new());
    }

    #[test]
    fn every_member_that_says_otherwise_is_named() {
        let key = json!({"type": "tendermint/PubKeyEd25519",
            "value": "hY4+NcgzHbXwbFKD/vvIBl+ZK6bHOAc55EwoVSKGl4A="});
        let file = json!({"chain_id": "c", "genesis_time": "t", "initial_height": "1",
            "validators": [{"pub_key": key, "power": "10"}], "app_state": {},
            "consensus_params": {"block": {"max_bytes": "1"}}});
        for (pointer, value) in [
            ("/chain_id", json!("d")),
            ("/genesis_time", json!("u")),
            ("/initial_height", json!("2")),
            ("/validators/0/power", json!("11")),
            ("/validators", json!([])),
            ("/app_state", json!({"a": 1})),
            ("/consensus_params/block/max_bytes", json!("2")),
        ] {
            let mut stored = file.clone();
            *stored.pointer_mut(pointer).unwrap() = value;
            assert_eq!(differences(&stored, &file).len(), 1, "{pointer}");
        }
    }
}
