//! Helpers that die, hang, lie or aren't there: an error each time, never a hang, never an end.

use crate::helper::{config, driver, target_options};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use transload_drivers::gostore::{GostoreConfig, GostoreDriver};
use transload_model::engine::Engine;
use transload_store::{Driver, Durability, Effect, Error, KeyRange, Kind, Scan, Store, WriteBatch};

fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("helper");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn probe(text: &str) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let mut config = GostoreConfig::new(script(folder.path(), text));
    config.hello_timeout = Duration::from_secs(2);
    let began = Instant::now();
    let error = GostoreDriver::probe(&config).expect_err("no helper speaks like this");
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    error
}

#[test]
fn a_helper_that_is_missing_or_no_program_is_named() {
    let error = GostoreDriver::probe(&GostoreConfig::new("/nowhere/gostore")).expect_err("missing");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("/nowhere/gostore"));
}

#[test]
fn a_helper_that_ends_at_once_is_lost_and_its_last_words_are_kept() {
    let error = probe("echo it hurts >&2; exit 9");
    assert_eq!(error.kind(), Kind::HelperLost);
    let text = error.to_string();
    assert!(text.contains("code 9") && text.contains("it hurts"), "{text}");
}

#[test]
fn a_helper_that_never_answers_is_lost() {
    assert_eq!(probe("exec sleep 5").kind(), Kind::HelperLost);
}

#[test]
fn a_helper_of_another_version_is_told_apart() {
    // An error frame of kind 11 (version mismatch), effect 0, operation "hello", message "v2".
    let error = probe(
        "printf '\\000\\000\\000\\021\\377\\013\\000\\000\\000\\000\\005hello\\000\\000\\000\\002v2' >&0",
    );
    assert_eq!((error.kind(), error.message()), (Kind::Unsupported, "v2"));
    assert!(error.to_string().contains("another release's"), "{error}");
}

#[test]
fn an_oversized_or_foreign_first_frame_is_a_breach() {
    assert_eq!(probe("printf '\\377\\377\\377\\377\\201' >&0").kind(), Kind::Protocol);
    assert_eq!(probe("printf '\\000\\000\\000\\000\\207' >&0").kind(), Kind::Protocol);
    assert_eq!(probe("printf '\\000\\000\\000\\001\\201x' >&0").kind(), Kind::Protocol);
    assert_eq!(probe("printf '\\000\\000\\000\\011\\201x' >&0").kind(), Kind::HelperLost);
}

/// A store whose helper can be killed.
struct Killable {
    store: Box<dyn Store>,
    driver: GostoreDriver,
    folder: tempfile::TempDir,
}

impl Killable {
    fn new(engine: Engine, config: &GostoreConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "echo $$ > {}\nexec {}",
            folder.path().join("pid").display(),
            config.helper.display()
        );
        let config = GostoreConfig {
            helper: script(folder.path(), &text),
            silence_timeout: Duration::from_secs(20),
            ..config.clone()
        };
        let driver = driver(engine, &config);
        let path = folder.path().join("db");
        let store = driver.create_target(&path, &target_options()).unwrap();
        Self { store, driver, folder }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let text = std::fs::read_to_string(self.folder.path().join("pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    fn fill(&self, count: u32, value_bytes: usize) {
        let load = self.store.bulk_load().unwrap();
        let mut chunk = load.chunk(&KeyRange::all()).unwrap();
        for number in 0..count {
            chunk.put(format!("n/{number:08}").as_bytes(), &vec![1; value_bytes]).unwrap();
        }
        chunk.commit().unwrap();
    }
}

#[test]
fn a_helper_killed_in_a_scan_is_an_error_and_never_an_end() {
    let Some(config) = config() else { return };
    for engine in crate::helper::ENGINES {
        let killable = Killable::new(engine, &config);
        killable.fill(400, 100_000);
        let snapshot = killable.store.snapshot().unwrap();
        let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
        let mut seen = 0;
        let error = loop {
            match scan.next() {
                Ok(Some(_)) => seen += 1,
                Ok(None) => panic!("{engine}: a killed helper's scan ended"),
                Err(error) => break error,
            }
            if seen == 5 {
                killable.kill();
            }
        };
        assert_eq!(error.kind(), Kind::HelperLost);
        assert!(error.to_string().contains("signal 9"), "{error}");
        assert_eq!(scan.next().expect_err("for ever").kind(), Kind::HelperLost);
        assert_eq!(scan.receipt().expect_err("no receipt").kind(), Kind::HelperLost);
        assert_eq!(snapshot.get(b"n/00000001").expect_err("gone").kind(), Kind::HelperLost);
    }
}

#[test]
fn a_write_without_an_answer_has_an_unknown_effect_and_what_was_synced_stays() {
    let Some(config) = config() else { return };
    for engine in crate::helper::ENGINES {
        let killable = Killable::new(engine, &config);
        let mut batch = WriteBatch::new();
        batch.put(b"synced", b"1");
        killable.store.write(&batch, Durability::Synced).unwrap();
        let load = killable.store.bulk_load().unwrap();
        let mut chunk = load.chunk(&KeyRange::all()).unwrap();
        chunk.put(b"in a chunk", b"2").unwrap();
        killable.kill();
        // Whether the end of the chunk was still sent decides its effect.
        assert_eq!(chunk.commit().expect_err("the helper is dead").kind(), Kind::HelperLost);
        let error = killable.store.write(&batch, Durability::Synced).expect_err("dead");
        assert_eq!((error.kind(), error.effect()), (Kind::HelperLost, Effect::Unknown));
        // What was synced is there, and the chunk isn't.
        let Killable { store, driver, folder } = killable;
        drop(store);
        let path = folder.path().join("db");
        let store = driver.reopen_target(&path, &target_options()).unwrap();
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.get(b"synced").unwrap(), Some(b"1".to_vec()));
        assert_eq!(snapshot.get(b"in a chunk").unwrap(), None);
        store.close().unwrap();
    }
}

#[test]
fn a_close_cut_short_is_an_error() {
    let Some(config) = config() else { return };
    let killable = Killable::new(Engine::Pebble1, &config);
    killable.kill();
    let error = killable.store.close().expect_err("the helper is dead");
    assert_eq!((error.kind(), error.effect()), (Kind::HelperLost, Effect::Unknown));
}

#[test]
fn a_stopped_helper_gives_no_sign_of_life_and_is_killed_at_the_end() {
    let Some(config) = config() else { return };
    let config = GostoreConfig { silence_timeout: Duration::from_secs(1), ..config };
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let text = format!("echo $$ > {}\nexec {}", pid_file.display(), config.helper.display());
    let config = GostoreConfig { helper: script(folder.path(), &text), ..config };
    let driver = driver(Engine::Pebble1, &config);
    let store = driver.create_target(&folder.path().join("db"), &target_options()).unwrap();
    let raw = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // The signal takes effect some time after it was sent.
    let error = loop {
        if let Err(error) = store.snapshot() {
            break error;
        }
    };
    assert_eq!(error.kind(), Kind::HelperLost);
    assert!(error.to_string().contains("no sign of life"), "{error}");
    drop(store);
    assert!(rustix::process::test_kill_process(pid).is_err(), "the helper outlives its store");
}

#[test]
fn a_dropped_store_ends_its_helper_and_whoever_still_reads() {
    let Some(config) = config() else { return };
    let killable = Killable::new(Engine::Pebble2, &config);
    killable.fill(100, 100_000);
    let snapshot = killable.store.snapshot().unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
    assert!(scan.next().unwrap().is_some());
    killable.store.close().unwrap();
    let error = loop {
        match scan.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a scan that was cut off ended"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::HelperLost);
}

#[test]
fn the_helper_names_its_engines() {
    let Some(config) = config() else { return };
    let info = GostoreDriver::probe(&config).unwrap();
    let engines: Vec<_> = info.engines.iter().filter_map(|engine| engine.engine).collect();
    let known: Vec<Engine> =
        crate::helper::ENGINES.into_iter().chain([Engine::Bbolt, Engine::Badgerdb]).collect();
    assert_eq!(engines, known);
    assert_eq!(info.engines[1].format_new, 1);
    assert_eq!(info.engines[2].format_new, 13);
}
