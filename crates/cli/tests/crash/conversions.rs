//! Kills of `convert`: at the target's path stands nothing, or the whole verified database.

use crate::campaign::Count;
use crate::settings::Settings;
use crate::victim::Victim;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Targets of every kind: a folder that a helper writes, a folder, a file, a file with others
/// beside it.
const ENGINES: [&str; 4] = ["pebble1", "lmdb", "redb", "sqlite"];

/// Small chunks, so that a small database has many.
const OPTIONS: [&str; 6] = ["--chunk", "1MiB", "--workers", "2", "--accept-weaker", "checksummed"];

/// Killed, then called once more with the same words.
pub(crate) fn killed(settings: &Settings) {
    let calm = Victim::new();
    let root = root_of(&calm.home().join("data/blockstore.db"));
    for engine in ENGINES {
        let run = converted(&calm, 0, engine);
        assert_eq!(run.code, Some(0), "{engine}: {}", run.said);
        let steps = run.steps;
        assert_eq!(root_of(&target(&calm)), root, "{engine}");
        let chosen = settings.chosen(steps.that_change_something(), u64::MAX);
        let count = Count::of(engine, &steps);
        settings.each(&chosen, |step| {
            let victim = Victim::new();
            let before = victim.contents();
            let run = converted(&victim, step, engine);
            let when = format!("step {step} ({}) of convert to {engine}", run.steps.last());
            assert_eq!(run.code, None, "never killed: {when}");
            count.kill();
            let is_there = target(&victim).exists();
            if is_there {
                assert_eq!(root_of(&target(&victim)), root, "after {when}");
            }
            let again = converted(&victim, 0, engine);
            if is_there {
                // What stands there is never written over, even if it is ours.
                assert_eq!(again.code, Some(3), "after {when}: {}", again.said);
                assert!(again.said.contains("something is there already"), "{}", again.said);
            } else {
                assert_eq!(again.code, Some(0), "after {when}: {}", again.said);
                assert_eq!(names_beside(&target(&victim)), ["moved.db"], "after {when}");
            }
            assert_eq!(root_of(&target(&victim)), root, "after {when}");
            let differences = before.differences(&victim.contents(), &when);
            assert!(differences.is_empty(), "the source, after {when}: {differences:?}");
        });
        count.tell(chosen.len() as u64);
        remove(&target(&calm));
    }
}

fn converted(victim: &Victim, step: u64, engine: &str) -> crate::victim::Run {
    let source = victim.home().join("data/blockstore.db");
    let target = target(victim);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    let mut words = vec!["convert", source.to_str().unwrap(), "--to", engine];
    words.push(target.to_str().unwrap());
    words.extend(OPTIONS);
    victim.doomed_words(step, &words)
}

fn target(victim: &Victim) -> PathBuf {
    victim.home().with_file_name("converted").join("moved.db")
}

fn root_of(path: &Path) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_transload"));
    program.arg("root").arg(path).arg("--json").stdin(Stdio::null());
    let document: Value = serde_json::from_slice(&program.output().unwrap().stdout).unwrap();
    // The dataset's root is of the table's name too; both are the same for every database.
    let root = document["dataset_root"].as_str();
    root.unwrap_or_else(|| panic!("{}: {document}", path.display())).to_owned()
}

fn names_beside(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}
