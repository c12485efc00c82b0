//! Looks after the pace while a run goes on: charges the processor time that was used, and tells
//! what workers wait for.

use crate::cpu_use::CpuUse;
use crate::pacing::Pacing;
use crate::watch::Watch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use transload_observe::{Event, PaceLimits, Wait, WaitReason};

/// How often the processor time is charged: a limit is kept over several of these.
const CHARGE_EVERY: Duration = Duration::from_millis(100);

/// How often what workers wait for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What workers wait for is told over this much time.
const WINDOW: Duration = Duration::from_secs(10);

/// Runs until it is dropped.
pub struct Pulse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Looks after the pace of `watch`, and tells its sink.
    #[must_use]
    pub fn start(watch: &Watch) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ear, pacing, sink) =
            (Arc::clone(&stop), watch.pacing.clone(), Arc::clone(&watch.sink));
        let thread = std::thread::spawn(move || {
            let (began, mut cpu) = (Instant::now(), CpuUse::new());
            let mut window = Window::new(&pacing);
            while !ear.load(Ordering::SeqCst) {
                if pacing.limits().cpu_percent_max > 0 {
                    pacing.charge_cpu(cpu.since_last_look());
                } else {
                    cpu.forget();
                }
                if let Some(event) = window.look(began.elapsed(), &pacing) {
                    sink.event(&event);
                }
                std::thread::park_timeout(CHARGE_EVERY);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

type Waited = [Duration; WaitReason::ALL.len()];

struct Look {
    at: Duration,
    waited: Waited,
    crew: usize,
}

/// What workers waited for in the last seconds, and what was told of it.
struct Window {
    looks: VecDeque<Look>,
    told: (PaceLimits, Vec<Wait>),
}

impl Window {
    fn new(pacing: &Pacing) -> Self {
        let first = Look { at: Duration::ZERO, waited: pacing.waited(), crew: 0 };
        Self { looks: VecDeque::from([first]), told: (PaceLimits::default(), Vec::new()) }
    }

    /// The event to tell, when there is anything new. Changed limits are told at once.
    fn look(&mut self, now: Duration, pacing: &Pacing) -> Option<Event> {
        let limits = pacing.limits();
        let last = self.looks.back().map_or(Duration::ZERO, |look| look.at);
        let is_due = now.saturating_sub(last) >= LOOK_EVERY;
        if is_due {
            let crew = pacing.take_crew();
            self.looks.push_back(Look { at: now, waited: pacing.waited(), crew });
            while self.looks.get(1).is_some_and(|second| now.saturating_sub(second.at) >= WINDOW) {
                self.looks.pop_front();
            }
        }
        let waits = if is_due { self.waits() } else { self.told.1.clone() };
        let seen = (limits, waits);
        if seen == self.told {
            return None;
        }
        self.told = seen.clone();
        Some(Event::Paced { limits, waits: seen.1 })
    }

    /// Workers' time is the window's length for each of those that were seen at once.
    fn waits(&self) -> Vec<Wait> {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else {
            return Vec::new();
        };
        let length = last.at.saturating_sub(first.at);
        let crew = self.looks.iter().skip(1).map(|look| look.crew).max().unwrap_or(0).max(1);
        let worked = length.as_millis().saturating_mul(crew as u128).max(1);
        let window_seconds =
            u32::try_from((length.as_millis() + 500) / 1000).unwrap_or(u32::MAX).max(1);
        let wait = |(index, reason): (usize, WaitReason)| {
            let waited = last.waited[index].saturating_sub(first.waited[index]).as_millis();
            let percent = (waited * 100).div_ceil(worked).min(100);
            let percent = u32::try_from(percent).unwrap_or(100);
            (percent > 0).then_some(Wait { reason, percent, window_seconds })
        };
        WaitReason::ALL.into_iter().enumerate().filter_map(wait).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Cancel;
    use std::sync::Mutex;
    use transload_store::layers::Clock;

    /// Stands still unless somebody sleeps.
    #[derive(Debug, Default)]
    struct Slept(Mutex<Duration>);

    impl Clock for Slept {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    const RATE: u64 = 1_000_000;

    fn slow() -> (Pacing, Arc<Slept>, PaceLimits) {
        let limits = PaceLimits { write_bytes_per_second_max: RATE, ..PaceLimits::default() };
        let clock = Arc::new(Slept::default());
        let pacing = Pacing::with_clock(limits, &Cancel::new(), clock.clone(), 2);
        (pacing, clock, limits)
    }

    #[test]
    fn without_limits_nothing_is_told() {
        let pacing = Pacing::default();
        let mut window = Window::new(&pacing);
        for second in 0..30 {
            assert_eq!(window.look(Duration::from_secs(second), &pacing), None);
        }
    }

    #[test]
    fn limits_are_told_at_once_and_once() {
        let (pacing, _, limits) = slow();
        let mut window = Window::new(&pacing);
        let expected = Event::Paced { limits, waits: Vec::new() };
        assert_eq!(window.look(Duration::ZERO, &pacing), Some(expected));
        assert_eq!(window.look(Duration::from_millis(100), &pacing), None);
        pacing.set(PaceLimits::default());
        let expected = Event::Paced { limits: PaceLimits::default(), waits: Vec::new() };
        assert_eq!(window.look(Duration::from_millis(200), &pacing), Some(expected));
    }

    #[test]
    fn the_part_of_the_last_seconds_that_was_waited_is_told_until_it_is_over() {
        let (pacing, clock, limits) = slow();
        let mut window = Window::new(&pacing);
        let _ = window.look(Duration::ZERO, &pacing);
        // Of five seconds, one goes by in waiting.
        pacing.carry(RATE);
        clock.sleep(Duration::from_secs(4));
        let wait = |percent, window_seconds| {
            vec![Wait { reason: WaitReason::WriteLimit, percent, window_seconds }]
        };
        let told = window.look(clock.now(), &pacing);
        assert_eq!(told, Some(Event::Paced { limits, waits: wait(20, 5) }));
        clock.sleep(Duration::from_secs(5));
        let told = window.look(clock.now(), &pacing);
        assert_eq!(told, Some(Event::Paced { limits, waits: wait(10, 10) }));
        clock.sleep(Duration::from_secs(10));
        let told = window.look(clock.now(), &pacing);
        assert_eq!(told, Some(Event::Paced { limits, waits: Vec::new() }));
    }

    #[test]
    fn the_time_of_all_workers_is_what_a_part_is_of() {
        let (pacing, clock, limits) = slow();
        let mut window = Window::new(&pacing);
        let _ = window.look(Duration::ZERO, &pacing);
        for _ in 0..2 {
            std::thread::scope(|scope| {
                scope.spawn(|| pacing.carry(RATE));
            });
        }
        // Two workers, two seconds each, one of which each has waited.
        assert_eq!(clock.now(), Duration::from_secs(2));
        let waits = vec![Wait { reason: WaitReason::WriteLimit, percent: 50, window_seconds: 2 }];
        assert_eq!(window.look(clock.now(), &pacing), Some(Event::Paced { limits, waits }));
    }
}
