//! The repository's test data, where seeds come from, and a file in memory for decoders that
//! read files.

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The files below `crates/drivers/testdata/FOLDER` whose names are wanted.
pub(crate) fn testdata(folder: &str, wanted: fn(&str) -> bool) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/drivers/testdata");
    let mut paths = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder is read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("test data is read")).collect()
}

/// The golden frames that both ends of the driver protocol are tested with.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let path = "../helpers/gostore/testdata/frames.json";
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the vectors");
    let frames: BTreeMap<String, String> = serde_json::from_slice(&text).expect("a JSON object");
    frames.values().map(|frame| hex::decode(frame).expect("hex")).collect()
}

thread_local! {
    static FILE: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Calls `act` with the path of a file in memory that holds `bytes`.
pub(crate) fn with_file<T>(bytes: &[u8], act: impl FnOnce(&Path) -> T) -> T {
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| {
            File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory"))
        });
        ftruncate(&*file, bytes.len() as u64).expect("it grows");
        file.write_all_at(bytes, 0).expect("it is written");
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        act(&path)
    })
}
