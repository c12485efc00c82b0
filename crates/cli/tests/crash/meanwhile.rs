//! What comes while transload works: nodes that somebody starts on the very home, and a tool that
//! rewrites the config. Transload's process is stopped at a step, with everything that it holds,
//! and goes on afterwards.

use crate::campaign::{Calm, MIGRATE, YES, stands_on_the_target};
use crate::nodes::{BYPASSES, program, serves};
use crate::settings::Settings;
use crate::stand;
use crate::victim::Victim;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps at which nodes are started, where nobody has set a number.
const STARTS: u64 = 4;

/// From this step on the source's locks are held.
const HELD: &str = "attempt's folder made";

/// The exchanges of the swap itself, without those that try the file system out.
fn exchanges(calm: &Calm) -> Vec<u64> {
    let all = calm.steps.numbers_of("disk: exchanged").into_iter();
    all.filter(|step| !calm.steps.at(*step).contains(".transload-probe-")).collect()
}

/// A node that is started while transload has the databases gets nowhere, whatever bypasses the
/// config; the migration ends as if nobody had come.
pub(crate) fn nodes(settings: &Settings) {
    let Some(program) = program() else {
        println!("not checked: real nodes started while transload works: none is built");
        return;
    };
    let calm = Calm::migration();
    let (first, last) = (calm.steps.number_of(HELD), *exchanges(calm).last().unwrap());
    let all = calm.steps.that_change_something();
    let held = all.into_iter().filter(|step| (first..=last).contains(step)).collect();
    let mut chosen = settings.chosen(held, STARTS);
    chosen.extend(settings.chosen(exchanges(calm), STARTS / 2));
    let refused = AtomicU64::new(0);
    settings.each(&chosen, |step| {
        let victim = Victim::new();
        let when = format!("step {step} ({})", calm.steps.at(step));
        let stopped = victim.stopped(step, "migrate", &MIGRATE);
        let stopped = stopped.unwrap_or_else(|| panic!("never stopped at {when}"));
        let found = stand::found(&victim.home(), &when);
        for bypass in BYPASSES {
            let (serves, words) = serves(&program, &victim.home(), bypass);
            assert!(!serves, "{bypass:?} at {when}: {words}");
            assert_eq!(stand::found(&victim.home(), &when), found, "{bypass:?} at {when}");
            refused.fetch_add(1, Ordering::Relaxed);
        }
        let run = victim.goes_on(stopped);
        assert_eq!(run.code, Some(0), "nodes were refused at {when}: {}", run.said);
        stands_on_the_target(&victim, calm, &when);
    });
    println!("  {} nodes were refused at {} steps", refused.into_inner(), chosen.len());
    before_it_is_held(settings, calm, &program, first);
}

/// A node that runs before anything is copied is refused as a holder or has gone by then.
fn before_it_is_held(settings: &Settings, calm: &Calm, program: &Path, first_held: u64) {
    let all = calm.steps.that_change_something().into_iter();
    let chosen = settings.chosen(all.filter(|step| *step < first_held).collect(), STARTS / 2);
    settings.each(&chosen, |step| {
        let victim = Victim::new();
        let when = format!("step {step} ({})", calm.steps.at(step));
        let stopped = victim.stopped(step, "migrate", &MIGRATE).unwrap();
        let (serves, words) = serves(program, &victim.home(), None);
        assert!(serves, "nothing is held at {when}: {words}");
        let run = victim.goes_on(stopped);
        if run.code != Some(0) {
            assert!(matches!(run.code, Some(3 | 5)), "after {when}: {}", run.said);
            let again = victim.real("migrate", &MIGRATE);
            assert_eq!(again.code, Some(0), "again after {when}: {}", again.said);
        }
        stands_on_the_target(&victim, calm, &when);
    });
    println!("  nodes ran between {} steps before anything was copied", chosen.len());
}

/// A tool that puts the old config file back, at every exchange of the swap: transload halts,
/// no node starts on half, and the way back that it names is open.
pub(crate) fn rewritten(settings: &Settings) {
    let calm = Calm::migration();
    let stops = exchanges(calm);
    let halted = AtomicU64::new(0);
    settings.each(&stops, |step| {
        let victim = Victim::new();
        let config = victim.home().join("config/config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let when = format!("step {step} ({})", calm.steps.at(step));
        let stopped = victim.stopped(step, "migrate", &MIGRATE).unwrap();
        let guarded = std::fs::read_to_string(&config).unwrap();
        replace(&config, &text);
        let run = victim.goes_on(stopped);
        let Some(code @ (5 | 6)) = run.code else {
            panic!("{:?}, rewritten at {when}: {}", run.code, run.said)
        };
        assert!(run.said.contains("config"), "rewritten at {when}: {}", run.said);
        assert_eq!(std::fs::read_to_string(&config).unwrap(), text, "at {when}");
        let found = stand::found(&victim.home(), &when);
        if let Some(program) = program() {
            let is_whole = found.iter().all(|one| *one == "goleveldb");
            let (serves, words) = serves(&program, &victim.copied(), None);
            assert_eq!(serves, is_whole, "rewritten at {when}, {found:?}: {words}");
        }
        if code == 6 {
            halted.fetch_add(1, Ordering::Relaxed);
            assert!(run.said.contains("put that value back"), "{}", run.said);
            replace(&config, &guarded);
        }
        let back = victim.real("rollback", &YES);
        assert_eq!(back.code, Some(0), "rollback, rewritten at {when}: {}", back.said);
        assert_eq!(victim.root(&when), calm.root);
        assert_eq!(stand::of(&victim.home(), &when), stand::Stand::Whole("goleveldb"), "{when}");
        let again = victim.real("migrate", &MIGRATE);
        assert_eq!(again.code, Some(0), "again, rewritten at {when}: {}", again.said);
        stands_on_the_target(&victim, calm, &when);
    });
    let halted = halted.into_inner();
    println!("  rewritten at {} exchanges, {halted} called a person", stops.len());
}

/// As configuration tools do: the file is written beside and takes the place of the other.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("tool");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, file).unwrap();
}
