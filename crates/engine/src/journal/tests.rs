//! What the journal promises: durable, owned by one, of one home, readable for ever.

use super::*;
use std::sync::{Arc, Mutex};
use transload_model::layout::RawLayout;
use transload_model::record::TableName;
use transload_model::walk::ChunkWalk;
use transload_store::ScanReceipt;

fn no_hook() -> StepHook {
    Arc::new(|_| ())
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn identity(&self) -> HomeIdentity {
        HomeIdentity::of(self.folder.path()).unwrap()
    }

    fn open(&self) -> Result<Journal> {
        Journal::open(self.folder.path(), &self.identity(), no_hook())
    }
}

fn refusal(result: Result<Journal>) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    error.to_string()
}

fn copied() -> CopiedChunk {
    let layout = RawLayout::new(TableName::new("raw").unwrap());
    let mut walk = ChunkWalk::new(&layout);
    walk.push(b"k", b"v").unwrap();
    let receipt = ScanReceipt { entries: 1, bytes: 2, digest: [7; 32] };
    CopiedChunk { receipt, tally: Some(walk.finish().unwrap()), millis: 3, tries: 1, made: None }
}

#[test]
fn what_was_recorded_is_there_after_a_reopen() {
    let place = Place::new();
    let range = KeyRange::new(*b"a", *b"b");
    {
        let journal = place.open().unwrap();
        assert_eq!(journal.state().unwrap(), State::In(Phase::Planned));
        let (from, to) = (State::In(Phase::Planned), State::In(Phase::Copying));
        journal.change_state(from, to, "asked").unwrap();
        assert_eq!(journal.new_attempt(1).unwrap(), 1);
        journal.set_ranges(1, "a.db", std::slice::from_ref(&range)).unwrap();
        journal.chunks_of(1).record_copied("a.db", 0, &copied()).unwrap();
        journal.steps_of(1).begin("guard").unwrap();
    }
    let journal = place.open().unwrap();
    assert_eq!(journal.state().unwrap(), State::In(Phase::Copying));
    assert_eq!(journal.events().unwrap()[0].reason, "asked");
    assert_eq!(journal.ranges(1, "a.db").unwrap(), Some(vec![range]));
    assert_eq!(journal.chunks_of(1).copied("a.db", 0).unwrap(), Some(copied()));
    let step = JournalStep { attempt: 1, step: "guard".into(), done: false };
    assert_eq!(journal.steps().unwrap(), [step]);
}

#[test]
fn another_attempt_sees_nothing_of_the_one_before() {
    // F14
    let place = Place::new();
    let journal = place.open().unwrap();
    assert_eq!(journal.new_attempt(1).unwrap(), 1);
    journal.chunks_of(1).record_copied("a.db", 0, &copied()).unwrap();
    assert_eq!(journal.new_attempt(1).unwrap(), 2);
    assert_eq!(journal.chunks_of(2).copied("a.db", 0).unwrap(), None);
    assert_eq!(journal.new_attempt(9).unwrap(), 9);
}

#[test]
fn a_chunk_that_is_copied_again_loses_its_verification() {
    // F8
    let place = Place::new();
    let journal = place.open().unwrap();
    let chunks = journal.chunks_of(1);
    let verified = VerifiedChunk { receipt: copied().receipt, tally: copied().tally.unwrap() };
    assert!(chunks.record_verified("a.db", 0, &verified).is_err());
    chunks.record_copied("a.db", 0, &copied()).unwrap();
    chunks.record_verified("a.db", 0, &verified).unwrap();
    assert_eq!(chunks.verified("a.db", 0).unwrap(), Some(verified));
    chunks.record_copied("a.db", 0, &copied()).unwrap();
    assert_eq!(chunks.verified("a.db", 0).unwrap(), None);
    chunks.record_failed("a.db", 0, "differs").unwrap();
    assert_eq!(chunks.copied("a.db", 0).unwrap(), None);
    assert!(journal.chunk_map(1, "a.db").unwrap()[0].failed);
}

#[test]
fn a_second_owner_is_refused() {
    let place = Place::new();
    let _journal = place.open().unwrap();
    assert!(refusal(place.open()).contains("another transload owns"));
}

#[test]
fn the_journal_of_another_home_is_refused() {
    let place = Place::new();
    drop(place.open().unwrap());
    let other = tempfile::tempdir().unwrap();
    let identity = HomeIdentity::of(other.path()).unwrap();
    let result = Journal::open(place.folder.path(), &identity, no_hook());
    assert!(refusal(result).contains("belongs to another home"));
    place.open().unwrap();
}

#[test]
fn a_journal_of_a_newer_transload_is_refused_and_not_changed() {
    let place = Place::new();
    let journal = place.open().unwrap();
    let newer =
        Header { format: JOURNAL_FORMAT + 1, transload: "9.9.9".into(), home: place.identity() };
    journal.set_note("header", &newer).unwrap();
    drop(journal);
    assert!(refusal(place.open()).contains("transload 9.9.9 wrote this journal"));
    assert!(refusal(place.open()).contains("transload 9.9.9 wrote this journal"));
}

#[test]
fn a_journal_of_an_older_transload_of_the_same_format_is_resumed() {
    let place = Place::new();
    let journal = place.open().unwrap();
    let older =
        Header { format: JOURNAL_FORMAT, transload: "0.0.1".into(), home: place.identity() };
    journal.set_note("header", &older).unwrap();
    journal.new_attempt(4).unwrap();
    drop(journal);
    assert_eq!(place.open().unwrap().attempt().unwrap(), 4);
}

/// The home that the golden journal belongs to.
fn golden_home() -> HomeIdentity {
    HomeIdentity { inode: 4711, born: Some((1_700_000_000, 5)), path: "/home/node".into() }
}

/// What the golden journal `testdata/journal-1.redb` holds; it was made by this.
fn write_golden(folder: &Path) {
    let journal = Journal::open(folder, &golden_home(), no_hook()).unwrap();
    let (from, to) = (State::In(Phase::Planned), State::In(Phase::Copying));
    journal.change_state(from, to, "preflight passed").unwrap();
    let to_halt = State::Halted(Phase::Copying);
    journal.change_state(to, to_halt, "asked to stop").unwrap();
    assert_eq!(journal.new_attempt(3).unwrap(), 3);
    let ranges = KeyRange::all().split_at(&[b"m".to_vec()]);
    journal.set_ranges(3, "a.db", &ranges).unwrap();
    let chunks = journal.chunks_of(3);
    chunks.record_copied("a.db", 0, &copied()).unwrap();
    let verified = VerifiedChunk { receipt: copied().receipt, tally: copied().tally.unwrap() };
    chunks.record_verified("a.db", 0, &verified).unwrap();
    chunks.record_failed("a.db", 1, "differs").unwrap();
    journal.steps_of(3).begin("guard a.db").unwrap();
    journal.set_note("plan_digest", &"00".repeat(32)).unwrap();
}

#[test]
fn the_golden_journal_of_format_1_is_read_by_every_later_transload() {
    let folder = tempfile::tempdir().unwrap();
    let golden = include_bytes!("../../testdata/journal-1.redb");
    std::fs::write(Journal::path_in(folder.path()), golden).unwrap();
    let journal = Journal::open(folder.path(), &golden_home(), no_hook()).unwrap();
    assert_eq!(journal.state().unwrap(), State::Halted(Phase::Copying));
    assert_eq!(journal.attempt().unwrap(), 3);
    let reasons: Vec<String> =
        journal.events().unwrap().into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["preflight passed", "asked to stop"]);
    let ranges = KeyRange::all().split_at(&[b"m".to_vec()]);
    assert_eq!(journal.ranges(3, "a.db").unwrap(), Some(ranges));
    let chunks = journal.chunks_of(3);
    assert_eq!(chunks.copied("a.db", 0).unwrap(), Some(copied()));
    assert_eq!(chunks.verified("a.db", 0).unwrap().unwrap().tally, copied().tally.unwrap());
    assert_eq!(chunks.copied("a.db", 1).unwrap(), None);
    let step = JournalStep { attempt: 3, step: "guard a.db".into(), done: false };
    assert_eq!(journal.steps().unwrap(), [step]);
    assert_eq!(journal.note::<String>("plan_digest").unwrap(), Some("00".repeat(32)));
}

#[test]
fn a_journal_written_today_holds_what_the_golden_one_does() {
    let folder = tempfile::tempdir().unwrap();
    write_golden(folder.path());
    let journal = Journal::open(folder.path(), &golden_home(), no_hook()).unwrap();
    assert_eq!(journal.chunk_map(3, "a.db").unwrap().len(), 2);
    assert_eq!(journal.state().unwrap(), State::Halted(Phase::Copying));
}

#[test]
fn garbage_is_no_journal() {
    let place = Place::new();
    std::fs::write(Journal::path_in(place.folder.path()), vec![0xa5; 10_000]).unwrap();
    refusal(place.open());
}

/// A file that takes so many writes and then no more, the last of them by half.
#[derive(Debug)]
struct FillingUp {
    file: FileBackend,
    writes_left: std::sync::atomic::AtomicU64,
}

impl FillingUp {
    fn open(path: &Path, writes: u64) -> std::result::Result<Self, DatabaseError> {
        Ok(Self { file: journal_file(path)?, writes_left: writes.into() })
    }
}

impl StorageBackend for FillingUp {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        use std::sync::atomic::Ordering;
        let take = |left: u64| left.checked_sub(1);
        match self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => self.file.write(offset, data),
            Err(_) => {
                self.file.write(offset, &data[..data.len() / 2])?;
                Err(std::io::ErrorKind::StorageFull.into())
            }
        }
    }
}

#[test]
fn a_disk_that_fills_up_while_a_journal_is_made_leaves_no_half_one_in_the_way() {
    for writes in 0..1_000 {
        let place = Place::new();
        let (folder, identity) = (place.folder.path(), place.identity());
        let file = |path: &Path| FillingUp::open(path, writes);
        let made = Journal::open_on(file, folder, &identity, no_hook());
        let is_made = made.is_ok();
        drop(made);
        assert_eq!(Journal::path_in(folder).exists(), is_made, "{writes} writes");
        let journal = place.open().unwrap();
        assert_eq!(journal.state().unwrap(), State::In(Phase::Planned));
        if is_made {
            assert!(writes > 2, "the disk never was full");
            return;
        }
    }
    panic!("a journal takes more writes than can be");
}

#[test]
fn the_hook_hears_of_every_durable_step() {
    let place = Place::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let hook: StepHook = Arc::new(move |step| ear.lock().unwrap().push(step.to_owned()));
    let journal = Journal::open(place.folder.path(), &place.identity(), hook).unwrap();
    journal.new_attempt(1).unwrap();
    journal.steps_of(1).begin("guard").unwrap();
    journal.steps_of(1).done("guard").unwrap();
    let expected = [
        "journal: opened",
        "journal: begun",
        "journal: named",
        "journal: attempt begun",
        "begin guard",
        "done guard",
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
}
