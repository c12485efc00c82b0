//! Forgeries of the block store.

use super::home::{BLOCKS, Home, place};
use super::{Change, Forged, Forgery};
use transload_chains::cometbft::layout::{KeyForm, blockstore};
use transload_chains::cometbft::wire::block::BlockStoreState;
use transload_codec::proto::put_varint_field;

/// A field that no release has.
pub(super) const UNKNOWN_FIELD: [u8; 4] = [0xfa, 0x01, 1, 7];

/// The fields of a header, by the numbers that lead to them.
const HEADER_FIELDS: [(&str, &[u32]); 14] = [
    ("a header's version", &[3, 1, 1]),
    ("a header's chain id", &[3, 2]),
    ("a header's height", &[3, 3]),
    ("a header's time", &[3, 4, 1]),
    ("a header's last block", &[3, 5, 1]),
    ("a header's last commit", &[3, 6]),
    ("a header's transactions", &[3, 7]),
    ("a header's validators", &[3, 8]),
    ("a header's next validators", &[3, 9]),
    ("a header's parameters", &[3, 10]),
    ("a header's application hash", &[3, 11]),
    ("a header's results", &[3, 12]),
    ("a header's evidence", &[3, 13]),
    ("a header's proposer", &[3, 14]),
];

/// All of them.
pub(super) fn forgeries() -> Vec<Forgery> {
    let mut all: Vec<Forgery> = HEADER_FIELDS
        .into_iter()
        .map(|(what, path)| {
            Forgery::new(what, move |home| turned(home, blockstore::META, home.middle(), path))
        })
        .collect();
    all.extend([
        Forgery::new("the hash in a block's id", |home| {
            turned(home, blockstore::META, home.middle(), &[1, 1])
        }),
        Forgery::new("the size that a meta says", |home| {
            turned(home, blockstore::META, home.middle(), &[2])
        }),
        Forgery::new("the number of transactions that a meta says", |home| {
            let has_some = home.height_where(home.middle(), |meta, _| meta.num_txs > 0)?;
            turned(home, blockstore::META, has_some, &[4])
        }),
        Forgery::new("two headers in each other's place", |home| {
            let height = home.middle();
            let [one, two] = [height, height + 1].map(|height| height.to_be_bytes());
            exchanged(home, blockstore::META, &one, &two, height)
        }),
        Forgery::new("one header too many", |home| {
            let key = home.block_key(blockstore::META, &4_000_u64.to_be_bytes());
            let value = record(home, blockstore::META, home.middle())?;
            Some(Forged::put(BLOCKS, "blockstore/meta", key, value, Some(4_000)))
        }),
        Forgery::new("a height that is dropped with everything of it", dropped_height),
        Forgery::new("a byte of a block part", |home| part(home, home.middle(), 0, &[2])),
        Forgery::new("a byte of a later part", |home| part(home, of_two_parts(home)?, 1, &[2])),
        Forgery::new("the hash in a part's proof", |home| {
            part(home, of_two_parts(home)?, 1, &[3, 3])
        }),
        Forgery::new("the path of a part's proof", |home| {
            part(home, of_two_parts(home)?, 1, &[3, 4])
        }),
        Forgery::new("two parts in each other's place", |home| {
            let height = of_two_parts(home)?;
            let [one, two] = [0, 1].map(|index| blockstore::part_key(height, index));
            exchanged(home, blockstore::PART, &one, &two, height)
        }),
        Forgery::new("a part too many", |home| {
            let height = home.middle();
            let key = home.part_key(height, home.meta(height).block_id.parts.total);
            let value = home.entries(BLOCKS)[&home.part_key(height, 0)].clone();
            Some(Forged::put(BLOCKS, "blockstore/part", key, value, Some(height)))
        }),
        Forgery::new("a part that is dropped", |home| {
            let height = of_two_parts(home)?;
            let key = home.part_key(height, 1);
            Some(Forged::dropped(BLOCKS, "blockstore/part", key, Some(height)))
        }),
        Forgery::new("a signature", |home| signature(home, blockstore::COMMIT, &[4, 4])),
        Forgery::new("the time of a vote", |home| signature(home, blockstore::COMMIT, &[4, 3, 1])),
        Forgery::new("the round of a commit", |home| {
            let height = home.middle();
            let value = record(home, blockstore::COMMIT, height)?;
            let key = home.block_key(blockstore::COMMIT, &height.to_be_bytes());
            let value = super::home::replaced_number(&value, 2, 3);
            Some(Forged::put(BLOCKS, "blockstore/commit", key, value, Some(height)))
        }),
        Forgery::new("a commit of another height", |home| {
            let [one, two] = [home.middle(), home.middle() + 1].map(|height| height.to_be_bytes());
            exchanged(home, blockstore::COMMIT, &one, &two, home.middle())
        }),
        Forgery::new("a commit that is dropped", |home| {
            let key = home.block_key(blockstore::COMMIT, &home.middle().to_be_bytes());
            Some(Forged::dropped(BLOCKS, "blockstore/commit", key, Some(home.middle())))
        }),
        Forgery::new("a signature of a seen commit", |home| {
            signature(home, blockstore::SEEN_COMMIT, &[4, 4])
        }),
        Forgery::new("the tip's seen commit, dropped", |home| {
            let key = home.block_key(blockstore::SEEN_COMMIT, &home.last.to_be_bytes());
            // 1.x and vote extensions keep an extended one instead.
            home.entries(BLOCKS).get(&key)?;
            Some(Forged::dropped(BLOCKS, "blockstore/seen_commit", key, Some(home.last)))
        }),
        Forgery::new("a signature of an extended commit", |home| {
            signature(home, blockstore::EXTENDED_COMMIT, &[4, 4])
        }),
        Forgery::new("a vote extension", |home| {
            signature(home, blockstore::EXTENDED_COMMIT, &[4, 5])
        }),
        Forgery::new("the signature of a vote extension", |home| {
            signature(home, blockstore::EXTENDED_COMMIT, &[4, 6])
        }),
        Forgery::new("one hash too many in the index of hashes", |home| {
            let key = home.block_key(blockstore::HASH_INDEX, &[0xab; 32]);
            let value = home.middle().to_string().into_bytes();
            Some(Forged::put(BLOCKS, "blockstore/hash_index", key, value, None))
        }),
        Forgery::new("a hash that leads to another height", |home| {
            let height = home.middle();
            let key = home.block_key(blockstore::HASH_INDEX, home.meta(height).block_id.hash);
            let value = (height + 1).to_string().into_bytes();
            Some(Forged::put(BLOCKS, "blockstore/hash_index", key, value, Some(height)))
        }),
        Forgery::new("a hash that is dropped from the index", |home| {
            let height = home.middle();
            let key = home.block_key(blockstore::HASH_INDEX, home.meta(height).block_id.hash);
            Some(Forged::dropped(BLOCKS, "blockstore/hash_index", key, Some(height)))
        }),
        Forgery::new("a height of the store that is too high", |home| {
            let key = home.block_key(blockstore::META, &(home.last + 1).to_be_bytes());
            let change = stored_range(home, home.first, home.last + 1);
            Some(Forged::new(vec![change], BLOCKS, "blockstore/meta", key, Some(home.last + 1)))
        }),
        Forgery::new("a height of the store that is too low", |home| {
            let key = home.block_key(blockstore::META, &home.last.to_be_bytes());
            let change = stored_range(home, home.first, home.last - 1);
            Some(Forged::new(vec![change], BLOCKS, "blockstore/meta", key, Some(home.last)))
        }),
        Forgery::new("an entry that no release writes", |home| {
            // Beside ordered keys it is a key of the other layout: the home is refused.
            (home.form == KeyForm::V1).then_some(())?;
            let value = home.middle().to_be_bytes().to_vec();
            Some(Forged::put(BLOCKS, "blockstore/unknown", b"H:0100".to_vec(), value, None))
        }),
    ]);
    for (table, name) in [
        (blockstore::META, "blockstore/meta"),
        (blockstore::COMMIT, "blockstore/commit"),
        (blockstore::SEEN_COMMIT, "blockstore/seen_commit"),
        (blockstore::EXTENDED_COMMIT, "blockstore/extended_commit"),
    ] {
        all.push(Forgery::new("an unknown field around a record of a height", move |home| {
            let mut value = record(home, table, home.middle())?;
            value.extend_from_slice(&UNKNOWN_FIELD);
            let key = home.block_key(table, &home.middle().to_be_bytes());
            Some(Forged::put(BLOCKS, name, key, value, Some(home.middle())))
        }));
    }
    all.push(Forgery::new("an unknown field around a block part", |home| {
        let key = home.part_key(home.middle(), 0);
        let mut value = home.entries(BLOCKS)[&key].clone();
        value.extend_from_slice(&UNKNOWN_FIELD);
        Some(Forged::put(BLOCKS, "blockstore/part", key, value, Some(home.middle())))
    }));
    all
}

fn table_name(table: usize) -> &'static str {
    match table {
        blockstore::META => "blockstore/meta",
        blockstore::PART => "blockstore/part",
        blockstore::COMMIT => "blockstore/commit",
        blockstore::SEEN_COMMIT => "blockstore/seen_commit",
        _ => "blockstore/extended_commit",
    }
}

fn record(home: &Home, table: usize, height: u64) -> Option<Vec<u8>> {
    home.entries(BLOCKS).get(&home.block_key(table, &height.to_be_bytes())).cloned()
}

/// A record under a height with one bit of a field turned.
pub(super) fn turned(home: &Home, table: usize, height: u64, path: &[u32]) -> Option<Forged> {
    let mut value = record(home, table, height)?;
    let at = place(&value, path)?;
    value[at] ^= 1;
    let key = home.block_key(table, &height.to_be_bytes());
    Some(Forged::put(BLOCKS, table_name(table), key, value, Some(height)))
}

/// As [`turned`], of a commit in the middle, where there is one of its kind.
fn signature(home: &Home, table: usize, path: &[u32]) -> Option<Forged> {
    turned(home, table, home.middle(), path)
}

pub(super) fn part(home: &Home, height: u64, index: u32, path: &[u32]) -> Option<Forged> {
    let key = home.part_key(height, index);
    let mut value = home.entries(BLOCKS)[&key].clone();
    let at = place(&value, path)? + 7;
    value[at] ^= 1;
    Some(Forged::put(BLOCKS, "blockstore/part", key, value, Some(height)))
}

/// A height whose block has more than one part.
fn of_two_parts(home: &Home) -> Option<u64> {
    home.height_where(home.first, |meta, _| meta.block_id.parts.total > 1)
}

/// Two records of one table, each under the other's key; the first one is named.
fn exchanged(home: &Home, table: usize, one: &[u8], two: &[u8], height: u64) -> Option<Forged> {
    let [one, two] = [one, two].map(|canonical| home.block_key(table, canonical));
    let [first, second] = [&one, &two].map(|key| home.entries(BLOCKS).get(key).cloned());
    let changes: Vec<Change> =
        vec![(BLOCKS, one.clone(), Some(second?)), (BLOCKS, two, Some(first?))];
    Some(Forged::new(changes, BLOCKS, table_name(table), one, Some(height)))
}

fn dropped_height(home: &Home) -> Option<Forged> {
    let height = home.middle();
    let mut keys = vec![home.block_key(blockstore::HASH_INDEX, home.meta(height).block_id.hash)];
    let tables = [
        blockstore::META,
        blockstore::COMMIT,
        blockstore::SEEN_COMMIT,
        blockstore::EXTENDED_COMMIT,
    ];
    keys.extend(tables.map(|table| home.block_key(table, &height.to_be_bytes())));
    let total = home.meta(height).block_id.parts.total;
    keys.extend((0..total).map(|index| home.part_key(height, index)));
    let changes = keys.into_iter().map(|key| (BLOCKS, key, None)).collect();
    let key = home.block_key(blockstore::META, &height.to_be_bytes());
    Some(Forged::new(changes, BLOCKS, "blockstore/meta", key, Some(height)))
}

/// The store's own state, with other heights.
pub(super) fn stored_range(home: &Home, first: u64, last: u64) -> Change {
    let stored = &home.entries(BLOCKS)[blockstore::STATE_KEY];
    assert_ne!(BlockStoreState::decode(stored).unwrap().range(), Some((first, last)));
    let mut value = Vec::new();
    put_varint_field(&mut value, 1, first);
    put_varint_field(&mut value, 2, last);
    (BLOCKS, blockstore::STATE_KEY.to_vec(), Some(value))
}
