//! Migrations, rollbacks and finalizes of a home while a system call of transload or of its
//! helper fails or lies.

use crate::injection::{Census, Injection};
use crate::settings::Settings;
use crate::verdict::{MIGRATE, YES, after_faults, ends_well, stands};
use crate::ward::{Stand, Ward};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts runs, and those in which a call was really hit.
#[derive(Debug, Default)]
pub(crate) struct Count {
    runs: AtomicU64,
    struck: AtomicU64,
    calls: AtomicU64,
    succeeded: AtomicU64,
}

impl Count {
    /// Notes a run.
    pub(crate) fn run(&self, calls: u64, succeeded: bool) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.struck.fetch_add(u64::from(calls > 0), Ordering::Relaxed);
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.succeeded.fetch_add(u64::from(succeeded), Ordering::Relaxed);
    }

    /// Says what there was. At least every second run must have been hit.
    pub(crate) fn tell(&self, what: &str) {
        let [runs, struck, calls, succeeded] =
            [&self.runs, &self.struck, &self.calls, &self.succeeded]
                .map(|count| count.load(Ordering::Relaxed));
        println!("  {what}: {struck} of {runs} runs hit, {calls} times; {succeeded} succeeded");
        assert!(2 * struck >= runs, "{what}: the faults seldom come");
    }
}

/// Whether system calls can be traced here.
pub(crate) fn can_trace(settings: &Settings) -> bool {
    if !settings.strace {
        println!("not checked: strace: no system call failed or lied");
    }
    settings.strace
}

/// Faults in `migrate`.
pub(crate) fn migrations(settings: &Settings) {
    if !can_trace(settings) {
        return;
    }
    let census = Census::of(&Ward::new(), "migrate", &MIGRATE);
    println!("  calls of the busiest thread: {}", census.in_words());
    let count = Count::default();
    settings.each(settings.calls, |run| {
        let mut dice = settings.dice("migrations", run);
        let ward = Ward::new();
        let injection = Injection::roll(&census, &mut dice);
        let what = format!("seed {}, migration {run}, {}", settings.seed, injection.text);
        let log = ward.beside("struck");
        let ended = ward.run(&injection.words(&log), "migrate", &MIGRATE);
        count.run(Injection::struck(&log), ended.code == Some(0));
        after_faults(&ward, &ended, Stand::New, injection.lies, &what);
        ends_well(&ward, &mut dice, injection.lies, &what);
    });
    count.tell("migrate");
}

/// Faults in `rollback` and `finalize` of a home that soaks.
pub(crate) fn ways_out(settings: &Settings) {
    if !can_trace(settings) {
        return;
    }
    for (command, goal) in [("rollback", Stand::Old), ("finalize", Stand::New)] {
        let census = Census::of(&soaking(), command, &YES);
        let count = Count::default();
        settings.each(settings.calls / 4, |run| {
            let mut dice = settings.dice(command, run);
            let ward = soaking();
            let injection = Injection::roll(&census, &mut dice);
            let what = format!("seed {}, {command} {run}, {}", settings.seed, injection.text);
            let log = ward.beside("struck");
            let ended = ward.run(&injection.words(&log), command, &YES);
            count.run(Injection::struck(&log), ended.code == Some(0));
            after_faults(&ward, &ended, goal, injection.lies, &what);
            // Without faults the same command comes to its end.
            for round in 0.. {
                let again = ward.run(&[], command, &YES);
                let over = again.code == Some(3) && ward.stand(&what) == goal;
                if again.code == Some(0) || over {
                    break;
                }
                // A new database that seemed damaged has halted the soak.
                let halted = injection.lies && round < 3;
                assert!(halted, "{what}, then again: {}", again.in_words());
                ward.run(&[], "resume", &YES);
            }
            stands(&ward, goal, &what);
        });
        count.tell(command);
    }
}

fn soaking() -> Ward {
    let ward = Ward::new();
    let run = ward.run(&[], "migrate", &MIGRATE);
    assert_eq!(run.code, Some(0), "without faults: {}", run.in_words());
    ward
}
