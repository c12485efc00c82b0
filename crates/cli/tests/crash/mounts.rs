//! Disks of our own: mounted in a namespace that ends with this program, so that nothing is left
//! on the machine whatever happens.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Says that this process is in a mount namespace of its own.
const INSIDE: &str = "TRANSLOAD_CRASH_NAMESPACE";

/// Starts this program again in a mount namespace of its own, where that can be had.
pub(crate) fn enter() {
    let can = || Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if may_mount() || !can().is_ok_and(|status| status.success()) {
        return;
    }
    let mut again = Command::new("unshare");
    again.arg("-m").arg(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1));
    panic!("start in a mount namespace: {}", again.env(INSIDE, "1").exec());
}

/// Whether mounts are this program's own.
pub(crate) fn may_mount() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small disk with a file system.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: TempDir,
    is_ext4: bool,
}

impl Disk {
    /// An ext4 in a file, which turns read-only when it fails.
    pub(crate) fn ext4(mebibytes: u64) -> Self {
        let disk = Self::at(true);
        File::create(disk.image()).unwrap().set_len(mebibytes << 20).unwrap();
        run("mkfs.ext4", &["-q", "-m", "0", text(&disk.image())]);
        disk.mount();
        disk
    }

    /// A file system in memory with room for so many bytes and files.
    pub(crate) fn memory(mebibytes: u64, files: u64) -> Self {
        let disk = Self::at(false);
        let options = format!("size={mebibytes}m,nr_inodes={files}");
        run("mount", &["-t", "tmpfs", "-o", &options, "none", text(&disk.path())]);
        disk
    }

    fn at(is_ext4: bool) -> Self {
        let scratch = crate::victims::scratch();
        let folder = tempfile::Builder::new().prefix("transload-crash-").tempdir_in(scratch);
        let disk = Self { folder: folder.unwrap(), is_ext4 };
        std::fs::create_dir(disk.path()).unwrap();
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount(&self) {
        let options = "loop,errors=remount-ro";
        run("mount", &["-o", options, text(&self.image()), text(&self.path())]);
    }

    /// Mounts a folder of the disk at another place too.
    pub(crate) fn also_at(&self, folder: &Path, place: &Path) {
        run("mount", &["--bind", text(folder), text(place)]);
    }

    /// Leaves no byte for others.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.path().join("fill")).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            let bytes = vec![0xa5; size];
            // The first write that fails, or that is short, has met the end.
            while file.write(&bytes).is_ok_and(|written| written == size) {}
        }
        // What a full disk answers is not of interest.
        let _ = file.sync_all();
    }

    /// Leaves no file for others.
    pub(crate) fn use_up_files(&self) {
        let folder = self.path().join("fill");
        std::fs::create_dir(&folder).unwrap();
        for number in 0.. {
            if File::create(folder.join(number.to_string())).is_err() {
                return;
            }
        }
    }

    /// Has everything on it written: a disk that fails loses what isn't.
    pub(crate) fn settle(&self) {
        run("sync", &["-f", text(&self.path())]);
    }

    /// Gives back what [`Disk::fill`] or [`Disk::use_up_files`] took.
    pub(crate) fn make_room(&self) {
        let fill = self.path().join("fill");
        if fill.is_dir() {
            std::fs::remove_dir_all(fill).unwrap();
        } else {
            std::fs::remove_file(fill).unwrap();
        }
    }

    /// The disk fails: the kernel lets nobody write any more, whoever has files open.
    pub(crate) fn fail(&self) {
        assert!(self.is_ext4);
        let found =
            Command::new("findmnt").args(["-n", "-o", "SOURCE", text(&self.path())]).output();
        let device = String::from_utf8(found.unwrap().stdout).unwrap();
        let device = device.trim().trim_start_matches("/dev/");
        let fault = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(fault, "1").unwrap();
    }

    /// What an operator does after that: the file system is checked and mounted again.
    pub(crate) fn repair(&self, other_places: &[(PathBuf, PathBuf)]) {
        for (_, place) in other_places {
            run("umount", &[text(place)]);
        }
        run("umount", &[text(&self.path())]);
        // Its exit code says that something was mended.
        let check = Command::new("e2fsck").args(["-f", "-y"]).arg(self.image()).output().unwrap();
        assert!(check.status.code().is_some_and(|code| code < 4), "{check:?}");
        self.mount();
        for (folder, place) in other_places {
            self.also_at(folder, place);
        }
    }

    /// Mounts it read-only or writable; nobody may have a file open for writing.
    pub(crate) fn remount(&self, how: &str) {
        run("mount", &["-o", &format!("remount,{how}"), text(&self.path())]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It ends with the namespace at the latest.
        let _ = Command::new("umount").args(["-l", "-R"]).arg(self.path()).output();
    }
}
