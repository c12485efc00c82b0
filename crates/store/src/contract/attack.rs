//! Attacks on the promises that a store makes: crashes, turned bits, readers beside a writer.
//!
//! [`super::run`] asks whether a store does what the seam says; this asks whether it does so when
//! things go wrong. Each promise is attacked where it is made, and nowhere else: a store that
//! promises less passes with less. What a plan compares of two engines rests on this.

use super::{Entries, Subject, content, numbered_entries};
use crate::{
    Durability, Guarantees, Isolation, KeyRange, Processes, Result, Scan, Store, Weakness,
    WriteBatch,
};
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A subject whose stores can be crashed, damaged and read from beside.
pub trait Attacked: Subject {
    /// A new empty store that [`Attacked::crash`] will end.
    fn doomed(&self) -> Box<dyn Store>;

    /// Ends the store that the last [`Attacked::doomed`] made, as a crash does, and opens what is
    /// left. Called while another thread writes, whose further writes must fail. Where the
    /// subject can choose what is left, `chance` chooses.
    ///
    /// # Errors
    /// Those of opening what is left.
    fn crash(&self, chance: u64) -> Result<Box<dyn Store>>;

    /// A store of `entries`, opened for reading, of whose stored bytes one bit was turned before;
    /// `chance` says which.
    ///
    /// # Errors
    /// When the damage is noticed at once.
    fn damaged(&self, entries: &Entries, chance: u64) -> Result<Box<dyn Store>>;

    /// What another process reads now of the store that the last [`Subject::target`] made, which
    /// is open for writing.
    ///
    /// # Errors
    /// When it can't be read beside its writer.
    fn beside(&self) -> Result<Box<dyn Store>>;
}

/// Writes of one crash; the crash comes long before the last.
const WRITES_MAX: u64 = 2_000;
/// Acknowledged writes after which the crash comes, at most.
const WRITES_BEFORE_CRASH_MAX: u64 = 40;
/// Entries of a batch, apart from the one that all batches share.
const PARTS: u64 = 6;
/// Entries of a chunk of a bulk load.
const CHUNK_ENTRIES: u64 = 60;
/// The entry that every batch overwrites: it tells the last one that survived.
const LATEST: &[u8] = b"latest";
/// Bits turned for each round.
const BITS_PER_ROUND: u64 = 4;

/// Attacks every promise of the subject's targets and names those that were attacked.
///
/// # Panics
/// When a promise doesn't hold; the message begins with its name.
pub fn attack(subject: &dyn Attacked, rounds: u64, seed: u64) -> Vec<Weakness> {
    let promised =
        subject.target().expect("a subject without targets promises nothing").guarantees();
    let mut dice = Dice(seed);
    for round in 0..rounds {
        crash(subject, &promised, round, &mut dice);
    }
    if promised.checksummed {
        turn_bits(subject, rounds * BITS_PER_ROUND, &mut dice);
    }
    if promised.isolation == Isolation::Snapshot {
        write_under_a_snapshot(subject);
    }
    if promised.processes == Processes::ReadersBesideOneWriter {
        read_beside(subject, rounds);
    }
    promised.promises()
}

/// The entries of batch or chunk `number`: spread over the keyspace, of different lengths.
fn entries_of(number: u64, bulk: bool) -> Entries {
    let count = if bulk { CHUNK_ENTRIES } else { PARTS };
    (0..count)
        .map(|part| {
            let key = if bulk {
                format!("{number:08}/{part:08}")
            } else {
                format!("{part:08}/{number:08}")
            };
            let bytes = number.to_be_bytes();
            let copies = 1 + (number * 977 + part * 3_331) % 750;
            (key.into_bytes(), (0..copies).flat_map(|_| bytes).collect())
        })
        .collect()
}

fn write(store: &dyn Store, number: u64, bulk: bool, durability: Durability) -> Result<()> {
    let entries = entries_of(number, bulk);
    if !bulk {
        let mut batch = WriteBatch::new();
        for (key, value) in &entries {
            batch.put(key, value);
        }
        batch.put(LATEST, &number.to_be_bytes());
        return store.write(&batch, durability);
    }
    let range = KeyRange::prefix(format!("{number:08}/").as_bytes());
    let mut chunk = store.bulk_load()?.chunk(&range)?;
    for (key, value) in &entries {
        chunk.put(key, value)?;
    }
    chunk.commit()
}

#[derive(Default)]
struct Told {
    acknowledged: u64,
    /// Writes below this were acknowledged as synced, or before one that was.
    durable: u64,
    ended: bool,
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes until the crash, and judges what it left.
fn crash(subject: &dyn Attacked, promised: &Guarantees, round: u64, dice: &mut Dice) {
    let store = subject.doomed();
    let able = store.capabilities();
    let bulk = able.bulk_load && (!able.write || round % 3 == 2);
    let crash_after = 1 + dice.below(WRITES_BEFORE_CRASH_MAX);
    let mut durabilities = Dice(dice.next());
    let (told, news) = (Mutex::new(Told::default()), Condvar::new());
    let after = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..WRITES_MAX {
                let synced = bulk || durabilities.below(3) == 0;
                let durability = if synced { Durability::Synced } else { Durability::Buffered };
                if write(&*store, number, bulk, durability).is_err() {
                    break;
                }
                let mut told = lock(&told);
                told.acknowledged = number + 1;
                if synced {
                    told.durable = number + 1;
                }
                news.notify_one();
            }
            lock(&told).ended = true;
            news.notify_one();
        });
        let waiting = |told: &mut Told| told.acknowledged < crash_after && !told.ended;
        drop(news.wait_while(lock(&told), waiting));
        subject.crash(dice.next())
    });
    let told = lock(&told);
    assert!(told.acknowledged >= crash_after.min(WRITES_MAX), "the store took no write");
    let after = after.expect("what a crash leaves can be opened");
    let left = Left::of(&content(&*after), told.acknowledged + 1, bulk);
    left.judge(promised, told.durable, bulk);
}

/// What a crash left: which writes are there, whole or in part.
struct Left {
    whole: BTreeSet<u64>,
    torn: Option<(u64, usize, usize)>,
    latest: Option<u64>,
}

impl Left {
    fn of(found: &Entries, attempted: u64, bulk: bool) -> Self {
        let (mut whole, mut torn, mut known) = (BTreeSet::new(), None, 0);
        for number in 0..attempted {
            let expected = entries_of(number, bulk);
            let present = expected.iter().filter(|(key, value)| found.get(*key) == Some(value));
            match present.count() {
                0 => {}
                count if count == expected.len() => {
                    whole.insert(number);
                    known += count;
                }
                count => {
                    torn = Some((number, count, expected.len()));
                    known += count;
                }
            }
        }
        let latest = found.get(LATEST).and_then(|value| value.as_slice().try_into().ok());
        known += usize::from(latest.is_some());
        assert_eq!(known, found.len(), "a crash left entries that nobody wrote");
        Self { whole, torn, latest: latest.map(u64::from_be_bytes) }
    }

    fn judge(&self, promised: &Guarantees, durable: u64, bulk: bool) {
        if (promised.atomic_batch || bulk)
            && let Some((number, count, of)) = self.torn
        {
            let name = Weakness::AtomicBatch;
            panic!("{name}: write {number} survived in part, {count} of {of} entries");
        }
        if promised.durable_sync
            && let Some(lost) = (0..durable).find(|number| !self.whole.contains(number))
        {
            let name = Weakness::DurableSync;
            panic!("{name}: write {lost} of {durable} that were durable is lost or torn");
        }
        if promised.ordered_writes {
            let name = Weakness::OrderedWrites;
            let last = self.whole.last().copied();
            let gap = (0..last.unwrap_or(0)).find(|number| !self.whole.contains(number));
            assert!(gap.is_none(), "{name}: write {gap:?} is lost and {last:?} survived");
            if promised.atomic_batch && !bulk {
                assert_eq!(self.latest, last, "{name}: a write overtook a later one");
            }
        }
    }
}

/// Turned bits are errors, or lie where nothing is kept; they are never served.
fn turn_bits(subject: &dyn Attacked, bits: u64, dice: &mut Dice) {
    let entries = numbered_entries(3_000, 120);
    let mut noticed = 0;
    for _ in 0..bits {
        let chance = dice.next();
        match subject.damaged(&entries, chance).and_then(|store| try_content(&*store)) {
            Err(_) => noticed += 1,
            Ok(found) => assert!(
                found == entries,
                "{}: the bit turned by chance {chance} was served",
                Weakness::Checksummed
            ),
        }
    }
    assert!(noticed > 0, "no bit of {bits} hit anything: nothing was attacked");
}

fn try_content(store: &dyn Store) -> Result<Entries> {
    let snapshot = store.snapshot()?;
    let mut scan = Scan::new(&*snapshot, &KeyRange::all())?;
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next()? {
        entries.insert(key.to_vec(), value.to_vec());
    }
    let _complete = scan.receipt()?;
    Ok(entries)
}

/// A snapshot, and a walk that is under way, see nothing of what is written meanwhile.
fn write_under_a_snapshot(subject: &dyn Attacked) {
    let name = Weakness::Isolation;
    let store = subject.target().expect("a target");
    let bulk = !store.capabilities().write;
    for number in 0..20 {
        write(&*store, number, bulk, Durability::Buffered).expect("a write");
    }
    let before = content(&*store);
    let snapshot = store.snapshot().expect("a snapshot");
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).expect("a scan");
    let mut seen = Entries::new();
    let mut number = 20;
    while let Some((key, value)) = scan.next().expect("an entry") {
        seen.insert(key.to_vec(), value.to_vec());
        if seen.len() % 10 == 1 {
            write(&*store, number, bulk, Durability::Synced).expect("a write");
            number += 1;
        }
    }
    assert!(seen == before, "{name}: a walk saw what was written after its snapshot");
    for (key, value) in entries_of(number - 1, bulk).iter().chain(&before) {
        let expected = before.get(key);
        let found = snapshot.get(key).expect("a get");
        assert!(found.as_ref() == expected, "{name}: a get saw {} later bytes", value.len());
    }
}

/// Readers in other processes see whole writes, all that were made before they came.
fn read_beside(subject: &dyn Attacked, rounds: u64) {
    let name = Weakness::Processes;
    let store = subject.target().expect("a target");
    let mut number = 0;
    for _ in 0..rounds {
        for _ in 0..3 {
            write(&*store, number, false, Durability::Synced).expect("a write beside a reader");
            number += 1;
        }
        let told = Mutex::new(number);
        let (found, attempted) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in number..number + 10 {
                    write(&*store, number, false, Durability::Synced).expect("a write");
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = number + 1;
                }
            });
            let found = subject.beside().unwrap_or_else(|error| panic!("{name}: {error}"));
            writer.join().expect("the writer");
            (found, *told.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let left = Left::of(&content(&*found), attempted, false);
        let complete = left.torn.is_none()
            && (0..number).all(|number| left.whole.contains(&number))
            && left.latest == left.whole.last().copied();
        assert!(complete, "{name}: a reader beside the writer saw a part of its writes");
        number = attempted;
    }
}

/// Pseudo-random numbers from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
