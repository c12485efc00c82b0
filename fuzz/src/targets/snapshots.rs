//! State-sync snapshots: records, and a stream that is read whole or not at all.

use super::shape::agrees;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write as _;
use transload_chains::snapshots::item::{ExportedNode, ITEM, Item};
use transload_chains::snapshots::record::{Record, SNAPSHOT, SnapshotId};
use transload_chains::snapshots::stream::{Fault, Items};
use transload_chains::snapshots::tree::Rebuilding;
use transload_codec::proto::{put_bytes, put_message, put_varint_field};
use transload_codec::varint::put_uvarint;

/// A key or a record of `snapshots/metadata.db`.
pub(crate) fn record(bytes: &[u8]) {
    if let Some(id) = SnapshotId::of_key(bytes) {
        assert_eq!(id.key(), bytes);
    }
    agrees(&SNAPSHOT, bytes);
    let Ok(record) = Record::decode(bytes) else { return };
    let (mut metadata, mut again) = (Vec::new(), Vec::new());
    for hash in &record.chunk_hashes {
        put_bytes(&mut metadata, 1, *hash);
    }
    put_varint_field(&mut again, 1, record.id.height);
    put_varint_field(&mut again, 2, u64::from(record.id.format));
    put_varint_field(&mut again, 3, record.chunk_hashes.len() as u64);
    put_bytes(&mut again, 4, &record.hash);
    put_message(&mut again, 5, &metadata);
    assert_eq!(again == bytes, Record::check_canonical(bytes).is_ok());
}

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let id = SnapshotId { height: 250, format: 3 };
    let sample = include_bytes!("../../../crates/chains/testdata/snapshots/format-3/record");
    vec![id.key().to_vec(), sample.to_vec()]
}

/// The bytes as an item, as a compressed stream, and as what stands in one.
pub(crate) fn stream(bytes: &[u8]) {
    agrees(&ITEM, bytes);
    if let Ok(item) = Item::decode(bytes) {
        assert_eq!(encode(&item), bytes);
    }
    read(bytes);
    let compressed = compress(bytes);
    let (whole, again) = read(&compressed);
    assert!(!whole || again == bytes, "what was read isn't what was written");
    // One that is cut off is never whole.
    let cut = compressed.len().saturating_sub(1 + bytes.len() % 7);
    assert!(!read(&compressed[..cut]).0);
}

/// Reads a stream as the verification does; whether it is whole, and its items written again.
fn read(bytes: &[u8]) -> (bool, Vec<u8>) {
    let mut items = Items::new(bytes);
    let (mut again, mut tree) = (Vec::new(), Rebuilding::default());
    loop {
        match items.next() {
            Ok(Some(item)) => {
                let item_again = encode(&item);
                put_uvarint(&mut again, item_again.len() as u64);
                again.extend(item_again);
                match item {
                    Item::Node(node) if tree.take(&node, u64::MAX).is_ok() => {}
                    _ => {
                        let _ = std::mem::take(&mut tree).root();
                    }
                }
            }
            Ok(None) => return (true, again),
            Err(Fault::Broken { .. }) => return (false, again),
            Err(Fault::Read(error)) => panic!("memory can be read: {error}"),
        }
    }
}

fn encode(item: &Item<'_>) -> Vec<u8> {
    let (mut inner, mut out) = (Vec::new(), Vec::new());
    let number = match *item {
        Item::Store(name) => {
            put_bytes(&mut inner, 1, name);
            1
        }
        Item::Node(ExportedNode { height, version, key, value }) => {
            put_bytes(&mut inner, 1, key);
            put_bytes(&mut inner, 2, value);
            put_varint_field(&mut inner, 3, version);
            put_varint_field(&mut inner, 4, u64::from(height));
            2
        }
        Item::Extension { name, format } => {
            put_bytes(&mut inner, 1, name);
            put_varint_field(&mut inner, 2, u64::from(format));
            3
        }
        Item::Payload(payload) => {
            put_bytes(&mut inner, 1, payload);
            4
        }
    };
    put_message(&mut out, number, &inner);
    out
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(7));
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

pub(crate) fn stream_seeds() -> Vec<Vec<u8>> {
    let leaf = |key| Item::Node(ExportedNode { height: 0, version: 7, key, value: b"value" });
    let inner = ExportedNode { height: 1, version: 7, key: b"b", value: b"" };
    let items = [
        Item::Store(b"bank"),
        leaf(b"a"),
        leaf(b"b"),
        Item::Node(inner),
        Item::Extension { name: b"wasm", format: 1 },
        Item::Payload(b"code"),
    ];
    let mut seeds: Vec<Vec<u8>> = items.iter().map(encode).collect();
    let mut plain = Vec::new();
    for item in &seeds {
        put_uvarint(&mut plain, item.len() as u64);
        plain.extend(item);
    }
    seeds.push(compress(&plain));
    seeds.push(plain);
    seeds
}
