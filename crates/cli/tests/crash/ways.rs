//! A migration of any kind, killed at durable steps; each is gone on with or, every other time,
//! rolled back.

use crate::campaign::YES;
use crate::contents::Contents;
use crate::settings::Settings;
use crate::stand;
use crate::steps::Steps;
use crate::victim::Victim;
use std::sync::atomic::{AtomicU64, Ordering};

/// A migration, and what a calm one showed.
pub(crate) struct Way<'a> {
    pub(crate) options: &'a [&'a str],
    /// Its durable steps.
    pub(crate) steps: Steps,
    /// The home before it.
    pub(crate) before: Contents,
}

impl Way<'_> {
    /// Kills it at so many steps as are set, or `otherwise`, in homes that `make` makes. `check`
    /// looks at each home that has gone on (`true`) or back, whose bytes are then what they were.
    pub(crate) fn killed(
        &self,
        settings: &Settings,
        otherwise: u64,
        make: impl Fn() -> Victim + Sync,
        check: impl Fn(&Victim, bool, &str) + Sync,
    ) {
        let chosen = settings.chosen(self.steps.that_change_something(), otherwise);
        let kills = AtomicU64::new(0);
        settings.each(&chosen, |step| {
            let victim = make();
            let run = victim.doomed(step, "migrate", self.options);
            let when = format!("step {step} ({}) of {:?}", run.steps.last(), self.options);
            assert_eq!(run.code, None, "never killed: {when}: {}", run.said);
            kills.fetch_add(1, Ordering::Relaxed);
            stand::of(&victim.home(), &when);
            let goes_on = step % 2 == 0;
            if goes_on {
                self.goes_on(&victim, &when);
            } else {
                self.goes_back(&victim, &when);
            }
            check(&victim, goes_on, &when);
        });
        let kills = kills.into_inner();
        println!("  {:?}: killed at {kills} of {} steps", self.options, self.steps.count());
        assert_eq!(kills, chosen.len() as u64, "some kills never came");
    }

    /// Without a plan there is nothing to resume, and that is said.
    fn goes_on(&self, victim: &Victim, when: &str) {
        let mut run = victim.doomed(0, "resume", &YES);
        if run.code == Some(3) {
            assert!(run.said.contains("plan"), "resume after {when}: {}", run.said);
            run = victim.doomed(0, "migrate", self.options);
        }
        assert_eq!(run.code, Some(0), "going on after {when}: {}", run.said);
    }

    /// Rolled back, every byte is what it was.
    fn goes_back(&self, victim: &Victim, when: &str) {
        let run = victim.doomed(0, "rollback", &YES);
        let too_early = ["planned", "no migration of this home has begun"];
        let nothing = run.code == Some(3) && too_early.iter().any(|words| run.said.contains(words));
        assert!(run.code == Some(0) || nothing, "rollback after {when}: {}", run.said);
        let differences = self.before.differences(&victim.contents(), when);
        assert!(differences.is_empty(), "after {when}: {differences:?}");
    }
}
