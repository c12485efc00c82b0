//! Kills at every durable step of a piece of work, one after the other.

use crate::contents::Contents;
use crate::ledger::Ledger;
use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::steps::Steps;
use crate::victim::{Run, Victim};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_engine::phase::Phase;

/// Small chunks, so that a small home has many, and two workers, so that they meet.
pub(crate) const MIGRATE: [&str; 7] =
    ["--to", "pebble1", "--yes", "--chunk", "1MiB", "--workers", "2"];
pub(crate) const YES: [&str; 1] = ["--yes"];

/// Fewer steps than this in a migration, and the hook isn't called any more.
const MIGRATION_STEPS_MIN: u64 = 150;

/// Kills of a case where nobody has set a number: the seed, which is another one for each commit,
/// chooses the steps. `TRANSLOAD_CRASH_STEPS` beyond their number kills at all.
const KILLS: u64 = 16;

/// As [`KILLS`], for the case that everybody meets.
const RESUMED_KILLS: u64 = 30;

/// A migration that nobody has harmed: what every other must end with.
pub(crate) struct Calm {
    pub(crate) before: Contents,
    pub(crate) root: String,
    pub(crate) steps: Steps,
}

impl Calm {
    /// It is run once and serves all cases.
    pub(crate) fn migration() -> &'static Self {
        static CALM: OnceLock<Calm> = OnceLock::new();
        CALM.get_or_init(Self::run)
    }

    fn run() -> Self {
        let victim = Victim::new();
        let before = victim.contents();
        let root = victim.root("nothing");
        let steps = victim.unharmed("migrate", &MIGRATE, "nothing");
        assert_eq!(victim.root("a calm migration"), root);
        assert!(steps.count() >= MIGRATION_STEPS_MIN, "fewer steps than expected: {steps:?}");
        Self { before, root, steps }
    }
}

/// Says how many kills there were.
pub(crate) struct Count {
    what: &'static str,
    steps: u64,
    changes: usize,
    kills: AtomicU64,
}

impl Count {
    pub(crate) fn of(what: &'static str, steps: &Steps) -> Self {
        let (steps, changes) = (steps.count(), steps.that_change_something().len());
        Self { what, steps, changes, kills: AtomicU64::new(0) }
    }

    pub(crate) fn kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Every kill that was asked for must have happened.
    pub(crate) fn tell(self, asked: u64) {
        let kills = self.kills.load(Ordering::Relaxed);
        let Self { what, steps, changes, .. } = self;
        let syncs = steps - changes as u64;
        println!(
            "  {what}: killed at {kills} of {changes} durable steps ({syncs} syncs between them)"
        );
        assert_eq!(kills, asked, "some kills never came");
    }
}

/// What a killed process must leave: a home that a node starts on or refuses, and a source that
/// nobody has touched before the swap.
pub(crate) fn left_behind(victim: &Victim, calm: &Calm, when: &str) -> Option<Ledger> {
    let ledger = Ledger::of(&victim.home());
    let stand = stand::of(&victim.home(), when);
    nobody_pretends_to_work(victim, when);
    if !ledger.is_some_and(|ledger| ledger.swap_begun) {
        assert_eq!(stand, Stand::Whole("goleveldb"), "before the swap, after {when}");
        let differences = calm.before.differences(&victim.contents(), when);
        assert!(differences.is_empty(), "before the swap, after {when}: {differences:?}");
    }
    ledger
}

/// Whoever asks is told that the process is gone, and what to do about it.
fn nobody_pretends_to_work(victim: &Victim, when: &str) {
    let status = victim.document("status");
    if status["schema"] == "transload.status.v1" {
        assert_eq!(status["running"], false, "after {when}: {status}");
    } else {
        // Killed before there was anything to tell.
        assert_eq!(status["exit_code"], 3, "after {when}: {status}");
    }
    let at_work = ["copying", "cutting_over"].iter().any(|phase| status["phase"] == *phase);
    if at_work && status["halted"] == false {
        let said = victim.text("status");
        assert!(said.contains("is gone") && said.contains("transload resume"), "{said}");
    }
}

/// Goes on after a kill and checks that nothing is done twice.
pub(crate) fn go_on(victim: &Victim, before: Option<Ledger>, when: &str) {
    let mut run = victim.doomed(0, "resume", &YES);
    let is_planned = before.is_some_and(|before| before.chunks > 0);
    if run.code == Some(3) && !is_planned {
        // Without a plan there is nothing to resume, and that is said.
        assert!(run.said.contains("plan"), "resume after {when}: {}", run.said);
        run = victim.doomed(0, "migrate", &MIGRATE);
    }
    assert_eq!(run.code, Some(0), "going on after {when}: {}", run.said);
    let after = Ledger::of(&victim.home()).unwrap();
    let (copied, verified) = before.map_or((0, 0), |before| (before.copied, before.verified));
    let again = |name: &str, done: u64| {
        assert_eq!(
            run.steps.count_of(name),
            after.chunks - done,
            "{name}: {done} of {} chunks were done after {when}",
            after.chunks
        );
    };
    again("copy: chunk recorded", copied);
    again("verify: chunk recorded", verified);
}

/// The migration has come to its end, with everything that was there before.
pub(crate) fn stands_on_the_target(victim: &Victim, calm: &Calm, when: &str) {
    assert_eq!(stand::of(&victim.home(), when), Stand::Whole("pebbledb"), "after {when}");
    assert_eq!(victim.root(when), calm.root, "after {when}");
    nothing_is_littered(victim, when);
}

/// What killed processes held for themselves is gone: links to old files would keep their space.
pub(crate) fn nothing_is_littered(victim: &Victim, when: &str) {
    let home = victim.home();
    let scratch = std::fs::read_dir(home.join(".transload/scratch"));
    assert_eq!(scratch.map_or(0, Iterator::count), 0, "scratch is left after {when}");
    for folder in ["data", "config", ".transload"] {
        // A kill may come before this one is made.
        if folder == ".transload" && !home.join(folder).exists() {
            continue;
        }
        for entry in std::fs::read_dir(home.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with(".transload-"), "{folder}/{name} is left after {when}");
        }
    }
}

pub(crate) fn unchanged(victim: &Victim, before: &Contents, when: &str) {
    let differences = before.differences(&victim.contents(), when);
    assert!(differences.is_empty(), "after {when}: {differences:?}");
    assert_eq!(stand::of(&victim.home(), when), Stand::Whole("goleveldb"), "after {when}");
    nothing_is_littered(victim, when);
}

/// Kills a migration at a step; `None` when it got to its end before.
fn killed(victim: &Victim, step: u64) -> Option<String> {
    let run: Run = victim.doomed(step, "migrate", &MIGRATE);
    match run.code {
        None => Some(format!("step {step} ({})", run.steps.last())),
        Some(code) => {
            assert_eq!(code, 0, "migrate, never killed: {}", run.said);
            None
        }
    }
}

/// Killed, then resumed.
pub(crate) fn resumed(settings: &Settings) {
    let calm = Calm::migration();
    let chosen = settings.chosen(calm.steps.that_change_something(), RESUMED_KILLS);
    let count = Count::of("migrate, then resume", &calm.steps);
    settings.each(&chosen, |step| {
        let victim = Victim::new();
        let Some(when) = killed(&victim, step) else { return };
        count.kill();
        let ledger = left_behind(&victim, calm, &when);
        go_on(&victim, ledger, &when);
        stands_on_the_target(&victim, calm, &when);
    });
    count.tell(chosen.len() as u64);
}

/// Killed, then rolled back.
pub(crate) fn undone(settings: &Settings) {
    let calm = Calm::migration();
    let chosen = settings.chosen(calm.steps.that_change_something(), KILLS);
    let count = Count::of("migrate, then rollback", &calm.steps);
    settings.each(&chosen, |step| {
        let victim = Victim::new();
        let Some(when) = killed(&victim, step) else { return };
        count.kill();
        let ledger = left_behind(&victim, calm, &when);
        let run = victim.doomed(0, "rollback", &YES);
        // Before anything was begun there is nothing to roll back, and that is said.
        let nothing = ledger.is_none_or(|ledger| ledger.chunks == 0) && run.code == Some(3);
        assert!(run.code == Some(0) || nothing, "rollback after {when}: {}", run.said);
        unchanged(&victim, &calm.before, &when);
    });
    count.tell(chosen.len() as u64);
}

/// Killed while targets are built on another volume and come over, then resumed.
pub(crate) fn elsewhere(settings: &Settings) {
    let calm = Calm::migration();
    let folder = tempfile::tempdir().unwrap();
    let place = |number: u64| folder.path().join(number.to_string()).display().to_string();
    let options = |place: &str| {
        let options = MIGRATE.map(str::to_owned).into_iter();
        options.chain(["--target-dir".to_owned(), place.to_owned()]).collect::<Vec<String>>()
    };
    let run = |victim: &Victim, step: u64| {
        let options = options(&place(step));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        victim.doomed(step, "migrate", &options)
    };
    let unharmed = run(&Victim::new(), 0);
    assert_eq!(unharmed.code, Some(0), "{}", unharmed.said);
    let chosen = settings.chosen(unharmed.steps.numbers_of("copy: target"), KILLS);
    settings.each(&chosen, |step| {
        let victim = Victim::new();
        let run = run(&victim, step);
        let when = format!("step {step} ({}) from another volume", run.steps.last());
        assert_eq!(run.code, None, "never killed: {when}");
        let ledger = left_behind(&victim, calm, &when);
        go_on(&victim, ledger, &when);
        stands_on_the_target(&victim, calm, &when);
        let left = files_below(Path::new(&place(step)));
        assert!(left.is_empty(), "after {when} these are left: {left:?}");
    });
    println!("  targets of another volume: killed at {} steps", chosen.len());
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Killed, killed again while going on, then resumed.
pub(crate) fn resumed_twice(settings: &Settings) {
    let calm = Calm::migration();
    let twice = AtomicU64::new(0);
    let pairs: Vec<u64> = (0..settings.pairs).collect();
    settings.each(&pairs, |pair| {
        let victim = Victim::new();
        let mut dice = settings.dice(1 + pair);
        let first = 1 + dice.roll(calm.steps.count());
        let Some(mut when) = killed(&victim, first) else { return };
        let is_cut = left_behind(&victim, calm, &when).is_some_and(|ledger| ledger.chunks > 0);
        let second = 1 + dice.roll(calm.steps.count() - first + 1);
        // Without a plan, `resume` has nothing to go on with.
        let run = if is_cut {
            victim.doomed(second, "resume", &YES)
        } else {
            victim.doomed(second, "migrate", &MIGRATE)
        };
        match run.code {
            None => {
                twice.fetch_add(1, Ordering::Relaxed);
                when += &format!(", then step {second} ({}) of going on", run.steps.last());
            }
            Some(code) => assert_eq!(code, 0, "going on after {when}: {}", run.said),
        }
        let ledger = left_behind(&victim, calm, &when);
        go_on(&victim, ledger, &when);
        stands_on_the_target(&victim, calm, &when);
    });
    let twice = twice.into_inner();
    println!("  {twice} of {} migrations were killed twice", settings.pairs);
    assert!(twice > settings.pairs / 2, "the second kill seldom comes");
}

/// Kills a rollback.
pub(crate) fn rollback(settings: &Settings) {
    let calm = Calm::migration();
    after_a_migration(settings, "rollback", |victim, when| {
        let phase = Ledger::of(&victim.home()).unwrap().phase;
        // Both commands go on with a rollback that has begun; `resume` begins none.
        let command = if phase == Phase::RollingBack { "resume" } else { "rollback" };
        let again = victim.doomed(0, command, &YES);
        // Killed after its last step there is nothing left to do, and that is said.
        let is_over = again.code == Some(3) && again.said.contains("rolled back");
        assert!(again.code == Some(0) || is_over, "{command} after {when}: {}", again.said);
        unchanged(victim, &calm.before, when);
    });
}

/// Kills the freeing of the old databases.
pub(crate) fn finalize(settings: &Settings) {
    let calm = Calm::migration();
    after_a_migration(settings, "finalize", |victim, when| {
        let again = victim.doomed(0, "finalize", &YES);
        let is_over = again.code == Some(3) && again.said.contains("finalized");
        assert!(again.code == Some(0) || is_over, "finalize after {when}: {}", again.said);
        stands_on_the_target(victim, calm, when);
        let attempts = victim.home().join(".transload/attempts");
        let left = std::fs::read_dir(attempts).map_or(0, Iterator::count);
        assert_eq!(left, 0, "old databases are left after {when}");
    });
}

/// Kills `command` at its steps in a home that soaks; `end` ends it and checks.
fn after_a_migration(
    settings: &Settings,
    command: &'static str,
    end: impl Fn(&Victim, &str) + Sync,
) {
    let soaking = || {
        let victim = Victim::new();
        victim.unharmed("migrate", &MIGRATE, "nothing");
        victim
    };
    let steps = soaking().unharmed(command, &YES, "a calm migration");
    let chosen = settings.chosen(steps.that_change_something(), KILLS);
    let count = Count::of(command, &steps);
    settings.each(&chosen, |step| {
        let victim = soaking();
        let run = victim.doomed(step, command, &YES);
        let when = format!("step {step} ({}) of {command}", run.steps.last());
        if run.code.is_some() {
            return;
        }
        count.kill();
        stand::of(&victim.home(), &when);
        end(&victim, &when);
    });
    count.tell(chosen.len() as u64);
}
