//! A pace: how much may pass in a second, for all workers together.
//!
//! A token bucket: something may pass while the bucket isn't overdrawn, and whoever overdraws it
//! waits until it is filled again. What passes is bytes, or microseconds of processor time.
//!
//! Promises: a new limit is heard within [`NAP_MAX`], also by those who wait; whoever was asked
//! to stop doesn't wait.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// A bucket saves up no more than it gets in this time, so that a pause isn't followed by a rush.
const SAVED_UP: Duration = Duration::from_millis(100);

/// Nobody sleeps longer at once: a changed limit or a wish to stop is heard after it.
const NAP_MAX: Duration = Duration::from_millis(50);

/// What was charged afterwards is made up for this long and no longer: what nobody could hold
/// back must not hold everybody up for minutes.
const CHARGED_MAX: Duration = Duration::from_secs(10);

/// More threads than a plan may ask for are not told apart.
const CREW_MAX: usize = 1_024;

/// What tells the time and lets it pass.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
struct MachineClock(Instant);

impl Clock for MachineClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The pace of one thing. Clones of the [`Arc`] around it share it.
#[derive(Debug)]
pub struct Pace {
    per_second_max: AtomicU64,
    waited_micros: AtomicU64,
    lifted: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
    crew: Arc<Crew>,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// What may still pass; negative when overdrawn.
    level: i128,
    filled_at: Option<Duration>,
}

impl Bucket {
    fn fill(&mut self, rate: u64, now: Duration) {
        let since = now.saturating_sub(self.filled_at.unwrap_or(now));
        self.filled_at = Some(now);
        self.level = (self.level + flow(rate, since)).min(flow(rate, SAVED_UP));
    }
}

/// The threads that were seen at a pace with a limit.
#[derive(Debug, Default)]
struct Crew(Mutex<Vec<ThreadId>>);

impl Crew {
    fn lock(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, thread: ThreadId) {
        let mut seen = self.lock();
        if seen.len() < CREW_MAX && !seen.contains(&thread) {
            seen.push(thread);
        }
    }
}

impl Pace {
    /// At most this much a second; 0 for no limit.
    #[must_use]
    pub fn new(per_second_max: u64) -> Self {
        let clock = Arc::new(MachineClock(Instant::now()));
        Self::with(per_second_max, Arc::default(), clock, Arc::default())
    }

    fn with(
        per_second_max: u64,
        lifted: Arc<AtomicBool>,
        clock: Arc<dyn Clock>,
        crew: Arc<Crew>,
    ) -> Self {
        Self {
            per_second_max: AtomicU64::new(per_second_max),
            waited_micros: AtomicU64::new(0),
            lifted,
            clock,
            crew,
            bucket: Mutex::default(),
        }
    }

    /// Changes the limit, also for those who wait now; 0 for none.
    pub fn set(&self, per_second_max: u64) {
        self.per_second_max.store(per_second_max, Ordering::SeqCst);
    }

    /// The limit; 0 for none.
    #[must_use]
    pub fn per_second_max(&self) -> u64 {
        self.per_second_max.load(Ordering::SeqCst)
    }

    /// How long workers have waited so far, those of all threads added up.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_micros.load(Ordering::SeqCst))
    }

    /// Takes `amount` from the bucket, and waits while it is overdrawn.
    pub fn pass(&self, amount: u64) {
        let Some(mut debt) = self.draw(amount) else { return };
        while !debt.is_zero() {
            let nap = debt.min(NAP_MAX);
            self.clock.sleep(nap);
            let micros = u64::try_from(nap.as_micros()).unwrap_or(u64::MAX);
            self.waited_micros.fetch_add(micros, Ordering::SeqCst);
            match self.draw(0) {
                Some(left) => debt = left,
                None => return,
            }
        }
    }

    /// Takes `amount` from the bucket without waiting: those who pass next wait for it.
    pub fn charge(&self, amount: u64) {
        let Some(rate) = self.limit() else { return };
        let mut bucket = self.lock();
        bucket.fill(rate, self.clock.now());
        let least = -flow(rate, CHARGED_MAX);
        if bucket.level > least {
            bucket.level = (bucket.level - i128::from(amount)).max(least);
        }
    }

    /// Takes from the bucket and tells how long it takes until it is no longer overdrawn; `None`
    /// without a limit.
    fn draw(&self, amount: u64) -> Option<Duration> {
        let rate = self.limit()?;
        self.crew.see(std::thread::current().id());
        let mut bucket = self.lock();
        bucket.fill(rate, self.clock.now());
        bucket.level -= i128::from(amount);
        if bucket.level >= 0 {
            return Some(Duration::ZERO);
        }
        let micros = bucket.level.unsigned_abs() * 1_000_000 / u128::from(rate);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).max(1)))
    }

    fn limit(&self) -> Option<u64> {
        let rate = self.per_second_max();
        (rate > 0 && !self.lifted.load(Ordering::SeqCst)).then_some(rate)
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What flows in `time`.
fn flow(rate: u64, time: Duration) -> i128 {
    let amount = u128::from(rate).saturating_mul(time.as_nanos()) / 1_000_000_000;
    i128::try_from(amount).unwrap_or(i128::MAX / 4)
}

/// The paces of a run. Stores that have clones share them.
#[derive(Clone, Debug)]
pub struct Paces {
    /// Of key and value bytes that are read.
    pub read: Arc<Pace>,
    /// Of key and value bytes that are written.
    pub write: Arc<Pace>,
    /// Of processor time, in microseconds. It passes no stores: somebody charges it, and
    /// whoever reads or writes waits for it.
    pub cpu: Arc<Pace>,
    crew: Arc<Crew>,
}

impl Default for Paces {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Paces {
    /// No limits. Once `lifted` is set nobody waits any more: who was asked to stop must not.
    #[must_use]
    pub fn new(lifted: Arc<AtomicBool>) -> Self {
        Self::with_clock(lifted, Arc::new(MachineClock(Instant::now())))
    }

    /// As [`Paces::new`], by another clock.
    #[must_use]
    pub fn with_clock(lifted: Arc<AtomicBool>, clock: Arc<dyn Clock>) -> Self {
        let crew: Arc<Crew> = Arc::default();
        let pace = || {
            let (lifted, clock) = (Arc::clone(&lifted), Arc::clone(&clock));
            Arc::new(Pace::with(0, lifted, clock, Arc::clone(&crew)))
        };
        Self { read: pace(), write: pace(), cpu: pace(), crew: Arc::clone(&crew) }
    }

    /// How many threads have passed a limit since this was last asked, or wait at one.
    #[must_use]
    pub fn take_crew(&self) -> usize {
        std::mem::take(&mut *self.crew.lock()).len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A clock that stands still unless somebody sleeps.
    #[derive(Debug, Default)]
    pub(in crate::layers) struct Slept(Mutex<Duration>);

    impl Clock for Slept {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    fn paces() -> (Paces, Arc<Slept>, Arc<AtomicBool>) {
        let (clock, lifted) = (Arc::new(Slept::default()), Arc::new(AtomicBool::new(false)));
        (Paces::with_clock(Arc::clone(&lifted), clock.clone()), clock, lifted)
    }

    #[test]
    fn what_passes_takes_as_long_as_the_limit_says_and_the_waiting_is_counted() {
        let (paces, clock, _) = paces();
        paces.read.set(100_000);
        for _ in 0..40 {
            paces.read.pass(1_000);
        }
        assert_eq!(clock.now(), Duration::from_millis(400));
        assert_eq!(paces.read.waited(), clock.now());
        assert_eq!(paces.write.waited(), Duration::ZERO);
    }

    #[test]
    fn a_pause_is_not_followed_by_a_rush() {
        let (paces, clock, _) = paces();
        paces.read.set(100_000);
        paces.read.pass(0);
        clock.sleep(Duration::from_secs(60));
        let before = clock.now();
        paces.read.pass(20_000);
        // A tenth of a second was saved up.
        assert_eq!(clock.now() - before, Duration::from_millis(100));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let (paces, clock, _) = paces();
        paces.write.pass(u64::MAX);
        paces.write.charge(u64::MAX);
        assert_eq!((clock.now(), paces.take_crew()), (Duration::ZERO, 0));
    }

    #[test]
    fn a_waiting_worker_hears_of_a_new_limit_and_of_the_end() {
        for change in [
            |pace: &Pace, _: &AtomicBool| pace.set(0),
            |_: &Pace, lifted: &AtomicBool| {
                lifted.store(true, Ordering::SeqCst);
            },
        ] {
            let lifted = Arc::new(AtomicBool::new(false));
            let paces = Paces::new(Arc::clone(&lifted));
            // Ten million seconds, were nobody to change it.
            paces.read.set(1);
            std::thread::scope(|scope| {
                let worker = scope.spawn(|| paces.read.pass(10_000_000));
                // It is seen at the pace before it waits.
                while paces.take_crew() == 0 {
                    std::thread::yield_now();
                }
                change(&paces.read, &lifted);
                worker.join().unwrap();
            });
        }
    }

    #[test]
    fn what_was_charged_is_waited_for_by_the_next_and_not_for_ever() {
        let (paces, clock, _) = paces();
        paces.cpu.set(1_000);
        paces.cpu.pass(0);
        paces.cpu.charge(3_000);
        paces.cpu.pass(0);
        assert_eq!(clock.now(), Duration::from_secs(3));
        paces.cpu.charge(u64::MAX);
        paces.cpu.charge(1);
        paces.cpu.pass(0);
        assert_eq!(clock.now(), Duration::from_secs(13));
    }

    #[test]
    fn a_charge_forgives_nothing_of_a_greater_debt() {
        let (paces, clock, _) = paces();
        paces.read.set(1_000);
        std::thread::scope(|scope| {
            scope.spawn(|| paces.read.draw(60_000));
        });
        paces.read.charge(1);
        paces.read.pass(0);
        assert_eq!(clock.now(), Duration::from_secs(60));
    }

    #[test]
    fn the_threads_at_a_limit_are_counted_once_each() {
        let (paces, _, _) = paces();
        paces.read.set(1 << 20);
        paces.write.set(1 << 20);
        for _ in 0..3 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    paces.read.pass(1);
                    paces.write.pass(1);
                });
            });
        }
        assert_eq!((paces.take_crew(), paces.take_crew()), (3, 0));
    }
}
