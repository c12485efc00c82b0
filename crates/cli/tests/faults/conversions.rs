//! Conversions of one database to each engine while a system call fails or lies: the engines
//! that are linked in, and those in the helper.

use crate::calls::{Count, can_trace};
use crate::injection::{Census, Injection, by_the_loader};
use crate::settings::Settings;
use crate::ward::Ward;

const ENGINES: [&str; 5] = ["goleveldb", "lmdb", "pebble2", "redb", "sqlite"];

/// Small chunks, so that a small database has many.
const OPTIONS: [&str; 6] = ["--chunk", "1MiB", "--workers", "2", "--accept-weaker", "checksummed"];

/// Faults in `convert`.
pub(crate) fn failing(settings: &Settings) {
    if !can_trace(settings) {
        return;
    }
    let calm = Ward::new();
    let source = calm.home().join("data/blockstore.db");
    let root = calm.root(&source, "before anything");
    for engine in ENGINES {
        let words = |ward: &Ward| -> Vec<String> {
            let source = ward.home().join("data/blockstore.db").display().to_string();
            let target = ward.beside("new.db").display().to_string();
            let words = ["convert", &source, "--to", engine, &target];
            words.into_iter().chain(OPTIONS).map(str::to_owned).collect()
        };
        let ward = Ward::new();
        let calm_words = words(&ward);
        let calm_words: Vec<&str> = calm_words.iter().map(String::as_str).collect();
        let census = Census::of_words(&ward, &calm_words);
        let count = Count::default();
        settings.each(settings.calls / 2, |run| {
            let mut dice = settings.dice(engine, run);
            let ward = Ward::new();
            let words = words(&ward);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let injection = Injection::roll(&census, &mut dice);
            let what = format!("seed {}, {engine} {run}, {}", settings.seed, injection.text);
            let log = ward.beside("struck");
            let ended = ward.run_words(&injection.words(&log), &words);
            count.run(Injection::struck(&log), ended.code == Some(0));
            let (target, said) = (ward.beside("new.db"), ended.in_words());
            match ended.code {
                Some(0) => assert_eq!(ward.root(&target, &what), root, "{what}: {said}"),
                Some(3 | 5) => {}
                Some(4) => assert!(injection.lies, "{what}: {said}"),
                _ => assert!(by_the_loader(&ended), "{what}: {said}"),
            }
            let differences = ward.differences();
            assert!(differences.is_empty(), "{what}: {said}: the source: {differences:?}");
            // What stands at the target is the whole database, or nothing does.
            if target.exists() {
                assert_eq!(ward.root(&target, &what), root, "{what}: {said}");
            } else {
                let again = ward.run_words(&[], &words);
                assert_eq!(again.code, Some(0), "{what}, then again: {}", again.in_words());
                assert_eq!(ward.root(&target, &what), root, "{what}, then again");
            }
        });
        count.tell(&format!("convert to {engine}"));
    }
}
