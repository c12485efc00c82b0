//! A disk that tells each of its calls once it has happened: where crash tests kill.

use super::disk::Disk;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Tells `hook` the name of each change, just after it was made.
pub(super) struct Told<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) hook: &'a dyn Fn(&str),
}

impl Told<'_> {
    fn after(&self, verb: &str, path: &Path, result: io::Result<()>) -> io::Result<()> {
        if result.is_ok() {
            (self.hook)(&format!("disk: {verb} {}", path.display()));
        }
        result
    }
}

impl Disk for Told<'_> {
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.after("exchanged", one, self.disk.exchange(one, other))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.after("renamed to", to, self.disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.after("linked", to, self.disk.link(from, to))
    }

    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
        self.after("wrote", path, self.disk.write(path, bytes, like))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.after("removed", path, self.disk.remove_file(path))
    }

    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        self.after("made folder", folder, self.disk.create_dir(folder))
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        self.after("removed folder", folder, self.disk.remove_dir(folder))
    }

    fn set_modified(&self, folder: &Path, modified: SystemTime) -> io::Result<()> {
        self.after("gave its time to", folder, self.disk.set_modified(folder, modified))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.after("synced", folder, self.disk.sync_dir(folder))
    }
}
