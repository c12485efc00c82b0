//! A directory that a live process writes, read through linked snapshots.

use crate::helper::{config, driver, source_options, target_options};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use transload_model::engine::Engine;
use transload_store::{Driver, Durability, KeyRange, Scan, WriteBatch};

#[test]
fn a_live_pebble_is_read_as_a_prefix_of_its_writes() {
    let Some(config) = config() else { return };
    for engine in [Engine::Pebble1, Engine::Pebble2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let driver = driver(engine, &config);
        let store = driver.create_target(&path, &target_options()).unwrap();
        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let value = vec![7; 20_000];
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = WriteBatch::new();
                    let number = written.load(Ordering::Relaxed);
                    batch.put(format!("n/{number:012}").as_bytes(), &value);
                    batch.put(b"last", &number.to_be_bytes());
                    store.write(&batch, Durability::Synced).unwrap();
                    written.store(number + 1, Ordering::Release);
                    // Where a sync costs nothing the store would outgrow its readers.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let mut seen_before = 0;
            for _ in 0..15 {
                let at_least = written.load(Ordering::Acquire);
                let scratch = tempfile::tempdir_in(folder.path()).unwrap();
                let linked = tempfile::tempdir_in(folder.path()).unwrap();
                driver.link_snapshot(&path, linked.path()).unwrap();
                let options = source_options(scratch.path());
                let source = driver.open_source(linked.path(), &options).unwrap();
                let snapshot = source.snapshot().unwrap();
                let mut scan = Scan::new(&*snapshot, &KeyRange::prefix(b"n/")).unwrap();
                let mut count = 0u64;
                while let Some((key, _)) = scan.next().unwrap() {
                    assert_eq!(key, format!("n/{count:012}").as_bytes(), "a write is missing");
                    count += 1;
                }
                // What was synced before the snapshot began is in it, and a batch is whole.
                assert!(count >= at_least && count >= seen_before, "{count} of {at_least}");
                let last = snapshot.get(b"last").unwrap();
                assert_eq!(last, count.checked_sub(1).map(|n| n.to_be_bytes().to_vec()));
                seen_before = count;
            }
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        store.close().unwrap();
    }
}
