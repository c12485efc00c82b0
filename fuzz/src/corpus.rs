//! The kept corpus: `fuzz/corpus/NAME.hex`, an input a line in hex; lines with `#` say what the
//! next one found.

use crate::Target;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn file(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{}.hex", target.name))
}

/// The kept inputs of a target; none where it has no file.
///
/// # Errors
/// The line that is no hex.
pub fn kept(target: &Target) -> Result<Vec<Vec<u8>>, String> {
    let Ok(text) = fs::read_to_string(file(target)) else { return Ok(Vec::new()) };
    let inputs = text.lines().filter(|line| !line.starts_with('#'));
    inputs.map(|line| hex::decode(line).map_err(|error| format!("{line}: {error}"))).collect()
}

/// Adds the files of `folder` to the kept inputs of a target, shortest first, while the file
/// stays below `bytes_max`. What is kept with a remark stays. Answers how many are kept.
///
/// # Errors
/// What can't be read or written.
pub fn pack(target: &Target, folder: &Path, bytes_max: usize) -> Result<usize, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let path = file(target);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    let mut remarked = false;
    for line in before.lines() {
        if line.starts_with('#') || remarked {
            lines.push(line.to_owned());
        }
        remarked = line.starts_with('#');
    }
    let mut inputs = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let bytes = fs::read(entry.map_err(failed)?.path()).map_err(failed)?;
        inputs.insert((bytes.len(), bytes));
    }
    let mut room = bytes_max;
    for (length, bytes) in inputs {
        let line = hex::encode(bytes);
        if lines.contains(&line) {
            continue;
        }
        let Some(left) = room.checked_sub(2 * length + 1) else { break };
        room = left;
        lines.push(line);
    }
    let kept = lines.iter().filter(|line| !line.starts_with('#')).count();
    fs::write(&path, lines.join("\n") + "\n").map_err(|error| error.to_string())?;
    Ok(kept)
}
