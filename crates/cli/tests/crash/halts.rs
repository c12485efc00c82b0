//! Signals that ask to stop, and a terminal that goes away.

use crate::campaign::{Calm, MIGRATE, YES, go_on, left_behind, stands_on_the_target};
use crate::settings::Settings;
use crate::victim::Victim;
use rustix::process::{Pid, Signal, kill_process_group};
use std::time::{Duration, Instant};

/// Steps at which each signal is tried, where nobody has set a number.
const HALTS: u64 = 5;

/// From this step on a swap that has begun is ended, whoever asks to stop.
const APPROVED: &str = "journal: swapped_attempt noted";

/// A small home is migrated in a second or two; machines that build something beside are slower.
const DETACHED_MAX: Duration = Duration::from_secs(120);

/// Each signal stops a migration cleanly; `resume` goes on where it stopped.
pub(crate) fn stopped(settings: &Settings) {
    let calm = Calm::migration();
    let swap = calm.steps.number_of(APPROVED);
    let mut chosen = settings.chosen(calm.steps.that_change_something(), HALTS);
    // The last moment at which the swap can be kept from beginning.
    chosen.push(swap - 1);
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        settings.each(&chosen, |step| {
            let victim = Victim::new();
            let run = victim.signalled(signal, step, "migrate", &MIGRATE);
            let when = format!("SIG{name} at step {step} ({})", run.steps.at(step));
            if step < swap {
                assert_eq!(run.code, Some(5), "{when}: {}", run.said);
                let ledger = left_behind(&victim, calm, &when);
                go_on(&victim, ledger, &when);
            } else {
                assert_eq!(run.code, Some(0), "{when}: {}", run.said);
            }
            stands_on_the_target(&victim, calm, &when);
        });
        println!("  SIG{name} at {} of {} durable steps", chosen.len(), calm.steps.count());
    }
}

/// `--detach` lives on when everybody who was there when it began gets SIGHUP.
pub(crate) fn detached(_: &Settings) {
    let calm = Calm::migration();
    let victim = Victim::new();
    let mut options = MIGRATE.to_vec();
    options.push("--detach");
    let mut command = victim.start("migrate", &options);
    let group = Pid::from_child(&command);
    assert_eq!(command.wait().unwrap().code(), Some(0));
    // Nobody may be left in the group, which is as good.
    let _ = kill_process_group(group, Signal::HUP);
    let began = Instant::now();
    loop {
        let status = victim.document("status");
        if status["phase"] == "soaking" {
            break;
        }
        assert!(began.elapsed() < DETACHED_MAX, "it doesn't get on: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Whoever owns the journal is asked for by a command that waits for nobody else.
    while victim.real("resume", &YES).code != Some(0) {
        assert!(began.elapsed() < DETACHED_MAX, "it doesn't end");
        std::thread::sleep(Duration::from_millis(50));
    }
    stands_on_the_target(&victim, calm, "it was detached");
}
