//! bbolt files: any bytes, and files whose meta pages are right and whose pages carry their own
//! numbers, so that branches, leaves and buckets are reached.

use super::files::{testdata, with_file};
use crate::input::Input;
use std::path::{Path, PathBuf};
use transload_drivers::bbolt::Bbolt;
use transload_model::engine::Engine;
use transload_store::{Driver, KeyRange, Kind, Result, Scan, SourceOptions};

const PAGE_BYTES_MIN: usize = 512;

/// Of empty pieces a short input could make a file of megabytes.
const PAGES_MAX: usize = 24;

const HEADER_BYTES: usize = 16;
const META_BYTES: usize = 80;
const FLAG_META: u16 = 4;
const MAGIC: u32 = 0xed0c_daed;

/// Reads everything that can be read of the file at `path`. What a whole walk gives, searches
/// give too: no checksum covers a page, so this is all that tells a forged tree.
fn read_all(path: &Path) -> Result<()> {
    let options =
        SourceOptions { scratch_dir: PathBuf::new(), space: None, memory_bytes_max: 1 << 20 };
    let store = Bbolt::new(None).open_source(path, &options)?;
    assert_eq!(store.engine(), Engine::Bbolt);
    let snapshot = store.snapshot()?;
    let points = snapshot.split_points(&KeyRange::all(), 1)?;
    assert!(points.is_sorted());
    let mut scan = Scan::new(&*snapshot, &KeyRange::all())?;
    let mut entries = Vec::new();
    while let Some((key, value)) = scan.next()? {
        entries.push((key.to_vec(), value.to_vec()));
    }
    let _complete = scan.receipt()?;
    assert!(entries.windows(2).all(|pair| pair[0].0 < pair[1].0), "keys ascend");
    for (key, value) in &entries {
        assert_eq!(snapshot.get(key)?.as_ref(), Some(value), "{key:?}");
    }
    Ok(())
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

fn meta_page(number: u8, page_bytes: usize, root: u64, pages_end: u64) -> Vec<u8> {
    let mut page = vec![0; page_bytes];
    page[0] = number;
    page[8..10].copy_from_slice(&FLAG_META.to_le_bytes());
    page[16..20].copy_from_slice(&MAGIC.to_le_bytes());
    page[20] = 2;
    page[24..28].copy_from_slice(&u32::try_from(page_bytes).expect("small").to_le_bytes());
    page[32..40].copy_from_slice(&root.to_le_bytes());
    page[56..64].copy_from_slice(&pages_end.to_le_bytes());
    page[64] = number;
    let sum = page[16..72].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    page[72..80].copy_from_slice(&sum.to_le_bytes());
    page
}

/// A file as it is, and one whose first bytes choose the size of a page and the root, and whose
/// pages are pieces, each put at the next free place under its number.
pub(crate) fn tree(bytes: &[u8]) {
    attempt(bytes);
    attempt(&built(bytes));
}

fn built(bytes: &[u8]) -> Vec<u8> {
    let mut input = Input::new(bytes);
    let page_bytes = PAGE_BYTES_MIN << (input.byte() % 4);
    let root = u64::from(input.byte());
    let mut pages: Vec<u8> = Vec::new();
    for _ in 0..PAGES_MAX {
        if input.is_empty() {
            break;
        }
        let number = (pages.len() / page_bytes) as u64 + 2;
        pages.extend(number.to_le_bytes());
        let length = usize::from(input.u16());
        pages.extend(input.take(length));
        pages.resize(pages.len().next_multiple_of(page_bytes), 0);
    }
    let end = (pages.len() / page_bytes) as u64 + 2;
    let metas = [0, 1].map(|number| meta_page(number, page_bytes, root, end)).concat();
    [metas, pages].concat()
}

fn number<const N: usize>(page: &[u8], at: usize) -> usize {
    page[at..at + N].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// A page as a piece: without its number and the zeros at its end.
fn piece(page: &[u8]) -> Vec<u8> {
    let end = page.iter().rposition(|byte| *byte != 0).map_or(8, |last| (last + 1).max(8));
    let length = u16::try_from(end - 8).expect("a page of test data is short");
    [&length.to_le_bytes(), &page[8..end]].concat()
}

/// The pages of a real file, in order.
fn pages(file: &[u8]) -> Vec<&[u8]> {
    let page_bytes = number::<4>(file, 24);
    file.chunks(page_bytes).take(number::<8>(file, 56)).collect()
}

/// A small real file as the target takes it.
fn whole(file: &[u8]) -> Vec<u8> {
    let power = (number::<4>(file, 24) / PAGE_BYTES_MIN).ilog2();
    let root = number::<8>(file, META_BYTES / 2 - 8);
    let mut seed = vec![u8::try_from(power).expect("small"), u8::try_from(root).expect("small")];
    for page in pages(file).into_iter().skip(2) {
        seed.extend(piece(page));
    }
    seed
}

/// A leaf with the one bucket `tm`, whose root is `root`.
fn bucket_leaf(root: u8) -> Vec<u8> {
    let mut page = vec![0; HEADER_BYTES];
    (page[8], page[10]) = (2, 1);
    for field in [1_u32, 16, 2, 16] {
        page.extend(field.to_le_bytes());
    }
    page.extend(b"tm");
    page.extend([root, 0, 0, 0, 0, 0, 0, 0]);
    page.extend([0; 8]);
    page
}

/// A branch of a real file with so many of its leaves, under the numbers that they get here.
fn part_of_tree(file: &[u8], children_max: usize) -> Option<Vec<u8>> {
    const BRANCH: usize = 1;
    const LEAF: usize = 2;
    let pages = pages(file);
    let child = |branch: &[u8], index: usize| number::<8>(branch, HEADER_BYTES + 16 * index + 8);
    let branch = pages.iter().skip(2).find(|page| {
        number::<2>(page, 8) == BRANCH
            && pages.get(child(page, 0)).is_some_and(|below| number::<2>(below, 8) == LEAF)
    })?;
    let children = number::<2>(branch, 10).min(children_max);
    let mut own = branch.to_vec();
    own[10] = u8::try_from(children).ok()?;
    let mut seed = vec![1, 2];
    seed.extend(piece(&bucket_leaf(3)));
    for index in 0..children {
        let at = HEADER_BYTES + 16 * index + 8;
        own[at..at + 8].copy_from_slice(&(4 + index as u64).to_le_bytes());
    }
    seed.extend(piece(&own));
    for index in 0..children {
        seed.extend(piece(pages.get(child(branch, index))?));
    }
    Some(seed)
}

pub(crate) fn tree_seeds() -> Vec<Vec<u8>> {
    let files = testdata("bbolt", |name| name.ends_with(".db"));
    let mut seeds: Vec<Vec<u8>> =
        files.iter().filter(|file| pages(file).len() < 8).map(|file| whole(file)).collect();
    seeds.extend(files.iter().filter_map(|file| part_of_tree(file, 4)));
    // A page that runs over the next two.
    let mut long = vec![0; 900];
    (long[8], long[10], long[12]) = (2, 1, 2);
    long[20] = 16;
    (long[24], long[28], long[29]) = (1, 0x58, 2);
    seeds.push([vec![0, 2], piece(&bucket_leaf(3)), piece(&long)].concat());
    seeds.push(files.into_iter().min_by_key(Vec::len).expect("there is test data"));
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_of_real_pages_is_read_to_its_end() {
        let refusals: Vec<String> = tree_seeds()
            .iter()
            .filter_map(|seed| with_file(&built(seed), read_all).err())
            .map(|error| error.to_string())
            .collect();
        // Several buckets, and a bucket among the entries, are refused; the last seed is no recipe.
        assert_eq!(refusals.len(), 3, "{refusals:#?}");
    }
}
