//! The converted database, read as a snapshot.

use crate::model::{Model, STORE, versions};
use crate::{Entries, convert_with, read, read_range};
use proptest::prelude::*;
use transload_chains::iavl::convert::FastIndex;
use transload_chains::iavl::keys::{NodeId, store_prefix};
use transload_chains::iavl::node::leaf_hash;
use transload_codec::varint::{put_uvarint, put_varint};
use transload_store::{KeyRange, Snapshot as _};

fn entries(versions: &[Vec<crate::model::Change>]) -> Entries {
    let mut entries = Model::new(1, versions).legacy(&|_| true);
    let prefix = store_prefix(STORE);
    for (entry, value) in [
        (b"fkey".as_slice(), b"fast".as_slice()),
        (b"mother", b"kept"),
        (b"mstorage_version", b"1.1.0-7"),
        (b"mstorage_version2", b"kept"),
        (b"z", b"kept"),
    ] {
        entries.insert([prefix.as_slice(), entry].concat(), value.to_vec());
    }
    entries.insert(b"a".to_vec(), b"before all stores".to_vec());
    entries.insert(b"t".to_vec(), b"after all stores".to_vec());
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_any_key_and_any_division_say_the_same(
        versions in versions(),
        picks in proptest::collection::vec((any::<u64>(), 0..3_usize), 2..6),
        fast_index in prop_oneof![Just(FastIndex::Carry), Just(FastIndex::LeaveOut)],
        chunk_bytes in 1..2_000_u64,
    ) {
        let source = entries(&versions);
        let (converted, _folder) =
            convert_with(&source, |options| options.fast_index = fast_index).unwrap();
        let whole = read(&converted);
        // Keys of either form, and keys just beside them.
        let known: Vec<&Vec<u8>> = source.keys().chain(whole.keys()).collect();
        let mut bounds: Vec<Vec<u8>> = picks
            .iter()
            .map(|(pick, change)| {
                let mut key = known[usize::try_from(*pick).unwrap() % known.len()].clone();
                match change {
                    0 => {}
                    1 => key.push(0),
                    _ => drop(key.pop()),
                }
                key
            })
            .collect();
        bounds.sort();
        for pair in bounds.windows(2) {
            let range = KeyRange::new(pair[0].clone(), pair[1].clone());
            let expected: Entries =
                whole.range(pair[0].clone()..pair[1].clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(read_range(&converted, &range), expected);
            prop_assert_eq!(converted.get(&pair[0]).unwrap(), whole.get(&pair[0]).cloned());
        }
        for key in known {
            prop_assert_eq!(converted.get(key).unwrap(), whole.get(key).cloned());
        }
        let points = converted.split_points(&KeyRange::all(), chunk_bytes).unwrap();
        prop_assert!(points.is_sorted());
        let mut joined = Entries::new();
        for range in KeyRange::all().split_at(&points) {
            joined.extend(read_range(&converted, &range));
        }
        prop_assert_eq!(joined, whole);
    }
}

#[test]
fn the_fast_index_goes_with_its_version_or_stays_with_it() {
    let source = entries(&[vec![]]);
    let key = |entry: &str| [store_prefix(STORE).as_slice(), entry.as_bytes()].concat();
    for (choice, stays) in [(FastIndex::Carry, true), (FastIndex::LeaveOut, false)] {
        let (converted, _folder) =
            convert_with(&source, |options| options.fast_index = choice).unwrap();
        let found = read(&converted);
        assert_eq!(found.contains_key(&key("fkey")), stays);
        assert_eq!(found.contains_key(&key("mstorage_version")), stays);
        assert!(
            found.contains_key(&key("mother")) && found.contains_key(&key("mstorage_version2"))
        );
    }
}

#[test]
fn a_leaf_of_megabytes_is_converted() {
    use sha2::Digest as _;
    let value = vec![b'v'; 20 << 20];
    let hash = leaf_hash(3, b"large", &sha2::Sha256::digest(&value).into());
    let (mut legacy, mut current) = (Vec::new(), Vec::new());
    for (out, version) in [(&mut legacy, Some(3)), (&mut current, None)] {
        for number in [0, 1].into_iter().chain(version) {
            put_varint(out, number);
        }
        put_uvarint(out, 5);
        out.extend_from_slice(b"large");
        put_uvarint(out, value.len() as u64);
        out.extend_from_slice(&value);
    }
    let prefix = store_prefix(STORE);
    let mut source = Entries::new();
    source.insert([prefix.as_slice(), NodeId::legacy(hash).bytes()].concat(), legacy);
    let root = [prefix.as_slice(), b"r", &3_u64.to_be_bytes()].concat();
    source.insert(root, hash.to_vec());
    let (converted, _folder) =
        convert_with(&source, |options| options.memory_bytes_max = 1 << 20).unwrap();
    let key = [prefix.as_slice(), NodeId::new(3, 1).bytes()].concat();
    assert_eq!(converted.get(&key).unwrap(), Some(current.clone()));
    assert_eq!(read(&converted), Entries::from([(key, current)]));
}
