//! The power goes off during a swap. What was done and not yet synced is lost, in part or whole.
//!
//! The model: a call of the disk is durable once every folder whose names it changed is synced.
//! Until then it may be lost, also while a later one is kept, unless that one builds on it. A
//! single rename, exchange or removal happens whole or not at all, as in the journals of ext4,
//! xfs and btrfs; a file that was being written may have any part of its bytes. Journals that keep
//! the order of calls lose less, and leave only states that are among these.

use super::rig::{METHODS, Rig, Stop};
use super::*;
use crate::chance::Chance;
use disk::{Disk, RealDisk, parent};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

/// Pending calls up to which every subset is lost once; of more, some subsets by chance.
const EXHAUSTIVE_MAX: usize = 4;
const SUBSETS_BY_CHANCE: usize = 12;

/// How a call that isn't durable is taken back. Inodes stay what they were.
#[derive(Debug)]
enum Undo {
    Exchange(PathBuf, PathBuf),
    /// What stood at `to` has kept a second name.
    Rename {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<PathBuf>,
    },
    /// A name that was given.
    Unlink(PathBuf),
    /// A folder that was made.
    Unmake(PathBuf),
    /// A file that was removed and has kept a second name.
    Restore {
        path: PathBuf,
        spare: PathBuf,
    },
    /// A folder that was removed.
    Make(PathBuf),
}

impl Undo {
    fn perform(&self) -> io::Result<()> {
        match self {
            Undo::Exchange(one, other) => RealDisk.exchange(one, other),
            Undo::Rename { from, to, replaced } => {
                fs::rename(to, from)?;
                replaced.as_ref().map_or(Ok(()), |spare| fs::rename(spare, to))
            }
            Undo::Unlink(path) => fs::remove_file(path),
            Undo::Unmake(folder) => fs::remove_dir(folder),
            Undo::Restore { path, spare } => fs::rename(spare, path),
            Undo::Make(folder) => fs::create_dir(folder),
        }
    }
}

#[derive(Debug)]
struct Pending {
    touched: Vec<PathBuf>,
    /// Those that aren't synced.
    folders: Vec<PathBuf>,
    undo: Undo,
}

/// Whether one of two calls could have needed the other.
fn depend(one: &Pending, other: &Pending) -> bool {
    one.touched.iter().any(|a| other.touched.iter().any(|b| a.starts_with(b) || b.starts_with(a)))
}

/// A disk whose power goes off before a call.
struct PowerDisk {
    left: AtomicUsize,
    spares: PathBuf,
    pending: Mutex<Vec<Pending>>,
    made: AtomicUsize,
    off: AtomicBool,
    /// Whether syncs are answered with success and not done.
    lies: AtomicBool,
}

impl PowerDisk {
    fn new(rig: &Rig, calls: usize) -> Arc<Self> {
        let spares = rig.home.with_file_name("spares");
        fs::create_dir_all(&spares).unwrap();
        Arc::new(Self {
            left: AtomicUsize::new(calls),
            spares,
            pending: Mutex::default(),
            made: AtomicUsize::new(0),
            off: AtomicBool::new(false),
            lies: AtomicBool::new(false),
        })
    }

    /// Whether there is still power for this call.
    fn powered(&self) -> io::Result<()> {
        let take = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.off.store(true, Ordering::SeqCst);
                Err(io::Error::other("there is no power"))
            }
        }
    }

    /// A second name for the file at `path`.
    fn spare(&self, path: &Path) -> io::Result<PathBuf> {
        let spare = self.spares.join(self.made.fetch_add(1, Ordering::SeqCst).to_string());
        fs::hard_link(path, &spare)?;
        Ok(spare)
    }

    fn note(&self, touched: &[&Path], undo: Undo) {
        let touched: Vec<PathBuf> = touched.iter().map(|path| (*path).to_owned()).collect();
        let mut folders: Vec<PathBuf> =
            touched.iter().map(|path| parent(path).to_owned()).collect();
        folders.dedup();
        self.pending.lock().unwrap().push(Pending { touched, folders, undo });
    }

    /// Subsets of the pending calls that can be lost together; each a mask of those kept.
    fn subsets(&self, chance: &mut Chance) -> Vec<Vec<bool>> {
        let pending = self.pending.lock().unwrap();
        let count = pending.len();
        let masks: Vec<Vec<bool>> = if count <= EXHAUSTIVE_MAX {
            (0..1_usize << count)
                .map(|bits| (0..count).map(|at| bits >> at & 1 == 1).collect())
                .collect()
        } else {
            let mut masks = vec![vec![false; count], vec![true; count]];
            masks.extend((0..SUBSETS_BY_CHANCE).map(|_| {
                // As often nearly all as half of them.
                let rare = chance.coin();
                (0..count)
                    .map(|_| if rare { !chance.next().is_multiple_of(8) } else { chance.coin() })
                    .collect()
            }));
            masks
        };
        let mut closed: Vec<Vec<bool>> = masks
            .into_iter()
            .map(|mut mask| {
                for at in 0..count {
                    for later in at + 1..count {
                        if !mask[at] && depend(&pending[at], &pending[later]) {
                            mask[later] = false;
                        }
                    }
                }
                mask
            })
            .collect();
        closed.sort();
        closed.dedup();
        closed
    }

    /// The power is back; what isn't kept was never done.
    fn lose(&self, kept: &[bool]) {
        let pending = std::mem::take(&mut *self.pending.lock().unwrap());
        for (call, _) in pending.iter().zip(kept).rev().filter(|(_, kept)| !**kept) {
            call.undo.perform().unwrap_or_else(|error| panic!("{call:?}: {error}"));
        }
    }
}

/// One disk for the swap and for the test.
struct Shared(Arc<PowerDisk>);

impl Disk for Shared {
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.0.powered()?;
        RealDisk.exchange(one, other)?;
        self.0.note(&[one, other], Undo::Exchange(one.to_owned(), other.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.powered()?;
        let replaced = if to.is_file() { Some(self.0.spare(to)?) } else { None };
        RealDisk.rename(from, to)?;
        let undo = Undo::Rename { from: from.to_owned(), to: to.to_owned(), replaced };
        self.0.note(&[from, to], undo);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.powered()?;
        RealDisk.link(from, to)?;
        self.0.note(&[to], Undo::Unlink(to.to_owned()));
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
        let is_new = !path.exists();
        let was_off = self.0.off.load(Ordering::SeqCst);
        let powered = self.0.powered();
        if was_off {
            return powered;
        }
        // The call that the power goes off in leaves something.
        let part = if powered.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        RealDisk.write(path, part, like)?;
        if is_new {
            self.0.note(&[path], Undo::Unlink(path.to_owned()));
        }
        powered
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.powered()?;
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let spare = self.0.spare(path)?;
        RealDisk.remove_file(path)?;
        self.0.note(&[path], Undo::Restore { path: path.to_owned(), spare });
        Ok(())
    }

    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        self.0.powered()?;
        RealDisk.create_dir(folder)?;
        self.0.note(&[folder], Undo::Unmake(folder.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        self.0.powered()?;
        RealDisk.remove_dir(folder)?;
        self.0.note(&[folder], Undo::Make(folder.to_owned()));
        Ok(())
    }

    fn set_modified(&self, folder: &Path, modified: SystemTime) -> io::Result<()> {
        self.0.powered()?;
        RealDisk.set_modified(folder, modified)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.0.powered()?;
        // The folder must be there; that it reaches a real disk isn't asked here.
        fs::metadata(folder)?;
        if self.0.lies.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut pending = self.0.pending.lock().unwrap();
        for call in pending.iter_mut() {
            call.folders.retain(|other| other != folder);
        }
        // What a durable call builds on is durable: the removals in a folder that is gone.
        for at in (0..pending.len()).rev() {
            for before in 0..at {
                if pending[at].folders.is_empty() && depend(&pending[before], &pending[at]) {
                    pending[before].folders.clear();
                }
            }
        }
        pending.retain(|call| !call.folders.is_empty());
        Ok(())
    }
}

/// What is done while the power goes off, and where it leads when it doesn't.
struct Act {
    prepare: fn(&Rig),
    perform: fn(&Rig, &FileSwap) -> Result<()>,
    end: Standing,
}

const FORWARD: Act = Act {
    prepare: |_| {},
    perform: |rig, swapper| swapper.cut_over(&rig.swap, &rig.verified, &Stop::never()),
    end: Standing::New,
};

const BACKWARD: Act = Act {
    prepare: |rig| rig.forward().unwrap(),
    perform: |rig, swapper| swapper.roll_back(&rig.swap, &Stop::never()),
    end: Standing::Old,
};

const FREE: Act = Act {
    prepare: |rig| rig.forward().unwrap(),
    perform: |rig, swapper| swapper.free(&rig.swap, &Stop::never()),
    end: Standing::New,
};

/// Everything in the home but what a probe leaves, which the next one sweeps.
fn contents(rig: &Rig) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut contents = rig.contents();
    contents.retain(|name, _| !name.contains(".transload-probe-"));
    contents
}

/// Cuts the power before every call and after the last one, loses every subset, and hands the
/// home to `check`, with whether the act had ended. Answers how many states there were.
fn cut_everywhere(method: SwapMethod, act: &Act, check: impl Fn(&Rig, bool, bool)) -> usize {
    let mut chance = Chance::new();
    let (mut states, mut calls) = (0, 0);
    loop {
        let mut ended = false;
        let mut subset = 0;
        loop {
            let rig = Rig::new(method);
            (act.prepare)(&rig);
            let disk = PowerDisk::new(&rig, calls);
            let swapper = FileSwap::on(Box::new(Shared(Arc::clone(&disk))), rig.engines.clone());
            ended = ended || (act.perform)(&rig, &swapper).is_ok();
            drop(swapper);
            let subsets = disk.subsets(&mut chance);
            let Some(kept) = subsets.get(subset) else { break };
            let about = format!("cut before call {calls}, kept {kept:?} of {:?}", disk.pending);
            disk.lose(kept);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                check(&rig, ended, chance.coin());
            }));
            assert!(outcome.is_ok(), "{about}");
            states += 1;
            subset += 1;
        }
        if ended {
            println!("{method:?}: {states} states after {calls} calls");
            assert!(calls > 5, "only {calls} calls were made");
            return states;
        }
        calls += 1;
    }
}

fn swap_or_back(act: &Act) {
    for method in METHODS {
        let before = Rig::new(method).contents();
        let swapped = Rig::new(method);
        swapped.forward().unwrap();
        let after = swapped.contents();
        let states = cut_everywhere(method, act, |rig, ended, on| {
            rig.a_node_started_now_finds_one_side_or_a_guard(method == SwapMethod::Rename);
            let standing = rig.standing();
            assert!(!matches!(standing, Standing::Unknown(_)), "{standing:?}");
            if ended {
                assert_eq!(standing, act.end, "what had returned was lost");
            }
            if on {
                rig.forward().unwrap();
                assert_eq!(rig.standing(), Standing::New);
                assert!(contents(rig) == after, "{:?}", contents(rig).keys());
            } else {
                rig.backward().unwrap();
                assert_eq!(rig.standing(), Standing::Old);
                assert!(contents(rig) == before, "{:?}", contents(rig).keys());
            }
            rig.a_node_started_now_finds_one_side_or_a_guard(false);
            rig.the_signer_is_untouched();
        });
        assert!(states > 60, "only {states} states");
    }
}

#[test]
fn a_power_cut_at_any_call_of_the_swap_leaves_a_way_to_either_side() {
    swap_or_back(&FORWARD);
}

#[test]
fn a_power_cut_at_any_call_of_the_rollback_leaves_a_way_to_either_side() {
    swap_or_back(&BACKWARD);
}

#[test]
fn a_power_cut_at_any_call_of_the_clean_up_leaves_the_home_and_it_goes_on() {
    let swapped = Rig::new(SwapMethod::Exchange);
    swapped.forward().unwrap();
    let after = swapped.contents();
    cut_everywhere(SwapMethod::Exchange, &FREE, |rig, _, _| {
        assert_eq!(contents(rig), after);
        rig.swapper().free(&rig.swap, &Stop::never()).unwrap();
        assert_eq!(contents(rig), after);
        assert_eq!(rig.standing(), Standing::New);
        let left = rig.swap.moves.iter().flat_map(|one| [&one.kept, &one.target]);
        assert_eq!(left.filter(|path| path.exists()).count(), 0);
    });
}

/// A log to whom "done" means that a power cut takes nothing of it back: the journal says so from
/// then on.
struct DurableSteps {
    disk: Arc<PowerDisk>,
    steps: AtomicUsize,
}

impl StepLog for DurableSteps {
    fn begin(&self, _step: &str) -> Result<()> {
        Ok(())
    }

    fn done(&self, step: &str) -> Result<()> {
        self.steps.fetch_add(1, Ordering::SeqCst);
        let mut pending = self.disk.pending.lock().unwrap();
        // What a probe leaves is swept by the next one.
        let is_probe = |path: &PathBuf| path.to_string_lossy().contains(".transload-probe-");
        pending.retain(|call| !call.touched.iter().all(is_probe));
        assert!(pending.is_empty(), "{step} is called done and can still be lost: {pending:?}");
        Ok(())
    }

    fn call(&self, _call: &str) {}
}

#[test]
fn a_step_that_is_called_done_can_not_be_lost() {
    /// What happens to the home, and which way it goes then.
    type Case = (fn(&Rig), fn(&Rig, &FileSwap, &DurableSteps) -> Result<()>);
    let forward = |rig: &Rig, swapper: &FileSwap, log: &DurableSteps| {
        swapper.cut_over(&rig.swap, &rig.verified, log)
    };
    let backward =
        |rig: &Rig, swapper: &FileSwap, log: &DurableSteps| swapper.roll_back(&rig.swap, log);
    let cases: [Case; 5] = [
        (|_| {}, forward),
        (|rig| rig.forward().unwrap(), backward),
        // Somebody has removed a new database, so that a guard goes into its place.
        (
            |rig| {
                rig.forward().unwrap();
                fs::remove_dir_all(&rig.swap.moves[1].live).unwrap();
            },
            backward,
        ),
        // Somebody has removed a guard that waits, so that it is made again.
        (
            |rig| {
                rig.forward().unwrap();
                fs::remove_file(&rig.swap.moves[0].target).unwrap();
            },
            backward,
        ),
        // An operator has edited a config in the soak.
        (
            |rig| {
                rig.forward().unwrap();
                let path = &rig.swap.edits[1].path;
                let text = fs::read_to_string(path).unwrap();
                fs::write(path, text.replace("other = 1", "other = 2")).unwrap();
            },
            backward,
        ),
    ];
    for method in METHODS {
        for (prepare, act) in &cases {
            let rig = Rig::new(method);
            prepare(&rig);
            let disk = PowerDisk::new(&rig, usize::MAX);
            let swapper = FileSwap::on(Box::new(Shared(Arc::clone(&disk))), rig.engines.clone());
            let log = DurableSteps { disk, steps: AtomicUsize::new(0) };
            act(&rig, &swapper, &log).unwrap();
            assert!(log.steps.into_inner() > 5);
        }
    }
}

#[test]
fn where_syncs_lie_a_swap_that_had_returned_is_lost() {
    // The model is able to lose something; the home stands on the old side whole all the same.
    let rig = Rig::new(SwapMethod::Exchange);
    let before = rig.contents();
    let disk = PowerDisk::new(&rig, usize::MAX);
    disk.lies.store(true, Ordering::SeqCst);
    let swapper = FileSwap::on(Box::new(Shared(Arc::clone(&disk))), rig.engines.clone());
    (FORWARD.perform)(&rig, &swapper).unwrap();
    assert_eq!(rig.standing(), Standing::New);
    let calls = disk.pending.lock().unwrap().len();
    disk.lose(&vec![false; calls]);
    assert_eq!(rig.standing(), Standing::Old);
    assert_eq!(rig.contents(), before);
}
