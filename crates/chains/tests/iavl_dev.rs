//! dev
#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout)]
use transload_chains::iavl;
use transload_store::memory::MemoryStore;
use transload_store::{Store, VerifyOptions, VersionChoice};
fn load(path: &str) -> MemoryStore {
    let bytes = std::fs::read(path).unwrap();
    let mut at = 0;
    let mut take = || {
        if at == bytes.len() {
            return None;
        }
        let n = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        at += 4 + n;
        Some(bytes[at - n..at].to_vec())
    };
    let mut v = Vec::new();
    while let Some(k) = take() {
        v.push((k, take().unwrap()));
    }
    MemoryStore::with(v)
}
#[test]
fn dev() {
    for n in std::env::var("IAVL_PAIRS").unwrap().split(',') {
        let store = load(n);
        for memory in [64_u64 << 20, 100_000] {
            for versions in [VersionChoice::All, VersionChoice::Latest] {
                let dir = tempfile::tempdir().unwrap();
                let o = VerifyOptions {
                    trust: Default::default(),
                    versions: versions.clone(),
                    memory_bytes_max: memory,
                    workers: 2,
                    scratch_dir: dir.path().to_owned(),
                };
                let t = std::time::Instant::now();
                let v = iavl::verify(&*store.snapshot().unwrap(), &o, &|_| Ok(None), &|_, _| true)
                    .unwrap();
                println!("== {n} {memory} {versions:?} {:?}", t.elapsed());
                for c in &v.checks {
                    println!(
                        "  {:22} {:7} {:4} {:4} {}",
                        c.name, c.checked, c.failed, c.skipped, c.note
                    );
                }
                for f in v.findings.iter().take(12) {
                    println!("  ! {f}");
                }
                for f in v.notices.iter().chain(&v.limits) {
                    println!("  - {f}");
                }
            }
        }
    }
}
