//! The power goes off under the journal: at every write and sync of its file, with any part of
//! what wasn't synced kept, in sectors, in any order. The journal opens again and holds all that
//! had returned, and of what hadn't either nothing or all.

use super::*;
use crate::chance::Chance;
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex};
use transload_model::layout::RawLayout;
use transload_model::record::TableName;
use transload_model::walk::ChunkWalk;
use transload_store::ScanReceipt;

/// Disks write whole sectors.
const SECTOR_BYTES: usize = 512;

/// Subsets by chance for each cut, beside nothing and everything.
const SUBSETS_BY_CHANCE: usize = 5;

#[derive(Clone, Debug)]
enum Call {
    Write { offset: usize, data: Vec<u8> },
    SetLength(usize),
    Sync,
}

fn apply(image: &mut Vec<u8>, call: &Call) {
    match call {
        Call::Write { offset, data } => {
            let end = offset + data.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*offset..end].copy_from_slice(data);
        }
        Call::SetLength(length) => image.resize(*length, 0),
        Call::Sync => {}
    }
}

/// A file in memory that keeps every call by which it was changed.
#[derive(Debug, Default)]
struct Tape {
    image: Vec<u8>,
    calls: Vec<Call>,
}

#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Tape>>);

impl Recorder {
    fn holding(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Tape { image, calls: Vec::new() })))
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }

    fn call(&self, call: Call) {
        let mut tape = self.0.lock().unwrap();
        apply(&mut tape.image, &call);
        tape.calls.push(call);
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (tape, from) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        let found = tape.image.get(from..from + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.call(Call::SetLength(usize::try_from(length).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(Call::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.call(Call::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

fn home() -> HomeIdentity {
    HomeIdentity { inode: 4711, born: Some((1_700_000_000, 5)), path: "/home/node".into() }
}

fn open(file: &Recorder) -> Result<Journal> {
    let db = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file.clone());
    let db = db.map_err(|error| Error::new(Kind::Refused, "open", error.to_string()))?;
    Journal::on(db, "journal.redb".into(), &home(), Arc::new(|_| ()))
}

/// All that the journal holds.
fn contents(journal: &Journal) -> String {
    let chunks = |attempt| journal.chunk_map(attempt, "a.db").unwrap();
    format!(
        "{:?}",
        (
            (journal.state().unwrap(), journal.attempt().unwrap(), journal.events().unwrap()),
            (journal.steps().unwrap(), journal.ranges(1, "a.db").unwrap(), chunks(1), chunks(2)),
            journal.note::<String>("report").unwrap(),
        )
    )
}

fn copied(number: u8) -> CopiedChunk {
    let layout = RawLayout::new(TableName::new("raw").unwrap());
    let mut walk = ChunkWalk::new(&layout);
    walk.push(&[number], b"v").unwrap();
    let receipt = ScanReceipt { entries: 1, bytes: 2, digest: [number; 32] };
    CopiedChunk { receipt, tally: Some(walk.finish().unwrap()), millis: 3, tries: 1, made: None }
}

type Entry = Box<dyn Fn(&Journal) -> Result<()>>;

/// What a migration enters, in its order; each is durable when it returns.
fn entries() -> Vec<Entry> {
    let state = |from, to| move |journal: &Journal| journal.change_state(from, to, "asked");
    let (planned, copying) = (State::In(Phase::Planned), State::In(Phase::Copying));
    let mut entries: Vec<Entry> = vec![
        Box::new(state(planned, copying)),
        Box::new(|journal| journal.new_attempt(1).map(drop)),
        Box::new(|journal| {
            journal.set_ranges(1, "a.db", &KeyRange::all().split_at(&[b"m".to_vec()]))
        }),
    ];
    for number in 0..4 {
        entries.push(Box::new(move |journal| {
            journal.chunks_of(1).record_copied("a.db", u64::from(number), &copied(number))
        }));
    }
    entries.push(Box::new(|journal| {
        let verified =
            VerifiedChunk { receipt: copied(1).receipt, tally: copied(1).tally.unwrap() };
        journal.chunks_of(1).record_verified("a.db", 1, &verified)
    }));
    entries.push(Box::new(|journal| journal.chunks_of(1).record_failed("a.db", 2, "differs")));
    // A report is larger than a page.
    entries.push(Box::new(|journal| journal.set_note("report", &"line ".repeat(4_000))));
    entries.push(Box::new(state(copying, State::Halted(Phase::Copying))));
    entries.push(Box::new(|journal| journal.new_attempt(1).map(drop)));
    for step in ["guard a.db", "put in a.db"] {
        entries.push(Box::new(move |journal| journal.steps_of(2).begin(step)));
        entries.push(Box::new(move |journal| journal.steps_of(2).done(step)));
    }
    entries.push(Box::new(|journal| journal.set_note("report", &"short")));
    entries
}

/// What the file may hold when the power goes off before the call at `cut`: all that was synced,
/// and of the rest the sectors that `keep` chooses.
fn cut_off(before: &[u8], calls: &[Call], cut: usize, mut keep: impl FnMut() -> bool) -> Vec<u8> {
    let synced = calls[..cut].iter().rposition(|call| matches!(call, Call::Sync)).unwrap_or(0);
    let mut image = before.to_vec();
    for call in &calls[..synced] {
        apply(&mut image, call);
    }
    for call in &calls[synced..cut] {
        let Call::Write { offset, data } = call else {
            if keep() {
                apply(&mut image, call);
            }
            continue;
        };
        let mut at = *offset;
        while at < offset + data.len() {
            let end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(offset + data.len());
            if keep() {
                let data = data[at - offset..end - offset].to_vec();
                apply(&mut image, &Call::Write { offset: at, data });
            }
            at = end;
        }
    }
    image
}

/// Hands what is left at every cut from `begun` on to `check`, in several ways each. Answers how
/// many files there were.
fn at_every_cut(
    calls: &[Call],
    begun: usize,
    chance: &mut Chance,
    mut check: impl FnMut(usize, Recorder, &mut Chance),
) -> usize {
    let mut opened = 0;
    for cut in begun..=calls.len() {
        for way in 0..2 + SUBSETS_BY_CHANCE {
            let image = match way {
                0 => cut_off(&[], calls, cut, || false),
                1 => cut_off(&[], calls, cut, || true),
                // Most, few, or half of the sectors.
                _ => {
                    let odds = [1, 4, 7][usize::try_from(chance.next() % 3).unwrap()];
                    cut_off(&[], calls, cut, || chance.next() % 8 < odds)
                }
            };
            check(cut, Recorder::holding(image), chance);
            opened += 1;
        }
    }
    opened
}

#[test]
fn a_power_cut_at_any_write_of_the_journal_loses_nothing_that_had_returned() {
    let mut chance = Chance::new();
    let file = Recorder::default();
    // After so many calls this had returned.
    let mut returned: Vec<(usize, String)> = Vec::new();
    let mut journal = open(&file).unwrap();
    returned.push((file.calls(), contents(&journal)));
    for (number, entry) in entries().iter().enumerate() {
        if number % 6 == 5 {
            // The end of a process, and the next one.
            drop(journal);
            journal = open(&file).unwrap();
        }
        entry(&journal).unwrap();
        returned.push((file.calls(), contents(&journal)));
    }
    drop(journal);

    let calls = file.0.lock().unwrap().calls.clone();
    let mut twice = 0;
    // Until it is begun, nothing is in it; the home is as it was.
    let opened = at_every_cut(&calls, returned[0].0, &mut chance, |cut, file, chance| {
        let image = file.0.lock().unwrap().image.clone();
        let known = returned.iter().rposition(|(calls, _)| *calls <= cut).unwrap_or(0);
        let allowed = &returned[known..(known + 2).min(returned.len())];
        let is_allowed = |journal: &Journal| {
            let found = contents(journal);
            assert!(
                allowed.iter().any(|(_, contents)| *contents == found),
                "cut before call {cut} of {}: {found}",
                calls.len()
            );
        };
        match open(&file) {
            Ok(journal) => is_allowed(&journal),
            Err(error) => panic!("cut before call {cut} of {}: {error}", calls.len()),
        }
        // Now and then the power goes off again while the file is being mended.
        if chance.next().is_multiple_of(16) {
            let mending = file.0.lock().unwrap().calls.clone();
            let cut = usize::try_from(chance.next()).unwrap() % (mending.len() + 1);
            let image = cut_off(&image, &mending, cut, || chance.coin());
            is_allowed(&open(&Recorder::holding(image)).unwrap());
            twice += 1;
        }
    });
    println!("{} calls, {opened} files opened, {twice} cut a second time", calls.len());
    assert!(opened > 500 && twice > 20, "only {opened} and {twice}");
}

#[test]
fn a_sync_that_lies_is_found_out() {
    // The model is able to lose something: without the syncs, entries that had returned are gone.
    let file = Recorder::default();
    let journal = open(&file).unwrap();
    for entry in entries().iter().take(4) {
        entry(&journal).unwrap();
    }
    let now = contents(&journal);
    let calls = file.0.lock().unwrap().calls.clone();
    let lying: Vec<Call> =
        calls.iter().filter(|call| !matches!(call, Call::Sync)).cloned().collect();
    let image = cut_off(&[], &calls, calls.len(), || false);
    assert_eq!(contents(&open(&Recorder::holding(image)).unwrap()), now);
    let image = cut_off(&[], &lying, lying.len(), || false);
    assert_ne!(contents(&open(&Recorder::holding(image)).unwrap()), now);
}
