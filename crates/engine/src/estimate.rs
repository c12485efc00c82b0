//! How long a migration takes and how much space it needs, from a short sample read of the
//! source. The plan says how the figures came about; the run's report says what it really was.

use crate::error::{Error, Result};
use crate::plan::Estimate;
use crate::watch::Watch;
use std::time::{Duration, Instant};
use transload_model::engine::Engine;
use transload_model::layout::Layout;
use transload_model::walk::ChunkWalk;
use transload_observe::PaceLimits;
use transload_store::{KeyRange, Scan, Snapshot};

/// A sample of one database ends after this many bytes.
const SAMPLE_BYTES_MAX: u64 = 16 << 20;

/// A sample of one database ends after this much time.
const SAMPLE_TIME_MAX: Duration = Duration::from_millis(500);

/// Targets may need this much more than their sources, in percent: another engine compresses
/// otherwise, and a log stands beside its table for a while.
const SPACE_MARGIN_PERCENT: u64 = 30;

/// Space for journal, plans, status and prewritten config files.
const STATE_BYTES: u64 = 64 << 20;

/// What a sample read of a database showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Key and value bytes read.
    pub bytes: u64,
    /// What that stretch takes on disk, as the engine says.
    pub bytes_on_disk: u64,
    /// How long it took, hashing included.
    pub time: Duration,
    /// Whether the sample is the whole database.
    pub whole: bool,
}

/// Reads and hashes the beginning of a database.
///
/// # Errors
/// Those of reading.
pub fn sample(snapshot: &dyn Snapshot, layout: &dyn Layout, watch: &Watch) -> Result<Sample> {
    let fault = |error| Error::reading("read a sample", error);
    let began = Instant::now();
    let mut scan = Scan::new(snapshot, &KeyRange::all()).map_err(fault)?;
    let mut walk = ChunkWalk::new(layout);
    let mut sample = Sample::default();
    let mut last = Vec::new();
    loop {
        watch.go_on("read a sample")?;
        let Some((key, value)) = scan.next().map_err(fault)? else {
            sample.whole = true;
            break;
        };
        // A disorder is the verification's to report, with names.
        let _ = walk.push(key, value);
        sample.bytes += (key.len() + value.len()) as u64;
        if sample.bytes >= SAMPLE_BYTES_MAX || began.elapsed() >= SAMPLE_TIME_MAX {
            last = key.to_vec();
            break;
        }
    }
    sample.time = began.elapsed();
    let range = if sample.whole { KeyRange::all() } else { KeyRange::new(Vec::new(), last) };
    sample.bytes_on_disk = snapshot.approximate_bytes(&range).map_err(fault)?;
    Ok(sample)
}

/// How much slower than reading a target takes data in, in percent of the reading time. Rough
/// figures of `docs/performance.md`; the sample can't show them without writing.
fn write_percent(engine: Engine) -> u64 {
    match engine {
        Engine::Pebble1 | Engine::Pebble2 | Engine::Rocksdb => 100,
        Engine::Goleveldb | Engine::Cleveldb => 250,
        Engine::Redb | Engine::Lmdb => 200,
        Engine::Sqlite | Engine::Bbolt | Engine::Badgerdb => 300,
    }
}

/// A database of the estimate.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes of its files.
    pub bytes_on_disk: u64,
    /// Its sample.
    pub sample: Sample,
}

impl Sampled<'_> {
    /// About how many key and value bytes it has.
    fn bytes(&self) -> u64 {
        let Sample { bytes, bytes_on_disk, whole, .. } = self.sample;
        if whole {
            return bytes;
        }
        let all = u128::from(bytes) * u128::from(self.bytes_on_disk);
        u64::try_from(all / u128::from(bytes_on_disk.max(1))).unwrap_or(u64::MAX)
    }
}

/// What the stop means to a validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cadence {
    /// The chain's block interval.
    pub block_interval_millis: Option<u64>,
    /// In how many blocks a validator is jailed for missing too many.
    pub signed_blocks_window: Option<u64>,
}

/// The estimate for these databases, within limits on the pace.
#[must_use]
pub fn estimate(
    databases: &[Sampled<'_>],
    engine: Engine,
    other_volume: bool,
    cadence: Cadence,
    pace: PaceLimits,
) -> Estimate {
    let source_bytes_on_disk: u64 = databases.iter().map(|database| database.bytes_on_disk).sum();
    let (mut read_millis, mut sampled, mut sample_millis) = (0u64, 0u64, 0u64);
    let mut bytes = 0u64;
    for database in databases {
        let millis = u64::try_from(database.sample.time.as_millis()).unwrap_or(u64::MAX).max(1);
        sampled += database.sample.bytes;
        sample_millis += millis;
        bytes = bytes.saturating_add(database.bytes());
        read_millis += if database.sample.whole {
            millis
        } else {
            let all = u128::from(millis) * u128::from(database.bytes_on_disk)
                / u128::from(database.sample.bytes_on_disk.max(1));
            u64::try_from(all).unwrap_or(u64::MAX)
        };
    }
    let copy_millis =
        read_millis.saturating_add(read_millis.saturating_mul(write_percent(engine)) / 100);
    let copy_millis = held_up(copy_millis, pace)
        .max(takes(bytes, pace.read_bytes_per_second_max))
        .max(takes(bytes, pace.write_bytes_per_second_max));
    let verify_millis = held_up(read_millis.saturating_mul(2), pace)
        .max(takes(bytes.saturating_mul(2), pace.read_bytes_per_second_max));
    let copy_seconds = copy_millis.div_ceil(1000);
    let verify_seconds = verify_millis.div_ceil(1000);
    // The swap itself is a few renames and syncs.
    let stop_seconds = copy_seconds + verify_seconds + 1;
    let targets =
        source_bytes_on_disk.saturating_add(source_bytes_on_disk / 100 * SPACE_MARGIN_PERCENT);
    let stop_blocks = cadence
        .block_interval_millis
        .filter(|millis| *millis > 0)
        .map(|millis| stop_seconds.saturating_mul(1000).div_ceil(millis));
    Estimate {
        source_bytes_on_disk,
        staging_bytes_needed: targets.saturating_add(STATE_BYTES),
        target_dir_bytes_needed: if other_volume { targets } else { 0 },
        copy_seconds,
        verify_seconds,
        stop_seconds,
        stop_blocks,
        stop_note: stop_note(stop_blocks, cadence),
        basis: format!(
            "read and hashed {sampled} bytes of {} databases in {sample_millis} ms with one \
             thread; writing {engine} taken at {} % of reading, the verification reads both \
             sides; the chain's checks come on top; space: files as they are plus \
             {SPACE_MARGIN_PERCENT} %{held}",
            databases.len(),
            write_percent(engine),
            held = if pace.any() { "; held to the limits on the pace" } else { "" },
        ),
    }
}

/// Milliseconds that `bytes` take at a limit; none without one.
fn takes(bytes: u64, bytes_per_second_max: u64) -> u64 {
    let millis = (u128::from(bytes) * 1000).checked_div(u128::from(bytes_per_second_max));
    u64::try_from(millis.unwrap_or(0)).unwrap_or(u64::MAX)
}

/// What one thread does in `millis`, within a limit on processor time.
fn held_up(millis: u64, pace: PaceLimits) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    match u64::from(pace.cpu_percent_max).saturating_mul(cores) {
        // A thread has no more than its core.
        0 | 100.. => millis,
        percent => millis.saturating_mul(100) / percent,
    }
}

fn stop_note(stop_blocks: Option<u64>, cadence: Cadence) -> String {
    match (stop_blocks, cadence.signed_blocks_window) {
        (None, _) => "the block interval is not known; compare the stop with your chain's \
                      signed-blocks window"
            .into(),
        (Some(blocks), None) => format!(
            "a validator misses about {blocks} blocks; compare with the chain's signed-blocks \
             window (--signed-blocks-window)"
        ),
        (Some(blocks), Some(window)) => {
            let percent = u128::from(blocks) * 100 / u128::from(window.max(1));
            format!(
                "a validator misses about {blocks} of the {window} blocks of the signed-blocks \
                 window ({percent} %)"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_model::layout::RawLayout;
    use transload_model::record::TableName;
    use transload_store::Store;
    use transload_store::memory::MemoryStore;

    #[test]
    fn a_small_database_is_sampled_whole() {
        let store = MemoryStore::with([(b"k".to_vec(), vec![0; 99])]);
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let snapshot = store.snapshot().unwrap();
        let sample = sample(&*snapshot, &layout, &Watch::default()).unwrap();
        assert!(sample.whole);
        assert_eq!((sample.bytes, sample.bytes_on_disk), (100, 100));
    }

    #[test]
    fn the_time_grows_with_what_was_not_sampled() {
        let sample =
            Sample { bytes: 100, bytes_on_disk: 50, time: Duration::from_secs(1), whole: false };
        let database = Sampled { name: "a.db", bytes_on_disk: 5_000, sample };
        let cadence =
            Cadence { block_interval_millis: Some(5_000), signed_blocks_window: Some(1_000) };
        let estimate =
            estimate(&[database], Engine::Pebble2, false, cadence, PaceLimits::default());
        assert_eq!((estimate.copy_seconds, estimate.verify_seconds), (200, 200));
        assert_eq!(estimate.stop_blocks, Some(81));
        assert!(estimate.stop_note.contains("81 of the 1000"), "{}", estimate.stop_note);
        assert_eq!(estimate.staging_bytes_needed, 6_500 + STATE_BYTES);
        assert_eq!(estimate.target_dir_bytes_needed, 0);
    }

    #[test]
    fn a_limit_on_the_pace_is_in_the_time() {
        // 10,000 key and value bytes; unhindered, copy and verification take 200 s each.
        let sample =
            Sample { bytes: 100, bytes_on_disk: 50, time: Duration::from_secs(1), whole: false };
        let database = Sampled { name: "a.db", bytes_on_disk: 5_000, sample };
        let within = |pace| {
            let estimate = estimate(&[database], Engine::Pebble2, false, Cadence::default(), pace);
            (estimate.copy_seconds, estimate.verify_seconds)
        };
        let none = PaceLimits::default();
        assert_eq!(within(none), (200, 200));
        assert_eq!(within(PaceLimits { read_bytes_per_second_max: 20, ..none }), (500, 1_000));
        assert_eq!(within(PaceLimits { write_bytes_per_second_max: 10, ..none }), (1_000, 200));
        let (copy, verify) = within(PaceLimits { cpu_percent_max: 1, ..none });
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let expected = if cores < 100 { 20_000 / cores } else { 200 };
        assert!(copy == verify && copy.abs_diff(expected) <= 1, "{copy} {verify} {expected}");
    }
}
