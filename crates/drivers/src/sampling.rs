//! Split points and sizes for engines that keep everything in one file and tell nothing about
//! where: pages are picked all over the file, and the first key of each that holds entries is a
//! sample. More bytes are more pages are more samples.
//!
//! A sample is a hint: it may come from a page that is free, old or another table's. Any byte
//! string inside a range divides it without a gap, so a wrong sample costs balance, never
//! entries. Nothing here is read as data.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use transload_store::{Error, KeyRange, Result};

/// Pages read at most: 64 MiB of 4 KiB pages, and chunks enough for any machine.
const PAGES_MAX: u64 = 16_384;

/// A sample keeps this many bytes of a key; a prefix divides as well as the whole.
const SAMPLE_BYTES_MAX: usize = 1024;

/// The first key of a page, or none when the page holds no entries.
pub(crate) type FirstKey = fn(&[u8]) -> Option<&[u8]>;

/// First keys of pages, in order.
pub(crate) struct Samples {
    keys: Vec<Vec<u8>>,
    file_bytes: u64,
}

impl Samples {
    /// Picks pages of the file at `path`.
    pub(crate) fn take(path: &Path, page_bytes: u32, first_key: FirstKey) -> Result<Self> {
        let failed = |error| Error::io("sample", path, error);
        let file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let pages = file_bytes / u64::from(page_bytes.max(1));
        let stride = pages.div_ceil(PAGES_MAX).max(1);
        let mut keys = Vec::new();
        let mut page = vec![0; usize::try_from(page_bytes).unwrap_or(0)];
        let mut at = 0;
        while at < pages {
            // Off the regular stride, so that pages that repeat in a pattern are met evenly.
            let picked = at + scatter(at) % stride;
            at += stride;
            // A page that a writer cuts off meanwhile is no sample.
            if picked >= pages
                || file.read_exact_at(&mut page, picked * u64::from(page_bytes)).is_err()
            {
                continue;
            }
            if let Some(key) = first_key(&page) {
                keys.push(key[..key.len().min(SAMPLE_BYTES_MAX)].to_vec());
            }
        }
        keys.sort_unstable();
        Ok(Self { keys, file_bytes })
    }

    /// The samples in `range`.
    fn within(&self, range: &KeyRange) -> &[Vec<u8>] {
        let from = self.keys.partition_point(|key| *key < range.start);
        let to = match &range.end {
            Some(end) => self.keys.partition_point(|key| key < end),
            None => self.keys.len(),
        };
        self.keys.get(from..to).unwrap_or(&[])
    }

    /// Points that divide `range` into pieces of about `chunk_bytes`; `entries` is the part of
    /// it between the first and the last key that are really there.
    pub(crate) fn split_points(&self, entries: &KeyRange, chunk_bytes: u64) -> Vec<Vec<u8>> {
        let samples = self.within(entries);
        let chunks = self.approximate_bytes(entries) / chunk_bytes.max(1);
        let chunks = usize::try_from(chunks).unwrap_or(usize::MAX).min(samples.len());
        let mut points: Vec<Vec<u8>> = (1..chunks)
            .filter_map(|chunk| samples.get(chunk * samples.len() / chunks).cloned())
            .filter(|point| *point > entries.start)
            .collect();
        points.dedup();
        points
    }

    /// The part of the file that `range` has, by its samples.
    pub(crate) fn approximate_bytes(&self, range: &KeyRange) -> u64 {
        if self.keys.is_empty() {
            return if range.is_empty() { 0 } else { self.file_bytes };
        }
        let part = self.within(range).len() as u128 * u128::from(self.file_bytes);
        u64::try_from(part / self.keys.len() as u128).unwrap_or(u64::MAX)
    }
}

/// A well-mixed number for `at`, the same every time.
fn scatter(at: u64) -> u64 {
    let mixed = (at ^ (at >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(pages: u16) -> (tempfile::TempDir, Samples) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..pages).flat_map(|page| page.to_be_bytes().repeat(32)).collect();
        std::fs::write(&path, bytes).unwrap();
        let samples = Samples::take(&path, 64, |page| page.get(..2)).unwrap();
        (dir, samples)
    }

    #[test]
    fn pieces_have_about_the_size_asked_for() {
        let (_dir, samples) = samples(1_000);
        assert_eq!(samples.approximate_bytes(&KeyRange::all()), 64_000);
        let points = samples.split_points(&KeyRange::all(), 6_400);
        assert_eq!(points.len(), 9);
        for part in KeyRange::all().split_at(&points) {
            let bytes = samples.approximate_bytes(&part);
            assert!((5_000..8_000).contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn a_large_file_is_met_evenly_and_not_read_whole() {
        let (_dir, samples) = samples(50_000);
        assert!(samples.keys.len() as u64 <= PAGES_MAX && samples.keys.len() > 10_000);
        let half = KeyRange { start: Vec::new(), end: Some(25_000u16.to_be_bytes().to_vec()) };
        let bytes = samples.approximate_bytes(&half);
        assert!((1_500_000..1_700_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_file_without_entries_has_no_points() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [0; 6400]).unwrap();
        let samples = Samples::take(&path, 64, |_| None).unwrap();
        assert_eq!(samples.split_points(&KeyRange::all(), 1), Vec::<Vec<u8>>::new());
    }
}
