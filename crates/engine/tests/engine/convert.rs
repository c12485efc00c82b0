//! Conversions of single databases: what they promise, and what must not happen.

use crate::files::{Entries, FileEngines, read_database, write_database};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transload_engine::{Cancel, Conversion, ConvertRequest, Kind, Limits, Result, Watch, convert};
use transload_model::engine::Engine;
use transload_observe::{Event, Progress, Recorder, Stage};
use transload_store::Weakness;

/// Entries of about 100 bytes.
fn entries(count: u32) -> Entries {
    (0..count).map(|n| (format!("key{n:08}").into_bytes(), vec![n.to_be_bytes()[3]; 90])).collect()
}

struct Bench {
    folder: tempfile::TempDir,
    engines: FileEngines,
    watch: Watch,
    request: ConvertRequest,
}

impl Bench {
    fn new(content: &Entries, engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source.db");
        write_database(&source, Engine::Goleveldb, content);
        let request = ConvertRequest {
            source,
            source_space: None,
            engine,
            target: folder.path().join("target.db"),
            target_space: None,
            limits: Limits { chunk_bytes: 64 << 10, batch_bytes_max: 9_000, ..Limits::default() },
            accepted: Vec::new(),
            scratch_dir: None,
        };
        Self { folder, engines: FileEngines::new(), watch: Watch::default(), request }
    }

    fn run(&self) -> Result<Conversion> {
        convert(&self.request, &self.engines, &self.watch)
    }

    fn target(&self) -> &Path {
        &self.request.target
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| PathBuf::from(entry.unwrap().file_name()))
            .collect();
        names.retain(|name| name != Path::new("source.db"));
        names.sort();
        names
    }
}

#[test]
fn a_database_comes_out_equal_in_every_engine_and_with_one_root() {
    let content = entries(5_000);
    let mut roots = Vec::new();
    for engine in [Engine::Pebble1, Engine::Sqlite] {
        let bench = Bench::new(&content, engine);
        let conversion = bench.run().unwrap();
        assert_eq!(read_database(bench.target()).unwrap(), content, "{engine}");
        assert_eq!((conversion.entries, conversion.from), (5_000, Engine::Goleveldb));
        assert!(conversion.chunks > 3, "the database has several chunks: {}", conversion.chunks);
        assert_eq!(bench.leftovers(), [PathBuf::from("target.db")]);
        roots.push(conversion.dataset.root());
    }
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn keys_and_values_that_are_no_text_arrive_as_they_are() {
    // F21
    let mut content = Entries::new();
    for byte in 0..=255_u8 {
        content.insert(vec![byte], vec![byte, 0, 0xff, byte]);
        content.insert(vec![b'k', byte, 0xc3, 0x28], vec![0xf0, 0x28, 0x8c, byte]);
    }
    for engine in [Engine::Pebble1, Engine::Sqlite] {
        let bench = Bench::new(&content, engine);
        bench.run().unwrap();
        assert_eq!(read_database(bench.target()).unwrap(), content, "{engine}");
    }
}

#[test]
fn an_empty_database_is_converted_and_says_that_it_is_empty() {
    let bench = Bench::new(&Entries::new(), Engine::Pebble2);
    let conversion = bench.run().unwrap();
    assert_eq!((conversion.entries, conversion.chunks), (0, 1));
    assert_eq!(conversion.dataset.tables()[0].records, 0);
    assert!(bench.target().is_dir());
}

#[test]
fn a_read_error_in_the_middle_is_never_an_end_of_data() {
    // F1: at any position, in the copy and in the verification.
    for position in [0, 1, 699, 4_999, 5_003, 7_500, 9_999] {
        let bench = Bench::new(&entries(5_000), Engine::Pebble1);
        bench.engines.faults.source_read.light(position);
        let error = bench.run().unwrap_err();
        assert_eq!(error.kind(), Kind::Stopped, "{position}: {error}");
        assert_eq!(bench.leftovers(), Vec::<PathBuf>::new(), "{position}");
    }
}

#[test]
fn a_failed_write_stops_the_conversion() {
    // F18
    for engine in [Engine::Pebble1, Engine::Sqlite] {
        let bench = Bench::new(&entries(5_000), engine);
        bench.engines.faults.target_put.light(20);
        let error = bench.run().unwrap_err();
        assert_eq!(error.kind(), Kind::Stopped, "{error}");
        assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_commit_of_unknown_outcome_is_done_again_whole_and_told() {
    // F16
    let mut bench = Bench::new(&entries(5_000), Engine::Pebble1);
    let recorder = Recorder::new();
    bench.watch.sink = Arc::new(recorder.clone());
    bench.engines.faults.target_commit_unknown.light(2);
    let conversion = bench.run().unwrap();
    assert_eq!(conversion.entries, 5_000);
    assert_eq!(read_database(bench.target()).unwrap(), entries(5_000));
    let retried = |event: &&Event| matches!(event, Event::ChunkRetried { .. });
    assert_eq!(recorder.events().iter().filter(retried).count(), 1);
}

#[test]
fn the_progress_of_a_conversion_ends_at_1_for_both_stages() {
    let mut bench = Bench::new(&entries(5_000), Engine::Pebble1);
    let recorder = Recorder::new();
    bench.watch.sink = Arc::new(recorder.clone());
    bench.run().unwrap();
    let mut progress = Progress::new();
    let mut ends = Vec::new();
    for (millis, event) in recorder.events().iter().enumerate() {
        let now = Duration::from_millis(millis as u64);
        progress.apply(event, now);
        if let Event::StageEnded { stage } = event {
            ends.push((*stage, progress.view(now).fraction >= 1.0));
        }
    }
    assert_eq!(ends, [(Stage::Copying, true), (Stage::Verifying, true)]);
}

#[test]
fn a_stop_leaves_nothing_at_the_target_and_a_new_run_succeeds() {
    let mut bench = Bench::new(&entries(5_000), Engine::Pebble1);
    bench.watch.cancel.ask();
    assert_eq!(bench.run().unwrap_err().kind(), Kind::Stopped);
    assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
    bench.watch.cancel = Cancel::new();
    bench.run().unwrap();
}

#[test]
fn what_a_killed_conversion_left_behind_is_replaced_and_nothing_else_is() {
    let bench = Bench::new(&entries(10), Engine::Pebble1);
    let partial = bench.folder.path().join("target.db.transload-partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("precious"), "not ours").unwrap();
    assert_eq!(bench.run().unwrap_err().kind(), Kind::Refused);
    assert!(partial.join("precious").exists());
    std::fs::write(partial.join("transload-partial"), "").unwrap();
    std::fs::create_dir_all(partial.join("build/target.db")).unwrap();
    std::fs::write(partial.join("build/target.db-wal"), "of a killed engine").unwrap();
    bench.run().unwrap();
    assert_eq!(read_database(bench.target()).unwrap(), entries(10));
    assert!(partial.join("precious").exists());
}

#[test]
fn a_conversion_that_was_killed_before_it_could_mark_its_folder_stands_in_nobodys_way() {
    let bench = Bench::new(&entries(10), Engine::Pebble1);
    std::fs::create_dir(bench.folder.path().join("target.db.transload-partial")).unwrap();
    bench.run().unwrap();
    assert_eq!(bench.leftovers(), [Path::new("target.db")]);
}

#[test]
fn a_target_that_is_there_is_refused_untouched() {
    let bench = Bench::new(&entries(10), Engine::Pebble1);
    std::fs::write(bench.target(), "precious").unwrap();
    let error = bench.run().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(std::fs::read(bench.target()).unwrap(), b"precious");
}

#[test]
fn weaker_promises_are_refused_until_somebody_accepts_them_by_name() {
    let mut bench = Bench::new(&entries(10), Engine::Redb);
    let error = bench.run().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.context()[0], ("weaker", "checksummed".to_owned()));
    bench.request.accepted = vec![Weakness::Checksummed];
    assert_eq!(bench.run().unwrap().weaker, [Weakness::Checksummed]);
}

#[test]
fn a_key_longer_than_the_target_takes_is_refused_before_anything_is_made() {
    let mut content = entries(10);
    content.insert(vec![b'k'; 512], Vec::new());
    let bench = Bench::new(&content, Engine::Lmdb);
    let error = bench.run().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(bench.leftovers(), Vec::<PathBuf>::new());
    content.remove(&vec![b'k'; 512]);
    content.insert(vec![b'k'; 511], Vec::new());
    Bench::new(&content, Engine::Lmdb).run().unwrap();
}

#[test]
fn the_source_is_not_changed() {
    let content = entries(1_000);
    let bench = Bench::new(&content, Engine::Pebble1);
    let file = bench.request.source.join("000001.run");
    let before =
        (std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().modified().unwrap());
    bench.run().unwrap();
    let after =
        (std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().modified().unwrap());
    assert_eq!(before, after);
    assert_eq!(std::fs::read_dir(&bench.request.source).unwrap().count(), 2);
}
