//! How much processor time this process and its helpers have used.
//!
//! From `/proc`: `stat` of the process, and of every child that its threads have. Where the
//! kernel doesn't list children, theirs isn't counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What one tick of `/proc/PID/stat` is: the kernel shows user programs 100 a second on every
/// architecture that transload is built for.
const TICK: Duration = Duration::from_millis(10);

/// Looks again and again.
pub(crate) struct CpuUse {
    proc: PathBuf,
    /// Ticks of each process at the last look.
    before: Option<BTreeMap<String, u64>>,
}

impl CpuUse {
    pub(crate) fn new() -> Self {
        Self { proc: "/proc".into(), before: None }
    }

    /// The time used since the last look; nothing at the first.
    pub(crate) fn since_last_look(&mut self) -> Duration {
        let now = self.look();
        let ticks = self.before.as_ref().map_or(0, |before| {
            let used = |(pid, ticks): (&String, &u64)| {
                ticks.saturating_sub(before.get(pid).copied().unwrap_or(0))
            };
            now.iter().map(used).sum()
        });
        self.before = Some(now);
        TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// The next look is the first again.
    pub(crate) fn forget(&mut self) {
        self.before = None;
    }

    fn look(&self) -> BTreeMap<String, u64> {
        let mut processes = vec!["self".to_owned()];
        let threads = fs::read_dir(self.proc.join("self/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            processes.extend(children.split_whitespace().map(str::to_owned));
        }
        let ticks = |pid: String| {
            let stat = fs::read_to_string(self.proc.join(&pid).join("stat")).ok()?;
            Some((pid, ticks_of(&stat)?))
        };
        processes.into_iter().filter_map(ticks).collect()
    }
}

/// User and system time of `PID (NAME) STATE ...`: fields 14 and 15, where the name may hold
/// anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(user: u64, system: u64) -> String {
        format!("7 (a ) name) S 1 7 7 0 -1 4194560 9 0 0 0 {user} {system} 0 0 20 0 4 0 1 2 3")
    }

    #[test]
    fn the_process_and_its_helpers_are_added_up_and_one_that_comes_counts_whole() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let mut cpu = CpuUse { proc: folder.path().to_owned(), before: None };
        write("self/stat", &stat(100, 10));
        write("self/task/7/children", "41 ");
        write("41/stat", &stat(5, 0));
        assert_eq!(cpu.since_last_look(), Duration::ZERO);
        write("self/stat", &stat(103, 11));
        write("41/stat", &stat(6, 0));
        write("self/task/8/children", "42 ");
        write("42/stat", &stat(2, 0));
        assert_eq!(cpu.since_last_look(), Duration::from_millis(70));
        // One that has gone takes nothing back.
        write("self/task/8/children", "");
        assert_eq!(cpu.since_last_look(), Duration::ZERO);
        cpu.forget();
        write("self/stat", &stat(900, 0));
        assert_eq!(cpu.since_last_look(), Duration::ZERO);
    }

    #[test]
    fn this_process_uses_processor_time() {
        let mut cpu = CpuUse::new();
        let _ = cpu.since_last_look();
        let mut used = Duration::ZERO;
        let mut hash = [0; 32];
        // Ends within some ticks; a kernel that never counted would show here.
        for _ in 0..50_000_000u32 {
            hash = transload_model::merkle::sha256(&hash);
            if hash[0] == 0 {
                used += cpu.since_last_look();
            }
            if used > Duration::ZERO {
                break;
            }
        }
        assert!(used >= TICK);
    }

    #[test]
    fn what_is_no_stat_has_no_time() {
        for text in ["", "7", "7 (name)", "7 (name) S 1 2", "7 (n) S 1 7 7 0 -1 4 9 0 0 0 x y"] {
            assert_eq!(ticks_of(text), None, "{text}");
        }
    }
}
