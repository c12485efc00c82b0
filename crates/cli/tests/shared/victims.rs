//! Where the homes of a campaign live, and how many are worked on at the same time.

use crate::shared::{cores, number};
use std::path::PathBuf;

/// A number from the environment: how many at the same time; else one a core.
pub(crate) fn workers(variable: &str) -> usize {
    number(variable).and_then(|workers| usize::try_from(workers).ok()).unwrap_or_else(cores)
}

/// Where homes live: in memory where the machine offers it, since thousands of them are written
/// and thrown away, and a kill (unlike a power cut) doesn't depend on the disk.
pub(crate) fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let usable = std::env::var_os("TMPDIR").is_none()
        && tempfile::Builder::new().prefix("transload-").tempdir_in(&memory).is_ok();
    if usable { memory } else { std::env::temp_dir() }
}
