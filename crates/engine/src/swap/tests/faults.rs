//! Stops and faults at every place where one can happen.

use super::rig::{Fault, METHODS, Rig, Stop};
use super::*;

const FAULTS: [Fault; 2] = [Fault::Before, Fault::After];

/// More calls than a swap makes: the loops end by the swap's success.
const CALLS_MAX: i64 = 2_000;

#[test]
fn stopped_at_every_line_of_the_log_it_goes_on_to_either_side() {
    // F10, F15
    for method in METHODS {
        let mut stops = 0;
        for lines in 0..CALLS_MAX {
            let mut whole = false;
            for back in [false, true] {
                let rig = Rig::new(method);
                let before = rig.tree();
                whole = rig.forward_until(lines).is_ok();
                rig.a_node_started_now_finds_one_side_or_a_guard(false);
                assert!(!matches!(rig.standing(), Standing::Unknown(_)));
                if back {
                    rig.backward().unwrap();
                    assert_eq!(rig.tree(), before, "stopped after {lines}");
                } else {
                    rig.forward().unwrap();
                    assert_eq!(rig.standing(), Standing::New);
                }
            }
            if whole {
                break;
            }
            stops += 1;
        }
        // Record, two guards and two values of config files, two exchanges a database.
        assert_eq!(stops, 2 * (1 + 4 + 2 * 3));
    }
}

#[test]
fn a_rollback_stopped_at_every_line_goes_on_to_either_side() {
    for method in METHODS {
        for lines in 0..CALLS_MAX {
            let mut whole = false;
            for back in [false, true] {
                let rig = Rig::new(method);
                let before = rig.tree();
                rig.forward().unwrap();
                whole = rig.backward_until(lines).is_ok();
                rig.a_node_started_now_finds_one_side_or_a_guard(false);
                if back {
                    rig.backward().unwrap();
                    assert_eq!(rig.tree(), before, "stopped after {lines}");
                } else {
                    rig.forward().unwrap();
                    assert_eq!(rig.standing(), Standing::New);
                }
            }
            if whole {
                break;
            }
        }
    }
}

/// Lets every call of the disk fail, and then everything after it, during `act`.
fn at_every_call(method: SwapMethod, act: fn(&Rig, &FileSwap) -> bool, then: fn(&Rig, i64)) {
    for fault in FAULTS {
        let mut calls = 0;
        loop {
            let rig = Rig::new(method);
            let ended = act(&rig, &rig.failing(calls, fault));
            rig.a_node_started_now_finds_one_side_or_a_guard(method == SwapMethod::Rename);
            let standing = rig.standing();
            assert!(!matches!(standing, Standing::Unknown(_)), "{fault:?} {calls}: {standing:?}");
            then(&rig, calls);
            rig.the_signer_is_untouched();
            if ended {
                break;
            }
            calls += 1;
            assert!(calls < CALLS_MAX, "it never ends");
        }
        assert!(calls > 20, "only {calls} calls were tried");
    }
}

fn swap_on(rig: &Rig, swapper: &FileSwap) -> bool {
    swapper.cut_over(&rig.swap, &rig.verified, &Stop::never()).is_ok()
}

fn swap_back_on(rig: &Rig, swapper: &FileSwap) -> bool {
    rig.forward().unwrap();
    swapper.roll_back(&rig.swap, &Stop::never()).is_ok()
}

fn to_the_new(rig: &Rig, calls: i64) {
    rig.forward().unwrap();
    assert_eq!(rig.standing(), Standing::New, "{calls}");
    rig.a_node_started_now_finds_one_side_or_a_guard(false);
    assert_eq!(rig.contents().len(), Rig::new(SwapMethod::Exchange).contents().len());
}

fn to_the_old(rig: &Rig, calls: i64) {
    rig.backward().unwrap();
    assert_eq!(rig.standing(), Standing::Old, "{calls}");
    assert_eq!(rig.contents(), Rig::new(SwapMethod::Exchange).contents(), "{calls}");
    assert!(rig.swap.moves.iter().all(|one| one.target.is_dir() && !one.kept.is_dir()));
}

#[test]
fn a_disk_that_fails_at_any_call_of_the_swap_leaves_a_way_forward() {
    METHODS.iter().for_each(|method| at_every_call(*method, swap_on, to_the_new));
}

#[test]
fn a_disk_that_fails_at_any_call_of_the_swap_leaves_a_way_back() {
    METHODS.iter().for_each(|method| at_every_call(*method, swap_on, to_the_old));
}

#[test]
fn a_disk_that_fails_at_any_call_of_the_rollback_leaves_a_way_forward() {
    METHODS.iter().for_each(|method| at_every_call(*method, swap_back_on, to_the_new));
}

#[test]
fn a_disk_that_fails_at_any_call_of_the_rollback_leaves_a_way_back() {
    METHODS.iter().for_each(|method| at_every_call(*method, swap_back_on, to_the_old));
}

/// A disk that can't exchange, so that config files are staged beside the live ones, and that
/// fills up: a write is made, said to have failed, and so do all that follow.
struct FillsUp {
    writes_left: std::sync::atomic::AtomicI64,
}

impl disk::Disk for FillsUp {
    fn exchange(&self, _: &Path, _: &Path) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        disk::RealDisk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        disk::RealDisk.link(from, to)
    }
    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> std::io::Result<()> {
        match self.writes_left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            1.. => disk::RealDisk.write(path, bytes, like),
            0 => disk::RealDisk
                .write(path, bytes, like)
                .and(Err(std::io::ErrorKind::StorageFull.into())),
            _ => Err(std::io::ErrorKind::StorageFull.into()),
        }
    }
    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        disk::RealDisk.remove_file(path)
    }
    fn create_dir(&self, folder: &Path) -> std::io::Result<()> {
        disk::RealDisk.create_dir(folder)
    }
    fn remove_dir(&self, folder: &Path) -> std::io::Result<()> {
        disk::RealDisk.remove_dir(folder)
    }
    fn set_modified(&self, folder: &Path, at: std::time::SystemTime) -> std::io::Result<()> {
        disk::RealDisk.set_modified(folder, at)
    }
    fn sync_dir(&self, folder: &Path) -> std::io::Result<()> {
        disk::RealDisk.sync_dir(folder)
    }
}

#[test]
fn a_disk_that_fills_up_while_configs_are_staged_leaves_nothing_beside_them() {
    let mut left_in_between = 0;
    for writes in 0.. {
        let rig = Rig::new(SwapMethod::Rename);
        let before = rig.contents();
        let disk = FillsUp { writes_left: writes.into() };
        let swapper = FileSwap::on(Box::new(disk), rig.engines.clone());
        let ended = swapper.cut_over(&rig.swap, &rig.verified, &Stop::never());
        left_in_between += u64::from(ended.is_err() && rig.contents() != before);
        rig.backward().unwrap();
        assert_eq!(rig.contents(), before, "{writes} writes");
        if ended.is_ok() {
            break;
        }
    }
    assert!(left_in_between > 4, "nothing was staged beside a config file");
}

/// A disk that answers an exchange between a folder and a file, as only a probe tries, in its own
/// way.
struct Probed(rustix::io::Errno);

impl disk::Disk for Probed {
    fn exchange(&self, one: &Path, other: &Path) -> std::io::Result<()> {
        let is_probe =
            one.file_name().unwrap().as_encoded_bytes().starts_with(b".transload-probe-");
        if is_probe { Err(self.0.into()) } else { disk::RealDisk.exchange(one, other) }
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        disk::RealDisk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        disk::RealDisk.link(from, to)
    }
    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> std::io::Result<()> {
        disk::RealDisk.write(path, bytes, like)
    }
    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        disk::RealDisk.remove_file(path)
    }
    fn create_dir(&self, folder: &Path) -> std::io::Result<()> {
        disk::RealDisk.create_dir(folder)
    }
    fn remove_dir(&self, folder: &Path) -> std::io::Result<()> {
        disk::RealDisk.remove_dir(folder)
    }
    fn set_modified(&self, folder: &Path, at: std::time::SystemTime) -> std::io::Result<()> {
        disk::RealDisk.set_modified(folder, at)
    }
    fn sync_dir(&self, folder: &Path) -> std::io::Result<()> {
        disk::RealDisk.sync_dir(folder)
    }
}

#[test]
fn configs_are_staged_beside_the_live_ones_for_another_file_system_and_not_for_a_disk_that_fails() {
    use rustix::io::Errno;
    for errno in [Errno::XDEV, Errno::INVAL, Errno::NOSYS, Errno::NOTSUP] {
        let rig = Rig::new(SwapMethod::Exchange);
        let before = rig.contents();
        let swapper = FileSwap::on(Box::new(Probed(errno)), rig.engines.clone());
        swapper.cut_over(&rig.swap, &rig.verified, &Stop::never()).unwrap();
        let staged = |rig: &Rig| {
            rig.contents().into_keys().filter(|name| name.contains("toml.transload-")).count()
        };
        assert_eq!(staged(&rig), 4, "{errno:?}");
        rig.backward().unwrap();
        assert_eq!(rig.contents(), before);
    }
    for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::NOMEM] {
        let rig = Rig::new(SwapMethod::Exchange);
        let before = rig.contents();
        let swapper = FileSwap::on(Box::new(Probed(errno)), rig.engines.clone());
        let error = swapper.cut_over(&rig.swap, &rig.verified, &Stop::never()).unwrap_err();
        assert_eq!(error.kind(), Kind::Stopped, "{errno:?}");
        assert_eq!(rig.contents(), before, "{errno:?}");
        assert_eq!(rig.standing(), Standing::Old);
    }
}

#[test]
fn a_path_that_cannot_be_looked_at_is_not_taken_for_absent() {
    type Act = fn(&Rig) -> Result<()>;
    let acts: [Act; 4] = [
        |rig| rig.swapper().standing(&rig.swap).map(drop),
        |rig| rig.backward(),
        |rig| rig.forward(),
        |rig| rig.swapper().free(&rig.swap, &Stop::never()),
    ];
    for act in acts {
        let rig = Rig::new(SwapMethod::Exchange);
        rig.forward().unwrap();
        let [kept, away] = ["kept", "away"].map(|name| rig.swap.attempt_dir.join(name));
        std::fs::rename(&kept, &away).unwrap();
        // A link to itself: whatever is asked about it is answered by an error.
        std::os::unix::fs::symlink(&kept, &kept).unwrap();
        assert_eq!(act(&rig).unwrap_err().kind(), Kind::Stopped);
        std::fs::remove_file(&kept).unwrap();
        std::fs::rename(&away, &kept).unwrap();
        assert_eq!(rig.standing(), Standing::New);
        rig.backward().unwrap();
        assert_eq!(rig.standing(), Standing::Old);
    }
}

#[test]
fn a_full_disk_once_the_record_is_written_does_not_stop_the_swap() {
    // Only names change after the record, so no write may be needed.
    struct NoSpace;
    impl disk::Disk for NoSpace {
        fn exchange(&self, one: &Path, other: &Path) -> std::io::Result<()> {
            disk::RealDisk.exchange(one, other)
        }
        fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
            disk::RealDisk.rename(from, to)
        }
        fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
            disk::RealDisk.link(from, to)
        }
        fn write(&self, _: &Path, _: &[u8], _: Option<&Path>) -> std::io::Result<()> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn remove_file(&self, path: &Path) -> std::io::Result<()> {
            disk::RealDisk.remove_file(path)
        }
        fn create_dir(&self, _: &Path) -> std::io::Result<()> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn remove_dir(&self, folder: &Path) -> std::io::Result<()> {
            disk::RealDisk.remove_dir(folder)
        }
        fn set_modified(&self, folder: &Path, at: std::time::SystemTime) -> std::io::Result<()> {
            disk::RealDisk.set_modified(folder, at)
        }
        fn sync_dir(&self, folder: &Path) -> std::io::Result<()> {
            disk::RealDisk.sync_dir(folder)
        }
    }
    let rig = Rig::new(SwapMethod::Exchange);
    let before = rig.tree();
    assert!(rig.forward_until(4).is_err());
    let full = FileSwap::on(Box::new(NoSpace), rig.engines.clone());
    full.cut_over(&rig.swap, &rig.verified, &Stop::never()).unwrap();
    assert_eq!(rig.standing(), Standing::New);
    full.roll_back(&rig.swap, &Stop::never()).unwrap();
    assert_eq!(rig.tree(), before);
}

#[test]
fn a_clean_up_that_fails_at_any_call_goes_on_and_the_home_stays() {
    for after_rollback in [false, true] {
        for fault in FAULTS {
            let mut calls = 0;
            loop {
                let rig = Rig::new(SwapMethod::Exchange);
                rig.forward().unwrap();
                if after_rollback {
                    rig.backward().unwrap();
                }
                let tree = rig.tree();
                let ended = rig.failing(calls, fault).free(&rig.swap, &Stop::never()).is_ok();
                assert_eq!(rig.tree(), tree, "{fault:?} {calls}");
                rig.swapper().free(&rig.swap, &Stop::never()).unwrap();
                assert_eq!(rig.tree(), tree, "{fault:?} {calls}");
                let left: Vec<_> =
                    rig.swap.moves.iter().flat_map(|one| [&one.kept, &one.target]).collect();
                assert!(left.iter().all(|path| !path.exists()), "{fault:?} {calls}");
                if ended {
                    break;
                }
                calls += 1;
            }
            assert!(calls > 5, "only {calls} calls were tried");
        }
    }
}
