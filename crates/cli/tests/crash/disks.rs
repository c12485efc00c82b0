//! A disk that fills, has no file left, or fails and turns read-only, while transload works:
//! stopped at a step, struck, and let go on, it never reports success for what isn't done, and
//! once the disk is well again it goes on, or back, to the same root.

use crate::campaign::{Calm, MIGRATE, YES};
use crate::contents::Contents;
use crate::ledger::Ledger;
use crate::mounts::{Disk, may_mount};
use crate::settings::Settings;
use crate::stand::{self, Stand};
use crate::steps::Steps;
use crate::victim::Victim;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_engine::phase::Phase;

/// Steps at which a disk is struck in each case, where nobody has set a number.
const STRIKES: u64 = 4;

/// Room for the home, a copy of it, and what the file system keeps for itself.
const DISK_MEBIBYTES: u64 = 96;

const FILES: u64 = 4_000;

/// What happens to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Full,
    NoFiles,
    Fails,
}

/// What is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The whole home.
    Home,
    /// The databases, with what is staged beside them; the journal is elsewhere.
    Data,
    /// Journal, plans and scratch; the databases are elsewhere.
    Journal,
    /// The targets while they are built.
    Targets,
}

const CASES: [(Holds, Trouble); 9] = [
    (Holds::Home, Trouble::Full),
    (Holds::Home, Trouble::NoFiles),
    (Holds::Home, Trouble::Fails),
    (Holds::Data, Trouble::Full),
    (Holds::Data, Trouble::Fails),
    (Holds::Journal, Trouble::Full),
    (Holds::Journal, Trouble::Fails),
    (Holds::Targets, Trouble::Full),
    (Holds::Targets, Trouble::Fails),
];

/// A home, and the disk that gets into trouble.
struct Scene {
    // Dropped before the disk that it may be on.
    victim: Victim,
    disk: Disk,
    trouble: Trouble,
    /// Where else folders of the disk are mounted.
    places: Vec<(PathBuf, PathBuf)>,
    options: Vec<String>,
}

impl Scene {
    fn new(holds: Holds, trouble: Trouble) -> Self {
        let disk = match trouble {
            Trouble::Fails => Disk::ext4(DISK_MEBIBYTES),
            Trouble::Full if holds == Holds::Home => Disk::ext4(DISK_MEBIBYTES),
            Trouble::Full | Trouble::NoFiles => Disk::memory(DISK_MEBIBYTES, FILES),
        };
        let on_disk = holds == Holds::Home;
        let victim = if on_disk { Victim::on(&disk.path()) } else { Victim::new() };
        let mut options = MIGRATE.map(str::to_owned).to_vec();
        let mut places = Vec::new();
        let inner = match holds {
            Holds::Home => None,
            Holds::Data => Some("data"),
            Holds::Journal => Some(".transload"),
            Holds::Targets => {
                let place = disk.path().join("targets").display().to_string();
                options.extend(["--target-dir".to_owned(), place]);
                None
            }
        };
        if let Some(inner) = inner {
            let (folder, place) = (disk.path().join(inner), victim.home().join(inner));
            if !place.exists() {
                std::fs::create_dir(&place).unwrap();
            }
            let copied = Command::new("cp").arg("-a").arg(&place).arg(&folder).status().unwrap();
            assert!(copied.success());
            disk.also_at(&folder, &place);
            places.push((folder, place));
        }
        disk.settle();
        Self { victim, disk, trouble, places, options }
    }

    fn options(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).collect()
    }

    fn strike(&self) {
        match self.trouble {
            Trouble::Full => self.disk.fill(),
            Trouble::NoFiles => self.disk.use_up_files(),
            Trouble::Fails => self.disk.fail(),
        }
    }

    fn mend(&self) {
        match self.trouble {
            Trouble::Full | Trouble::NoFiles => self.disk.make_room(),
            Trouble::Fails => self.disk.repair(&self.places),
        }
    }

    /// Nobody has touched the home. Where the data is a volume of its own, what is staged stands
    /// for a time in the folders of databases and configs and gives them a new time.
    fn is_untouched(&self, before: &Contents, when: &str) {
        let mut differences = before.differences(&self.victim.contents(), when);
        differences
            .retain(|line| self.places.is_empty() || !line.contains("(a folder) has another time"));
        assert!(differences.is_empty(), "after {when}: {differences:?}");
    }

    /// The home as it was before the disk was struck, as far as the way back promises it.
    fn is_as_before(&self, before: &Contents, root: &str, when: &str) {
        self.is_untouched(before, when);
        assert_eq!(stand::of(&self.victim.home(), when), Stand::Whole("goleveldb"), "{when}");
        assert_eq!(self.victim.root(when), root, "after {when}");
    }

    fn is_on_the_target(&self, root: &str, when: &str) {
        assert_eq!(stand::of(&self.victim.home(), when), Stand::Whole("pebbledb"), "{when}");
        assert_eq!(self.victim.root(when), root, "after {when}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for (_, place) in &self.places {
            let _ = Command::new("umount").arg("-l").arg(place).output();
        }
    }
}

/// How the strikes ended.
#[derive(Debug, Default)]
struct Count {
    struck: AtomicU64,
    unharmed: AtomicU64,
}

/// Strikes in every case at some steps, alternately followed by going on and going back.
pub(crate) fn struck(settings: &Settings) {
    if !may_mount() {
        println!("not checked: disks that fill, fail and turn read-only: no mounts can be made");
        return;
    }
    let calm = Calm::migration();
    for (holds, trouble) in CASES {
        let count = Count::default();
        let steps = {
            let scene = Scene::new(holds, trouble);
            scene.victim.unharmed("migrate", &scene.options(), "no trouble")
        };
        let mut chosen = settings.chosen(steps.that_change_something(), STRIKES);
        // Between the guards and the targets, whatever else.
        chosen.extend(settings.chosen(live_exchanges(&steps), STRIKES / 2));
        let numbered: Vec<(usize, u64)> = chosen.iter().copied().enumerate().collect();
        settings.each(&numbered, |(number, step)| {
            let scene = Scene::new(holds, trouble);
            let when = format!("{trouble:?} of {holds:?} at step {step} ({})", steps.at(step));
            migration(&scene, calm, step, number % 2 == 0, &count, &when);
        });
        // Targets are in the home's own folders by then.
        if holds != Holds::Targets {
            let steps = {
                let scene = Scene::new(holds, trouble);
                scene.victim.unharmed("migrate", &scene.options(), "no trouble");
                scene.victim.unharmed("rollback", &YES, "no trouble")
            };
            let chosen = settings.chosen(steps.that_change_something(), STRIKES / 2);
            settings.each(&chosen, |step| {
                let scene = Scene::new(holds, trouble);
                let name = steps.at(step);
                let when =
                    format!("{trouble:?} of {holds:?} at step {step} of a rollback ({name})");
                way_back(&scene, calm, step, &count, &when);
            });
        }
        let [struck, unharmed] = [count.struck, count.unharmed].map(AtomicU64::into_inner);
        println!("  {trouble:?} of {holds:?}: {struck} halted, {unharmed} ended all the same");
        assert!(struck > 0, "the trouble never troubles");
    }
}

fn live_exchanges(steps: &Steps) -> Vec<u64> {
    let all = steps.numbers_of("disk: exchanged").into_iter();
    all.filter(|step| !steps.at(*step).contains(".transload-probe-")).collect()
}

fn migration(scene: &Scene, calm: &Calm, step: u64, goes_on: bool, count: &Count, when: &str) {
    let victim = &scene.victim;
    let before = victim.contents();
    let Some(stopped) = victim.stopped(step, "migrate", &scene.options()) else {
        panic!("never stopped: {when}")
    };
    scene.strike();
    let run = victim.goes_on(stopped);
    let ledger = Ledger::of(&victim.home());
    let stands = stand::of(&victim.home(), when);
    let begun = ledger.is_some_and(|ledger| ledger.chunks > 0);
    match run.code {
        Some(0) => {
            count.unharmed.fetch_add(1, Ordering::Relaxed);
            assert_eq!(stands, Stand::Whole("pebbledb"), "{when}: {}", run.said);
        }
        Some(code) if code == 5 || (code == 3 && !begun) => {
            count.struck.fetch_add(1, Ordering::Relaxed);
        }
        code => panic!("{code:?} after {when}: {}", run.said),
    }
    if !ledger.is_some_and(|ledger| ledger.swap_begun) {
        assert_eq!(stands, Stand::Whole("goleveldb"), "before the swap, {when}");
        scene.is_untouched(&before, when);
    }
    scene.mend();
    if run.code == Some(0) {
        scene.is_on_the_target(&calm.root, when);
    } else if goes_on {
        let mut again = victim.real("resume", &YES);
        if again.code == Some(3) {
            assert!(again.said.contains("plan"), "resume after {when}: {}", again.said);
            again = victim.real("migrate", &scene.options());
        }
        assert_eq!(again.code, Some(0), "going on after {when}: {}", again.said);
        scene.is_on_the_target(&calm.root, when);
    } else {
        let back = victim.real("rollback", &YES);
        let nothing = back.code == Some(3) && !begun;
        assert!(back.code == Some(0) || nothing, "rollback after {when}: {}", back.said);
        scene.is_as_before(&before, &calm.root, when);
    }
}

/// Strikes while the old databases come back.
fn way_back(scene: &Scene, calm: &Calm, step: u64, count: &Count, when: &str) {
    let victim = &scene.victim;
    let before = victim.contents();
    victim.unharmed("migrate", &scene.options(), "no trouble");
    let stopped = victim.stopped(step, "rollback", &YES).expect("it stops");
    scene.strike();
    let run = victim.goes_on(stopped);
    stand::of(&victim.home(), when);
    scene.mend();
    match run.code {
        Some(0) => {
            count.unharmed.fetch_add(1, Ordering::Relaxed);
        }
        Some(3 | 5) => {
            count.struck.fetch_add(1, Ordering::Relaxed);
            let phase = Ledger::of(&victim.home()).unwrap().phase;
            if phase != Phase::RolledBack {
                let command = if phase == Phase::RollingBack { "resume" } else { "rollback" };
                let again = victim.real(command, &YES);
                assert_eq!(again.code, Some(0), "{command} after {when}: {}", again.said);
            }
        }
        code => panic!("{code:?} after {when}: {}", run.said),
    }
    // A disk that failed once everything was back may keep what was staged until then.
    victim.unharmed("finalize", &YES, when);
    scene.is_as_before(&before, &calm.root, when);
}

/// Somebody remounts the volume read-only while the node soaks on the new databases.
pub(crate) fn read_only_soak(_: &Settings) {
    if !may_mount() {
        println!(
            "not checked: a volume that turns read-only while it soaks: no mounts can be made"
        );
        return;
    }
    let calm = Calm::migration();
    let scene = Scene::new(Holds::Home, Trouble::Fails);
    let victim = &scene.victim;
    let before = victim.contents();
    victim.unharmed("migrate", &MIGRATE, "no trouble");
    let soaking = victim.contents();
    scene.disk.remount("ro");
    assert_eq!(victim.document("status")["phase"], "soaking");
    for command in ["finalize", "rollback", "resume"] {
        let run = victim.real(command, &YES);
        assert!(matches!(run.code, Some(3 | 5)), "{command}: {:?}: {}", run.code, run.said);
        assert!(run.said.contains("Read-only file system"), "{command}: {}", run.said);
    }
    assert_eq!(soaking.differences(&victim.contents(), "read-only"), Vec::<String>::new());
    scene.is_on_the_target(&calm.root, "read-only");
    scene.disk.remount("rw");
    let back = victim.real("rollback", &YES);
    assert_eq!(back.code, Some(0), "{}", back.said);
    scene.is_as_before(&before, &calm.root, "writable again");
}
