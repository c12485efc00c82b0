//! How far a stage is, how fast it goes, and how long it will still take.
//!
//! Promises: the fraction never goes beyond 1 and reaches it only when every chunk is done; a
//! chunk that is tried again is not counted twice; the estimate of what is to do grows with
//! what is seen, never the other way round; after a change of the limits on the pace the rate is
//! measured anew, so that the remaining time follows.

use crate::{Event, PaceLimits, Stage, Wait};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The rate is taken over this much time.
const RATE_WINDOW: Duration = Duration::from_secs(20);

/// Samples kept for the rate: enough for one every 100 ms of the window.
const RATE_SAMPLES_MAX: usize = 200;

/// Progress of the stage that runs now.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    stage: Option<Stage>,
    began: Duration,
    databases: BTreeMap<String, Line>,
    certified: Option<(u64, u64)>,
    samples: VecDeque<(Duration, u64)>,
    retried: u64,
    failed: u64,
    limits: PaceLimits,
    waits: Vec<Wait>,
}

#[derive(Clone, Debug, Default)]
struct Line {
    chunks: u64,
    chunks_done: u64,
    chunks_before: u64,
    bytes_estimate: u64,
    entries_done: u64,
    bytes_done: u64,
    open: BTreeMap<u64, (u64, u64)>,
}

impl Line {
    fn entries(&self) -> u64 {
        self.entries_done + self.open.values().map(|(entries, _)| entries).sum::<u64>()
    }

    fn bytes(&self) -> u64 {
        self.bytes_done + self.open.values().map(|(_, bytes)| bytes).sum::<u64>()
    }

    fn is_done(&self) -> bool {
        self.chunks_done >= self.chunks
    }

    /// What is to do in all: the estimate (of bytes on disk, which may be compressed), or what
    /// the chunks done so far promise when that is more. When chunks are left, a little is left
    /// too.
    fn total(&self) -> u64 {
        if self.is_done() {
            return self.bytes();
        }
        let done = u128::from(self.chunks_done - self.chunks_before);
        let to_do = u128::from(self.chunks - self.chunks_before);
        let promised = (u128::from(self.bytes_done) * to_do).checked_div(done).unwrap_or(0);
        let promised = u64::try_from(promised).unwrap_or(u64::MAX);
        self.bytes_estimate.max(promised).max(self.bytes().saturating_add(1))
    }
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
            Event::DatabaseBegan { database, chunks, chunks_done, bytes_estimate, .. } => {
                let line = Line {
                    chunks: *chunks,
                    chunks_done: *chunks_done,
                    chunks_before: *chunks_done,
                    bytes_estimate: *bytes_estimate,
                    ..Line::default()
                };
                self.databases.insert(database.clone(), line);
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
            Event::Certified { done, total } => self.certified = Some((*done, *total)),
            Event::Paced { limits, waits } => {
                if *limits != self.limits {
                    self.samples.clear();
                }
                self.limits = *limits;
                self.waits.clone_from(waits);
            }
            Event::StageEnded { .. }
            | Event::PhaseChanged { .. }
            | Event::StepDone { .. }
            | Event::Notice { .. } => {}
        }
        self.sample(now);
    }

    /// Where things stand at `now`.
    #[must_use]
    pub fn view(&self, now: Duration) -> View {
        let done = self.done();
        let total = match self.certified {
            Some((done, total)) => total.max(done),
            None => self.databases.values().map(Line::total).sum(),
        };
        let entries_done: u64 = match self.certified {
            Some((done, _)) => done,
            None => self.databases.values().map(Line::entries).sum(),
        };
        let elapsed = now.saturating_sub(self.began);
        let rate = self.rate(now);
        let left = total.saturating_sub(done);
        View {
            stage: self.stage,
            entries_done,
            bytes_done: done,
            bytes_total: total,
            fraction: fraction(done, total),
            // What is certified is counted in things to check, not in bytes.
            bytes_per_second: if self.certified.is_some() { 0 } else { rate },
            entries_per_second: per_second(entries_done, elapsed),
            eta_seconds: (rate > 0).then(|| left.div_ceil(rate)),
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
            Some((at, before)) if now.saturating_sub(*at) >= Duration::from_millis(200) => {
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

/// At most 1, and 1 only when everything is done.
fn fraction(done: u64, total: u64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    if done >= total {
        return 1.0;
    }
    // In thousandths, so that rounding can't reach 1 early.
    let thousandths = u128::from(done) * 1000 / u128::from(total);
    f64::from(u16::try_from(thousandths.min(999)).unwrap_or(999)) / 1000.0
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
        let mut progress = began(100, 100_000);
        for second in 1..=60 {
            progress.apply(&done(second, 1_000), Duration::from_secs(second));
        }
        assert_eq!(progress.view(Duration::from_secs(60)).eta_seconds, Some(40));
        let limits = PaceLimits { read_bytes_per_second_max: 100, ..PaceLimits::default() };
        let wait = Wait { reason: crate::WaitReason::ReadLimit, percent: 90, window_seconds: 10 };
        progress.apply(&Event::Paced { limits, waits: vec![wait] }, Duration::from_secs(60));
        progress.apply(&done(61, 200), Duration::from_secs(62));
        let view = progress.view(Duration::from_secs(62));
        assert_eq!((view.bytes_per_second, view.eta_seconds), (100, Some(398)));
        assert_eq!((view.limits, view.waits), (limits, vec![wait]));
        // What is waited for changes often; that measures nothing anew.
        progress.apply(&Event::Paced { limits, waits: Vec::new() }, Duration::from_secs(63));
        assert_eq!(progress.view(Duration::from_secs(64)).bytes_per_second, 50);
    }

    #[test]
    fn a_new_stage_keeps_the_limits_in_force() {
        let mut progress = began(1, 100);
        let limits = PaceLimits { cpu_percent_max: 50, ..PaceLimits::default() };
        progress.apply(&Event::Paced { limits, waits: Vec::new() }, Duration::ZERO);
        progress.apply(&Event::StageBegan { stage: Stage::Verifying }, Duration::from_secs(1));
        assert_eq!(progress.view(Duration::from_secs(2)).limits, limits);
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
