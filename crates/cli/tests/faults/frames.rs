//! Migrations while a frame between transload and its helper is spoiled, or the helper dies or
//! hangs in the middle.

use crate::proxy::{self, Frames, LOUD, MARK, SILENT, Spoil, Trouble, Way};
use crate::settings::{Settings, pick};
use crate::shared::Dice;
use crate::verdict::{MIGRATE, after_faults, ends_well};
use crate::ward::{Stand, Ward};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the proxies of a run keep their notes.
fn notes(ward: &Ward) -> PathBuf {
    ward.beside("notes")
}

/// The words that put a proxy in the helper's place.
fn with_proxy(ward: &Ward, spoil: &str) -> Vec<String> {
    let real = std::env::var("TRANSLOAD_GOSTORE").expect("TRANSLOAD_GOSTORE is not set");
    std::fs::create_dir(notes(ward)).unwrap();
    let script = ward.beside("helper");
    let text = format!(
        "#!/bin/sh\nexec '{}' {MARK} '{real}' '{}' '{spoil}'\n",
        std::env::current_exe().unwrap().display(),
        notes(ward).display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut words = MIGRATE.map(str::to_owned).to_vec();
    words.extend(["--gostore".to_owned(), script.display().to_string()]);
    words
}

fn migrate(ward: &Ward, spoil: &str) -> crate::program::Run {
    let words = with_proxy(ward, spoil);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ward.run(&[], "migrate", &words)
}

fn roll(helpers: &[Frames], troubles: &[Trouble], dice: &mut Dice) -> Spoil {
    let helper = dice.roll(helpers.len() as u64);
    let frames = helpers[usize::try_from(helper).unwrap()];
    let (way, count) = if dice.roll(2) == 0 {
        (Way::ToHelper, frames.to_helper)
    } else {
        (Way::FromHelper, frames.from_helper)
    };
    let trouble = *pick(dice, troubles);
    Spoil { helper, way, frame: dice.roll(count), trouble, seed: dice.roll(u64::MAX) }
}

/// Frames that are spoiled in ways that are noticed at once.
pub(crate) fn spoiled(settings: &Settings) {
    campaign(settings, settings.frames, &LOUD, "frames");
}

/// Frames that never come.
pub(crate) fn hanging(settings: &Settings) {
    campaign(settings, settings.hangs, &SILENT, "hangs");
}

fn campaign(settings: &Settings, runs: u64, troubles: &[Trouble], purpose: &str) {
    let calm = Ward::new();
    let run = migrate(&calm, "none");
    assert_eq!(run.code, Some(0), "through the proxy: {}", run.in_words());
    let helpers = proxy::census(&notes(&calm));
    assert!(helpers.len() > 4, "{helpers:?}");
    let (hit, succeeded) = (AtomicU64::new(0), AtomicU64::new(0));
    settings.each(runs, |run| {
        let mut dice = settings.dice(purpose, run);
        let ward = Ward::new();
        let spoil = roll(&helpers, troubles, &mut dice);
        let what = format!("seed {}, {purpose} {run}, {}", settings.seed, spoil.in_words());
        let ended = migrate(&ward, &spoil.in_words());
        hit.fetch_add(u64::from(proxy::was_hit(&notes(&ward))), Ordering::Relaxed);
        succeeded.fetch_add(u64::from(ended.code == Some(0)), Ordering::Relaxed);
        let lies = !matches!(
            spoil.trouble,
            Trouble::BreaksOff
                | Trouble::Kills
                | Trouble::Delays
                | Trouble::Vanishes
                | Trouble::Hangs
        );
        after_faults(&ward, &ended, Stand::New, lies, &what);
        // No lie of a helper lasts: what it made is read back by another.
        ends_well(&ward, &mut dice, false, &what);
    });
    let (hit, succeeded) = (hit.into_inner(), succeeded.into_inner());
    let frames: u64 = helpers.iter().map(|frames| frames.to_helper + frames.from_helper).sum();
    println!("  {purpose}: {hit} of {runs} runs hit one of {frames} frames; {succeeded} succeeded");
    assert!(2 * hit >= runs, "the frames seldom come");
}
