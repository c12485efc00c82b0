//! The key layouts of CometBFT: there and back is the identity, `v1` and `v2` give the same
//! roots, and any division of a scan gives the same tables.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use transload_chains::cometbft::layout::{
    BlockstoreLayout, EvidenceLayout, KeyForm, LightLayout, StateLayout, TxIndexLayout,
};
use transload_model::commitment::TableCommitment;
use transload_model::layout::{Layout, Placement};
use transload_model::walk::{ChunkWalk, assemble};
use transload_store::{Kind, Rekey, Reshape as _};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Places an entry; `None` for bookkeeping.
fn place(layout: &dyn Layout, key: &[u8], value: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut canonical = b"left over".to_vec();
    match layout.place(key, value, &mut canonical) {
        Placement::Record { table, .. } => Some((table, canonical)),
        Placement::Bookkeeping => None,
    }
}

fn physical(layout: &dyn Layout, table: usize, canonical: &[u8]) -> Vec<u8> {
    let mut key = b"left over".to_vec();
    layout.physical(table, canonical, &mut key).expect("it has a form here");
    key
}

fn table_of(layout: &dyn Layout, key: &[u8], value: &[u8]) -> String {
    let (table, _) = place(layout, key, value).expect("a record");
    layout.tables()[table].name.to_string()
}

/// The tables of `entries`, scanned in chunks that begin at the aligned `splits`.
fn tables(layout: &dyn Layout, entries: &Entries, splits: &[Vec<u8>]) -> Vec<TableCommitment> {
    let mut splits: Vec<&[u8]> = splits.iter().map(|key| layout.align_split(key)).collect();
    splits.sort_unstable();
    splits.dedup();
    let mut tallies = Vec::new();
    let mut walk = ChunkWalk::new(layout);
    let mut next = splits.iter().peekable();
    for (key, value) in entries {
        while next.peek().is_some_and(|split| **split <= key.as_slice()) {
            next.next();
            let done = std::mem::replace(&mut walk, ChunkWalk::new(layout));
            tallies.push(done.finish().unwrap());
        }
        walk.push(key, value).unwrap();
    }
    tallies.push(walk.finish().unwrap());
    assemble(layout, tallies).unwrap()
}

fn blockstore(form: KeyForm) -> BlockstoreLayout {
    BlockstoreLayout::new(form)
}

/// Heights near the borders of digit counts and of orderedcode lengths as often as others.
fn height() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..2_000,
        (0_u32..19, 0_u64..3).prop_map(|(digits, near)| 10_u64.pow(digits) + near - 1),
        (0_u32..63, 0_u64..3).prop_map(|(bits, near)| (1_u64 << bits) + near - 1),
    ]
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let digits = prop_oneof![Just(b'0'), Just(b'9'), Just(b':'), Just(b'/'), any::<u8>()];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (
            prop_oneof![
                Just("H:"),
                Just("P:"),
                Just("C:"),
                Just("BH:"),
                Just("lb/"),
                Just("tx.height/"),
                Just("validatorsKey:"),
                Just("\u{0}"),
                Just("\u{1}"),
                Just("block_eventsblock.height\u{0}\u{1}")
            ],
            proptest::collection::vec(digits, 0..24)
        )
            .prop_map(|(prefix, rest)| [prefix.as_bytes(), &rest].concat()),
    ]
}

/// The stores that have both layouts.
fn stores(form: KeyForm) -> [Box<dyn Layout>; 3] {
    [
        Box::new(blockstore(form)),
        Box::new(StateLayout::new(form)),
        Box::new(EvidenceLayout::new(form)),
    ]
}

/// What becomes of a key on the way to another layout; `None` for one that is refused.
fn rekeyed(from: &dyn Layout, to: &dyn Layout, key: &[u8]) -> Option<Vec<u8>> {
    let rule = Rekey::new(from, to).unwrap();
    let mut keys = Vec::new();
    let put = rule.pass().entry(key, b"value", &mut |_, key, value| {
        assert_eq!(value, b"value");
        keys.push(key.to_vec());
        Ok(())
    });
    match put {
        Ok(()) => {
            assert_eq!(keys.len(), 1, "{key:?}");
            keys.pop()
        }
        Err(error) => {
            assert_eq!((error.kind(), keys.len()), (Kind::InvalidInput, 0));
            None
        }
    }
}

/// Keys of either layout, some of them a little wrong.
fn stored_key() -> impl Strategy<Value = Vec<u8>> {
    let ordered = (0_i64..13, height(), any::<u16>(), any::<bool>(), any::<bool>()).prop_map(
        |(number, height, index, has_index, has_hash)| {
            let mut key = Vec::new();
            transload_codec::ordered::put_int64(&mut key, number);
            if let Ok(height) = i64::try_from(height)
                && !(number == 5 && has_hash)
            {
                transload_codec::ordered::put_int64(&mut key, height);
            }
            if has_hash {
                transload_codec::ordered::put_string(&mut key, &[index.to_be_bytes(); 16].concat());
            } else if has_index {
                transload_codec::ordered::put_int64(&mut key, i64::from(index));
            }
            key
        },
    );
    let text =
        (any::<prop::sample::Index>(), height(), any::<u16>()).prop_map(|(form, height, index)| {
            let hash = format!("{index:04x}").repeat(16);
            let forms = [
                format!("H:{height}"),
                format!("P:{height}:{index}"),
                format!("C:{height}"),
                format!("SC:{height}"),
                format!("EC:{height}"),
                format!("BH:{hash}"),
                format!("validatorsKey:{height}"),
                format!("consensusParamsKey:{height}"),
                format!("abciResponsesKey:{height}"),
                format!("\u{0}{height:016X}/{}", hash.to_uppercase()),
                format!("\u{1}{height:016X}/{}", hash.to_uppercase()),
                "blockStore".to_owned(),
                "stateKey".to_owned(),
            ];
            form.get(&forms).clone().into_bytes()
        });
    prop_oneof![2 => ordered, 2 => text, 1 => any_key()]
}

proptest! {
    #[test]
    fn every_key_goes_to_the_other_layout_and_back_or_is_refused(
        keys in proptest::collection::btree_set(stored_key(), 1..30),
    ) {
        let (old, new) = (stores(KeyForm::V1), stores(KeyForm::V2));
        for (old, new) in old.iter().zip(&new) {
            for (from, to) in [(&**old, &**new), (&**new, &**old)] {
                let mut there = std::collections::BTreeSet::new();
                for key in keys.iter().filter(|key| key.as_slice() != b"version") {
                    let Some(other) = rekeyed(from, to, key) else {
                        // Only one that has no other meaning there may be carried as it is.
                        let (table, _) = place(from, key, b"").unwrap();
                        prop_assert!(from.tables()[table].name.as_str().ends_with("/unknown"));
                        continue;
                    };
                    prop_assert_eq!(place(from, key, b""), place(to, &other, b""));
                    let back = rekeyed(to, from, &other);
                    prop_assert_eq!(back.as_ref(), Some(key));
                    prop_assert!(there.insert(other), "two keys became one: {:?}", key);
                }
            }
        }
    }

    #[test]
    fn both_layouts_of_every_store_have_the_same_tables_however_they_are_divided(
        keys in proptest::collection::btree_set(stored_key(), 1..60),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (old, new) = (stores(KeyForm::V1), stores(KeyForm::V2));
        for (old, new) in old.iter().zip(&new) {
            let (mut v1, mut v2) = (Entries::new(), Entries::new());
            for key in &keys {
                if let Some(other) = rekeyed(&**old, &**new, key) {
                    v1.insert(key.clone(), b"value".to_vec());
                    v2.insert(other, b"value".to_vec());
                }
            }
            let cut = |entries: &Entries| -> Vec<Vec<u8>> {
                let keys: Vec<_> = entries.keys().collect();
                if keys.is_empty() {
                    return Vec::new();
                }
                cuts.iter().map(|cut| cut.get(&keys).to_vec()).collect()
            };
            let whole = tables(&**old, &v1, &[]);
            prop_assert_eq!(&whole, &tables(&**new, &v2, &[]));
            prop_assert_eq!(&whole, &tables(&**old, &v1, &cut(&v1)));
            prop_assert_eq!(&whole, &tables(&**new, &v2, &cut(&v2)));
        }
    }

    #[test]
    fn any_key_comes_back_from_its_record(key in any_key(), value in any_key()) {
        let layouts: [&dyn Layout; 9] = [
            &blockstore(KeyForm::V1), &blockstore(KeyForm::V2),
            &StateLayout::new(KeyForm::V1), &StateLayout::new(KeyForm::V2),
            &EvidenceLayout::new(KeyForm::V1), &EvidenceLayout::new(KeyForm::V2),
            &LightLayout::new(KeyForm::V1), &LightLayout::new(KeyForm::V2),
            &TxIndexLayout::new(),
        ];
        for layout in layouts {
            let (table, canonical) = place(layout, &key, &value).expect("a record");
            prop_assert_eq!(&physical(layout, table, &canonical), &key, "{}", layout.id());
            let aligned = layout.align_split(&key);
            prop_assert!(key.starts_with(aligned));
        }
    }

    #[test]
    fn both_layouts_of_a_block_store_have_the_same_tables(
        heights in proptest::collection::btree_set(height(), 1..40),
        parts in 1_u32..14,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (old, new) = (blockstore(KeyForm::V1), blockstore(KeyForm::V2));
        let (mut v1, mut v2) = (Entries::new(), Entries::new());
        let mut put = |table: usize, canonical: &[u8]| {
            let value = [canonical, &[u8::try_from(table).unwrap()]].concat();
            v1.insert(physical(&old, table, canonical), value.clone());
            v2.insert(physical(&new, table, canonical), value);
        };
        for height in heights {
            let at = height.to_be_bytes();
            for table in [0, 2, 3, 4] {
                put(table, &at);
            }
            for index in 0..parts {
                put(1, &[&at[..], &index.to_be_bytes()].concat());
            }
            put(5, &[at, [0; 8], [255; 8], at].concat());
        }
        put(6, b"blockStore");
        v1.insert(b"version".to_vec(), b"v1".to_vec());
        v2.insert(b"version".to_vec(), b"v2".to_vec());
        let keys = |entries: &Entries| -> Vec<Vec<u8>> {
            cuts.iter().map(|cut| cut.get(&entries.keys().collect::<Vec<_>>()).to_vec()).collect()
        };
        let whole = tables(&old, &v1, &[]);
        prop_assert_eq!(&whole, &tables(&new, &v2, &[]));
        prop_assert_eq!(&whole, &tables(&old, &v1, &keys(&v1)));
        prop_assert_eq!(&whole, &tables(&new, &v2, &keys(&v2)));
    }

    #[test]
    fn transactions_of_one_height_are_never_torn_apart(
        heights in proptest::collection::btree_set(height(), 1..20),
        txs in 1_u32..25,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let layout = TxIndexLayout::new();
        let mut entries = Entries::new();
        for height in heights {
            for index in 0..txs {
                let key = format!("tx.height/{height}/{height}/{index}$es$0");
                entries.insert(key.into_bytes(), vec![7; 32]);
            }
        }
        let cuts: Vec<_> = cuts
            .iter()
            .map(|cut| cut.get(&entries.keys().collect::<Vec<_>>()).to_vec())
            .collect();
        prop_assert_eq!(tables(&layout, &entries, &[]), tables(&layout, &entries, &cuts));
    }
}

#[test]
fn keys_of_real_nodes_go_to_their_tables() {
    let layout = blockstore(KeyForm::V1);
    for (key, table) in [
        ("H:1", "blockstore/meta"),
        ("P:100:0", "blockstore/part"),
        ("C:0", "blockstore/commit"),
        ("SC:300", "blockstore/seen_commit"),
        ("EC:7", "blockstore/extended_commit"),
        ("blockStore", "blockstore/state"),
        ("H:01", "blockstore/unknown"),
        ("H:", "blockstore/unknown"),
        ("H:9223372036854775808", "blockstore/unknown"),
        ("P:1", "blockstore/unknown"),
        ("P:1:4294967296", "blockstore/unknown"),
        ("TH:00", "blockstore/unknown"),
        ("BH:00", "blockstore/unknown"),
        (
            "BH:01B66D1ABFFBC75A8B5AE2CE4DF0A3F470D8E12920DFC33D776E84F84E5C7AF4",
            "blockstore/unknown",
        ),
        (
            "BH:01b66d1abffbc75a8b5ae2ce4df0a3f470d8e12920dfc33d776e84f84e5c7af4",
            "blockstore/hash_index",
        ),
    ] {
        assert_eq!(table_of(&layout, key.as_bytes(), b""), table, "{key}");
    }
    assert_eq!(place(&layout, b"version", b"v1"), None);
}

#[test]
fn the_vectors_of_orderedcode_keys_are_met() {
    let layout = blockstore(KeyForm::V2);
    for (height, key) in [
        (1_u64, "8081"),
        (64, "80c040"),
        (8192, "80e02000"),
        (1_000_000, "80ef4240"),
        (20_000_000, "80f1312d00"),
    ] {
        assert_eq!(hex(&physical(&layout, 0, &height.to_be_bytes())), key);
    }
    let results = StateLayout::new(KeyForm::V2);
    assert_eq!(hex(&physical(&results, 2, &7_u64.to_be_bytes())), "8887");
    let part = [&300_u64.to_be_bytes()[..], &1_u32.to_be_bytes()].concat();
    assert_eq!(hex(&physical(&layout, 1, &part)), "81c12c81");
    assert_eq!(physical(&blockstore(KeyForm::V1), 1, &part), b"P:300:1");
}

#[test]
fn the_golden_keys_of_every_table_are_met_in_both_layouts() {
    let hash: Vec<u8> = (0..32).map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    let text = hex(&hash);
    let height = 8192_u64.to_be_bytes();
    let part = [&height[..], &64_u32.to_be_bytes()].concat();
    let marked = [&height[..], &hash].concat();
    // 00 is followed by ff, ff by 00, and 00 01 ends a string.
    let ordered_hash = format!("00ffff00{}0001", &text[4..]);
    let entry = |table: usize, canonical: &'_ [u8], v1: &str, v2: &str| {
        (table, canonical.to_vec(), v1.to_owned(), v2.to_owned())
    };
    let tables = [
        vec![
            entry(0, &height, "H:8192", "80e02000"),
            entry(1, &part, "P:8192:64", "81e02000c040"),
            entry(2, &height, "C:8192", "82e02000"),
            entry(3, &height, "SC:8192", "83e02000"),
            entry(4, &height, "EC:8192", "84e02000"),
            entry(5, &hash, &format!("BH:{text}"), &format!("85{ordered_hash}")),
            entry(6, b"blockStore", "blockStore", &hex(b"blockStore")),
        ],
        vec![
            entry(0, &height, "validatorsKey:8192", "86e02000"),
            entry(1, &height, "consensusParamsKey:8192", "87e02000"),
            entry(2, &height, "abciResponsesKey:8192", "88e02000"),
            entry(3, b"stateKey", "stateKey", &hex(b"stateKey")),
        ],
        vec![
            entry(
                0,
                &marked,
                &format!("\u{0}0000000000002000/{}", text.to_uppercase()),
                &format!("89e02000{ordered_hash}"),
            ),
            entry(
                1,
                &marked,
                &format!("\u{1}0000000000002000/{}", text.to_uppercase()),
                &format!("8ae02000{ordered_hash}"),
            ),
        ],
    ];
    for (store, tables) in tables.iter().enumerate() {
        for (table, canonical, v1, v2) in tables {
            for (form, expected) in [(KeyForm::V1, hex(v1.as_bytes())), (KeyForm::V2, v2.clone())] {
                let layout = &stores(form)[store];
                let key = physical(&**layout, *table, canonical);
                assert_eq!(hex(&key), expected, "{}", layout.tables()[*table].name);
                assert_eq!(place(&**layout, &key, b""), Some((*table, canonical.clone())));
            }
        }
    }
}

#[test]
fn a_canonical_key_that_no_entry_can_have_is_refused() {
    for form in [KeyForm::V1, KeyForm::V2] {
        let layout = blockstore(form);
        let mut key = Vec::new();
        for canonical in [&b""[..], &[0; 7], &[0; 9], &[0xff; 8]] {
            assert!(layout.physical(0, canonical, &mut key).is_err(), "{canonical:?}");
        }
        assert!(layout.physical(5, &[0; 31], &mut key).is_err());
        assert!(EvidenceLayout::new(form).physical(0, &[0; 41], &mut key).is_err());
    }
    let mut key = Vec::new();
    assert!(TxIndexLayout::new().physical(1, &[0; 13], &mut key).is_err());
    assert!(TxIndexLayout::new().physical(3, &[0xff; 8], &mut key).is_err());
}

#[test]
fn evidence_keys_have_one_canonical_form_in_both_layouts() {
    let old =
        b"\x0000000000000000BC/130ABB5406F17AEDE5B29F06F07BFF403D30192A2046CCC4F670E2CAD04E0248";
    let record = place(&EvidenceLayout::new(KeyForm::V1), old, b"").unwrap();
    assert_eq!((record.0, record.1.len()), (0, 40));
    assert_eq!(record.1[..8], 0xbc_u64.to_be_bytes());
    let new = physical(&EvidenceLayout::new(KeyForm::V2), record.0, &record.1);
    assert_eq!(new[..3], [0x89, 0xc0, 0xbc]);
    assert_eq!(place(&EvidenceLayout::new(KeyForm::V2), &new, b""), Some(record));
}

#[test]
fn a_transaction_hash_that_looks_like_an_event_is_told_by_its_value() {
    let layout = TxIndexLayout::new();
    let event_like = *b"app.key/some-value-here/1234/567";
    assert_eq!(event_like.len(), 32);
    assert_eq!(table_of(&layout, &event_like, &[9; 32]), "tx_index/event");
    assert_eq!(table_of(&layout, &event_like, &[9; 33]), "tx_index/result");
    for (key, value, table) in [
        (&b"tx.height/2/2/0$es$0"[..], &[1; 32][..], "tx_index/height"),
        (b"tx.height/2/2/0", &[1; 32], "tx_index/height"),
        (b"tx.height/2/3/0$es$0", &[1; 32], "tx_index/event"),
        (b"tx.height/2/2/0$es$0", &[1; 31], "tx_index/unknown"),
        (b"app.creator/a/b/2/0$es$15", &[1; 32], "tx_index/event"),
        (b"block_eventsblock.height\x00\x01\x81", b"\x02", "tx_index/block"),
        (b"block_eventsblock.height\x00\x01\x81", b"\x04", "tx_index/unknown"),
        (b"block_eventsa.b\x00\x01v\x00\x01\x81\x80", b"\x02", "tx_index/block_event"),
        (
            b"block_eventsa.b\x00\x01v\x00\x01\x81BeginBlock\x00\x01",
            b"\x02",
            "tx_index/block_event",
        ),
        (
            b"block_eventsa.b\x00\x01v\x00\x01\x81end_block\x00\x01\x85",
            b"\x02",
            "tx_index/block_event",
        ),
        (b"block_eventsa.b\x00\x01v\x00\x01\x81\x80", b"\x02\x00", "tx_index/unknown"),
        (b"TxIndexerRetainHeightKey", b"\x02", "tx_index/marks"),
    ] {
        assert_eq!(table_of(&layout, key, value), table, "{}", String::from_utf8_lossy(key));
    }
}

#[test]
fn light_blocks_have_one_canonical_form_in_both_layouts() {
    let (old, new) = (LightLayout::new(KeyForm::V1), LightLayout::new(KeyForm::V2));
    let record = place(&old, b"lb/chain-1/00000000000000000042", b"").unwrap();
    let moved = physical(&new, record.0, &record.1);
    assert_eq!(place(&new, &moved, b""), Some(record));
    assert_eq!(table_of(&old, b"lb/chain-1/42", b""), "light/unknown");
    assert_eq!(table_of(&old, b"size", b""), "light/size");
}

#[test]
fn table_names_are_unique_across_the_databases() {
    let mut names = std::collections::BTreeSet::new();
    let layouts: [&dyn Layout; 5] = [
        &blockstore(KeyForm::V1),
        &StateLayout::new(KeyForm::V1),
        &EvidenceLayout::new(KeyForm::V1),
        &LightLayout::new(KeyForm::V1),
        &TxIndexLayout::new(),
    ];
    for layout in layouts {
        for table in layout.tables() {
            assert!(names.insert(table.name.clone()), "{}", table.name);
            assert!(!table.about.is_empty());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
