//! Every read of every file goes wrong once, and many at random: by an error, by an early end,
//! by a flipped bit, by bytes of another place. What comes is an error, for ever, or exactly
//! what was written.

use super::files::{Files, OnDisk};
use super::snapshot::LevelDbSnapshot;
use super::table::ReadAt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use transload_store::{KeyRange, Kind, Result, Scan, Snapshot};

const SECTOR_BYTES: usize = 512;

/// Runs at random where nobody has set a number.
const RUNS: u64 = 200;

/// Pseudo-random numbers from a seed (`SplitMix64`).
#[derive(Clone, Copy)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length.max(1) as u64)).unwrap()
    }
}

/// Which reads go wrong.
#[derive(Clone, Copy, Debug)]
enum Plague {
    Calm,
    Once(u64),
    Often(u64),
}

#[derive(Debug)]
struct Luck {
    plague: Plague,
    seed: u64,
    calls: AtomicU64,
    struck: AtomicU64,
}

impl Luck {
    fn strikes(&self) -> Option<Dice> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut dice = Dice(self.seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let strikes = match self.plague {
            Plague::Calm => false,
            Plague::Once(wanted) => wanted == number,
            Plague::Often(one_in) => dice.roll(one_in) == 0,
        };
        self.struck.fetch_add(u64::from(strikes), Ordering::SeqCst);
        strikes.then_some(dice)
    }
}

struct AilingFiles(Arc<Luck>);

struct AilingTable(Arc<dyn ReadAt>, Arc<Luck>);

fn failure(dice: &mut Dice) -> io::Error {
    // EIO, EACCES, ENOMEM, EINTR.
    io::Error::from_raw_os_error([5, 13, 12, 4][dice.index(4)])
}

impl Files for AilingFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let Some(mut dice) = self.0.strikes() else { return OnDisk.read(path) };
        let mut bytes = OnDisk.read(path)?;
        match dice.roll(4) {
            0 if !bytes.is_empty() => {
                let at = dice.index(bytes.len());
                bytes[at] ^= 1 << dice.roll(8);
            }
            1 if !bytes.is_empty() => bytes.truncate(dice.index(bytes.len())),
            // A sector that never came. At a log's end it is what a power cut leaves.
            2 if bytes.len() > SECTOR_BYTES => {
                let at = dice.index(bytes.len() - SECTOR_BYTES);
                bytes[at..at + SECTOR_BYTES].fill(0);
            }
            _ => return Err(failure(&mut dice)),
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        match self.0.strikes() {
            Some(mut dice) => Err(failure(&mut dice)),
            None => Ok(Arc::new(AilingTable(OnDisk.open(path)?, Arc::clone(&self.0)))),
        }
    }
}

impl ReadAt for AilingTable {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(mut dice) = self.1.strikes() else { return self.0.read_exact_at(buffer, offset) };
        self.0.read_exact_at(buffer, offset)?;
        let at = dice.index(buffer.len());
        match dice.roll(5) {
            0 => buffer[at] ^= 1 << dice.roll(8),
            1 => buffer[at..].fill(0),
            // Bytes of another place.
            2 => buffer.rotate_left(at.max(1)),
            3 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => return Err(failure(&mut dice)),
        }
        Ok(())
    }
}

fn databases() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leveldb");
    let entries = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries
        .filter(|path| path.is_dir() && LevelDbSnapshot::open(Arc::new(OnDisk), path, 0).is_ok())
        .collect();
    folders.sort();
    assert!(folders.len() > 2);
    folders
}

/// Pairs, and what point reads of some of them give.
type Content = Vec<(Vec<u8>, Vec<u8>)>;

fn read(dir: &Path, luck: &Arc<Luck>) -> Result<Content> {
    let files = Arc::new(AilingFiles(Arc::clone(luck)));
    let snapshot = LevelDbSnapshot::open(files, dir, 64 << 20)?;
    let points = snapshot.split_points(&KeyRange::all(), 4 << 10)?;
    let mut content = Content::new();
    for range in KeyRange::all().split_at(&points) {
        let mut scan = Scan::new(&snapshot, &range)?;
        let from = content.len();
        loop {
            match scan.next() {
                Ok(Some((key, value))) => content.push((key.to_vec(), value.to_vec())),
                Ok(None) => break,
                Err(error) => {
                    // The files are well again, and the scan still has failed.
                    assert!(scan.next().is_err() && scan.receipt().is_err(), "{error}");
                    return Err(error);
                }
            }
        }
        assert_eq!(scan.receipt()?.entries, (content.len() - from) as u64);
    }
    for (key, value) in content.iter().step_by(7) {
        let found = snapshot.get(key)?;
        assert_eq!(found.as_ref(), Some(value), "a get and a scan say different things");
    }
    Ok(content)
}

fn luck(plague: Plague, seed: u64) -> Arc<Luck> {
    let (calls, struck) = (AtomicU64::new(0), AtomicU64::new(0));
    Arc::new(Luck { plague, seed, calls, struck })
}

/// Whether it was read well in spite of all.
fn try_once(dir: &Path, sound: &Content, plague: Plague, seed: u64) -> (bool, u64) {
    let luck = luck(plague, seed);
    let what = format!("{}, {plague:?}, seed {seed}", dir.display());
    let good = match read(dir, &luck) {
        Ok(content) => {
            assert!(content == *sound, "{what}: other entries than were written");
            true
        }
        Err(error) => {
            let known = matches!(
                error.kind(),
                Kind::Corrupt | Kind::Io | Kind::UnknownFormat | Kind::Limit | Kind::Busy
            );
            assert!(known, "{what}: {error}");
            false
        }
    };
    (good, luck.struck.load(Ordering::SeqCst))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn each_read_that_goes_wrong_once_is_an_error_or_the_whole_content() {
    let seed = number("TRANSLOAD_SEED").unwrap_or(1);
    for dir in databases() {
        let calm = luck(Plague::Calm, 0);
        let sound = read(&dir, &calm).unwrap();
        let calls = calm.calls.load(Ordering::SeqCst);
        let (mut struck, mut good) = (0, 0);
        for call in 0..calls {
            for more in 0..4 {
                let (whole, hits) =
                    try_once(&dir, &sound, Plague::Once(call), seed ^ (call << 8 | more));
                struck += hits;
                good += u64::from(whole);
            }
        }
        println!("  {}: {calls} reads, {struck} went wrong, {good} did no harm", dir.display());
        assert!(struck >= calls && good < struck, "{struck} of {calls}, {good} did no harm");
    }
}

/// Gives so many bytes of logs and manifests, and says nothing of the others.
struct Short(usize);

impl Files for Short {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = OnDisk.read(path)?;
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("CURRENT")) {
            bytes.truncate(self.0);
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        OnDisk.open(path)
    }
}

#[test]
fn a_log_or_manifest_that_is_read_short_is_an_error_and_no_smaller_database() {
    for dir in databases() {
        let sizes = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
        let whole = sizes
            .filter(|entry| entry.path().extension().is_none_or(|extension| extension != "ldb"))
            .map(|entry| usize::try_from(entry.metadata().unwrap().len()).unwrap())
            .max()
            .unwrap();
        for bytes in 0..whole {
            let error = LevelDbSnapshot::open(Arc::new(Short(bytes)), &dir, 0).err().unwrap();
            assert_eq!(error.kind(), Kind::Io, "{}, {bytes} bytes: {error}", dir.display());
        }
        assert!(LevelDbSnapshot::open(Arc::new(Short(whole)), &dir, 0).is_ok());
    }
}

#[test]
fn reads_that_go_wrong_at_random_are_errors_or_the_whole_content() {
    let seed = number("TRANSLOAD_SEED").unwrap_or(1);
    let runs = number("TRANSLOAD_FAULT_RUNS").unwrap_or(RUNS);
    let databases = databases();
    let sound: Vec<Content> =
        databases.iter().map(|dir| read(dir, &luck(Plague::Calm, 0)).unwrap()).collect();
    for run in 0..runs {
        let mut dice = Dice(seed.wrapping_add(run));
        let at = dice.index(databases.len());
        let plague = Plague::Often(2 << dice.roll(7));
        try_once(&databases[at], &sound[at], plague, seed.wrapping_add(run));
    }
    println!("  {runs} runs from seed {seed} on");
}
