//! bbolt: our own reader against bbolt itself, on files of both, and on damaged ones.

use crate::fixtures::digest;
use crate::helper::{bbolt, config, fingerprint, source_options, target_options};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use transload_drivers::bbolt::Bbolt;
use transload_drivers::recognise;
use transload_model::engine::Engine;
use transload_store::contract::Entries;
use transload_store::{Driver, Durability, KeyRange, Kind, Result, Scan, Store, WriteBatch};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/bbolt").join(format!("{name}.db"))
}

/// Opens a file for which no scratch folder is needed.
fn open(path: &Path, space: Option<&str>) -> Result<Box<dyn Store>> {
    let mut options = source_options(Path::new("/nonexistent/no scratch is needed"));
    options.space = space.map(str::to_owned);
    Bbolt::new(None).open_source(path, &options)
}

fn content(store: &dyn Store) -> Result<Entries> {
    let snapshot = store.snapshot()?;
    let mut scan = Scan::new(&*snapshot, &KeyRange::all())?;
    let mut entries = Entries::new();
    while let Some((key, value)) = scan.next()? {
        entries.insert(key.to_vec(), value.to_vec());
    }
    let _receipt = scan.receipt()?;
    Ok(entries)
}

#[test]
fn every_golden_file_reads_as_bbolt_read_it_and_is_not_touched() {
    for name in ["deep", "large", "inline", "empty"] {
        let path = golden(name);
        let expected = fs::read_to_string(path.with_extension("digest")).unwrap();
        let before = fingerprint(&path);
        let found = recognise(&path).unwrap();
        assert_eq!((found.engine, &*found.version), (Engine::Bbolt, "format 2"));
        let store = open(&path, None).unwrap();
        let snapshot = store.snapshot().unwrap();
        let (pairs, sha256) = digest(&*snapshot);
        assert_eq!(format!("{pairs} {sha256}\n"), expected, "{name}");
        for (key, value) in content(&*store).unwrap() {
            assert_eq!(snapshot.get(&key).unwrap(), Some(value), "{name}");
        }
        assert_eq!(snapshot.get(b"").unwrap(), None);
        assert_eq!(fingerprint(&path), before, "{name} was touched");
    }
    assert_eq!(content(&*open(&golden("no-bucket"), None).unwrap()).unwrap(), Entries::new());
}

#[test]
fn what_a_node_would_not_write_is_refused_and_not_dropped() {
    let several = golden("several-buckets");
    let refusal = open(&several, None).err().expect("a choice is needed");
    assert_eq!(refusal.kind(), Kind::InvalidInput);
    assert!(refusal.to_string().contains("other tm"), "{refusal}");
    let named = content(&*open(&several, Some("other")).unwrap()).unwrap();
    assert_eq!(named, [(b"in the other".to_vec(), b"1".to_vec())].into());
    let refusal = open(&several, Some("missing")).err().expect("no such bucket");
    assert_eq!(refusal.kind(), Kind::NotFound);
    let refusal = content(&*open(&golden("nested-bucket"), None).unwrap()).expect_err("a bucket");
    assert_eq!(refusal.kind(), Kind::UnknownFormat);
}

#[test]
fn no_lock_is_taken_in_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    fs::copy(golden("deep"), &path).unwrap();
    let store = open(&path, None).unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut scan = Scan::new(&*snapshot, &KeyRange::all()).unwrap();
    scan.next().unwrap().expect("an entry");
    // As bbolt locks it. A lock of ours would be in the way: it would be another open file.
    File::open(&path).unwrap().try_lock().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a file was made beside it");
}

#[test]
fn a_file_that_a_process_writes_is_refused() {
    let into = tempfile::tempdir().unwrap();
    let refusal = Bbolt::new(None).link_snapshot(&golden("deep"), into.path());
    assert_eq!(refusal.expect_err("it changes in place").kind(), Kind::Busy);
}

#[test]
fn when_the_newer_state_is_torn_the_older_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(golden("inline")).unwrap();
    let whole = content(&*open(&golden("inline"), None).unwrap()).unwrap();
    let mut read = Vec::new();
    for page in [0, 1] {
        let path = folder.path().join(format!("{page}.db"));
        let mut torn = bytes.clone();
        torn[page * 1024 + 40] ^= 1;
        fs::write(&path, torn).unwrap();
        read.push(content(&*open(&path, None).unwrap()).unwrap());
    }
    // The older state is that before the only entry.
    assert!(read.contains(&whole) && read.contains(&Entries::new()), "{read:?}");
    let path = folder.path().join("both.db");
    let mut torn = bytes;
    torn[40] ^= 1;
    torn[1024 + 40] ^= 1;
    fs::write(&path, torn).unwrap();
    assert_eq!(open(&path, None).err().expect("no state is left").kind(), Kind::Corrupt);
}

#[test]
fn a_file_that_is_cut_off_or_damaged_is_an_error_or_reads_as_it_says_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["deep", "large"] {
        let bytes = fs::read(golden(name)).unwrap();
        let whole = content(&*open(&golden(name), None).unwrap()).unwrap();
        let path = folder.path().join(name);
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            open(&path, None).and_then(|store| content(&*store))
        };
        for part in 0..10 {
            let cut = read(&bytes[..bytes.len() * part / 10]);
            assert!(cut.is_err() || cut.unwrap() == whole, "{name} at {part}/10");
        }
        fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        // Every number of a page's header and of its first elements is one of these bytes.
        let mut errors = 0;
        for page in 0..bytes.len() / 512 {
            for at in (page * 512..).take(40) {
                file.write_all_at(&[bytes[at] ^ 0x81], at as u64).unwrap();
                errors += u64::from(open(&path, None).and_then(|s| content(&*s)).is_err());
                file.write_all_at(&[bytes[at]], at as u64).unwrap();
            }
        }
        assert!(errors > 100, "{name}: {errors}");
    }
}

#[test]
fn pages_that_lead_round_in_a_ring_end_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring.db");
    let bytes = fs::read(golden("deep")).unwrap();
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let branches: Vec<usize> =
        (2..bytes.len() / 1024).map(|page| page * 1024).filter(|at| u16_at(at + 8) == 1).collect();
    assert!(!branches.is_empty());
    for at in branches {
        let mut ring = bytes.clone();
        // Its first element leads to itself.
        let own = ring[at..at + 8].to_vec();
        ring[at + 24..at + 32].copy_from_slice(&own);
        fs::write(&path, &ring).unwrap();
        if let Err(error) = open(&path, None).and_then(|store| content(&*store)) {
            assert_eq!(error.kind(), Kind::Corrupt);
        }
    }
}

#[test]
fn what_bbolt_wrote_and_changed_again_and_again_reads_the_same_by_both() {
    let Some(config) = config() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let driver = bbolt(&config);
    let store = driver.create_target(&path, &target_options()).unwrap();
    let mut expected = Entries::new();
    let mut seed = 7u64;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(seed >> 33).unwrap() % below
    };
    for round in 0..12u8 {
        let mut batch = WriteBatch::new();
        for _ in 0..800 {
            let key = random(3_000).to_be_bytes()[1..].repeat(1 + random(4) as usize);
            if random(3) == 0 {
                batch.delete(&key);
                expected.remove(&key);
            } else {
                let length = if random(50) == 0 { 30_000 } else { random(300) };
                let value = vec![round; length as usize];
                batch.put(&key, &value);
                expected.insert(key, value);
            }
        }
        store.write(&batch, Durability::Synced).unwrap();
        // The writer holds its lock, and rests.
        assert_eq!(content(&*open(&path, None).unwrap()).unwrap(), expected, "round {round}");
    }
    assert_eq!(content(&*store).unwrap(), expected, "bbolt's own");
    store.close().unwrap();
    let store = driver.reopen_target(&path, &target_options()).unwrap();
    assert_eq!(content(&*store).unwrap(), expected, "bbolt's own, from the disk");
    let refusal = Bbolt::new(None).create_target(&path, &target_options()).err().unwrap();
    assert_eq!(refusal.kind(), Kind::Unsupported);
}

#[test]
fn keys_that_bbolt_does_not_take_are_refused_before_they_are_sent() {
    let Some(config) = config() else { return };
    let folder = tempfile::tempdir().unwrap();
    let driver = bbolt(&config);
    let store = driver.create_target(&folder.path().join("x.db"), &target_options()).unwrap();
    let (_, guarantees) = driver.target_profile();
    assert_eq!(guarantees.key_bytes_max, 32_768);
    assert!(driver.refuses_key(b"").is_some() && driver.refuses_key(b"k").is_none());
    for key in [Vec::new(), vec![b'k'; 32_769]] {
        let mut batch = WriteBatch::new();
        batch.put(b"a", b"1");
        batch.put(&key, b"2");
        let refusal = store.write(&batch, Durability::Synced).expect_err("not its key");
        assert_eq!(refusal.kind(), Kind::InvalidInput);
    }
    assert_eq!(content(&*store).unwrap(), Entries::new());
    let mut batch = WriteBatch::new();
    batch.put(&[b'k'; 32_768], b"");
    store.write(&batch, Durability::Synced).unwrap();
    store.close().unwrap();
}
