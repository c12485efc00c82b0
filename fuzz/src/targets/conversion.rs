//! IAVL conversion: any store, most of it of nodes with right hashes, is converted or refused;
//! what is converted says the same as before and has nothing left to convert.

use crate::input::Input;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use transload_chains::iavl::convert::{ConvertOptions, FastIndex, Gaps, Unreachable, prepare};
use transload_chains::iavl::keys::{NodeId, store_prefix};
use transload_chains::iavl::logical::logical_root;
use transload_chains::iavl::node::{HASH_BYTES, Node, inner_hash};
use transload_codec::varint::{put_uvarint, put_varint};
use transload_store::memory::MemoryStore;
use transload_store::{KeyRange, Scan, Snapshot, Store as _};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

struct Made {
    hash: [u8; HASH_BYTES],
    version: u64,
    height: u8,
    size: u64,
    key: Vec<u8>,
}

fn head(height: u8, size: u64, version: Option<u64>, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [Some(u64::from(height)), Some(size), version].into_iter().flatten() {
        put_varint(&mut out, number.cast_signed());
    }
    put_uvarint(&mut out, key.len() as u64);
    out.extend(key);
    out
}

/// Nodes, roots, orphans and anything else, as the input says.
fn entries(input: &mut Input<'_>) -> Entries {
    let prefix = store_prefix(b"s");
    let mut entries = Entries::new();
    let mut made: Vec<Made> = Vec::new();
    while !input.is_empty() && entries.len() < 64 {
        let mut pick = |made: &[Made]| {
            let at = usize::from(input.byte());
            if made.is_empty() { None } else { Some(at % made.len()) }
        };
        let (one, other) = (pick(&made), pick(&made));
        let version = u64::from(input.byte() % 8);
        let (entry, value) = match (input.byte() % 8, one, other) {
            (0, ..) => {
                let key = input.piece();
                let mut value = head(0, 1, Some(version), key);
                put_uvarint(&mut value, 1);
                value.push(input.byte());
                let any = NodeId::legacy([0; HASH_BYTES]);
                let hash = Node::decode(any, &value).expect("a leaf as it is written").hash();
                made.push(Made { hash, version, height: 0, size: 1, key: key.to_vec() });
                (NodeId::legacy(hash).bytes().to_vec(), value)
            }
            (1..=3, Some(left), Some(right)) if made[left].height.max(made[right].height) < 9 => {
                let (left, right) = (&made[left], &made[right]);
                let height = left.height.max(right.height) + 1;
                let size = left.size + right.size;
                let version = version.max(left.version).max(right.version);
                let mut value = head(height, size, Some(version), &right.key);
                for child in [left, right] {
                    put_uvarint(&mut value, HASH_BYTES as u64);
                    value.extend(child.hash);
                }
                let hash = inner_hash(height, size, version, &left.hash, &right.hash);
                let key = left.key.clone();
                made.push(Made { hash, version, height, size, key });
                (NodeId::legacy(hash).bytes().to_vec(), value)
            }
            (4, Some(root), _) => {
                let entry = [b"r".as_slice(), &version.to_be_bytes()].concat();
                (entry, made[root].hash.to_vec())
            }
            (5, Some(node), _) => {
                let hash = made[node].hash;
                let entry =
                    [b"o".as_slice(), &7_u64.to_be_bytes(), &version.to_be_bytes(), &hash].concat();
                (entry, hash.to_vec())
            }
            (6, Some(left), Some(right)) => {
                // A node of the 1.x form that names one or two of the 0.x form.
                let (left, right) = (&made[left], &made[right]);
                let height = left.height.max(right.height) + 1;
                let size = left.size + right.size;
                let hash = inner_hash(height, size, version, &left.hash, &right.hash);
                let mut value = head(height, size, None, &right.key);
                put_uvarint(&mut value, HASH_BYTES as u64);
                value.extend(hash);
                put_varint(&mut value, 3);
                for child in [left, right] {
                    put_uvarint(&mut value, HASH_BYTES as u64);
                    value.extend(child.hash);
                }
                (NodeId::new(version, u32::from(input.byte() % 3)).bytes().to_vec(), value)
            }
            _ => (input.piece().to_vec(), input.piece().to_vec()),
        };
        entries.insert([prefix.as_slice(), &entry].concat(), value);
    }
    entries
}

fn read(snapshot: &dyn Snapshot) -> Entries {
    let mut scan = Scan::new(snapshot, &KeyRange::all()).expect("memory can be read");
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next().expect("keys ascend") {
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries
}

/// Converts, and looks at what comes out.
pub(crate) fn convert(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let consents = input.byte();
    let source = entries(&mut input);
    // Nothing is spilled at this size, so the folder is never looked at.
    let scratch_dir = PathBuf::from("/nonexistent");
    let options = ConvertOptions {
        scratch_dir: scratch_dir.clone(),
        memory_bytes_max: 1 << 30,
        workers: 1,
        fast_index: FastIndex::Carry,
        unreachable: if consents & 1 == 0 { Unreachable::Refuse } else { Unreachable::LeaveOut },
        gaps: if consents & 2 == 0 { Gaps::Refuse } else { Gaps::Keep },
    };
    let snapshot =
        |entries: &Entries| MemoryStore::with(entries.clone()).snapshot().expect("memory");
    let before = snapshot(&source);
    let Ok(converted) = prepare(Arc::clone(&before), &options, &|_, _| true) else { return };
    let result = read(&converted);
    let root = |snapshot: &dyn Snapshot| {
        logical_root(snapshot, &scratch_dir, 1 << 30, &|_, _| true).ok().map(|table| table.root())
    };
    let known = root(&*before);
    if known.is_some() {
        assert_eq!(root(&converted), known);
    }
    let strict = ConvertOptions { unreachable: Unreachable::Refuse, gaps: Gaps::Refuse, ..options };
    let again = prepare(snapshot(&result), &strict, &|_, _| true).expect("nothing to convert");
    assert_eq!(read(&again), result);
    assert!(again.report().stores.iter().all(|store| store.nodes + store.roots == 0));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Leaves a and b, an inner node over them, roots, an orphan; then the same with a node of the
    // 1.x form on top.
    let tree = [
        vec![3],
        vec![0, 0, 1, 0, 1, b'a', b'x'],
        vec![0, 0, 1, 0, 1, b'b', b'x'],
        vec![0, 1, 1, 1],
        vec![2, 2, 1, 4],
        vec![2, 2, 2, 4],
        vec![0, 0, 3, 5],
    ];
    let tree = tree.concat();
    let upgraded = [tree.as_slice(), &[0, 1, 3, 6, 1]].concat();
    vec![tree, upgraded]
}
