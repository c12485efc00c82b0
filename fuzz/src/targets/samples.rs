//! Seeds from the real homes of `crates/chains/testdata/cometbft`, and what is derived from them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use transload_chains::cometbft::wire::block::{Block, Part};
use transload_codec::proto::{put_bytes, put_message, put_varint_field};

/// Samples of three releases, one of them with vote extensions, one in the other key layout.
const HOMES: [&str; 4] = ["v0.34", "v0.38", "v0.38-extended", "v1-layout2"];

/// Of what there is many a time, so many; the shortest.
const SEEDS_MAX: usize = 12;

fn entries(database: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/chains/testdata/cometbft");
    let mut entries = Vec::new();
    for home in HOMES {
        let path = root.join(home).join(format!("{database}.kv"));
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut rest = &bytes[..];
        let mut next = || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (taken, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            rest = after;
            Some(taken.to_vec())
        };
        while let (Some(key), Some(value)) = (next(), next()) {
            entries.push((key, value));
        }
    }
    entries
}

fn shortest(values: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let sorted: BTreeSet<(usize, Vec<u8>)> = values.map(|value| (value.len(), value)).collect();
    sorted.into_iter().map(|(_, value)| value).take(SEEDS_MAX).collect()
}

fn under(database: &str, prefix: &str) -> Vec<Vec<u8>> {
    let found = entries(database).into_iter().filter(|(key, _)| key.starts_with(prefix.as_bytes()));
    shortest(found.map(|(_, value)| value))
}

pub(crate) fn block_metas() -> Vec<Vec<u8>> {
    under("blockstore", "H:")
}

pub(crate) fn parts() -> Vec<Vec<u8>> {
    under("blockstore", "P:")
}

/// Blocks of one part.
pub(crate) fn blocks() -> Vec<Vec<u8>> {
    let parts = parts();
    let parts = parts.iter().filter_map(|part| Part::decode(part).ok());
    shortest(parts.filter(|part| part.proof_total == 1).map(|part| part.bytes.to_vec()))
}

pub(crate) fn commits() -> Vec<Vec<u8>> {
    ["C:", "SC:", "EC:"].iter().flat_map(|prefix| under("blockstore", prefix)).collect()
}

pub(crate) fn validators() -> Vec<Vec<u8>> {
    under("state", "validatorsKey:")
}

pub(crate) fn states() -> Vec<Vec<u8>> {
    let names = ["stateKey", "consensusParamsKey:"];
    let states = names.iter().flat_map(|name| under("state", name));
    states.chain(under("blockstore", "blockStore")).collect()
}

pub(crate) fn results() -> Vec<Vec<u8>> {
    let names = ["abciResponsesKey:", "lastABCIResponseKey"];
    let results = names.iter().flat_map(|name| under("state", name));
    let indexed = entries("tx_index").into_iter().filter(|(key, _)| key.len() == 32);
    results.chain(shortest(indexed.map(|(_, value)| value))).collect()
}

/// Evidence as blocks carry it, and the two kinds by hand.
pub(crate) fn evidence() -> Vec<Vec<u8>> {
    let blocks = entries("blockstore").into_iter().filter(|(key, _)| key.starts_with(b"P:"));
    let mut found = Vec::new();
    for (_, part) in blocks {
        let Ok(part) = Part::decode(&part) else { continue };
        if let Ok(block) = Block::decode(part.bytes) {
            found.extend(block.evidence.iter().map(|message| message.to_vec()));
        }
    }
    let mut vote = Vec::new();
    put_varint_field(&mut vote, 1, 2);
    put_varint_field(&mut vote, 2, 318);
    put_bytes(&mut vote, 6, &[1; 20]);
    let (mut duplicate, mut attack) = (Vec::new(), Vec::new());
    put_message(&mut duplicate, 1, &vote);
    put_message(&mut duplicate, 2, &vote);
    for commit in commits().into_iter().take(2) {
        let (mut signed, mut light, mut message) = (Vec::new(), Vec::new(), Vec::new());
        put_message(&mut signed, 2, &commit);
        put_message(&mut light, 1, &signed);
        put_message(&mut message, 1, &light);
        put_varint_field(&mut message, 2, 7);
        attack.clear();
        put_message(&mut attack, 2, &message);
        found.push(attack.clone());
    }
    let mut message = Vec::new();
    put_message(&mut message, 1, &duplicate);
    found.push(message);
    shortest(found.into_iter())
}

/// Two keys of a database behind the number of a layout.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (database, layouts) in
        [("blockstore", 0..=1), ("state", 2..=3), ("evidence", 4..=5), ("tx_index", 8..=8)]
    {
        let keys = entries(database);
        for layout in layouts {
            // Far enough from one another for every kind of key.
            for pair in keys.windows(2).step_by(1 + keys.len() / 24) {
                let Ok(length) = u8::try_from(pair[0].0.len()) else { continue };
                let value = pair[0].1.get(..32).unwrap_or_default();
                let value_bytes = u8::try_from(value.len()).unwrap_or(0);
                let head = [&[layout, value_bytes], value, &[length]].concat();
                seeds.push([&head[..], &pair[0].0, &pair[1].0].concat());
            }
        }
    }
    seeds
}

/// A version's root hashes, with and without a time.
pub(crate) fn commit_infos() -> Vec<Vec<u8>> {
    let info = |stores: &[(&str, &[u8])], time: Option<&[u8]>| {
        let mut message = Vec::new();
        put_varint_field(&mut message, 1, 318);
        for (name, hash) in stores {
            let (mut id, mut store) = (Vec::new(), Vec::new());
            put_varint_field(&mut id, 1, if hash.is_empty() { 0 } else { 318 });
            put_bytes(&mut id, 2, hash);
            put_bytes(&mut store, 1, name.as_bytes());
            put_message(&mut store, 2, &id);
            put_message(&mut message, 2, &store);
        }
        if let Some(time) = time {
            put_message(&mut message, 3, time);
        }
        message
    };
    vec![
        info(&[("bank", &[1; 32]), ("acc", &[2; 32]), ("mem", &[])], None),
        info(&[("bank", &[1; 32])], Some(&[8, 5, 16, 7])),
        info(&[], None),
    ]
}
