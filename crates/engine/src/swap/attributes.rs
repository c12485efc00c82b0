//! Owner, mode and extended attributes: what takes a file's place gets those of that file.

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

/// Linux allows no longer list of names, and no longer value.
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;

/// Folders of an engine aren't deeper; a loop must not run for ever.
const DEPTH_MAX: usize = 32;

/// The attributes that are about who may do what. Others are kept out: a measured hash
/// (`security.ima`) would be that of other bytes.
fn is_kept(name: &[u8]) -> bool {
    [b"user.".as_slice(), b"system.posix_acl_access"].iter().any(|start| name.starts_with(start))
        || is_label(name)
}

/// The labels of SELinux and Smack.
fn is_label(name: &[u8]) -> bool {
    name == b"security.selinux" || name.starts_with(b"security.SMACK64")
}

/// Gives `file` the owner, mode, access list and labels of the file at `like`.
pub(super) fn copy_attributes(like: &Path, file: &File) -> io::Result<()> {
    let model = File::open(like)?;
    let (wanted, now) = (model.metadata()?, file.metadata()?);
    if (wanted.uid(), wanted.gid()) != (now.uid(), now.gid()) {
        fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(wanted.mode() & 0o7777))?;
    copy_extended(&model, file, is_kept)
}

/// Gives everything below `target` the label of `like`. Nothing is written where the labels are
/// equal already, or where the file system has none.
pub(super) fn copy_label(like: &Path, target: &Path) -> io::Result<()> {
    let model = File::open(like)?;
    label(&model, target, 0)
}

fn label(model: &File, path: &Path, depth: usize) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("folders are deeper than {DEPTH_MAX}")));
    }
    copy_extended(model, &File::open(path)?, is_label)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            label(model, &entry?.path(), depth + 1)?;
        }
    }
    Ok(())
}

fn copy_extended(from: &File, to: &File, wanted: fn(&[u8]) -> bool) -> io::Result<()> {
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    let length = match flistxattr(from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| wanted(name)) {
        let name = std::ffi::OsStr::from_bytes(name);
        let value = attribute(from, name)?;
        if attribute(to, name)? != value {
            fsetxattr(to, name, value.as_deref().unwrap_or_default(), XattrFlags::empty())?;
        }
    }
    Ok(())
}

fn attribute(file: &File, name: &std::ffi::OsStr) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
    match fgetxattr(file, name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::setxattr;

    #[test]
    fn what_takes_a_files_place_is_read_by_the_same_people() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "a").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o640)).unwrap();
        let marked = setxattr(&old, "user.note", b"kept", XattrFlags::empty()).is_ok();
        let file = File::create(&new).unwrap();
        copy_attributes(&old, &file).unwrap();
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o7777, 0o640);
        let note = attribute(&file, "user.note".as_ref()).unwrap();
        assert_eq!(note.as_deref(), marked.then_some(b"kept".as_slice()));
    }

    #[test]
    fn only_what_concerns_access_is_kept() {
        assert!(is_kept(b"security.selinux") && is_kept(b"user.x") && is_kept(b"security.SMACK64"));
        assert!(!is_kept(b"security.ima") && !is_kept(b"security.evm") && !is_kept(b"trusted.x"));
    }
}
