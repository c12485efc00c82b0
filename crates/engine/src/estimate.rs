//! How long a migration takes and how much space it needs, from a short sample read of the
//! source. The plan says how the figures came about; the run's report says what it really was.

use crate::copy::Reshaping;
use crate::error::{Error, Kind, Result};
use crate::plan::Estimate;
use crate::tally::aligned_ranges;
use crate::watch::Watch;
use std::time::{Duration, Instant};
use transload_model::engine::Engine;
use transload_model::layout::Layout;
use transload_model::walk::ChunkWalk;
use transload_observe::PaceLimits;
use transload_store::{Judged, KeyRange, Reshape, Scan, Snapshot, Trim, refuse_another_value};

/// A sample of one database ends after this many bytes.
const SAMPLE_BYTES_MAX: u64 = 16 << 20;

/// A sample of one database ends after this much time.
const SAMPLE_TIME_MAX: Duration = Duration::from_secs(1);

/// A sample is taken at so many places: a block store begins with millions of small index
/// entries, which say nothing of the parts of blocks behind them.
const SAMPLE_PLACES: u32 = 16;

/// Targets may need this much more than their sources, in percent: another engine compresses
/// otherwise, and a log stands beside its table for a while.
const SPACE_MARGIN_PERCENT: u64 = 30;

/// Space for journal, plans, status and prewritten config files.
const STATE_BYTES: u64 = 64 << 20;

/// What a sample read of a database showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Entries read.
    pub entries: u64,
    /// Key and value bytes read.
    pub bytes: u64,
    /// Entries of these that are carried.
    pub entries_carried: u64,
    /// Their key and value bytes.
    pub bytes_carried: u64,
    /// What that stretch takes on disk, as the engine says.
    pub bytes_on_disk: u64,
    /// How long it took, hashing included.
    pub time: Duration,
    /// Whether the sample is the whole database.
    pub whole: bool,
}

impl Sample {
    /// About how many entries and how many key and value bytes are carried of a database of so
    /// many bytes on disk.
    #[must_use]
    pub fn extrapolated(&self, bytes_on_disk: u64) -> (u64, u64) {
        (self.all(self.entries_carried, bytes_on_disk), self.all(self.bytes_carried, bytes_on_disk))
    }

    /// The same with no smaller share carried than this one, as (part, whole): a sample of a large
    /// database may miss what is rare.
    pub(crate) fn carrying_at_least(mut self, (share, of): (u64, u64)) -> Self {
        if !self.whole {
            self.entries_carried = self.entries_carried.max(part(self.entries, share, of));
            self.bytes_carried = self.bytes_carried.max(part(self.bytes, share, of));
        }
        self
    }

    /// About how many key and value bytes such a database has.
    fn bytes_to_read(&self, bytes_on_disk: u64) -> u64 {
        self.all(self.bytes, bytes_on_disk)
    }

    /// About what a target of such a database takes on disk.
    fn target_on_disk(&self, bytes_on_disk: u64) -> u64 {
        if self.bytes_carried == self.bytes {
            return bytes_on_disk;
        }
        part(bytes_on_disk, self.bytes_carried, self.bytes)
    }

    fn all(&self, seen: u64, bytes_on_disk: u64) -> u64 {
        if self.whole { seen } else { part(seen, bytes_on_disk, self.bytes_on_disk) }
    }
}

/// `whole` times `share`, divided by `of`.
fn part(whole: u64, share: u64, of: u64) -> u64 {
    let part = u128::from(whole) * u128::from(share) / u128::from(of.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// What becomes of a database's entries on the way.
#[derive(Clone, Copy, Default)]
pub struct OnTheWay<'a> {
    /// They get another layout by this rule.
    pub reshape: Option<&'a dyn Reshape>,
    /// Some are left out by this one.
    pub trim: Option<&'a dyn Trim>,
}

/// Reads and hashes a small database whole, of a large one a little at places all over it, and
/// tries on what it reads what becomes of it.
///
/// # Errors
/// Those of reading; [`Kind::Refused`] for an entry that can't go to the other layout.
pub fn sample(
    snapshot: &dyn Snapshot,
    layout: &dyn Layout,
    way: OnTheWay<'_>,
    watch: &Watch,
) -> Result<Sample> {
    let fault = |error| Error::reading("read a sample", error);
    let ranges = places(snapshot, layout).map_err(fault)?;
    let places = u32::try_from(ranges.len()).unwrap_or(u32::MAX).max(1);
    let mut sample = Sample::default();
    for range in &ranges {
        let (bytes_max, time_max) =
            (SAMPLE_BYTES_MAX / u64::from(places), SAMPLE_TIME_MAX / places);
        let began = Instant::now();
        let end = sample_place((snapshot, layout, way), range, &mut sample, watch, |bytes| {
            bytes >= bytes_max || began.elapsed() >= time_max
        })?;
        sample.time += began.elapsed();
        sample.whole = end.is_none() && *range == KeyRange::all();
        let read = end.map_or_else(
            || range.clone(),
            |last| KeyRange { start: range.start.clone(), end: Some(last) },
        );
        sample.bytes_on_disk += snapshot.approximate_bytes(&read).map_err(fault)?;
    }
    Ok(sample)
}

/// Reads from the beginning of `range` until `enough`; where it stopped before the end.
fn sample_place(
    (snapshot, layout, way): (&dyn Snapshot, &dyn Layout, OnTheWay<'_>),
    range: &KeyRange,
    sample: &mut Sample,
    watch: &Watch,
    enough: impl Fn(u64) -> bool,
) -> Result<Option<Vec<u8>>> {
    let fault = |error| Error::reading("read a sample", error);
    let mut scan = Scan::new(snapshot, range).map_err(fault)?;
    let mut walk = ChunkWalk::new(layout);
    let mut pass = way.reshape.map(Reshaping::new);
    let mut bytes = 0;
    while let Some((key, value)) = scan.next().map_err(fault)? {
        watch.go_on("read a sample")?;
        // A disorder is the verification's to report, with names.
        let _ = walk.push(key, value);
        let length = (key.len() + value.len()) as u64;
        let judged = way.trim.map(|trim| trim.judge(key, value));
        let refused = |error| Error::store(Kind::Refused, "try the transforms", error);
        if let Some(Judged::Becomes(other)) = &judged {
            refuse_another_value(layout, (key, value), other).map_err(refused)?;
        }
        if !matches!(judged, Some(Judged::LeftOut { .. })) {
            sample.entries_carried += 1;
            sample.bytes_carried += length;
            if let Some(pass) = &mut pass {
                pass.entry(key, value, &mut |_, _, _| Ok(())).map_err(refused)?;
            }
        }
        bytes += length;
        sample.bytes += length;
        sample.entries += 1;
        if enough(bytes) {
            return Ok(Some(key.to_vec()));
        }
    }
    Ok(None)
}

/// Everything, or ranges that begin in the middle of each of [`SAMPLE_PLACES`] parts.
fn places(snapshot: &dyn Snapshot, layout: &dyn Layout) -> transload_store::Result<Vec<KeyRange>> {
    let all = KeyRange::all();
    let bytes = snapshot.approximate_bytes(&all)?;
    if bytes <= SAMPLE_BYTES_MAX {
        return Ok(vec![all]);
    }
    let halves = aligned_ranges(snapshot, layout, bytes / u64::from(2 * SAMPLE_PLACES))?;
    let stride = halves.len().div_ceil(SAMPLE_PLACES as usize).max(2);
    let places: Vec<KeyRange> = halves.into_iter().skip(1).step_by(stride).collect();
    Ok(if places.is_empty() { vec![all] } else { places })
}

/// Both sides are read, hashed and compared: in percent of reading and hashing one.
const VERIFY_PERCENT: u64 = 225;

/// The chain's checks, of a block store and of all versions of an application, in percent of
/// reading and hashing them.
const CERTIFY_PERCENT: u64 = 600;

/// About how often the chain's checks read what they check.
const CERTIFY_READS: u64 = 2;

/// What writing a target takes beside reading, in percent of the reading time. Rough figures of
/// `docs/performance.md`; the sample can't show them without writing.
fn write_percent(engine: Engine) -> u64 {
    match engine {
        Engine::Pebble1 | Engine::Pebble2 => 80,
        Engine::Rocksdb => 100,
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

/// What the stop means to a validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cadence {
    /// The chain's block interval.
    pub block_interval_millis: Option<u64>,
    /// In how many blocks a validator is jailed for missing too many.
    pub signed_blocks_window: Option<u64>,
}

/// The estimate for these databases, by so many workers within limits on the pace.
#[must_use]
pub fn estimate(
    databases: &[Sampled<'_>],
    engine: Engine,
    other_volume: bool,
    cadence: Cadence,
    workers: u64,
    pace: PaceLimits,
) -> Estimate {
    let source_bytes_on_disk: u64 = databases.iter().map(|database| database.bytes_on_disk).sum();
    let (mut read_millis, mut sampled, mut sample_millis) = (0u64, 0u64, 0u64);
    let (mut bytes, mut bytes_carried, mut targets) = (0u64, 0u64, 0u64);
    for database in databases {
        let millis = u64::try_from(database.sample.time.as_millis()).unwrap_or(u64::MAX).max(1);
        sampled += database.sample.bytes;
        sample_millis += millis;
        let Sampled { bytes_on_disk, sample, .. } = database;
        bytes = bytes.saturating_add(sample.bytes_to_read(*bytes_on_disk));
        bytes_carried = bytes_carried.saturating_add(sample.extrapolated(*bytes_on_disk).1);
        targets = targets.saturating_add(sample.target_on_disk(*bytes_on_disk));
        let all = if database.sample.whole {
            millis
        } else {
            part(millis, *bytes_on_disk, sample.bytes_on_disk)
        };
        read_millis = read_millis.saturating_add(all);
    }
    let workers = workers.max(1);
    let threads_percent = threads_percent(workers, pace);
    let work_millis = |percent: u64| read_millis.saturating_mul(percent) / threads_percent;
    let reading_millis =
        |times: u64| millis_at(pace.read_bytes_per_second_max, bytes.saturating_mul(times));
    let copy_seconds = work_millis(100 + write_percent(engine))
        .max(reading_millis(1))
        .max(millis_at(pace.write_bytes_per_second_max, bytes_carried))
        .div_ceil(1000);
    let verify_seconds = work_millis(VERIFY_PERCENT).max(reading_millis(2)).div_ceil(1000);
    let certify_seconds =
        work_millis(CERTIFY_PERCENT).max(reading_millis(CERTIFY_READS)).div_ceil(1000);
    // The swap itself is a few renames and syncs.
    let stop_seconds = copy_seconds + verify_seconds + certify_seconds + 1;
    let trimmed = targets < source_bytes_on_disk;
    let targets = targets.saturating_add(targets / 100 * SPACE_MARGIN_PERCENT);
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
        certify_seconds,
        stop_seconds,
        stop_blocks,
        stop_note: stop_note(stop_blocks, cadence),
        basis: format!(
            "read and hashed {sampled} bytes of {} databases in {sample_millis} ms with one \
             thread; in percent of that time: writing {engine} {}, reading both sides back \
             {VERIFY_PERCENT}, the chain's checks {CERTIFY_PERCENT}; divided among {workers} \
             threads{held}; space: files as they are{less} plus {SPACE_MARGIN_PERCENT} %",
            databases.len(),
            write_percent(engine),
            less = if trimmed { ", less what the sample says is left out," } else { "" },
            held = if pace.any() { ", held to the limits on the pace" } else { "" },
        ),
    }
}

/// Milliseconds that `bytes` take at a limit; none without one.
fn millis_at(bytes_per_second_max: u64, bytes: u64) -> u64 {
    let millis = (u128::from(bytes) * 1000).checked_div(u128::from(bytes_per_second_max));
    u64::try_from(millis.unwrap_or(0)).unwrap_or(u64::MAX)
}

/// What the workers get done in percent of one thread, within a limit on processor time.
fn threads_percent(workers: u64, pace: PaceLimits) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = workers.saturating_mul(100);
    match u64::from(pace.cpu_percent_max).saturating_mul(cores) {
        0 => threads,
        allowed => threads.min(allowed),
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
        let sample = sample(&*snapshot, &layout, OnTheWay::default(), &Watch::default()).unwrap();
        assert!(sample.whole);
        assert_eq!((sample.entries, sample.bytes, sample.bytes_on_disk), (1, 100, 100));
        assert_eq!(sample.extrapolated(5_000), (1, 100));
    }

    #[test]
    fn a_large_database_is_sampled_all_over_and_not_at_its_beginning_alone() {
        // As a block store: many small index entries, then parts of blocks.
        let index = (0..20_000u32).map(|n| ([b"B", &n.to_be_bytes()[..]].concat(), vec![0; 35]));
        let parts = (0..500u32).map(|n| ([b"P", &n.to_be_bytes()[..]].concat(), vec![0; 64 << 10]));
        let store = MemoryStore::with(index.chain(parts));
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let snapshot = store.snapshot().unwrap();
        let sample = sample(&*snapshot, &layout, OnTheWay::default(), &Watch::default()).unwrap();
        assert!(!sample.whole);
        assert!(sample.bytes <= SAMPLE_BYTES_MAX * 2, "{}", sample.bytes);
        let mean = sample.bytes / sample.entries;
        assert!(mean > 60_000, "entries of {mean} bytes");
        let disk = snapshot.approximate_bytes(&KeyRange::all()).unwrap();
        let (_, bytes) = sample.extrapolated(disk);
        assert!(bytes.abs_diff(disk) < disk / 4, "{bytes} of {disk}");
    }

    #[test]
    fn a_sample_that_reaches_the_end_from_the_middle_is_not_the_whole() {
        let two = (0..2u8).map(|n| (vec![n], vec![0; 12 << 20]));
        let store = MemoryStore::with(two);
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let snapshot = store.snapshot().unwrap();
        let sample = sample(&*snapshot, &layout, OnTheWay::default(), &Watch::default()).unwrap();
        assert_eq!((sample.entries, sample.whole), (1, false));
        let disk = snapshot.approximate_bytes(&KeyRange::all()).unwrap();
        assert_eq!(sample.extrapolated(disk).0, 2);
    }

    #[test]
    fn the_time_grows_with_what_was_not_sampled() {
        let sample = Sample {
            entries: 1,
            bytes: 100,
            entries_carried: 1,
            bytes_carried: 100,
            bytes_on_disk: 50,
            time: Duration::from_secs(1),
            whole: false,
        };
        assert_eq!(sample.extrapolated(5_000), (100, 10_000));
        let database = Sampled { name: "a.db", bytes_on_disk: 5_000, sample };
        let cadence =
            Cadence { block_interval_millis: Some(5_000), signed_blocks_window: Some(1_000) };
        let pace = PaceLimits::default();
        let one = estimate(&[database], Engine::Rocksdb, false, cadence, 1, pace);
        assert_eq!((one.copy_seconds, one.verify_seconds, one.certify_seconds), (200, 225, 600));
        let estimate = estimate(&[database], Engine::Rocksdb, false, cadence, 2, pace);
        assert_eq!((estimate.copy_seconds, estimate.verify_seconds), (100, 113));
        assert_eq!(estimate.stop_seconds, 100 + 113 + 300 + 1);
        assert_eq!(estimate.stop_blocks, Some(103));
        assert!(estimate.stop_note.contains("103 of the 1000"), "{}", estimate.stop_note);
        assert_eq!(estimate.staging_bytes_needed, 6_500 + STATE_BYTES);
        assert_eq!(estimate.target_dir_bytes_needed, 0);
    }

    #[test]
    fn what_is_left_out_takes_time_to_read_and_no_space() {
        #[derive(Debug)]
        struct Small;
        impl Trim for Small {
            fn judge(&self, _key: &[u8], value: &[u8]) -> Judged {
                match value.len() {
                    ..30 => Judged::LeftOut { table: 0, height: None },
                    _ => Judged::Kept,
                }
            }
        }
        let entries = (0..40u8).map(|n| (vec![n], vec![0; if n < 30 { 9 } else { 99 }]));
        let store = MemoryStore::with(entries);
        let layout = RawLayout::new(TableName::new("raw").unwrap());
        let snapshot = store.snapshot().unwrap();
        let way = OnTheWay { reshape: None, trim: Some(&Small) };
        let sample = sample(&*snapshot, &layout, way, &Watch::default()).unwrap();
        assert_eq!((sample.entries, sample.bytes), (40, 1_300));
        assert_eq!(sample.extrapolated(13_000), (10, 1_000));
        assert_eq!(sample.carrying_at_least((9, 10)), sample, "all of it was seen");
        let part = Sample { whole: false, ..sample };
        assert_eq!(part.carrying_at_least((9, 10)).bytes_carried, 1_170);
        assert_eq!(part.carrying_at_least((1, 10)), part);
        let database = Sampled { name: "a.db", bytes_on_disk: 13_000, sample };
        let (cadence, pace) = (Cadence::default(), PaceLimits::default());
        let estimate = estimate(&[database], Engine::Rocksdb, false, cadence, 1, pace);
        assert_eq!(estimate.source_bytes_on_disk, 13_000);
        assert_eq!(estimate.staging_bytes_needed, 13_000 + STATE_BYTES);
        assert!(estimate.basis.contains("less what the sample says"), "{}", estimate.basis);
    }

    #[test]
    fn a_limit_on_the_pace_is_in_the_time() {
        // 10,000 key and value bytes; one thread copies unhindered in 200 s, compares in 225 s and
        // checks in 600 s.
        let sample = Sample {
            entries: 1,
            bytes: 100,
            entries_carried: 1,
            bytes_carried: 100,
            bytes_on_disk: 50,
            time: Duration::from_secs(1),
            whole: false,
        };
        let database = Sampled { name: "a.db", bytes_on_disk: 5_000, sample };
        let within = |workers, pace| {
            let cadence = Cadence::default();
            let estimate = estimate(&[database], Engine::Rocksdb, false, cadence, workers, pace);
            let Estimate { copy_seconds, verify_seconds, certify_seconds, .. } = estimate;
            assert_eq!(estimate.stop_seconds, copy_seconds + verify_seconds + certify_seconds + 1);
            (copy_seconds, verify_seconds, certify_seconds)
        };
        let none = PaceLimits::default();
        let read = |rate| PaceLimits { read_bytes_per_second_max: rate, ..none };
        let write = |rate| PaceLimits { write_bytes_per_second_max: rate, ..none };
        assert_eq!(within(1, none), (200, 225, 600));
        assert_eq!(within(1, read(20)), (500, 1_000, 1_000));
        assert_eq!(within(1, read(50)), (200, 400, 600));
        assert_eq!(within(1, write(10)), (1_000, 225, 600));
        // More threads don't go beyond a limit.
        assert_eq!(within(4, read(20)), (500, 1_000, 1_000));
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let slowed = |seconds: u64| (seconds * 100).div_ceil(cores.min(100));
        let cpu = PaceLimits { cpu_percent_max: 1, ..none };
        assert_eq!(within(1, cpu), (slowed(200), slowed(225), slowed(600)));
        if cores <= 100 {
            assert_eq!(within(8, cpu), within(1, cpu));
        }
    }
}
