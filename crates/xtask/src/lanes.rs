//! The test lanes. A lane that runs nothing fails; a peer that isn't there is named at the end.

use crate::place::{
    Result, cache_dir, cargo, has, metadata, root, run, say, scratch_dir, target_dir,
};
use crate::{fuzz, helper, nodes, plyvel, tidy};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

/// What a lane did.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    missing: Vec<String>,
}

impl Tally {
    fn one(good: bool) -> Self {
        Self { passed: u64::from(good), failed: u64::from(!good), missing: Vec::new() }
    }

    fn missing(what: &str) -> Self {
        Self { missing: vec![what.to_owned()], ..Self::default() }
    }
}

struct Settings {
    fixtures: PathBuf,
    seed: u64,
}

type Lane = (&'static str, &'static str, fn(&Settings) -> Result<Tally>);

const LANES: &[Lane] = &[
    ("fmt", "formatting", fmt),
    ("tidy", "crate arrows, file lengths, names, leftovers", tidy_lane),
    ("clippy", "lints, warnings are errors", clippy),
    ("docs", "documentation builds without warnings", docs),
    ("deny", "licences, bans and sources of dependencies", deny),
    ("helper", "our Go: the helper, and foreign code on our proofs; vet and tests", helper_lane),
    ("test", "unit, property, contract, golden and command-line tests", tests),
    ("crash", "killed at every durable step, then resumed", crash),
    ("fuzz", "every decoder of foreign bytes, briefly", fuzz_lane),
    ("faults", "I/O calls, system calls, frames and stored bytes that go wrong", faults),
    ("fixtures", "every node home of a folder, end to end", fixtures),
    ("real", "real node software on what we wrote", real),
];

/// Engines with which the drivers are looked at alone: one without a file that others share, one
/// that shares little.
const ENGINES_ALONE: [&str; 2] = ["leveldb", "lmdb"];

/// Lanes that need no compiler but Rust's own.
const BUILD_NOTHING: [&str; 4] = ["fmt", "tidy", "deny", "helper"];

/// Prints the lanes.
pub(crate) fn list() {
    for (name, about, _) in LANES {
        say(&format!("{name:<10}{about}"));
    }
}

/// Runs the lanes that are named, or all.
pub(crate) fn run_lanes(
    names: &[String],
    fixtures: Option<&Path>,
    seed: Option<u64>,
) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| !LANES.iter().any(|lane| lane.0 == **name)) {
        return Err(format!("there is no lane {unknown}; `cargo xtask test --list` shows them"));
    }
    let settings = Settings {
        fixtures: fixtures.map_or_else(|| root().join("testdata/homes"), Path::to_owned),
        seed: seed.unwrap_or_else(seed_of_commit),
    };
    say(&format!("seed {} (repeat with --seed {})", settings.seed, settings.seed));
    // A machine that lacks a compiler is better told now than by the middle of a build.
    let builds = |name: &str| !BUILD_NOTHING.contains(&name);
    if (names.is_empty() || names.iter().any(|name| builds(name))) && !run(&mut setup())? {
        return Err("the tests need what ci/setup named".into());
    }
    let mut sum = Tally::default();
    let mut summary = Vec::new();
    for (name, about, lane) in LANES {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        say(&format!("\n== {name}: {about}"));
        let began = Instant::now();
        let mut tally = lane(&settings).unwrap_or_else(|error| {
            say(&format!("{name}: {error}"));
            Tally::one(false)
        });
        if tally.passed + tally.failed == 0 && tally.missing.is_empty() {
            say(&format!("{name}: ran nothing, which is a failure"));
            tally.failed += 1;
        }
        let seconds = began.elapsed().as_secs();
        summary.push(format!(
            "{name:<10}{:>6} passed{:>4} failed{seconds:>6} s",
            tally.passed, tally.failed
        ));
        sum.passed += tally.passed;
        sum.failed += tally.failed;
        sum.missing.extend(tally.missing);
    }
    say("\n== summary");
    for line in summary {
        say(&line);
    }
    sum.missing.sort();
    sum.missing.dedup();
    for missing in &sum.missing {
        say(&format!("not checked: {missing}"));
    }
    say(&format!("{} passed, {} failed", sum.passed, sum.failed));
    Ok(sum.failed == 0)
}

/// Installs what a fresh Debian machine lacks, or names it.
fn setup() -> Command {
    let mut setup = Command::new(root().join("ci/setup"));
    setup.stdin(Stdio::null());
    setup
}

/// Another seed for each commit, and the same wherever that commit is tested: what one machine
/// finds another repeats. Without git the clock decides.
fn seed_of_commit() -> u64 {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short=8", "HEAD"]).current_dir(root()).stdin(Stdio::null());
    let commit = git.stderr(Stdio::null()).output().ok();
    let commit = commit.and_then(|output| String::from_utf8(output.stdout).ok());
    let seed = commit.and_then(|commit| u64::from_str_radix(commit.trim().get(..8)?, 16).ok());
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    seed.unwrap_or_else(|| clock().as_secs())
}

fn fmt(_: &Settings) -> Result<Tally> {
    Ok(Tally::one(run(&mut cargo(&["fmt", "--all", "--check"]))?))
}

fn tidy_lane(_: &Settings) -> Result<Tally> {
    Ok(Tally::one(tidy::report()?))
}

fn clippy(_: &Settings) -> Result<Tally> {
    let workspace = ["clippy", "--release", "--workspace", "--all-features", "--quiet"];
    let mut all = cargo(&workspace);
    let mut good = run(all.args(["--all-targets", "--", "-D", "warnings"]))?;
    // What runs in a lane of its own is no target for `--all-targets`, even when named beside it.
    let mut lanes = cargo(&workspace);
    for lane in ["crash", "faults", "fixtures", "real"] {
        for test in tests_named(lane)? {
            lanes.args(["--test", &test]);
        }
    }
    good &= run(lanes.args(["--", "-D", "warnings"]))?;
    // Names that only other engines use are seen where those are left out.
    for engine in ENGINES_ALONE {
        let mut alone =
            cargo(&["clippy", "--release", "--quiet", "--package", "transload-drivers"]);
        alone.args(["--lib", "--no-default-features", "--features", engine]);
        good &= run(alone.args(["--", "-D", "warnings"]))?;
    }
    Ok(Tally::one(good))
}

fn docs(_: &Settings) -> Result<Tally> {
    let mut command =
        cargo(&["doc", "--release", "--workspace", "--all-features", "--no-deps", "--quiet"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Ok(Tally::one(run(&mut command)?))
}

fn deny(_: &Settings) -> Result<Tally> {
    let home = cache_dir().join("tools");
    let program = home.join("bin/cargo-deny");
    if !program.is_file() && !has("cargo-deny", "--version") {
        say("installing cargo-deny ...");
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--quiet", "--root"]);
        install.arg(&home);
        if !run(&mut install)? {
            return Ok(Tally::one(false));
        }
    }
    let program = if program.is_file() { program } else { "cargo-deny".into() };
    let mut check = Command::new(program);
    check
        .args(["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .current_dir(root())
        .stdin(Stdio::null());
    let mut tally = Tally::one(run(&mut check)?);
    tally.missing.push("advisories: their database is no package and isn't reached".into());
    Ok(tally)
}

/// Our Go: the helper, foreign code on our proofs, the benchmarks' peer, IAVL on conversions.
const GO_MODULES: [&str; 6] = [
    "helpers/gostore",
    "tests/foreign",
    "bench/peer",
    "bench/home",
    "crates/chains/testdata/iavl/legacy",
    "crates/chains/testdata/iavl/current",
];

fn helper_lane(_: &Settings) -> Result<Tally> {
    if !helper::has_go() {
        return Ok(Tally::missing("Go: the helper was neither built nor tested"));
    }
    helper::build()?;
    let mut tally = Tally::default();
    for module in GO_MODULES {
        let go = |arguments: &[&str]| {
            let mut command = Command::new("go");
            command.args(arguments).current_dir(root().join(module)).stdin(Stdio::null());
            command
        };
        let vetted = run(&mut go(&["vet", "./..."]))?;
        tally.passed += u64::from(vetted);
        tally.failed += u64::from(!vetted);
        let lines = watch(&mut go(&["test", "-count=1", "-v", "./..."]))?;
        tally.passed += count(&lines.text, "--- PASS");
        tally.failed += count(&lines.text, "--- FAIL") + u64::from(!lines.good);
    }
    Ok(tally)
}

fn count(text: &[String], mark: &str) -> u64 {
    text.iter().filter(|line| line.trim_start().starts_with(mark)).count() as u64
}

fn tests(settings: &Settings) -> Result<Tally> {
    let mut tally = with_helper()?;
    let mut command = cargo_test(settings, &["--workspace", "--all-features"]);
    command.env("TRANSLOAD_PLYVEL", plyvel::folder()).env("TMPDIR", scratch_dir());
    add_tests(&mut tally, &mut command)?;
    Ok(tally)
}

/// The Go helper as it is now, for tests that need Go engines.
fn with_helper() -> Result<Tally> {
    if helper::has_go() {
        helper::build()?;
        return Ok(Tally::default());
    }
    Ok(Tally::missing("Go: what needs Pebble or goleveldb written was not tested"))
}

fn crash(settings: &Settings) -> Result<Tally> {
    if !helper::has_go() {
        return Ok(Tally::missing("Go: nothing was migrated to Pebble and killed"));
    }
    // Real nodes look at what a killed swap leaves.
    nodes::build()?;
    own_lane(settings, "crash", &scratch_dir())
}

/// A second for each target, or as many as the environment says.
fn fuzz_lane(settings: &Settings) -> Result<Tally> {
    let seconds = match std::env::var("TRANSLOAD_FUZZ_SECONDS") {
        Ok(text) => text.parse().map_err(|error| format!("TRANSLOAD_FUZZ_SECONDS: {error}"))?,
        Err(_) => 1,
    };
    let length = fuzz::Length::Seconds(seconds);
    let (targets, seed) = (Vec::new(), settings.seed);
    let outcome =
        fuzz::run_targets(&fuzz::Campaign { targets, length, seed, grow: false, keep: false })?;
    Ok(Tally { passed: outcome.passed, failed: outcome.failed, ..Tally::default() })
}

fn faults(settings: &Settings) -> Result<Tally> {
    if !helper::has_go() {
        return Ok(Tally::missing("Go: no fault struck a migration to Pebble"));
    }
    let mut tally = own_lane(settings, "faults", &scratch_dir())?;
    // Short ones are among the ordinary tests; here they are as long as the environment says.
    if std::env::var_os("TRANSLOAD_FAULT_RUNS").is_none() {
        return Ok(tally);
    }
    for (programs, filter) in
        [(["--test", "engine"].as_slice(), "campaign"), (&["--lib"], "ailing")]
    {
        let all = ["--workspace", "--all-features"].iter().chain(programs);
        let arguments: Vec<&str> = all.copied().chain([filter, "--", "--nocapture"]).collect();
        let mut command = cargo_test(settings, &arguments);
        add_tests(&mut tally, command.env("TMPDIR", scratch_dir()))?;
    }
    Ok(tally)
}

fn fixtures(settings: &Settings) -> Result<Tally> {
    own_lane(settings, "fixtures", &std::env::temp_dir())
}

fn real(settings: &Settings) -> Result<Tally> {
    if !helper::has_go() {
        return Ok(Tally::missing("Go: no real node was built"));
    }
    nodes::build()?;
    own_lane(settings, "real", &scratch_dir())
}

/// Runs the test programs of a lane, with their homes in `scratch`. Their manifests say
/// `test = false`, so that they run here only.
fn own_lane(settings: &Settings, lane: &str, scratch: &Path) -> Result<Tally> {
    let mut tally = with_helper()?;
    let mut arguments = vec!["--workspace".to_owned(), "--all-features".to_owned()];
    for test in tests_named(lane)? {
        arguments.extend(["--test".to_owned(), test]);
    }
    if arguments.len() == 2 {
        return Err(format!("no test program's name ends in {lane}"));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = cargo_test(settings, &arguments);
    add_tests(&mut tally, command.env("TMPDIR", scratch))?;
    Ok(tally)
}

/// The test programs whose name ends in the lane's name, from what cargo itself knows.
fn tests_named(lane: &str) -> Result<Vec<String>> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let mut names: Vec<String> = targets
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str())
        .filter(|name| name.ends_with(lane))
        .map(str::to_owned)
        .collect();
    names.sort();
    Ok(names)
}

fn cargo_test(settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = cargo(&["test", "--release", "--quiet", "--no-fail-fast"]);
    command
        .args(arguments)
        .env("TRANSLOAD_GOSTORE", target_dir().join("release/transload-gostore"))
        .env("TRANSLOAD_FIXTURES", &settings.fixtures)
        .env("TRANSLOAD_HOMES", root().join("testdata/homes"))
        .env("TRANSLOAD_SEED", settings.seed.to_string())
        .env("TRANSLOAD_NODES", cache_dir().join("nodes"));
    command
}

fn add_tests(tally: &mut Tally, command: &mut Command) -> Result<()> {
    let lines = watch(command)?;
    let before = (tally.passed, tally.failed);
    for line in &lines.text {
        if let Some((passed, failed)) = counts(line) {
            tally.passed += passed;
            tally.failed += failed;
        }
        if let Some(missing) = line.strip_prefix("not checked: ") {
            tally.missing.push(missing.to_owned());
        }
    }
    if !lines.good && tally.failed == before.1 {
        tally.failed += 1;
    }
    if (tally.passed, tally.failed) == before {
        return Err("no test was run".into());
    }
    Ok(())
}

/// `test result: ok. 8 passed; 0 failed; ...`
fn counts(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut parts = rest.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

struct Lines {
    text: Vec<String>,
    good: bool,
}

/// Runs a command, shows its standard output as it comes and keeps it.
fn watch(command: &mut Command) -> Result<Lines> {
    let failed = |error: std::io::Error| error.to_string();
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(failed)?;
            if !line.is_empty() && !line.starts_with("running 0") {
                say(&line);
            }
            text.push(line);
        }
    }
    let good = child.wait().map_err(failed)?.success();
    Ok(Lines { text, good })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_cargo_test_are_read() {
        let line = "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counts(line), Some((4, 1)));
        assert_eq!(counts("running 5 tests"), None);
    }
}
