//! Which home a journal belongs to.
//!
//! The inode and the birth time of the home's folder tell a home from its copy: a home that was
//! copied, or restored from a backup, is another one, and a journal that came along with it
//! must not be resumed there. The device's number isn't used: it may change with a reboot.

use crate::error::{Error, Kind, Result};
use rustix::fs::{AtFlags, StatxFlags, statx};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A home's folder, told from its copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeIdentity {
    /// The folder's inode.
    #[serde(with = "transload_model::report::decimal")]
    pub inode: u64,
    /// When it was made, in seconds and nanoseconds; `None` where the file system doesn't say.
    pub born: Option<(i64, u32)>,
    /// Where it was; only for people.
    pub path: PathBuf,
}

impl HomeIdentity {
    /// Looks at the folder.
    ///
    /// # Errors
    /// [`Kind::Refused`] when it can't be looked at.
    pub fn of(home: &Path) -> Result<Self> {
        let refused = |error: String| {
            Error::new(Kind::Refused, "look at the home", error)
                .with("path", home.display().to_string())
        };
        let path = home.canonicalize().map_err(|error| refused(error.to_string()))?;
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = statx(rustix::fs::CWD, &path, AtFlags::empty(), wanted)
            .map_err(|error| refused(error.to_string()))?;
        let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = has_birth.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
        Ok(Self { inode: stat.stx_ino, born, path })
    }

    /// Whether both are the same folder, wherever it stands now.
    #[must_use]
    pub fn is_same_home(&self, other: &Self) -> bool {
        self.inode == other.inode && self.born == other.born
    }
}
