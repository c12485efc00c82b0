//! Bad records are settled before the copy: five of a block store are named, listed and exported,
//! or taken from another home of the chain, which is believed only where every check then passes.

use super::blocks::{part, turned};
use super::home::{APPLICATION, BLOCKS, Home, INDEX, STATE};
use super::{Forged, HOME, entries, named};
use crate::holding::Holding;
use crate::homes::{Copy, Outcome, call, changed, helper, imprint, transload};
use crate::shared::{Dice, number};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use transload_chains::cometbft::layout::{blockstore, state};
use transload_chains::iavl::keys::{NodeId, store_prefix};
use transload_model::engine::Engine;
use transload_model::report::printable_key;

/// A node of CometBFT 1.x on Pebble, with ordered keys.
const ORDERED: &str = "cometbft-1-pebble-v2";

/// A Cosmos SDK node with heights 80 to 180, whose evidence is accepted for 40 blocks.
const SHORT_MEMORY: &str = "cosmos-simapp-sdk46-pruned";

/// The tables of the five.
const TABLES: [&str; 5] = [
    "blockstore/part",
    "blockstore/meta",
    "blockstore/commit",
    "blockstore/hash_index",
    "blockstore/seen_commit",
];

/// Five records of the block store, at heights of which none is beside another: a part with
/// another byte, a header with another hash, a commit and an entry of the index of hashes that are
/// gone, a seen commit with another signature.
#[allow(clippy::print_stdout, reason = "the seed is for whoever repeats the run")]
fn five(home: &Home) -> [Forged; 5] {
    let seed = number("TRANSLOAD_SEED").unwrap_or(1);
    println!("seed {seed}");
    let mut dice = Dice::of(seed, 5);
    // The tip and the highest below it have records of their own; every fifth of the rest has one.
    let (first, stretch) = (home.first + 2, (home.last - home.first - 8) / 5);
    let mut at = (0..5).map(|place| first + place * stretch + dice.roll(stretch - 1));
    let mut next = || at.next().unwrap();
    let dropped = |table, name, canonical: &[u8], height| {
        Forged::dropped(BLOCKS, name, home.block_key(table, canonical), Some(height))
    };
    let (part_at, meta_at, commit_at, hash_at, seen_at) = (next(), next(), next(), next(), next());
    let hash = home.meta(hash_at).block_id.hash;
    [
        part(home, part_at, 0, &[2]).unwrap(),
        turned(home, blockstore::META, meta_at, &[3, 11]).unwrap(),
        dropped(blockstore::COMMIT, TABLES[2], &commit_at.to_be_bytes(), commit_at),
        dropped(blockstore::HASH_INDEX, TABLES[3], hash, hash_at),
        turned(home, blockstore::SEEN_COMMIT, seen_at, &[4, 4]).unwrap(),
    ]
}

/// A home with all five, and a peer without.
fn with_five() -> (Copy, Copy, Home, [Forged; 5]) {
    let peer = Copy::of(HOME);
    let home = Home::read(&peer.home());
    let forged = five(&home);
    let copy = peer.again();
    forged.iter().for_each(|one| one.write(&copy.home()));
    (copy, peer, home, forged)
}

fn migrate(copy: &Copy, more: &[&str]) -> Outcome {
    call("migrate", copy, &[&["--to", "pebble1", "--yes"], more].concat())
}

fn from(peer: &Copy) -> String {
    format!("--repair-from={}", peer.home().to_str().unwrap())
}

/// Table, key in hex, and what became of it, of each record of a settlement.
fn settled(records: &Value) -> BTreeSet<(String, String, bool)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let about =
        |one: &Value| (text(&one["table"]), text(&one["key"]), one["settled"] == "quarantined");
    records.as_array().unwrap().iter().map(about).collect()
}

fn settlement_of(copy: &Copy, attempt: u64) -> Value {
    let path = format!(".transload/settlements/{attempt:04}/settlement.json");
    let path = copy.home().join(path);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn stop_names_the_first_of_five_and_begins_nothing() {
    if helper().is_none() {
        return;
    }
    let (copy, _, _, forged) = with_five();
    let before = imprint(&copy.home());
    let outcome = migrate(&copy, &["--bad-records", "stop"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    let first = outcome.said.lines().find(|line| line.starts_with("error: ")).unwrap();
    let key = printable_key(&forged[0].key);
    assert!(first.contains(&key), "the lowest height is the first: {first}");
    assert!(outcome.said.contains("nothing was changed"), "{}", outcome.said);
    assert!(!copy.home().join(".transload/attempts").exists(), "an attempt was begun");
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    // Nothing has begun, so another plan can be made at once.
    let planned = call("plan", &copy, &["--to", "pebble1", "--bad-records", "quarantine"]);
    assert_eq!(planned.code, 0, "{}", planned.said);
}

#[test]
fn quarantine_lists_all_five_exports_them_and_swaps_nothing() {
    if helper().is_none() {
        return;
    }
    let (copy, peer, good, forged) = with_five();
    let before = imprint(&copy.home());
    let outcome = migrate(&copy, &["--bad-records", "quarantine"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    for words in ["left out", "settlement.json", "--repair-from"] {
        assert!(outcome.said.contains(words), "no {words}: {}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    let settlement = settlement_of(&copy, 1);
    let expected = forged.iter().zip(TABLES);
    let expected: BTreeSet<_> =
        expected.map(|(one, table)| (table.to_owned(), hex::encode(&one.key), true)).collect();
    assert_eq!(settled(&settlement["records"]), expected);
    for one in settlement["records"].as_array().unwrap() {
        let key = hex::decode(one["key"].as_str().unwrap()).unwrap();
        let forged = forged.iter().find(|forged| forged.key == key).unwrap();
        let Some(stored) = &forged.changes[0].2 else {
            assert_eq!(one.get("stored"), None, "what is missing has no bytes");
            assert!(good.entries(BLOCKS).contains_key(&key));
            continue;
        };
        let file = one["stored"]["file"].as_str().unwrap();
        let folder = copy.home().join(".transload/settlements/0001");
        assert_eq!(&std::fs::read(folder.join(file)).unwrap(), stored);
        assert_eq!(one["stored"]["sha256"], hex::encode(Sha256::digest(stored)));
    }
    assert!(!copy.home().join(".transload/attempts").exists(), "an attempt was begun");
    // Nothing is under way: the same home can be tried with a peer.
    let healed = migrate(&copy, &["--bad-records", "quarantine", &from(&peer)]);
    assert_eq!(healed.code, 7, "{}", healed.said);
    assert!(settlement_of(&copy, 1).is_object() && settlement_of(&copy, 2).is_object());
    assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn a_peer_heals_what_follows_from_certificates_and_nothing_else() {
    if helper().is_none() {
        return;
    }
    let (copy, peer, good, forged) = with_five();
    let (before, of_peer) = (imprint(&copy.home()), imprint(&peer.home()));
    // Whose seen commit is right nothing says.
    let stopped = migrate(&copy, &[&from(&peer)]);
    assert_eq!(stopped.code, 4, "{}", stopped.said);
    let seen = printable_key(&forged[4].key);
    assert!(stopped.said.contains(&seen), "{}", stopped.said);
    assert!(!stopped.said.contains(&printable_key(&forged[0].key)), "{}", stopped.said);
    assert!(!copy.home().join(".transload/attempts").exists(), "an attempt was begun");
    let call_it = [&from(&peer), "--bad-records", "quarantine", "--json"];
    let outcome = migrate(&copy, &call_it);
    assert_eq!(outcome.code, 7, "a record was left out: {}", outcome.said);
    let report = &outcome.document()["report"];
    let expected = forged.iter().zip(TABLES).map(|(one, table)| {
        (table.to_owned(), hex::encode(&one.key), table == "blockstore/seen_commit")
    });
    assert_eq!(settled(&report["settlement"]["records"]), expected.collect::<BTreeSet<_>>());
    for one in report["settlement"]["records"].as_array().unwrap() {
        let key = hex::decode(one["key"].as_str().unwrap()).unwrap();
        let right = hex::encode(Sha256::digest(&good.entries(BLOCKS)[&key]));
        if one["settled"] != "quarantined" {
            assert_eq!(one["settled"]["repaired"]["sha256"], right);
            assert!(outcome.said.contains(&right), "the report doesn't name {right}");
        }
    }
    let mut expected = good.entries(BLOCKS).clone();
    expected.remove(&forged[4].key);
    assert!(entries(&copy.home().join("data/blockstore.db")) == expected, "other records");
    assert_eq!(imprint(&peer.home()), of_peer, "the peer was touched");
    assert_eq!(call("verify", &copy, &[]).code, 0, "without the seen commit it is whole");
    let back = call("rollback", &copy, &["--yes"]);
    assert_eq!(back.code, 0, "{}", back.said);
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn a_peer_that_lies_is_named_and_nothing_of_it_is_used() {
    if helper().is_none() {
        return;
    }
    for place in [0, 1] {
        let (copy, peer, home, forged) = with_five();
        let height = forged[place].height.unwrap();
        // It lies of one record, and has the others as they are.
        let lie = match place {
            0 => part(&home, height, 0, &[3, 3]).unwrap(),
            _ => turned(&home, blockstore::META, height, &[3, 12]).unwrap(),
        };
        lie.write(&peer.home());
        let before = imprint(&copy.home());
        let more = [&from(&peer), "--bad-records", "quarantine"];
        let outcome = migrate(&copy, &more);
        assert_eq!(outcome.code, 4, "{}", outcome.said);
        let peer_text = peer.home().to_str().unwrap().to_owned();
        for words in ["the peer lies", &peer_text, &hex::encode(&lie.key)] {
            assert!(outcome.said.contains(words), "no {words}: {}", outcome.said);
        }
        assert!(!copy.home().join(".transload/attempts").exists(), "an attempt was begun");
        assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_peer_in_another_engine_and_layout_heals_though_a_node_holds_it() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(ORDERED);
    let peer = copy.again();
    let moved = call("migrate", &peer, &["--layout", "v1", "--to", "goleveldb", "--yes"]);
    assert_eq!(moved.code, 0, "{}", moved.said);
    let holding = Holding::of(Engine::Goleveldb, &peer.home().join("data/blockstore.db"));
    let home = Home::read(&copy.home());
    let root = |copy: &Copy| call("root", copy, &["--json"]).document()["dataset_root"].clone();
    let good = root(&copy);
    let forged = [
        part(&home, home.middle(), 0, &[2]).unwrap(),
        turned(&home, blockstore::META, home.middle() + 2, &[3, 12]).unwrap(),
    ];
    forged.iter().for_each(|one| one.write(&copy.home()));
    assert_ne!(root(&copy), good);
    // What is taken goes to another layout with the rest.
    let more = ["--layout", "v1", "--to", "goleveldb", "--yes", &from(&peer), "--json"];
    let outcome = call("migrate", &copy, &more);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    let records = &outcome.document()["report"]["settlement"]["records"];
    assert_eq!(records.as_array().unwrap().len(), 2, "{records:#}");
    assert_eq!(root(&copy), good, "not as it was before");
    drop(holding);
}

/// What of blocks, sets and trees a header commits to, one thing at a time.
const HEALED: [&str; 9] = [
    "two headers in each other's place",
    "the hash in a block's id",
    "an unknown field around a block part",
    "the round of a commit",
    "a validator's power",
    "a validator's address",
    "the value of a leaf",
    "a node that is dropped",
    "a CommitInfo that is dropped",
];

#[test]
fn whatever_a_header_commits_to_is_healed_to_the_byte() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let peer = copy.again();
    let home = Home::read(&copy.home());
    for what in HEALED {
        let copy = copy.again();
        let forged = (named(what).make)(&home).unwrap();
        forged.write(&copy.home());
        let outcome = migrate(&copy, &[&from(&peer), "--json"]);
        assert_eq!(outcome.code, 0, "{what}: {}", outcome.shown);
        let records = &outcome.document()["report"]["settlement"]["records"];
        let keys = records.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap());
        let expected = forged.changes.iter().map(|(_, key, _)| hex::encode(key));
        let keys: BTreeSet<String> = keys.map(str::to_owned).collect();
        assert_eq!(keys, expected.collect(), "{what}: {records:#}");
        for (database, good) in &home.databases {
            let healed = entries(&copy.home().join("data").join(database));
            assert!(healed == *good, "{what}: other records in {database}");
        }
    }
}

/// An entry of the index is rebuilt from blocks by the node's own command, and no check misses a
/// height that is missing whole: it may be left out, and that is said.
#[test]
fn what_no_certificate_covers_is_left_out_and_said() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let surprise =
        |database| Forged::put(database, "unknown", b"surprise".to_vec(), b"x".to_vec(), None);
    surprise(INDEX).write(&copy.home());
    assert_eq!(migrate(&copy, &[]).code, 4, "as ever, without the option");
    let outcome = migrate(&copy, &["--bad-records", "quarantine"]);
    assert_eq!(outcome.code, 7, "{}", outcome.said);
    assert!(outcome.said.contains("LEFT OUT  tx_index.db: tx_index/unknown"), "{}", outcome.said);
    let status = call("status", &copy, &["--json"]).document();
    assert_eq!(status["settlement"]["quarantined"], "1", "{status:#}");
    let status = call("status", &copy, &[]);
    assert!(status.shown.contains("bad records: 1 left out"), "{}", status.shown);
    assert_eq!(call("verify", &copy, &[]).code, 0);
    assert_eq!(call("finalize", &copy, &["--yes"]).code, 0);
    let kept = copy.home().join(".transload/settlements/0002/0001.stored");
    assert_eq!(std::fs::read(kept).unwrap(), b"x", "its only copy is kept");
}

/// What tells which heights there are isn't missed by checks that ask only for those heights.
#[test]
fn a_home_that_tells_less_without_what_was_left_out_is_never_swapped() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = Home::read(&copy.home());
    let mut value = home.entries(BLOCKS)[blockstore::STATE_KEY].clone();
    value.extend_from_slice(&super::blocks::UNKNOWN_FIELD);
    let key = blockstore::STATE_KEY.to_vec();
    Forged::put(BLOCKS, "blockstore/state", key, value, None).write(&copy.home());
    let before = imprint(&copy.home());
    let outcome = migrate(&copy, &["--bad-records", "quarantine"]);
    assert_eq!(outcome.code, 4, "{}", outcome.said);
    assert!(outcome.said.contains("left out"), "{}", outcome.said);
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn a_settlement_that_was_edited_is_refused() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let peer = copy.again();
    let home = Home::read(&copy.home());
    part(&home, home.middle(), 0, &[2]).unwrap().write(&copy.home());
    let begun = call("migrate", &copy, &["--to", "pebble1", &from(&peer)]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    let folder = copy.home().join(".transload/settlements/0001");
    let before = imprint(&copy.home());
    for name in ["settlement.json", "0001.repaired"] {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b" "].concat()).unwrap();
        let outcome = call("resume", &copy, &["--yes"]);
        assert_eq!(outcome.code, 3, "{name}: {}", outcome.said);
        assert!(outcome.said.contains("read the settlement"), "{}", outcome.said);
        assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
        std::fs::write(&path, whole).unwrap();
    }
    let done = call("resume", &copy, &["--yes"]);
    assert_eq!(done.code, 0, "{}", done.said);
}

#[test]
fn the_plan_says_what_becomes_of_bad_records_and_another_wish_is_not_the_one_under_way() {
    let copy = Copy::of(HOME);
    let peer = copy.again();
    assert_eq!(call("plan", &copy, &["--to", "pebble1"]).code, 0);
    let shown = call("plan", &copy, &["--to", "pebble1", &from(&peer)]);
    assert_eq!(shown.code, 0, "{}", shown.said);
    assert!(shown.shown.contains("records bad records are looked for"), "{}", shown.shown);
    let diff = transload(&["plan", "diff", copy.home().to_str().unwrap(), "1", "2"]);
    for words in ["bad_records.policy: (none) -> \"stop\"", "bad_records.repair_from: (none) -> "] {
        assert!(diff.shown.contains(words), "no {words}: {}", diff.shown);
    }
    if helper().is_none() {
        return;
    }
    let begun = call("migrate", &copy, &["--to", "pebble1", &from(&peer)]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    let nothing_was_wrong = "bad records: none was found in the source before the copy";
    assert!(begun.said.contains(nothing_was_wrong), "{}", begun.said);
    for other in
        [&[][..], &["--bad-records", "stop"], &[&from(&peer), "--bad-records", "quarantine"]]
    {
        let outcome = migrate(&copy, other);
        assert_eq!(outcome.code, 3, "{other:?}: {}", outcome.said);
        assert!(outcome.said.contains("is under way"), "{}", outcome.said);
    }
    let same = migrate(&copy, &[&from(&peer)]);
    assert_eq!(same.code, 0, "{}", same.said);
}

#[test]
fn what_is_no_peer_of_this_chain_is_refused() {
    let copy = Copy::of(HOME);
    let before = imprint(&copy.home());
    let other = Copy::of("cometbft-0.38-kvstore");
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let empty = copy.beside("empty");
    std::fs::create_dir(&empty).unwrap();
    let link = copy.beside("link");
    std::os::unix::fs::symlink(copy.home(), &link).unwrap();
    let rows: [(String, &str); 6] = [
        (text(copy.beside("nope")), "nope"),
        (text(empty), "no home of this kind"),
        (text(copy.home().join("config/genesis.json")), "no folder"),
        (text(copy.home()), "the home itself"),
        (text(link), "the home itself"),
        (text(other.home()), "a peer of another chain"),
    ];
    for (peer, words) in rows {
        for command in ["plan", "migrate"] {
            let outcome = call(command, &copy, &["--to", "pebble1", "--repair-from", &peer]);
            assert_eq!(outcome.code, 3, "{command} {peer}: {}", outcome.said);
            assert!(outcome.said.contains(words), "{peer} without {words}: {}", outcome.said);
        }
    }
    for wrong in [&["--repair-from"][..], &["--bad-records"], &["--bad-records", "maybe"]] {
        let outcome = call("migrate", &copy, &[&["--to", "pebble1"], wrong].concat());
        assert_eq!(outcome.code, 2, "{wrong:?}: {}", outcome.said);
    }
    assert!(!copy.home().join(".transload/attempts").exists(), "an attempt was begun");
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

/// A chain's name is no proof: a header at a height that both keep is.
#[test]
fn a_peer_with_other_blocks_under_the_same_name_is_of_another_chain() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let home = Home::read(&copy.home());
    let peer = copy.again();
    // The peer's tip is another block, with a seen commit for it: what a fork looks like.
    let tip = home.last;
    let key = home.block_key(blockstore::META, &tip.to_be_bytes());
    let raw = home.entries(BLOCKS)[&key].clone();
    let at = super::home::place(&raw, &[3, 12]).unwrap();
    let mut meta = raw.clone();
    meta[at] ^= 1;
    let old = home.meta(tip).block_id.hash.to_vec();
    let new = transload_chains::cometbft::wire::block::BlockMeta::decode(&meta)
        .unwrap()
        .header
        .hash()
        .to_vec();
    let replace = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let at = super::home::position(&bytes, &old);
        bytes[at..at + old.len()].copy_from_slice(&new);
        bytes
    };
    let mut changes: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    changes.insert(key, replace(&meta));
    for table in [blockstore::SEEN_COMMIT, blockstore::EXTENDED_COMMIT] {
        let key = home.block_key(table, &tip.to_be_bytes());
        if let Some(commit) = home.entries(BLOCKS).get(&key) {
            changes.insert(key, replace(commit));
        }
    }
    let changes = changes.into_iter().map(|(key, value)| (BLOCKS, key, Some(value))).collect();
    Forged::new(changes, BLOCKS, "", Vec::new(), None).write(&peer.home());
    let outcome = call("plan", &copy, &["--to", "pebble1", &from(&peer)]);
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    for words in ["another chain", &format!("block {tip} has the hash")] {
        assert!(outcome.said.contains(words), "no {words}: {}", outcome.said);
    }
}

/// What a repair brings to light is missing as well: checks that look at less in between are no
/// reason to refuse the peer.
#[test]
fn a_block_whose_meta_and_part_are_missing_is_taken_from_the_peer() {
    if helper().is_none() {
        return;
    }
    let (copy, peer, home, _) = of_kvstore();
    let height = home.middle();
    let meta = home.block_key(blockstore::META, &height.to_be_bytes());
    drop_all(BLOCKS, &[meta, home.part_key(height, 0)], &copy);
    let outcome = migrate(&copy, &[&from(&peer)]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(entries(&copy.home().join("data/blockstore.db")) == *home.entries(BLOCKS));
}

/// A tree's nodes are come upon one below the other.
#[test]
fn nodes_that_are_missing_one_below_the_other_are_all_taken_from_the_peer() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(HOME);
    let peer = copy.again();
    let home = Home::read(&copy.home());
    let key = |nonce| [store_prefix(b"bank").as_slice(), NodeId::new(300, nonce).bytes()].concat();
    let keys: Vec<Vec<u8>> = (2..=6).map(key).collect();
    drop_all(APPLICATION, &keys, &copy);
    let outcome = migrate(&copy, &[&from(&peer)]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(entries(&copy.home().join("data/application.db")) == *home.entries(APPLICATION));
}

/// What a repaired record says of heights and hashes is what the home says.
#[test]
fn a_repaired_record_may_carry_the_facts_though_another_is_left_out() {
    if helper().is_none() {
        return;
    }
    let (copy, peer, home, seen) = of_kvstore();
    drop_all(STATE, &[state::STATE_KEY.to_vec()], &copy);
    seen.write(&copy.home());
    let outcome = migrate(&copy, &[&from(&peer), "--bad-records", "quarantine"]);
    assert_eq!(outcome.code, 7, "{}", outcome.said);
    assert!(entries(&copy.home().join("data/state.db")) == *home.entries(STATE));
    let verified = call("verify", &copy, &["--json"]).document();
    assert_eq!(verified["findings"], serde_json::json!([]), "{verified:#}");
    let back = call("rollback", &copy, &["--yes"]);
    assert_eq!(back.code, 0, "the fence knows the height: {}", back.said);
}

/// A bad record below the heights that are kept goes with them, and is none that is left out.
#[test]
fn what_a_trim_leaves_out_anyway_needs_no_settling() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(SHORT_MEMORY);
    let home = Home::read(&copy.home());
    part(&home, home.first + 5, 0, &[2]).unwrap().write(&copy.home());
    let more = ["--keep-heights", "81", "--bad-records", "quarantine"];
    let outcome = call("migrate", &copy, &[&["--yes"], &more[..]].concat());
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert_eq!(settlement_of(&copy, 1)["records"], serde_json::json!([]));
    assert_eq!(call("verify", &copy, &[]).code, 0);
}

/// The plan under way names its peer, so that another one takes a new plan.
#[test]
fn a_peer_that_is_gone_when_the_source_is_settled_anew_is_said_with_the_way_out() {
    if helper().is_none() {
        return;
    }
    let (copy, peer, home, seen) = of_kvstore();
    part(&home, home.middle(), 0, &[2]).unwrap().write(&copy.home());
    let begun = call("migrate", &copy, &["--to", "pebble1", &from(&peer)]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    seen.write(&copy.home());
    let before = imprint(&copy.home());
    std::fs::rename(peer.home(), peer.beside("gone")).unwrap();
    let outcome = call("resume", &copy, &["--yes"]);
    assert_ne!(outcome.code, 0, "{}", outcome.said);
    for words in ["look at the peer", "`transload rollback HOME`", "a new plan"] {
        assert!(outcome.said.contains(words), "no {words}: {}", outcome.said);
    }
    assert_eq!(changed(&before, &imprint(&copy.home())), Vec::<PathBuf>::new());
    assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
}

/// No advice that would not help.
#[test]
fn what_no_peer_can_mend_is_not_said_to_be_mended_by_one() {
    let (copy, _, _, seen) = of_kvstore();
    seen.write(&copy.home());
    let stopped = migrate(&copy, &["--bad-records", "stop"]);
    assert_eq!(stopped.code, 4, "{}", stopped.said);
    assert!(!stopped.said.contains("--repair-from"), "{}", stopped.said);
    assert!(stopped.said.contains("--bad-records quarantine"), "{}", stopped.said);
}

#[test]
fn a_home_that_does_not_say_what_it_holds_is_not_called_another_chain() {
    let (copy, peer, _, _) = of_kvstore();
    drop_all(BLOCKS, &[blockstore::STATE_KEY.to_vec()], &copy);
    let outcome = call("plan", &copy, &["--to", "pebble1", &from(&peer)]);
    assert_eq!(outcome.code, 3, "{}", outcome.said);
    assert!(outcome.said.contains("this home's own block store lacks its state"));
    assert!(!outcome.said.contains("another chain"), "{}", outcome.said);
}

/// A home of CometBFT 0.38, a peer that is the same, and a seen commit of it with another
/// signature, not at the tip.
fn of_kvstore() -> (Copy, Copy, Home, Forged) {
    let copy = Copy::of("cometbft-0.38-kvstore");
    let peer = copy.again();
    let home = Home::read(&copy.home());
    let seen = turned(&home, blockstore::SEEN_COMMIT, home.last - 100, &[4, 4]).unwrap();
    (copy, peer, home, seen)
}

fn drop_all(database: &'static str, keys: &[Vec<u8>], copy: &Copy) {
    let changes = keys.iter().map(|key| (database, key.clone(), None)).collect();
    Forged::new(changes, database, "", Vec::new(), None).write(&copy.home());
}
