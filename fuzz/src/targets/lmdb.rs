//! LMDB files: any bytes, and files whose meta pages and page headers are put right, so that
//! branch and leaf pages are reached.

use super::files::with_file;
use crate::input::Input;
use std::path::Path;
use transload_drivers::lmdb::LmdbDriver;
use transload_model::engine::Engine;
use transload_store::{Driver, KeyRange, Kind, Result, Scan, SourceOptions};

/// The smallest page that LMDB has.
const PAGE_BYTES: usize = 256;

const MAGIC: u32 = 0xbeef_c0de;
const META: u16 = 8;

/// Reads everything that can be read of the file at `path`; how many entries there are.
fn read_all(path: &Path) -> Result<u64> {
    let options = SourceOptions {
        scratch_dir: std::path::PathBuf::new(),
        space: None,
        memory_bytes_max: 1 << 20,
    };
    let store = LmdbDriver.open_source(path, &options)?;
    assert_eq!(store.engine(), Engine::Lmdb);
    let snapshot = store.snapshot()?;
    let points = snapshot.split_points(&KeyRange::all(), 1)?;
    assert!(points.is_sorted());
    let mut scan = Scan::new(&*snapshot, &KeyRange::all())?;
    let mut keys = Vec::new();
    while let Some((key, _)) = scan.next()? {
        keys.push(key.to_vec());
    }
    let _complete = scan.receipt()?;
    for key in &keys {
        // Branch pages may send a look for a key elsewhere than a walk; neither may panic.
        let _ = snapshot.get(key);
    }
    Ok(keys.len() as u64)
}

fn attempt(bytes: &[u8]) {
    with_file(bytes, |path| {
        if let Err(error) = read_all(path) {
            assert!(
                matches!(
                    error.kind(),
                    Kind::Corrupt | Kind::UnknownFormat | Kind::InvalidInput | Kind::Limit
                ),
                "{error}"
            );
        }
    });
}

/// The record of a tree.
fn tree_record(depth: u16, entries: u64, root: u64) -> Vec<u8> {
    let mut record = vec![0; 48];
    record[6..8].copy_from_slice(&depth.to_le_bytes());
    record[16] = 1;
    record[32..40].copy_from_slice(&entries.to_le_bytes());
    record[40..48].copy_from_slice(&root.to_le_bytes());
    record
}

fn meta_page(transaction: u64, depth: u16, entries: u64, root: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    page[10..12].copy_from_slice(&META.to_le_bytes());
    page[16..20].copy_from_slice(&MAGIC.to_le_bytes());
    page[20] = 1;
    page[40..44].copy_from_slice(&256_u32.to_le_bytes());
    page[88..136].copy_from_slice(&tree_record(depth, entries, root));
    page[144..152].copy_from_slice(&transaction.to_le_bytes());
    page
}

/// A file as it is, and one whose metas say what the input's first bytes choose and whose pages
/// carry their own numbers.
pub(crate) fn tree(bytes: &[u8]) {
    attempt(bytes);
    let mut input = Input::new(bytes);
    let (depth, root) = (input.byte() % 34, input.byte() % 16);
    let entries = u64::from(input.byte());
    let root = if depth == 0 { u64::MAX } else { u64::from(root) };
    let mut file = meta_page(1, u16::from(depth), entries, root);
    file.extend(meta_page(0, 0, 0, u64::MAX));
    while !input.is_empty() {
        let number = (file.len() / PAGE_BYTES) as u64;
        file.extend(number.to_le_bytes());
        file.extend(input.take(PAGE_BYTES - 8));
        file.resize(file.len().next_multiple_of(PAGE_BYTES), 0);
    }
    attempt(&file);
}

fn two_bytes(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("pages are small").to_le_bytes()
}

/// A page without its number: flags, and nodes from its end.
fn page(flags: u16, nodes: &[Vec<u8>]) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    let mut upper = PAGE_BYTES;
    for (index, node) in nodes.iter().enumerate() {
        upper -= node.len();
        page[upper..upper + node.len()].copy_from_slice(node);
        page[16 + 2 * index..18 + 2 * index].copy_from_slice(&two_bytes(upper));
    }
    page[10..12].copy_from_slice(&flags.to_le_bytes());
    page[12..14].copy_from_slice(&two_bytes(16 + 2 * nodes.len()));
    page[14..16].copy_from_slice(&two_bytes(upper));
    page.split_off(8)
}

fn node(low: u32, flags: u16, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut node = low.to_le_bytes().to_vec();
    node.extend(flags.to_le_bytes());
    node.extend(two_bytes(key.len()));
    node.extend(key);
    node.extend(value);
    node
}

fn leaf(key: &[u8], value: &[u8], flags: u16) -> Vec<u8> {
    node(u32::try_from(value.len()).expect("they are short"), flags, key, value)
}

pub(crate) fn tree_seeds() -> Vec<Vec<u8>> {
    let two = page(2, &[leaf(b"a", b"one", 0), leaf(b"b", b"", 0)]);
    let one = page(2, &[leaf(b"c", b"three", 0)]);
    let branch = page(1, &[node(2, 0, b"", b""), node(3, 0, b"c", b"")]);
    let long = page(2, &[node(300, 1, b"k", &4_u64.to_le_bytes())]);
    let mut overflow = vec![0; 2 * PAGE_BYTES - 8];
    overflow[2] = 4;
    overflow[4] = 2;
    let named = page(2, &[leaf(b"db", &tree_record(1, 2, 3), 2)]);
    vec![
        [&[0, 0, 0][..]].concat(),
        [&[1, 2, 2][..], &two].concat(),
        [&[2, 4, 3][..], &two, &one, &branch].concat(),
        [&[1, 3, 1][..], &two, &long, &overflow].concat(),
        [&[1, 2, 1][..], &named, &two].concat(),
        meta_page(1, 0, 0, u64::MAX),
    ]
}
