//! A plain swapper for tests of the runner: two renames a database, then the config. It keeps
//! the trait's promises on a healthy disk; guards and exchanges are the real one's.

use crate::files::read_database;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use transload_engine::{
    Error, Fence, Fingerprint, Held, Kind, Result, Standing, StepLog, SwapPlan, Swapper, Verified,
    Watch,
};

/// Failures that a test orders.
#[derive(Debug, Default)]
pub(crate) struct PlainSwapper {
    /// The next swap fails before this database.
    pub(crate) fail_before: Mutex<Option<String>>,
    /// What `standing` says instead of looking.
    pub(crate) say_unknown: Mutex<Option<String>>,
    /// Why going back is forbidden.
    pub(crate) forbid_back: Mutex<Option<String>>,
}

struct Nothing;

impl Held for Nothing {}

fn io(path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Stopped, "swap", error.to_string()).with("path", path.display().to_string())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap()).map_err(|error| io(to, error))?;
    fs::rename(from, to).map_err(|error| io(from, error))
}

impl PlainSwapper {
    fn set_config(swap: &SwapPlan, new: bool) -> Result<()> {
        for edit in &swap.edits {
            let value = if new { Some(&edit.new) } else { edit.old.as_ref() };
            let text = format!("{} = \"{}\"\n", edit.key, value.unwrap());
            fs::write(&edit.path, text).map_err(|error| io(&edit.path, error))?;
        }
        Ok(())
    }

    fn has_new_config(swap: &SwapPlan) -> bool {
        swap.edits.iter().all(|edit| {
            fs::read_to_string(&edit.path)
                .is_ok_and(|text| text.trim_end().trim_end_matches('"').ends_with(&edit.new))
        })
    }
}

impl Swapper for PlainSwapper {
    fn probe_exchange(&self, staging_dir: &Path, folder: &Path, _watch: &Watch) -> Result<()> {
        assert!(staging_dir.is_dir() && folder.is_dir());
        Ok(())
    }

    fn probe_move(&self, staging_dir: &Path, database: &Path, _watch: &Watch) -> Result<()> {
        assert!(staging_dir.is_dir() && database.exists());
        Ok(())
    }

    fn sweep(&self, folder: &Path) -> Result<()> {
        assert!(folder.is_dir());
        Ok(())
    }

    fn hold(&self, databases: &[PathBuf]) -> Result<Box<dyn Held>> {
        assert!(databases.iter().all(|path| path.exists()));
        Ok(Box::new(Nothing))
    }

    fn fingerprint(&self, path: &Path) -> Result<Fingerprint> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(|error| io(path, error))? {
            let entry = entry.map_err(|error| io(path, error))?;
            let metadata = entry.metadata().map_err(|error| io(path, error))?;
            let print = format!("{} {} {}", metadata.len(), metadata.ino(), metadata.mtime_nsec());
            files.insert(entry.file_name().to_string_lossy().into_owned(), print);
        }
        Ok(Fingerprint { files })
    }

    fn seal(&self, path: &Path) -> Result<Fingerprint> {
        self.fingerprint(path)
    }

    fn standing(&self, swap: &SwapPlan) -> Result<Standing> {
        if let Some(what) = self.say_unknown.lock().unwrap().clone() {
            return Ok(Standing::Unknown(what));
        }
        let all = |check: &dyn Fn(&transload_engine::Move) -> bool| swap.moves.iter().all(check);
        let new_config = Self::has_new_config(swap);
        if all(&|one| one.live.exists() && !one.kept.exists()) && !new_config {
            Ok(Standing::Old)
        } else if all(&|one| one.live.exists() && !one.target.exists()) && new_config {
            Ok(Standing::New)
        } else {
            Ok(Standing::Between)
        }
    }

    fn cut_over(&self, swap: &SwapPlan, verified: &Verified, log: &dyn StepLog) -> Result<()> {
        for one in &swap.moves {
            assert!(verified.covers(&one.database));
            if self.fail_before.lock().unwrap().take_if(|name| *name == one.database).is_some() {
                return Err(Error::new(Kind::Stopped, "swap", "the disk failed"));
            }
            let step = format!("swap {}", one.database);
            log.begin(&step)?;
            if !one.kept.exists() {
                rename(&one.live, &one.kept)?;
            }
            if !one.live.exists() {
                rename(&one.target, &one.live)?;
            }
            log.done(&step)?;
        }
        Self::set_config(swap, true)
    }

    fn may_roll_back(&self, swap: &SwapPlan, now: &Fence) -> Result<()> {
        let is_old = self.standing(swap)? == Standing::Old;
        let is_readable = swap.moves.iter().all(|one| read_database(&one.live).is_ok());
        let expected = !is_old && is_readable;
        assert_eq!(now.height_last.is_some(), expected, "facts are read where they can be");
        match self.forbid_back.lock().unwrap().clone() {
            Some(why) => Err(Error::new(Kind::Refused, "roll back", why)),
            None => Ok(()),
        }
    }

    fn roll_back(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
        for one in &swap.moves {
            let step = format!("put back {}", one.database);
            log.begin(&step)?;
            if one.kept.exists() && !one.target.exists() && one.live.exists() {
                rename(&one.live, &one.target)?;
            }
            if one.kept.exists() {
                rename(&one.kept, &one.live)?;
            }
            log.done(&step)?;
        }
        Self::set_config(swap, false)
    }

    fn free(&self, swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
        for one in &swap.moves {
            assert!(swap.fence.is_some(), "the fence is known");
            for path in [&one.kept, &one.target] {
                if path.exists() {
                    let step = format!("free {}", path.display());
                    log.begin(&step)?;
                    fs::remove_dir_all(path).map_err(|error| io(path, error))?;
                    log.done(&step)?;
                }
            }
        }
        Ok(())
    }
}
