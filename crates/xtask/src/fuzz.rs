//! Runs the fuzz targets of `fuzz/` under libFuzzer, on stable Rust, and the Go ones of the
//! helper with Go's own fuzzer.

use crate::place::{Result, cache_dir, cargo, run, say, target_dir};
use crate::{helper, place};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How long each target is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// So many seconds.
    Seconds(u64),
    /// So many executions.
    Runs(u64),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    /// Targets by name; all when there is none.
    pub(crate) targets: Vec<String>,
    pub(crate) length: Length,
    pub(crate) seed: u64,
    /// Whether what is found stays for the next time, outside the checkout.
    pub(crate) grow: bool,
    /// Whether the smallest inputs that cover as much go to `fuzz/corpus`.
    pub(crate) keep: bool,
}

/// Targets that ran without a finding, and those that didn't.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Outcome {
    /// Prints and counts what became of a target.
    fn tell(&mut self, name: &str, figures: Result<String>) {
        match figures {
            Ok(line) => {
                self.passed += 1;
                say(&format!("{name:<20}{line}"));
            }
            Err(error) => {
                self.failed += 1;
                say(&format!("{name}: {error}"));
            }
        }
    }
}

/// The Go targets: folder of the package, function.
const GO_TARGETS: [(&str, &str); 2] = [
    ("helpers/gostore/internal/wire", "FuzzPayloads"),
    ("helpers/gostore/internal/wire", "FuzzFrames"),
];

/// What one worker of Go's fuzzer does in a second, about.
const GO_RUNS_A_SECOND: u64 = 5_000;

/// One input may take so long; none of them needs a millisecond.
const INPUT_SECONDS_MAX: u64 = 10;

/// What a process may have in memory; the program itself limits what it may ask for.
const RSS_MEGABYTES_MAX: u64 = 512;

/// Runs the targets and prints a line for each.
pub(crate) fn run_targets(campaign: &Campaign) -> Result<Outcome> {
    let programs = Programs::build()?;
    let mut outcome = Outcome::default();
    let wanted = |name: &str| {
        campaign.targets.is_empty() || campaign.targets.iter().any(|target| target == name)
    };
    say("target                executions  seconds  corpus files  bytes  peak MB");
    let targets: Vec<(String, u64)> =
        programs.targets()?.into_iter().filter(|(name, _)| wanted(name)).collect();
    let mut known = targets.len();
    // One target keeps one core busy.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (queue, outcomes) = (Mutex::new(targets.iter()), Mutex::new(&mut outcome));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((name, bytes_max)) = next else { return };
                    let figures = programs.guided(name, *bytes_max, campaign);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).tell(name, figures);
                }
            });
        }
    });
    for (folder, name) in GO_TARGETS.iter().filter(|(_, name)| wanted(name)) {
        known += 1;
        if !helper::has_go() {
            return Err(format!("Go is missing: {name} didn't run"));
        }
        outcome.tell(name, go(folder, name, campaign));
    }
    if known < campaign.targets.len() {
        return Err("there is no such target; `cargo xtask fuzz --list` shows them".into());
    }
    Ok(outcome)
}

/// Prints the targets' names.
pub(crate) fn list() -> Result<()> {
    for (name, _) in Programs::plain()?.targets()? {
        say(&name);
    }
    for (_, name) in GO_TARGETS {
        say(name);
    }
    Ok(())
}

/// The program without instrumentation, and the one with it.
struct Programs {
    plain: PathBuf,
    guided: PathBuf,
}

impl Programs {
    fn plain() -> Result<Self> {
        let mut build = cargo(&["build", "--release", "--quiet", "--package", "transload-fuzz"]);
        if !run(&mut build)? {
            return Err("the fuzz targets didn't build".into());
        }
        Ok(Self { plain: target_dir().join("release/fuzz"), guided: PathBuf::new() })
    }

    fn build() -> Result<Self> {
        let plain = Self::plain()?;
        let (folder, host) = (target_dir().join("fuzz"), host()?);
        let mut build = cargo(&["build", "--release", "--quiet", "--package", "transload-fuzz"]);
        // With a target named, build scripts and macros are spared the flags.
        build
            .args(["--target", &host, "--target-dir"])
            .arg(&folder)
            .env("RUSTFLAGS", "--cfg transload_fuzz")
            .env("RUSTC_WORKSPACE_WRAPPER", place::root().join("fuzz/instrument"))
            .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
            .env("CARGO_INCREMENTAL", "0");
        if !run(&mut build)? {
            return Err("the fuzz targets didn't build under libFuzzer".into());
        }
        Ok(Self { guided: folder.join(host).join("release/fuzz"), ..plain })
    }

    /// Names of the targets, and their longest inputs.
    fn targets(&self) -> Result<Vec<(String, u64)>> {
        let output = self.ask(&["list"])?;
        let target = |line: &str| {
            let (name, bytes) = line.split_once(' ')?;
            Some((name.to_owned(), bytes.parse().ok()?))
        };
        Ok(output.lines().filter_map(target).collect())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.plain).args(arguments).output();
        let output = output.map_err(|error| format!("{}: {error}", self.plain.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Runs one target; the figures as a line.
    fn guided(&self, name: &str, bytes_max: u64, campaign: &Campaign) -> Result<String> {
        let failed = |error: std::io::Error| error.to_string();
        let home = cache_dir().join("fuzz").join(name);
        let corpus = home.join(if campaign.grow { "corpus" } else { "brief" });
        let found = home.join("found");
        if !campaign.grow && corpus.is_dir() {
            fs::remove_dir_all(&corpus).map_err(failed)?;
        }
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        self.ask(&["seeds", name, &corpus.display().to_string()])?;
        let length = match campaign.length {
            Length::Seconds(seconds) => format!("-max_total_time={seconds}"),
            Length::Runs(runs) => format!("-runs={runs}"),
        };
        let text = self.libfuzzer(
            name,
            &[
                length,
                format!("-max_len={bytes_max}"),
                format!("-seed={}", campaign.seed % u64::from(u32::MAX)),
                format!("-timeout={INPUT_SECONDS_MAX}"),
                format!("-rss_limit_mb={RSS_MEGABYTES_MAX}"),
                format!("-artifact_prefix={}/", found.display()),
                "-print_final_stats=1".into(),
                corpus.display().to_string(),
            ],
        )?;
        let figures = Figures::read(&text).filter(|figures| figures.executions > 0);
        let figures = figures.ok_or("it ran nothing, which is a failure")?;
        let (files, bytes) = measure(&corpus)?;
        if campaign.keep {
            self.keep(name, &corpus)?;
        }
        Ok(format!(
            "{:>12}{:>9}{files:>14}{bytes:>7}{:>9}",
            figures.executions, figures.seconds, figures.peak_megabytes
        ))
    }

    /// Takes over the smallest inputs that cover what the corpus does.
    fn keep(&self, name: &str, corpus: &Path) -> Result<()> {
        let failed = |error: std::io::Error| error.to_string();
        let small = corpus.with_file_name("kept");
        if small.is_dir() {
            fs::remove_dir_all(&small).map_err(failed)?;
        }
        fs::create_dir_all(&small).map_err(failed)?;
        let (small, corpus) = (small.display().to_string(), corpus.display().to_string());
        self.libfuzzer(name, &["-set_cover_merge=1".to_owned(), small.clone(), corpus])?;
        say(self.ask(&["pack", name, &small])?.trim());
        Ok(())
    }

    fn libfuzzer(&self, name: &str, arguments: &[String]) -> Result<String> {
        let output = Command::new(&self.guided)
            .args(arguments)
            .env("TRANSLOAD_FUZZ_TARGET", name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", self.guided.display()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        // What it says last tells the finding and where the input is.
        let lines: Vec<&str> = text.lines().collect();
        Err(lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// What libFuzzer says at the end.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    executions: u64,
    seconds: u64,
    peak_megabytes: u64,
}

impl Figures {
    fn read(text: &str) -> Option<Self> {
        let stat = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let done = text.lines().find_map(|line| line.strip_prefix("Done "))?;
        Some(Self {
            executions: stat("stat::number_of_executed_units:")?,
            seconds: done.split(' ').nth(3)?.parse().ok()?,
            peak_megabytes: stat("stat::peak_rss_mb:")?,
        })
    }
}

fn measure(folder: &Path) -> Result<(u64, u64)> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).map_err(failed)? {
        files += 1;
        bytes += entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
    }
    Ok((files, bytes))
}

/// Runs a Go target; the figures as a line.
fn go(folder: &str, name: &str, campaign: &Campaign) -> Result<String> {
    let time = match campaign.length {
        // Go's fuzzer may take its own deadline for a failure of the target.
        Length::Seconds(seconds) => format!("{}x", seconds.saturating_mul(GO_RUNS_A_SECOND)),
        Length::Runs(runs) => format!("{runs}x"),
    };
    let began = Instant::now();
    let output = Command::new("go")
        .args(["test", "-run=^$", &format!("-fuzz=^{name}$"), &format!("-fuzztime={time}")])
        .args(["-parallel=1", "."])
        .current_dir(place::root().join(folder))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("go: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(text);
    }
    let executions = text.lines().filter_map(executions).max().filter(|count| *count > 0);
    let executions = executions.ok_or("it ran nothing, which is a failure")?;
    Ok(format!("{executions:>12}{:>9}", began.elapsed().as_secs()))
}

/// `fuzz: elapsed: 3s, execs: 325017 (108336/sec), new interesting: 11 (total: 202)`
fn executions(line: &str) -> Option<u64> {
    line.split_once("execs: ")?.1.split(' ').next()?.parse().ok()
}

/// The triple of this machine.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|e| format!("rustc: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc doesn't name its host".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_both_fuzzers_are_read() {
        let text = "Done 1048576 runs in 7 second(s)\nstat::number_of_executed_units: 1048576\n\
                    stat::peak_rss_mb:              41\n";
        let figures = Figures { executions: 1_048_576, seconds: 7, peak_megabytes: 41 };
        assert_eq!(Figures::read(text), Some(figures));
        assert_eq!(Figures::read("INFO: Seed: 1"), None);
        let line = "fuzz: elapsed: 3s, execs: 325017 (108336/sec), new interesting: 11 (total: 9)";
        assert_eq!(executions(line), Some(325_017));
        assert_eq!(executions("PASS"), None);
    }
}
