//! Kills of the real program, or of one of its helpers, from outside, at random moments.
//!
//! The moments depend on the machine's speed; the seed decides what is done and how long it may
//! live, so that a run is repeated in kind, not in every detail.

use crate::campaign::{Calm, MIGRATE, YES, left_behind, stands_on_the_target, unchanged};
use crate::contents::ANY_MOMENT;
use crate::settings::Settings;
use crate::shared::Dice;
use crate::stand;
use crate::victim::Victim;
use rustix::process::{Pid, Signal, kill_process};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many of each kind came before the work was done.
#[derive(Debug, Default)]
struct Kills {
    transload: AtomicU64,
    helper: AtomicU64,
    too_late: AtomicU64,
}

/// How long the commands take that nobody kills.
struct Spans {
    migrate: Duration,
    rollback: Duration,
    finalize: Duration,
}

impl Spans {
    fn measured() -> Self {
        let timed = |victim: &Victim, command: &str, options: &[&str]| {
            let began = Instant::now();
            let run = victim.real(command, options);
            assert_eq!(run.code, Some(0), "{command}: {}", run.said);
            began.elapsed()
        };
        let (one, other) = (Victim::new(), Victim::new());
        let migrate = timed(&one, "migrate", &MIGRATE);
        timed(&other, "migrate", &MIGRATE);
        Self {
            migrate,
            rollback: timed(&one, "rollback", &YES),
            finalize: timed(&other, "finalize", &YES),
        }
    }
}

/// Kills at random moments; whatever was done is ended as an operator would.
pub(crate) fn killed(settings: &Settings) {
    let calm = Calm::migration();
    let spans = Spans::measured();
    let kills = Kills::default();
    let runs: Vec<u64> = (0..settings.moments).collect();
    settings.each(&runs, |run| {
        let mut dice = settings.dice(0x1000 + run);
        let victim = Victim::new();
        let when = format!("{ANY_MOMENT} of run {run}");
        match dice.roll(10) {
            0..=5 => {
                kill(&victim, "migrate", &MIGRATE, spans.migrate, &mut dice, &kills);
                left_behind(&victim, calm, &when);
                resume(&victim, &when);
                stands_on_the_target(&victim, calm, &when);
            }
            6..=7 => {
                kill(&victim, "migrate", &MIGRATE, spans.migrate, &mut dice, &kills);
                left_behind(&victim, calm, &when);
                roll_back(&victim, &when);
                unchanged(&victim, &calm.before, &when);
            }
            8 => {
                soaks(&victim);
                kill(&victim, "rollback", &YES, spans.rollback, &mut dice, &kills);
                stand::of(&victim.home(), &when);
                roll_back(&victim, &when);
                unchanged(&victim, &calm.before, &when);
            }
            _ => {
                soaks(&victim);
                kill(&victim, "finalize", &YES, spans.finalize, &mut dice, &kills);
                stand::of(&victim.home(), &when);
                let run = victim.real("finalize", &YES);
                let is_over = run.code == Some(3) && run.said.contains("finalized");
                assert!(run.code == Some(0) || is_over, "finalize after {when}: {}", run.said);
                stands_on_the_target(&victim, calm, &when);
            }
        }
    });
    let [transload, helper, too_late] =
        [kills.transload, kills.helper, kills.too_late].map(AtomicU64::into_inner);
    println!(
        "  {} runs: transload killed in {transload}, a helper in {helper}; {too_late} had ended",
        settings.moments
    );
    assert!(transload + helper >= settings.moments / 2, "most kills come too late");
}

fn soaks(victim: &Victim) {
    let run = victim.real("migrate", &MIGRATE);
    assert_eq!(run.code, Some(0), "migrate: {}", run.said);
}

/// Goes on with `resume`; without a plan there is nothing to resume, and that is said.
fn resume(victim: &Victim, when: &str) {
    let mut run = victim.real("resume", &YES);
    if run.code == Some(3) {
        assert!(run.said.contains("plan"), "resume after {when}: {}", run.said);
        run = victim.real("migrate", &MIGRATE);
    }
    assert_eq!(run.code, Some(0), "going on after {when}: {}", run.said);
}

/// Goes back; where nothing was begun, or all is back, there is nothing to do, and that is said.
fn roll_back(victim: &Victim, when: &str) {
    let run = victim.real("rollback", &YES);
    let nothing = run.code == Some(3)
        && ["planned", "rolled back", "has begun"].iter().any(|state| run.said.contains(state));
    assert!(run.code == Some(0) || nothing, "rollback after {when}: {}", run.said);
}

/// Starts a command and kills it, or now and then one of its helpers, after a random time.
fn kill(
    victim: &Victim,
    command: &str,
    options: &[&str],
    span: Duration,
    dice: &mut Dice,
    kills: &Kills,
) {
    let life = span.mul_f64(f64::from(u16::try_from(dice.roll(1000)).unwrap()) / 1000.0);
    let a_helper = dice.roll(4) == 0;
    let child = victim.start(command, options);
    std::thread::sleep(life);
    let helper = if a_helper { helpers(&child).first().copied() } else { None };
    // Whoever has ended by itself in the meantime can't be killed any more.
    let _ = kill_process(helper.unwrap_or(Pid::from_child(&child)), Signal::KILL);
    let run = victim.ended(child);
    let counter = match (run.code, helper) {
        (None, _) => &kills.transload,
        // Work that a helper was needed for stops, and can be gone on with.
        (Some(5), Some(_)) => &kills.helper,
        // Its work was done, or nothing was begun yet.
        (Some(3), Some(_)) => {
            assert!(run.said.contains("helper"), "{command}: {}", run.said);
            &kills.helper
        }
        (Some(code), _) => {
            assert_eq!(code, 0, "{command}, killed after {life:?}: {}", run.said);
            &kills.too_late
        }
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The processes that a process has started.
fn helpers(child: &Child) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", child.id());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}
