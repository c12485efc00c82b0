//! Split points out of the separators that a tree of pages has itself.

/// Chooses among the `separators` inside a range that begins with `start` and has so many bytes,
/// evenly, so that pieces have about `chunk_bytes`.
pub(crate) fn chosen(
    separators: &[Vec<u8>],
    start: &[u8],
    range_bytes: u64,
    chunk_bytes: u64,
) -> Vec<Vec<u8>> {
    let chunks = range_bytes / chunk_bytes.max(1);
    let chunks = usize::try_from(chunks).unwrap_or(usize::MAX).min(separators.len() + 1);
    let mut chosen: Vec<Vec<u8>> = (1..chunks)
        .filter_map(|chunk| separators.get(chunk * separators.len() / chunks).cloned())
        .filter(|point| point.as_slice() > start)
        .collect();
    chosen.dedup();
    chosen
}
