//! A linked snapshot: a crash-consistent copy of a directory that a live process writes, made of
//! hard links of its tables (they never change) and copies of `CURRENT`, manifest and logs.
//!
//! The writer may roll its log, flush, compact and delete while this runs. The order makes up
//! for it:
//! 1. The manifest is read; its whole edits are one moment's version.
//! 2. Tables of that version that aren't linked yet are linked. One that is gone was compacted
//!    away: back to 1. Links are kept, so every turn has less to do than the one before.
//! 3. The logs that the version needs are listed and then copied, oldest first. A log gets no
//!    more records once a newer one exists, so the copies are a prefix of all writes. One that
//!    is gone was flushed: back to 1.
//! 4. The manifest is read again. As long as it hasn't moved, nothing was flushed or compacted
//!    since 1, and version and logs belong together. Else back to 1.

use super::fault::corrupt;
use super::files::{OnDisk, current, log_name, log_numbers, read_manifest, table_names};
use super::manifest::Manifest;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use transload_store::{Error, Kind, Result};

const LINK: &str = "link a snapshot";

/// A busy node flushes every few seconds, and a turn takes milliseconds once the tables are
/// linked. Who isn't quiet for so many turns has something wrong.
const TURNS_MAX: u32 = 100;

/// Makes a linked snapshot of `dir` in the folder `into`, which is for it alone; files there are
/// remains of an earlier one.
///
/// # Errors
/// [`Kind::Busy`] when the directory never stood still; [`Kind::Unsupported`] when `into` is on
/// another file system, where no links are possible, or when the system doesn't let this user
/// link the files; those of reading the manifest.
pub fn link_snapshot(dir: &Path, into: &Path) -> Result<()> {
    drop_all_but(into, &BTreeSet::new())?;
    link_snapshot_while(dir, into, &mut |_| ())
}

/// The moments at which a test may let the writer go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    ManifestRead,
    TablesLinked,
    LogsCopied,
}

fn link_snapshot_while(dir: &Path, into: &Path, meanwhile: &mut dyn FnMut(Moment)) -> Result<()> {
    let mut linked = BTreeSet::new();
    let mut trouble = None;
    for _ in 0..TURNS_MAX {
        match turn(dir, into, &mut linked, meanwhile) {
            Ok(true) => return Ok(()),
            Ok(false) => trouble = None,
            // A manifest may be replaced between its name and its bytes; if it was damaged, it
            // is so in every turn.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                trouble = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(trouble.unwrap_or_else(|| {
        Error::new(Kind::Busy, LINK, "the directory changes too fast to link a snapshot of it")
            .with("path", dir.display().to_string())
            .with("turns", TURNS_MAX.to_string())
            .retryable()
    }))
}

/// One turn; false when the writer was faster.
fn turn(
    dir: &Path,
    into: &Path,
    linked: &mut BTreeSet<String>,
    meanwhile: &mut dyn FnMut(Moment),
) -> Result<bool> {
    let name = current(&OnDisk, dir)?;
    let mut bytes = read_manifest(&OnDisk, dir, &name)?;
    let manifest = Manifest::parse(&name, bytes.clone())?;
    meanwhile(Moment::ManifestRead);

    let mut needed = BTreeSet::new();
    for (_, number) in manifest.tables.keys() {
        let names = table_names(*number);
        let known = names.iter().find(|name| linked.contains(*name)).cloned();
        let Some(name) =
            known.map_or_else(|| link_either(dir, into, names), |name| Ok(Some(name)))?
        else {
            return missing(dir, &manifest, *number);
        };
        linked.insert(name.clone());
        needed.insert(name);
    }
    meanwhile(Moment::TablesLinked);

    let logs: Vec<u64> =
        log_numbers(dir)?.into_iter().filter(|number| manifest.needs_log(*number)).collect();
    for number in &logs {
        if !copy(dir, into, &log_name(*number))? {
            return Ok(false);
        }
    }
    meanwhile(Moment::LogsCopied);

    let unmoved = current(&OnDisk, dir)? == name && read_manifest(&OnDisk, dir, &name)? == bytes;
    if !unmoved {
        return Ok(false);
    }
    // An edit that was just being written belongs to the next version.
    bytes.truncate(usize::try_from(manifest.whole_bytes).unwrap_or(bytes.len()));
    write(into, &name, &bytes)?;
    write(into, "CURRENT", format!("{name}\n").as_bytes())?;
    needed.extend(logs.into_iter().map(log_name));
    needed.extend([name, "CURRENT".to_owned()]);
    drop_all_but(into, &needed)?;
    Ok(true)
}

/// A table that isn't there: compacted away when the manifest has moved on, else lost.
fn missing(dir: &Path, manifest: &Manifest, number: u64) -> Result<bool> {
    if Manifest::load(&OnDisk, dir)? != *manifest {
        return Ok(false);
    }
    let [name, _] = table_names(number);
    Err(corrupt(&name, 0, "a table that the manifest names is missing")
        .with("path", dir.display().to_string()))
}

/// Links a table under the name that it has.
fn link_either(dir: &Path, into: &Path, names: [String; 2]) -> Result<Option<String>> {
    for name in names {
        match fs::hard_link(dir.join(&name), into.join(&name)) {
            Ok(()) => return Ok(Some(name)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                let what = "a database in use is read through hard links, which need a scratch \
                            folder on its own file system (--scratch)";
                return Err(no_links(dir, into, what, error));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let what = "a database in use is read through hard links, which only the files' \
                            owner or root may make";
                return Err(no_links(dir, into, what, error));
            }
            Err(error) => return Err(failed(dir, &name)(error)),
        }
    }
    Ok(None)
}

fn no_links(dir: &Path, into: &Path, what: &str, error: io::Error) -> Error {
    Error::new(Kind::Unsupported, LINK, what)
        .with("path", dir.display().to_string())
        .with("scratch", into.display().to_string())
        .caused_by(error)
}

fn copy(dir: &Path, into: &Path, name: &str) -> Result<bool> {
    match fs::copy(dir.join(name), into.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(dir, name)(error)),
    }
}

fn write(into: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::write(into.join(name), bytes).map_err(failed(into, name))
}

/// Removes what earlier turns linked and copied. Only files are made there, so only files are
/// removed.
fn drop_all_but(into: &Path, needed: &BTreeSet<String>) -> Result<()> {
    let listing = fs::read_dir(into).map_err(failed(into, ""))?;
    for entry in listing {
        let name = entry.map_err(failed(into, ""))?.file_name().to_string_lossy().into_owned();
        if !needed.contains(&name) {
            fs::remove_file(into.join(&name)).map_err(failed(into, &name))?;
        }
    }
    Ok(())
}

fn failed(dir: &Path, name: &str) -> impl Fn(io::Error) -> Error {
    let path = dir.join(name);
    move |error| Error::io(LINK, &path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leveldb::log::tests::write as log;
    use crate::leveldb::memtable::tests::batch;

    /// A directory as a writer leaves it; tables are only named, not read, here.
    struct Writer {
        dir: tempfile::TempDir,
        edits: Vec<Vec<u8>>,
    }

    impl Writer {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let comparator = [&[1, 26][..], b"leveldb.BytewiseComparator"].concat();
            let begin = [comparator, vec![2, 1, 3, 9, 4, 0]].concat();
            let this = Self { dir, edits: vec![begin] };
            this.put("MANIFEST-000002", &log(&this.edits));
            this.put("CURRENT", b"MANIFEST-000002\n");
            this
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            fs::write(self.dir.path().join(name), bytes).unwrap();
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.dir.path().join(name)).unwrap();
        }

        fn edit(&mut self, edit: Vec<u8>) {
            self.edits.push(edit);
            self.put("MANIFEST-000002", &log(&self.edits));
        }

        fn add(number: u8) -> Vec<u8> {
            let key = [&[9][..], b"k", &[0; 8]].concat();
            [&[7, 0, number, 3][..], &key, &key].concat()
        }

        fn names(into: &Path) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(into)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn one(key: &[u8], sequence: u64) -> Vec<u8> {
        log(&[batch(sequence, &[(key, Some(b"v"))])])
    }

    #[test]
    fn a_quiet_directory_is_linked_as_it_is() {
        let mut writer = Writer::new();
        writer.put("000005.ldb", b"abc");
        writer.put("000001.log", &one(b"a", 1));
        writer.edit(Writer::add(5));
        writer.put("000004.ldb", b"of no version");
        let into = tempfile::tempdir().unwrap();
        link_snapshot(writer.dir.path(), into.path()).unwrap();
        let expected = ["000001.log", "000005.ldb", "CURRENT", "MANIFEST-000002"];
        assert_eq!(Writer::names(into.path()), expected);
    }

    #[test]
    fn remains_of_an_earlier_snapshot_are_replaced() {
        let mut writer = Writer::new();
        writer.put("000001.log", b"");
        writer.put("000005.ldb", b"abc");
        writer.edit(Writer::add(5));
        let into = tempfile::tempdir().unwrap();
        fs::write(into.path().join("000005.ldb"), b"of another time").unwrap();
        fs::write(into.path().join("000009.log"), b"of another time").unwrap();
        link_snapshot(writer.dir.path(), into.path()).unwrap();
        let expected = ["000001.log", "000005.ldb", "CURRENT", "MANIFEST-000002"];
        assert_eq!(Writer::names(into.path()), expected);
        assert_eq!(fs::read(into.path().join("000005.ldb")).unwrap(), b"abc");
    }

    #[test]
    fn a_flush_at_any_moment_loses_nothing_and_mixes_nothing() {
        for moment in [Moment::ManifestRead, Moment::TablesLinked, Moment::LogsCopied] {
            let mut writer = Writer::new();
            writer.put("000001.log", &one(b"a", 1));
            let dir = writer.dir.path().to_owned();
            let into = tempfile::tempdir().unwrap();
            let mut pending = true;
            link_snapshot_while(&dir, into.path(), &mut |now| {
                if now == moment && std::mem::take(&mut pending) {
                    writer.put("000003.log", &one(b"b", 2));
                    writer.put("000005.ldb", b"abc");
                    writer.edit([Writer::add(5), vec![2, 3]].concat());
                    writer.remove("000001.log");
                }
            })
            .unwrap();
            let expected = ["000003.log", "000005.ldb", "CURRENT", "MANIFEST-000002"];
            assert_eq!(Writer::names(into.path()), expected, "{moment:?}");
        }
    }

    #[test]
    fn a_compaction_at_any_moment_leaves_one_version() {
        for moment in [Moment::ManifestRead, Moment::TablesLinked, Moment::LogsCopied] {
            let mut writer = Writer::new();
            writer.put("000001.log", b"");
            writer.put("000005.ldb", b"abc");
            writer.edit(Writer::add(5));
            let dir = writer.dir.path().to_owned();
            let into = tempfile::tempdir().unwrap();
            let mut pending = true;
            link_snapshot_while(&dir, into.path(), &mut |now| {
                if now == moment && std::mem::take(&mut pending) {
                    writer.put("000006.ldb", b"abc");
                    writer.edit([vec![6, 0, 5], Writer::add(6)].concat());
                    writer.remove("000005.ldb");
                }
            })
            .unwrap();
            let expected = ["000001.log", "000006.ldb", "CURRENT", "MANIFEST-000002"];
            assert_eq!(Writer::names(into.path()), expected, "{moment:?}");
        }
    }

    #[test]
    fn a_table_that_is_gone_for_good_is_corruption_and_an_endless_writer_is_busy() {
        let mut writer = Writer::new();
        writer.put("000001.log", b"");
        writer.edit(Writer::add(5));
        let dir = writer.dir.path().to_owned();
        let into = tempfile::tempdir().unwrap();
        assert_eq!(link_snapshot(&dir, into.path()).unwrap_err().kind(), Kind::Corrupt);
        writer.put("000005.ldb", b"abc");
        let busy = link_snapshot_while(&dir, into.path(), &mut |now| {
            if now == Moment::LogsCopied {
                writer.edit(vec![4, 1]);
            }
        });
        let busy = busy.unwrap_err();
        assert_eq!((busy.kind(), busy.is_retryable()), (Kind::Busy, true));
    }
}
