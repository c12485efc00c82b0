//! The steps of the swap, forward and backward. Each is skipped when the disk says that it has
//! happened, so both directions go on from any state between.

use super::config::{EditedFile, Setting, files};
use super::exchange::{exchange, finish_renames};
use super::files::{remove, replace, stopped};
use super::record::{Identity, Record};
use super::standing::{Place, guard_text, is_guard, of, place};
use crate::error::{Error, Kind, Result};
use crate::moves::{Move, Standing, SwapMethod, SwapPlan};
use crate::watch::StepLog;
use std::fs;
use transload_store::Home;

/// Swaps the new databases in.
pub(super) fn forward(swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
    let record = begin(swap, log)?;
    let configs = files(swap);
    for file in &configs {
        set(file, Setting::Guard, Edits::None, &record, log)?;
    }
    for one in &swap.moves {
        if at(one, swap, &record)? == Place::Old {
            step(log, &format!("guard {}", one.database), || {
                exchange(&one.live, &one.kept, swap.method)
            })?;
        }
    }
    for one in swap.moves.iter().rev() {
        if at(one, swap, &record)? == Place::Guarded {
            step(log, &format!("put in {}", one.database), || {
                exchange(&one.live, &one.target, swap.method)
            })?;
        }
    }
    for file in configs.iter().rev() {
        set(file, Setting::New, Edits::None, &record, log)?;
    }
    read_back(swap, &Standing::New)
}

/// Puts the old databases back.
pub(super) fn backward(swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
    let Some(record) = resume(swap)? else { return Ok(()) };
    let configs = files(swap);
    for file in &configs {
        set(file, Setting::Guard, Edits::Kept, &record, log)?;
    }
    for one in &swap.moves {
        if at(one, swap, &record)? == Place::New {
            guard_at(&one.target, swap)?;
            step(log, &format!("take out {}", one.database), || {
                exchange(&one.live, &one.target, swap.method)
            })?;
        }
    }
    for one in swap.moves.iter().rev() {
        if at(one, swap, &record)? == Place::Guarded {
            step(log, &format!("put back {}", one.database), || {
                exchange(&one.live, &one.kept, swap.method)
            })?;
        }
    }
    for file in configs.iter().rev() {
        set(file, Setting::Old, Edits::Kept, &record, log)?;
    }
    read_back(swap, &Standing::Old)?;
    step(log, "forget the swap", || {
        for one in &swap.moves {
            if is_guard(&one.kept, swap) {
                remove(&one.kept)?;
            }
        }
        Record::remove(swap)
    })
}

/// Removes what the home doesn't stand on.
pub(super) fn free(swap: &SwapPlan, log: &dyn StepLog) -> Result<()> {
    let standing = match of(swap)? {
        Standing::Unknown(_) if is_partly_freed(swap)? => Standing::New,
        found => found,
    };
    let not_whole = |why: String| {
        Error::new(Kind::Refused, "free the old copies", why)
            .next("`transload status HOME` says where the home stands")
    };
    let leftovers: fn(&Move) -> [&std::path::PathBuf; 2] = match standing {
        Standing::New => |one| [&one.kept, &one.target],
        Standing::Old => |one| [&one.target, &one.kept],
        Standing::Between => return Err(not_whole("the home is in the middle of a swap".into())),
        Standing::Unknown(why) => return Err(not_whole(why)),
    };
    for one in &swap.moves {
        step(log, &format!("free {}", one.database), || {
            for path in leftovers(one) {
                // A second look at the very place: never what the node stands on.
                if path.starts_with(&one.live) || one.live.starts_with(path) {
                    return Err(not_whole("an old copy and the live path overlap".into()));
                }
                remove(path)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether the home stands on the new databases and only old copies are missing, as after a
/// clean-up that was cut off.
fn is_partly_freed(swap: &SwapPlan) -> Result<bool> {
    let Some(record) = Record::load(swap)? else { return Ok(false) };
    for file in files(swap) {
        if file.setting()? != Some(Setting::New) {
            return Ok(false);
        }
    }
    Ok(swap.moves.iter().all(|one| {
        record.databases.get(&one.database).is_some_and(|pair| {
            let kept = Identity::at(&one.kept);
            Identity::at(&one.live) == Some(pair.new) && (kept.is_none() || kept == Some(pair.old))
        })
    }))
}

/// Refuses to go back where that could lose blocks or sign twice.
pub(super) fn may_roll_back(swap: &SwapPlan, home: &Home) -> Result<()> {
    let Some(fence) = &swap.fence else { return Ok(()) };
    let refuse = |why: &str, next: &str| {
        Err(Error::new(Kind::Refused, "roll back", why).next(next.to_owned()))
    };
    let way_out = "a new verified migration back to the old engine loses nothing: `transload \
        migrate HOME --to OLD-ENGINE`";
    if fence.remote_signer || home.remote_signer.is_some() {
        return refuse(
            "the signer is remote, so nobody here knows what it has signed since the swap",
            way_out,
        );
    }
    let signed_since = match (fence.signer, home.signer) {
        (Some(then), Some(now)) if now < then => {
            return refuse(
                "the signer's state is older than at the swap: somebody has put it back, and \
                 the node could sign twice",
                "don't start this node before you know what its key has signed",
            );
        }
        (Some(then), Some(now)) => now > then,
        (None, None) => false,
        _ => {
            return refuse("the signer's state has appeared or gone since the swap", way_out);
        }
    };
    if signed_since && fence.only_validator != Some(false) {
        return refuse(
            "the node has signed new blocks since the swap, and as far as its own data tells \
             nobody else has them: going back would stall the chain",
            way_out,
        );
    }
    Ok(())
}

/// Records, stages guards, and ends what an earlier run began.
fn begin(swap: &SwapPlan, log: &dyn StepLog) -> Result<Record> {
    if let Some(record) = resume(swap)? {
        stage_guards(swap, &record)?;
        return Ok(record);
    }
    for one in &swap.moves {
        guard_at(&one.kept, swap)?;
    }
    let mut record = None;
    step(log, "record the swap", || {
        record = Some(Record::make(swap)?);
        Ok(())
    })?;
    record.ok_or_else(|| Error::new(Kind::Stopped, "begin the swap", "nothing was recorded"))
}

/// A guard file stands ready where a database stands alone.
fn stage_guards(swap: &SwapPlan, record: &Record) -> Result<()> {
    for one in &swap.moves {
        if at(one, swap, record)? == Place::Old {
            guard_at(&one.kept, swap)?;
        }
    }
    Ok(())
}

/// The record of a swap that began, with cut-off renames ended and the standing known.
fn resume(swap: &SwapPlan) -> Result<Option<Record>> {
    let Some(record) = Record::load(swap)? else { return Ok(None) };
    if swap.method == SwapMethod::Rename {
        for one in &swap.moves {
            finish_renames(&one.live, &one.kept)?;
            finish_renames(&one.live, &one.target)?;
        }
    }
    match of(swap)? {
        Standing::Unknown(why) => Err(unknown(why)),
        Standing::Old | Standing::New | Standing::Between => Ok(Some(record)),
    }
}

fn unknown(why: String) -> Error {
    Error::new(Kind::OutcomeUnknown, "look where the home stands", why).effect_unknown().next(
        "don't start the node; compare the paths with the plan in HOME/.transload and ask for \
         help with the archive that `transload doctor HOME` writes",
    )
}

fn at(one: &Move, swap: &SwapPlan, record: &Record) -> Result<Place> {
    place(one, swap, record).map_err(unknown)
}

/// Makes sure that a guard stands at a staging path that is empty or has one.
fn guard_at(path: &std::path::Path, swap: &SwapPlan) -> Result<()> {
    if is_guard(path, swap) {
        return Ok(());
    }
    if let Ok(metadata) = fs::symlink_metadata(path)
        && metadata.is_dir()
    {
        return Err(unknown(format!("{} should hold a guard and is a folder", path.display())));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| stopped("make a folder", folder, error))?;
    }
    replace(path, guard_text(swap).as_bytes())
}

/// What to do with a config file that somebody has edited since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edits {
    /// Nobody should have, while the swap goes on: stop.
    None,
    /// An operator may have, while the node ran on the new databases: other keys stay.
    Kept,
}

/// Brings a config file to a setting.
fn set(
    file: &EditedFile<'_>,
    setting: Setting,
    edits: Edits,
    record: &Record,
    log: &dyn StepLog,
) -> Result<()> {
    if file.setting()? == Some(setting) {
        return Ok(());
    }
    let text = file.read()?;
    let known = record.configs.get(&file.path);
    let ours = known.is_some_and(|known| [&known.old, &known.guard, &known.new].contains(&&text));
    let next = match (known, ours, setting) {
        (Some(known), true, Setting::Old) => known.old.clone(),
        (Some(known), true, Setting::Guard) => known.guard.clone(),
        (Some(known), true, Setting::New) => known.new.clone(),
        _ if edits == Edits::Kept => file.with(&text, setting)?,
        _ => return Err(file.changed("the file was changed while the swap was going on")),
    };
    let name = format!("set {} to {setting:?}", file.path.display()).to_lowercase();
    step(log, &name, || {
        file.write(&text, &next)?;
        if ours && setting == Setting::Old { record.restore_time(&file.path) } else { Ok(()) }
    })
}

fn step(log: &dyn StepLog, name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    log.begin(name)?;
    act()?;
    log.done(name)
}

/// The outcome is read from the disk, never assumed.
fn read_back(swap: &SwapPlan, wanted: &Standing) -> Result<()> {
    let found = of(swap)?;
    if found == *wanted {
        Ok(())
    } else {
        Err(unknown(format!("after the last step the home should stand {wanted:?}, not {found:?}")))
    }
}
