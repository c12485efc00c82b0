//! What the files of a database were at one moment.
//!
//! Tables never change once written, so names, sizes, inodes and times tell; the small files that
//! engines rewrite in place (CURRENT, manifest, logs, markers, OPTIONS) are hashed as well.

use super::files::stopped;
use crate::error::Result;
use crate::moves::Fingerprint;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Logs may be large; they are hashed in pieces of this size.
const READ_BYTES: usize = 1 << 20;

/// The fingerprint of the file or folder at `path`.
pub(super) fn of(path: &Path) -> Result<Fingerprint> {
    let mut print = Fingerprint::default();
    walk(path, "", &mut print)?;
    Ok(print)
}

fn walk(path: &Path, relative: &str, print: &mut Fingerprint) -> Result<()> {
    let failed = |error| stopped("take a fingerprint", path, error);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let inner = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            walk(&entry.path(), &inner, print)?;
        }
        return Ok(());
    }
    let mut line = format!(
        "size {} inode {} modified {}.{:09}",
        metadata.len(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let name = relative.rsplit('/').next().unwrap_or_default();
    if metadata.is_file() && is_rewritten(name) {
        let mut hasher = Sha256::new();
        let mut file = File::open(path).map_err(failed)?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        line.push_str(&format!(" sha256 {}", hex::encode(hasher.finalize())));
    }
    print.files.insert(relative.to_owned(), line);
    Ok(())
}

fn is_rewritten(name: &str) -> bool {
    ["CURRENT", "MANIFEST", "OPTIONS", "marker."].iter().any(|start| name.starts_with(start))
        || name.ends_with(".log")
}
