//! How fast a run may go: limits that can be changed while it goes on, kept by all its workers
//! together, and what they wait for.

use crate::error::{Error, Kind, Result};
use crate::watch::Cancel;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use transload_observe::{PaceLimits, WaitReason, WaitTime};
use transload_store::layers::{Clock, Pace, Paces, Throttle};
use transload_store::{Snapshot, Store};

/// A limit may not be smaller: a chunk has at least as much, and would take more than a second.
pub const RATE_BYTES_PER_SECOND_MIN: u64 = crate::limits::CHUNK_BYTES_MIN;

/// Microseconds of processor time that a core gives in a second, of which one percent is meant.
const MICROS_PER_PERCENT: u64 = 10_000;

/// Checks that limits make sense.
///
/// # Errors
/// [`Kind::Refused`], naming the limit.
pub fn check_pace(limits: PaceLimits) -> Result<()> {
    let refuse = |what: String| Err(Error::new(Kind::Refused, "check the limits", what));
    for (name, rate) in [
        ("read_bytes_per_second_max", limits.read_bytes_per_second_max),
        ("write_bytes_per_second_max", limits.write_bytes_per_second_max),
    ] {
        if rate > 0 && rate < RATE_BYTES_PER_SECOND_MIN {
            return refuse(format!("{name} is below {RATE_BYTES_PER_SECOND_MIN} and not 0"));
        }
    }
    if limits.cpu_percent_max > 100 {
        return refuse("cpu_percent_max is above 100, all the cores".into());
    }
    Ok(())
}

/// A wish for other limits. What is absent stays as it is; 0 lifts a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceChange {
    /// Key and value bytes that are read in a second.
    #[serde(default, with = "absent", skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second_max: Option<u64>,
    /// Key and value bytes that are written in a second.
    #[serde(default, with = "absent", skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second_max: Option<u64>,
    /// Processor time in percent of all cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent_max: Option<u32>,
}

impl PaceChange {
    /// Whether anything is wished for.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The limits after the change.
    ///
    /// # Errors
    /// Those of [`check_pace`].
    pub fn of(&self, now: PaceLimits) -> Result<PaceLimits> {
        let limits = PaceLimits {
            read_bytes_per_second_max: self
                .read_bytes_per_second_max
                .unwrap_or(now.read_bytes_per_second_max),
            write_bytes_per_second_max: self
                .write_bytes_per_second_max
                .unwrap_or(now.write_bytes_per_second_max),
            cpu_percent_max: self.cpu_percent_max.unwrap_or(now.cpu_percent_max),
        };
        check_pace(limits)?;
        Ok(limits)
    }
}

/// A u64 that may be absent, as a decimal string.
mod absent {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(rate: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        match rate {
            None => to.serialize_none(),
            Some(rate) => to.collect_str(rate),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// The pace of a run. Clones share it.
#[derive(Clone, Debug)]
pub struct Pacing {
    paces: Paces,
    limits: Arc<Mutex<PaceLimits>>,
    cores: u64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self::new(PaceLimits::default(), &Cancel::new())
    }
}

impl Pacing {
    /// A pace within `limits`, for workers that nobody holds up any more once `cancel` is asked.
    #[must_use]
    pub fn new(limits: PaceLimits, cancel: &Cancel) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::within(limits, Paces::new(cancel.flag()), cores as u64)
    }

    /// As [`Pacing::new`], by another clock and on so many cores.
    #[must_use]
    pub fn with_clock(
        limits: PaceLimits,
        cancel: &Cancel,
        clock: Arc<dyn Clock>,
        cores: u64,
    ) -> Self {
        Self::within(limits, Paces::with_clock(cancel.flag(), clock), cores)
    }

    fn within(limits: PaceLimits, paces: Paces, cores: u64) -> Self {
        let this = Self { paces, limits: Arc::default(), cores };
        this.set(limits);
        this
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> PaceLimits {
        *self.lock()
    }

    /// Puts other limits in force, also for those who wait now.
    pub fn set(&self, limits: PaceLimits) {
        let mut now = self.lock();
        *now = limits;
        self.paces.read.set(limits.read_bytes_per_second_max);
        self.paces.write.set(limits.write_bytes_per_second_max);
        let percent = u64::from(limits.cpu_percent_max);
        self.paces.cpu.set(percent.saturating_mul(self.cores).saturating_mul(MICROS_PER_PERCENT));
    }

    /// Holds a store to the pace.
    #[must_use]
    pub fn store(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        Box::new(Throttle::new(store, self.paces.clone()))
    }

    /// Holds a view to the pace.
    #[must_use]
    pub fn snapshot(&self, snapshot: Arc<dyn Snapshot>) -> Arc<dyn Snapshot> {
        self.paces.snapshot(snapshot)
    }

    /// Waits as somebody does who has read and written `bytes` past every store.
    pub(crate) fn carry(&self, bytes: u64) {
        self.paces.read.pass(bytes);
        self.paces.write.pass(bytes);
        self.paces.cpu.pass(0);
    }

    /// Processor time was used.
    pub(crate) fn charge_cpu(&self, time: Duration) {
        self.paces.cpu.charge(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many workers have passed a limit since this was last asked.
    pub(crate) fn take_crew(&self) -> usize {
        self.paces.take_crew()
    }

    /// How long workers have waited for each reason, in the order of [`WaitReason::ALL`].
    pub(crate) fn waited(&self) -> [Duration; WaitReason::ALL.len()] {
        WaitReason::ALL.map(|reason| self.pace(reason).waited())
    }

    /// What workers have waited for, and how long in all.
    #[must_use]
    pub fn wait_times(&self) -> Vec<WaitTime> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        WaitReason::ALL
            .into_iter()
            .zip(self.waited())
            .map(|(reason, time)| WaitTime { reason, waited_millis: millis(time) })
            .filter(|time| time.waited_millis > 0)
            .collect()
    }

    fn pace(&self, reason: WaitReason) -> &Pace {
        match reason {
            WaitReason::ReadLimit => &self.paces.read,
            WaitReason::WriteLimit => &self.paces.write,
            WaitReason::CpuLimit => &self.paces.cpu,
        }
    }

    fn lock(&self) -> MutexGuard<'_, PaceLimits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_refused_by_name() {
        let refused = |limits: PaceLimits, name: &str| {
            let error = check_pace(limits).unwrap_err();
            assert!(error.kind() == Kind::Refused && error.to_string().contains(name), "{error}");
        };
        let none = PaceLimits::default();
        refused(PaceLimits { read_bytes_per_second_max: 50, ..none }, "read_bytes_per_second_max");
        refused(PaceLimits { write_bytes_per_second_max: 1, ..none }, "write_bytes_per_second_max");
        refused(PaceLimits { cpu_percent_max: 101, ..none }, "cpu_percent_max");
        check_pace(none).unwrap();
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name_and_0_lifts() {
        let now = PaceLimits {
            read_bytes_per_second_max: 1 << 20,
            write_bytes_per_second_max: 2 << 20,
            cpu_percent_max: 50,
        };
        let change = PaceChange { write_bytes_per_second_max: Some(0), ..PaceChange::default() };
        let after = change.of(now).unwrap();
        assert_eq!(after, PaceLimits { write_bytes_per_second_max: 0, ..now });
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(text, r#"{"write_bytes_per_second_max":"0"}"#);
        assert_eq!(serde_json::from_str::<PaceChange>(&text).unwrap(), change);
        assert!(PaceChange { cpu_percent_max: Some(900), ..change }.of(now).is_err());
    }

    #[test]
    fn a_percentage_is_of_all_the_cores() {
        let limits = PaceLimits { cpu_percent_max: 50, ..PaceLimits::default() };
        let clock = Arc::new(Standing);
        let pacing = Pacing::with_clock(limits, &Cancel::new(), clock, 4);
        assert_eq!(pacing.pace(WaitReason::CpuLimit).per_second_max(), 2_000_000);
        pacing.set(PaceLimits::default());
        assert_eq!(pacing.pace(WaitReason::CpuLimit).per_second_max(), 0);
    }

    #[test]
    fn whoever_is_asked_to_stop_does_not_wait_for_the_pace() {
        let cancel = Cancel::new();
        let limits = PaceLimits {
            read_bytes_per_second_max: RATE_BYTES_PER_SECOND_MIN,
            ..PaceLimits::default()
        };
        let pacing = Pacing::new(limits, &cancel);
        let (sender, ended) = std::sync::mpsc::channel();
        let worker = pacing.clone();
        std::thread::spawn(move || {
            // Some months, were nobody to ask.
            worker.carry(1 << 40);
            sender.send(()).unwrap();
        });
        while pacing.take_crew() == 0 {
            std::thread::yield_now();
        }
        assert!(ended.try_recv().is_err());
        cancel.ask();
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    #[derive(Debug)]
    struct Standing;

    impl Clock for Standing {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _: Duration) {}
    }
}
