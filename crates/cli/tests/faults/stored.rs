//! Files that are spoiled between two commands: what transload keeps, the new databases, the old
//! ones.

use crate::program::Run;
use crate::settings::{Settings, pick};
use crate::shared::Dice;
use crate::verdict::{MIGRATE, YES, root};
use crate::ward::{Stand, Ward};
use std::fs;
use std::path::{Path, PathBuf};

/// How a file is spoiled.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    FlipsBit,
    IsCutOff,
    HasZeroes,
    IsLonger,
    IsGone,
}

const SPOILS: [Spoil; 5] =
    [Spoil::FlipsBit, Spoil::IsCutOff, Spoil::HasZeroes, Spoil::IsLonger, Spoil::IsGone];

/// How much is zeroed: a page that was never written.
const ZEROES: usize = 4096;

/// When a file is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Before anything: one of the old databases.
    First,
    /// The copy is verified and nobody has said yes.
    Ready,
    /// The home stands on the new databases.
    Soaking,
}

/// Spoils files and goes on.
pub(crate) fn spoiled(settings: &Settings) {
    settings.each(settings.bytes, |run| one(settings, run));
    println!("  {} homes with a spoiled file", settings.bytes);
}

fn one(settings: &Settings, run: u64) {
    let mut dice = settings.dice("bytes", run);
    let ward = Ward::new();
    let moment = *pick(&mut dice, &[Moment::First, Moment::Ready, Moment::Soaking]);
    match moment {
        Moment::First => {}
        // There is no terminal to say yes on.
        Moment::Ready => {
            let without_yes: Vec<&str> =
                MIGRATE.into_iter().filter(|word| *word != "--yes").collect();
            let ready = ward.run(&[], "migrate", &without_yes);
            assert_eq!(ready.code, Some(5), "{}", ready.in_words());
        }
        Moment::Soaking => {
            let soaking = ward.run(&[], "migrate", &MIGRATE);
            assert_eq!(soaking.code, Some(0), "{}", soaking.in_words());
        }
    }
    let home = ward.home();
    let mut files = match moment {
        Moment::First => files_below(&home.join("data")),
        Moment::Ready => files_below(&home.join(".transload")),
        Moment::Soaking => {
            [files_below(&home.join(".transload")), files_below(&home.join("data"))].concat()
        }
    };
    // What no database holds isn't transload's.
    files.retain(|file| file.starts_with(home.join(".transload")) || is_of_a_database(file));
    files.sort();
    // What transload keeps for itself are a few files among many.
    let own: Vec<PathBuf> = files.iter().filter(|file| !is_of_a_database(file)).cloned().collect();
    let is_own = !own.is_empty() && dice.roll(2) == 0;
    let file = pick(&mut dice, if is_own { &own } else { &files }).clone();
    let spoil = *pick(&mut dice, &SPOILS);
    spoil_file(&file, spoil, &mut dice);
    let relative = file.strip_prefix(&home).unwrap().to_owned();
    let what = format!(
        "seed {}, bytes {run}, {moment:?}, {} {spoil:?}",
        settings.seed,
        relative.display()
    );
    let command = match moment {
        Moment::First => "migrate",
        Moment::Ready => *pick(&mut dice, &["resume", "rollback"]),
        Moment::Soaking => *pick(&mut dice, &["rollback", "finalize"]),
    };
    let options: &[&str] = if command == "migrate" { &MIGRATE } else { &YES };
    let ended = ward.run(&[], command, options);
    check(&ward, &ended, command, &relative, &format!("{what}, {command}"));
}

fn check(ward: &Ward, ended: &Run, command: &str, spoiled: &Path, what: &str) {
    let said = ended.in_words();
    let stand = ward.stand(&format!("{what}: {said}"));
    match ended.code {
        Some(0) => {
            let goal = if command == "rollback" { Stand::Old } else { Stand::New };
            assert_eq!(stand, goal, "{what}: {said}");
            // Bytes that nothing needs may be spoiled; an old database that was spoiled where
            // it is kept comes back as it is.
            if command != "rollback" {
                assert_eq!(ward.root(&ward.home(), what), root(), "{what}: {said}");
            }
        }
        Some(3..=6) => assert!(!ended.said.trim().is_empty(), "{what}: {said}"),
        _ => panic!("{what}: {said}"),
    }
    if stand == Stand::Old {
        let spoiled = spoiled.file_name().unwrap().to_string_lossy().into_owned();
        let mut differences = ward.differences();
        // A config file whose old copy is spoiled is made anew from the one in use.
        let is_anew =
            |line: &str| line.starts_with("config/") && line.ends_with("another mode or time");
        differences.retain(|line| !line.contains(&spoiled) && !is_anew(line));
        assert!(differences.is_empty(), "{what}: {said}: {differences:?}");
    }
}

fn is_of_a_database(file: &Path) -> bool {
    file.components().any(|part| crate::ward::GOVERNED.iter().any(|name| part.as_os_str() == *name))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else if path.is_file() {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}

fn spoil_file(file: &Path, spoil: Spoil, dice: &mut Dice) {
    let mut bytes = fs::read(file).unwrap();
    let length = bytes.len() as u64;
    let mut place = || usize::try_from(dice.roll(length.max(1))).unwrap();
    match spoil {
        Spoil::IsGone => return fs::remove_file(file).unwrap(),
        Spoil::FlipsBit if length > 0 => {
            let at = place();
            bytes[at] ^= 1 << (place() % 8);
        }
        Spoil::IsCutOff => bytes.truncate(place()),
        Spoil::HasZeroes if length > 0 => {
            let at = place();
            let end = (at + ZEROES).min(bytes.len());
            bytes[at..end].fill(0);
        }
        Spoil::FlipsBit | Spoil::HasZeroes | Spoil::IsLonger => bytes.extend(b"spoiled"),
    }
    fs::write(file, bytes).unwrap();
}
