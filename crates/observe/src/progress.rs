//! How far a stage is, how fast it goes, and how long it will still take.
//!
//! Fraction and remaining time follow from work, not from bytes: a database of small entries
//! takes several times as long as one of large entries with the same bytes.
//!
//! Promises: the fraction falls only where a database is added that the stage didn't announce,
//! never goes beyond 1 and reaches it only when every chunk of every database that was announced is
//! done; a chunk that is tried again is not counted twice; after
//! a change of the limits on the pace the rates are measured anew, so that the remaining time
//! follows.

use crate::work::{Expected, Line, sum};
use crate::{Event, PaceLimits, Stage, Wait};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The rate that is shown is taken over this much time.
const RATE_WINDOW: Duration = Duration::from_secs(20);

/// Over less time than this no rate is measured.
const RATE_TIME_MIN: Duration = Duration::from_millis(200);

/// Samples kept for the rate: enough for one every 100 ms of the window.
const RATE_SAMPLES_MAX: usize = 200;

/// Marks kept for the remaining time; when there are more, every other is dropped.
const MARKS_MAX: usize = 256;

/// Marks are at least this far apart.
const MARK_SPACING: Duration = Duration::from_millis(100);

/// Progress of the stage that runs now.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    stage: Option<Stage>,
    began: Duration,
    databases: BTreeMap<String, Line>,
    certified: Option<(u64, u64)>,
    /// The furthest that was told, in thousandths, while something was left to do. An estimate that
    /// turns out too low, and a chunk that is tried again, make the work left grow.
    furthest: u16,
    samples: VecDeque<(Duration, u64)>,
    marks: Vec<(Duration, u64)>,
    retried: u64,
    failed: u64,
    limits: PaceLimits,
    waits: Vec<Wait>,
}

/// Progress at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The stage; `None` before the first.
    pub stage: Option<Stage>,
    /// Entries done in this run.
    pub entries_done: u64,
    /// Bytes done in this run.
    pub bytes_done: u64,
    /// Bytes to do in this run, as far as known.
    pub bytes_total: u64,
    /// From 0 to 1.
    pub fraction: f64,
    /// Bytes a second, lately; 0 in a stage that doesn't count bytes.
    pub bytes_per_second: u64,
    /// Entries a second since the stage began.
    pub entries_per_second: u64,
    /// Seconds that are left, when a rate is known.
    pub eta_seconds: Option<u64>,
    /// Seconds since the stage began.
    pub elapsed_seconds: u64,
    /// Chunks tried again in this stage.
    pub retried: u64,
    /// Chunks failed in this stage.
    pub failed: u64,
    /// The limits on the pace.
    pub limits: PaceLimits,
    /// What workers wait for, lately.
    pub waits: Vec<Wait>,
}

impl Progress {
    /// Nothing has begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event that happened at `now` (any monotonic clock).
    pub fn apply(&mut self, event: &Event, now: Duration) {
        match event {
            Event::StageBegan { stage } => {
                let (limits, waits) = (self.limits, std::mem::take(&mut self.waits));
                let (stage, began) = (Some(*stage), now);
                *self = Self { stage, began, limits, waits, ..Self::default() };
            }
            Event::DatabaseExpected { database, bytes_on_disk, bytes, entries, .. } => {
                let (bytes_on_disk, bytes, entries) = (*bytes_on_disk, *bytes, *entries);
                let line = Line {
                    chunks: 1,
                    bytes_estimate: bytes_on_disk,
                    expected: Some(Expected { bytes_on_disk, bytes, entries }),
                    ..Line::default()
                };
                self.add(database, line);
            }
            Event::DatabaseBegan { database, chunks, chunks_done, bytes_estimate, .. } => {
                let line = Line {
                    chunks: *chunks,
                    chunks_done: *chunks_done,
                    chunks_before: *chunks_done,
                    bytes_estimate: *bytes_estimate,
                    expected: self.databases.get(database).and_then(|line| line.expected),
                    ..Line::default()
                };
                self.add(database, line);
            }
            Event::Advanced { database, chunk, entries, bytes, .. } => {
                if let Some(line) = self.databases.get_mut(database) {
                    line.open.insert(*chunk, (*entries, *bytes));
                }
            }
            Event::ChunkDone { database, chunk, entries, bytes, .. } => {
                if let Some(line) = self.databases.get_mut(database) {
                    line.open.remove(chunk);
                    line.chunks_done += 1;
                    line.entries_done += entries;
                    line.bytes_done += bytes;
                }
            }
            Event::ChunkRetried { database, chunk, .. } => {
                self.retried += 1;
                if let Some(line) = self.databases.get_mut(database) {
                    line.open.remove(chunk);
                }
            }
            Event::ChunkFailed { database, chunk, .. } => {
                self.failed += 1;
                if let Some(line) = self.databases.get_mut(database) {
                    line.open.remove(chunk);
                }
            }
            Event::PartsDone { done, total } => self.certified = Some((*done, *total)),
            Event::Paced { limits, waits } => {
                if *limits != self.limits {
                    self.samples.clear();
                    self.marks.clear();
                }
                self.limits = *limits;
                self.waits.clone_from(waits);
            }
            Event::StageEnded { .. }
            | Event::PhaseChanged { .. }
            | Event::StepDone { .. }
            | Event::Notice { .. } => {}
        }
        self.furthest = self.furthest.max(thousandths(self.work_done(), self.work_total()));
        self.sample(now);
        self.mark(now);
    }

    fn add(&mut self, database: &str, line: Line) {
        if self.databases.insert(database.to_owned(), line).is_none() {
            self.furthest = 0;
        }
    }

    /// Where things stand at `now`.
    #[must_use]
    pub fn view(&self, now: Duration) -> View {
        let done = self.done();
        let total = match self.certified {
            Some((done, total)) => total.max(done),
            None => sum(self.databases.values().map(Line::total)),
        };
        let entries_done: u64 = match self.certified {
            Some((done, _)) => done,
            None => self.databases.values().map(Line::entries).sum(),
        };
        let elapsed = now.saturating_sub(self.began);
        let rate = self.rate(now);
        let (work_done, work_total) = (self.work_done(), self.work_total());
        let left = work_total.saturating_sub(work_done);
        let work_rate = self.work_rate(now);
        View {
            stage: self.stage,
            entries_done,
            bytes_done: done,
            bytes_total: total,
            fraction: fraction(work_done, work_total, self.furthest),
            // What is certified is counted in things to check, not in bytes.
            bytes_per_second: if self.certified.is_some() { 0 } else { rate },
            entries_per_second: per_second(entries_done, elapsed),
            eta_seconds: (work_rate > 0).then(|| left.div_ceil(work_rate)),
            elapsed_seconds: elapsed.as_secs(),
            retried: self.retried,
            failed: self.failed,
            limits: self.limits,
            waits: self.waits.clone(),
        }
    }

    fn done(&self) -> u64 {
        match self.certified {
            Some((done, _)) => done,
            None => self.databases.values().map(Line::bytes).sum(),
        }
    }

    fn work_done(&self) -> u64 {
        match self.certified {
            Some((done, _)) => done,
            None => self.databases.values().map(Line::work_done).sum(),
        }
    }

    fn work_total(&self) -> u64 {
        match self.certified {
            Some((done, total)) => total.max(done),
            None => sum(self.databases.values().map(Line::work_total)),
        }
    }

    fn mark(&mut self, now: Duration) {
        // As they are thinned out, those that are left lie further apart.
        let spacing = self.marks.get(1).zip(self.marks.first());
        let spacing =
            spacing.map_or(MARK_SPACING, |((second, _), (first, _))| second.saturating_sub(*first));
        if self.marks.last().is_some_and(|(at, _)| now.saturating_sub(*at) < spacing) {
            return;
        }
        self.marks.push((now, self.work_done()));
        if self.marks.len() > MARKS_MAX {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// Work a second, over the last half of the time since the stage began or the limits on the
    /// pace were changed: long enough to be steady, and it forgets a slow beginning.
    fn work_rate(&self, now: Duration) -> u64 {
        let (at, before) = match self.marks.first() {
            Some(first) if now.saturating_sub(first.0) >= RATE_TIME_MIN => {
                let window = RATE_WINDOW.max(now.saturating_sub(first.0) / 2);
                let old = |(at, _): &&(Duration, u64)| now.saturating_sub(*at) >= window;
                *self.marks.iter().rev().find(old).unwrap_or(first)
            }
            _ => (self.began, 0),
        };
        per_second(self.work_done().saturating_sub(before), now.saturating_sub(at))
    }

    fn sample(&mut self, now: Duration) {
        let spacing = RATE_WINDOW / u32::try_from(RATE_SAMPLES_MAX).unwrap_or(u32::MAX);
        if self.samples.back().is_some_and(|(at, _)| now.saturating_sub(*at) < spacing) {
            return;
        }
        self.samples.push_back((now, self.done()));
        while self.samples.len() > RATE_SAMPLES_MAX
            || self.samples.front().is_some_and(|(at, _)| {
                now.saturating_sub(*at) > RATE_WINDOW && self.samples.len() > 2
            })
        {
            self.samples.pop_front();
        }
    }

    fn rate(&self, now: Duration) -> u64 {
        let done = self.done();
        match self.samples.front() {
            Some((at, before)) if now.saturating_sub(*at) >= RATE_TIME_MIN => {
                per_second(done.saturating_sub(*before), now.saturating_sub(*at))
            }
            _ => per_second(done, now.saturating_sub(self.began)),
        }
    }
}

fn per_second(amount: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis();
    if millis == 0 {
        return 0;
    }
    u64::try_from(u128::from(amount) * 1000 / millis).unwrap_or(u64::MAX)
}

/// Not less than was told before, at most 1, and 1 only when everything is done.
fn fraction(done: u64, total: u64, furthest: u16) -> f64 {
    if total > 0 && done >= total {
        return 1.0;
    }
    f64::from(thousandths(done, total).max(furthest)) / 1000.0
}

/// In thousandths, so that rounding can't reach 1 early; at most 999.
fn thousandths(done: u64, total: u64) -> u16 {
    let thousandths = (u128::from(done) * 1000).checked_div(u128::from(total)).unwrap_or(0);
    u16::try_from(thousandths.min(999)).unwrap_or(999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn began(chunks: u64, bytes_estimate: u64) -> Progress {
        let mut progress = Progress::new();
        progress.apply(&Event::StageBegan { stage: Stage::Copying }, Duration::ZERO);
        let database = "a.db".to_owned();
        let stage = Stage::Copying;
        let event =
            Event::DatabaseBegan { stage, database, chunks, chunks_done: 0, bytes_estimate };
        progress.apply(&event, Duration::ZERO);
        progress
    }

    fn done(chunk: u64, bytes: u64) -> Event {
        let (stage, database) = (Stage::Copying, "a.db".to_owned());
        Event::ChunkDone { stage, database, chunk, entries: 1, bytes }
    }

    #[test]
    fn the_remaining_time_follows_from_the_rate() {
        let mut progress = began(10, 1000);
        progress.apply(&done(0, 100), Duration::from_secs(1));
        progress.apply(&done(1, 100), Duration::from_secs(2));
        let view = progress.view(Duration::from_secs(2));
        assert_eq!((view.bytes_per_second, view.eta_seconds), (100, Some(8)));
        assert!((view.fraction - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_the_chunks_promise_mends_an_estimate_that_is_too_low() {
        let mut progress = began(10, 50);
        progress.apply(&done(0, 100), Duration::from_secs(1));
        progress.apply(&done(1, 100), Duration::from_secs(2));
        assert_eq!(progress.view(Duration::from_secs(2)).bytes_total, 1000);
    }

    #[test]
    fn a_chunk_that_is_tried_again_is_not_counted_twice() {
        let mut progress = began(1, 100);
        let (stage, database) = (Stage::Copying, "a.db".to_owned());
        let advanced =
            Event::Advanced { stage, database: database.clone(), chunk: 0, entries: 5, bytes: 60 };
        progress.apply(&advanced, Duration::from_secs(1));
        assert_eq!(progress.view(Duration::from_secs(1)).bytes_done, 60);
        let retried = Event::ChunkRetried { stage, database, chunk: 0, why: String::new() };
        progress.apply(&retried, Duration::from_secs(2));
        progress.apply(&done(0, 100), Duration::from_secs(3));
        let view = progress.view(Duration::from_secs(3));
        assert_eq!((view.bytes_done, view.retried, view.eta_seconds), (100, 1, Some(0)));
    }

    #[test]
    fn the_remaining_time_follows_a_changed_limit_and_not_what_was_before_it() {
        // So large that what entries take beside their bytes is next to nothing.
        let mut progress = began(100, 100_000_000);
        for second in 1..=60 {
            progress.apply(&done(second, 1_000_000), Duration::from_secs(second));
        }
        assert_eq!(progress.view(Duration::from_secs(60)).eta_seconds, Some(40));
        let limits = PaceLimits { read_bytes_per_second_max: 100_000, ..PaceLimits::default() };
        let wait = Wait { reason: crate::WaitReason::ReadLimit, percent: 90, window_seconds: 10 };
        progress.apply(&Event::Paced { limits, waits: vec![wait] }, Duration::from_secs(60));
        progress.apply(&done(61, 200_000), Duration::from_secs(62));
        let view = progress.view(Duration::from_secs(62));
        assert_eq!((view.bytes_per_second, view.eta_seconds), (100_000, Some(398)));
        assert_eq!((view.limits, view.waits), (limits, vec![wait]));
        // What is waited for changes often; that measures nothing anew.
        progress.apply(&Event::Paced { limits, waits: Vec::new() }, Duration::from_secs(63));
        let view = progress.view(Duration::from_secs(64));
        assert_eq!((view.bytes_per_second, view.eta_seconds), (50_000, Some(796)));
    }

    #[test]
    fn a_new_stage_keeps_the_limits_in_force() {
        let mut progress = began(1, 100);
        let limits = PaceLimits { cpu_percent_max: 50, ..PaceLimits::default() };
        progress.apply(&Event::Paced { limits, waits: Vec::new() }, Duration::ZERO);
        progress.apply(&Event::StageBegan { stage: Stage::Verifying }, Duration::from_secs(1));
        assert_eq!(progress.view(Duration::from_secs(2)).limits, limits);
    }

    const SMALL: (&str, u64, u64) = ("application.db", 40, 110);
    const LARGE: (&str, u64, u64) = ("blockstore.db", 160, 65_000);

    fn expected(progress: &mut Progress, databases: &[(&str, u64, u64)], error_percent: u64) {
        for (database, chunks, entry_bytes) in databases {
            let bytes = chunks * CHUNK_BYTES;
            progress.apply(
                &Event::DatabaseExpected {
                    stage: Stage::Copying,
                    database: (*database).into(),
                    bytes_on_disk: bytes / 2,
                    bytes: bytes * error_percent / 100,
                    entries: bytes / entry_bytes * error_percent / 100,
                },
                Duration::ZERO,
            );
        }
    }

    const CHUNK_BYTES: u64 = 32 << 20;

    /// Copies databases chunk by chunk, each in the time that its work takes; the views at all
    /// times, with what was really left.
    fn run(databases: &[(&str, u64, u64)], error_percent: u64) -> Vec<(View, f64, f64)> {
        let seconds_of = |entry_bytes: u64| {
            let entries = (CHUNK_BYTES / entry_bytes) as f64;
            entries * 0.7e-6 + CHUNK_BYTES as f64 * 2.8e-9
        };
        let whole: f64 =
            databases.iter().map(|(_, chunks, bytes)| *chunks as f64 * seconds_of(*bytes)).sum();
        let mut progress = Progress::new();
        let stage = Stage::Copying;
        progress.apply(&Event::StageBegan { stage }, Duration::ZERO);
        expected(&mut progress, databases, error_percent);
        let (mut at, mut views) = (0.0, Vec::new());
        for (database, chunks, entry_bytes) in databases {
            let database = (*database).to_owned();
            let bytes_estimate = chunks * CHUNK_BYTES / 2;
            let (chunks, now) = (*chunks, Duration::from_secs_f64(at));
            let began = Event::DatabaseBegan {
                stage,
                database: database.clone(),
                chunks,
                chunks_done: 0,
                bytes_estimate,
            };
            progress.apply(&began, now);
            for chunk in 0..chunks {
                at += seconds_of(*entry_bytes);
                let now = Duration::from_secs_f64(at);
                let (database, entries) = (database.clone(), CHUNK_BYTES / entry_bytes);
                let bytes = CHUNK_BYTES;
                let done = Event::ChunkDone { stage, database, chunk, entries, bytes };
                progress.apply(&done, now);
                views.push((progress.view(now), at, whole - at));
            }
        }
        views
    }

    #[test]
    fn after_a_tenth_of_the_work_the_remaining_time_is_right_whichever_database_comes_first() {
        for databases in [[SMALL, LARGE], [LARGE, SMALL]] {
            for (view, at, left) in run(&databases, 100) {
                if at < (at + left) / 10.0 || left < 1.0 {
                    continue;
                }
                let eta = view.eta_seconds.unwrap() as f64;
                assert!((eta - left).abs() <= left * 0.2 + 1.0, "{eta} for {left} at {at}");
            }
        }
    }

    #[test]
    fn the_fraction_never_falls_when_the_next_database_begins() {
        for error_percent in [50, 100, 200] {
            let mut before = 0.0;
            let views = run(&[SMALL, LARGE], error_percent);
            for (view, at, _) in &views[..views.len() - 1] {
                assert!(view.fraction < 1.0, "{} at {at}", view.fraction);
                assert!(view.fraction >= before, "{} after {before}", view.fraction);
                before = view.fraction;
            }
            assert!(views.last().unwrap().0.fraction >= 1.0);
        }
    }

    #[test]
    fn a_database_that_was_announced_and_not_begun_keeps_the_stage_open() {
        let mut progress = began(1, 100);
        expected(&mut progress, &[LARGE], 100);
        progress.apply(&done(0, 100), Duration::from_secs(1));
        let view = progress.view(Duration::from_secs(1));
        assert!(view.fraction < 0.01, "{}", view.fraction);
        assert_eq!(view.bytes_total, 100 + LARGE.1 * CHUNK_BYTES);
    }

    #[test]
    fn a_chunk_that_is_tried_again_or_larger_than_was_thought_takes_nothing_back() {
        let mut progress = began(4, 1_000_000);
        let (stage, database) = (Stage::Copying, "a.db".to_owned());
        let mut before = 0.0;
        let mut tell = |event: Event, second: u64| {
            progress.apply(&event, Duration::from_secs(second));
            let view = progress.view(Duration::from_secs(second));
            assert!(view.fraction >= before, "{event:?}: {} after {before}", view.fraction);
            before = view.fraction;
            view
        };
        let advanced = |chunk, bytes| {
            let (stage, database) = (Stage::Copying, "a.db".to_owned());
            Event::Advanced { stage, database, chunk, entries: 1, bytes }
        };
        tell(advanced(0, 200_000), 1);
        tell(Event::ChunkRetried { stage, database, chunk: 0, why: String::new() }, 2);
        // Twice what the estimate says, so that as much is expected of the others.
        let view = tell(done(0, 500_000), 3);
        assert_eq!(view.bytes_total, 2_000_000);
        for chunk in 1..4 {
            tell(advanced(chunk, 400_000), 3 + chunk);
            tell(done(chunk, 600_000), 3 + chunk);
        }
        assert!(before >= 1.0);
    }

    #[test]
    fn a_stage_that_seemed_done_goes_on_and_the_next_one_begins_anew() {
        let mut progress = began(1, 100);
        progress.apply(&done(0, 100), Duration::from_secs(1));
        assert!(progress.view(Duration::from_secs(1)).fraction >= 1.0);
        expected(&mut progress, &[LARGE], 100);
        assert!(progress.view(Duration::from_secs(2)).fraction < 0.01);
        progress.apply(&Event::StageBegan { stage: Stage::Verifying }, Duration::from_secs(3));
        assert!(progress.view(Duration::from_secs(3)).fraction <= 0.0);
    }

    proptest! {
        #[test]
        fn the_fraction_is_1_only_at_the_end_and_never_above(
            sizes in prop::collection::vec(0u64..1 << 40, 1..20),
            bytes_estimate in 0u64..1 << 40,
        ) {
            let mut progress = began(sizes.len() as u64, bytes_estimate);
            let mut now = Duration::ZERO;
            for (chunk, size) in sizes.iter().enumerate() {
                prop_assert!(progress.view(now).fraction < 1.0);
                now += Duration::from_millis(700);
                progress.apply(&done(chunk as u64, *size), now);
            }
            let view = progress.view(now);
            prop_assert!(view.bytes_done == view.bytes_total);
            prop_assert!(view.fraction <= 1.0);
            prop_assert!(view.bytes_total == 0 || view.fraction >= 1.0);
        }
    }
}
